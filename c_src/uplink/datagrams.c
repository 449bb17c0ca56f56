/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that came in by a way in, so that they can be answered; pure */
#include "datagrams.h"

static uint32_t place(const struct datagram *datagram)
{
	uint32_t hash = datagram->peer * 0x9e3779b1u ^ datagram->machine * 0x85ebca6bu;

	hash ^= (((uint32_t)datagram->peer_port << 16) | datagram->machine_port) * 0xc2b2ae35u;
	return (hash ^ hash >> 15) % DATAGRAMS_MAX;
}

void datagrams_remember(struct datagrams *datagrams, const struct datagram *datagram)
{
	datagrams->table[place(datagram)] = *datagram;
}

bool datagrams_know(const struct datagrams *datagrams, const struct datagram *datagram)
{
	const struct datagram *known = &datagrams->table[place(datagram)];

	return known->seen && datagram->seen - known->seen <= DATAGRAM_SECONDS &&
	       known->peer == datagram->peer && known->machine == datagram->machine &&
	       known->peer_port == datagram->peer_port &&
	       known->machine_port == datagram->machine_port;
}
