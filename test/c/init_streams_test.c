/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: what goes to and from a program arrives whole, and what waits is bounded
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "held.h"
#include "input.h"
#include "output.h"
#include "proc.h"
#include "spool.h"

static struct outq out;
static struct spool spool;
static unsigned int grown;
static uint8_t bulk[AGENT_SPOOL_SLOT];
static uint8_t got[2 * AGENT_SPOOL_SLOT];

static int temporary(void)
{
	char name[] = "/tmp/evum-spool-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && unlink(name) == 0);
	CHECK(ftruncate(fd, (off_t)AGENT_SPOOL_SLOTS * AGENT_SPOOL_SLOT) == 0);
	return fd;
}

static void make_pipe(int fds[2])
{
	CHECK(pipe(fds) == 0);
	CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
}

/* The next frame of those made, or NULL. */
static const uint8_t *next_made(struct agent_header *header)
{
	const uint8_t *at = out.bytes + out.start;

	if (outq_empty(&out)) {
		out.start = out.end = 0;
		return NULL;
	}
	memcpy(header, at, sizeof(*header));
	out.start += sizeof(*header) + header->len;
	return at + sizeof(*header);
}

static uint32_t next_credit(void)
{
	struct agent_header header = {0};
	const uint8_t *payload = next_made(&header);

	CHECK(payload == NULL || header.type == AGENT_CREDIT);
	return payload != NULL ? frame_u32(payload) : 0;
}

static void pieces_keep_their_order(void)
{
	struct held held = {0};
	uint32_t len, total = 0, i;
	const uint8_t *bytes;
	uint8_t *room;

	for (i = 0; i < 3000; i++) {
		len = i % 7 == 0 ? 5000 + i : 1 + i % 300;
		room = held_room(&held, len);
		CHECK(room != NULL);
		memset(room, (int)(i & 0xff), len);
		/* A room may stay empty, and then a larger one be wanted. */
		if (i % 5 == 0)
			continue;
		held_added(&held, len);
		total += len;
	}
	CHECK(held.len == total);
	for (i = 0; i < 3000; i++) {
		uint32_t want = i % 7 == 0 ? 5000 + i : 1 + i % 300;

		while (i % 5 != 0 && want > 0) {
			bytes = held_first(&held, &len);
			CHECK(len > 0 && bytes[0] == (uint8_t)i);
			len = len < want ? len : want;
			CHECK(bytes[len - 1] == (uint8_t)i);
			held_drop(&held, len);
			want -= len;
		}
	}
	CHECK(held.len == 0);
	CHECK(held_room(&held, 10) != NULL);
	held_clear(&held);
	CHECK(held.first == NULL && held.last == NULL);
}

static void input_is_handed_on_and_granted(void)
{
	struct input in = {.ready = true};
	int fds[2];

	make_pipe(fds);
	in.fd = fds[1];
	input_add(&in, (const uint8_t *)"hello", 5);
	input_pump(&in, 1, &out, &grown, 0);
	CHECK(read(fds[0], got, sizeof(got)) == 5 && memcmp(got, "hello", 5) == 0);
	CHECK(next_credit() == 5);
	CHECK(next_credit() == 0);
	input_add(&in, NULL, 0);
	input_pump(&in, 1, &out, &grown, 0);
	CHECK(in.fd == -1 && read(fds[0], got, sizeof(got)) == 0);
	close(fds[0]);
}

static void input_beyond_its_window_is_not_kept(void)
{
	struct input in = {.ready = false};
	unsigned int i;

	for (i = 0; i < 100; i++)
		input_add(&in, bulk, AGENT_PAYLOAD_MAX);
	CHECK(in.held.len == AGENT_STDIN_WINDOW);
	CHECK(!input_add_spooled(&in, &spool, 0, 1));
	in.fd = -1;
	input_close(&in, &grown);
	CHECK(in.held.len == 0);
}

static void input_of_one_that_reads_no_more_is_granted(void)
{
	struct input in = {.ready = true};
	int fds[2];

	make_pipe(fds);
	close(fds[0]);
	in.fd = fds[1];
	input_add(&in, bulk, 30000);
	input_pump(&in, 1, &out, &grown, 0);
	CHECK(in.fd == -1 && next_credit() == 30000);
	CHECK(input_add_spooled(&in, &spool, 0, 1000));
	input_pump(&in, 1, &out, &grown, 0);
	CHECK(next_credit() == 1000 && in.held.len == 0);
}

static void put_slot(uint32_t slot, uint32_t len)
{
	CHECK(pwrite(spool.in, bulk, len, (off_t)slot * AGENT_SPOOL_SLOT) == (ssize_t)len);
}

