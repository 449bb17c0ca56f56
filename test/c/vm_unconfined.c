/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without namespaces machines run all the same, and nothing of them stays
 *
 * The test makes a user namespace in which no more can be made, and gives up
 * every capability in it: what a hardened host looks like.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "machine.h"
#include "vm.h"

static char base[] = "/tmp/evum-test-base-XXXXXX";
static struct machine machine;

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* The maps of a full set of ids can only be written by root of the outer namespace. */
static void map_as_root(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	write_text(path, "0 0 65535");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	write_text(path, "0 0 65535");
}

static void map_as_user(uid_t uid)
{
	char map[64];

	snprintf(map, sizeof(map), "1000 %u 1", uid);
	write_text("/proc/self/setgroups", "deny");
	write_text("/proc/self/uid_map", map);
}

static void mount_noexec(const char *const *paths, size_t count)
{
	if (count > 0)
		CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	for (size_t i = 0; i < count; i++)
		CHECK(mount("none", paths[i], "tmpfs", MS_NOEXEC, NULL) == 0);
}

/*
 * as_root: root of a namespace where he can become 65534, and make no other.
 * more: namespaces made before; noexec: where nothing may be executed.
 */
static void forbid_namespaces(bool as_root, int more, const char *const *noexec, size_t count)
{
	const uint32_t keep = as_root ? 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_CHOWN |
						1u << CAP_DAC_OVERRIDE | 1u << CAP_KILL
				      : 0;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{keep, keep, 0}, {0, 0, 0}};
	uid_t uid = geteuid();
	int unshared[2];
	pid_t mapper;

	CHECK(pipe(unshared) == 0);
	mapper = as_root ? fork() : -1;
	if (mapper == 0) {
		char byte;

		CHECK(read(unshared[0], &byte, 1) == 1);
		map_as_root(getppid());
		_exit(0);
	}
	if (unshare(CLONE_NEWUSER | more) < 0) {
		fprintf(stderr, "no user namespace to forbid them in\n");
		exit(CHECK_SKIP);
	}
	CHECK(write(unshared[1], "", 1) == 1);
	if (as_root)
		CHECK(waitpid(mapper, NULL, 0) == mapper);
	else
		map_as_user(uid);
	mount_noexec(noexec, count);
	write_text("/proc/sys/user/max_user_namespaces", "0");
	CHECK(syscall(SYS_capset, &header, caps) == 0);
}

static unsigned int entries(void)
{
	DIR *directory = opendir(base);
	struct dirent *entry;
	unsigned int count = 0;

	CHECK(directory != NULL);
	while ((entry = readdir(directory)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void await_end(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

	if (pidfd < 0)
		return;
	CHECK(poll(&pfd, 1, 2000) == 1);
	close(pidfd);
}

static void a_machine_boots_and_stops(void)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	CHECK(!info.confined);
	CHECK(entries() == 1);
	CHECK(machine_sh(&machine, "exit 5") == 5);
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
	CHECK(entries() == 0);
}

/* Modes and owners are no matter of Landlock's. */
static void nothing_of_the_users_is_changed(void)
{
	char path[128], command[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/mine", base);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	machine_boot(&machine);
	snprintf(command, sizeof(command),
		 "mkdir -p /mnt/h; mount -t hostfs none /mnt/h -o %s; "
		 "chmod 4777 /mnt/h/mine; chown 1 /mnt/h/mine; touch -d @1 /mnt/h/mine; true",
		 base);
	CHECK(machine_sh(&machine, command) == 0);
	CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_uid == geteuid());
	CHECK(st.st_mtime > 1);
	evum_vm_free(machine.vm);
	unlink(path);
	close(fd);
}

/* Landlock knows paths, and a path that others write to may lead anywhere. */
static void a_share_is_refused(void)
{
	struct evum_config config;
	struct evum_error error;
	struct evum_vm *vm;

	evum_config_init(&config);
	config.initramfs = machine_initramfs();
	config.shares[0] = (struct evum_share){.host = base, .guest = "/share"};
	config.share_count = 1;
	CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) < 0 && vm == NULL);
	CHECK(strcmp(error.stage, "namespaces") == 0 || strcmp(error.stage, "mounts") == 0);
}

static void roots_machine_is_nobodys(void)
{
	char path[64];
	struct evum_vm_info info;
	struct stat st;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	snprintf(path, sizeof(path), "/proc/%d", info.kernel_pid);
	CHECK(stat(path, &st) == 0 && st.st_uid == 65534);
	evum_vm_free(machine.vm);
}

static void landlock_still_holds(void)
{
	machine_boot(&machine);
	machine_sh(&machine,
		   "mkdir -p /mnt/h; mount -t hostfs none /mnt/h -o /etc; cat /mnt/h/passwd");
	CHECK(machine.out_len == 0);
	evum_vm_free(machine.vm);
	CHECK(entries() == 0);
}

