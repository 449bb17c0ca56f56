/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams: what connects a program with the agent
 */
#ifndef EVUM_INIT_STREAMS_H
#define EVUM_INIT_STREAMS_H

#include "run.h"
#include "spawn.h"

/* Descriptors, -1 where there is none: a pty has one of theirs, for all three, and no third of ours. */
struct streams {
	int ours[3]; /* without blocking */
	int theirs[3];
};

/* Three pipes, or the pty that spec asks for.  0, or -errno with all closed. */
int streams_open(struct streams *streams, const struct spawn_host *host,
		 const struct run_spec *spec);

void streams_close_ours(struct streams *streams);
void streams_close_theirs(struct streams *streams);

#endif
