/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input: a program's standard input
 *
 * The window bounds what is held.  It grows for a program that has shown that it
 * drinks by the slot, and shrinks no more, as what was granted can't be taken
 * back: so few may be grown at a time.
 */
#define _GNU_SOURCE
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Credit is given in pieces of at least this, or when all was taken. */
#define GRANT 16384u
#define GRANT_GROWN 65536u

static uint32_t room_of(const struct input *in)
{
	uint32_t window = in->grown ? AGENT_STDIN_WINDOW_MAX : AGENT_STDIN_WINDOW;

	return window - in->held.len;
}

static void give_up(struct input *in)
{
	in->taken += in->held.len;
	held_clear(&in->held);
	if (in->fd >= 0)
		close(in->fd);
	in->fd = -1;
}

void input_add(struct input *in, const uint8_t *bytes, uint32_t len)
{
	uint8_t *to;

	if (in->eof)
		return;
	if (len == 0) {
		in->eof = true;
		return;
	}
	to = in->fd >= 0 ? held_room(&in->held, len) : NULL;
	if (to == NULL) {
		/* Lost, as when a shell's pipe is closed. */
		in->taken += len;
		give_up(in);
		return;
	}
	if (len > room_of(in))
		len = room_of(in);
	memcpy(to, bytes, len);
	held_added(&in->held, len);
}

bool input_add_spooled(struct input *in, const struct spool *spool, uint32_t slot, uint32_t len)
{
	uint8_t *to;

	if (in->eof || len > AGENT_SPOOL_SLOT || (in->fd >= 0 && len > room_of(in)))
		return false;
	in->spooled = true;
	to = in->fd >= 0 ? held_room(&in->held, len) : NULL;
	if (to != NULL && spool_read(spool, slot, len, to) == 0) {
		held_added(&in->held, len);
		return true;
	}
	in->taken += len;
	if (to == NULL)
		give_up(in);
	return to == NULL;
}

/* The oldest len bytes were handed on. */
static void took(struct input *in, const uint8_t *bytes, uint32_t len)
{
	in->end.unfinished = bytes[len - 1] != '\n' && bytes[len - 1] != '\r';
	held_drop(&in->held, len);
	in->taken += len;
	in->drunk = len < AGENT_STDIN_WINDOW - in->drunk ? in->drunk + len : AGENT_STDIN_WINDOW;
}

static void write_held(struct input *in)
{
	const uint8_t *bytes;
	ssize_t written;
	uint32_t len;

	while (in->fd >= 0 && in->ready && in->held.len > 0) {
		bytes = held_first(&in->held, &len);
		written = write(in->fd, bytes, len);
		if (written > 0) {
			took(in, bytes, (uint32_t)written);
		} else if (written < 0 && errno == EAGAIN) {
			in->ready = false;
		} else if (written < 0 && errno != EINTR) {
			/* The program reads no more: the rest is taken and lost, as in a shell. */
			give_up(in);
		}
	}
}

/* How much more than was taken is granted. */
static uint32_t grow(struct input *in, unsigned int *grown)
{
	if (in->grown || !in->spooled || in->eof || in->fd < 0 || in->drunk < AGENT_STDIN_WINDOW ||
	    *grown == AGENT_STDIN_GROWN)
		return 0;
	in->grown = true;
	++*grown;
	/* Most of what bulk costs in a guest is changing between the program and us. */
	(void)fcntl(in->fd, F_SETPIPE_SZ, AGENT_STDIN_WINDOW_MAX);
	return AGENT_STDIN_WINDOW_MAX - AGENT_STDIN_WINDOW;
}

static void grant(struct input *in, uint32_t id, struct outq *out, unsigned int *grown)
{
	uint8_t bytes[4];

	if (in->taken == 0 || (in->held.len > 0 && in->taken < (in->grown ? GRANT_GROWN : GRANT)))
		return;
	frame_put_u32(bytes, in->taken + grow(in, grown));
	outq_frame(out, AGENT_CREDIT, 0, id, bytes, sizeof(bytes));
	in->taken = 0;
}

void input_pump(struct input *in, uint32_t id, struct outq *out, unsigned int *grown, int64_t now)
{
	write_held(in);
	grant(in, id, out, grown);
	if (in->fd >= 0 && in->eof && in->held.len == 0 && in->pty)
		pty_end(in->fd, &in->end, now);
	else if (in->fd < 0 || (in->eof && in->held.len == 0))
		input_close(in, grown);
}

int64_t input_deadline(const struct input *in)
{
	return in->fd >= 0 && in->eof && in->held.len == 0 && in->pty ? in->end.look_at : -1;
}

void input_close(struct input *in, unsigned int *grown)
{
	give_up(in);
	if (in->grown)
		--*grown;
	in->grown = false;
}
