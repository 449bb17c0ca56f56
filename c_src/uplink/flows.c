/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that came in by a way in, so that they can be answered; pure */
#include "flows.h"

static uint32_t place(const struct flow *flow)
{
	uint32_t hash = flow->peer * 0x9e3779b1u ^ flow->machine * 0x85ebca6bu;

	hash ^= (((uint32_t)flow->peer_port << 16) | flow->machine_port) * 0xc2b2ae35u;
	return (hash ^ hash >> 15) % FLOWS_MAX;
}

void flows_remember(struct flows *flows, const struct flow *flow)
{
	flows->table[place(flow)] = *flow;
}

bool flows_know(const struct flows *flows, const struct flow *flow)
{
	const struct flow *known = &flows->table[place(flow)];

	return known->seen && flow->seen - known->seen <= FLOW_SECONDS &&
	       known->peer == flow->peer && known->machine == flow->machine &&
	       known->peer_port == flow->peer_port && known->machine_port == flow->machine_port;
}
