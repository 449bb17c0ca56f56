/* SPDX-License-Identifier: Apache-2.0 */
/* What a port program does first */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/*
 * The BEAM leaves SIGCHLD's disposition and its signal mask to what it
 * starts; who waits for children needs it.  A write to a BEAM that is gone must be
 * an error.
 */
static void signals_reset(void)
{
	sigset_t none;

	sigemptyset(&none);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int fd_prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/*
 * 0 to 2 are filled where they are closed: a message for stderr must not go
 * into a socket.  What else was inherited is closed.
 */
int start_prepare(void)
{
	int err;
	int fd;

	signals_reset();
	err = fd_prepare(PORT_IN);
	if (!err)
		err = fd_prepare(PORT_OUT);
	if (err)
		return err;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_range(PORT_OUT + 1, ~0u, 0);
	return 0;
}