/* Hands on len bytes and returns what was granted. */
static uint32_t pass(struct input *in, int from, uint32_t len)
{
	uint32_t done = 0, granted = 0, credit;
	ssize_t count;

	while (done < len) {
		in->ready = true;
		input_pump(in, 1, &out, &grown, 0);
		count = read(from, got, sizeof(got));
		CHECK(count > 0 && memcmp(got, bulk + done, (size_t)count) == 0);
		done += (uint32_t)count;
		while ((credit = next_credit()) != 0)
			granted += credit;
	}
	return granted;
}

static void a_window_grows_for_bulk_and_few_do(void)
{
	struct input in[AGENT_STDIN_GROWN + 1];
	const uint32_t more = AGENT_STDIN_WINDOW_MAX - AGENT_STDIN_WINDOW;
	int fds[2];
	uint32_t i;

	make_pipe(fds);
	for (i = 0; i <= AGENT_STDIN_GROWN; i++) {
		in[i] = (struct input){.fd = fds[1], .ready = true};
		put_slot(i % AGENT_SPOOL_SLOTS, AGENT_STDIN_WINDOW);
		CHECK(input_add_spooled(&in[i], &spool, i % AGENT_SPOOL_SLOTS, AGENT_STDIN_WINDOW));
		CHECK(pass(&in[i], fds[0], AGENT_STDIN_WINDOW) ==
		      AGENT_STDIN_WINDOW + (i < AGENT_STDIN_GROWN ? more : 0));
	}
	CHECK(grown == AGENT_STDIN_GROWN);
	/* One that has ended leaves its place. */
	in[0].fd = -1;
	input_close(&in[0], &grown);
	CHECK(input_add_spooled(&in[AGENT_STDIN_GROWN], &spool, 0, AGENT_STDIN_WINDOW));
	CHECK(pass(&in[AGENT_STDIN_GROWN], fds[0], AGENT_STDIN_WINDOW) == AGENT_STDIN_WINDOW_MAX);
	for (i = 0; i <= AGENT_STDIN_GROWN; i++) {
		in[i].fd = -1;
		input_close(&in[i], &grown);
	}
	CHECK(grown == 0);
	close(fds[0]);
	close(fds[1]);
}

static void slots_that_are_none_are_refused(void)
{
	struct spool none = {.in = -1, .out = -1};

	CHECK(spool_read(&none, 0, 1, got) == -EBADMSG);
	CHECK(spool_read(&spool, AGENT_SPOOL_SLOTS, 1, got) == -EBADMSG);
	CHECK(spool_read(&spool, 0, 0, got) == -EBADMSG);
	CHECK(spool_read(&spool, 0, AGENT_SPOOL_SLOT + 1, got) == -EBADMSG);
	CHECK(ftruncate(spool.in, AGENT_SPOOL_SLOT + 10) == 0);
	CHECK(spool_read(&spool, 1, 11, got) == -EBADMSG);
	CHECK(spool_read(&spool, 1, 10, got) == 0);
	CHECK(ftruncate(spool.in, (off_t)AGENT_SPOOL_SLOTS * AGENT_SPOOL_SLOT) == 0);
	CHECK(!spool_free(&none) && !spool_there(&none));
}

static struct output make_output(int fd)
{
	return (struct output){.fd = fd, .ready = true, .number = 1, .window = 1u << 20};
}

static void bulk_goes_by_the_spool_and_waits_for_it(void)
{
	struct agent_header header = {0};
	const uint8_t *payload;
	struct output output;
	uint32_t i;
	int fds[2];

	make_pipe(fds);
	output = make_output(fds[0]);
	spool_credit(&spool, UINT32_MAX);
	CHECK(spool.free == AGENT_SPOOL_SLOTS);
	for (i = 0; i < AGENT_SPOOL_SLOTS; i++) {
		CHECK(write(fds[1], bulk + i, 30000) == 30000);
		output.ready = true;
		CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_SENT);
		payload = next_made(&header);
		CHECK(payload != NULL && header.type == AGENT_OUTPUT_SPOOLED && header.fd == 1);
		CHECK(header.len == 8 && frame_u32(payload) == i &&
		      frame_u32(payload + 4) == 30000);
		CHECK(pread(spool.out, got, 30000, (off_t)i * AGENT_SPOOL_SLOT) == 30000);
		CHECK(memcmp(got, bulk + i, 30000) == 0);
	}
	CHECK(!spool_free(&spool) && output.window == (1u << 20) - AGENT_SPOOL_SLOTS * 30000);
	/* A little goes by the line all the same … */
	output.ready = true;
	CHECK(write(fds[1], "hello", 5) == 5);
	CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_SENT);
	CHECK(next_made(&header) != NULL && header.type == AGENT_OUTPUT && header.len == 5);
	/* … and much does not. */
	output.ready = true;
	CHECK(write(fds[1], bulk, 30000) == 30000);
	CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_NOTHING && output.starved);
	CHECK(next_made(&header) == NULL);
	spool_credit(&spool, 1);
	CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_SENT && !output.starved);
	payload = next_made(&header);
	CHECK(payload != NULL && header.type == AGENT_OUTPUT_SPOOLED && frame_u32(payload) == 0);
	close(fds[0]);
	close(fds[1]);
}

