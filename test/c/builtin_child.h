/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin_child: a built-in command in a process of its own, as the agent has it
 */
#ifndef EVUM_TEST_BUILTIN_CHILD_H
#define EVUM_TEST_BUILTIN_CHILD_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "builtin.h"
#include "check.h"

#define CHILD_ARGS_MAX 12
#define CHILD_TEXT_MAX 4096

/* Starts args, which end in NULL, with these as descriptors 0 to 2. */
static inline pid_t child_start(const char *const args[], int in, int out, int err)
{
	char *argv[CHILD_ARGS_MAX + 1] = {NULL};
	int argc = 0;
	pid_t pid;

	for (; argc < CHILD_ARGS_MAX && args[argc] != NULL; argc++)
		argv[argc] = strdup(args[argc]);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(in, 0);
		dup2(out, 1);
		dup2(err, 2);
		close_range(3, ~0u, 0);
		argc = builtin_main(argc, argv);
		fflush(stderr);
		_exit(argc);
	}
	while (argc-- > 0)
		free(argv[argc]);
	return pid;
}

static inline int child_status(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A file without a name; closed by the caller. */
static inline int child_file(const void *bytes, size_t len)
{
	int fd = memfd_create("child", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(write(fd, bytes, len) == (ssize_t)len);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

/* All that such a file holds, and a NUL; freed by the caller. */
static inline uint8_t *child_bytes(int fd, size_t *len)
{
	struct stat file;
	uint8_t *bytes;

	CHECK(fstat(fd, &file) == 0);
	*len = (size_t)file.st_size;
	bytes = malloc(*len + 1);
	CHECK(bytes != NULL);
	CHECK(pread(fd, bytes, *len, 0) == file.st_size);
	bytes[*len] = '\0';
	return bytes;
}

#endif
