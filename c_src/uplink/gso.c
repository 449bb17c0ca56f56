/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as the host's drivers leave them, made into frames for a cable; pure
 *
 * Theory of operation.  Programs on the same host hand one another, and network
 * cards hand up, TCP segments (and datagrams of one UDP stream) joined to as much
 * as 64 KB, and leave checksums undone that no cable would have to carry.  A
 * virtio header says so: what is cut has payload bytes of size each; an undone
 * checksum is the sum of the pseudo-header, to be completed from csum_start on.
 *
 * Each frame that is cut has the headers of the joined one, with its own length,
 * IPv4 id and sequence number; FIN and PSH are the last one's, CWR the first one's;
 * all checksums are made anew.  Lengths are the frame's, never its headers' word.
 */
#include "gso.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include "util.h"

/* Ethernet, two tags, IPv4 or IPv6 without extensions, TCP with options. */
#define HEADERS_MAX 142u
#define ETHER_HEAD 14u
#define VLAN_TAG 4u
#define TAGS_MAX 2u

/* Newer than some headers. */
#define GSO_UDP_L4 5

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

/* Where the parts of a joined frame begin. */
struct layout {
	size_t network, transport, payload;
	bool ip6, udp;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

/* Adds the 16-bit words of bytes, the last one padded with a zero. */
static uint64_t add_words(uint64_t sum, const uint8_t *bytes, size_t len)
{
	size_t i = 0;

	for (; i + 1 < len; i += 2)
		sum += get16(bytes + i);
	if (i < len)
		sum += (uint64_t)bytes[i] << 8;
	return sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static int complete(const struct gso *gso, uint8_t *frame, size_t len)
{
	size_t at = (size_t)gso->csum_start + gso->csum_offset;
	uint16_t sum;

	if (!(gso->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return 0;
	if (gso->csum_start > len || len < 2 || at > len - 2)
		return -EINVAL;
	sum = fold(add_words(0, frame + gso->csum_start, len - gso->csum_start));
	/* UDP's zero is "none"; TCP takes either for zero. */
	put16(frame + at, sum ? sum : 0xffff);
	return 0;
}

/* --- what a joined frame consists of ----------------------------------------- */

static bool find_network(const uint8_t *frame, size_t len, struct layout *layout)
{
	size_t type = ETHER_HEAD - 2;

	for (unsigned int tags = 0; tags < TAGS_MAX && len >= type + VLAN_TAG + 2; tags++) {
		if (get16(frame + type) != 0x8100 && get16(frame + type) != 0x88a8)
			break;
		type += VLAN_TAG;
	}
	if (len < type + 2)
		return false;
	layout->network = type + 2;
	layout->ip6 = get16(frame + type) == 0x86dd;
	return layout->ip6 || get16(frame + type) == 0x0800;
}

static bool find_transport(const uint8_t *frame, size_t len, struct layout *layout)
{
	const uint8_t *ip = frame + layout->network;
	size_t left = len - layout->network;
	size_t head = 40;
	uint8_t protocol;

	if (left < (layout->ip6 ? 40u : 20u))
		return false;
	protocol = layout->ip6 ? ip[6] : ip[9];
	if (!layout->ip6)
		head = (size_t)(ip[0] & 0x0f) * 4;
	if (head < 20 || head > left || protocol != (layout->udp ? IPPROTO_UDP : IPPROTO_TCP))
		return false;
	layout->transport = layout->network + head;
	return true;
}

static bool find_payload(const uint8_t *frame, size_t len, struct layout *layout)
{
	const uint8_t *transport = frame + layout->transport;
	size_t left = len - layout->transport;
	size_t head = 8;

	if (left < (layout->udp ? 8u : 20u))
		return false;
	if (!layout->udp)
		head = (size_t)(transport[12] >> 4) * 4;
	if (head < 8 || (!layout->udp && head < 20) || head > left)
		return false;
	layout->payload = layout->transport + head;
	return layout->payload <= HEADERS_MAX;
}

static int layout_find(const struct gso *gso, const uint8_t *frame, size_t len,
		       struct layout *layout)
{
	uint8_t type = gso->type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	*layout = (struct layout){.udp = type == GSO_UDP_L4};
	if (!layout->udp && type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6)
		return -EINVAL;
	if (!gso->size || !find_network(frame, len, layout) ||
	    !find_transport(frame, len, layout) || !find_payload(frame, len, layout))
		return -EINVAL;
	return 0;
}

/* --- cutting ------------------------------------------------------------------ */

/* The sum over the pseudo-header of a transport of len bytes. */
static uint64_t pseudo_sum(const struct layout *layout, const uint8_t *ip, size_t len)
{
	uint64_t sum = len + (layout->udp ? IPPROTO_UDP : IPPROTO_TCP);

	return layout->ip6 ? add_words(sum, ip + 8, 32) : add_words(sum, ip + 12, 8);
}

static void finish_network(const struct layout *layout, uint8_t *out, size_t len, size_t number)
{
	uint8_t *ip = out + layout->network;
	size_t head = layout->transport - layout->network;

	if (layout->ip6) {
		put16(ip + 4, len - layout->transport);
		return;
	}
	put16(ip + 2, len - layout->network);
	put16(ip + 4, (get16(ip + 4) + number) & 0xffff);
	put16(ip + 10, 0);
	put16(ip + 10, fold(add_words(0, ip, head)));
}

static void finish_transport(const struct layout *layout, uint8_t *out, size_t len)
{
	uint8_t *transport = out + layout->transport;
	uint8_t *check = transport + (layout->udp ? 6 : 16);
	size_t size = len - layout->transport;
	uint16_t sum;

	if (layout->udp)
		put16(transport + 4, size);
	put16(check, 0);
	sum = fold(add_words(pseudo_sum(layout, out + layout->network, size), transport, size));
	put16(check, sum ? sum : 0xffff);
}

/* The segment's own place in the stream. */
static void finish_segment(uint8_t *tcp, size_t offset, bool first, bool last)
{
	put32(tcp + 4, get32(tcp + 4) + (uint32_t)offset);
	if (!first)
		tcp[13] &= (uint8_t)~TCP_CWR;
	if (!last)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

static void cut(const struct gso *gso, const struct layout *layout, const uint8_t *frame,
		size_t len, gso_done *done, void *context)
{
	uint8_t out[HEADERS_MAX + UINT16_MAX];
	size_t all = len - layout->payload;
	size_t number = 0;

	for (size_t offset = 0; offset < all; offset += gso->size, number++) {
		size_t part = min_size(all - offset, gso->size);
		size_t size = layout->payload + part;

		memcpy(out, frame, layout->payload);
		memcpy(out + layout->payload, frame + layout->payload + offset, part);
		finish_network(layout, out, size, number);
		if (!layout->udp)
			finish_segment(out + layout->transport, offset, number == 0,
				       offset + part == all);
		finish_transport(layout, out, size);
		done(context, out, size);
	}
}

int gso_cut(const struct gso *gso, uint8_t *frame, size_t len, gso_done *done, void *context)
{
	struct layout layout;
	int err;

	if (gso->type == VIRTIO_NET_HDR_GSO_NONE) {
		err = complete(gso, frame, len);
		if (!err)
			done(context, frame, len);
		return err;
	}
	err = layout_find(gso, frame, len, &layout);
	if (!err)
		cut(gso, &layout, frame, len, done, context);
	return err;
}
