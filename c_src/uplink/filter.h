/* SPDX-License-Identifier: Apache-2.0 */
/* Where a machine's frame may go; pure */
#ifndef EVUM_UPLINK_FILTER_H
#define EVUM_UPLINK_FILTER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "datagrams.h"

enum filter_verdict {
	FILTER_NAT,	/* to libslirp */
	FILTER_GATEWAY, /* to the gateway's own address, which Erlang answers */
	FILTER_ANSWER,	/* an ARP answer: to both */
	FILTER_BLOCK,	/* nobody gets it */
};

/* IPv4 addresses in the host's order. */
struct filter {
	uint32_t gateway, mask;
	bool restricted; /* nothing goes out but answers */
	bool echo;	 /* the host lets us ping */
	bool ipv6;
	struct in6_addr prefix6;       /* 64 bits of it */
	struct in6_addr gateway6;      /* within it */
	uint8_t host_ports[65536 / 8]; /* bits: of the host's loopback, reached by the gateway */
	uint16_t host_port;	       /* one more, of TCP by IPv4, restricted or not; 0: none */
};

void filter_open_port(struct filter *filter, uint16_t port);

/* datagrams: those of the frame's sender; now: seconds, as for the datagrams. */
enum filter_verdict filter_check(const struct filter *filter, const struct datagrams *datagrams,
				 uint32_t now, const uint8_t *frame, size_t len);

/*
 * A frame that libslirp made for a machine: remembers a datagram that the
 * machine may answer.
 */
void filter_made(const struct filter *filter, struct datagrams *datagrams, uint32_t now,
		 const uint8_t *frame, size_t len);

#endif
