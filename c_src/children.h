/* SPDX-License-Identifier: Apache-2.0 */
/* The children of this process */
#ifndef EVUM_CHILDREN_H
#define EVUM_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHILDREN_MAX 512

struct children {
	pid_t pids[CHILDREN_MAX];
	size_t count;
};

/*
 * Lists the children, zombies too; of more than CHILDREN_MAX some.  A subreaper that
 * kills and reaps them until there are none has ended all that they had started.
 */
void children_list(struct children *children);

bool children_contain(const struct children *children, pid_t pid);

#endif
