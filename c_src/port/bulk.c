/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk bytes and credit from the BEAM
 *
 * Theory of operation.  Nothing here may block, and no byte may be lost: what
 * libevum has no room for is held, in order, and offered again after each
 * dispatch, which is when the guest can have read something.  The console's
 * window bounds what is held for it: credit goes back when libevum took the
 * bytes.  A program's stdin is credited by the guest: what is held for it
 * (backlog.c) is what came while many of them fill the agent's line, or while
 * the machine is paused, and never more than its window.
 *
 * Bytes for a machine that isn't there, or for a program that has just ended,
 * are dropped: they crossed its end on the way.
 */
#include <errno.h>
#include <string.h>
#include "agent_proto.h"
#include "port.h"
#include "util.h"

_Static_assert(EVUM_STDIN_WINDOW == AGENT_STDIN_WINDOW, "the guest's window is Erlang's");
_Static_assert(BACKLOG_MAX == AGENT_STDIN_WINDOW_MAX, "a window is the most that is held");
_Static_assert(EVUM_BULK_MAX == AGENT_SPOOL_SLOT, "a frame's bytes are a slot's");

#define STREAM_HEAD 6u
#define CREDIT_FRAME 10u

/* Offers libevum what is held for the console. */
static void console_push(struct port *port)
{
	struct bulk *bulk = &port->bulk;
	long taken;

	if (!bulk->console_len)
		return;
	taken = evum_console_write(port->vm, bulk->console, bulk->console_len);
	/* An error: the console is closed, so nobody will ever read the bytes. */
	if (taken < 0 || (size_t)taken > bulk->console_len)
		taken = (long)bulk->console_len;
	bulk->console_len -= (size_t)taken;
	memmove(bulk->console, bulk->console + taken, bulk->console_len);
	bulk->console_taken += (uint32_t)taken;
}

int bulk_console(struct port *port, const struct wire_frame *frame)
{
	struct bulk *bulk = &port->bulk;
	size_t len = frame->len - 1;

	if (!port->vm)
		return 0;
	/* Bytes whose credit is not sent yet count as well: the peer can't know of it. */
	if (len > sizeof(bulk->console) - bulk->console_len - bulk->console_taken)
		return -EPROTO;
	memcpy(bulk->console + bulk->console_len, frame->bytes + 1, len);
	bulk->console_len += len;
	console_push(port);
	return 0;
}

/* One credit frame for all of a wake-up; none while the peer doesn't read. */
int bulk_tell_taken(struct port *port)
{
	struct bulk *bulk = &port->bulk;
	uint32_t taken = bulk->console_taken;

	if (!taken || !port->vm || port->wire.queued > PORT_OUT_HIGH)
		return 0;
	bulk->console_taken = 0;
	return wire_send_credit(&port->wire, 0, 0, taken);
}

int bulk_stream(struct port *port, const struct wire_frame *frame)
{
	const uint8_t *bytes = frame->bytes + STREAM_HEAD;
	size_t len = frame->len - STREAM_HEAD;
	uint32_t id;

	if (frame->len < STREAM_HEAD || frame->bytes[5] != 0 || len > EVUM_BULK_MAX)
		return -EPROTO;
	id = wire_get32(frame->bytes + 1);
	if (id == 0)
		return -EPROTO;
	if (!port->vm)
		return 0;
	/*
	 * Whoever waits is served first: room comes by a dispatch, and bulk_retry()
	 * is called after it.  An error but -EAGAIN is a program that has ended.
	 */
	if (!backlog_has(&port->bulk.backlog, id) &&
	    evum_program_write(port->vm, id, bytes, len) != -EAGAIN)
		return 0;
	return backlog_add(&port->bulk.backlog, id, bytes, len);
}

/* In turn, a frame's bytes each: a program's stay in order, and none keeps the others out. */
int bulk_retry(struct port *port)
{
	struct backlog *backlog = &port->bulk.backlog;

	console_push(port);
	while (backlog->head) {
		const struct waiting *first = backlog->head;
		const uint8_t *bytes = first->len ? first->bytes + first->first : NULL;
		size_t len = min_size(first->len, EVUM_BULK_MAX);

		if (evum_program_write(port->vm, first->id, bytes, len) == -EAGAIN)
			return 0;
		backlog_took(backlog, len);
	}
	return 0;
}

void bulk_forget(struct port *port, uint32_t id)
{
	backlog_forget(&port->bulk.backlog, id);
}

static int machine_credit(struct port *port, uint8_t fd, uint32_t n)
{
	if (fd >= EVUM_NIC_FD)
		return frames_credit(port, fd - EVUM_NIC_FD, n);
	if (fd == 1) {
		evum_console_credit(port->vm, n);
		return 0;
	}
	if (fd != 2 || n > EVUM_MESSAGE_WINDOW - port->messages_left)
		return -EPROTO;
	port->messages_left += n;
	return 0;
}

int bulk_credit(struct port *port, const struct wire_frame *frame)
{
	uint32_t id;
	uint32_t n;
	uint8_t fd;

	if (frame->len != CREDIT_FRAME)
		return -EPROTO;
	id = wire_get32(frame->bytes + 1);
	fd = frame->bytes[5];
	n = wire_get32(frame->bytes + 6);
	if (id && (fd == 0 || fd > 2))
		return -EPROTO;
	if (!port->vm)
		return 0;
	if (!id)
		return machine_credit(port, fd, n);
	/* An error is a program that has just ended. */
	(void)evum_program_credit(port->vm, id, fd, n);
	return 0;
}

void bulk_free(struct bulk *bulk)
{
	backlog_free(&bulk->backlog);
	bulk->console_len = 0;
	bulk->console_taken = 0;
}