static void bulk_goes_by_the_spool(void)
{
	static const char bytes[60000];
	const char *const argv[] = {"wc", "-c", NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	machine_boot(&machine);
	CHECK(machine_sh(&machine, "dd if=/dev/zero bs=60000 count=1 2>/dev/null") == 0);
	CHECK(machine.out_len == 60000);
	machine.out_len = 0;
	CHECK(evum_program_start(machine.vm, 1000, &program) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_STARTED, 5000) == 0);
	CHECK(evum_program_write(machine.vm, 1000, bytes, sizeof(bytes)) == 0);
	CHECK(evum_program_write(machine.vm, 1000, NULL, 0) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(strcmp(machine.out, "60000\n") == 0);
	CHECK(machine.vm->rings.agent_has && machine.vm->rings.next > 0);
	evum_vm_free(machine.vm);
	CHECK(entries() == 0);
}

/* Kills one process of the machine; the others go by themselves. */
static void kill_one(int which)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	CHECK(kill(which == 0 ? info.init_pid : info.kernel_pid, SIGKILL) == 0);
	machine_wait_down(&machine, EVUM_END_SIGNAL);
	await_end(info.kernel_pid);
}

/* The caller dies with a live machine: the reapers clear up. */
static void a_killed_caller_leaves_nothing(void)
{
	int channel[2];
	pid_t kernel, caller;

	CHECK(pipe(channel) == 0);
	caller = fork();
	if (caller == 0) {
		struct evum_vm_info info;

		machine_boot(&machine);
		evum_vm_info(machine.vm, &info);
		CHECK(write(channel[1], &info.kernel_pid, sizeof(kernel)) == sizeof(kernel));
		raise(SIGKILL);
	}
	CHECK(read(channel[0], &kernel, sizeof(kernel)) == sizeof(kernel));
	CHECK(waitpid(caller, NULL, 0) == caller);
	await_end(kernel);
}

/* What the reapers could not clear, the next machine does: an old directory whose lock is free. */
static void a_directory_left_behind_is_cleared(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/evum-stale1", base);
	CHECK(mkdir(path, 0700) == 0);
	snprintf(path, sizeof(path), "%s/evum-stale1/lock", base);
	CHECK(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
	machine_boot(&machine);
	CHECK(entries() == 1);
	evum_vm_free(machine.vm);
}

static void no_room_for_guest_memory_is_told(void)
{
	struct evum_config config;
	struct evum_error error;
	struct evum_vm *vm;

	evum_config_init(&config);
	config.initramfs = machine_initramfs();
	CHECK(setenv("TMPDIR", "/proc", 1) == 0);
	config.mem = 1u << 30;
	CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) == -ENOMEM);
	CHECK(strcmp(error.stage, "memory") == 0);
	config.mem = 64;
	config.root = EVUM_ROOT_HOST;
	config.binds[0] = "/usr";
	config.bind_count = 1;
	CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) < 0);
	CHECK(strcmp(error.stage, "namespaces") == 0);
}

/* Guest memory is mapped executable; here is no directory where that may be done. */
static int no_executable_memory_is_told(bool unused)
{
	static const char *const bases[] = {"/dev/shm", "/tmp"};
	struct evum_config config;
	struct evum_error error;
	struct evum_vm *vm;

	(void)unused;
	forbid_namespaces(false, CLONE_NEWNS, bases, 2);
	evum_config_init(&config);
	config.initramfs = config.kernel; /* any file: it doesn't get that far */
	CHECK(setenv("TMPDIR", "/dev/shm", 1) == 0);
	CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) < 0);
	CHECK(strcmp(error.stage, "memory") == 0 && strstr(error.text, "noexec"));
	return 0;
}

static int all(bool as_root)
{
	forbid_namespaces(as_root, 0, NULL, 0);
	a_machine_boots_and_stops();
	if (as_root)
		roots_machine_is_nobodys();
	landlock_still_holds();
	bulk_goes_by_the_spool();
	nothing_of_the_users_is_changed();
	a_share_is_refused();
	kill_one(0);
	kill_one(1);
	a_killed_caller_leaves_nothing();
	a_directory_left_behind_is_cleared();
	no_room_for_guest_memory_is_told();
	return 0;
}

/* In a process of its own: what was given up doesn't come back. */
static int in_child(int (*test)(bool), bool as_root)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		exit(test(as_root));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

int main(void)
{
	int status;

	CHECK(mkdtemp(base) && chmod(base, 0777) == 0 && setenv("TMPDIR", base, 1) == 0);
	status = in_child(all, false);
	if (status == 0 && geteuid() == 0)
		status = in_child(all, true);
	if (status == 0)
		status = in_child(no_executable_memory_is_told, false);
	rmdir(base);
	CHECK(access(base, F_OK) < 0);
	return status;
}
