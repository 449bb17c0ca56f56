/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host offers to machines, found by trying it
 *
 * The jail is tried whole: a kernel is executed in it to print its version.
 * Where that fails the stage and the reason are the jail's own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "jail.h"
#include "util.h"

/* hostfs keeps a descriptor for each cached inode: a machine on the host's files wants many. */
#define DESCRIPTORS_WANTED 65536u

struct probes {
	struct evum_probe *list;
	int count;
};

__attribute__((format(printf, 4, 5))) static void add(struct probes *probes, const char *stage,
						      int ok, const char *format, ...)
{
	struct evum_probe *probe = &probes->list[probes->count++];
	va_list args;

	probe->stage = stage;
	probe->ok = ok;
	va_start(args, format);
	vsnprintf(probe->text, sizeof(probe->text), format, args);
	va_end(args);
}

static void probe_kernel(struct probes *probes, const char *kernel)
{
	int err = evum_kernel_check(kernel);

	if (err)
		add(probes, "kernel", 0, "%s: %s; apt-get install user-mode-linux", kernel,
		    strerror(-err));
	else
		add(probes, "kernel", 1, "%s", kernel);
}

/* UML runs guest programs under ptrace; a container's seccomp filter may forbid it. */
static void probe_ptrace(struct probes *probes)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid > 0)
		RETRY(waitpid(pid, &status, 0));
	if (pid > 0 && WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		RETRY(waitpid(pid, NULL, 0));
		add(probes, "ptrace", 1, "guest programs can be traced");
	} else {
		add(probes, "ptrace", 0,
		    "forbidden here; in a container: docker run --security-opt seccomp=unconfined "
		    "--cap-add SYS_PTRACE");
	}
}

static int try_jail(const struct evum_config *config, enum jail_mode mode, struct evum_error *error)
{
	struct jail jail = {.mode = mode, .null = -1, .log = -1, .control = -1};
	struct jail_child child;
	int status = 0;
	int err = jail_plan(&jail, config, error);

	jail.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	jail.log = fcntl(jail.null, F_DUPFD_CLOEXEC, 0);
	jail.console = fcntl(jail.null, F_DUPFD_CLOEXEC, 0);
	jail.agent = fcntl(jail.null, F_DUPFD_CLOEXEC, 0);
	jail.client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	jail.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = err ? err : jail_spawn(&jail, &child, error);
	if (!err)
		status = jail_wait(&child);
	if (!err && status != 0)
		err = jail_error(error, "exec", ENOEXEC, "the kernel can't print its version");
	fd_close(&jail.client);
	fd_close(&jail.notify);
	jail_release(&jail);
	return err;
}

static void probe_jail(struct probes *probes, const struct evum_config *defaults)
{
	static const char *const args[] = {"--version", NULL};
	struct evum_config config = *defaults;
	struct evum_error error = {.stage = ""};

	/* The kernel prints its version before it looks for an initramfs: any file will do. */
	config.initramfs = config.kernel;
	config.args = args;
	if (try_jail(&config, JAIL_CONFINED, &error) == 0) {
		add(probes, "jail", 1, "own namespaces, private root");
		return;
	}
	add(probes, "jail", 0,
	    "%s: %.90s; as root: sysctl user.max_user_namespaces=10000 "
	    "kernel.unprivileged_userns_clone=1",
	    error.stage, error.text);
	if (try_jail(&config, JAIL_REAPED, &error) == 0)
		add(probes, "reapers", 1,
		    "machines run without a private root, watched by two reapers");
	else
		add(probes, "reapers", 0, "%s: %.120s", error.stage, error.text);
}

static void probe_landlock(struct probes *probes)
{
	int abi = landlock_abi();

	if (abi)
		add(probes, "landlock", 1, "version %d", abi);
	else
		add(probes, "landlock", 0,
		    "not in this kernel, or not in its list; boot with "
		    "lsm=landlock,$(cat /sys/kernel/security/lsm)");
}

static void probe_descriptors(struct probes *probes)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	if (files.rlim_max >= DESCRIPTORS_WANTED)
		add(probes, "descriptors", 1, "%llu open files",
		    (unsigned long long)files.rlim_max);
	else
		add(probes, "descriptors", 0,
		    "%llu open files, machines on the host's files want %u; as root: "
		    "prlimit --nofile=%u --pid PID-OF-YOUR-SHELL",
		    (unsigned long long)files.rlim_max, DESCRIPTORS_WANTED, DESCRIPTORS_WANTED);
}

int evum_host_probe(struct evum_probe probes[EVUM_PROBES_MAX])
{
	struct probes list = {.list = probes};
	struct evum_config defaults;

	evum_config_init(&defaults);
	probe_kernel(&list, defaults.kernel);
	probe_ptrace(&list);
	probe_jail(&list, &defaults);
	probe_landlock(&list);
	probe_descriptors(&list);
	return list.count;
}
