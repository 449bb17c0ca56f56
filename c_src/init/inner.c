/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inner: pid 1 as the machine's programs see it
 *
 * Theory of operation.  The machine's own init must believe that it is pid 1,
 * and must not be able to take the agent down; so it gets a pid namespace.
 * reboot(2) in there kills it with SIGINT (off) or SIGHUP (reboot), which the
 * guardian sees.  A disk brings its init; on the initramfs and on the host's
 * files the built-in one runs: a shell on the console, started again when it
 * ends, and the signals by which busybox asks for halt, power off and reboot.
 *
 * An initramfs may name another program (node.c).  That one's end is the
 * machine's: a halt where its status was 0, else an init that ended with it.
 */
#define _GNU_SOURCE
#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mount.h"
#include "net.h"
#include "node.h"
#include "notify.h"
#include "oom.h"

#define SHELL_FAST_MS 200   /* a shell that ends sooner … */
#define SHELL_PAUSE_MS 1000 /* … waits this long for the next */
#define SHUTDOWN_MS 500	    /* for programs to go after SIGTERM */
#define SHUTDOWN_LOOK_MS 10 /* those of the agent's are not our children: look */
#define NODE_STOP_MS 10000 /* for a node to end its applications; the host may have less patience */
#define SIGNALED 128	   /* status of what a signal ended, less the signal */

static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void open_stdio(const char *tty)
{
	int fd = open(tty, O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
}

/* In a session of its own, whose terminal the console is.  Returns where it can't be run. */
static void exec_on_console(char **argv, char **envp, const char *file)
{
	setsid();
	open_stdio(CONSOLE_TTY);
	ioctl(0, TIOCSCTTY, 1);
	unblock_signals();
	execve(file, argv, envp);
}

static _Noreturn void exec_shell(const struct boot *boot)
{
	const char *name = strrchr(boot->shell, '/') + 1;
	char path[BOOT_TEXT_MAX], argv0[32];
	char *argv[] = {argv0, NULL};
	char *envp[] = {path,
			(char[]){"HOME=/root"},
			(char[]){"TERM=linux"},
			(char[]){"USER=root"},
			(char[]){"LANG=C.UTF-8"},
			NULL};

	/* A login shell reads the host's profile, which would drop our part of PATH. */
	snprintf(argv0, sizeof(argv0), "%s%s", boot->config.root == BOOT_HOST ? "" : "-", name);
	snprintf(path, sizeof(path), "PATH=%s", boot->path);
	if (chdir("/root") < 0)
		(void)!chdir("/");
	exec_on_console(argv, envp, boot->shell);
	_exit(127);
}

/* vfork(2): a copy of an address space is a good part of a boot. */
static pid_t start_shell(const struct boot *boot, int proc)
{
	pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */

	if (pid == 0) {
		oom_score(proc, OOM_NORMAL); /* NOLINT(clang-analyzer-unix.Vfork) */
		exec_shell(boot);
	}
	return pid;
}

/* Reaps what has ended; returns true where pid was among it, with how in status. */
static bool reap(pid_t pid, int *status)
{
	bool found = false;
	pid_t ended;
	int how;

	while ((ended = waitpid(-1, &how, WNOHANG)) > 0) {
		if (ended != pid)
			continue;
		found = true;
		*status = how;
	}
	return found;
}

/* An interactive shell ignores SIGTERM and goes by SIGHUP. */
static _Noreturn void shut_down(const sigset_t *set, pid_t shell, int how)
{
	int64_t until = boot_now_ms() + SHUTDOWN_MS;
	int status;

	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	if (shell > 0)
		kill(-shell, SIGHUP);
	while (kill(-1, 0) == 0 && boot_now_ms() < until) {
		(void)boot_next_signal(set, SHUTDOWN_LOOK_MS);
		(void)reap(0, &status);
	}
	kill(-1, SIGKILL);
	sync();
	reboot(how);
	_exit(1);
}

static void set_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigprocmask(SIG_SETMASK, set, NULL);
}

static _Noreturn void run_built_in(const struct boot *boot, int proc)
{
	int64_t started = 0, due = boot_now_ms();
	pid_t shell = 0;
	sigset_t set;
	int status;

	set_signals(&set);
	for (;;) {
		if (shell <= 0 && boot_now_ms() >= due) {
			started = boot_now_ms();
			shell = start_shell(boot, proc);
			due = started + SHELL_PAUSE_MS;
		}
		switch (boot_next_signal(&set, shell > 0 ? -1 : due - boot_now_ms())) {
		case SIGUSR1: /* halt: there is nobody to look at a halted machine */
		case SIGUSR2:
			shut_down(&set, shell, RB_POWER_OFF);
		case SIGTERM:
		case SIGINT: /* Ctrl-Alt-Del */
			shut_down(&set, shell, RB_AUTOBOOT);
		default:
			break;
		}
		if (!reap(shell, &status))
			continue;
		shell = 0;
		due = boot_now_ms() - started < SHELL_FAST_MS ? started + SHELL_PAUSE_MS
							      : boot_now_ms();
	}
}

/* --- a node ------------------------------------------------------------------ */

static _Noreturn void fail(const struct boot *boot, int ready)
{
	(void)!write(ready, boot->error, strlen(boot->error));
	_exit(1);
}

