/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail from inside: the stages a child goes through before it is the kernel
 *
 * Theory of operation.  UML trusts its guest where it shouldn't, so a hole there
 * must cost the guest and not the host.  The stages, in order:
 *
 * descriptors  all closed but the ones the machine needs
 * mounts       a tmpfs of the machine's size becomes the root; it holds guest
 *              memory, sockets and run directory, and read-only binds of exactly
 *              the files the kernel needs; nothing of it is on the host's disk
 * sockets      the management console's and the NICs' are bound here: UML answers
 *              to the path, or connects to it
 * spool        the files for bulk are made, and their descriptors sent out
 * drop         root becomes 65534
 * limits       no core, all the descriptors the host allows (hostfs keeps many)
 * privileges   no_new_privs, for good
 * landlock     the same list of files once more, and no links, devices, TCP
 * seccomp      the system calls that no UML kernel needs answer an error
 * exec
 *
 * The first process stays behind as pid 1 (UML as pid 1 spins for ever on a
 * panic) and ends when its parent, seen through the control socket, is gone.
 *
 * The caller may have threads, so nothing here allocates or takes a lock, and
 * no fork() that does.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "jail.h"
#include "seccomp.h"
#include "rings.h"
#include "util.h"

/* Room beside guest memory for sockets and what a guest's root writes through hostfs. */
#define ROOT_SPARE_MIB 16u
#define ROOT_INODES 4096

/* From this size on huge pages are worth the guest memory that they take at once. */
#define HUGE_PAGES_FROM_MIB 512u

/* Host processes of one machine: a guest process is one. */
#define PROCESSES_MAX 16384u

/* A directory that is never a source, to mount the new root on. */
#define ROOT_MOUNT_POINT "/proc"

const char *const jail_link_names[JAIL_LINKS_MAX] = {"bin",   "sbin",  "lib",
						     "lib32", "lib64", "libx32"};

__attribute__((format(printf, 4, 5))) static _Noreturn void
fail(struct jail *jail, const char *stage, int err, const char *format, ...)
{
	struct jail_report report = {.kind = JAIL_FAILED, .value = err};
	va_list args;

	snprintf(report.stage, sizeof(report.stage), "%s", stage);
	va_start(args, format);
	vsnprintf(report.text, sizeof(report.text), format, args);
	va_end(args);
	send(jail->control, &report, sizeof(report), MSG_NOSIGNAL);
	_exit(127);
}

/* The kernel's descriptors: 0-2, console, agent, directories, locks; then ours, closed by its exec. */
static void arrange_descriptors(struct jail *jail)
{
	int *wanted[16 + EVUM_DISKS_MAX + EVUM_NICS_MAX + EVUM_DIRS_MAX] = {
		&jail->null, &jail->log, &jail->log, &jail->console, &jail->agent};
	size_t count = ARGV_FD_AGENT + 1;
	int low = 0;

	for (size_t i = 0; i < jail->dir_count; i++)
		wanted[count++] = &jail->dirs[i];
	for (size_t i = 0; i < jail->lock_count; i++)
		wanted[count++] = &jail->locks[i];
	wanted[count++] = &jail->control;
	wanted[count++] = &jail->client;
	wanted[count++] = &jail->notify;
	for (unsigned int i = 0; i < jail->config->nic_count; i++)
		wanted[count++] = &jail->nics[i];
	for (size_t i = 0; i < count; i++)
		if (*wanted[i] < (int)ARRAY_SIZE(wanted))
			*wanted[i] = fcntl(*wanted[i], F_DUPFD_CLOEXEC, (int)ARRAY_SIZE(wanted));
	for (size_t i = 0; i < count; i++)
		if (*wanted[i] < 0 || dup2(*wanted[i], low++) < 0)
			_exit(127);
	syscall(SYS_close_range, low, ~0U, 0);
	for (size_t i = 0; i < count; i++)
		*wanted[i] = (int)i;
	for (size_t i = ARGV_FD_DIR + jail->dir_count + jail->lock_count; i < count; i++)
		fcntl((int)i, F_SETFD, FD_CLOEXEC);
}

