/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held: bytes that wait for their reader, in the order they came
 *
 * A list of pieces, so that bulk is never moved.  A piece has room for PIECE_MIN
 * bytes at least and takes what fits behind its own, so any two neighbours are
 * more than half full: the memory is bounded by twice what is held.
 */
#include "held.h"

#include <stddef.h>
#include <stdlib.h>

#define PIECE_MIN 4096u

struct held_piece {
	struct held_piece *next;
	uint32_t start;
	uint32_t end;
	uint32_t size;
	uint8_t bytes[];
};

static void drop_first(struct held *held)
{
	struct held_piece *piece = held->first;

	held->first = piece->next;
	if (held->first == NULL)
		held->last = NULL;
	free(piece);
}

/* A room that was not used is empty too. */
static void drop_empty(struct held *held)
{
	while (held->first != NULL && held->first->start == held->first->end)
		drop_first(held);
}

static struct held_piece *add_piece(struct held *held, uint32_t size)
{
	struct held_piece *piece = malloc(sizeof(*piece) + size);

	if (piece == NULL)
		return NULL;
	piece->next = NULL;
	piece->start = piece->end = 0;
	piece->size = size;
	if (held->last != NULL)
		held->last->next = piece;
	else
		held->first = piece;
	held->last = piece;
	return piece;
}

uint8_t *held_room(struct held *held, uint32_t len)
{
	struct held_piece *piece = held->last;

	if (piece == NULL || len > piece->size - piece->end)
		piece = add_piece(held, len > PIECE_MIN ? len : PIECE_MIN);
	return piece != NULL ? piece->bytes + piece->end : NULL;
}

void held_added(struct held *held, uint32_t len)
{
	held->last->end += len;
	held->len += len;
	drop_empty(held);
}

const uint8_t *held_first(const struct held *held, uint32_t *len)
{
	const struct held_piece *piece = held->first;

	*len = piece != NULL ? piece->end - piece->start : 0;
	return piece != NULL ? piece->bytes + piece->start : NULL;
}

void held_drop(struct held *held, uint32_t len)
{
	held->first->start += len;
	held->len -= len;
	drop_empty(held);
}

void held_clear(struct held *held)
{
	while (held->first != NULL)
		drop_first(held);
	held->len = 0;
}
