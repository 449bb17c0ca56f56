/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line: the agent's terminal line
 *
 * The line must be raw before the first byte goes either way: the tty echoes
 * otherwise what the host sends.  It must not become a controlling terminal,
 * or its hang-up would be pid 1's.
 */
#define _GNU_SOURCE
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "boot.h"
#include "frame.h"

#define SEND_PATIENCE_S 1

int line_open_tty(const char *tty, int flags)
{
	struct termios raw;
	int fd;

	fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC | flags);
	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw);
		raw.c_cflag |= CLOCAL | CREAD;
		(void)tcsetattr(fd, TCSANOW, &raw);
	}
	return fd;
}

int line_open(int flags)
{
	return line_open_tty(AGENT_TTY, flags);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Writes all of it; EINTR is the alarm's, and means that nobody reads. */
static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	ssize_t written;

	while (len > 0) {
		written = write(fd, bytes, len);
		if (written < 0)
			return -errno;
		bytes += written;
		len -= (size_t)written;
	}
	return 0;
}

/*
 * The alarm ticks so that one which comes between two calls isn't the last.
 * The handler has no SA_RESTART: it is there to interrupt.
 */
static int send_bytes(int fd, const uint8_t *bytes, size_t len)
{
	const struct itimerval patience = {.it_value = {.tv_sec = SEND_PATIENCE_S},
					   .it_interval = {.tv_usec = 100000}};
	const struct itimerval off = {0};
	struct sigaction action = {.sa_handler = on_alarm}, before;
	int result;

	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &patience, NULL);
	result = write_all(fd, bytes, len);
	if (result == 0 && tcdrain(fd) < 0)
		result = -errno;
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	return result;
}

int line_send(int fd, uint8_t type, const void *payload, size_t len)
{
	uint8_t bytes[FRAME_HEADER + BOOT_TEXT_MAX];

	if (len > BOOT_TEXT_MAX)
		return -EMSGSIZE;
	frame_put_header(bytes, type, 0, 0, (uint32_t)len);
	memcpy(bytes + FRAME_HEADER, payload, len);
	return send_bytes(fd, bytes, FRAME_HEADER + len);
}

void line_pad(int fd)
{
	static const uint8_t zeros[FRAME_MAX];

	(void)send_bytes(fd, zeros, sizeof(zeros));
}
