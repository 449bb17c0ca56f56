/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a machine's TCP libslirp keeps because a part before it is missing
 *
 * Theory of operation.  libslirp (4.7) keeps segments that come ahead of what it
 * waits for, each in memory for the largest frame, in a list that it walks for
 * each further one.  The window bounds their bytes, which may come one by one:
 * a connection could cost 100 MB, and a frame milliseconds in which no other
 * machine is served.  So they are counted here, and what is over the bound is
 * dropped, as a network may.  Guests that lose a frame now and then stay below it.
 *
 * What libslirp waits for is in each of its own segments; nothing that the machine
 * says is believed.  When all that came ahead is acknowledged, nothing is kept.  Of a
 * connection that is not known, or not any more, everything is let through:
 * libslirp's answer makes it known.
 */
#include "segments.h"

#include <netinet/in.h>

#define ETHER_HEAD 14u
#define IP4_HEAD 20u
#define IP6_HEAD 40u
#define TCP_HEAD 20u
#define TYPE_IP4 0x0800
#define TYPE_IP6 0x86dd

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_ACK 0x10u

_Static_assert(STREAMS_MAX < UINT16_MAX, "a number of a stream fits");

struct segment {
	const uint8_t *addresses; /* source and target */
	size_t address_size;
	const uint8_t *tcp;
	uint32_t sequence, acknowledged;
	uint32_t size; /* in sequence numbers */
	uint8_t flags;
};

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

/* Finds the TCP of an IP packet with plain headers; returns the bytes it has, or 0. */
static size_t find_tcp(const uint8_t *frame, size_t len, struct segment *segment)
{
	const uint8_t *ip = frame + ETHER_HEAD;
	size_t left = len - ETHER_HEAD;
	size_t size;

	if (get16(frame + 12) == TYPE_IP4 && left >= IP4_HEAD && ip[9] == IPPROTO_TCP) {
		size = get16(ip + 2);
		segment->addresses = ip + 12;
		segment->address_size = 4;
		segment->tcp = ip + IP4_HEAD;
		return size >= IP4_HEAD && size <= left ? size - IP4_HEAD : 0;
	}
	if (get16(frame + 12) == TYPE_IP6 && left >= IP6_HEAD && ip[6] == IPPROTO_TCP) {
		size = get16(ip + 4);
		segment->addresses = ip + 8;
		segment->address_size = 16;
		segment->tcp = ip + IP6_HEAD;
		return size <= left - IP6_HEAD ? size : 0;
	}
	return 0;
}

static bool segment_open(struct segment *segment, const uint8_t *frame, size_t len)
{
	size_t left = len < ETHER_HEAD ? 0 : find_tcp(frame, len, segment);
	size_t head;

	if (left < TCP_HEAD)
		return false;
	head = (size_t)(segment->tcp[12] >> 4) * 4;
	if (head < TCP_HEAD || head > left)
		return false;
	segment->sequence = get32(segment->tcp + 4);
	segment->acknowledged = get32(segment->tcp + 8);
	segment->flags = segment->tcp[13];
	segment->size = (uint32_t)(left - head) + !!(segment->flags & TCP_FIN);
	return true;
}

/* --- the table ---------------------------------------------------------------- */

static uint64_t mix(uint64_t key, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		key = (key ^ bytes[i]) * 0x100000001b3u;
	return key ^ key >> 29;
}

/* The same both ways: the machine's end goes first. */
static uint64_t key_of(const struct segments *segments, const struct segment *segment, bool made)
{
	const size_t size = segment->address_size;
	uint64_t key = segments->seed;

	key = mix(key, segment->addresses + (made ? size : 0), size);
	key = mix(key, segment->tcp + (made ? 2 : 0), 2);
	key = mix(key, segment->addresses + (made ? 0 : size), size);
	return mix(key, segment->tcp + (made ? 0 : 2), 2);
}

static uint16_t *bucket(struct segments *segments, uint64_t key)
{
	return &segments->heads[key % STREAMS_MAX];
}

static struct stream *find(struct segments *segments, uint64_t key)
{
	uint16_t number = *bucket(segments, key);

	while (number && segments->table[number - 1].key != key)
		number = segments->table[number - 1].chain;
	return number ? &segments->table[number - 1] : NULL;
}

/* Nothing is kept of it any more. */
static void settle(struct segments *segments, struct stream *stream)
{
	segments->ahead -= stream->ahead;
	stream->ahead = 0;
}

static void unchain(struct segments *segments, const struct stream *stream, uint16_t number)
{
	uint16_t *link = bucket(segments, stream->key);

	while (*link && *link != number)
		link = &segments->table[*link - 1].chain;
	if (*link)
		*link = stream->chain;
}

/* In the place of the oldest. */
static struct stream *add(struct segments *segments, uint64_t key, uint32_t next)
{
	uint16_t number = (uint16_t)(segments->made++ % STREAMS_MAX + 1);
	struct stream *stream = &segments->table[number - 1];

	unchain(segments, stream, number);
	settle(segments, stream);
	*stream = (struct stream){
		.key = key, .next = next, .high = next, .chain = *bucket(segments, key)};
	*bucket(segments, key) = number;
	return stream;
}

/* ------------------------------------------------------------------------------ */

static bool is_after(uint32_t a, uint32_t b)
{
	return a - b - 1 < INT32_MAX;
}

bool segments_take(struct segments *segments, const uint8_t *frame, size_t len)
{
	struct segment segment;
	struct stream *stream;

	if (!segment_open(&segment, frame, len) || !segment.size || segment.flags & TCP_SYN)
		return true;
	stream = find(segments, key_of(segments, &segment, false));
	if (!stream || !is_after(segment.sequence, stream->next))
		return true;
	if (stream->ahead == STREAM_AHEAD_MAX || segments->ahead == STREAMS_AHEAD_MAX)
		return false;
	stream->ahead++;
	segments->ahead++;
	if (is_after(segment.sequence + segment.size, stream->high))
		stream->high = segment.sequence + segment.size;
	return true;
}

void segments_made(struct segments *segments, const uint8_t *frame, size_t len)
{
	struct segment segment;
	struct stream *stream;
	uint64_t key;

	if (!segment_open(&segment, frame, len))
		return;
	key = key_of(segments, &segment, true);
	stream = find(segments, key);
	if (segment.flags & TCP_RST) {
		if (stream)
			settle(segments, stream);
		return;
	}
	if (!(segment.flags & TCP_ACK))
		return;
	if (!stream)
		stream = add(segments, key, segment.acknowledged);
	stream->next = segment.acknowledged;
	if (is_after(stream->high, stream->next))
		return;
	stream->high = stream->next;
	settle(segments, stream);
}
