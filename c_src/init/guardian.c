/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guardian: the machine's real pid 1
 *
 * Theory of operation.  The guardian has two children that matter.  The inner
 * init's end is the machine's: how it ended tells halt from reboot, which
 * nobody outside could tell, so it is announced before the kernel stops.  The
 * agent's end is an accident: it is started again, at a bounded rate.  Nothing
 * inside can reach the guardian, which therefore does as little as it can.
 */
#define _GNU_SOURCE
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "agent_proto.h"
#include "frame.h"
#include "line.h"
#include "mount.h"

#define RESTART_PAUSE_MS 1000 /* between two starts of the agent */
#define AGENT_STOP_MS 500     /* for it to send what programs said last */

struct guardian {
	struct boot *boot;
	sigset_t signals;
	int64_t agent_started;
	bool first; /* this is the first agent */
	bool init_ended;
	int init_status;
	bool forced; /* the agent asked for the power to be cut */
};

static void guardian_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGINT);
}

void guardian_prepare(void)
{
	sigset_t set;

	guardian_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* Ctrl-Alt-Del becomes SIGINT to us in place of a reboot. */
	(void)reboot(RB_DISABLE_CAD);
}

/* The line may have been hung up by a program of the machine's since. */
static void reopen_line(struct boot *boot)
{
	int fd = line_open(0);

	if (fd < 0)
		return;
	close(boot->line);
	boot->line = fd;
}

static void start_agent(struct guardian *guardian)
{
	struct boot *boot = guardian->boot;
	bool first = guardian->first;

	if (!first) {
		reopen_line(boot);
		line_pad(boot->line);
	}
	guardian->first = false;
	guardian->agent_started = boot_now_ms();
	boot->agent = fork();
	if (boot->agent == 0)
		agent_main(boot, first);
}

static void note_child(struct guardian *guardian, pid_t pid, int status)
{
	struct boot *boot = guardian->boot;

	if (pid == boot->init) {
		guardian->init_ended = true;
		guardian->init_status = status;
	} else if (pid == boot->agent) {
		boot->agent = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == AGENT_EXIT_CUT_POWER) {
			guardian->forced = true;
			kill(boot->init, SIGKILL);
		}
	}
}

static void reap(struct guardian *guardian)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_child(guardian, pid, status);
}

/* Lets the agent send what it has, then makes sure that it is gone. */
static void stop_agent(struct guardian *guardian)
{
	struct boot *boot = guardian->boot;
	int64_t until = boot_now_ms() + AGENT_STOP_MS, left;

	if (boot->agent <= 0)
		return;
	kill(boot->agent, SIGTERM);
	while (boot->agent > 0 && (left = until - boot_now_ms()) > 0) {
		(void)boot_next_signal(&guardian->signals, left);
		reap(guardian);
	}
	if (boot->agent <= 0)
		return;
	kill(boot->agent, SIGKILL);
	waitpid(boot->agent, NULL, 0);
	reopen_line(boot);
	line_pad(boot->line);
}

/* How the machine ended, from how its init did.  value is for AGENT_END_INIT. */
static enum agent_ending ending_of(const struct guardian *guardian, int *value)
{
	int status = guardian->init_status;

	*value = 0;
	if (guardian->forced)
		return AGENT_END_HALT;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
		return AGENT_END_HALT;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP)
		return AGENT_END_REBOOT;
	*value = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return AGENT_END_INIT;
}

static _Noreturn void stop_kernel(int how)
{
	(void)reboot(how);
	for (;;)
		pause();
}

static _Noreturn void finish(struct guardian *guardian)
{
	uint8_t payload[5];
	enum agent_ending ending;
	int value;

	ending = ending_of(guardian, &value);
	stop_agent(guardian);
	mount_finish(guardian->boot);
	payload[0] = (uint8_t)ending;
	frame_put_u32(payload + 1, (uint32_t)value);
	reopen_line(guardian->boot);
	(void)line_send(guardian->boot->line, AGENT_ENDING, payload, sizeof(payload));
	stop_kernel(ending == AGENT_END_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
}

_Noreturn void guardian_watch(struct boot *boot)
{
	struct guardian guardian = {.boot = boot, .first = true};
	int64_t wait;

	guardian_signals(&guardian.signals);
	for (;;) {
		wait = -1;
		if (boot->agent <= 0) {
			wait = guardian.agent_started + RESTART_PAUSE_MS - boot_now_ms();
			if (guardian.first || wait <= 0) {
				start_agent(&guardian);
				wait = boot->agent > 0 ? -1 : RESTART_PAUSE_MS;
			}
		}
		if (boot_next_signal(&guardian.signals, wait) == SIGINT)
			kill(boot->init, SIGINT);
		reap(&guardian);
		if (guardian.init_ended)
			finish(&guardian);
	}
}

_Noreturn void guardian_give_up(struct boot *boot)
{
	int console = open(CONSOLE_TTY, O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (console >= 0) {
		(void)!write(console, "evum-init: ", 11);
		(void)!write(console, boot->error, strlen(boot->error));
		(void)!write(console, "\n", 1);
	}
	(void)line_send(boot->line, AGENT_FAILED, boot->error, strlen(boot->error));
	sync();
	stop_kernel(RB_POWER_OFF);
}
