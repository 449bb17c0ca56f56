/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool: bulk to and from the host, by two files
 *
 * What the files are is said in agent_proto.h.  A spool without files answers
 * as one that never has a slot.
 */
#ifndef EVUM_INIT_SPOOL_H
#define EVUM_INIT_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_proto.h"

struct spool {
	int in; /* -1: none */
	int out;
	uint32_t slot; /* of out: the next to be filled */
	uint32_t free; /* of out: slots that the host has granted */
	uint32_t read; /* of in: the number after the last slot read, until it is granted */
	uint8_t bytes[AGENT_SPOOL_SLOT]; /* on their way to out */
};

/* Opens both files in a folder of the host's; an empty path is none. */
void spool_open(struct spool *spool, const char *path);

static inline bool spool_there(const struct spool *spool)
{
	return spool->out >= 0;
}

static inline bool spool_free(const struct spool *spool)
{
	return spool->out >= 0 && spool->free > 0;
}

void spool_credit(struct spool *spool, uint32_t slots);

/* Copies len bytes of a slot of the host's to to.  0, or -EBADMSG where they aren't there. */
int spool_read(const struct spool *spool, uint32_t slot, uint32_t len, uint8_t *to);

/*
 * Puts the first len of spool->bytes into the next slot, which must be free.  Returns
 * the slot, or -errno: then the spool takes nothing more.
 */
int spool_write(struct spool *spool, uint32_t len);

#endif