/* The host's disk is full, say. */
static void a_spool_that_fails_is_left_for_the_line(void)
{
	struct agent_header header = {0};
	const uint8_t *payload;
	uint32_t len = 0;
	struct output output;
	int fds[2];

	make_pipe(fds);
	CHECK(fcntl(fds[0], F_SETPIPE_SZ, sizeof(bulk)) >= (int)sizeof(bulk));
	output = make_output(fds[0]);
	close(spool.out);
	spool.out = open("/dev/full", O_RDWR);
	CHECK(spool.out >= 0);
	spool_credit(&spool, AGENT_SPOOL_SLOTS);
	CHECK(write(fds[1], bulk, sizeof(bulk)) == (ssize_t)sizeof(bulk));
	CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_MORE);
	while ((payload = next_made(&header)) != NULL) {
		CHECK(header.type == AGENT_OUTPUT);
		CHECK(memcmp(payload, bulk + len, header.len) == 0);
		len += header.len;
	}
	CHECK(len == sizeof(bulk) && !spool_there(&spool));
	close(fds[1]);
	CHECK(output_pump(&output, 7, &out, &spool) == OUTPUT_NOTHING && output.fd == -1);
	CHECK(next_made(&header) != NULL && header.type == AGENT_OUTPUT && header.len == 0);
}

static struct procs procs;

/* A program of which only the outputs are there. */
static void add_program(unsigned int slot, int first, int second)
{
	procs.slot[slot] = (struct proc){.used = true, .id = slot + 1, .in.fd = -1};
	procs.slot[slot].out[0] = make_output(first);
	procs.slot[slot].out[1] = make_output(second);
	procs.slot[slot].out[1].number = 2;
	procs.high = slot + 1;
}

/* The line takes so little at a time that one frame is more than there is room for. */
static void a_flood_leaves_the_other_output_its_turn(void)
{
	static struct spool none = {.in = -1, .out = -1};
	struct agent_header header = {0};
	unsigned int turns[3] = {0}, i;
	int first[2], second[2];

	procs_init(&procs, -1, &none, NULL);
	make_pipe(first);
	make_pipe(second);
	add_program(0, first[0], second[0]);
	for (i = 0; i < 4; i++) {
		while (write(first[1], bulk, 4096) > 0)
			;
		while (write(second[1], bulk, 4096) > 0)
			;
		procs.slot[0].out[0].ready = procs.slot[0].out[1].ready = true;
		out.start = 0;
		out.end = OUTQ_FULL - 1;
		CHECK(procs_pump(&procs, &out, 0));
		out.start = OUTQ_FULL - 1;
		while (next_made(&header) != NULL)
			turns[header.fd]++;
	}
	CHECK(turns[1] == 2 && turns[2] == 2);
	close(first[0]);
	close(first[1]);
	close(second[0]);
	close(second[1]);
}

static void few_floods_have_large_pipes(void)
{
	int pipes[OUTPUTS_WIDE_MAX + 1][2], i, wide = 0;

	procs_init(&procs, -1, &spool, NULL);
	for (i = 0; i <= OUTPUTS_WIDE_MAX; i++) {
		make_pipe(pipes[i]);
		while (write(pipes[i][1], bulk, 4096) > 0)
			;
		add_program((unsigned int)i, pipes[i][0], -1);
		spool_credit(&spool, 1);
		(void)procs_pump(&procs, &out, 0);
		out.start = out.end = 0;
	}
	for (i = 0; i <= OUTPUTS_WIDE_MAX; i++)
		wide += fcntl(pipes[i][1], F_GETPIPE_SZ) > 65536;
	CHECK(wide == OUTPUTS_WIDE_MAX);
	/* One that has ended leaves its place to the next. */
	close(pipes[0][1]);
	procs.slot[0].ended = true;
	procs.slot[0].out[0].ready = true;
	(void)procs_pump(&procs, &out, 0);
	CHECK(!procs.slot[0].used && procs.wide == OUTPUTS_WIDE_MAX);
	CHECK(fcntl(pipes[OUTPUTS_WIDE_MAX][1], F_GETPIPE_SZ) > 65536);
	out.start = out.end = 0;
	for (i = 1; i <= OUTPUTS_WIDE_MAX; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 + i / 251);
	spool.in = temporary();
	spool.out = temporary();
	signal(SIGPIPE, SIG_IGN);
	pieces_keep_their_order();
	input_is_handed_on_and_granted();
	input_beyond_its_window_is_not_kept();
	input_of_one_that_reads_no_more_is_granted();
	a_window_grows_for_bulk_and_few_do();
	slots_that_are_none_are_refused();
	bulk_goes_by_the_spool_and_waits_for_it();
	a_flood_leaves_the_other_output_its_turn();
	few_floods_have_large_pipes();
	a_spool_that_fails_is_left_for_the_line();
	return 0;
}
