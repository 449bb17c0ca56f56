/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module: modules of the running kernel, from the folder that the jail shows
 */
#define _GNU_SOURCE
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define JAIL_MODULES "/modules"
#define PATH_MAX_HERE 512
#define ANY_DIRECTORY "/proc" /* every machine has it */

static int insert(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		result = -errno;
	close(fd);
	return result;
}

int module_load(const char *where, const char *name)
{
	struct utsname kernel;
	char path[PATH_MAX_HERE];
	int result;

	if (mount("none", where, "hostfs", MS_RDONLY, JAIL_MODULES) < 0)
		return -ENODEV;
	(void)uname(&kernel);
	snprintf(path, sizeof(path), "%s/%s/kernel/%s", where, kernel.release, name);
	result = insert(path);
	(void)umount2(where, MNT_DETACH);
	return result;
}

/* In a process that ends after it: the errno, or 0. */
static int load_alone(const char *const names[])
{
	int result = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno;
	for (; *names != NULL; names++)
		result = module_load(ANY_DIRECTORY, *names);
	return -result;
}

int module_load_unseen(const char *const names[])
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(load_alone(names));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
