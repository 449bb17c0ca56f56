/* SPDX-License-Identifier: Apache-2.0 */
/*
 * freeze: the disk's layer stands still while the host copies it
 *
 * Theory of operation.  A frozen file system has nothing in its journal, so the copy
 * can be mounted read-only.  Whoever asked may die, and with him, killed, the command;
 * so a process in a session of its own holds the freeze, and ends it when the
 * pipe from the command is silent for too long, or closed.  The machine's root may
 * kill that one too: then the host, which misses the good end, asks for a thaw.
 */
#define _GNU_SOURCE
#include "freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount.h"

#define SILENCE_MS 60000

static int open_layer(void)
{
	return open(UPPER_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* EINVAL: it isn't frozen. */
static int thaw(int layer)
{
	return ioctl(layer, FITHAW, 0) < 0 ? errno : 0;
}

/* Waits for the pipe's end.  ETIME where it was silent for too long. */
static int wait_for_end(int pipe)
{
	struct pollfd wait = {.fd = pipe, .events = POLLIN};
	char bytes[64];
	int ready;

	do {
		ready = poll(&wait, 1, SILENCE_MS);
		if (ready == 0)
			return ETIME;
	} while (ready < 0 ? errno == EINTR : read(pipe, bytes, sizeof(bytes)) > 0);
	return 0;
}

/* The process that holds it.  Its status is the command's. */
static _Noreturn void hold(int pipe)
{
	static const char frozen[] = "frozen\n";
	int layer = open_layer();
	int result, thawed;

	setsid();
	signal(SIGTERM, SIG_IGN);
	if (layer < 0 || ioctl(layer, FIFREEZE, 0) < 0)
		_exit(errno);
	/* Who asked may be gone: then the pipe is closed too. */
	(void)!write(STDOUT_FILENO, frozen, strlen(frozen));
	close(STDOUT_FILENO);
	result = wait_for_end(pipe);
	/* Where somebody else ended it before, no copy is good. */
	thawed = thaw(layer);
	_exit(thawed != 0 ? thawed : result);
}

/* Hands on all that is read, until the end or until nobody takes it. */
static void hand_on(int pipe)
{
	char bytes[64];
	ssize_t got;

	do
		got = read(STDIN_FILENO, bytes, sizeof(bytes));
	while (got > 0 && write(pipe, bytes, (size_t)got) > 0);
}

int freeze_main(char **args)
{
	int ends[2], status = 0;
	pid_t holder;

	(void)args;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return errno;
	holder = fork();
	if (holder < 0)
		return errno;
	if (holder == 0) {
		close(ends[1]);
		hold(ends[0]);
	}
	close(ends[0]);
	hand_on(ends[1]);
	close(ends[1]);
	while (waitpid(holder, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

int thaw_main(char **args)
{
	int layer = open_layer();
	int result = layer < 0 ? errno : thaw(layer);

	(void)args;
	return result == EINVAL ? 0 : result;
}
