/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reaper: a parent that leaves no orphans
 *
 * UML outlives its parent, and its helpers outlive it.  As pid 1 of a pid
 * namespace the reaper need only end: the kernel then kills the rest.
 * Elsewhere it is a subreaper, so that what it kills passes its children on to
 * it, until there are none.
 */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "children.h"
#include "jail.h"
#include "util.h"

static int child_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Reaps what has ended; true when child is among it. */
static bool reap_ended(pid_t child, int *status)
{
	bool found = false;
	int ended_status;
	pid_t ended;

	while ((ended = waitpid(-1, &ended_status, WNOHANG | __WALL)) > 0) {
		if (ended != child)
			continue;
		*status = ended_status;
		found = true;
	}
	return found;
}

static void kill_children(void)
{
	struct children children;

	children_list(&children);
	for (size_t i = 0; i < children.count; i++)
		kill(children.pids[i], SIGKILL);
}

/* Kills children, and children that it inherits, until there are none. */
static void kill_all(void)
{
	pid_t ended;

	do {
		kill_children();
		ended = RETRY(waitpid(-1, NULL, __WALL));
	} while (ended > 0);
}

static void report_end(int control, int status)
{
	struct jail_report report = {.kind = JAIL_ENDED, .value = status};

	send(control, &report, sizeof(report), MSG_NOSIGNAL);
}

int reaper_watch(int life, pid_t child, int control, bool is_pid1)
{
	cleanup_fd int signals = child_signals();
	struct pollfd fds[] = {
		{.fd = life, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
	};
	struct signalfd_siginfo info;
	int status = SIGKILL;
	bool ended = reap_ended(child, &status);

	while (!ended) {
		if (RETRY(poll(fds, ARRAY_SIZE(fds), -1)) < 0 || fds[0].revents)
			break;
		while (read(signals, &info, sizeof(info)) > 0)
			continue;
		ended = reap_ended(child, &status);
	}
	if (ended)
		report_end(control, status);
	if (!is_pid1)
		kill_all();
	return status;
}

/*
 * Our caller was killed, and whoever else would have removed the layer maybe too:
 * what is in it goes here.  Its name can't be reached from within.
 */
void jail_empty_layer(const struct jail *jail)
{
	const struct evum_config *config = jail->config;
	char byte;

	if (!config->layer_temporary || config->layer_count == 0 ||
	    recv(jail->control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
		return;
	if (jail->mode == JAIL_CONFINED) {
		kill(-1, SIGKILL);
		while (RETRY(waitpid(-1, NULL, __WALL)) > 0)
			continue;
	}
	/* One lock a disk, in their order. */
	(void)!ftruncate(jail->locks[config->layer_count], 0);
}
