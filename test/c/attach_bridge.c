/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge passes every byte on, in order, and ends as it should
 *
 * Each case plays the BEAM on one end of a socketpair, in a child the bridge
 * runs on the other, with pipes as its descriptors 0, 1 and 2.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "bridge.h"
#include "check.h"

struct play {
	int link; /* the BEAM's end */
	int input;
	int output;
	int errors;
	pid_t pid;
};

static void child(int link, int input, int output, int errors, bool program)
{
	static struct bridge bridge;
	struct tty tty;
	int end;

	dup2(input, 0);
	dup2(output, 1);
	dup2(errors, 2);
	close_range(3, (unsigned int)link - 1, 0);
	close_range((unsigned int)link + 1, ~0U, 0);
	tty_open(&tty);
	if (bridge_init(&bridge, link, &tty, program) != 0)
		_exit(99);
	end = bridge_run(&bridge);
	tty_restore(&tty);
	_exit(end == BRIDGE_LOST	       ? 98
	      : end == BRIDGE_SIGNAL + SIGPIPE ? 97
	      : end == BRIDGE_DETACHED	       ? 96
					       : end);
}

/* program: as for ./evum run; else as for a console. */
static void play_kind(struct play *play, bool program)
{
	int link[2];
	int in[2];
	int out[2];
	int err[2];

	CHECK(pipe(in) == 0 && pipe(out) == 0 && pipe(err) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, link) == 0);
	play->pid = fork();
	CHECK(play->pid >= 0);
	if (play->pid == 0)
		child(link[1], in[0], out[1], err[1], program);
	close(link[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	*play = (struct play){link[0], in[1], out[0], err[0], play->pid};
}

static void play_start(struct play *play)
{
	play_kind(play, true);
}

/* At a terminal, whose other end is play->input, of 30 rows and 100 columns. */
static void play_terminal(struct play *play)
{
	const struct winsize size = {.ws_row = 30, .ws_col = 100};
	int link[2];
	int input = posix_openpt(O_RDWR | O_NOCTTY);
	int terminal;

	CHECK(input >= 0 && grantpt(input) == 0 && unlockpt(input) == 0);
	terminal = open(ptsname(input), O_RDWR | O_NOCTTY);
	CHECK(terminal >= 0 && ioctl(terminal, TIOCSWINSZ, &size) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, link) == 0);
	play->pid = fork();
	CHECK(play->pid >= 0);
	if (play->pid == 0)
		child(link[1], terminal, terminal, terminal, true);
	close(link[1]);
	/* kept open: what a terminal is set to is forgotten with its last user */
	*play = (struct play){link[0], input, terminal, dup(terminal), play->pid};
}

static tcflag_t terminal_flags(const struct play *play)
{
	struct termios mode;

	CHECK(tcgetattr(play->output, &mode) == 0);
	return mode.c_lflag;
}

static int play_end(struct play *play)
{
	int status;

	CHECK(waitpid(play->pid, &status, 0) == play->pid);
	close(play->link);
	close(play->output);
	close(play->errors);
	if (play->input >= 0)
		close(play->input);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void send_frame(int fd, uint8_t type, const void *bytes, size_t len)
{
	unsigned char header[5];
	uint32_t length = htonl((uint32_t)len + 1);

	memcpy(header, &length, 4);
	header[4] = type;
	CHECK(send(fd, header, 5, MSG_MORE) == 5);
	CHECK(len == 0 || send(fd, bytes, len, 0) == (ssize_t)len);
}

/* The next frame's type; its bytes, of which there are *len, go to bytes. */
static uint8_t next_frame(int fd, unsigned char *bytes, size_t *len)
{
	unsigned char header[5];
	uint32_t length;

	CHECK(recv(fd, header, 5, MSG_WAITALL) == 5);
	memcpy(&length, header, 4);
	*len = ntohl(length) - 1;
	CHECK(*len == 0 || recv(fd, bytes, *len, MSG_WAITALL) == (ssize_t)*len);
	return header[4];
}

static void read_all(int fd, char *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, bytes + done, len - done);

		CHECK(n > 0);
		done += (size_t)n;
	}
}

static unsigned char frame[LINK_FRAME_MAX];
static size_t frame_len;

static void outputs_stay_apart_and_the_status_comes_last(void)
{
	struct play play;
	char got[4];

	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO && frame_len == 5);
	send_frame(play.link, LINK_STDOUT, "out", 3);
	send_frame(play.link, LINK_STDERR, "err", 3);
	send_frame(play.link, LINK_EXIT, "\7", 1);
	read_all(play.output, got, 3);
	CHECK(memcmp(got, "out", 3) == 0);
	read_all(play.errors, got, 3);
	CHECK(memcmp(got, "err", 3) == 0);
	CHECK(play_end(&play) == 7);
}

static void input_is_passed_on_up_to_the_window(void)
{
	static char bytes[65536];
	static const unsigned char taken[4] = {0, 0, 16, 0};
	struct play play;
	size_t sum = 0;

	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	while (sum < LINK_RUN_WINDOW) {
		CHECK(write(play.input, bytes, sizeof(bytes)) == sizeof(bytes));
		for (size_t end = sum + sizeof(bytes); sum < end; sum += frame_len)
			CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA);
	}
	CHECK(write(play.input, bytes, 4096) == 4096);
	CHECK(recv(play.link, frame, 1, MSG_DONTWAIT) < 0);
	send_frame(play.link, LINK_TAKEN, taken, 4);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame_len == 4096);
	send_frame(play.link, LINK_TAKEN, taken, 4);
	close(play.input);
	play.input = -1;
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_EOF);
	send_frame(play.link, LINK_EXIT, "\0", 1);
	CHECK(play_end(&play) == 0);
}

