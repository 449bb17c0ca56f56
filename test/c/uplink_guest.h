/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine on the wire of evum_uplink, for tests: frames by hand
 *
 * Just enough of IPv4, UDP and TCP to talk to libslirp over a wire that loses
 * nothing.
 */
#ifndef EVUM_TEST_UPLINK_GUEST_H
#define EVUM_TEST_UPLINK_GUEST_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include "port_peer.h"

#define GUEST_MTU 32000
#define GUEST_ETHER 14u
#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_PSH 0x08
#define TH_ACK 0x10

static const uint8_t guest_gateway_mac[6] = {0x52, 0x55, 10, 77, 0, 1};

struct guest {
	struct peer *peer;
	uint8_t mac[6];
	uint32_t ip; /* host's order */
};

/* A TCP connection's end in the guest. */
struct guest_tcp {
	struct guest *guest;
	uint32_t ip; /* the other end */
	uint16_t port, other_port;
	uint32_t next, seen; /* our next byte, the other's next byte */
};

/* What a frame is, once it is found to be sound. */
struct guest_packet {
	uint8_t nic;
	unsigned int type;
	uint8_t protocol, flags;
	uint32_t source, target;
	uint16_t source_port, target_port;
	uint32_t sequence, acknowledged;
	const uint8_t *data;
	size_t len;
};

