/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pty: a terminal of the machine's own
 *
 * The agent's mount namespace has no ptys, and the machine's programs must find
 * theirs by its name (/dev/pts/N), so it is taken from the root that init has
 * now.  A symbolic link on the way is the machine's and is resolved in there.
 *
 * A terminal has no end of file, so the byte that stands for it is typed: once what
 * was typed before has been read, and again when it has been read itself, as who
 * reads a pipe's end again finds it again.  A shell that edits its line loses the
 * first one to its change of the terminal's mode.  Nobody tells when a terminal
 * was read, so it is looked for, ever less often.
 */
#define _GNU_SOURCE
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define TTY_GROUP 5
#define TTY_MODE 0620

#define END_LOOK_MS 50
#define END_LOOK_MAX_MS 1000
#define ENDS_MAX 10 /* who still reads then isn't looking for an end */

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

/* Does something wait to be read on the other side?  A line that isn't finished doesn't count. */
static bool is_unread(int master)
{
	struct pollfd slave = {.fd = open_slave(master), .events = POLLIN};
	bool unread = slave.fd >= 0 && poll(&slave, 1, 0) == 1;

	if (slave.fd >= 0)
		close(slave.fd);
	return unread;
}

/* Twice after an unfinished line, which the first one only hands over. */
static void type_end(int master, struct pty_end *end)
{
	struct termios mode;
	char bytes[2];
	ssize_t written;

	if (tcgetattr(master, &mode) < 0 || mode.c_cc[VEOF] == _POSIX_VDISABLE)
		return;
	memset(bytes, mode.c_cc[VEOF], sizeof(bytes));
	written = write(master, bytes, end->unfinished && (mode.c_lflag & ICANON) ? 2 : 1);
	if (written <= 0)
		return;
	end->unfinished = false;
	end->count++;
}

void pty_end(int master, struct pty_end *end, int64_t now)
{
	if (end->look_at < 0 || now < end->look_at)
		return;
	if (!is_unread(master))
		type_end(master, end);
	end->wait_ms = end->wait_ms == 0 ? END_LOOK_MS : 2 * end->wait_ms;
	if (end->wait_ms > END_LOOK_MAX_MS)
		end->wait_ms = END_LOOK_MAX_MS;
	end->look_at = end->count < ENDS_MAX ? now + end->wait_ms : -1;
}

int pty_take(void)
{
	return ioctl(0, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

int pty_own(uid_t uid)
{
	return fchown(0, uid, TTY_GROUP) < 0 || fchmod(0, TTY_MODE) < 0 ? -errno : 0;
}
