/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn: start a program in the machine's namespaces
 *
 * Theory of operation.  vfork(2), because the copy of an address space is what
 * is dear in UML: the child borrows the agent's memory until it executes, and
 * leaves there why it could not.  It may call nothing that changes the agent's
 * state beyond that report and spec.  The agent waits meanwhile; all on the
 * way is bounded, except for an exec from a file system whose server is the
 * machine itself and hangs: that machine has lost its agent by its own doing.
 *
 * A built-in command is the agent's own code and runs long, so it gets a copy of the
 * address space: fork(2).  It has nothing to report but its exit status.
 *
 * A child joins the mount namespace anew each time, so that it starts in what
 * is the root now, whatever the machine's init moved since.  But for the built-in commands
 * that are about what the root is put together from.
 */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "builtin.h"
#include "oom.h"
#include "pty.h"
#include "user.h"

#define PROGRAM_PATH_MAX 4096

/* What the child leaves in the memory that it shares. */
struct report {
	pid_t guest_pid;
	int error;
};

static void reset_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The system calls themselves: the library's wrappers would have all threads of
 * the process follow, and this process is two for the moment.
 */
static int become(const struct user *user)
{
	if (syscall(SYS_setgroups, (size_t)user->group_count, user->groups) < 0 ||
	    syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
	    syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0)
		return -errno;
	return 0;
}

static int set_user(struct run_spec *spec)
{
	struct user user;

	if (spec->user == NULL) {
		run_default(spec, "HOME", "/root");
		run_default(spec, "USER", "root");
		return spec->pty ? pty_own(0) : 0;
	}
	if (user_find("/etc/passwd", "/etc/group", spec->user, &user) < 0)
		return -ESRCH;
	run_default(spec, "HOME", user.home[0] != '\0' ? user.home : "/");
	run_default(spec, "USER", user.name[0] != '\0' ? user.name : spec->user);
	run_default(spec, "LOGNAME", user.name[0] != '\0' ? user.name : spec->user);
	if (user.shell[0] != '\0')
		run_default(spec, "SHELL", user.shell);
	if (spec->pty && pty_own(user.uid) < 0)
		return -EIO;
	return become(&user);
}

/* Everything between the fork and the program. */
static int settle(const struct spawn_host *host, struct run_spec *spec, const int stdio[3],
		  int group)
{
	int fd, result;

	if (group >= 0 && write(group, "0", 1) < 0)
		return -errno;
	setsid();
	for (fd = 0; fd < 3; fd++)
		if (dup2(stdio[fd], fd) < 0)
			return -errno;
	if (spec->pty && (result = pty_take()) < 0)
		return result;
	oom_score(host->proc, OOM_NORMAL);
	(void)setrlimit(RLIMIT_NOFILE, &host->files);
	if (!(spec->builtin && builtin_is_outside(spec->argv[0])) &&
	    setns(host->mnt_ns, CLONE_NEWNS) < 0)
		return -errno;
	umask(022);
	run_default(spec, "PATH", host->path);
	run_default(spec, "TERM", "linux");
	run_default(spec, "LANG", "C.UTF-8");
	result = set_user(spec);
	if (result < 0)
		return result;
	/* A change of user clears this.  Who is lost with its agent must not go on unseen. */
	prctl(PR_SET_PDEATHSIG, spec->builtin ? SIGTERM : SIGKILL);
	reset_signals();
	return chdir(spec->cwd != NULL ? spec->cwd : "/") < 0 ? -errno : 0;
}

/* Executes name from each folder of path in turn.  Returns -errno: EACCES is told before ENOENT. */
static int exec_along(const char *path, struct run_spec *spec)
{
	char file[PROGRAM_PATH_MAX];
	int result = -ENOENT, len;
	size_t folder;

	for (;; path += folder + 1) {
		folder = strcspn(path, ":");
		len = snprintf(file, sizeof(file), "%.*s%s%s", (int)folder, path,
			       folder > 0 ? "/" : "", spec->argv[0]);
		if (len > 0 && (size_t)len < sizeof(file)) {
			execve(file, spec->argv, spec->envp);
			if (errno == EACCES)
				result = -EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return -errno;
		}
		if (path[folder] == '\0')
			return result;
	}
}

static int execute(struct run_spec *spec)
{
	if (spec->argv[0][0] == '\0')
		return -ENOENT;
	if (strchr(spec->argv[0], '/') == NULL)
		return exec_along(run_env(spec, "PATH"), spec);
	execve(spec->argv[0], spec->argv, spec->envp);
	return -errno;
}

static _Noreturn __attribute__((noinline)) void child(const struct spawn_host *host,
						      struct run_spec *spec, const int stdio[3],
						      int group, volatile struct report *report)
{
	int result;

	report->guest_pid = getpid();
	result = settle(host, spec, stdio, group);
	report->error = result < 0 ? result : execute(spec);
	_exit(127);
}

static int start_program(const struct spawn_host *host, struct run_spec *spec, const int stdio[3],
			 int group, struct spawned *spawned)
{
	volatile struct report report = {0};
	pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */

	if (pid == 0)
		child(host, spec, stdio, group, &report); /* NOLINT(clang-analyzer-unix.Vfork) */
	if (pid < 0)
		return -errno;
	/* A child that failed is reaped with all others, as a stranger. */
	if (report.error < 0)
		return report.error;
	spawned->pid = pid;
	spawned->guest_pid = report.guest_pid;
	return 0;
}

static int start_builtin(const struct spawn_host *host, struct run_spec *spec, const int stdio[3],
			 int group, struct spawned *spawned)
{
	pid_t pid = fork();
	int result;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		result = settle(host, spec, stdio, group);
		close_range(3, ~0u, 0);
		_exit(result < 0 ? -result : builtin_main(spec->argc, spec->argv));
	}
	spawned->pid = pid;
	spawned->guest_pid = 0;
	return 0;
}

int spawn_program(const struct spawn_host *host, struct run_spec *spec, const int stdio[3],
		  int group, struct spawned *spawned)
{
	return spec->builtin ? start_builtin(host, spec, stdio, group, spawned)
			     : start_program(host, spec, stdio, group, spawned);
}
