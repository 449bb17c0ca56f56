/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_namespaces: root of namespaces of its own, for what only root may do
 */
#ifndef EVUM_TEST_OWN_NAMESPACES_H
#define EVUM_TEST_OWN_NAMESPACES_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static inline void own_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* flags: CLONE_NEW*.  False where this host doesn't let an ordinary user. */
static inline bool own_namespaces(int flags)
{
	char users[32], groups[32];

	snprintf(users, sizeof(users), "0 %u 1", geteuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getegid());
	if (geteuid() == 0 && unshare(flags) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | flags) < 0)
		return false;
	own_write("/proc/self/setgroups", "deny");
	own_write("/proc/self/uid_map", users);
	own_write("/proc/self/gid_map", groups);
	return true;
}

#endif
