/* SPDX-License-Identifier: Apache-2.0 */
/* Where a machine's frame may go */
#include <arpa/inet.h>
#include <string.h>
#include "check.h"
#include "filter.h"
#include "uplink_guest.h"

#define GATEWAY 0x0a4d0001u
#define GUEST 0x0a4d0002u
#define OUTSIDE 0xc0000201u
#define NOW 1000u

static struct filter filter;
static struct datagrams datagrams;
static struct guest guest = {.mac = {2}, .ip = GUEST};
static uint8_t frame[4096];
static size_t len;

static void fresh(void)
{
	filter = (struct filter){.gateway = GATEWAY, .mask = 0xffffff00, .echo = true};
	memset(&datagrams, 0, sizeof(datagrams));
}

static enum filter_verdict check(void)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum filter_verdict verdict;

	memcpy(copy, frame, len);
	verdict = filter_check(&filter, &datagrams, NOW, copy, len);
	free(copy);
	return verdict;
}

static enum filter_verdict tcp(uint32_t target, uint16_t port, uint8_t flags)
{
	const struct guest_tcp connection = {
		.guest = &guest, .ip = target, .port = 1234, .other_port = port};

	len = guest_make_tcp(&connection, frame, flags, "x", 1);
	return check();
}

static enum filter_verdict udp(uint32_t target, uint16_t port)
{
	len = guest_make_udp(&guest, frame, 1234, target, port, "x", 1);
	return check();
}

static enum filter_verdict icmp(uint32_t target, uint8_t type)
{
	guest_fill_ip(&guest, frame, IPPROTO_ICMP, target, 8);
	memset(frame + 34, 0, 8);
	frame[34] = type;
	len = 42;
	return check();
}

static void the_outside_is_reached(void)
{
	fresh();
	CHECK(tcp(OUTSIDE, 80, TH_SYN) == FILTER_NAT && tcp(OUTSIDE, 80, TH_ACK) == FILTER_NAT);
	CHECK(udp(OUTSIDE, 53) == FILTER_NAT && icmp(OUTSIDE, 8) == FILTER_NAT);
	CHECK(icmp(OUTSIDE, 0) == FILTER_BLOCK && icmp(OUTSIDE, 5) == FILTER_BLOCK);
	filter.echo = false;
	CHECK(icmp(OUTSIDE, 8) == FILTER_BLOCK);
}

static void nobody_s_addresses_are_blocked(void)
{
	static const char *const blocked[] = {
		"0.0.0.0",	   "0.1.2.3",	  "127.0.0.1",	     "127.255.255.255",
		"169.254.169.254", "224.0.0.1",	  "239.255.255.250", "240.0.0.1",
		"255.255.255.255", "10.77.0.255", "10.77.0.0",	     "10.77.0.2"};

	fresh();
	for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
		uint32_t target = ntohl(inet_addr(blocked[i]));

		CHECK(tcp(target, 80, TH_SYN) == FILTER_BLOCK);
		CHECK(tcp(target, 80, TH_ACK) == FILTER_BLOCK);
		CHECK(udp(target, 80) == FILTER_BLOCK && icmp(target, 8) == FILTER_BLOCK);
	}
}

/* Each would have libslirp read something else than this filter, or keep it without a bound. */
static void odd_headers_are_blocked(void)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{14, 0x46}, {14, 0x44}, {14, 0x55}, {14, 0x05}, /* version and length */
		{20, 0x20}, {20, 0x80}, {20, 0x01}, {21, 0x01}, /* fragments, the zero bit */
		{16, 0xff}, {17, 0x13},				/* total length */
		{26, 127},  {26, 224},				/* source */
		{12, 0x88}, {12, 0x81},				/* other types */
		{23, 41},   {23, 47},	{23, 132},		/* other protocols */
	};

	fresh();
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		CHECK(udp(OUTSIDE, 80) == FILTER_NAT);
		frame[changes[i].at] = changes[i].value;
		CHECK(check() == FILTER_BLOCK);
	}
	CHECK(tcp(OUTSIDE, 80, TH_SYN) == FILTER_NAT);
	for (len = 0; len < 54; len++)
		CHECK(check() == FILTER_BLOCK);
	guest.ip = GATEWAY;
	CHECK(udp(OUTSIDE, 80) == FILTER_BLOCK);
	guest.ip = GUEST;
}

