/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit: groups of processes that may use so much and no more
 */
#ifndef EVUM_INIT_LIMIT_H
#define EVUM_INIT_LIMIT_H

#include <stdint.h>

#define LIMIT_GONE_MAX 64 /* groups that wait to be removed; of more the folder is left behind */

struct limits {
	int top;       /* folder of all groups, -1 before the first is made */
	int pid;       /* of this agent's, in the groups' names */
	uint32_t last; /* number of the group made last; 0: none */
	unsigned int gone_count;
	uint32_t gone[LIMIT_GONE_MAX]; /* ended, and still to be removed */
	int64_t gone_until;	       /* ms; when the removing is given up */
	int64_t look_at;	       /* ms; when it is tried next */
};

void limit_init(struct limits *limits);

/* Kills what a former agent's limited programs left behind. */
void limit_sweep(void);

/*
 * Makes a group of at most procs processes and mem MiB; 0 is no limit.  Returns
 * a descriptor to which a process writes "0" to join, and the group's number, or
 * -EOPNOTSUPP where the machine's kernel or the way it is used has no such limits.
 */
int limit_make(struct limits *limits, uint32_t procs, uint32_t mem, uint32_t *group);

/* Kills who is left in a group and removes it, now or by limit_tidy(). */
void limit_end(struct limits *limits, uint32_t group);

/* To be called when limit_due() says so, in ms; -1: never. */
void limit_tidy(struct limits *limits, int64_t now);
int64_t limit_due(const struct limits *limits);

#endif
