/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real machine for the tests of libevum, and a record of what it did
 */
#ifndef EVUM_TEST_MACHINE_H
#define EVUM_TEST_MACHINE_H

#include <evum.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

struct machine {
	struct evum_vm *vm;
	struct evum_event exit; /* the last program's */
	unsigned int exits;
	struct evum_event down;
	char out[65536]; /* the last program's stdout */
	size_t out_len;
	size_t out_total;    /* of all programs */
	char console[65536]; /* its first bytes */
	size_t console_len;
	size_t console_total;
	char text[1024]; /* panic, message, boot error or reply, the last one */
	int reply;
	int nic_fd;	      /* of NIC 0, or -1 */
	unsigned int nic_ups; /* how often any was opened */
	bool read_console;    /* give credit for what came */
};

static inline void machine_keep(char *to, size_t size, size_t *len, const struct evum_event *event)
{
	size_t take = event->len < size - *len - 1 ? event->len : size - *len - 1;

	memcpy(to + *len, event->data, take);
	*len += take;
	to[*len] = '\0';
}

static inline void machine_handler(void *ctx, const struct evum_event *event)
{
	struct machine *machine = ctx;
	size_t none = 0;

	switch (event->type) {
	case EVUM_CONSOLE:
		machine_keep(machine->console, sizeof(machine->console), &machine->console_len,
			     event);
		machine->console_total += event->len;
		if (machine->read_console)
			evum_console_credit(machine->vm, event->len);
		break;
	case EVUM_OUTPUT:
		if (event->fd == 1)
			machine_keep(machine->out, sizeof(machine->out), &machine->out_len, event);
		machine->out_total += event->len;
		break;
	case EVUM_EXIT:
		machine->exit = *event;
		machine->exits++;
		break;
	case EVUM_DOWN:
		machine->down = *event;
		break;
	case EVUM_NIC:
		machine->nic_ups += event->fd >= 0;
		if (event->id == 0)
			machine->nic_fd = event->fd;
		break;
	case EVUM_PANIC:
	case EVUM_MESSAGE:
	case EVUM_BOOT_ERROR:
	case EVUM_REPLY:
		machine->reply = event->value;
		machine_keep(machine->text, sizeof(machine->text), &none, event);
		break;
	default:
		break;
	}
}

/* The initramfs that the build made beside this test. */
static inline const char *machine_initramfs(void)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/initramfs.cpio", getenv("EVUM_BINARY_DIR"));
	CHECK(access(path, R_OK) == 0);
	return path;
}

static inline void machine_start(struct machine *machine, struct evum_config *config)
{
	struct evum_error error = {.stage = "", .text = ""};

	memset(machine, 0, sizeof(*machine));
	machine->read_console = true;
	machine->nic_fd = -1;
	config->initramfs = machine_initramfs();
	if (evum_vm_start(config, machine_handler, machine, &machine->vm, &error) < 0)
		fprintf(stderr, "%s: %s\n", error.stage, error.text);
	CHECK(machine->vm != NULL);
}

static inline void machine_boot(struct machine *machine)
{
	struct evum_config config;

	evum_config_init(&config);
	machine_start(machine, &config);
	CHECK(evum_vm_wait(machine->vm, EVUM_UP, 20000) == 0);
}

/* Runs a shell command to its end. */
static inline int machine_sh(struct machine *machine, const char *command)
{
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	const struct evum_program program = {.argv = argv, .window = 65536};
	static uint32_t id;

	machine->out_len = 0;
	machine->out[0] = '\0';
	CHECK(evum_program_start(machine->vm, ++id, &program) == 0);
	CHECK(evum_vm_wait(machine->vm, EVUM_EXIT, 20000) == 0);
	CHECK(machine->exit.id == id);
	return machine->exit.exit == EVUM_EXITED ? machine->exit.value : -machine->exit.value;
}

static inline void machine_wait_down(struct machine *machine, enum evum_end end)
{
	CHECK(evum_vm_wait(machine->vm, EVUM_DOWN, 20000) == 0);
	if (machine->down.end != end)
		fprintf(stderr, "end %d, value %d; console: %s\n", machine->down.end,
			machine->down.value, machine->console);
	CHECK(machine->down.end == end);
	evum_vm_free(machine->vm);
	machine->vm = NULL;
}

#endif
