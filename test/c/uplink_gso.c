/* SPDX-License-Identifier: Apache-2.0 */
/* Joined frames are cut into what a cable carries, and undone checksums done */
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include "check.h"
#include "gso.h"

#define GSO_UDP_L4 5
#define FRAMES_MAX 64
#define FRAME_MAX 2048u

/* What was made. */
struct made {
	unsigned int count;
	size_t len[FRAMES_MAX];
	uint8_t frame[FRAMES_MAX][FRAME_MAX];
};

static struct made made;

static void keep(void *context, const uint8_t *frame, size_t len)
{
	struct made *all = context;

	CHECK(all->count < FRAMES_MAX && len <= FRAME_MAX);
	memcpy(all->frame[all->count], frame, len);
	all->len[all->count++] = len;
}

static int cut(const struct gso *gso, const uint8_t *frame, size_t len)
{
	/* Its own memory: what is read behind its end is seen. */
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, frame, len);
	made.count = 0;
	err = gso_cut(gso, copy, len, keep, &made);
	free(copy);
	return err;
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned int get16(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t add(uint32_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A joined frame: tags of VLANs, IPv4 or IPv6, TCP with 12 bytes of options or UDP. */
struct shape {
	unsigned int tags;
	bool ip6, udp;
	size_t payload;
};

static size_t network_at(const struct shape *shape)
{
	return 14 + 4 * (size_t)shape->tags;
}

static size_t transport_at(const struct shape *shape)
{
	return network_at(shape) + (shape->ip6 ? 40 : 20);
}

static size_t payload_at(const struct shape *shape)
{
	return transport_at(shape) + (shape->udp ? 8 : 32);
}

static void fill_network(const struct shape *shape, uint8_t *ip)
{
	if (shape->ip6) {
		ip[0] = 0x60;
		ip[6] = shape->udp ? IPPROTO_UDP : IPPROTO_TCP;
		memset(ip + 8, 0x21, 32);
		return;
	}
	ip[0] = 0x45;
	ip[9] = shape->udp ? IPPROTO_UDP : IPPROTO_TCP;
	put16(ip + 4, 0xfffe);
	memset(ip + 12, 0x0a, 8);
}

static size_t make(const struct shape *shape, uint8_t *frame)
{
	uint8_t *transport = frame + transport_at(shape);

	memset(frame, 0, payload_at(shape));
	for (unsigned int i = 0; i < shape->tags; i++)
		put16(frame + 12 + 4 * (size_t)i, 0x8100);
	put16(frame + network_at(shape) - 2, shape->ip6 ? 0x86dd : 0x0800);
	fill_network(shape, frame + network_at(shape));
	if (!shape->udp) {
		put16(transport + 6, 0xfff0);
		transport[12] = 8 << 4;
		transport[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
	}
	for (size_t i = 0; i < shape->payload; i++)
		frame[payload_at(shape) + i] = (uint8_t)(i * 7);
	return payload_at(shape) + shape->payload;
}

/* The pseudo-header and the transport sum up. */
static bool transport_is_right(const struct shape *shape, const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + network_at(shape);
	size_t size = len - transport_at(shape);
	uint32_t sum = (uint32_t)size + (shape->udp ? IPPROTO_UDP : IPPROTO_TCP);

	sum = shape->ip6 ? add(sum, ip + 8, 32) : add(sum, ip + 12, 8);
	return add(sum, frame + transport_at(shape), size) == 0xffff;
}

static void check_lengths(const struct shape *shape, const uint8_t *frame, size_t len,
			  unsigned int number)
{
	const uint8_t *ip = frame + network_at(shape);
	const uint8_t *transport = frame + transport_at(shape);

	if (shape->ip6) {
		CHECK(get16(ip + 4) == len - transport_at(shape));
	} else {
		CHECK(get16(ip + 2) == len - network_at(shape));
		CHECK(get16(ip + 4) == ((0xfffe + number) & 0xffff));
		CHECK(add(0, ip, 20) == 0xffff);
	}
	if (shape->udp)
		CHECK(get16(transport + 4) == len - transport_at(shape));
}

static void check_segment(const uint8_t *tcp, size_t offset, bool first, bool last)
{
	CHECK(get32(tcp + 4) == 0xfff0 + offset);
	CHECK((tcp[13] & 0x80) == (first ? 0x80 : 0));
	CHECK((tcp[13] & 0x09) == (last ? 0x09 : 0));
	CHECK(tcp[13] & 0x10);
}

static void check_made(const struct shape *shape, size_t size)
{
	size_t seen = 0;

	for (unsigned int i = 0; i < made.count; i++) {
		const uint8_t *frame = made.frame[i];
		size_t part = made.len[i] - payload_at(shape);

		CHECK(part <= size && part > 0);
		CHECK(part == size || i == made.count - 1);
		check_lengths(shape, frame, made.len[i], i);
		CHECK(transport_is_right(shape, frame, made.len[i]));
		if (!shape->udp)
			check_segment(frame + transport_at(shape), seen, i == 0,
				      i == made.count - 1);
		for (size_t j = 0; j < part; j++)
			CHECK(frame[payload_at(shape) + j] == (uint8_t)((seen + j) * 7));
		seen += part;
	}
	CHECK(seen == shape->payload);
}

static uint8_t type_of(const struct shape *shape)
{
	if (shape->udp)
		return GSO_UDP_L4;
	return shape->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

static void joined_frames_are_cut(void)
{
	static const size_t payloads[] = {1, 1447, 1448, 1449, 20001};
	static uint8_t frame[FRAME_MAX + 20001];

	for (unsigned int kind = 0; kind < 12; kind++)
		for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
			const struct shape shape = {.tags = kind / 4,
						    .ip6 = kind & 1,
						    .udp = kind & 2,
						    .payload = payloads[i]};
			const struct gso gso = {.type = type_of(&shape), .size = 1448};

			CHECK(cut(&gso, frame, make(&shape, frame)) == 0);
			CHECK(made.count == (payloads[i] + 1447) / 1448);
			check_made(&shape, 1448);
		}
}

/* The sender leaves the sum of the pseudo-header where the checksum is to be. */
static void undone_checksums_are_done(void)
{
	static uint8_t frame[FRAME_MAX];
	const struct shape shape = {.udp = true, .payload = 101};
	size_t len = make(&shape, frame);
	const struct gso gso = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.csum_start = (uint16_t)transport_at(&shape),
				.csum_offset = 6};
	uint8_t *udp = frame + transport_at(&shape);

	put16(udp + 4, 109);
	put16(udp + 6, add(109 + IPPROTO_UDP, frame + network_at(&shape) + 12, 8));
	CHECK(cut(&gso, frame, len) == 0 && made.count == 1 && made.len[0] == len);
	CHECK(transport_is_right(&shape, made.frame[0], len));
}

static void a_plain_frame_is_left_alone(void)
{
	const uint8_t frame[] = "any frame at all";
	const struct gso plain = {0};

	CHECK(cut(&plain, frame, sizeof(frame)) == 0 && made.count == 1);
	CHECK(made.len[0] == sizeof(frame) && memcmp(made.frame[0], frame, sizeof(frame)) == 0);
}

static void what_is_not_so_is_refused(void)
{
	static uint8_t frame[FRAME_MAX];
	const struct shape shape = {.payload = 500};
	size_t len = make(&shape, frame);
	struct gso gso = {.type = VIRTIO_NET_HDR_GSO_TCPV4, .size = 100};

	/* Every length that cuts a header off, and headers that say what isn't there. */
	for (size_t i = 0; i < payload_at(&shape); i++)
		CHECK(cut(&gso, frame, i) == -EINVAL);
	gso.size = 0;
	CHECK(cut(&gso, frame, len) == -EINVAL);
	gso = (struct gso){.type = VIRTIO_NET_HDR_GSO_UDP, .size = 100};
	CHECK(cut(&gso, frame, len) == -EINVAL);
	gso = (struct gso){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 600};
	CHECK(cut(&gso, frame, len) == -EINVAL);
	gso = (struct gso){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 65535};
	CHECK(cut(&gso, frame, len) == -EINVAL);
	CHECK(made.count == 0);
}

int main(void)
{
	joined_frames_are_cut();
	undone_checksums_are_done();
	a_plain_frame_is_left_alone();
	what_is_not_so_is_refused();
	return 0;
}
