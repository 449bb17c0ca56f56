/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outq: frames on their way to the host
 *
 * Bounded by its users: whoever makes frames asks outq_full() first and then
 * adds OUTQ_STEP frames of any size and a few small ones at most.  The queue is never
 * grown and nothing in it is dropped.
 */
#ifndef EVUM_INIT_OUTQ_H
#define EVUM_INIT_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

#define OUTQ_FULL 65536u				 /* from here on nothing more is made */
#define OUTQ_STEP (AGENT_SPOOL_SLOT / AGENT_PAYLOAD_MAX) /* what a slot holds */
#define OUTQ_SMALL 4096u				 /* room for the small frames of one step */

struct outq {
	int fd;
	bool ready; /* the line took bytes when it was last tried */
	size_t start;
	size_t end;
	uint8_t bytes[OUTQ_FULL + OUTQ_STEP * FRAME_MAX + OUTQ_SMALL];
};

static inline bool outq_full(const struct outq *out)
{
	return out->end - out->start >= OUTQ_FULL;
}

static inline bool outq_empty(const struct outq *out)
{
	return out->end == out->start;
}

/* Where a frame's payload may be put directly; outq_commit() then makes it a frame. */
uint8_t *outq_payload(struct outq *out);
void outq_commit(struct outq *out, uint8_t type, uint8_t fd, uint32_t id, uint32_t len);

void outq_frame(struct outq *out, uint8_t type, uint8_t fd, uint32_t id, const void *payload,
		size_t len);

/* Writes while the line takes it.  0, or -errno where the line is gone. */
int outq_flush(struct outq *out);

#endif
