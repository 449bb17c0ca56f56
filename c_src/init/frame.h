/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame: the guest's codec of the agent's channel
 *
 * The formats are those of agent_proto.h.  A reader holds at most one frame of
 * full size; nothing that arrives can make it fail or grow.
 */
#ifndef EVUM_INIT_FRAME_H
#define EVUM_INIT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_proto.h"

#define FRAME_HEADER sizeof(struct agent_header)
#define FRAME_MAX (FRAME_HEADER + AGENT_PAYLOAD_MAX)

struct frame {
	uint8_t type;
	uint8_t fd;
	uint32_t id;
	uint32_t len;
	const uint8_t *payload; /* in the reader; valid until its next call */
};

struct frame_reader {
	size_t start; /* first byte not yet used */
	size_t end;
	uint64_t garbage; /* bytes skipped because they were no frame */
	uint8_t bytes[FRAME_MAX];
};

struct frame_field {
	uint8_t tag;
	uint32_t len;
	const uint8_t *bytes;
};

/* Where to put bytes that arrived, and how many fit: 0 only before frame_next() was called. */
uint8_t *frame_room(struct frame_reader *reader, size_t *room);
void frame_added(struct frame_reader *reader, size_t len);

/* The next whole frame from the host; false where more bytes are needed. */
bool frame_next(struct frame_reader *reader, struct frame *frame);

/* Writes a header for len bytes of payload. */
void frame_put_header(uint8_t out[static FRAME_HEADER], uint8_t type, uint8_t fd, uint32_t id,
		      uint32_t len);

void frame_put_u32(uint8_t out[static 4], uint32_t value);
uint32_t frame_u32(const uint8_t bytes[static 4]);
uint16_t frame_u16(const uint8_t bytes[static 2]);

/*
 * Takes the next field of an AGENT_RUN payload off *bytes and *len.  Returns 1,
 * 0 at the end, or -EBADMSG where a field reaches beyond the payload.
 */
int frame_next_field(const uint8_t **bytes, size_t *len, struct frame_field *field);

#endif
