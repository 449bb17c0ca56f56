/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir: the directories that the host serves
 *
 * Theory of operation.  A directory is a file system of 9P on one end of a socket
 * pair.  A process, the carrier, has the other end and a terminal line of its own,
 * as the agent has; it carries bytes between them.  The agent itself couldn't: who
 * sends a file into a pipe (splice) holds the pipe's lock while the file is read,
 * and the agent, which reads that pipe, would wait for what it has to carry.
 *
 * The line has a window towards the guest, for the reason in agent_proto.h: the
 * host has at most DIR_WINDOW bytes under way that weren't acknowledged.
 * Towards the host all is in frames of a type, a length (4 bytes, little-endian)
 * and, of DIR_DATA, as many bytes; DIR_ACK's length is how many were taken.
 *
 * The carrier is the guardian's child: nothing in the machine sees or kills it.
 * When it ends, or the host's side does, the mount is dead until the next boot, and
 * what programs ask of it is an error.
 */
#define _GNU_SOURCE
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "agent_proto.h"
#include "argv.h"
#include "frame.h"
#include "line.h"
#include "module.h"
#include "oom.h"
#include "share.h"

#define FRAME_HEADER_SIZE 5u
#define PIECE_MAX 16384u
/* Of a message; the kernel allocates as much at a time. */
#define MESSAGE_MAX "32768"

#define NO_PROGRAM_RIGHTS (MS_NOSUID | MS_NODEV)

/* Bytes on their way to a descriptor. */
struct pending {
	size_t at;
	size_t len;
	uint8_t bytes[FRAME_HEADER_SIZE + PIECE_MAX];
};

struct carrier {
	int line;
	int socket;
	struct pending out;	/* to the line, a frame */
	struct pending in;	/* to the socket */
	uint32_t acknowledging; /* bytes that the socket took */
};

static bool would_block(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

/* false where fd is at its end. */
static bool flush(struct pending *pending, int fd)
{
	ssize_t written = write(fd, pending->bytes + pending->at, pending->len);

	if (written < 0)
		return would_block(written);
	pending->at += (size_t)written;
	pending->len -= (size_t)written;
	return true;
}

static void put_frame(struct pending *out, uint8_t type, uint32_t number, size_t bytes)
{
	out->bytes[0] = type;
	frame_put_u32(out->bytes + 1, number);
	out->at = 0;
	out->len = FRAME_HEADER_SIZE + bytes;
}

/* From the guest's kernel to the host. */
static bool move_out(struct carrier *c)
{
	ssize_t got;

	if (c->out.len > 0)
		return flush(&c->out, c->line);
	if (c->acknowledging > 0) {
		put_frame(&c->out, DIR_ACK, c->acknowledging, 0);
		c->acknowledging = 0;
		return flush(&c->out, c->line);
	}
	got = read(c->socket, c->out.bytes + FRAME_HEADER_SIZE, PIECE_MAX);
	if (got <= 0)
		return would_block(got);
	put_frame(&c->out, DIR_DATA, (uint32_t)got, (size_t)got);
	return flush(&c->out, c->line);
}

/* From the host to the guest's kernel. */
static bool move_in(struct carrier *c)
{
	size_t before;
	ssize_t got;
	bool good;

	if (c->in.len == 0) {
		got = read(c->line, c->in.bytes, DIR_WINDOW);
		if (got <= 0)
			return would_block(got);
		c->in.at = 0;
		c->in.len = (size_t)got;
	}
	before = c->in.len;
	good = flush(&c->in, c->socket);
	c->acknowledging += (uint32_t)(before - c->in.len);
	return good;
}

static _Noreturn void carry(struct carrier *c)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = c->line, .events = c->in.len == 0 ? POLLIN : 0},
			{.fd = c->socket, .events = c->in.len > 0 ? POLLOUT : 0},
		};
		bool sends = c->out.len > 0 || c->acknowledging > 0;

		if (sends)
			fds[0].events |= POLLOUT;
		else
			fds[1].events |= POLLIN;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if ((fds[0].revents | fds[1].revents) & (POLLERR | POLLHUP | POLLNVAL))
			_exit(0);
		if ((fds[sends ? 0 : 1].revents & (sends ? POLLOUT : POLLIN)) && !move_out(c))
			_exit(0);
		if ((fds[c->in.len > 0 ? 1 : 0].revents & (c->in.len > 0 ? POLLOUT : POLLIN)) &&
		    !move_in(c))
			_exit(0);
	}
}

