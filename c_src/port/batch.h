/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of Ethernet frames, as they travel in FRAMES messages */
#ifndef EVUM_BATCH_H
#define EVUM_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Channel, NIC and count, before the body. */
#define BATCH_HEAD 4u
/* Before each frame of the body. */
#define BATCH_LENGTH 2u
/* What all frames of a batch towards Erlang begin with: two addresses and a type. */
#define BATCH_FLOW 14u

struct batch {
	uint8_t nic;
	unsigned int count; /* of frames still to come */
	const uint8_t *at;
};

struct batch_frame {
	const uint8_t *bytes; /* in the message; its length stands in the two bytes before */
	size_t len;
};

/* Opens a whole FRAMES message.  0, or -EPROTO where its lengths and its count don't agree. */
int batch_open(struct batch *batch, const uint8_t *message, size_t len);
/* The next frame; false at the end. */
bool batch_next(struct batch *batch, struct batch_frame *frame);

void batch_put_head(uint8_t head[BATCH_HEAD], uint8_t nic, unsigned int count);
size_t batch_get_length(const uint8_t *at);
void batch_put_length(uint8_t length[BATCH_LENGTH], size_t len);
/* Both are of BATCH_FLOW bytes at least. */
bool batch_same_flow(const uint8_t *frame, const uint8_t *other);

#endif
