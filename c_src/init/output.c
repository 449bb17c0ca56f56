/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output: one stream of what a program says
 *
 * Bulk goes by the spool, the rest by the line.  Where bulk finds no slot free it
 * waits for one, as it would be slower by the line and hold up all others.  A slot
 * costs a write to the host and an answer from it, so a few pages are no bulk.
 *
 * A program that has filled its pipe may get a larger one: most of what bulk costs
 * in a guest is changing between the program and the agent.
 */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_MAX_BYTES 16384u /* more is bulk */
#define PIPE_BYTES 65536u     /* of a pipe, as the kernel makes it */

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Bytes that wait in the pipe.  Those of a pty may be still on their way; poll(2) waits for them. */
static uint32_t waiting(const struct output *output)
{
	struct pollfd pty = {.fd = output->fd, .events = POLLIN};
	int held = 0;

	if (output->pty)
		(void)poll(&pty, 1, 0);
	return ioctl(output->fd, FIONREAD, &held) == 0 ? (uint32_t)held : 0;
}

void output_end(struct output *output, uint32_t id, struct outq *out)
{
	if (output->fd >= 0)
		close(output->fd);
	output->fd = -1;
	outq_frame(out, AGENT_OUTPUT, output->number, id, "", 0);
}

void output_owe(struct output *output)
{
	if (output->fd < 0)
		return;
	output->owed = waiting(output);
	output->ready = true;
}

void output_credit(struct output *output, uint32_t bytes)
{
	output->window = bytes > UINT32_MAX - output->window ? UINT32_MAX : output->window + bytes;
}

void output_widen(struct output *output)
{
	output->wide = true;
	if (output->fd >= 0)
		(void)fcntl(output->fd, F_SETPIPE_SZ, 2 * AGENT_SPOOL_SLOT);
}

static void send_by_line(const struct output *output, uint32_t id, struct outq *out,
			 const uint8_t *bytes, uint32_t len)
{
	uint32_t part;

	for (; len > 0; bytes += part, len -= part) {
		part = smaller(len, AGENT_PAYLOAD_MAX);
		outq_frame(out, AGENT_OUTPUT, output->number, id, bytes, part);
	}
}

/* Sends what is in spool->bytes. */
static void send_bulk(const struct output *output, uint32_t id, struct outq *out,
		      struct spool *spool, uint32_t len)
{
	uint8_t payload[8];
	int slot = len > LINE_MAX_BYTES ? spool_write(spool, len) : -1;

	if (slot < 0) {
		send_by_line(output, id, out, spool->bytes, len);
		return;
	}
	frame_put_u32(payload, (uint32_t)slot);
	frame_put_u32(payload + 4, len);
	outq_frame(out, AGENT_OUTPUT_SPOOLED, output->number, id, payload, sizeof(payload));
}

/* What came of a read of room bytes. */
static enum output_result note_read(struct output *output, uint32_t id, struct outq *out,
				    ssize_t got, uint32_t room)
{
	/* EIO is the end of a pty whose other side nobody has. */
	if (got == 0 || (got < 0 && errno == EIO)) {
		output_end(output, id, out);
		return OUTPUT_NOTHING;
	}
	if (got < 0) {
		output->ready = errno == EINTR;
		return output->ready ? OUTPUT_MORE : OUTPUT_NOTHING;
	}
	output->fills = output->fills || (uint32_t)got >= PIPE_BYTES;
	output->window -= (uint32_t)got;
	output->owed -= smaller((uint32_t)got, output->owed);
	/*
	 * Less than was asked for: the pipe is empty, and the next byte is a new event.
	 * A pty gives a page at most.
	 */
	if ((uint32_t)got < room && !output->hung_up && !output->pty)
		output->ready = false;
	return output->ready && output->window > 0 ? OUTPUT_MORE : OUTPUT_SENT;
}

static enum output_result pump_by_spool(struct output *output, uint32_t id, struct outq *out,
					struct spool *spool)
{
	uint32_t room = smaller(output->window, AGENT_SPOOL_SLOT);
	ssize_t got = read(output->fd, spool->bytes, room);

	if (got > 0)
		send_bulk(output, id, out, spool, (uint32_t)got);
	return note_read(output, id, out, got, room);
}

static enum output_result pump_by_line(struct output *output, uint32_t id, struct outq *out)
{
	uint32_t room = smaller(output->window, AGENT_PAYLOAD_MAX);
	ssize_t got = read(output->fd, outq_payload(out), room);

	if (got > 0)
		outq_commit(out, AGENT_OUTPUT, output->number, id, (uint32_t)got);
	return note_read(output, id, out, got, room);
}

enum output_result output_pump(struct output *output, uint32_t id, struct outq *out,
			       struct spool *spool)
{
	output->starved = false;
	if (output->fd < 0 || !output->ready)
		return OUTPUT_NOTHING;
	if (output->window == 0) {
		/* An end of file needs no window, and is told by a hang-up with nothing held. */
		if (output->hung_up && waiting(output) == 0)
			output_end(output, id, out);
		return OUTPUT_NOTHING;
	}
	if (spool_free(spool))
		return pump_by_spool(output, id, out, spool);
	output->starved = spool_there(spool) && waiting(output) > LINE_MAX_BYTES;
	return output->starved ? OUTPUT_NOTHING : pump_by_line(output, id, out);
}
