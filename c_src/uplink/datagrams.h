/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that came in by a way in, so that they can be answered; pure */
#ifndef EVUM_UPLINK_DATAGRAMS_H
#define EVUM_UPLINK_DATAGRAMS_H

#include <stdbool.h>
#include <stdint.h>

#define DATAGRAMS_MAX 1024u
/* As libslirp's own, which this mirrors. */
#define DATAGRAM_SECONDS 240u

/* Addresses and ports as they stand in a packet; peer: outside. */
struct datagram {
	uint32_t peer, machine;
	uint16_t peer_port, machine_port;
	uint32_t seen; /* seconds; 0: empty */
};

struct datagrams {
	struct datagram table[DATAGRAMS_MAX];
};

/* Whoever has the same place is forgotten. */
void datagrams_remember(struct datagrams *datagrams, const struct datagram *datagram);
/* datagram->seen is the present. */
bool datagrams_know(const struct datagrams *datagrams, const struct datagram *datagram);

#endif
