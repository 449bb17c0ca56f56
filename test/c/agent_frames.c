/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest writes on the agent's line can hurt its own machine only
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "check.h"
#include "util.h"

static void feed(struct agent *agent, const void *bytes, size_t len)
{
	size_t size;
	uint8_t *room = agent_room(agent, &size);

	CHECK(len <= size);
	memcpy(room, bytes, len);
	agent_received(agent, len);
}

static size_t copy(uint8_t *to, const void *bytes, size_t len)
{
	memcpy(to, bytes, len);
	return len;
}

static size_t make_frame(uint8_t *to, uint8_t type, uint32_t id, const char *text)
{
	struct agent_header header = {
		.magic = AGENT_MAGIC, .type = type, .id = id, .len = (uint32_t)strlen(text)};

	memcpy(to, &header, sizeof(header));
	return sizeof(header) + copy(to + sizeof(header), text, header.len);
}

static void frames_come_out_as_they_went_in(struct agent *agent)
{
	struct agent_frame frame;
	uint8_t bytes[64];
	size_t len = make_frame(bytes, AGENT_HELLO, 7, "hello");

	len += make_frame(bytes + len, AGENT_OUTPUT, 8, "");
	feed(agent, bytes, len);
	CHECK(agent_next(agent, &frame));
	CHECK(frame.header.type == AGENT_HELLO && frame.header.id == 7 && frame.header.len == 5);
	CHECK(memcmp(frame.payload, "hello", 5) == 0);
	CHECK(agent_next(agent, &frame) && frame.header.id == 8 && frame.header.len == 0);
	CHECK(!agent_next(agent, &frame));
	CHECK(agent->garbage == 0);
}

static void a_frame_in_pieces_is_one_frame(struct agent *agent)
{
	struct agent_frame frame;
	uint8_t bytes[64];
	size_t len = make_frame(bytes, AGENT_HELLO, 9, "piecemeal");

	for (size_t i = 0; i < len; i++) {
		CHECK(!agent_next(agent, &frame));
		feed(agent, bytes + i, 1);
	}
	CHECK(agent_next(agent, &frame) && frame.header.id == 9);
	CHECK(memcmp(frame.payload, "piecemeal", 9) == 0);
	CHECK(agent->garbage == 0);
}

static void garbage_between_frames_is_skipped_and_counted(struct agent *agent)
{
	struct agent_frame frame;
	uint8_t bytes[128] = "login: ";
	size_t len = 7;

	/* The magic's first byte alone, and a header with a length out of bounds. */
	bytes[len++] = AGENT_MAGIC & 0xff;
	len += copy(bytes + len, "um\1\0\0\0\0\0\xff\xff\xff\xff", 12);
	len += make_frame(bytes + len, AGENT_HELLO, 3, "still here");
	feed(agent, bytes, len);
	CHECK(agent_next(agent, &frame) && frame.header.id == 3);
	CHECK(agent->garbage == 20);
}

static void the_queue_to_the_guest_is_bounded(struct agent *agent)
{
	static const uint8_t payload[AGENT_PAYLOAD_MAX];
	size_t queued = 0;

	while (agent_send(agent, AGENT_STDIN, 0, 1, payload, sizeof(payload)) == 0)
		queued += sizeof(payload) + sizeof(struct agent_header);
	CHECK(queued > EVUM_AGENT_QUEUE / 2);
	/* Orders get through all the same, and they are bounded too. */
	CHECK(agent_send(agent, AGENT_CREDIT, 1, 1, payload, 4) == 0);
	while (agent_send(agent, AGENT_CREDIT, 1, 1, payload, 1000) == 0)
		queued += 1000 + sizeof(struct agent_header);
	CHECK(queued <= EVUM_AGENT_QUEUE);
	CHECK(agent_send(agent, AGENT_STDIN, 0, 1, payload, sizeof(payload) + 1) == -EMSGSIZE);
}