static int make_parents(const char *target)
{
	char path[PATH_MAX];
	char *slash = path;

	if (strlen(target) >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, target, strlen(target) + 1);
	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int make_target(const struct jail_file *file, const char *target)
{
	cleanup_fd int fd = -1;
	int err = make_parents(target);

	if (err)
		return err;
	if (file->directory)
		return mkdir(target, 0755) < 0 && errno != EEXIST ? -errno : 0;
	fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : 0;
}

static int bind_file(const struct jail_file *file)
{
	const char *target = file->target + 1;
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | (file->writable ? 0 : MOUNT_ATTR_RDONLY) |
			    (file->share ? MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC : 0),
	};
	int err = make_target(file, target);

	if (err)
		return err;
	if (mount(file->source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return 0;
}

static void mount_root(struct jail *jail)
{
	char options[96];
	int length = snprintf(options, sizeof(options), "size=%uM,nr_inodes=%d,mode=755",
			      jail->config->mem + ROOT_SPARE_MIB, ROOT_INODES);

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fail(jail, "mounts", errno, "the mounts can't be made private");
	/* Not every host's tmpfs has them. */
	snprintf(options + length, sizeof(options) - (size_t)length, ",huge=always");
	if (jail->config->mem >= HUGE_PAGES_FROM_MIB &&
	    mount("evum", ROOT_MOUNT_POINT, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0)
		return;
	options[length] = '\0';
	if (mount("evum", ROOT_MOUNT_POINT, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		fail(jail, "mounts", errno, "no tmpfs can be mounted in a user namespace");
}

static void stage_mounts(struct jail *jail)
{
	/* What is made here is for the machine's user to pass. */
	mode_t mask = umask(0022);
	int err = 0;

	mount_root(jail);
	if (chdir(ROOT_MOUNT_POINT) < 0 || mkdir("run", 0700) < 0)
		fail(jail, "mounts", errno, "the private root can't be filled");
	for (size_t i = 0; i < jail->file_count; i++) {
		err = bind_file(&jail->files[i]);
		if (err)
			fail(jail, "mounts", -err, "%s can't be shown in the private root",
			     jail->files[i].source);
	}
	for (size_t i = 0; i < JAIL_LINKS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "host/%s", jail_link_names[i]);
		if (jail->links[i] && symlink(jail->links[i], name) < 0)
			fail(jail, "mounts", errno, "%s can't be linked", name);
	}
	umask(mask);
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		fail(jail, "mounts", errno, "the root can't be changed");
	if (chdir("/run") < 0)
		fail(jail, "mounts", errno, "the run directory is gone");
}

static int bind_socket(int fd, const char *directory, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);

	if (length >= (int)sizeof(address.sun_path))
		return -ENAMETOOLONG;
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/* A guest whose NIC waits to be accepted waits in connect(): it can't come a second time. */
static int listen_nic(struct jail *jail, unsigned int number)
{
	char name[16];
	int err;

	snprintf(name, sizeof(name), ARGV_NIC "%u", number);
	err = bind_socket(jail->nics[number], jail->run, name);
	return err ? err : listen(jail->nics[number], 0) < 0 ? -errno : 0;
}

static void stage_sockets(struct jail *jail)
{
	mode_t mask = umask(0077);
	int err = bind_socket(jail->client, jail->run, "c");

	err = err ? err : bind_socket(jail->notify, jail->run, "n");
	for (unsigned int i = 0; i < jail->config->nic_count; i++)
		err = err ? err : listen_nic(jail, i);
	if (err)
		fail(jail, "sockets", -err, "the machine's sockets can't be bound in %s",
		     jail->run);
	umask(mask);
}

/* Sends a report and two descriptors. */
static void send_descriptors(struct jail *jail, enum jail_report_kind kind, const int fds[2])
{
	struct jail_report report = {.kind = kind};
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr header;
	} space = {.header = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(2 * sizeof(int))}};
	struct iovec iov = {.iov_base = &report, .iov_len = sizeof(report)};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &space,
		.msg_controllen = sizeof(space),
	};

	memcpy(CMSG_DATA(&space.header), fds, 2 * sizeof(int));
	sendmsg(jail->control, &message, MSG_NOSIGNAL);
}

/* No process of the machine keeps them: the guest's agent opens the files itself. */
static void stage_spool(struct jail *jail)
{
	int fds[2];
	int err = rings_make(jail->run, fds);

	if (err)
		fail(jail, "spool", -err, "the files for bulk can't be made in %s", jail->run);
	send_descriptors(jail, JAIL_SPOOL, fds);
	close(fds[0]);
	close(fds[1]);
}

/* Gives a file of the run directory, or itself (""), to the user that root becomes. */
static int give_away(const struct jail *jail, const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "%s%s", jail->run, name);
	return lchown(path, NOBODY, NOBODY);
}