static void the_gateway_s_address_is_erlang_s(void)
{
	fresh();
	CHECK(icmp(GATEWAY, 8) == FILTER_GATEWAY && udp(GATEWAY, 53) == FILTER_GATEWAY);
	CHECK(udp(GATEWAY, 8080) == FILTER_GATEWAY && tcp(GATEWAY, 8080, TH_SYN) == FILTER_GATEWAY);
	CHECK(tcp(GATEWAY, 53, TH_ACK) == FILTER_GATEWAY);
	/* A part of a connection that came in, or libslirp resets it. */
	CHECK(tcp(GATEWAY, 8080, TH_ACK) == FILTER_NAT);
	CHECK(tcp(GATEWAY, 8080, TH_SYN | TH_ACK) == FILTER_NAT);
	/* No new connection can look like a part of one. */
	CHECK(tcp(GATEWAY, 8080, TH_SYN | TH_PSH) == FILTER_GATEWAY);
	filter_open_port(&filter, 8080);
	filter_open_port(&filter, 53);
	filter_open_port(&filter, 69);
	CHECK(udp(GATEWAY, 8080) == FILTER_NAT && tcp(GATEWAY, 8080, TH_SYN) == FILTER_NAT);
	CHECK(tcp(GATEWAY, 8081, TH_SYN) == FILTER_GATEWAY && udp(GATEWAY, 8081) == FILTER_GATEWAY);
	CHECK(udp(GATEWAY, 53) == FILTER_GATEWAY && udp(GATEWAY, 69) == FILTER_GATEWAY);
}

static void a_datagram_that_came_in_is_answered(void)
{
	struct guest client = {.mac = {2}, .ip = GATEWAY};

	fresh();
	len = guest_make_udp(&client, frame, 5555, GUEST, 1234, "x", 1);
	CHECK(udp(GATEWAY, 5555) == FILTER_GATEWAY);
	len = guest_make_udp(&client, frame, 5555, GUEST, 1234, "x", 1);
	filter_made(&filter, &datagrams, NOW - DATAGRAM_SECONDS, frame, len);
	CHECK(udp(GATEWAY, 5555) == FILTER_NAT && udp(GATEWAY, 5556) == FILTER_GATEWAY);
	len = guest_make_udp(&client, frame, 5555, GUEST, 1234, "x", 1);
	filter_made(&filter, &datagrams, NOW - DATAGRAM_SECONDS - 1, frame, len);
	CHECK(udp(GATEWAY, 5555) == FILTER_GATEWAY);
}

static void a_restricted_network_only_answers(void)
{
	struct guest client = {.mac = {2}, .ip = OUTSIDE};

	fresh();
	filter.restricted = true;
	CHECK(tcp(OUTSIDE, 80, TH_SYN) == FILTER_BLOCK && udp(OUTSIDE, 80) == FILTER_BLOCK);
	CHECK(icmp(OUTSIDE, 8) == FILTER_BLOCK);
	CHECK(tcp(OUTSIDE, 80, TH_SYN | TH_ACK) == FILTER_NAT);
	len = guest_make_udp(&client, frame, 5555, GUEST, 1234, "x", 1);
	filter_made(&filter, &datagrams, NOW, frame, len);
	CHECK(udp(OUTSIDE, 5555) == FILTER_NAT && udp(OUTSIDE, 80) == FILTER_BLOCK);
}

/* TCP by IPv4 and nothing else, on a restricted network too. */
static void the_one_port_of_the_host_is_reached(void)
{
	for (int restricted = 0; restricted < 2; restricted++) {
		fresh();
		filter.restricted = restricted;
		CHECK(tcp(GATEWAY, 0, TH_SYN) == FILTER_GATEWAY);
		filter.host_port = 4370;
		CHECK(tcp(GATEWAY, 4370, TH_SYN) == FILTER_NAT);
		CHECK(tcp(GATEWAY, 4369, TH_SYN) == FILTER_GATEWAY);
		CHECK(tcp(GATEWAY, 0, TH_SYN) == FILTER_GATEWAY);
		CHECK(udp(GATEWAY, 4370) == FILTER_GATEWAY);
		CHECK(tcp(0x7f000001, 4370, TH_SYN) == FILTER_BLOCK);
		CHECK(!restricted || tcp(OUTSIDE, 4370, TH_SYN) == FILTER_BLOCK);
		/* The gateway's own stay its own. */
		filter.host_port = 53;
		CHECK(tcp(GATEWAY, 53, TH_SYN) == FILTER_GATEWAY);
		filter.host_port = 0;
		CHECK(tcp(GATEWAY, 4370, TH_SYN) == FILTER_GATEWAY);
	}
}