/* However far the line took the last one: an agent that follows reads its frames from their start. */
static void no_frame_is_cut_short_when_the_agent_changes(struct agent *agent)
{
	uint8_t bytes[256];
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	for (size_t taken = 0; taken < 60; taken++) {
		size_t at = 0, len;

		for (int i = 0; i < 3; i++)
			CHECK(agent_send(agent, AGENT_STDIN, 0, 1, "12345678", 8) == 0);
		agent->line_window = taken;
		CHECK(agent_flush(agent, ends[0]) == 0);
		agent_forget_output(agent);
		agent->line_window = sizeof(bytes);
		CHECK(agent_send(agent, AGENT_CREDIT, 1, 2, "1234", 4) == 0);
		CHECK(agent_flush(agent, ends[0]) == 0 && agent->out_len == 0);
		len = (size_t)read(ends[1], bytes, sizeof(bytes));
		/* All that were begun, and the new one. */
		CHECK(len == (taken + 19) / 20 * 20 + 16);
		for (; at < len - 16; at += 20)
			CHECK(bytes[at] == 'u' && bytes[at + 2] == AGENT_STDIN);
		CHECK(bytes[at] == 'u' && bytes[at + 2] == AGENT_CREDIT);
	}
	close(ends[0]);
	close(ends[1]);
}

static void a_program_too_large_for_a_frame_is_refused(struct agent *agent)
{
	static char long_argument[AGENT_PAYLOAD_MAX];
	const char *const argv[] = {"true", long_argument, NULL};
	const char *const none[] = {NULL};

	memset(long_argument, 'x', sizeof(long_argument) - 1);
	CHECK(agent_run(agent, 1, &(struct evum_program){.argv = argv}) == -E2BIG);
	CHECK(agent_run(agent, 1, &(struct evum_program){.argv = none}) == -EINVAL);
	CHECK(agent_find(agent, 1) == NULL);
}

static void programs_are_bounded_and_their_ids_unique(struct agent *agent)
{
	const char *const argv[] = {"true", NULL};
	const struct evum_program program = {.argv = argv};

	for (uint32_t id = 1; id <= EVUM_PROGRAMS_MAX; id++)
		CHECK(agent_run(agent, id, &program) == 0);
	CHECK(agent_run(agent, 5, &program) == -EINVAL);
	CHECK(agent_run(agent, EVUM_PROGRAMS_MAX + 1, &program) == -EBUSY);
	CHECK(agent_run(agent, 0, &program) == -EINVAL);
}

static void a_pty_has_a_size_or_there_is_none(struct agent *agent)
{
	static const unsigned int wrong[][2] = {{0, 80}, {24, 0}, {65536, 80}, {24, 65536}};
	const char *const argv[] = {"true", NULL};
	struct evum_program program = {.argv = argv};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		program.rows = wrong[i][0];
		program.cols = wrong[i][1];
		CHECK(agent_run(agent, 1, &program) == -ERANGE);
	}
	program.rows = program.cols = 65535;
	CHECK(agent_run(agent, 1, &program) == 0 && agent_find(agent, 1)->pty);
	program.rows = program.cols = 0;
	CHECK(agent_run(agent, 2, &program) == 0 && !agent_find(agent, 2)->pty);
}

static void with_agent(void (*test)(struct agent *))
{
	struct agent agent;

	CHECK(agent_init(&agent) == 0);
	test(&agent);
	agent_free(&agent);
}

int main(void)
{
	with_agent(frames_come_out_as_they_went_in);
	with_agent(a_frame_in_pieces_is_one_frame);
	with_agent(garbage_between_frames_is_skipped_and_counted);
	with_agent(the_queue_to_the_guest_is_bounded);
	with_agent(no_frame_is_cut_short_when_the_agent_changes);
	with_agent(a_program_too_large_for_a_frame_is_refused);
	with_agent(programs_are_bounded_and_their_ids_unique);
	with_agent(a_pty_has_a_size_or_there_is_none);
	return 0;
}
