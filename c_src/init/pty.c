/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pty: a terminal of the machine's own
 *
 * The agent's mount namespace has no ptys, and the machine's programs must find
 * theirs by its name (/dev/pts/N), so it is taken from the root that init has
 * now.  A symbolic link on the way is the machine's and is resolved in there.
 */
#define _GNU_SOURCE
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define TTY_GROUP 5
#define TTY_MODE 0620

static int open_master(int proc, pid_t init)
{
	struct open_how how = {
		.flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT,
	};
	char path[32];
	int root, master;

	snprintf(path, sizeof(path), "%d/root", (int)init);
	root = openat(proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	master = (int)syscall(SYS_openat2, root, "dev/ptmx", &how, sizeof(how));
	if (master < 0)
		master = errno == ENOENT ? -ENODEV : -errno;
	close(root);
	return master;
}

static int open_slave(int master)
{
	int unlocked = 0, slave;

	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return slave < 0 ? -errno : slave;
}

int pty_open(int proc, pid_t init, uint16_t rows, uint16_t columns, int *master, int *slave)
{
	int result;

	*slave = -1;
	*master = open_master(proc, init);
	if (*master < 0)
		return *master;
	(void)pty_set_size(*master, rows, columns);
	*slave = open_slave(*master);
	if (*slave >= 0)
		return 0;
	result = *slave;
	close(*master);
	*master = -1;
	return result;
}

int pty_set_size(int fd, uint16_t rows, uint16_t columns)
{
	const struct winsize size = {.ws_row = rows, .ws_col = columns};

	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int pty_take(void)
{
	return ioctl(0, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

int pty_own(uid_t uid)
{
	return fchown(0, uid, TTY_GROUP) < 0 || fchmod(0, TTY_MODE) < 0 ? -errno : 0;
}
