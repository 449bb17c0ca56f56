/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of evum_port's descriptors 3 and 4, for tests
 *
 * Reads with a deadline; a frame that doesn't come fails the test.
 */
#ifndef EVUM_TEST_PORT_PEER_H
#define EVUM_TEST_PORT_PEER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "port_text.h"

#define PEER_PATIENCE_MS 60000
#define PEER_FRAME_MAX 262144u

struct peer {
	pid_t pid;
	int in, out, err; /* in: what the port reads */
	char log[64];
	uint8_t frame[PEER_FRAME_MAX];
	size_t len;
};

static const char *peer_program;

static inline void peer_exec(int in, int out, int err)
{
	sigset_t all;

	/* Worse than what the BEAM leaves behind. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_IGN);
	dup2(err, 2);
	/* Over 9 first: in or out may be 3 or 4. */
	in = fcntl(in, F_DUPFD, 10);
	out = fcntl(out, F_DUPFD, 10);
	dup2(in, 3);
	dup2(out, 4);
	execl(peer_program, peer_program, (char *)NULL);
	_exit(127);
}

static inline void peer_start(struct peer *peer)
{
	static unsigned int number;
	int in[2];
	int out[2];
	int err[2];

	CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
	      pipe2(err, O_CLOEXEC) == 0);
	snprintf(peer->log, sizeof(peer->log), "/tmp/evum_port_test.%d.%u", (int)getpid(),
		 number++);
	unlink(peer->log);
	setenv("EVUM_FAKE_LOG", peer->log, 1);
	peer->pid = fork();
	CHECK(peer->pid >= 0);
	if (peer->pid == 0)
		peer_exec(in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	peer->in = in[1];
	peer->out = out[0];
	peer->err = err[0];
	fcntl(peer->in, F_SETFL, O_NONBLOCK);
}

/* Writes all, however the port's pipe fills; 0 when the port closed it. */
static inline int peer_write(struct peer *peer, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		struct pollfd wait = {.fd = peer->in, .events = POLLOUT};
		ssize_t n = write(peer->in, at, len);

		if (n < 0 && errno == EPIPE)
			return 0;
		if (n < 0)
			CHECK(errno == EAGAIN && poll(&wait, 1, PEER_PATIENCE_MS) == 1);
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 1;
}

/* A frame of a channel byte, or none where channel < 0, and len bytes. */
static inline int peer_send(struct peer *peer, int channel, const void *bytes, size_t len)
{
	size_t size = len + (channel >= 0);
	uint8_t head[5] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
			   (uint8_t)size, (uint8_t)channel};

	return peer_write(peer, head, channel >= 0 ? 5 : 4) && peer_write(peer, bytes, len);
}

__attribute__((format(printf, 2, 3))) static inline int peer_call(struct peer *peer,
								  const char *format, ...)
{
	char *text;
	ei_x_buff x;
	va_list args;
	int sent;

	va_start(args, format);
	CHECK(vasprintf(&text, format, args) > 0);
	va_end(args);
	ei_x_new_with_version(&x);
	CHECK(*text_encode(text, &x) == 0);
	sent = peer_send(peer, 0, x.buff, (size_t)x.index);
	ei_x_free(&x);
	free(text);
	return sent;
}

static inline void put32(uint8_t *bytes, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint32_t get32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static inline void peer_credit(struct peer *peer, uint32_t id, uint8_t fd, uint32_t n)
{
	uint8_t bytes[9];

	put32(bytes, id);
	bytes[4] = fd;
	put32(bytes + 5, n);
	peer_send(peer, 3, bytes, sizeof(bytes));
}

static inline void peer_stdin(struct peer *peer, uint32_t id, const void *bytes, size_t len)
{
	uint8_t frame[5 + 131072] = {0};

	put32(frame, id);
	if (len)
		memcpy(frame + 5, bytes, len);
	peer_send(peer, 4, frame, 5 + len);
}

/* 0 at end of file. */
static inline int peer_read_exactly(int fd, void *bytes, size_t len)
{
	char *at = bytes;

	while (len) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		ssize_t n;

		CHECK(poll(&wait, 1, PEER_PATIENCE_MS) == 1);
		n = read(fd, at, len);
		CHECK(n >= 0);
		if (n == 0)
			return 0;
		at += n;
		len -= (size_t)n;
	}
	return 1;
}

/* The next frame's channel, or -1 at end of file. */
static inline int peer_recv(struct peer *peer)
{
	uint8_t length[4];

	if (!peer_read_exactly(peer->out, length, 4))
		return -1;
	peer->len = get32(length);
	CHECK(peer->len > 0 && peer->len <= sizeof(peer->frame));
	CHECK(peer_read_exactly(peer->out, peer->frame, peer->len));
	return peer->frame[0];
}

/* The next frame is a term: its text, which the caller frees. */
static inline char *peer_recv_text(struct peer *peer)
{
	CHECK(peer_recv(peer) == 0);
	return text_of_term((char *)peer->frame + 1, (int)peer->len - 1);
}

/* The next frame is this term, or begins with it where it ends in "...". */
static inline void peer_expect(struct peer *peer, const char *expected)
{
	char *text = peer_recv_text(peer);
	size_t len = strlen(expected);
	int begins = len > 3 && strcmp(expected + len - 3, "...") == 0;
	int same = strncmp(text, expected, begins ? len - 3 : SIZE_MAX) == 0;

	if (!same)
		fprintf(stderr, "expected %s\ngot      %s\n", expected, text);
	CHECK(same);
	free(text);
}

static inline void peer_expect_credit(struct peer *peer, uint32_t id, uint8_t fd, uint32_t n)
{
	CHECK(peer_recv(peer) == 3 && peer->len == 10);
	CHECK(get32(peer->frame + 1) == id && peer->frame[5] == fd);
	CHECK(get32(peer->frame + 6) == n);
}

static inline void peer_expect_stream(struct peer *peer, uint32_t id, uint8_t fd, const char *text)
{
	CHECK(peer_recv(peer) == 4 && peer->len == 6 + strlen(text));
	CHECK(get32(peer->frame + 1) == id && peer->frame[5] == fd);
	CHECK(memcmp(peer->frame + 6, text, strlen(text)) == 0);
}

/* The port ends by itself with that status; of 1 and 2 it says why. */
static inline void peer_expect_exit(struct peer *peer, int expected)
{
	struct pollfd wait = {.fd = peer->err, .events = POLLIN};
	char text[4096];
	size_t len = 0;
	ssize_t n = 1;
	int status;
	int lines = 0;
	int ended_so;

	/* Its stderr ends when it has ended, and whoever inherited it. */
	while (n > 0) {
		CHECK(poll(&wait, 1, PEER_PATIENCE_MS) == 1);
		n = read(peer->err, text + len, sizeof(text) - len - 1);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = 0;
	CHECK(waitpid(peer->pid, &status, 0) == peer->pid);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	ended_so = WIFEXITED(status) && WEXITSTATUS(status) == expected &&
		   lines == (expected == 1 || expected == 2);
	if (!ended_so)
		fprintf(stderr, "status %#x: %s\n", (unsigned int)status, text);
	CHECK(ended_so);
	close(peer->err);
	close(peer->out);
	close(peer->in);
}

/* What the machine was told, in lines. */
static inline void peer_expect_log(struct peer *peer, const char *expected)
{
	char text[8192] = "";
	int fd = open(peer->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	CHECK(n >= 0);
	if (strcmp(text, expected) != 0)
		fprintf(stderr, "expected log:\n%sgot:\n%s", expected, text);
	CHECK(strcmp(text, expected) == 0);
	unlink(peer->log);
}

#endif
