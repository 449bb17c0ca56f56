/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum-attach: a terminal, or stdio, on one side, a machine on the other
 *
 *	evum-attach LABEL              the console of a running machine
 *	evum-attach --run PROGRAM …    what PROGRAM (an erl) sends on descriptors 3 and 4;
 *				       a program of a machine's, perhaps on a pty of its own
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge.h"
#include "find.h"
#include "beam.h"
#include "tty.h"

#define STATUS_TROUBLE \
	125 /* as of env, timeout and docker: the trouble is ours, not the program's */
#define STATUS_POWER_CUT (128 + SIGKILL)
#define BEAM_END_MS 15000 /* the BEAM stops its machine when the link closes */

struct attach {
	struct tty tty;
	struct bridge bridge;
	struct machine machines[FIND_MACHINES_MAX];
};

/* The loop must not take a socket for descriptor 0, 1 or 2. */
static int open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

/* Ends as the signal would have ended us. */
static int end_by_signal(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 128 + number;
}

static int show_lost(int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "evum: Erlang was killed by signal %d\n", WTERMSIG(status));
	else
		fprintf(stderr, "evum: Erlang ended early, with status %d\n", WEXITSTATUS(status));
	return STATUS_TROUBLE;
}

/* A machine of its own, for one program. */
static int run(struct attach *attach, char *const argv[])
{
	int fd;
	pid_t pid;
	int err = beam_start(argv, &fd, &pid);
	int end;

	if (!err)
		err = bridge_init(&attach->bridge, fd, &attach->tty, true);
	if (err) {
		fprintf(stderr, "evum: %s: %s\n", argv[0], strerror(-err));
		return STATUS_TROUBLE;
	}
	end = bridge_run(&attach->bridge);
	tty_restore(&attach->tty);
	close(fd);
	err = beam_wait(pid, BEAM_END_MS);
	if (end == BRIDGE_DETACHED) {
		fprintf(stderr, "\nevum: the machine's power was cut\n");
		return STATUS_POWER_CUT;
	}
	if (end < 0 || end == BRIDGE_LOST)
		return show_lost(err < 0 ? 0 : err);
	return end > BRIDGE_SIGNAL ? end_by_signal(end - BRIDGE_SIGNAL) : end;
}

static int show_none(const struct attach *attach, size_t count, const char *name, int err)
{
	fprintf(stderr, "evum: %s machine is called %s; ",
		err == -ENOTUNIQ ? "more than one" : "no", name);
	fprintf(stderr, count ? "running:" : "none is running");
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, " %s/%d", attach->machines[i].label, (int)attach->machines[i].pid);
	fputc('\n', stderr);
	return STATUS_TROUBLE;
}

/* A connected socket to the machine called name, or -1 and a message. */
static int connect_machine(struct attach *attach, const char *name)
{
	FILE *table = fopen("/proc/net/unix", "re");
	size_t count = 0;
	int at;
	int fd;

	if (table) {
		count = find_list(table, getuid(), attach->machines, FIND_MACHINES_MAX);
		fclose(table);
	}
	at = find_machine(attach->machines, count, getuid(), name);
	if (at < 0) {
		show_none(attach, count, name, at);
		return -1;
	}
	fd = find_connect(&attach->machines[at]);
	if (fd < 0)
		fprintf(stderr, "evum: %s: %s\n", name, strerror(-fd));
	return fd;
}

/* What the end of an attachment means to whoever called us. */
static int console_end(const struct attach *attach, const char *name, int end)
{
	if (end < 0) {
		fprintf(stderr, "evum: %s: %s\n", name, strerror(-end));
		return STATUS_TROUBLE;
	}
	if (end == BRIDGE_DETACHED) {
		if (attach->tty.present)
			fprintf(stderr, "\ndetached from %s, which runs on\n", name);
		return 0;
	}
	if (end == BRIDGE_LOST) {
		fprintf(stderr, "evum: %s: Erlang is gone, and the machine with it\n", name);
		return STATUS_TROUBLE;
	}
	return end > BRIDGE_SIGNAL ? end_by_signal(end - BRIDGE_SIGNAL) : end;
}

/* The console of a running machine. */
static int console(struct attach *attach, const char *name)
{
	int fd = connect_machine(attach, name);
	int end;

	if (fd < 0)
		return STATUS_TROUBLE;
	if (attach->tty.present)
		fprintf(stderr, "attached to %s; Ctrl-] detaches\n", name);
	end = bridge_init(&attach->bridge, fd, &attach->tty, false);
	if (end == 0) {
		tty_set_raw(&attach->tty);
		end = bridge_run(&attach->bridge);
		tty_restore(&attach->tty);
	}
	return console_end(attach, name, end);
}

int main(int argc, char *argv[])
{
	static struct attach attach;

	if (open_standard() < 0)
		return STATUS_TROUBLE;
	tty_open(&attach.tty);
	if (argc >= 3 && strcmp(argv[1], "--run") == 0)
		return run(&attach, argv + 2);
	if (argc == 2 && argv[1][0] != '-')
		return console(&attach, argv[1]);
	fprintf(stderr, "usage: evum-attach LABEL[/PID] | --run PROGRAM [ARGUMENT]...\n");
	return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : STATUS_TROUBLE;
}
