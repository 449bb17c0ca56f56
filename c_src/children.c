/* SPDX-License-Identifier: Apache-2.0 */
/* The children of this process */
#include "children.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "util.h"

void children_list(struct children *children)
{
	char path[64], text[4096];
	cleanup_fd int fd = -1;
	ssize_t length;
	char *rest = text;

	children->count = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = '\0';
	while (children->count < CHILDREN_MAX) {
		char *end;
		long pid = strtol(rest, &end, 10);

		/* Of a text that is cut the last number may be another one. */
		if (end == rest || *end == '\0')
			break;
		children->pids[children->count++] = (pid_t)pid;
		rest = end;
	}
}

bool children_contain(const struct children *children, pid_t pid)
{
	for (size_t i = 0; i < children->count; i++)
		if (children->pids[i] == pid)
			return true;
	return false;
}