static void arp_is_the_gateway_s(void)
{
	fresh();
	memset(frame, 0, sizeof(frame));
	put16(frame + 12, 0x0806);
	len = 42;
	put16(frame + 20, 1);
	CHECK(check() == FILTER_GATEWAY);
	put16(frame + 20, 2);
	CHECK(check() == FILTER_ANSWER);
	len = 41;
	CHECK(check() == FILTER_BLOCK);
}

/* --- IPv6 -------------------------------------------------------------------- */

/* A packet with the first two bytes of its transport's body, and the port, set. */
static enum filter_verdict ip6(const char *target, uint8_t next, unsigned int first, uint16_t port)
{
	memset(frame, 0, sizeof(frame));
	put16(frame + 12, 0x86dd);
	frame[14] = 0x60;
	put16(frame + 18, 40);
	frame[20] = next;
	frame[21] = 255;
	CHECK(inet_pton(AF_INET6, "fd65:7675:6d4d:1::5", frame + 22) == 1);
	CHECK(inet_pton(AF_INET6, target, frame + 38) == 1);
	put16(frame + 54, first);
	put16(frame + 56, port);
	len = 94;
	return check();
}

static void fresh6(void)
{
	fresh();
	filter.ipv6 = true;
	CHECK(inet_pton(AF_INET6, "fd65:7675:6d4d:1::", &filter.prefix6) == 1);
	CHECK(inet_pton(AF_INET6, "fd65:7675:6d4d:1::2", &filter.gateway6) == 1);
}

static void ipv6_is_as_strict(void)
{
	static const char *const blocked[] = {"::",
					      "::1",
					      "::ffff:127.0.0.1",
					      "::127.0.0.1",
					      "64:ff9b::127.0.0.1",
					      "2002:7f00:1::",
					      "fe80::1",
					      "fe80::2",
					      "ff02::1",
					      "fd65:7675:6d4d:1::2",
					      "fd65:7675:6d4d:1::9"};

	fresh6();
	CHECK(ip6("2001:db8::1", IPPROTO_TCP, 1234, 80) == FILTER_NAT);
	CHECK(ip6("fd00::1", IPPROTO_UDP, 1234, 80) == FILTER_NAT);
	for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
		CHECK(ip6(blocked[i], IPPROTO_TCP, 1234, 80) == FILTER_BLOCK);
		CHECK(ip6(blocked[i], IPPROTO_UDP, 1234, 80) == FILTER_BLOCK);
	}
	/* Headers between, and neighbours' talk that isn't. */
	CHECK(ip6("2001:db8::1", 0, 0x1100, 80) == FILTER_BLOCK);
	CHECK(ip6("2001:db8::1", 44, 0x1100, 80) == FILTER_BLOCK);
	CHECK(ip6("ff02::1:ff00:2", IPPROTO_ICMPV6, 0x8700, 0) == FILTER_NAT);
	CHECK(ip6("ff02::2", IPPROTO_ICMPV6, 0x8500, 0) == FILTER_NAT);
	CHECK(ip6("ff02::1", IPPROTO_ICMPV6, 0x8600, 0) == FILTER_BLOCK);
	CHECK(ip6("fe80::2", IPPROTO_ICMPV6, 0x8000, 0) == FILTER_NAT);
	CHECK(ip6("2001:db8::1", IPPROTO_ICMPV6, 0x8000, 0) == FILTER_NAT);
	CHECK(ip6("2001:db8::1", IPPROTO_ICMPV6, 0x8700, 0) == FILTER_BLOCK);
	filter_open_port(&filter, 80);
	CHECK(ip6("fd65:7675:6d4d:1::2", IPPROTO_TCP, 1234, 80) == FILTER_NAT);
	filter.host_port = 4370;
	CHECK(ip6("fd65:7675:6d4d:1::2", IPPROTO_TCP, 1234, 4370) == FILTER_BLOCK);
	filter.ipv6 = false;
	CHECK(ip6("2001:db8::1", IPPROTO_TCP, 1234, 80) == FILTER_BLOCK);
}

int main(void)
{
	the_outside_is_reached();
	nobody_s_addresses_are_blocked();
	odd_headers_are_blocked();
	the_gateway_s_address_is_erlang_s();
	a_datagram_that_came_in_is_answered();
	a_restricted_network_only_answers();
	the_one_port_of_the_host_is_reached();
	arp_is_the_gateway_s();
	ipv6_is_as_strict();
	return 0;
}
