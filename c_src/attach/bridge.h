/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors 0, 1 and 2 on one side, the link on the other
 */
#ifndef EVUM_ATTACH_BRIDGE_H
#define EVUM_ATTACH_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "link.h"
#include "tty.h"

#define BRIDGE_WRITE_FAILED 125
#define BRIDGE_DETACH_KEY 0x1d /* Ctrl-] */

/* How a bridge ended, where it wasn't by an exit status (0 to 255). */
enum bridge_end {
	BRIDGE_DETACHED = 256,
	BRIDGE_LOST,   /* the other side is gone and gave no status */
	BRIDGE_SIGNAL, /* and the signal's number: BRIDGE_SIGNAL + 15 */
};

/* Output on its way: at most the window, acknowledged when it was written. */
struct sink {
	int number;  /* 1 or 2, as the link names it */
	int fd;	     /* where it is written to */
	size_t most; /* that can be written at once without a block */
	size_t start;
	size_t len;
	uint32_t written; /* and not yet acknowledged */
	unsigned char bytes[LINK_RUN_WINDOW];
};

struct bridge {
	struct link link;
	struct tty *tty;
	bool program; /* signals go to it; else a signal detaches, and so does the input's end */
	bool started; /* what is typed may be read */
	bool input_ended;
	bool exited;
	int status;
	int end;       /* enum bridge_end, or -1: goes on */
	size_t window; /* bytes that may be sent before they are acknowledged */
	size_t window_max;
	int signals; /* signalfd */
	unsigned char input[LINK_DATA_MAX];
	struct sink sinks[2];
};

int bridge_init(struct bridge *bridge, int link_fd, struct tty *tty, bool program);
int bridge_run(struct bridge *bridge);

#endif
