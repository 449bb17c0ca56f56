/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors 0, 1 and 2 on one side, the link on the other
 *
 * Theory of operation.  The descriptors belong to others too, so they are
 * never made non-blocking.  A pipe or terminal is opened anew, which makes a
 * description that is ours alone; what can't be is written PIPE_BUF bytes at a
 * time when poll() says so, which doesn't block a pipe.  What comes from the
 * link is bounded by the window, since a byte is acknowledged only once it was
 * written; what is typed is read only while the machine takes it.
 *
 * A program that gets the terminal gets all keys but one.  Until it runs the
 * terminal stays as it was, and what is typed waits there: so ^C ends the boot.
 */
#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long a console has said nothing when what was asked of it is taken for answered. */
#define QUIET_MS 1000

enum { AT_LINK, AT_SIGNALS, AT_INPUT, AT_STDOUT, AT_STDERR, AT_COUNT };

static void put_u16(unsigned char *bytes, uint16_t value)
{
	bytes[0] = (unsigned char)(value >> 8);
	bytes[1] = (unsigned char)value;
}

static void put_u32(unsigned char *bytes, uint32_t value)
{
	put_u16(bytes, (uint16_t)(value >> 16));
	put_u16(bytes + 2, (uint16_t)value);
}

static uint32_t get_u32(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static int send_winsize(struct bridge *bridge)
{
	unsigned char bytes[4];
	uint16_t rows;
	uint16_t columns;

	tty_size(&rows, &columns);
	put_u16(bytes, rows);
	put_u16(bytes + 2, columns);
	return link_send(&bridge->link, LINK_WINSIZE, bytes, sizeof(bytes));
}

static int send_hello(struct bridge *bridge)
{
	unsigned char bytes[5] = {bridge->tty->present};
	uint16_t rows;
	uint16_t columns;

	tty_size(&rows, &columns);
	put_u16(bytes + 1, rows);
	put_u16(bytes + 3, columns);
	return link_send(&bridge->link, LINK_HELLO, bytes, sizeof(bytes));
}

/* Blocks the signals that the loop reads from a descriptor, and opens it. */
static int open_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* A description of our own of what number is, or -1 where that can't be had. */
static int open_anew(int number)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void sink_open(struct sink *sink, int number)
{
	struct stat st = {0};

	sink->number = number;
	sink->fd = -1;
	sink->most = sizeof(sink->bytes);
	(void)fstat(number, &st);
	if (S_ISREG(st.st_mode)) {
		sink->fd = number;
		return;
	}
	if (isatty(number) || S_ISFIFO(st.st_mode))
		sink->fd = open_anew(number);
	if (sink->fd >= 0)
		return;
	sink->fd = number;
	sink->most = PIPE_BUF;
}

/*
 * link_fd: connected stream socket, taken over.  program: there is one on the
 * other side, which gets the signals; else a signal detaches.  0 or -errno.
 */
int bridge_init(struct bridge *bridge, int link_fd, struct tty *tty, bool program)
{
	memset(bridge, 0, sizeof(*bridge));
	bridge->tty = tty;
	bridge->program = program;
	bridge->started = !program || !tty->present;
	bridge->window_max = program ? LINK_RUN_WINDOW : LINK_WINDOW;
	bridge->window = bridge->window_max;
	bridge->end = -1;
	sink_open(&bridge->sinks[0], STDOUT_FILENO);
	sink_open(&bridge->sinks[1], STDERR_FILENO);
	/* a reader that went away is an error of write(), not our death */
	signal(SIGPIPE, SIG_IGN);
	bridge->signals = open_signals();
	if (bridge->signals < 0)
		return bridge->signals;
	int err = link_init(&bridge->link, link_fd);

	return err ? err : send_hello(bridge);
}

static int sink_add(struct sink *sink, const unsigned char *bytes, size_t len)
{
	if (len > sizeof(sink->bytes) - sink->len)
		return -EPROTO;
	if (len > sizeof(sink->bytes) - sink->start - sink->len) {
		memmove(sink->bytes, sink->bytes + sink->start, sink->len);
		sink->start = 0;
	}
	memcpy(sink->bytes + sink->start + sink->len, bytes, len);
	sink->len += len;
	return 0;
}

static void show_text(const unsigned char *bytes, size_t len)
{
	/* \r: the terminal may be raw */
	dprintf(STDERR_FILENO, "%.*s%s\n", (int)len, (const char *)bytes,
		isatty(STDERR_FILENO) ? "\r" : "");
}

static void started(struct bridge *bridge, bool terminal)
{
	bridge->started = true;
	if (terminal)
		tty_set_raw(bridge->tty);
}

/* One frame of the BEAM; -EPROTO where it breaks the protocol. */
static int link_frame_handler(void *ctx, uint8_t type, const unsigned char *bytes, size_t len)
{
	struct bridge *bridge = ctx;

	switch (type) {
	case LINK_STDOUT:
	case LINK_STDERR:
		return sink_add(&bridge->sinks[type - LINK_STDOUT], bytes, len);
	case LINK_EXIT:
		bridge->exited = true;
		bridge->status = len ? bytes[0] : 0;
		return 0;
	case LINK_TEXT:
		show_text(bytes, len);
		return 0;
	case LINK_TAKEN:
		if (len != 4 || get_u32(bytes) > bridge->window_max - bridge->window)
			return -EPROTO;
		bridge->window += get_u32(bytes);
		return 0;
	case LINK_STARTED:
		started(bridge, len && bytes[0]);
		return 0;
	default:
		return -EPROTO;
	}
}

/*
 * Nobody reads: we end as the program itself would, by SIGPIPE, or by SIGHUP
 * where the terminal is gone.  A full disk is told.
 */
static int write_failed(const struct sink *sink, int error)
{
	if (error == EPIPE)
		return BRIDGE_SIGNAL + SIGPIPE;
	if (error == EIO && isatty(sink->number))
		return BRIDGE_SIGNAL + SIGHUP;
	dprintf(STDERR_FILENO, "evum: write error: %s\n", strerror(error));
	return BRIDGE_WRITE_FAILED;
}

/* A frame for each write would be most of what is sent: some are put together. */
static void acknowledge(struct bridge *bridge, struct sink *sink)
{
	unsigned char ack[5] = {(unsigned char)sink->number};

	if (!sink->written || (sink->len && sink->written < bridge->window_max / 4))
		return;
	put_u32(ack + 1, sink->written);
	sink->written = 0;
	link_send(&bridge->link, LINK_ACK, ack, sizeof(ack));
}

static void sink_write(struct bridge *bridge, struct sink *sink)
{
	size_t len = sink->len < sink->most ? sink->len : sink->most;
	ssize_t n = write(sink->fd, sink->bytes + sink->start, len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		bridge->end = write_failed(sink, errno);
		return;
	}
	sink->start += (size_t)n;
	sink->len -= (size_t)n;
	sink->written += (uint32_t)n;
	acknowledge(bridge, sink);
}

/* Reads what was typed, up to the window and the detach key. */
static void input_read(struct bridge *bridge)
{
	unsigned char *bytes = bridge->input;
	size_t max = bridge->window < sizeof(bridge->input) ? bridge->window
							    : sizeof(bridge->input);
	ssize_t n = read(STDIN_FILENO, bytes, max);
	unsigned char *key = NULL;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		bridge->input_ended = true;
		link_send(&bridge->link, LINK_EOF, NULL, 0);
		return;
	}
	if (bridge->tty->raw)
		key = memchr(bytes, BRIDGE_DETACH_KEY, (size_t)n);
	if (key) {
		n = key - bytes;
		bridge->end = BRIDGE_DETACHED;
	}
	if (n)
		link_send(&bridge->link, LINK_DATA, bytes, (size_t)n);
	bridge->window -= (size_t)n;
}

