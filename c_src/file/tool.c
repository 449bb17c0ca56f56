/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program that leaves no process behind
 *
 * A subreaper inherits whatever the program's processes leave: groups and sessions
 * don't matter.  What it kills passes its children on to it, until there are none; the
 * first process of a pid namespace takes the others along.  An ordinary user may kill
 * what runs as other users in a user namespace that he made.
 *
 * Orphans are daemons, and these may have more to remove than processes: fakeroot's has
 * message queues, which its clients make anew.  So the clients end before it.
 */
#include "tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "children.h"
#include "util.h"

#define KILL_MS 5000
#define TERM_MS 1000
/* A child that comes of one that was killed isn't announced. */
#define AGAIN_MS 20

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int signals_open(void)
{
	sigset_t set;

	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* True when one of them is the order to end. */
static bool signals_read(int signals)
{
	struct signalfd_siginfo info;
	bool is_told = false;

	while (read(signals, &info, sizeof(info)) > 0)
		if (info.ssi_signo != SIGCHLD)
			is_told = true;
	return is_told;
}

/* Reaps what has ended; takes the status of child. */
static void reap(pid_t child, int *status)
{
	int ended_status;
	pid_t ended;

	while ((ended = waitpid(-1, &ended_status, WNOHANG | __WALL)) > 0)
		if (ended == child)
			*status = ended_status;
}

_Noreturn static void program_exec(char **argv, pid_t parent)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || null < 0 ||
	    dup2(null, STDIN_FILENO) < 0)
		_exit(1);
	(void)setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Its status, or SIGKILL when we are told to end. */
static int program_watch(pid_t child, int signals)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
	};
	int status = -1;

	while (status < 0) {
		if (RETRY(poll(fds, ARRAY_SIZE(fds), -1)) < 0 || fds[0].revents ||
		    signals_read(signals))
			return SIGKILL;
		reap(child, &status);
	}
	return status;
}

/* Signals all children but the spared ones; false when there are none of these. */
static bool signal_children(int signal, const struct children *spared)
{
	struct children children;
	bool found = false;
	int status = 0;

	reap(0, &status);
	children_list(&children);
	for (size_t i = 0; i < children.count; i++) {
		if (children_contain(spared, children.pids[i]))
			continue;
		kill(children.pids[i], signal);
		found = true;
	}
	return found;
}

static void end_children(int signal, const struct children *spared, int signals, long long deadline)
{
	struct pollfd fd = {.fd = signals, .events = POLLIN};

	while (signal_children(signal, spared) && now_ms() < deadline) {
		(void)poll(&fd, 1, AGAIN_MS);
		(void)signals_read(signals);
	}
}

/* What is our child besides the program is an orphan. */
static void daemons_list(struct children *daemons, pid_t program)
{
	children_list(daemons);
	for (size_t i = 0; i < daemons->count; i++)
		if (daemons->pids[i] == program)
			daemons->pids[i] = daemons->pids[--daemons->count];
}

static void end_all(pid_t program, int signals)
{
	static const struct children none;
	struct children daemons;
	long long start = now_ms();

	daemons_list(&daemons, program);
	end_children(SIGKILL, &daemons, signals, start + KILL_MS - TERM_MS);
	end_children(SIGTERM, &none, signals, now_ms() + TERM_MS);
	end_children(SIGKILL, &none, signals, start + KILL_MS);
}

int run_program(char **argv)
{
	pid_t self = getpid(), child;
	cleanup_fd int signals = -1;
	int status;

	close_range(STDERR_FILENO + 1, ~0u, 0);
	signals = signals_open();
	child = signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -1 : fork();
	if (child < 0) {
		fprintf(stderr, "evum_file: %s\n", strerror(errno));
		return 1;
	}
	if (child == 0)
		program_exec(argv, self);
	status = program_watch(child, signals);
	end_all(child, signals);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
