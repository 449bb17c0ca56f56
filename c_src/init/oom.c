/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oom: who is killed when memory ends
 *
 * The guardian and the agent never are; what they start is judged by its size,
 * or a memory hog would take the kernel with it.
 */
#define _GNU_SOURCE
#include "oom.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void oom_score(int proc, const char *score)
{
	int fd = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, score, strlen(score));
	close(fd);
}