static _Noreturn void carrier_main(const struct boot *boot, int line, int socket)
{
	static struct carrier carrier;
	sigset_t none;

	prctl(PR_SET_NAME, "evum-dir");
	oom_score(boot->proc, OOM_NEVER);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Other directories end when their own carriers do. */
	carrier.line = fcntl(line, F_DUPFD, 100);
	carrier.socket = fcntl(socket, F_DUPFD, 101);
	close_range(3, 99, 0);
	fcntl(carrier.socket, F_SETFL, O_NONBLOCK);
	carry(&carrier);
}

static int start_one(struct boot *boot, unsigned int number)
{
	char tty[sizeof("/dev/tty") + 10];
	int ends[2], line;
	pid_t pid;

	snprintf(tty, sizeof(tty), "/dev/tty%u", ARGV_DIR_LINE - number);
	line = line_open_tty(tty, O_NONBLOCK);
	if (line < 0)
		return line;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		close(line);
		return -errno;
	}
	pid = fork();
	if (pid == 0)
		carrier_main(boot, line, ends[1]);
	close(line);
	close(ends[1]);
	boot->dirs[number] = ends[0];
	return pid < 0 ? -errno : 0;
}

static int failed(struct boot *boot, unsigned int number, int error)
{
	return boot_error(boot, "the directory %.100s can't be mounted: %s",
			  boot->config.dirs[number],
			  error == -ENODEV ? "this kernel has no 9P file system, nor a module of it"
					   : strerror(-error));
}

int dir_start(struct boot *boot)
{
	for (unsigned int i = 0; i < BOOT_DIRS_MAX; i++)
		boot->dirs[i] = -1;
	for (unsigned int i = 0; i < BOOT_DIRS_MAX && boot->config.dirs[i][0] != '\0'; i++) {
		int result = start_one(boot, i);

		if (result < 0)
			return failed(boot, i, result);
	}
	return 0;
}

/* mmap: every read and write goes to the host, and files can be mapped all the same. */
static int mount_one(const char *path, int fd)
{
	char options[128];
	int result = share_make_path(path);

	if (result < 0)
		return result;
	snprintf(options, sizeof(options),
		 "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L,cache=mmap,access=user,"
		 "msize=" MESSAGE_MAX,
		 fd, fd);
	return mount("evum", path, "9p", NO_PROGRAM_RIGHTS, options) < 0 ? -errno : 0;
}

int dir_mount(struct boot *boot)
{
	static const char *const modules[] = {"fs/netfs/netfs.ko", "fs/fscache/fscache.ko",
					      "net/9p/9pnet.ko",   "net/9p/9pnet_fd.ko",
					      "fs/9p/9p.ko",	   NULL};

	if (boot->dirs[0] < 0)
		return 0;
	/* A kernel may have them built in: mount(2) tells. */
	(void)module_load_unseen(modules);
	for (unsigned int i = 0; i < BOOT_DIRS_MAX && boot->dirs[i] >= 0; i++) {
		int result = mount_one(boot->config.dirs[i], boot->dirs[i]);

		if (result < 0)
			return failed(boot, i, result);
	}
	dir_close(boot);
	return 0;
}

void dir_close(struct boot *boot)
{
	for (unsigned int i = 0; i < BOOT_DIRS_MAX; i++) {
		if (boot->dirs[i] >= 0)
			close(boot->dirs[i]);
		boot->dirs[i] = -1;
	}
}
