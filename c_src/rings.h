/* SPDX-License-Identifier: Apache-2.0 */
/* The spool: bulk between libevum and the agent, through two host files */
#ifndef EVUM_RINGS_H
#define EVUM_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_proto.h"

struct rings {
	int in, out;	    /* the files of stdin and of output, or -1 */
	bool agent_has;	    /* the agent opened both */
	bool failed;	    /* the file of stdin takes no more */
	uint32_t next;	    /* number of the slot of stdin that is filled next */
	uint32_t first;	    /* of the first one that the agent has not read */
	uint32_t ungranted; /* slots of output read and not granted again */
	uint8_t *buffer;    /* of a slot */
};

/*
 * In the jail's first process: makes both files in an empty directory, each of
 * its full length and mode 0600.  fds: of stdin, of output.  Returns 0 or
 * -errno, and then no descriptor is open.  Allocates nothing.
 */
int rings_make(const char *directory, int fds[2]);

/* Empties fds, which rings owns from now on.  0 or -ENOMEM. */
int rings_init(struct rings *rings, int fds[2]);
void rings_free(struct rings *rings);

/* An agent has reported in, which has the files or has not: all slots are free. */
void rings_reset(struct rings *rings, bool agent_has);

/*
 * How many slots len bytes of stdin would take: one for each AGENT_SPOOL_SLOT of
 * them, and for a rest of AGENT_SPOOL_MIN or more.  0 where all go by the line.
 */
size_t rings_slots(const struct rings *rings, size_t len);
size_t rings_free_slots(const struct rings *rings);
/* Writes the bytes of a slot, the ahead-th from the next one.  0; -EIO: no more can be written. */
int rings_write(struct rings *rings, uint32_t ahead, const void *bytes, size_t len);
/* The number of the next slot, which was written: its frame is on its way. */
uint32_t rings_take(struct rings *rings);
/* The agent has read all slots before the one of that number; what can't be is no grant. */
void rings_granted(struct rings *rings, uint32_t number);

/* Reads output from a slot into the buffer.  0; -EINVAL where no such slot or bytes are there. */
int rings_read(struct rings *rings, uint32_t slot, uint32_t len);

#endif
