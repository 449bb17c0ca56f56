/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held: bytes that wait for their reader, in the order they came
 */
#ifndef EVUM_INIT_HELD_H
#define EVUM_INIT_HELD_H

#include <stdint.h>

struct held_piece;

/* Zeroed is empty. */
struct held {
	uint32_t len;
	struct held_piece *first;
	struct held_piece *last;
};

/* Where the next len bytes may be put, or NULL without memory; held_added() then keeps them. */
uint8_t *held_room(struct held *held, uint32_t len);
void held_added(struct held *held, uint32_t len);

/* The oldest bytes, as many as lie together: *len of them, 0 where there are none. */
const uint8_t *held_first(const struct held *held, uint32_t *len);
/* Drops as many of these. */
void held_drop(struct held *held, uint32_t len);

void held_clear(struct held *held);

#endif
