/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit: groups of processes that may use so much and no more
 *
 * Theory of operation.  A limited program gets a cgroup (v2) of its own, which
 * it joins before it is executed and which all it starts are born in.  It is
 * ended as a whole: when memory ends, or when the program does.
 *
 * The hierarchy is mounted where nobody in the machine sees it, and only once
 * somebody asks for a limit: a machine may want to use its controllers with the
 * older interface, which excludes this one, and then limits are refused.  Between
 * the root and the programs' groups is one that wants the controllers itself: an
 * init that tidies up the root's can't take them away from under us.
 *
 * Guest root can leave its group, or nest others in it: a limit keeps a program
 * from harming the machine by mistake, not its owner from using it.
 */
#define _GNU_SOURCE
#include "limit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"
#include "mount.h"

#define TOP_GROUP "evum-agent"
#define CONTROLLERS "+pids +memory"
#define FAIRNESS "+cpu" /* a group's processes share what one of others' gets */

/* Processes that were killed take a moment to go; a group that they hang in stays. */
#define GONE_LOOK_MS 10
#define GONE_PATIENCE_MS 2000

#define NAME_MAX_LEN 32
#define PATH_MAX_LEN 64

static int write_file(int folder, const char *name, const char *text)
{
	int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		result = -errno;
	close(fd);
	return result;
}

/* The root of the hierarchy. */
static int open_root(void)
{
	return mount_unseen("cgroup2", "");
}

void limit_init(struct limits *limits)
{
	*limits = (struct limits){.top = -1, .pid = (int)getpid()};
}

/* Removes what a former agent left in top. */
static void remove_all(int top)
{
	DIR *folder = fdopendir(dup(top));
	const struct dirent *entry;

	if (folder == NULL)
		return;
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			(void)unlinkat(top, entry->d_name, AT_REMOVEDIR);
	closedir(folder);
}

void limit_sweep(void)
{
	int root = open_root();

	if (root < 0)
		return;
	(void)write_file(root, TOP_GROUP "/cgroup.kill", "1");
	close(root);
}

static int enable(int folder)
{
	(void)write_file(folder, "cgroup.subtree_control", FAIRNESS);
	return write_file(folder, "cgroup.subtree_control", CONTROLLERS);
}

static int open_top(struct limits *limits)
{
	int root, top = -1;

	if (limits->top >= 0)
		return 0;
	root = open_root();
	if (root < 0)
		return -EOPNOTSUPP;
	if (enable(root) == 0 && (mkdirat(root, TOP_GROUP, 0755) == 0 || errno == EEXIST))
		top = openat(root, TOP_GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(root);
	if (top >= 0 && enable(top) < 0) {
		close(top);
		top = -1;
	}
	if (top >= 0)
		remove_all(top);
	limits->top = top;
	return top < 0 ? -EOPNOTSUPP : 0;
}

/* The number is this agent's; a group of a former one may be there still. */
static void name_group(const struct limits *limits, uint32_t group, char name[static NAME_MAX_LEN])
{
	snprintf(name, NAME_MAX_LEN, "%d.%u", limits->pid, group);
}

static int set_limits(int folder, uint32_t procs, uint32_t mem)
{
	char number[24];
	int result = 0;

	if (procs > 0) {
		snprintf(number, sizeof(number), "%u", procs);
		result = write_file(folder, "pids.max", number);
	}
	if (result < 0 || mem == 0)
		return result;
	snprintf(number, sizeof(number), "%llu", (unsigned long long)mem << 20);
	result = write_file(folder, "memory.max", number);
	if (result < 0)
		return result;
	(void)write_file(folder, "memory.swap.max", "0");
	return write_file(folder, "memory.oom.group", "1");
}

int limit_make(struct limits *limits, uint32_t procs, uint32_t mem, uint32_t *group)
{
	char name[NAME_MAX_LEN];
	int result = open_top(limits), folder, joined = -1;

	if (result < 0)
		return result;
	name_group(limits, limits->last + 1, name);
	if (mkdirat(limits->top, name, 0755) < 0)
		return -errno;
	limits->last++;
	folder = openat(limits->top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0 && set_limits(folder, procs, mem) == 0)
		joined = openat(folder, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (folder >= 0)
		close(folder);
	if (joined < 0) {
		(void)unlinkat(limits->top, name, AT_REMOVEDIR);
		return -EOPNOTSUPP;
	}
	*group = limits->last;
	return joined;
}

static bool remove_group(const struct limits *limits, uint32_t group)
{
	char name[NAME_MAX_LEN];

	name_group(limits, group, name);
	return unlinkat(limits->top, name, AT_REMOVEDIR) == 0 || errno != EBUSY;
}

void limit_end(struct limits *limits, uint32_t group)
{
	int64_t now = boot_now_ms();
	char path[PATH_MAX_LEN], name[NAME_MAX_LEN];

	name_group(limits, group, name);
	snprintf(path, sizeof(path), "%s/cgroup.kill", name);
	(void)write_file(limits->top, path, "1");
	if (remove_group(limits, group) || limits->gone_count == LIMIT_GONE_MAX)
		return;
	limits->gone[limits->gone_count++] = group;
	limits->gone_until = now + GONE_PATIENCE_MS;
	limits->look_at = now + GONE_LOOK_MS;
}

void limit_tidy(struct limits *limits, int64_t now)
{
	unsigned int i, left = 0;

	if (limits->gone_count == 0 || now < limits->look_at)
		return;
	for (i = 0; i < limits->gone_count; i++)
		if (!remove_group(limits, limits->gone[i]))
			limits->gone[left++] = limits->gone[i];
	limits->gone_count = now < limits->gone_until ? left : 0;
	limits->look_at = now + GONE_LOOK_MS;
}

int64_t limit_due(const struct limits *limits)
{
	return limits->gone_count > 0 ? limits->look_at : -1;
}
