/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn: start a program in the machine's namespaces
 */
#ifndef EVUM_INIT_SPAWN_H
#define EVUM_INIT_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

#include "run.h"

/* What every program gets.  The agent must have joined the pid namespace for its children. */
struct spawn_host {
	int mnt_ns;
	int proc;   /* a /proc that shows the child as "self" */
	pid_t init; /* of the machine's, in that /proc */
	const char *path;
	struct rlimit files;
};

struct spawned {
	pid_t pid;	 /* ours to wait for and to signal */
	pid_t guest_pid; /* as the machine's programs see it; 0: a built-in command */
};

/*
 * Starts spec with stdio as its descriptors 0 to 2, in a session of its own, whose
 * terminal they are where spec asks for one.  group is where "0" is written to join
 * the program's limits, or -1.
 * Returns once the program was executed: 0, or -errno of what failed: ESRCH
 * for an unknown user.  A built-in command ends with what failed as its status.  spec's environment is filled up on the way.
 */
int spawn_program(const struct spawn_host *host, struct run_spec *spec, const int stdio[3],
		  int group, struct spawned *spawned);

#endif
