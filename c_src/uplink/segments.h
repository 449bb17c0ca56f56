/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a machine's TCP libslirp keeps because a part before it is missing; pure */
#ifndef EVUM_UPLINK_SEGMENTS_H
#define EVUM_UPLINK_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Twice the connections that a machine may have. */
#define STREAMS_MAX 16384u
/* Segments that may come ahead: more than libslirp's window has of plain size. */
#define STREAM_AHEAD_MAX 128u
/* Of all connections of a machine. */
#define STREAMS_AHEAD_MAX 4096u

struct stream {
	uint64_t key;	/* made of addresses and ports */
	uint32_t next;	/* what libslirp waits for */
	uint32_t high;	/* where the last segment ends that came ahead of it */
	uint16_t ahead; /* how many did */
	uint16_t chain; /* number of the next one of this bucket; 0: none */
};

/* All zero is empty, but for the seed. */
struct segments {
	uint64_t seed;		     /* not to be guessed */
	uint32_t made;		     /* the oldest one's place is the next new one's */
	uint32_t ahead;		     /* of all */
	uint16_t heads[STREAMS_MAX]; /* numbers: index + 1 */
	struct stream table[STREAMS_MAX];
};

/* May libslirp have this frame of the machine, of which filter_check() thought well? */
bool segments_take(struct segments *segments, const uint8_t *frame, size_t len);
/* A frame that libslirp made for the machine. */
void segments_made(struct segments *segments, const uint8_t *frame, size_t len);

#endif
