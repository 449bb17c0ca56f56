/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: frames survive any cut and any garbage between them
 */
#include <errno.h>
#include <string.h>

#include "agent_proto.h"
#include "check.h"
#include "frame.h"

static struct frame_reader reader;

static void clear(void)
{
	reader.start = reader.end = 0;
	reader.garbage = 0;
}

/* Feeds all of bytes; counts the frames, the last of which is left in *last. */
static int feed(const uint8_t *bytes, size_t len, size_t step, struct frame *last)
{
	struct frame frame;
	size_t room, n;
	uint8_t *at;
	int count = 0;

	while (len > 0) {
		at = frame_room(&reader, &room);
		CHECK(room > 0);
		n = len < step ? len : step;
		n = n < room ? n : room;
		memcpy(at, bytes, n);
		frame_added(&reader, n);
		bytes += n;
		len -= n;
		while (frame_next(&reader, &frame)) {
			*last = frame;
			count++;
		}
	}
	return count;
}

static void copy(uint8_t *to, const void *bytes, size_t len)
{
	memcpy(to, bytes, len);
}

static size_t put(uint8_t *out, uint8_t type, uint32_t id, const char *text)
{
	size_t len = strlen(text);

	frame_put_header(out, type, 1, id, (uint32_t)len);
	copy(out + FRAME_HEADER, text, len);
	return FRAME_HEADER + len;
}

static void any_cut_gives_the_same_frames(void)
{
	uint8_t bytes[256];
	struct frame last;
	size_t len, step;

	len = put(bytes, AGENT_RUN, 7, "umumum");
	len += put(bytes + len, AGENT_STDIN, 0xfedcba98u, "hello");
	for (step = 1; step <= len; step++) {
		clear();
		CHECK(feed(bytes, len, step, &last) == 2);
		CHECK(last.type == AGENT_STDIN && last.fd == 1 && last.id == 0xfedcba98u);
		CHECK(last.len == 5 && memcmp(last.payload, "hello", 5) == 0);
		CHECK(reader.garbage == 0);
	}
}

static void garbage_is_skipped_and_counted(void)
{
	static const char junk[] = "login: u um umx";
	uint8_t bytes[256];
	struct frame last;
	size_t len;

	memcpy(bytes, junk, sizeof(junk) - 1);
	len = sizeof(junk) - 1;
	len += put(bytes + len, AGENT_SIGNAL, 3, "abcd");
	clear();
	CHECK(feed(bytes, len, 1, &last) == 1);
	CHECK(last.type == AGENT_SIGNAL && last.id == 3);
	CHECK(reader.garbage == sizeof(junk) - 1);
}

static void false_headers_are_garbage(void)
{
	uint8_t bytes[64];
	struct frame last;
	size_t len;

	clear();
	frame_put_header(bytes, AGENT_RUN, 0, 0, AGENT_PAYLOAD_MAX + 1);
	frame_put_header(bytes + FRAME_HEADER, AGENT_HELLO, 0, 0, 0);
	len = 2 * FRAME_HEADER;
	len += put(bytes + len, AGENT_TYPED, 0, "1234");
	CHECK(feed(bytes, len, len, &last) == 1);
	CHECK(last.type == AGENT_TYPED && reader.garbage == 2 * FRAME_HEADER);
}

static void full_size_fits(void)
{
	static uint8_t bytes[2 * FRAME_MAX];
	struct frame last;

	clear();
	frame_put_header(bytes, AGENT_STDIN, 0, 1, AGENT_PAYLOAD_MAX);
	frame_put_header(bytes + FRAME_MAX, AGENT_STDIN, 0, 2, AGENT_PAYLOAD_MAX);
	CHECK(feed(bytes, sizeof(bytes), 4096, &last) == 2);
	CHECK(last.id == 2 && last.len == AGENT_PAYLOAD_MAX);
}

/* A linear congruential generator: the same garbage in every run. */
static uint32_t next_random(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 16; /* the low bits have short periods */
}

/* One byte in eight is of a header's magic. */
static uint8_t next_garbage(void)
{
	static const uint8_t magic[] = {AGENT_MAGIC & 0xff, AGENT_MAGIC >> 8};
	uint32_t random = next_random();

	return (random & 7) == 0 ? magic[random >> 3 & 1] : (uint8_t)(random >> 8);
}

static void no_garbage_stops_the_reader(void)
{
	static uint8_t bytes[65536];
	static const uint8_t zeros[FRAME_MAX];
	struct frame last;
	uint8_t good[64];
	size_t i, len;
	int round;

	clear();
	for (round = 0; round < 200; round++) {
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = next_garbage();
		feed(bytes, sizeof(bytes), next_random() % 5000 + 1, &last);
	}
	/* A false header swallows a payload at most. */
	feed(zeros, sizeof(zeros), sizeof(zeros), &last);
	len = put(good, AGENT_CONTROL, 0, "x");
	CHECK(feed(good, len, len, &last) == 1 && last.type == AGENT_CONTROL);
}

static void fields_end_where_the_payload_does(void)
{
	const uint8_t good[] = {1, 2, 0, 0, 0, 'h', 'i', 2, 0, 0, 0, 0};
	const uint8_t bad[] = {1, 0xff, 0xff, 0xff, 0xff, 'x'};
	struct frame_field field;
	const uint8_t *at = good;
	size_t len = sizeof(good);

	CHECK(frame_next_field(&at, &len, &field) == 1);
	CHECK(field.tag == 1 && field.len == 2 && memcmp(field.bytes, "hi", 2) == 0);
	CHECK(frame_next_field(&at, &len, &field) == 1 && field.tag == 2 && field.len == 0);
	CHECK(frame_next_field(&at, &len, &field) == 0);
	at = bad;
	len = sizeof(bad);
	CHECK(frame_next_field(&at, &len, &field) == -EBADMSG);
	len = 4;
	CHECK(frame_next_field(&at, &len, &field) == -EBADMSG);
}

int main(void)
{
	any_cut_gives_the_same_frames();
	garbage_is_skipped_and_counted();
	false_headers_are_garbage();
	full_size_fits();
	no_garbage_stops_the_reader();
	fields_end_where_the_payload_does();
	return 0;
}
