/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of Ethernet frames, as they travel in FRAMES messages
 *
 * Pure: bytes in, bytes out.  A message is looked through once, when it is
 * opened, and believed from then on.
 */
#include "batch.h"

#include <errno.h>
#include <string.h>
#include "evum_proto.h"

size_t batch_get_length(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

int batch_open(struct batch *batch, const uint8_t *message, size_t len)
{
	size_t at = BATCH_HEAD;
	unsigned int count = 0;

	if (len < BATCH_HEAD || message[0] != CHANNEL_FRAMES)
		return -EPROTO;
	while (len - at >= BATCH_LENGTH) {
		size_t frame = batch_get_length(message + at);

		if (frame > len - at - BATCH_LENGTH)
			return -EPROTO;
		at += BATCH_LENGTH + frame;
		count++;
	}
	if (at != len || count != batch_get_length(message + 2))
		return -EPROTO;
	*batch = (struct batch){.nic = message[1], .count = count, .at = message + BATCH_HEAD};
	return 0;
}

bool batch_next(struct batch *batch, struct batch_frame *frame)
{
	if (!batch->count)
		return false;
	frame->len = batch_get_length(batch->at);
	frame->bytes = batch->at + BATCH_LENGTH;
	batch->at += BATCH_LENGTH + frame->len;
	batch->count--;
	return true;
}

void batch_put_head(uint8_t head[BATCH_HEAD], uint8_t nic, unsigned int count)
{
	head[0] = CHANNEL_FRAMES;
	head[1] = nic;
	batch_put_length(head + 2, count);
}

void batch_put_length(uint8_t length[BATCH_LENGTH], size_t len)
{
	length[0] = (uint8_t)(len >> 8);
	length[1] = (uint8_t)len;
}

bool batch_same_flow(const uint8_t *frame, const uint8_t *other)
{
	return memcmp(frame, other, BATCH_FLOW) == 0;
}