static int give_nics_away(const struct jail *jail)
{
	char name[16];
	int err = 0;

	for (unsigned int i = 0; i < jail->config->nic_count && !err; i++) {
		snprintf(name, sizeof(name), "/" ARGV_NIC "%u", i);
		err = give_away(jail, name);
	}
	return err;
}

static void stage_drop(struct jail *jail)
{
	if (!jail->drop)
		return;
	if (give_away(jail, "/c") < 0 || give_away(jail, "/n") < 0 ||
	    give_away(jail, "/" AGENT_SPOOL_IN) < 0 || give_away(jail, "/" AGENT_SPOOL_OUT) < 0 ||
	    give_nics_away(jail) < 0 || give_away(jail, "") < 0)
		fail(jail, "drop", errno, "the run directory can't be given to user 65534");
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
	    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0)
		fail(jail, "drop", errno, "root can't become user 65534");
}

/* What the kernel's process may not read now it can't read later, with a worse message. */
static void stage_access(struct jail *jail)
{
	for (size_t i = 0; i < jail->file_count; i++) {
		const struct jail_file *file = &jail->files[i];
		int mode = R_OK | (file->writable ? W_OK : 0) | (file->share ? X_OK : 0);

		if (access(jail_file_path(jail, file), mode) < 0)
			fail(jail, "access", errno,
			     "user %u, whom the machine runs as, may not %s %s", geteuid(),
			     file->writable ? "write" : "read", file->source);
	}
}

