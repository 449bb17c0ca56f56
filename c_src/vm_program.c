/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that the agent runs for us: start, feed, signal
 *
 * Nothing here waits: what the agent's queue or the spool has no room for is
 * refused whole, as half a write that is repeated would come twice.
 */
#include "util.h"
#include "vm.h"

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

/* By the line, in frames of AGENT_STDIN; no bytes are a frame too. */
static void send_inline(struct evum_vm *vm, uint32_t id, const uint8_t *bytes, size_t len)
{
	do {
		size_t piece = min_size(len, AGENT_PAYLOAD_MAX);

		agent_send(&vm->agent, AGENT_STDIN, 0, id, bytes, piece);
		bytes += piece;
		len -= piece;
	} while (len > 0);
}

static void send_slot(struct evum_vm *vm, uint32_t id, size_t len)
{
	const uint32_t place[2] = {rings_take(&vm->rings), (uint32_t)len};

	agent_send(&vm->agent, AGENT_STDIN_SPOOLED, 0, id, place, sizeof(place));
}

/* -EAGAIN where the bytes of so many slots, and the rest inline, find no room. */
static int check_room(const struct evum_vm *vm, size_t slots, size_t rest)
{
	size_t frames = slots * (sizeof(struct agent_header) + 2 * sizeof(uint32_t));

	if (!slots || rest)
		frames += agent_frames_size(rest);
	if (slots > rings_free_slots(&vm->rings) ||
	    frames > agent_out_room(&vm->agent, AGENT_STDIN))
		return -EAGAIN;
	return 0;
}

/* All slots are written before the first frame is sent: -EIO has sent nothing. */
static int send_stdin(struct evum_vm *vm, uint32_t id, const uint8_t *bytes, size_t len)
{
	size_t slots = rings_slots(&vm->rings, len);
	size_t bulk = min_size(len, slots * AGENT_SPOOL_SLOT);
	int err = check_room(vm, slots, len - bulk);

	for (size_t at = 0; at < bulk && !err; at += AGENT_SPOOL_SLOT)
		err = rings_write(&vm->rings, (uint32_t)(at / AGENT_SPOOL_SLOT), bytes + at,
				  min_size(bulk - at, AGENT_SPOOL_SLOT));
	if (err)
		return err;
	for (size_t at = 0; at < bulk; at += AGENT_SPOOL_SLOT)
		send_slot(vm, id, min_size(bulk - at, AGENT_SPOOL_SLOT));
	if (!bulk || bulk < len)
		send_inline(vm, id, bytes + bulk, len - bulk);
	return 0;
}

int evum_program_write(struct evum_vm *vm, uint32_t id, const void *bytes, size_t len)
{
	struct agent_program *program = agent_find(&vm->agent, id);
	int err;

	if (!program)
		return -ESRCH;
	if (program->stdin_closed)
		return -EPIPE;
	if (len > program->window[0])
		return -EAGAIN;
	err = send_stdin(vm, id, bytes, len);
	/* A spool that failed is used no more. */
	if (err == -EIO)
		err = send_stdin(vm, id, bytes, len);
	if (err)
		return err;
	program->stdin_closed = len == 0;
	program->window[0] -= (uint32_t)len;
	vm_agent_flush(vm);
	return 0;
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
