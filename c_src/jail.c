/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail from outside: the clone that makes it
 *
 * The child carries out the plan (jail_child.c).  Parent and child talk over one
 * packet socket, which is the child's life line as well.
 */
#include "jail.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util.h"

#define NAMESPACES \
	(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

/* The child answers within milliseconds; a host that takes longer than this is broken. */
#define SPAWN_TIMEOUT_MS 20000

int jail_error(struct evum_error *error, const char *stage, int err, const char *format, ...)
{
	va_list args;

	if (error) {
		error->stage = stage;
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return -err;
}

static int write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* A line of a map: the ids as the namespace sees them, and how many.  The parent's ids are skipped. */
static bool parse_map(const char *line, unsigned long *inside, unsigned long *count)
{
	char *end;

	*inside = strtoul(line, &end, 10);
	(void)strtoul(end, &end, 10);
	*count = strtoul(end, &end, 10);
	return *count > 0 && *end == '\n';
}

/* Every id of our own user namespace, mapped to itself. */
static int map_all(pid_t pid, const char *name)
{
	char path[64], line[128], map[4096] = "";
	unsigned long inside, count;
	size_t used = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (used < sizeof(map) - 64 && fgets(line, sizeof(line), file))
		if (parse_map(line, &inside, &count))
			used += (size_t)snprintf(map + used, sizeof(map) - used, "%lu %lu %lu\n",
						 inside, inside, count);
	fclose(file);
	return write_file(pid, name, map);
}

/* Root's machines see every owner as he is; an ordinary user's see their own ids only. */
static int write_maps(const struct jail *jail, pid_t pid)
{
	char map[64];
	int err;

	if (jail->drop) {
		err = map_all(pid, "uid_map");
		return err ? err : map_all(pid, "gid_map");
	}
	err = write_file(pid, "setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", geteuid(), geteuid());
	err = err ? err : write_file(pid, "uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", getegid(), getegid());
	return err ? err : write_file(pid, "gid_map", map);
}

static pid_t clone_child(struct jail *jail, int *pidfd)
{
	int fd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
			 (jail->mode == JAIL_CONFINED ? NAMESPACES : 0),
		.pidfd = (uintptr_t)&fd,
		/* No signal: what the caller does with SIGCHLD and wait(2) is his. */
		.exit_signal = 0,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	*pidfd = fd;
	if (pid != 0)
		return pid < 0 ? -errno : (pid_t)pid;
	if (jail->mode == JAIL_CONFINED)
		jail_enter_confined(jail);
	jail_enter_reaped(jail);
}

/* Takes what came beside a report: the pid of its sender, and descriptors. */
static void take_beside(struct msghdr *message, pid_t *sender, int spool[2])
{
	struct cmsghdr *header;

	for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_type == SCM_CREDENTIALS)
			memcpy(sender, CMSG_DATA(header), sizeof(*sender));
		else if (header->cmsg_type == SCM_RIGHTS &&
			 header->cmsg_len == CMSG_LEN(2 * sizeof(int)))
			memcpy(spool, CMSG_DATA(header), 2 * sizeof(int));
	}
}

/* Receives one report.  0, -EPIPE at the end, -ETIMEDOUT. */
static int receive_report(int control, struct jail_report *report, pid_t *sender, int spool[2])
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} space;
	struct iovec iov = {.iov_base = report, .iov_len = sizeof(*report)};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &space,
		.msg_controllen = sizeof(space),
	};
	struct pollfd pfd = {.fd = control, .events = POLLIN};

	if (RETRY(poll(&pfd, 1, SPAWN_TIMEOUT_MS)) <= 0)
		return -ETIMEDOUT;
	if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) != sizeof(*report))
		return -EPIPE;
	take_beside(&message, sender, spool);
	return 0;
}

/* Stages by name, so that an error may point to a static string. */
static const char *stage_name(const char *name)
{
	static const char *const stages[] = {"mounts",	"sockets", "spool",	 "drop",
					     "access",	"limits",  "privileges", "landlock",
					     "seccomp", "exec",	   "reapers"};

	for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
		if (strcmp(stages[i], name) == 0)
			return stages[i];
	return "namespaces";
}

