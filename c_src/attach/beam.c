/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BEAM as our child, with the link on its descriptors 3 and 4
 *
 * The BEAM is the child and not the parent because a port program lives in a
 * session of its own: there it would see neither ^C nor a changed window, and
 * couldn't be stopped and continued like the program it stands for.
 */
#include "beam.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Never returns.  The child's stdout is our stderr: descriptor 1 is the program's. */
static void child(char *const argv[], int link_fd)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* a session of its own: ^C is ours to forward */
	setsid();
	/* out of the way of 3 and 4 first */
	int high = fcntl(link_fd, F_DUPFD_CLOEXEC, 5);

	if (null >= 0 && high >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && dup2(high, 3) >= 0 && dup2(high, 4) >= 0) {
		close_range(5, ~0U, CLOSE_RANGE_CLOEXEC);
		execvp(argv[0], argv);
	}
	dprintf(STDERR_FILENO, "evum-attach: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Starts argv.  *link_fd: our end of the link, *pid: the child.  0 or -errno. */
int beam_start(char *const argv[], int *link_fd, pid_t *pid)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*pid = fork();
	if (*pid == 0)
		child(argv, pair[1]);
	close(pair[1]);
	if (*pid < 0) {
		int err = -errno;

		close(pair[0]);
		return err;
	}
	*link_fd = pair[0];
	return 0;
}

/*
 * Waits for the child, whose link is closed by now, and after timeout_ms ends
 * it.  Returns its status as waitpid() does, or -errno.
 */
int beam_wait(pid_t pid, int timeout_ms)
{
	int fd = pidfd_open(pid, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int status;

	if (fd < 0)
		return -errno;
	if (poll(&poll_fd, 1, timeout_ms) == 0)
		kill(pid, SIGKILL);
	close(fd);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return status;
}
