/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: an incremental reader and a queue that never blocks */
#ifndef EVUM_WIRE_H
#define EVUM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct wire_block;

/* One frame's bytes, the channel first.  Valid until the next wire_read(). */
struct wire_frame {
	uint8_t *bytes;
	size_t len;
};

/*
 * in and out are the caller's, non-blocking.  Of the input at most two frames
 * are kept; what is queued for output is bounded by the caller, who looks at
 * queued (all bytes) and answers (those of answers to calls) and stops what
 * makes more of it.
 */
struct wire {
	int in, out;
	bool in_wide, out_wide; /* the pipe was made larger, or can't be */
	uint8_t *buffer;
	size_t start, end; /* of buffer, the part that holds bytes read and not yet handled */
	struct wire_block *head, *tail, *spare;
	size_t queued, answers;
	size_t last;	  /* offset in tail of the frame queued last */
	size_t last_head; /* its length before the bulk bytes; 0: it takes no more */
};

int wire_init(struct wire *wire, int in, int out);
void wire_free(struct wire *wire);

/* Reads once.  1; 0 at end of file; -EAGAIN or another error of read(). */
int wire_read(struct wire *wire);
/* The next whole frame: 1; 0 when more has to be read; -EPROTO when empty or over EVUM_FRAME_MAX. */
int wire_next(struct wire *wire, struct wire_frame *frame);

/* They queue.  0, -ENOMEM, or -EMSGSIZE for a term that fits in no frame. */
int wire_send_control(struct wire *wire, const char *term, size_t len, bool answer);
int wire_send_console(struct wire *wire, const void *bytes, size_t len);
int wire_send_stream(struct wire *wire, uint32_t id, uint8_t fd, const void *bytes, size_t len);
int wire_send_whole(struct wire *wire, const uint8_t *head, size_t head_len, const void *bytes,
		    size_t len);
int wire_send_credit(struct wire *wire, uint32_t id, uint8_t fd, uint32_t n);

/*
 * Writes one frame of many parts, len bytes in all, at once where nothing waits,
 * and queues what the peer doesn't take.  0, -ENOMEM, or an error of writev().
 */
int wire_send_parts(struct wire *wire, const uint8_t *head, size_t head_len,
		    const struct iovec *parts, unsigned int count, size_t len);

/* Writes what the peer takes now.  0, or an error of writev(): -EPIPE when nobody reads. */
int wire_flush(struct wire *wire);

uint32_t wire_get32(const uint8_t *bytes);
void wire_put32(uint8_t *bytes, uint32_t value);

#endif