static void a_byte_is_acknowledged_once_it_was_written(void)
{
	static char bytes[LINK_WINDOW];
	static char got[LINK_WINDOW];
	struct play play;
	size_t sum = 0;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	send_frame(play.link, LINK_STDOUT, bytes, sizeof(bytes));
	read_all(play.output, got, sizeof(got));
	CHECK(memcmp(bytes, got, sizeof(got)) == 0);
	while (sum < sizeof(bytes)) {
		CHECK(next_frame(play.link, frame, &frame_len) == LINK_ACK && frame_len == 5);
		CHECK(frame[0] == 1);
		sum += (size_t)frame[2] << 16 | (size_t)frame[3] << 8 | frame[4];
	}
	send_frame(play.link, LINK_EXIT, "\0", 1);
	CHECK(play_end(&play) == 0);
}

static void a_signal_is_forwarded(void)
{
	struct play play;

	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	CHECK(kill(play.pid, SIGTERM) == 0);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_SIGNAL && frame[0] == SIGTERM);
	send_frame(play.link, LINK_EXIT, "\x8f", 1);
	CHECK(play_end(&play) == 128 + SIGTERM);
}

static void a_reader_that_left_ends_it(void)
{
	struct play play;

	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	close(play.output);
	play.output = dup(play.errors);
	send_frame(play.link, LINK_STDOUT, "x", 1);
	CHECK(play_end(&play) == 97);
}

static void a_beam_that_left_is_told(void)
{
	struct play play;

	play_start(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	shutdown(play.link, SHUT_RDWR);
	CHECK(play_end(&play) == 98);
}

/* What was asked is answered first: the input is taken, and the console falls silent. */
static void a_script_leaves_a_silent_console(void)
{
	static const unsigned char taken[4] = {0, 0, 0, 3};
	struct play play;
	char got[4];

	play_kind(&play, false);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	CHECK(write(play.input, "ls\n", 3) == 3);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame_len == 3);
	close(play.input);
	play.input = -1;
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_EOF);
	send_frame(play.link, LINK_TAKEN, taken, 4);
	send_frame(play.link, LINK_STDOUT, "out", 3);
	read_all(play.output, got, 3);
	CHECK(play_end(&play) == 96);
}

static void a_program_gets_the_terminal_once_it_runs(void)
{
	static const unsigned char size[5] = {1, 0, 30, 0, 100};
	struct pollfd poll_fd;
	struct play play;

	play_terminal(&play);
	poll_fd = (struct pollfd){.fd = play.link, .events = POLLIN};
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	CHECK(frame_len == 5 && memcmp(frame, size, 5) == 0);
	CHECK(write(play.input, "early\n", 6) == 6);
	CHECK(poll(&poll_fd, 1, 100) == 0 && (terminal_flags(&play) & ICANON));
	send_frame(play.link, LINK_STARTED, "\1", 1);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame_len == 6);
	CHECK((terminal_flags(&play) & (ICANON | ISIG | ECHO)) == 0);
	CHECK(write(play.input, "\3", 1) == 1);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame[0] == 3);
	CHECK(write(play.input, "a\x1d", 2) == 2);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame_len == 1);
	CHECK(play_end(&play) == 96);
}

static void a_program_with_pipes_leaves_the_terminal_alone(void)
{
	struct play play;

	play_terminal(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	send_frame(play.link, LINK_STARTED, "\0", 1);
	CHECK(write(play.input, "\x1d\n", 2) == 2);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_DATA && frame_len == 2);
	CHECK((terminal_flags(&play) & (ICANON | ISIG | ECHO)) == (ICANON | ISIG | ECHO));
	send_frame(play.link, LINK_EXIT, "\0", 1);
	CHECK(play_end(&play) == 0);
}

/* Nobody reads what is printed: signals and keys go on, and the terminal is given back. */
static void a_terminal_that_is_stuck_stops_nothing(void)
{
	static char bytes[LINK_DATA_MAX];
	struct play play;

	memset(bytes, 'x', sizeof(bytes));
	play_terminal(&play);
	CHECK(next_frame(play.link, frame, &frame_len) == LINK_HELLO);
	send_frame(play.link, LINK_STARTED, "\1", 1);
	for (size_t sum = 0; sum < LINK_RUN_WINDOW; sum += sizeof(bytes))
		send_frame(play.link, LINK_STDOUT, bytes, sizeof(bytes));
	CHECK(kill(play.pid, SIGTERM) == 0);
	while (next_frame(play.link, frame, &frame_len) == LINK_ACK)
		;
	CHECK(frame_len == 1 && frame[0] == SIGTERM);
	CHECK(write(play.input, "\x1d", 1) == 1);
	CHECK(play_end(&play) == 96);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	outputs_stay_apart_and_the_status_comes_last();
	input_is_passed_on_up_to_the_window();
	a_byte_is_acknowledged_once_it_was_written();
	a_signal_is_forwarded();
	a_reader_that_left_ends_it();
	a_beam_that_left_is_told();
	a_script_leaves_a_silent_console();
	a_program_gets_the_terminal_once_it_runs();
	a_program_with_pipes_leaves_the_terminal_alone();
	a_terminal_that_is_stuck_stops_nothing();
	return 0;
}
