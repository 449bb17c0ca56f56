/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that came in by a way in, so that they can be answered; pure */
#ifndef EVUM_UPLINK_FLOWS_H
#define EVUM_UPLINK_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

#define FLOWS_MAX 1024u
/* As libslirp's own, which this mirrors. */
#define FLOW_SECONDS 240u

/* Addresses and ports as they stand in a packet; peer: outside. */
struct flow {
	uint32_t peer, machine;
	uint16_t peer_port, machine_port;
	uint32_t seen; /* seconds; 0: empty */
};

struct flows {
	struct flow table[FLOWS_MAX];
};

/* Whoever has the same place is forgotten. */
void flows_remember(struct flows *flows, const struct flow *flow);
/* flow->seen is the present. */
bool flows_know(const struct flows *flows, const struct flow *flow);

#endif
