/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says
 *
 * The agent is the guest's: a frame that doesn't fit what we asked for is
 * counted as garbage and changes nothing.
 */
#include <sys/epoll.h>

#include "util.h"
#include "vm.h"

/* The guardian restarts an agent once a second at most; more is a guest playing. */
#define HELLO_EVERY_MS 500

void vm_agent_flush(struct evum_vm *vm)
{
	if (agent_flush(&vm->agent, vm->agent_fd) < 0 || vm->agent_ended)
		return;
	vm_watch(vm, VM_AGENT, vm->agent_fd,
		 EPOLLIN | (agent_can_write(&vm->agent) ? EPOLLOUT : 0u), &vm->agent_events);
}

static void garbage(struct evum_vm *vm, const struct agent_frame *frame)
{
	vm->agent.garbage += sizeof(frame->header) + frame->header.len;
}

static void emit_exit(struct evum_vm *vm, struct agent_program *program, enum evum_exit exit,
		      int value)
{
	struct evum_event event = {
		.type = EVUM_EXIT,
		.id = program->id,
		.exit = exit,
		.value = value,
	};

	program->state = AGENT_FREE;
	vm_emit(vm, &event);
}

static void hello(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct evum_event event = {.type = EVUM_UP};

	int64_t now = vm_now();

	if (frame->header.len < 8 || agent_u32(frame, 0) != AGENT_VERSION ||
	    (vm->hello_at && now - vm->hello_at < HELLO_EVERY_MS)) {
		garbage(vm, frame);
		return;
	}
	vm->hello_at = now;
	/* What was meant for the last agent would be a program run twice. */
	agent_forget_output(&vm->agent);
	for (size_t i = 0; i < EVUM_PROGRAMS_MAX; i++)
		if (vm->agent.programs[i].state != AGENT_FREE)
			emit_exit(vm, &vm->agent.programs[i], EVUM_LOST, 0);
	vm_reach(vm, EVUM_STAGE_ROOT);
	vm_reach(vm, EVUM_STAGE_AGENT);
	vm->up = true;
	vm->agent.line_window = AGENT_LINE_WINDOW;
	rings_reset(&vm->rings, agent_u32(frame, 4) & AGENT_HAS_SPOOL);
	vm_console_typed_credit(vm, AGENT_CONSOLE_WINDOW, false);
	if (vm->rung == VM_RUNG_POWEROFF)
		vm_poweroff(vm);
	event.data = frame->payload + 8;
	event.len = frame->header.len - 8;
	vm_emit(vm, &event);
}

static void stage(struct evum_vm *vm, const struct agent_frame *frame)
{
	if (frame->header.len != 1 || frame->payload[0] < EVUM_STAGE_INIT ||
	    frame->payload[0] > EVUM_STAGE_ROOT || vm->up)
		garbage(vm, frame);
	else
		vm_reach(vm, frame->payload[0]);
}

static void failed(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct evum_event event = {
		.type = EVUM_BOOT_ERROR,
		.data = frame->payload,
		.len = frame->header.len,
	};

	if (vm->up || vm->failed || event.len > 1024) {
		garbage(vm, frame);
		return;
	}
	vm->failed = true;
	vm_emit(vm, &event);
}

static void ending(struct evum_vm *vm, const struct agent_frame *frame)
{
	if (frame->header.len != 5 || frame->payload[0] < AGENT_END_HALT ||
	    frame->payload[0] > AGENT_END_INIT) {
		garbage(vm, frame);
		return;
	}
	vm->ending = frame->payload[0];
	vm->ending_value = (int)agent_u32(frame, 1);
}

static void started(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct agent_program *program = agent_find(&vm->agent, frame->header.id);
	struct evum_event event = {.type = EVUM_STARTED, .id = frame->header.id};

	if (!program || program->state != AGENT_STARTING || frame->header.len != 4) {
		garbage(vm, frame);
		return;
	}
	program->state = AGENT_RUNNING;
	event.value = (int)agent_u32(frame, 0);
	vm_emit(vm, &event);
}

/* The program whose stream fd takes len bytes more now, or NULL. */
static struct agent_program *find_printing(struct evum_vm *vm, const struct agent_frame *frame,
					   uint32_t len)
{
	struct agent_program *program = agent_find(&vm->agent, frame->header.id);
	int fd = frame->header.fd;

	if (!program || program->state != AGENT_RUNNING || (fd != 1 && fd != 2) ||
	    len > program->window[fd])
		return NULL;
	return program;
}