static void stage_limits(struct jail *jail)
{
	const struct rlimit none = {0, 0}, processes = {PROCESSES_MAX, PROCESSES_MAX};
	struct rlimit files;
	cpu_set_t set;

	if (setrlimit(RLIMIT_CORE, &none) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		fail(jail, "limits", errno, "the resource limits can't be set");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		fail(jail, "limits", errno, "the limit of open files can't be raised");
	/* Counted by user namespace: elsewhere it would count all that the user runs. */
	if (jail->mode == JAIL_CONFINED && setrlimit(RLIMIT_NPROC, &processes) < 0)
		fail(jail, "limits", errno, "the limit of processes can't be set");
	if (!jail->pinned)
		return;
	CPU_ZERO(&set);
	CPU_SET(jail->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		fail(jail, "limits", errno, "CPU %u can't be used", jail->cpu);
}

static void stage_landlock(struct jail *jail)
{
	int abi = jail->landlock_abi;
	cleanup_fd int ruleset = -1;
	int err = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(jail, "privileges", errno, "no_new_privs can't be set");
	if (!abi)
		return;
	ruleset = landlock_open(abi, LANDLOCK_NO_NET);
	if (ruleset < 0)
		fail(jail, "landlock", -ruleset, "no ruleset can be made");
	for (size_t i = 0; i < jail->file_count && !err; i++)
		err = landlock_allow(ruleset, abi, jail_file_path(jail, &jail->files[i]),
				     jail->files[i].grant);
	/* The directory that the host's are bound in, to list it. */
	if (jail->config->root == EVUM_ROOT_HOST)
		err = err ? err : landlock_allow(ruleset, abi, "/host", LANDLOCK_TREE);
	err = err ? err : landlock_allow(ruleset, abi, jail->run, LANDLOCK_RUN);
	err = err ? err : landlock_enter(ruleset);
	if (err)
		fail(jail, "landlock", -err, "the rules can't be set");
}

static void stage_seccomp(struct jail *jail)
{
	int err = seccomp_enter();

	/* A kernel without seccomp has the stages before it. */
	if (err && err != -EINVAL)
		fail(jail, "seccomp", -err, "the filter can't be set");
}

static _Noreturn void stage_exec(struct jail *jail)
{
	struct jail_report report = {.kind = JAIL_KERNEL};
	char tmpdir[80], home[80];
	char *environment[] = {tmpdir, home, "PATH=", NULL};
	sigset_t none;

	snprintf(tmpdir, sizeof(tmpdir), "TMPDIR=%s", jail->run);
	snprintf(home, sizeof(home), "HOME=%s", jail->run);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Random gaps in UML's address space take from guest memory what they cover. */
	personality(ADDR_NO_RANDOMIZE);
	send(jail->control, &report, sizeof(report), MSG_NOSIGNAL);
	execve(jail_file_path(jail, &jail->files[0]), jail->argv.words, environment);
	fail(jail, "exec", errno, "%s can't be executed", jail->files[0].source);
}

/* Forks the kernel's process and waits until it was executed: its end of a pipe closes then. */
static pid_t fork_kernel(struct jail *jail)
{
	struct jail_report report = {.kind = JAIL_READY};
	int executed[2];
	char byte;
	pid_t pid;

	if (pipe2(executed, O_CLOEXEC) < 0)
		fail(jail, "exec", errno, "no pipe");
	pid = _Fork();
	if (pid < 0)
		fail(jail, "exec", errno, "no process can be made");
	if (pid == 0) {
		if (chdir(jail->run) < 0)
			fail(jail, "exec", errno, "%s is gone", jail->run);
		stage_limits(jail);
		stage_landlock(jail);
		stage_seccomp(jail);
		stage_exec(jail);
	}
	close(executed[1]);
	RETRY(read(executed[0], &byte, 1));
	close(executed[0]);
	send(jail->control, &report, sizeof(report), MSG_NOSIGNAL);
	return pid;
}

/* The parent writes the id maps of our user namespace before it sends this. */
static void wait_for_go(struct jail *jail)
{
	char byte;

	if (RETRY(recv(jail->control, &byte, 1, 0)) <= 0)
		_exit(127);
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The clone reset handlers, but what the caller ignored is ignored still. */
static void reset_signals(void)
{
	sigset_t all;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

/*
 * In a network namespace of its own, "::1" and "127.0.0.1" of the host are out of
 * reach; the namespaces were made by the clone.
 */
_Noreturn void jail_enter_confined(struct jail *jail)
{
	pid_t kernel;
	int status;

	reset_signals();
	prctl(PR_SET_NAME, "evum-init");
	arrange_descriptors(jail);
	wait_for_go(jail);
	stage_mounts(jail);
	stage_sockets(jail);
	stage_spool(jail);
	stage_drop(jail);
	stage_access(jail);
	kernel = fork_kernel(jail);
	status = reaper_watch(jail->control, kernel, jail->control, true);
	jail_empty_layer(jail);
	_exit(exit_code(status));
}

/*
 * Two reapers, one below the other: when one is killed the other still stands
 * and kills what is left.  The outer one keeps root, where it has it, to remove
 * the run directory.
 */
_Noreturn void jail_enter_reaped(struct jail *jail)
{
	int link[2];
	pid_t inner;
	int status;

	reset_signals();
	prctl(PR_SET_NAME, "evum-reaper");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	arrange_descriptors(jail);
	wait_for_go(jail);
	stage_sockets(jail);
	stage_spool(jail);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
		fail(jail, "reapers", errno, "no socket");
	inner = _Fork();
	if (inner < 0)
		fail(jail, "reapers", errno, "no process can be made");
	if (inner == 0) {
		close(link[0]);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		stage_drop(jail);
		stage_access(jail);
		inner = fork_kernel(jail);
		/* The outer one is gone when its end of the link closes. */
		_exit(exit_code(reaper_watch(link[1], inner, jail->control, false)));
	}
	close(link[1]);
	status = reaper_watch(jail->control, inner, jail->control, false);
	jail_empty_layer(jail);
	rundir_remove(jail->run);
	_exit(exit_code(status));
}