static inline void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline unsigned int get16(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

static inline uint32_t guest_add(uint32_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of a transport with its pseudo-header: 0xffff where it is right. */
static inline uint32_t guest_transport_sum(const uint8_t *ip, size_t len)
{
	uint32_t sum = guest_add(ip[9] + (uint32_t)len - 20, ip + 12, 8);

	return guest_add(sum, ip + 20, len - 20);
}

static inline void guest_send_frame(struct guest *guest, const uint8_t *frame, size_t len)
{
	uint8_t body[5 + 65535] = {0, 0, 1};

	put16(body + 3, len);
	memcpy(body + 5, frame, len);
	CHECK(peer_send(guest->peer, 2, body, 5 + len));
}

/* An IPv4 packet's headers before len bytes of payload at frame + 34. */
static inline void guest_fill_ip(struct guest *guest, uint8_t *frame, uint8_t protocol, uint32_t ip,
				 size_t len)
{
	uint8_t *head = frame + GUEST_ETHER;

	memcpy(frame, guest_gateway_mac, 6);
	memcpy(frame + 6, guest->mac, 6);
	put16(frame + 12, 0x0800);
	memset(head, 0, 20);
	head[0] = 0x45;
	put16(head + 2, 20 + len);
	head[8] = 64;
	head[9] = protocol;
	put32(head + 12, guest->ip);
	put32(head + 16, ip);
	put16(head + 10, ~guest_add(0, head, 20) & 0xffff);
}

/* Fills the checksum of a transport, which is at offset in it. */
static inline void guest_finish(uint8_t *frame, size_t offset, size_t len)
{
	uint8_t *at = frame + 34 + offset;

	put16(at, 0);
	put16(at, ~guest_transport_sum(frame + GUEST_ETHER, 20 + len) & 0xffff);
}

static inline size_t guest_make_udp(struct guest *guest, uint8_t *frame, uint16_t port, uint32_t ip,
				    uint16_t other_port, const void *data, size_t len)
{
	guest_fill_ip(guest, frame, IPPROTO_UDP, ip, 8 + len);
	put16(frame + 34, port);
	put16(frame + 36, other_port);
	put16(frame + 38, 8 + len);
	memcpy(frame + 42, data, len);
	guest_finish(frame, 6, 8 + len);
	return 42 + len;
}

static inline void guest_send_udp(struct guest *guest, uint16_t port, uint32_t ip,
				  uint16_t other_port, const char *text)
{
	uint8_t frame[2048] = {0};

	guest_send_frame(guest, frame,
			 guest_make_udp(guest, frame, port, ip, other_port, text, strlen(text)));
}

static inline size_t guest_make_tcp(const struct guest_tcp *tcp, uint8_t *frame, uint8_t flags,
				    const void *data, size_t len)
{
	uint8_t *head = frame + 34;

	guest_fill_ip(tcp->guest, frame, IPPROTO_TCP, tcp->ip, 20 + len);
	put16(head, tcp->port);
	put16(head + 2, tcp->other_port);
	put32(head + 4, tcp->next);
	put32(head + 8, flags & TH_ACK ? tcp->seen : 0);
	head[12] = 5 << 4;
	head[13] = flags;
	put16(head + 14, 65535);
	put16(head + 18, 0);
	if (len)
		memcpy(head + 20, data, len);
	guest_finish(frame, 16, 20 + len);
	return 54 + len;
}

static inline void guest_send_tcp(struct guest_tcp *tcp, uint8_t flags, const void *data,
				  size_t len)
{
	uint8_t frame[54 + GUEST_MTU] = {0};
	size_t size = guest_make_tcp(tcp, frame, flags, data, len);

	guest_send_frame(tcp->guest, frame, size);
	tcp->next += (uint32_t)len + !!(flags & TH_SYN) + !!(flags & TH_FIN);
}

/* Takes a frame apart; headers that lie fail the test. */
static inline struct guest_packet guest_parse(uint8_t nic, const uint8_t *frame, size_t len)
{
	struct guest_packet packet = {.nic = nic};
	const uint8_t *ip = frame + GUEST_ETHER;
	const uint8_t *transport = ip + 20;
	size_t head = 8;

	CHECK(len >= GUEST_ETHER);
	packet.type = get16(frame + 12);
	packet.data = ip;
	packet.len = len - GUEST_ETHER;
	if (packet.type != 0x0800)
		return packet;
	CHECK(len >= 34 && ip[0] == 0x45 && get16(ip + 2) == len - GUEST_ETHER);
	CHECK(guest_add(0, ip, 20) == 0xffff);
	packet.protocol = ip[9];
	packet.source = get32(ip + 12);
	packet.target = get32(ip + 16);
	if (packet.protocol == IPPROTO_ICMP) {
		packet.flags = transport[0];
		return packet;
	}
	CHECK(guest_transport_sum(ip, len - GUEST_ETHER) == 0xffff);
	packet.source_port = (uint16_t)get16(transport);
	packet.target_port = (uint16_t)get16(transport + 2);
	if (packet.protocol == IPPROTO_TCP) {
		packet.sequence = get32(transport + 4);
		packet.acknowledged = get32(transport + 8);
		packet.flags = transport[13];
		head = (size_t)(transport[12] >> 4) * 4;
	}
	packet.data = transport + head;
	packet.len = len - GUEST_ETHER - 20 - head;
	return packet;
}

/* Frames that came in one message and were not looked at yet. */
struct guest_inbox {
	unsigned int left;
	size_t at;
};

static struct guest_inbox guest_inbox;

/* Bytes of messages whose credit is given back later, all at once. */
static int guest_withholds;
static uint32_t guest_owed;

static inline void guest_pays(struct peer *peer)
{
	peer_credit(peer, 0, 16, guest_owed);
	guest_withholds = 0;
	guest_owed = 0;
}

/* The next frame, which stays until the next call.  Gives back the credit of its message. */
static inline struct guest_packet guest_receive(struct peer *peer)
{
	const uint8_t *at;
	size_t len;

	if (!guest_inbox.left) {
		CHECK(peer_recv(peer) == 2 && peer->len > 4);
		guest_inbox = (struct guest_inbox){.left = get16(peer->frame + 2), .at = 4};
		if (guest_withholds)
			guest_owed += (uint32_t)peer->len;
		else
			peer_credit(peer, 0, (uint8_t)(16 + peer->frame[1]), (uint32_t)peer->len);
	}
	at = peer->frame + guest_inbox.at;
	len = get16(at);
	guest_inbox.left--;
	guest_inbox.at += 2 + len;
	CHECK(guest_inbox.at <= peer->len);
	/* All of a message begin alike. */
	CHECK(memcmp(at + 2, peer->frame + 6, GUEST_ETHER) == 0);
	return guest_parse(peer->frame[1], at + 2, len);
}

/* Is nothing there, for that long? */
static inline int guest_hears_nothing(struct peer *peer, int ms)
{
	struct pollfd wait = {.fd = peer->out, .events = POLLIN};

	return !guest_inbox.left && poll(&wait, 1, ms) == 0;
}

/* The next segment of a connection; its data is acknowledged. */
static inline struct guest_packet guest_receive_tcp(struct guest_tcp *tcp)
{
	struct guest_packet packet;

	do
		packet = guest_receive(tcp->guest->peer);
	while (packet.type != 0x0800 || packet.protocol != IPPROTO_TCP ||
	       packet.target != tcp->guest->ip || packet.target_port != tcp->port ||
	       packet.source_port != tcp->other_port);
	if (packet.flags & TH_SYN)
		tcp->seen = packet.sequence;
	if (packet.flags & (TH_SYN | TH_FIN) || packet.len) {
		CHECK(packet.sequence == tcp->seen);
		tcp->seen += (uint32_t)packet.len + !!(packet.flags & (TH_SYN | TH_FIN));
		guest_send_tcp(tcp, TH_ACK, NULL, 0);
	}
	return packet;
}

static inline struct guest_tcp guest_tcp_to(struct guest *guest, uint32_t ip, uint16_t port)
{
	static uint16_t next_port = 20000;

	return (struct guest_tcp){
		.guest = guest, .ip = ip, .port = next_port++, .other_port = port, .next = 1000};
}

/* Connects: true; false where it is reset. */
static inline int guest_connect(struct guest_tcp *tcp)
{
	struct guest_packet packet;

	guest_send_tcp(tcp, TH_SYN, NULL, 0);
	packet = guest_receive_tcp(tcp);
	if (packet.flags & TH_RST)
		return 0;
	CHECK((packet.flags & (TH_SYN | TH_ACK)) == (TH_SYN | TH_ACK));
	return 1;
}

#endif
