/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a machine's frame may go; pure
 *
 * Theory of operation.  libslirp opens host sockets at a guest's word: to the
 * host's loopback for the gateway's address, and to whatever else it is told,
 * 127.0.0.1 included.  So it is given only what this file has read and allows,
 * and only what has one meaning: a header of plain length, a length that the
 * frame holds, no fragments (libslirp would keep them without a bound, and a
 * port can't be seen in them), no IPv6 extension headers.
 *
 * The gateway's address is Erlang's.  libslirp gets of it the ports of the
 * host's loopback that were asked for, and what belongs to a way in: a client
 * on the host's loopback is shown to the machine as the gateway.  Of TCP that is
 * any segment that opens no connection, since libslirp resets one that is part of none;
 * of UDP an answer to a datagram that went in (datagrams.h).
 *
 * A restricted network is the same with everybody outside: answers only.  The ports
 * of the host's loopback that were asked for are reached from there as well.
 */
#include "filter.h"

#include <arpa/inet.h>
#include <string.h>
#include "util.h"

#define ETHER_HEAD 14u
#define ARP_SIZE 28u
#define IP4_HEAD 20u
#define IP6_HEAD 40u
#define TCP_HEAD 20u
#define UDP_HEAD 8u
#define ECHO_HEAD 8u

#define TYPE_IP4 0x0800
#define TYPE_ARP 0x0806
#define TYPE_IP6 0x86dd

#define TCP_FLAGS 0x37u /* URG, ACK, RST, SYN and FIN */
#define TCP_SYN 0x02u

#define PORT_DNS 53
#define PORT_DHCP 67
#define PORT_TFTP 69

/* Bytes of a frame, and nothing behind them. */
struct view {
	const uint8_t *at;
	size_t len;
};

/* NULL where there aren't that many. */
static const uint8_t *view_take(struct view *view, size_t len)
{
	const uint8_t *at = view->at;

	if (view->len < len)
		return NULL;
	view->at += len;
	view->len -= len;
	return at;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

void filter_open_port(struct filter *filter, uint16_t port)
{
	filter->host_ports[port / 8] |= (uint8_t)(1 << port % 8);
}

static bool port_is_open(const struct filter *filter, uint16_t port)
{
	return filter->host_ports[port / 8] >> port % 8 & 1;
}

static bool tcp_port_is_open(const struct filter *filter, uint16_t port)
{
	return port_is_open(filter, port) || (port && port == filter->host_port);
}

/* The gateway serves these itself, and libslirp has its own idea of two of them. */
static bool is_served(uint16_t port)
{
	return port == PORT_DNS || port == PORT_DHCP || port == PORT_TFTP;
}

/* --- IPv4 ------------------------------------------------------------------ */

struct packet4 {
	uint32_t source, target; /* host's order */
	uint8_t protocol;
	struct view body;
};

/* False for what has no single meaning. */
static bool packet4_open(struct view *view, struct packet4 *packet)
{
	const uint8_t *head = view_take(view, IP4_HEAD);
	size_t len;

	if (!head || head[0] != 0x45)
		return false;
	len = get16(head + 2);
	/* Neither part of a datagram nor with the bit that is to be zero. */
	if (len < IP4_HEAD || len - IP4_HEAD > view->len || get16(head + 6) & ~0x4000u)
		return false;
	*packet = (struct packet4){
		.source = get32(head + 12),
		.target = get32(head + 16),
		.protocol = head[9],
		.body = {.at = view->at, .len = len - IP4_HEAD},
	};
	return true;
}

static bool is_within(uint32_t address, uint32_t network, unsigned int prefix)
{
	return (address ^ network) >> (32 - prefix) == 0;
}

/* No host's own: this network, loopback, multicast, reserved and broadcast. */
static bool is_no_host(uint32_t address)
{
	return is_within(address, 0, 8) || is_within(address, INADDR_LOOPBACK, 8) ||
	       address >= INADDR_UNSPEC_GROUP;
}

static bool opens(const uint8_t *tcp)
{
	return (tcp[13] & TCP_FLAGS) == TCP_SYN;
}

static bool is_answer(const struct datagrams *datagrams, uint32_t now, const struct packet4 *packet,
		      const uint8_t *udp)
{
	const struct datagram datagram = {.peer = packet->target,
					  .machine = packet->source,
					  .peer_port = get16(udp + 2),
					  .machine_port = get16(udp),
					  .seen = now};

	return datagrams_know(datagrams, &datagram);
}

static enum filter_verdict tcp_to_gateway(const struct filter *filter, const uint8_t *tcp)
{
	uint16_t port = get16(tcp + 2);

	if (is_served(port))
		return FILTER_GATEWAY;
	return tcp_port_is_open(filter, port) || !opens(tcp) ? FILTER_NAT : FILTER_GATEWAY;
}

static enum filter_verdict check_tcp(const struct filter *filter, struct packet4 *packet)
{
	const uint8_t *tcp = view_take(&packet->body, TCP_HEAD);

	if (!tcp)
		return FILTER_BLOCK;
	if (packet->target == filter->gateway)
		return tcp_to_gateway(filter, tcp);
	return filter->restricted && opens(tcp) ? FILTER_BLOCK : FILTER_NAT;
}

static enum filter_verdict check_udp(const struct filter *filter, const struct datagrams *datagrams,
				     uint32_t now, struct packet4 *packet)
{
	const uint8_t *udp = view_take(&packet->body, UDP_HEAD);
	uint16_t port;

	if (!udp)
		return FILTER_BLOCK;
	port = get16(udp + 2);
	if (packet->target == filter->gateway) {
		if (is_served(port))
			return FILTER_GATEWAY;
		if (port_is_open(filter, port) || is_answer(datagrams, now, packet, udp))
			return FILTER_NAT;
		return FILTER_GATEWAY;
	}
	if (filter->restricted && !is_answer(datagrams, now, packet, udp))
		return FILTER_BLOCK;
	return FILTER_NAT;
}

/* Of a machine's own only a ping goes out. */
static enum filter_verdict check_icmp(const struct filter *filter, struct packet4 *packet)
{
	const uint8_t *icmp = view_take(&packet->body, ECHO_HEAD);

	if (packet->target == filter->gateway)
		return FILTER_GATEWAY;
	if (!icmp || icmp[0] != 8 || !filter->echo || filter->restricted)
		return FILTER_BLOCK;
	return FILTER_NAT;
}

static bool is_reachable(const struct filter *filter, uint32_t target)
{
	if (target == filter->gateway)
		return true;
	/* The rest of the network is reached without us; link-local is the host's own. */
	return !is_no_host(target) && !is_within(target, 0xa9fe0000, 16) &&
	       (target & filter->mask) != (filter->gateway & filter->mask);
}

static enum filter_verdict check4(const struct filter *filter, const struct datagrams *datagrams,
				  uint32_t now, struct view *view)
{
	struct packet4 packet;

	if (!packet4_open(view, &packet) || is_no_host(packet.source) ||
	    packet.source == filter->gateway || !is_reachable(filter, packet.target))
		return FILTER_BLOCK;
	switch (packet.protocol) {
	case IPPROTO_TCP:
		return check_tcp(filter, &packet);
	case IPPROTO_UDP:
		return check_udp(filter, datagrams, now, &packet);
	case IPPROTO_ICMP:
		return check_icmp(filter, &packet);
	default:
		return packet.target == filter->gateway ? FILTER_GATEWAY : FILTER_BLOCK;
	}
}

static enum filter_verdict check_arp(struct view *view)
{
	const uint8_t *arp = view_take(view, ARP_SIZE);

	if (!arp)
		return FILTER_BLOCK;
	return get16(arp + 6) == 2 ? FILTER_ANSWER : FILTER_GATEWAY;
}

/* --- IPv6 ------------------------------------------------------------------ */

struct packet6 {
	struct in6_addr source, target;
	uint8_t next, hops;
	struct view body;
};

static bool packet6_open(struct view *view, struct packet6 *packet)
{
	const uint8_t *head = view_take(view, IP6_HEAD);
	size_t len;

	if (!head || head[0] >> 4 != 6)
		return false;
	len = get16(head + 4);
	if (len > view->len)
		return false;
	packet->next = head[6];
	packet->hops = head[7];
	memcpy(&packet->source, head + 8, sizeof(packet->source));
	memcpy(&packet->target, head + 24, sizeof(packet->target));
	packet->body = (struct view){.at = view->at, .len = len};
	return true;
}

static bool is_local6(const struct filter *filter, const struct in6_addr *address)
{
	return memcmp(address, &filter->prefix6, 8) == 0;
}

/* Global unicast and unique local, and of neither what stands for an IPv4 address. */
static bool is_reachable6(const struct filter *filter, const struct in6_addr *target)
{
	uint8_t first = target->s6_addr[0];

	return ((first & 0xe0) == 0x20 || (first & 0xfe) == 0xfc) &&
	       get16(target->s6_addr) != 0x2002 && !is_local6(filter, target);
}

/* libslirp's own address on the link, which routers are known by. */
static bool is_router6(const struct in6_addr *address)
{
	static const struct in6_addr router = {{{0xfe, 0x80, [15] = 2}}};

	return memcmp(address, &router, sizeof(router)) == 0;
}

static bool is_gateway6(const struct filter *filter, const struct in6_addr *address)
{
	return memcmp(address, &filter->gateway6, sizeof(*address)) == 0;
}

/* Router and neighbour solicitations, and neighbours' answers. */
static bool is_neighbourly(const struct filter *filter, const struct packet6 *packet, uint8_t type)
{
	return packet->hops == 255 && (type == 133 || type == 135 || type == 136) &&
	       (get16(packet->target.s6_addr) == 0xff02 || is_router6(&packet->target) ||
		is_gateway6(filter, &packet->target));
}

static enum filter_verdict check_icmp6(const struct filter *filter, struct packet6 *packet)
{
	const uint8_t *icmp = view_take(&packet->body, ECHO_HEAD);

	if (!icmp)
		return FILTER_BLOCK;
	if (is_neighbourly(filter, packet, icmp[0]))
		return FILTER_NAT;
	if (icmp[0] != 128)
		return FILTER_BLOCK;
	if (is_gateway6(filter, &packet->target) || is_router6(&packet->target))
		return FILTER_NAT;
	return filter->echo && is_reachable6(filter, &packet->target) ? FILTER_NAT : FILTER_BLOCK;
}

/* TCP and UDP alike: nothing comes in by IPv6. */
static enum filter_verdict check_ports6(const struct filter *filter, struct packet6 *packet,
					size_t head_len)
{
	const uint8_t *head = view_take(&packet->body, head_len);
	uint16_t port;

	if (!head)
		return FILTER_BLOCK;
	port = get16(head + 2);
	if (is_gateway6(filter, &packet->target))
		return port_is_open(filter, port) && !is_served(port) ? FILTER_NAT : FILTER_BLOCK;
	return is_reachable6(filter, &packet->target) ? FILTER_NAT : FILTER_BLOCK;
}

static enum filter_verdict check6(const struct filter *filter, struct view *view)
{
	struct packet6 packet;

	if (!filter->ipv6 || filter->restricted || !packet6_open(view, &packet))
		return FILTER_BLOCK;
	switch (packet.next) {
	case IPPROTO_TCP:
		return check_ports6(filter, &packet, TCP_HEAD);
	case IPPROTO_UDP:
		return check_ports6(filter, &packet, UDP_HEAD);
	case IPPROTO_ICMPV6:
		return check_icmp6(filter, &packet);
	default:
		return FILTER_BLOCK;
	}
}

/* ------------------------------------------------------------------------- */

enum filter_verdict filter_check(const struct filter *filter, const struct datagrams *datagrams,
				 uint32_t now, const uint8_t *frame, size_t len)
{
	struct view view = {.at = frame, .len = len};
	const uint8_t *ether = view_take(&view, ETHER_HEAD);

	if (!ether)
		return FILTER_BLOCK;
	switch (get16(ether + 12)) {
	case TYPE_IP4:
		return check4(filter, datagrams, now, &view);
	case TYPE_ARP:
		return check_arp(&view);
	case TYPE_IP6:
		return check6(filter, &view);
	default:
		return FILTER_BLOCK;
	}
}

void filter_made(const struct filter *filter, struct datagrams *datagrams, uint32_t now,
		 const uint8_t *frame, size_t len)
{
	struct view view = {.at = frame, .len = len};
	const uint8_t *ether = view_take(&view, ETHER_HEAD);
	struct packet4 packet;
	const uint8_t *udp;

	if (!ether || get16(ether + 12) != TYPE_IP4 || !packet4_open(&view, &packet) ||
	    packet.protocol != IPPROTO_UDP)
		return;
	udp = view_take(&packet.body, UDP_HEAD);
	if (!udp || (packet.source != filter->gateway && !filter->restricted))
		return;
	datagrams_remember(datagrams, &(struct datagram){.peer = packet.source,
							 .machine = packet.target,
							 .peer_port = get16(udp),
							 .machine_port = get16(udp + 2),
							 .seen = now});
}