/* As start_shell().  Returns the process, or -errno where there is none of that program. */
static pid_t start_node(const struct boot *boot, int proc)
{
	struct node *node = boot->node;
	volatile int error = 0;
	pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */

	if (pid == 0) {
		oom_score(proc, OOM_NORMAL); /* NOLINT(clang-analyzer-unix.Vfork) */
		exec_on_console(node->argv, node->envp, node->argv[0]);
		error = errno;
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	return error == 0 ? pid : -error;
}

/* What the node is started with: the image's words, this machine's, and what neither has. */
static int furnish_node(struct boot *boot)
{
	int result;
	static char path[BOOT_TEXT_MAX], home[] = "HOME=/", term[] = "TERM=linux",
					 lang[] = "LANG=C.UTF-8";

	result = node_read(boot, NODE_MORE_FILE);
	if (result == 0)
		result = node_read(boot, NODE_ALONE_FILE);
	if (result < 0)
		return -1;
	if (boot->node->argc == 0)
		return boot_error(boot, NODE_FILE " names no program");
	snprintf(path, sizeof(path), "PATH=%s", boot->path);
	node_default(boot->node, path);
	node_default(boot->node, home);
	node_default(boot->node, term);
	node_default(boot->node, lang);
	return 0;
}

/* Asks the node to end its applications, and then the others. */
static _Noreturn void stop_node(const sigset_t *set, pid_t node, int how)
{
	int64_t until = boot_now_ms() + NODE_STOP_MS, left;
	int status;

	kill(node, SIGTERM);
	while ((left = until - boot_now_ms()) > 0) {
		(void)boot_next_signal(set, left);
		if (reap(node, &status))
			break;
	}
	shut_down(set, 0, how);
}

/* Never returns 0: that is the status of a halt, which reboot(2) tells. */
static _Noreturn void end_with(const sigset_t *set, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		shut_down(set, 0, RB_POWER_OFF);
	sync();
	_exit(WIFSIGNALED(status) ? SIGNALED + WTERMSIG(status) : WEXITSTATUS(status));
}

/* The kernel has one answer for a program that isn't there and for one whose loader isn't. */
static int cannot_run(struct boot *boot, int error)
{
	const char *file = boot->node->argv[0];

	if (error == ENOENT && access(file, F_OK) == 0)
		return boot_error(boot, "cannot run %s: its interpreter is missing", file);
	return boot_error(boot, "cannot run %s: %s", file, strerror(error));
}

static _Noreturn void run_node(struct boot *boot, int proc, int ready)
{
	sigset_t set;
	pid_t node;
	int status;

	if (furnish_node(boot) < 0)
		fail(boot, ready);
	set_signals(&set);
	node = start_node(boot, proc);
	if (node < 0) {
		(void)cannot_run(boot, -node);
		fail(boot, ready);
	}
	close(ready);
	for (;;) {
		switch (boot_next_signal(&set, -1)) {
		case SIGUSR1:
		case SIGUSR2:
			stop_node(&set, node, RB_POWER_OFF);
		case SIGTERM:
		case SIGINT: /* Ctrl-Alt-Del */
			stop_node(&set, node, RB_AUTOBOOT);
		default:
			break;
		}
		if (reap(node, &status))
			end_with(&set, status);
	}
}

/* --- the machine's own ------------------------------------------------------- */

/* Runs the machine's own init: the one that was named, or where the kernel would look for it. */
static _Noreturn void exec_own(struct boot *boot, int ready)
{
	static const char *const usual[] = {"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"};
	bool named = boot->config.init[0] != '\0';
	const char *init = named ? boot->config.init : usual[0];
	char argv0[BOOT_PATH_MAX + 1];
	char path[BOOT_TEXT_MAX];
	char notify[] = NOTIFY_ENV;
	char *envp[] = {path, (char[]){"HOME=/"}, (char[]){"TERM=linux"},
			boot->notify >= 0 ? notify : NULL, NULL};
	size_t i = 0;

	snprintf(path, sizeof(path), "PATH=%s", boot->path);
	setsid();
	open_stdio("/dev/console");
	unblock_signals();
	do {
		snprintf(argv0, sizeof(argv0), "%s", init);
		execve(init, (char *[]){argv0, NULL}, envp);
		init = ++i < sizeof(usual) / sizeof(usual[0]) ? usual[i] : NULL;
	} while (!named && init != NULL);
	boot_error(boot, "cannot run %s: %s", named ? boot->config.init : usual[0],
		   strerror(errno));
	fail(boot, ready);
}

static _Noreturn void run_inner(struct boot *boot, int ready)
{
	int proc;

	prctl(PR_SET_NAME, "init");
	if (mount_enter(boot) < 0)
		fail(boot, ready);
	net_furnish(boot);
	if (!boot->built_in) {
		oom_score(boot->proc, OOM_NORMAL);
		exec_own(boot, ready);
	}
	/* The machine's view of the guardian's /proc goes with them. */
	ready = ready == 3 ? ready : dup3(ready, 3, O_CLOEXEC);
	close_range(4, ~0u, 0);
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (boot->node != NULL)
		run_node(boot, proc, ready);
	close(ready);
	run_built_in(boot, proc);
}

static int open_namespace(const struct boot *boot, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%d/ns/%s", (int)boot->init, name);
	return openat(boot->proc, path, O_RDONLY | O_CLOEXEC);
}

int inner_start(struct boot *boot)
{
	char error[BOOT_TEXT_MAX];
	int ready[2];
	ssize_t len;

	if (!boot->built_in)
		notify_open(boot);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return boot_error(boot, "cannot make a pipe: %s", strerror(errno));
	boot->init = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
	if (boot->init == 0)
		run_inner(boot, ready[1]);
	close(ready[1]);
	if (boot->init < 0) {
		close(ready[0]);
		return boot_error(boot, "cannot start init: %s", strerror(errno));
	}
	boot->pid_ns = open_namespace(boot, "pid");
	boot->mnt_ns = open_namespace(boot, "mnt");
	len = read(ready[0], error, sizeof(error) - 1);
	close(ready[0]);
	if (len <= 0)
		return 0;
	error[len] = '\0';
	return boot_error(boot, "%s", error);
}
