/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of frames: whole, in order, and joined where that is allowed */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "check.h"
#include "evum_proto.h"
#include "wire.h"

/* What is queued can be read at the other end. */
struct line {
	struct wire tx, rx;
	int fds[2];
};

static void line_open(struct line *line)
{
	CHECK(pipe2(line->fds, O_NONBLOCK | O_CLOEXEC) == 0);
	CHECK(wire_init(&line->tx, -1, line->fds[1]) == 0);
	CHECK(wire_init(&line->rx, line->fds[0], -1) == 0);
}

static void line_close(struct line *line)
{
	wire_free(&line->tx);
	wire_free(&line->rx);
	close(line->fds[0]);
	close(line->fds[1]);
}

/* The next frame, moving bytes as long as it takes. */
static struct wire_frame line_next(struct line *line)
{
	struct wire_frame frame;
	int got;

	while ((got = wire_next(&line->rx, &frame)) == 0) {
		CHECK(wire_flush(&line->tx) == 0);
		CHECK(wire_read(&line->rx) > 0);
	}
	CHECK(got == 1);
	return frame;
}

static void neighbours_of_one_stream_are_joined(void)
{
	struct line line;
	struct wire_frame frame;

	line_open(&line);
	for (int i = 0; i < 100; i++)
		CHECK(wire_send_console(&line.tx, "ab", 2) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 1, "c", 1) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 1, "d", 1) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 2, "e", 1) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 2, NULL, 0) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 2, "f", 1) == 0);
	CHECK(wire_send_credit(&line.tx, 1, 0, 70000) == 0);
	CHECK(wire_send_stream(&line.tx, 1, 2, "g", 1) == 0);
	frame = line_next(&line);
	CHECK(frame.len == 201 && memcmp(frame.bytes, "\1abab", 5) == 0);
	frame = line_next(&line);
	CHECK(frame.len == 8 && memcmp(frame.bytes, "\4\0\0\0\1\1cd", 8) == 0);
	frame = line_next(&line);
	CHECK(frame.len == 7 && memcmp(frame.bytes, "\4\0\0\0\1\2e", 7) == 0);
	CHECK(line_next(&line).len == 6);
	CHECK(line_next(&line).len == 7);
	frame = line_next(&line);
	CHECK(frame.len == 10 && memcmp(frame.bytes, "\3\0\0\0\1\0\0\1\x11\x70", 10) == 0);
	CHECK(line_next(&line).len == 7);
	CHECK(line.tx.queued == 0);
	line_close(&line);
}

/* Parts of many sizes against a pipe that takes less: each byte once, in order. */
static void bytes_stay_in_order(void)
{
	static uint8_t bytes[150000];
	struct line line;
	size_t sent = 0;
	size_t seen = 0;

	line_open(&line);
	for (size_t part = 1; part < sizeof(bytes); part = part * 2 + 1) {
		for (size_t i = 0; i < part; i++)
			bytes[i] = (uint8_t)((sent + i) % 253);
		CHECK(wire_send_console(&line.tx, bytes, part) == 0);
		sent += part;
		if (part % 3)
			CHECK(wire_flush(&line.tx) == 0);
	}
	while (seen < sent) {
		struct wire_frame frame = line_next(&line);

		CHECK(frame.bytes[0] == CHANNEL_CONSOLE && frame.len <= 1 + EVUM_BULK_MAX);
		for (size_t i = 1; i < frame.len; i++, seen++)
			CHECK(frame.bytes[i] == (uint8_t)(seen % 253));
	}
	CHECK(line.tx.queued == 0 && line.tx.head == NULL);
	line_close(&line);
}

static void answers_are_counted_until_they_are_sent(void)
{
	static char term[EVUM_FRAME_MAX];
	struct line line;

	line_open(&line);
	CHECK(wire_send_control(&line.tx, term, 100, false) == 0 && line.tx.answers == 0);
	CHECK(wire_send_control(&line.tx, term, EVUM_FRAME_MAX, true) == -EMSGSIZE);
	CHECK(wire_send_control(&line.tx, term, EVUM_FRAME_MAX - 1, true) == 0);
	CHECK(wire_send_control(&line.tx, term, 10, true) == 0);
	CHECK(line.tx.answers == 4 + EVUM_FRAME_MAX + 15);
	CHECK(line_next(&line).len == 101);
	CHECK(line_next(&line).len == EVUM_FRAME_MAX);
	CHECK(line_next(&line).len == 11);
	CHECK(line.tx.answers == 0);
	line_close(&line);
}

int main(void)
{
	neighbours_of_one_stream_are_joined();
	bytes_stay_in_order();
	answers_are_counted_until_they_are_sent();
	return 0;
}