static void emit_output(struct evum_vm *vm, struct agent_program *program, int fd,
			const uint8_t *bytes, uint32_t len)
{
	struct evum_event event = {
		.type = EVUM_OUTPUT, .id = program->id, .fd = fd, .data = bytes, .len = len};

	program->window[fd] -= len;
	vm_emit(vm, &event);
}

static void output(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct agent_program *program = find_printing(vm, frame, frame->header.len);

	if (program)
		emit_output(vm, program, frame->header.fd, frame->payload, frame->header.len);
	else
		garbage(vm, frame);
}

/* The slot is granted again, whatever became of it. */
static void output_spooled(struct evum_vm *vm, const struct agent_frame *frame)
{
	uint32_t slot = agent_u32(frame, 0), len = agent_u32(frame, 4);
	struct agent_program *program = find_printing(vm, frame, len);

	vm->rings.ungranted++;
	if (program && frame->header.len == 8 && rings_read(&vm->rings, slot, len) == 0)
		emit_output(vm, program, frame->header.fd, vm->rings.buffer, len);
	else
		garbage(vm, frame);
}

/* One frame for all that one read of the line has brought. */
static void grant_slots(struct evum_vm *vm)
{
	uint32_t slots = vm->rings.ungranted;

	/* Without room it is tried again after the next frames: the guest drains the queue. */
	if (slots && agent_send(&vm->agent, AGENT_CREDIT, 4, 0, &slots, sizeof(slots)) == 0)
		vm->rings.ungranted = 0;
}

static void credit(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct agent_program *program = agent_find(&vm->agent, frame->header.id);
	uint32_t bytes = agent_u32(frame, 0);
	struct evum_event event = {
		.type = EVUM_STDIN_CREDIT,
		.id = frame->header.id,
		.value = (int)bytes,
	};

	if (!program || program->state != AGENT_RUNNING || frame->header.fd != 0 || bytes == 0 ||
	    bytes > AGENT_STDIN_WINDOW_MAX - program->window[0]) {
		garbage(vm, frame);
		return;
	}
	program->window[0] += bytes;
	vm_emit(vm, &event);
}

/* Credit that is about no program: the line's own windows. */
static void line_credit(struct evum_vm *vm, const struct agent_frame *frame)
{
	size_t bytes = agent_u32(frame, 0);

	if (frame->header.fd == 0)
		vm->agent.line_window += min_size(bytes, AGENT_LINE_WINDOW - vm->agent.line_window);
	else if (frame->header.fd <= 2)
		vm_console_typed_credit(vm, bytes, frame->header.fd == 2);
	else if (frame->header.fd == 3)
		rings_granted(&vm->rings, (uint32_t)bytes);
	else
		garbage(vm, frame);
}

static void program_exit(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct agent_program *program = agent_find(&vm->agent, frame->header.id);

	if (!program || frame->header.len != 5 || frame->payload[0] > EVUM_NOT_STARTED)
		garbage(vm, frame);
	else
		emit_exit(vm, program, frame->payload[0], (int)agent_u32(frame, 1));
}

void vm_agent_frames(struct evum_vm *vm)
{
	struct agent_frame frame;

	while (agent_next(&vm->agent, &frame)) {
		switch (frame.header.type) {
		case AGENT_STAGE:
			stage(vm, &frame);
			break;
		case AGENT_FAILED:
			failed(vm, &frame);
			break;
		case AGENT_HELLO:
			hello(vm, &frame);
			break;
		case AGENT_STARTED:
			started(vm, &frame);
			break;
		case AGENT_OUTPUT:
			output(vm, &frame);
			break;
		case AGENT_OUTPUT_SPOOLED:
			output_spooled(vm, &frame);
			break;
		case AGENT_CREDIT:
			if (frame.header.id == 0)
				line_credit(vm, &frame);
			else
				credit(vm, &frame);
			break;
		case AGENT_EXIT:
			program_exit(vm, &frame);
			break;
		case AGENT_ENDING:
			ending(vm, &frame);
			break;
		default:
			garbage(vm, &frame);
		}
	}
	grant_slots(vm);
}

int evum_drop_caches(struct evum_vm *vm)
{
	uint8_t control = AGENT_DROP_CACHES;
	int err;

	if (!vm->up)
		return -ENOTCONN;
	err = agent_send(&vm->agent, AGENT_CONTROL, 0, 0, &control, sizeof(control));
	vm_agent_flush(vm);
	return err;
}