static int await_ready(struct jail_child *child, struct evum_error *error)
{
	struct jail_report report;
	pid_t sender = 0;
	int err;

	for (;;) {
		err = receive_report(child->control, &report, &sender, child->spool);
		if (err)
			return jail_error(error, "namespaces", -err,
					  "the first process of the jail gave no answer");
		if (report.kind == JAIL_KERNEL) {
			child->kernel_pid = sender;
			child->kernel_pidfd = (int)syscall(SYS_pidfd_open, sender, 0);
		}
		if (report.kind == JAIL_READY)
			return 0;
		if (report.kind == JAIL_FAILED)
			return jail_error(error, stage_name(report.stage), report.value, "%.*s",
					  JAIL_TEXT_MAX - 1, report.text);
	}
}

static int open_run(const struct jail *jail, struct jail_child *child)
{
	char path[128];

	if (jail->mode == JAIL_CONFINED)
		snprintf(path, sizeof(path), "/proc/%d/root/run", (int)child->pid);
	else
		snprintf(path, sizeof(path), "%s", jail->run);
	child->run = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return child->run < 0 ? -errno : 0;
}

static int start_child(struct jail *jail, struct jail_child *child, struct evum_error *error)
{
	int err;

	child->pid = clone_child(jail, &child->pidfd);
	if (child->pid < 0)
		return jail_error(error, "namespaces", -child->pid,
				  "user namespaces can't be made on this host");
	fd_close(&jail->control);
	err = jail->mode == JAIL_CONFINED ? write_maps(jail, child->pid) : 0;
	if (err)
		return jail_error(error, "namespaces", -err,
				  "the user namespace can't be given its ids");
	if (send(child->control, "", 1, MSG_NOSIGNAL) < 0)
		return jail_error(error, "namespaces", errno, "the jail's first process is gone");
	err = await_ready(child, error);
	if (err)
		return err;
	err = open_run(jail, child);
	if (err)
		return jail_error(error, "namespaces", -err, "the run directory can't be reached");
	return 0;
}

void jail_child_init(struct jail_child *child)
{
	*child = (struct jail_child){.pid = -1,
				     .pidfd = -1,
				     .kernel_pidfd = -1,
				     .control = -1,
				     .run = -1,
				     .spool = {-1, -1}};
}

void jail_kill(struct jail_child *child)
{
	if (child->pid <= 0)
		return;
	/* pid 1 takes its namespace with it; reapers kill what is left when their life line is cut. */
	if (child->mode == JAIL_CONFINED)
		syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	else
		shutdown(child->control, SHUT_RDWR);
}

int jail_wait(struct jail_child *child)
{
	siginfo_t info = {.si_code = CLD_KILLED};
	int status = SIGKILL;

	if (child->pid > 0 &&
	    RETRY(waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | __WALL)) == 0)
		status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
	child->pid = -1;
	fd_close(&child->pidfd);
	fd_close(&child->kernel_pidfd);
	fd_close(&child->control);
	fd_close(&child->run);
	fd_close(&child->spool[0]);
	fd_close(&child->spool[1]);
	return status;
}

/* Where the machine's sockets and memory lie, and what is copied there. */
static int make_place(struct jail *jail, struct evum_error *error)
{
	int err = 0;

	if (jail->mode == JAIL_CONFINED) {
		snprintf(jail->run, sizeof(jail->run), "/run");
		return 0;
	}
	err = rundir_make(jail, error);
	for (size_t i = 0; jail->drop && i < jail->file_count && !err; i++)
		if (strcmp(jail->files[i].target, "/kernel") == 0 ||
		    strcmp(jail->files[i].target, "/initrd") == 0)
			err = rundir_copy(jail, &jail->files[i], error);
	return err;
}

static int spawn_child(struct jail *jail, struct jail_child *child, struct evum_error *error)
{
	int on = 1, ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return jail_error(error, "namespaces", errno, "no socket");
	child->control = ends[0];
	jail->control = ends[1];
	setsockopt(child->control, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	return start_child(jail, child, error);
}

int jail_spawn(struct jail *jail, struct jail_child *child, struct evum_error *error)
{
	int err;

	jail_child_init(child);
	child->mode = jail->mode;
	err = make_place(jail, error);
	err = err ? err : jail_plan_argv(jail, error);
	err = err ? err : spawn_child(jail, child, error);
	fd_close(&jail->control);
	if (!err)
		return 0;
	jail_kill(child);
	jail_wait(child);
	if (jail->mode == JAIL_REAPED)
		rundir_remove(jail->run);
	return err;
}
