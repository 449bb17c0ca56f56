/* SPDX-License-Identifier: Apache-2.0 */
/* The management console of a machine: its requests one after the other, its notifications */
#include <stdio.h>
#include <string.h>

#include "util.h"
#include "vm.h"

/* The kernel answers from an interrupt: in microseconds, or never. */
#define ANSWER_TIMEOUT_MS 5000

/* A guest that sends for ever mustn't keep the others of an event loop waiting. */
#define NOTICES_AT_ONCE 64

void vm_mconsole_next(struct evum_vm *vm)
{
	if (mconsole_send(&vm->mconsole)) {
		vm->mconsole_deadline = vm_now() + ANSWER_TIMEOUT_MS;
		vm_timer_arm(vm);
	}
}

/* Answers the first request with value; data is what the kernel said. */
static void answer(struct evum_vm *vm, int value)
{
	const struct mconsole_request *request = &vm->mconsole.queue[vm->mconsole.first];
	struct evum_event event = {
		.type = EVUM_REPLY,
		.id = request->id,
		.value = value,
		.data = vm->mconsole.answer,
		.len = vm->mconsole.answer_len,
	};

	if (value == 0 && strcmp(request->command, "stop") == 0)
		vm->paused = true;
	if (value == 0 && strcmp(request->command, "go") == 0)
		vm->paused = false;
	vm->mconsole_deadline = 0;
	mconsole_done(&vm->mconsole);
	if (event.id != VM_INTERNAL_ID)
		vm_emit(vm, &event);
}

void vm_mconsole_handler(struct evum_vm *vm, uint32_t events)
{
	(void)events;
	if (mconsole_receive(&vm->mconsole)) {
		answer(vm, vm->mconsole.refused);
		vm_mconsole_next(vm);
	}
}

/* Nobody will answer what waits: the first request only (a time-out), or all (the end). */
void vm_mconsole_give_up(struct evum_vm *vm, int err)
{
	do {
		if (vm->mconsole.count == 0)
			return;
		answer(vm, err);
	} while (err != -ETIMEDOUT);
	vm_mconsole_next(vm);
}

static void notice_text(struct evum_vm *vm, enum evum_event_type type, const char *text, size_t len)
{
	struct evum_event event = {.type = type, .data = text, .len = len};

	vm_emit(vm, &event);
}

/* A kernel panics once; one that says so again is not to be listened to. */
void vm_panic(struct evum_vm *vm, const char *text, size_t len)
{
	if (vm->panicked)
		return;
	vm->panicked = true;
	notice_text(vm, EVUM_PANIC, text, len);
}

/*
 * A few of a thousand clean halts end in a panic, after the kernel's "reboot:
 * System halted".  So one that was announced to end is judged when its last
 * words are known.
 */
static void panic_notice(struct evum_vm *vm, const char *text, size_t len)
{
	/* The announcement lies before it, on another descriptor. */
	vm_agent_drain(vm);
	if (!vm->ending) {
		vm_panic(vm, text, len);
		return;
	}
	memcpy(vm->late_panic, text, len);
	vm->late_panic_len = len;
}

void vm_notify_handler(struct evum_vm *vm, uint32_t events)
{
	enum mconsole_notice notice;
	char text[sizeof(vm->late_panic)];
	long len;

	(void)events;
	for (int i = 0; i < NOTICES_AT_ONCE; i++) {
		len = mconsole_read_notice(vm->notify, &notice, text, sizeof(text));
		if (len == -EAGAIN)
			return;
		if (len < 0)
			continue;
		switch (notice) {
		case MCONSOLE_READY:
			mconsole_ready(&vm->mconsole);
			vm_reach(vm, EVUM_STAGE_KERNEL);
			vm_mconsole_next(vm);
			break;
		case MCONSOLE_PANIC:
			panic_notice(vm, text, (size_t)len);
			break;
		case MCONSOLE_USER:
			notice_text(vm, EVUM_MESSAGE, text, (size_t)len);
			break;
		case MCONSOLE_HANG:
			break;
		}
	}
}

int evum_mconsole(struct evum_vm *vm, uint32_t id, const char *command)
{
	int err;

	if (vm->down)
		return -EPIPE;
	if (strpbrk(command, "\r\n"))
		return -EINVAL;
	err = mconsole_queue(&vm->mconsole, id, command);
	if (!err)
		vm_mconsole_next(vm);
	return err;
}