/* Stops as the person asked, with the terminal as it was; SIGCONT makes it raw again. */
static void suspend(struct bridge *bridge)
{
	bool raw = bridge->tty->raw;

	tty_restore(bridge->tty);
	raise(SIGSTOP);
	bridge->tty->raw = raw;
}

/* Whoever had the terminal meanwhile may have changed it. */
static void resume(struct bridge *bridge)
{
	if (bridge->tty->raw)
		tty_set_raw(bridge->tty);
	send_winsize(bridge);
}

static void signal_read(struct bridge *bridge)
{
	struct signalfd_siginfo info;
	unsigned char number;

	if (read(bridge->signals, &info, sizeof(info)) != sizeof(info))
		return;
	number = (unsigned char)info.ssi_signo;
	if (number == SIGWINCH)
		send_winsize(bridge);
	else if (number == SIGTSTP)
		suspend(bridge);
	else if (number == SIGCONT)
		resume(bridge);
	else if (bridge->program)
		link_send(&bridge->link, LINK_SIGNAL, &number, 1);
	else
		bridge->end = BRIDGE_SIGNAL + number;
}

/* A descriptor of -1 is left out by poll(). */
static void choose(const struct bridge *bridge, struct pollfd *fds)
{
	/* with the queue nearly full nothing may be done that needs a frame */
	bool room = link_room(&bridge->link) > LINK_DATA_MAX;
	bool input = room && bridge->started && !bridge->input_ended && !bridge->exited &&
		     bridge->window > 0;

	fds[AT_LINK].fd = bridge->link.ended ? -1 : bridge->link.fd;
	fds[AT_LINK].events = (short)(POLLIN | (bridge->link.out_len ? POLLOUT : 0));
	fds[AT_SIGNALS].fd = room ? bridge->signals : -1;
	fds[AT_SIGNALS].events = POLLIN;
	fds[AT_INPUT].fd = input ? STDIN_FILENO : -1;
	fds[AT_INPUT].events = POLLIN;
	for (int i = 0; i < 2; i++) {
		fds[AT_STDOUT + i].fd = (room || bridge->link.ended) && bridge->sinks[i].len
						? bridge->sinks[i].fd
						: -1;
		fds[AT_STDOUT + i].events = POLLOUT;
	}
}

