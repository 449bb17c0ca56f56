/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between evum-attach and the BEAM
 *
 * {packet, 4}: a 32-bit big-endian length, then that many bytes, the first of
 * which is the type.  Every stream has a window, of LINK_WINDOW bytes on a console and
 * of LINK_RUN_WINDOW for a program: a sender stops there until the receiver
 * acknowledges what it has passed on.
 */
#ifndef EVUM_ATTACH_LINK_H
#define EVUM_ATTACH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_WINDOW 65536u
#define LINK_RUN_WINDOW 1048576u /* both sides are copying at full speed: ?WINDOW of evum_run.erl */
#define LINK_DATA_MAX 131072u
#define LINK_FRAME_MAX (LINK_DATA_MAX + 16u)

enum link_to_beam {
	LINK_HELLO = 0,	  /* u8 terminal?, u16 rows, u16 columns */
	LINK_DATA = 1,	  /* bytes typed */
	LINK_WINSIZE = 2, /* u16 rows, u16 columns */
	LINK_EOF = 3,
	LINK_SIGNAL = 4, /* u8 signal number */
	LINK_ACK = 5,	 /* u8 fd (1 or 2), u32 bytes written to it */
};

enum link_from_beam {
	LINK_STDOUT = 1,  /* bytes */
	LINK_STDERR = 2,  /* bytes */
	LINK_EXIT = 3,	  /* u8 status; nothing follows */
	LINK_TEXT = 4,	  /* a line for the person, no line end */
	LINK_TAKEN = 5,	  /* u32 bytes of LINK_DATA that were passed on */
	LINK_STARTED = 6, /* u8: 1, the program has the terminal; 0, it has pipes */
};

struct link {
	int fd;
	bool ended; /* end of file or an error: nothing comes any more */
	size_t in_len;
	size_t out_len;
	unsigned char in[4 + LINK_FRAME_MAX];
	unsigned char out[2 * (4 + LINK_FRAME_MAX)];
};

/* Called for each frame; 0 to go on, -errno to stop. */
typedef int link_handler(void *ctx, uint8_t type, const unsigned char *bytes, size_t len);

int link_init(struct link *link, int fd);
size_t link_room(const struct link *link);
int link_send(struct link *link, uint8_t type, const void *bytes, size_t len);
int link_flush(struct link *link);
int link_receive(struct link *link, link_handler *handler, void *ctx);

#endif
