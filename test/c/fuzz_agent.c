/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes on the agent's line: no crash, and no event the host did not ask for
 */
#include <stdlib.h>
#include <string.h>

#include "vm.h"

/* A fuzzer tells a find by a crash. */
#define REQUIRE(claim)           \
	do {                     \
		if (!(claim))    \
			abort(); \
	} while (0)

struct seen {
	size_t output;
	unsigned int ups;
};

static void handler(void *ctx, const struct evum_event *event)
{
	struct seen *seen = ctx;

	if (event->type == EVUM_OUTPUT) {
		REQUIRE(event->id == 1);
		seen->output += event->len;
	}
	if (event->type == EVUM_UP)
		seen->ups++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct evum_vm vm;
	const char *const argv[] = {"cat", NULL};
	const struct evum_program program = {.argv = argv, .window = 1000};
	struct seen seen = {0, 0};

	memset(&vm, 0, sizeof(vm));
	vm.epoll = vm.agent_fd = -1;
	vm.handler = handler;
	vm.ctx = &seen;
	REQUIRE(agent_init(&vm.agent) == 0);
	REQUIRE(agent_run(&vm.agent, 1, &program) == 0);
	while (size > 0) {
		size_t room_size;
		uint8_t *room = agent_room(&vm.agent, &room_size);
		size_t len = size < room_size ? size : room_size;

		memcpy(room, data, len);
		agent_received(&vm.agent, len);
		vm_agent_frames(&vm);
		data += len;
		size -= len;
	}
	REQUIRE(seen.output <= 2000);
	REQUIRE(seen.ups <= 64);
	agent_free(&vm.agent);
	return 0;
}