static int handle(struct bridge *bridge, const struct pollfd *fds)
{
	int err = 0;

	if (fds[AT_LINK].revents & ~POLLOUT)
		err = link_receive(&bridge->link, link_frame_handler, bridge);
	if (fds[AT_SIGNALS].revents)
		signal_read(bridge);
	for (int i = 0; i < 2; i++)
		if (fds[AT_STDOUT + i].revents)
			sink_write(bridge, &bridge->sinks[i]);
	if (fds[AT_INPUT].revents)
		input_read(bridge);
	return err;
}

/*
 * A script's input is over and was taken: once the console falls silent there
 * is nothing left to show.  A person at a terminal leaves by the detach key.
 */
static bool waits_for_quiet(const struct bridge *bridge)
{
	return bridge->input_ended && !bridge->program && !bridge->tty->present &&
	       bridge->window == bridge->window_max && !bridge->sinks[0].len &&
	       !bridge->sinks[1].len;
}

/* All that came is shown before the end is told. */
static bool finished(struct bridge *bridge)
{
	if (bridge->end >= 0)
		return true;
	if (bridge->sinks[0].len || bridge->sinks[1].len)
		return false;
	if (bridge->exited)
		bridge->end = bridge->status;
	else if (bridge->link.ended)
		bridge->end = BRIDGE_LOST;
	return bridge->end >= 0;
}

/*
 * Runs until the other side gave an exit status (0 to 255) or one of enum
 * bridge_end.  -errno where the protocol was broken or poll() failed.
 */
int bridge_run(struct bridge *bridge)
{
	struct pollfd fds[AT_COUNT];

	while (!finished(bridge)) {
		int err = 0;
		int ready;

		if (!bridge->link.ended && link_flush(&bridge->link) < 0)
			bridge->link.out_len = 0;
		choose(bridge, fds);
		ready = poll(fds, AT_COUNT, waits_for_quiet(bridge) ? QUIET_MS : -1);
		if (ready > 0)
			err = handle(bridge, fds);
		else if (ready == 0)
			bridge->end = BRIDGE_DETACHED;
		else if (errno != EINTR)
			err = -errno;
		if (err)
			return err;
	}
	/* what was typed before the detach key */
	link_flush(&bridge->link);
	return bridge->end;
}
