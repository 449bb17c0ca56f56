/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says, and the programs it runs for us
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
	/* What was meant for the last agent would be half a frame, or a program run twice. */
	agent_forget_output(&vm->agent);
	for (size_t i = 0; i < EVUM_PROGRAMS_MAX; i++)
		if (vm->agent.programs[i].state != AGENT_FREE)
			emit_exit(vm, &vm->agent.programs[i], EVUM_LOST, 0);
	vm_reach(vm, EVUM_STAGE_ROOT);
	vm_reach(vm, EVUM_STAGE_AGENT);
	vm->up = true;
	vm->agent.line_window = AGENT_LINE_WINDOW;
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

static void output(struct evum_vm *vm, const struct agent_frame *frame)
{
	struct agent_program *program = agent_find(&vm->agent, frame->header.id);
	int fd = frame->header.fd;
	struct evum_event event = {
		.type = EVUM_OUTPUT,
		.id = frame->header.id,
		.fd = fd,
		.data = frame->payload,
		.len = frame->header.len,
	};

	if (!program || program->state != AGENT_RUNNING || (fd != 1 && fd != 2) ||
	    event.len > program->window[fd]) {
		garbage(vm, frame);
		return;
	}
	program->window[fd] -= (uint32_t)event.len;
	vm_emit(vm, &event);
}

/* May a program's stdin have a window that large?  Few at a time have more than the first one. */
static bool stdin_window_allowed(const struct agent *agent, const struct agent_program *program,
				 size_t window)
{
	unsigned int grown = 0;

	if (window <= AGENT_STDIN_WINDOW)
		return true;
	for (size_t i = 0; i < EVUM_PROGRAMS_MAX; i++) {
		const struct agent_program *other = &agent->programs[i];

		grown += other != program && other->state != AGENT_FREE && !other->stdin_closed &&
			 other->window[0] > AGENT_STDIN_WINDOW;
	}
	return window <= AGENT_STDIN_WINDOW_MAX && grown < AGENT_STDIN_GROWN;
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
	    !stdin_window_allowed(&vm->agent, program, (size_t)program->window[0] + bytes)) {
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
}

/* Sends a frame about a running program. */
static int send_program(struct evum_vm *vm, enum agent_type type, int fd, uint32_t id,
			const void *payload, size_t len)
{
	int err;

	if (!agent_find(&vm->agent, id))
		return -ESRCH;
	err = agent_send(&vm->agent, type, (uint8_t)fd, id, payload, len);
	vm_agent_flush(vm);
	return err;
}

int evum_program_start(struct evum_vm *vm, uint32_t id, const struct evum_program *program)
{
	int err;

	if (!vm->up || vm->down)
		return -ENOTCONN;
	err = agent_run(&vm->agent, id, program);
	vm_agent_flush(vm);
	return err;
}

int evum_program_write(struct evum_vm *vm, uint32_t id, const void *bytes, size_t len)
{
	struct agent_program *program = agent_find(&vm->agent, id);
	const uint8_t *rest = bytes;
	int err = 0;

	if (!program)
		return -ESRCH;
	if (program->stdin_closed)
		return -EPIPE;
	if (len > program->window[0])
		return -EAGAIN;
	/* All or nothing: half a write that the caller repeats would come twice. */
	if (agent_out_room(&vm->agent, AGENT_STDIN) < agent_frames_size(len))
		return -EAGAIN;
	program->stdin_closed = len == 0;
	program->window[0] -= (uint32_t)len;
	do {
		size_t piece = min_size(len, AGENT_PAYLOAD_MAX);

		err = agent_send(&vm->agent, AGENT_STDIN, 0, id, rest, piece);
		rest += piece;
		len -= piece;
	} while (len > 0 && !err);
	vm_agent_flush(vm);
	return err;
}

int evum_program_credit(struct evum_vm *vm, uint32_t id, int fd, uint32_t bytes)
{
	struct agent_program *program = agent_find(&vm->agent, id);
	int err;

	if (!program)
		return -ESRCH;
	if ((fd != 1 && fd != 2) || bytes > UINT32_MAX - program->window[fd])
		return -EINVAL;
	err = send_program(vm, AGENT_CREDIT, fd, id, &bytes, sizeof(bytes));
	if (!err)
		program->window[fd] += bytes;
	return err;
}

int evum_program_signal(struct evum_vm *vm, uint32_t id, int signal)
{
	int32_t number = signal;

	if (signal < 1 || signal > 64)
		return -EINVAL;
	return send_program(vm, AGENT_SIGNAL, 0, id, &number, sizeof(number));
}

int evum_program_winsize(struct evum_vm *vm, uint32_t id, unsigned int rows, unsigned int cols)
{
	const struct agent_program *program = agent_find(&vm->agent, id);
	const uint16_t size[2] = {(uint16_t)rows, (uint16_t)cols};

	if (rows < 1 || rows > UINT16_MAX || cols < 1 || cols > UINT16_MAX)
		return -ERANGE;
	if (program && !program->pty)
		return -ENOTTY;
	return send_program(vm, AGENT_WINSIZE, 0, id, size, sizeof(size));
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
