/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output: one stream of what a program says
 */
#ifndef EVUM_INIT_OUTPUT_H
#define EVUM_INIT_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "outq.h"
#include "spool.h"

struct output {
	int fd; /* -1 after its end was sent */
	bool pty;
	bool ready;
	bool hung_up;
	bool starved;	/* it waits for a slot of the spool's */
	bool fills;	/* a read took all that a pipe has as the kernel makes it */
	bool wide;	/* its pipe was made larger */
	uint8_t number; /* 1 or 2 */
	uint32_t window;
	uint32_t owed; /* bytes in the pipe when the program ended: these are its own */
};

enum output_result {
	OUTPUT_NOTHING,
	OUTPUT_SENT,
	OUTPUT_MORE, /* sent, and there may be more at once */
};

/* Makes at most one frame of what there is, or its end. */
enum output_result output_pump(struct output *output, uint32_t id, struct outq *out,
			       struct spool *spool);

/* Tells the host that nothing more comes. */
void output_end(struct output *output, uint32_t id, struct outq *out);

/* The program has ended. */
void output_owe(struct output *output);

void output_credit(struct output *output, uint32_t bytes);

/* Makes its pipe larger. */
void output_widen(struct output *output);

#endif
