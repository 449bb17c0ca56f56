/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame: the guest's codec of the agent's channel
 *
 * Theory of operation.  Anybody in the guest can write to the line and make
 * the tty echo or eat bytes, so what arrives is a stream in which frames are
 * expected and not promised.  The reader looks for a header that could be one
 * (magic, a type that the host sends, a length within bounds).  Where there is
 * none it drops a byte and counts it.  A false header inside garbage costs at
 * most one payload, after which the search goes on.
 */
#include "frame.h"

#include <errno.h>
#include <string.h>

#define MAGIC_LOW (AGENT_MAGIC & 0xffu)
#define MAGIC_HIGH (AGENT_MAGIC >> 8)

uint16_t frame_u16(const uint8_t bytes[static 2])
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

uint32_t frame_u32(const uint8_t bytes[static 4])
{
	return (uint32_t)frame_u16(bytes) | (uint32_t)frame_u16(bytes + 2) << 16;
}

void frame_put_u32(uint8_t out[static 4], uint32_t value)
{
	out[0] = (uint8_t)value;
	out[1] = (uint8_t)(value >> 8);
	out[2] = (uint8_t)(value >> 16);
	out[3] = (uint8_t)(value >> 24);
}

void frame_put_header(uint8_t out[static FRAME_HEADER], uint8_t type, uint8_t fd, uint32_t id,
		      uint32_t len)
{
	out[0] = MAGIC_LOW;
	out[1] = MAGIC_HIGH;
	out[2] = type;
	out[3] = fd;
	frame_put_u32(out + 4, id);
	frame_put_u32(out + 8, len);
}

uint8_t *frame_room(struct frame_reader *reader, size_t *room)
{
	if (reader->start > 0) {
		memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
		reader->end -= reader->start;
		reader->start = 0;
	}
	*room = sizeof(reader->bytes) - reader->end;
	return reader->bytes + reader->end;
}

void frame_added(struct frame_reader *reader, size_t len)
{
	reader->end += len;
}

static bool is_header(const uint8_t *at)
{
	return at[0] == MAGIC_LOW && at[1] == MAGIC_HIGH && at[2] >= AGENT_RUN &&
	       at[2] <= AGENT_STDIN_SPOOLED && frame_u32(at + 8) <= AGENT_PAYLOAD_MAX;
}

/* Skips to the first byte that may start a header. */
static void resync(struct frame_reader *reader)
{
	const uint8_t *from = reader->bytes + reader->start;
	const uint8_t *found;

	found = memchr(from + 1, MAGIC_LOW, reader->end - reader->start - 1);
	if (found == NULL)
		found = reader->bytes + reader->end;
	reader->garbage += (uint64_t)(found - from);
	reader->start += (size_t)(found - from);
}

bool frame_next(struct frame_reader *reader, struct frame *frame)
{
	const uint8_t *at;
	uint32_t len;

	while (reader->end - reader->start >= FRAME_HEADER) {
		at = reader->bytes + reader->start;
		if (!is_header(at)) {
			resync(reader);
			continue;
		}
		len = frame_u32(at + 8);
		if (reader->end - reader->start < FRAME_HEADER + len)
			return false;
		*frame = (struct frame){
			.type = at[2],
			.fd = at[3],
			.id = frame_u32(at + 4),
			.len = len,
			.payload = at + FRAME_HEADER,
		};
		reader->start += FRAME_HEADER + len;
		return true;
	}
	return false;
}

int frame_next_field(const uint8_t **bytes, size_t *len, struct frame_field *field)
{
	const uint8_t *at = *bytes;

	if (*len == 0)
		return 0;
	if (*len < 5 || frame_u32(at + 1) > *len - 5)
		return -EBADMSG;
	*field = (struct frame_field){.tag = at[0], .len = frame_u32(at + 1), .bytes = at + 5};
	*bytes = at + 5 + field->len;
	*len -= 5 + (size_t)field->len;
	return 1;
}
