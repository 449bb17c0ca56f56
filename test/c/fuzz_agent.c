/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes on the agent's line: no crash, and no event the host did not ask for
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

/* A fuzzer tells a find by a crash. */
#define REQUIRE(claim)           \
	do {                     \
		if (!(claim))    \
			abort(); \
	} while (0)

#define SMALL_WINDOW 1000ul
#define LARGE_WINDOW 300000ul

struct seen {
	size_t output[3]; /* of the programs 1 and 2 */
	unsigned int ups;
};

static void handler(void *ctx, const struct evum_event *event)
{
	struct seen *seen = ctx;

	if (event->type == EVUM_OUTPUT) {
		REQUIRE(event->id == 1 || event->id == 2);
		seen->output[event->id] += event->len;
	}
	if (event->type == EVUM_UP)
		seen->ups++;
}

/* Files of the spool's, one of which a guest has cut short. */
static void make_rings(struct rings *rings)
{
	static int fds[2] = {-1, -1};
	int copies[2];

	if (fds[0] < 0) {
		fds[0] = memfd_create("in", MFD_CLOEXEC);
		fds[1] = memfd_create("out", MFD_CLOEXEC);
		REQUIRE(ftruncate(fds[1], 3 * AGENT_SPOOL_SLOT + 1000) == 0);
	}
	copies[0] = dup(fds[0]);
	copies[1] = dup(fds[1]);
	REQUIRE(copies[0] >= 0 && copies[1] >= 0 && rings_init(rings, copies) == 0);
}

/* Whatever was granted, a write takes slots that are free and no more. */
static void write_stdin(struct evum_vm *vm)
{
	static const uint8_t bytes[AGENT_STDIN_WINDOW];
	size_t had = rings_free_slots(&vm->rings), left;
	int err = evum_program_write(vm, 2, bytes, sizeof(bytes));

	left = rings_free_slots(&vm->rings);
	REQUIRE(had <= AGENT_SPOOL_SLOTS && left <= had);
	REQUIRE(err == 0 || left == had);
}

static void feed(struct evum_vm *vm, const void *bytes, size_t len)
{
	size_t room_size;
	uint8_t *room = agent_room(&vm->agent, &room_size);

	REQUIRE(len <= room_size);
	if (len)
		memcpy(room, bytes, len);
	agent_received(&vm->agent, len);
	vm_agent_frames(vm);
	write_stdin(vm);
}

/* Bytes as they are: what is no frame, and frames in pieces. */
static void feed_bytes(struct evum_vm *vm, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t len = size < AGENT_PAYLOAD_MAX ? size : AGENT_PAYLOAD_MAX;

		feed(vm, data, len);
		data += len;
		size -= len;
	}
}

/* A place in the spool that there may be: a slot and a length of three bytes. */
static void feed_place(struct evum_vm *vm, const uint8_t *data, size_t size)
{
	uint32_t place[2] = {0, 0};

	if (size >= 3) {
		place[0] = data[0] % (AGENT_SPOOL_SLOTS + 1);
		place[1] = (data[1] + data[2] * 256u) * 3;
	}
	feed(vm, place, sizeof(place));
}

/* Frames whose header is right but for what it says: type, fd, id and length of four bytes. */
static void feed_frames(struct evum_vm *vm, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		struct agent_header header = {.magic = AGENT_MAGIC,
					      .type = data[0] % 48,
					      .fd = data[1] % 8,
					      .id = data[2] % 4,
					      .len = data[3]};
		size_t len = header.len < size - 4 ? header.len : size - 4;
		bool spooled = header.type == AGENT_OUTPUT_SPOOLED;

		data += 4;
		size -= 4;
		header.len = spooled ? 8 : (uint32_t)len;
		feed(vm, &header, sizeof(header));
		if (spooled)
			feed_place(vm, data, len);
		else
			feed(vm, data, len);
		data += len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct evum_vm vm;
	const char *const argv[] = {"cat", NULL};
	const struct evum_program small = {.argv = argv, .window = SMALL_WINDOW};
	const struct evum_program large = {
		.argv = argv, .window = LARGE_WINDOW, .rows = 1, .cols = 1};
	struct seen seen = {.ups = 0};

	memset(&vm, 0, sizeof(vm));
	vm.epoll = vm.agent_fd = -1;
	vm.handler = handler;
	vm.ctx = &seen;
	REQUIRE(agent_init(&vm.agent) == 0);
	REQUIRE(agent_run(&vm.agent, 1, &small) == 0);
	REQUIRE(agent_run(&vm.agent, 2, &large) == 0);
	agent_find(&vm.agent, 2)->state = AGENT_RUNNING;
	make_rings(&vm.rings);
	rings_reset(&vm.rings, true);
	if (size > 0 && data[0] % 2)
		feed_frames(&vm, data + 1, size - 1);
	else
		feed_bytes(&vm, data, size);
	REQUIRE(seen.output[1] <= 2 * SMALL_WINDOW && seen.output[2] <= 2 * LARGE_WINDOW);
	REQUIRE(seen.ups <= 64);
	agent_free(&vm.agent);
	rings_free(&vm.rings);
	return 0;
}
