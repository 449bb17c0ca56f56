/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between a guest's socket and the wire: together, in order, and within bounds */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "batch.h"
#include "check.h"
#include "port.h"
#include "util.h"

#define MTU 1500u
#define FRAME_MAX (MTU + EVUM_NIC_OVERHEAD)

/* A port with one NIC, whose guest we are, and whose wire we read. */
struct bench {
	struct port port;
	struct wire rx;
	int wire[2];
	int guest;
};

static void bench_open(struct bench *bench)
{
	struct evum_config config = {.nic_count = 1, .nics = {{.mtu = MTU}}};
	int ends[2];

	memset(bench, 0, sizeof(*bench));
	CHECK(pipe2(bench->wire, O_NONBLOCK | O_CLOEXEC) == 0);
	CHECK(wire_init(&bench->port.wire, -1, bench->wire[1]) == 0);
	CHECK(wire_init(&bench->rx, bench->wire[0], -1) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	bench->guest = ends[1];
	bench->port.epoll = epoll_create1(EPOLL_CLOEXEC);
	frames_init(&bench->port.frames, &config);
	CHECK(frames_link(&bench->port, 0, ends[0]) == 0);
}

static void bench_close(struct bench *bench)
{
	int fd = bench->port.frames.nics[0].fd;

	frames_free(&bench->port);
	fd_close(&fd);
	fd_close(&bench->guest);
	fd_close(&bench->port.epoll);
	wire_free(&bench->port.wire);
	wire_free(&bench->rx);
	close(bench->wire[0]);
	close(bench->wire[1]);
}

/* Lets the port do what epoll says it can, until there is nothing. */
static void bench_run(struct bench *bench)
{
	struct epoll_event event;

	CHECK(frames_settle(&bench->port, !bench->port.wire.queued) == 0);
	while (epoll_wait(bench->port.epoll, &event, 1, 0) == 1) {
		CHECK(frames_handler(&bench->port, event.data.u32 - SOURCE_NIC, event.events) == 0);
		CHECK(wire_flush(&bench->port.wire) == 0);
		CHECK(frames_settle(&bench->port, !bench->port.wire.queued) == 0);
	}
}

static const struct nic_counters *counters(const struct bench *bench)
{
	return &bench->port.frames.nics[0].counters;
}

/* A frame of a flow, its number at the end. */
static size_t make_frame(uint8_t *frame, size_t len, char flow, uint32_t number)
{
	memset(frame, flow, len);
	wire_put32(frame + len - 4, number);
	return len;
}

static bool guest_send(struct bench *bench, size_t len, char flow, uint32_t number)
{
	uint8_t frame[FRAME_MAX + 1];

	make_frame(frame, len, flow, number);
	return send(bench->guest, frame, len, MSG_DONTWAIT) == (ssize_t)len;
}

/* The next message on the wire; false when there is none. */
static bool next_message(struct bench *bench, struct wire_frame *message)
{
	int got;

	while ((got = wire_next(&bench->rx, message)) == 0)
		if (wire_read(&bench->rx) <= 0)
			return false;
	CHECK(got == 1);
	return true;
}

/* The next message is count frames of a flow, the first of that number. */
static size_t expect_message(struct bench *bench, unsigned int count, char flow, uint32_t number)
{
	struct wire_frame message;
	struct batch_frame frame;
	struct batch batch;

	CHECK(next_message(bench, &message));
	CHECK(batch_open(&batch, message.bytes, message.len) == 0);
	CHECK(batch.nic == 0 && batch.count == count);
	while (batch_next(&batch, &frame)) {
		CHECK(frame.bytes[0] == (uint8_t)flow);
		CHECK(wire_get32(frame.bytes + frame.len - 4) == number++);
	}
	return message.len;
}

/* Erlang sends count frames of len bytes, numbered from first. */
static int deliver(struct bench *bench, unsigned int count, size_t len, uint32_t first)
{
	static uint8_t bytes[EVUM_FRAME_MAX];
	struct wire_frame message = {.bytes = bytes, .len = BATCH_HEAD};

	batch_put_head(bytes, 0, count);
	for (uint32_t i = 0; i < count; i++) {
		batch_put_length(bytes + message.len, len);
		message.len += BATCH_LENGTH;
		message.len += make_frame(bytes + message.len, len, 'e', first + i);
	}
	CHECK(message.len <= sizeof(bytes));
	return frames_deliver(&bench->port, &message);
}

/* Reads all that there is; returns how many frames, which are of ascending numbers. */
static unsigned int guest_read(struct bench *bench, uint32_t *last)
{
	uint8_t frame[FRAME_MAX + 1];
	unsigned int count = 0;
	ssize_t len;

	while ((len = recv(bench->guest, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
		uint32_t number = wire_get32(frame + len - 4);

		CHECK(!count || number == *last + 1);
		*last = number;
		count++;
	}
	return count;
}

static void neighbours_of_one_flow_are_one_message(void)
{
	struct bench bench;

	bench_open(&bench);
	for (uint32_t i = 0; i < 6; i++)
		CHECK(guest_send(&bench, 60 + i, i < 3 ? 'a' : 'b', i));
	CHECK(guest_send(&bench, 60, 'a', 6));
	bench_run(&bench);
	expect_message(&bench, 3, 'a', 0);
	expect_message(&bench, 3, 'b', 3);
	expect_message(&bench, 1, 'a', 6);
	CHECK(counters(&bench)->rx_frames == 7 && counters(&bench)->rx_bytes == 435);
	bench_close(&bench);
}

static void what_is_no_frame_is_counted_and_goes_nowhere(void)
{
	static const char giant[70000];
	struct wire_frame message;
	struct bench bench;

	bench_open(&bench);
	CHECK(guest_send(&bench, BATCH_FLOW - 1, 'a', 0));
	CHECK(guest_send(&bench, FRAME_MAX + 1, 'a', 0));
	CHECK(send(bench.guest, giant, sizeof(giant), 0) == sizeof(giant));
	CHECK(guest_send(&bench, FRAME_MAX, 'a', 1));
	bench_run(&bench);
	expect_message(&bench, 1, 'a', 1);
	CHECK(!next_message(&bench, &message));
	CHECK(counters(&bench)->rx_bad == 3 && counters(&bench)->rx_frames == 1);
	bench_close(&bench);
}

/* All that may come without credit, to the last frame that fits. */
static size_t spend_window(struct bench *bench, uint32_t *sent)
{
	struct wire_frame message;
	size_t spent = 0;
	size_t before;

	do {
		before = spent;
		while (guest_send(bench, FRAME_MAX, 'a', *sent))
			++*sent;
		bench_run(bench);
		while (next_message(bench, &message))
			spent += message.len;
	} while (spent > before);
	return spent;
}

static void a_guest_waits_for_credit(void)
{
	struct bench bench;
	uint32_t sent = 0;
	size_t spent;

	bench_open(&bench);
	spent = spend_window(&bench, &sent);
	CHECK(spent <= EVUM_NIC_WINDOW && spent > EVUM_NIC_WINDOW - 2 * FRAME_MAX);
	CHECK(!guest_send(&bench, FRAME_MAX, 'a', sent));
	CHECK(counters(&bench)->tx_dropped == 0 && counters(&bench)->rx_bad == 0);
	CHECK(frames_credit(&bench.port, 0, 20000) == 0);
	spent = spend_window(&bench, &sent);
	CHECK(spent <= 20000 + 2 * FRAME_MAX && spent > 20000 - 2 * FRAME_MAX);
	/* Nothing that waited was lost on the way. */
	CHECK(frames_credit(&bench.port, 0, EVUM_NIC_WINDOW / 2) == 0);
	spend_window(&bench, &sent);
	CHECK(counters(&bench)->rx_frames > EVUM_NIC_WINDOW / FRAME_MAX);
	bench_close(&bench);
}

static void more_credit_than_was_spent_is_refused(void)
{
	struct bench bench;

	bench_open(&bench);
	CHECK(frames_credit(&bench.port, 0, 1) == -EPROTO);
	CHECK(frames_credit(&bench.port, 1, 0) == -EPROTO);
	CHECK(frames_credit(&bench.port, 200, 0) == -EPROTO);
	CHECK(guest_send(&bench, 60, 'a', 0));
	bench_run(&bench);
	CHECK(frames_credit(&bench.port, 0, 67) == -EPROTO);
	CHECK(frames_credit(&bench.port, 0, 66) == 0);
	bench_close(&bench);
}

static void frames_reach_the_guest_in_order(void)
{
	struct bench bench;
	unsigned int got = 0;
	uint32_t last = 0;

	bench_open(&bench);
	for (uint32_t i = 0; i < 20; i++)
		CHECK(deliver(&bench, 150, 100, i * 150) == 0);
	for (unsigned int some = 1; some; got += some) {
		some = guest_read(&bench, &last);
		bench_run(&bench);
	}
	CHECK(got == 3000 && last == 2999);
	CHECK(counters(&bench)->tx_frames == 3000 && counters(&bench)->tx_dropped == 0);
	CHECK(counters(&bench)->tx_bytes == 300000);
	bench_close(&bench);
}

static void a_guest_that_does_not_read_loses_what_is_over_the_bound(void)
{
	unsigned int got = 0;
	unsigned int first;
	struct bench bench;
	uint32_t last = 0;

	bench_open(&bench);
	for (uint32_t i = 0; i < 40; i++)
		CHECK(deliver(&bench, 100, 1500, i * 100) == 0);
	CHECK(bench.port.frames.nics[0].queue.len <= EVUM_NIC_QUEUE);
	CHECK(bench.port.frames.nics[0].queue.len > EVUM_NIC_QUEUE - FRAME_MAX);
	CHECK(counters(&bench)->tx_dropped > 0);
	first = 4000 - (unsigned int)counters(&bench)->tx_dropped;
	for (unsigned int some = 1; some; got += some) {
		some = guest_read(&bench, &last);
		bench_run(&bench);
	}
	/* The tail was dropped, and what came before it is whole. */
	CHECK(got == first && last == first - 1);
	CHECK(deliver(&bench, 1, 1500, 5000) == 0);
	CHECK(guest_read(&bench, &last) == 1 && last == 5000);
	bench_close(&bench);
}

static void what_the_guest_cannot_take_is_dropped(void)
{
	struct bench bench;
	uint32_t last = 0;

	bench_open(&bench);
	CHECK(deliver(&bench, 2, FRAME_MAX + 1, 0) == 0);
	CHECK(deliver(&bench, 2, BATCH_FLOW - 1, 0) == 0);
	CHECK(deliver(&bench, 1, FRAME_MAX, 7) == 0);
	CHECK(guest_read(&bench, &last) == 1 && last == 7);
	CHECK(counters(&bench)->tx_dropped == 4 && counters(&bench)->tx_frames == 1);
	bench_close(&bench);
}

static void a_batch_that_lies_is_refused(void)
{
	uint8_t bytes[] = {CHANNEL_FRAMES, 0, 0, 1, 0, 3, 'a', 'b'};
	uint8_t other[] = {CHANNEL_FRAMES, 1, 0, 0};
	struct wire_frame message = {.bytes = bytes, .len = sizeof(bytes)};
	struct bench bench;

	bench_open(&bench);
	CHECK(frames_deliver(&bench.port, &message) == -EPROTO);
	message = (struct wire_frame){.bytes = other, .len = sizeof(other)};
	CHECK(frames_deliver(&bench.port, &message) == -EPROTO);
	bench_close(&bench);
}

static void a_link_that_is_down_takes_no_frames(void)
{
	struct bench bench;
	int fd;

	bench_open(&bench);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(deliver(&bench, 100, 1500, i) == 0);
	fd = bench.port.frames.nics[0].fd;
	/* First the guest hangs up, then libevum says so. */
	fd_close(&bench.guest);
	bench_run(&bench);
	CHECK(deliver(&bench, 3, 100, 0) == 0);
	CHECK(frames_link(&bench.port, 0, -1) == 0);
	close(fd);
	CHECK(deliver(&bench, 3, 100, 0) == 0);
	bench_run(&bench);
	CHECK(counters(&bench)->tx_frames + counters(&bench)->tx_dropped == 506);
	bench_close(&bench);
}

/* The guest was down and up again when the end of its first connection is looked at. */
static void a_new_link_does_not_end_with_the_old_one(void)
{
	struct epoll_event event;
	struct bench bench;
	int ends[2];
	int old;

	bench_open(&bench);
	CHECK(frames_settle(&bench.port, true) == 0);
	old = bench.port.frames.nics[0].fd;
	fd_close(&bench.guest);
	CHECK(epoll_wait(bench.port.epoll, &event, 1, 0) == 1 && event.events & EPOLLHUP);
	CHECK(frames_link(&bench.port, 0, -1) == 0);
	close(old);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	bench.guest = ends[1];
	CHECK(frames_link(&bench.port, 0, ends[0]) == 0);
	CHECK(frames_handler(&bench.port, 0, event.events) == 0);
	CHECK(guest_send(&bench, 60, 'a', 0));
	bench_run(&bench);
	expect_message(&bench, 1, 'a', 0);
	bench_close(&bench);
}

/* Else its descriptor, which has room, would be looked at for ever. */
static void what_waits_for_a_guest_that_reads_no_more_is_dropped(void)
{
	struct bench bench;
	uint32_t last;

	bench_open(&bench);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(deliver(&bench, 100, 1500, i * 100) == 0);
	CHECK(bench.port.frames.nics[0].queue.len > 0);
	CHECK(shutdown(bench.guest, SHUT_RD) == 0);
	CHECK(guest_read(&bench, &last) > 0);
	bench_run(&bench);
	CHECK(bench.port.frames.nics[0].queue.len == 0);
	CHECK(counters(&bench)->tx_frames + counters(&bench)->tx_dropped == 500);
	bench_close(&bench);
}

/* Once the wire is full the guest's frames wait where they are, and come later. */
static void a_late_reader_gets_every_frame(void)
{
	struct bench bench;
	bool was_full = false;
	uint32_t sent = 0;

	bench_open(&bench);
	for (uint32_t i = 0; i < 600; i++) {
		while (sent < 600 && guest_send(&bench, 1500, (char)('a' + sent % 2), sent))
			sent++;
		bench_run(&bench);
		was_full |= bench.port.wire.queued > 0;
		CHECK(bench.port.wire.queued <= 2 * (size_t)FRAMES_BYTES);
		expect_message(&bench, 1, (char)('a' + i % 2), i);
		CHECK(wire_flush(&bench.port.wire) == 0);
	}
	CHECK(was_full && !bench.port.wire.queued);
	bench_close(&bench);
}

int main(void)
{
	neighbours_of_one_flow_are_one_message();
	what_is_no_frame_is_counted_and_goes_nowhere();
	a_guest_waits_for_credit();
	more_credit_than_was_spent_is_refused();
	frames_reach_the_guest_in_order();
	a_guest_that_does_not_read_loses_what_is_over_the_bound();
	what_the_guest_cannot_take_is_dropped();
	a_batch_that_lies_is_refused();
	a_link_that_is_down_takes_no_frames();
	a_new_link_does_not_end_with_the_old_one();
	what_waits_for_a_guest_that_reads_no_more_is_dropped();
	a_late_reader_gets_every_frame();
	return 0;
}
