/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input: a program's standard input
 */
#ifndef EVUM_INIT_INPUT_H
#define EVUM_INIT_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "held.h"
#include "outq.h"
#include "pty.h"
#include "spool.h"

struct input {
	int fd; /* -1 once closed */
	bool pty;
	bool ready;
	bool eof;	/* to be closed after what is held */
	bool spooled;	/* bulk came */
	bool grown;	/* the window is AGENT_STDIN_WINDOW_MAX */
	uint32_t taken; /* bytes not yet granted again */
	uint32_t drunk; /* bytes that the program took since it began, up to the first window */
	struct pty_end end;
	struct held held;
};

/* No bytes are the end.  More than the window is the host's mistake and not kept. */
void input_add(struct input *in, const uint8_t *bytes, uint32_t len);

/* The same from a slot of the spool's; false where it holds no such bytes. */
bool input_add_spooled(struct input *in, const struct spool *spool, uint32_t slot, uint32_t len);

/* Hands on what is held and grants.  *grown counts the windows that are grown. */
void input_pump(struct input *in, uint32_t id, struct outq *out, unsigned int *grown, int64_t now);

/* When input_pump() is to be called although nothing happened, in ms; -1: never. */
int64_t input_deadline(const struct input *in);

void input_close(struct input *in, unsigned int *grown);

#endif
