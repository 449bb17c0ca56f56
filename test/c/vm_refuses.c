/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can't be started says why, and leaves nothing behind
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "machine.h"

static struct evum_error error;

static int try(const struct evum_config *config)
{
	struct evum_vm *vm;
	int err = evum_vm_start(config, machine_handler, NULL, &vm, &error);

	CHECK(err < 0 && vm == NULL);
	CHECK(error.text[0] != '\0');
	return err;
}

static struct evum_config defaults(void)
{
	struct evum_config config;

	evum_config_init(&config);
	config.initramfs = machine_initramfs();
	return config;
}

static void a_kernel_that_is_none(void)
{
	struct evum_config config = defaults();

	config.kernel = "/bin/sh";
	CHECK(try(&config) == -ENOEXEC && strcmp(error.stage, "kernel") == 0);
	config.kernel = "/nonexistent/linux";
	CHECK(try(&config) == -ENOENT && strstr(error.text, "/nonexistent/linux"));
}

static void an_initramfs_that_is_not_there(void)
{
	struct evum_config config = defaults();

	config.initramfs = "/nonexistent/initramfs";
	CHECK(try(&config) == -ENOENT && strcmp(error.stage, "initramfs") == 0);
}

static void memory_out_of_range(void)
{
	struct evum_config config = defaults();

	config.mem = 16;
	CHECK(try(&config) == -ERANGE && strcmp(error.stage, "config") == 0);
	config.mem = 1u << 30;
	CHECK(try(&config) == -ENOMEM && strcmp(error.stage, "memory") == 0);
}

static void a_host_name_that_is_none(void)
{
	static const char *const names[] = {"", "-x", "x-", "a.b", "a b", "a\nb", "a=b"};
	struct evum_config config = defaults();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		config.hostname = names[i];
		CHECK(try(&config) == -EINVAL);
	}
}

static void a_host_directory_that_is_never_shown(void)
{
	static const char *const paths[] = {"/",    "/proc", "/sys/kernel",
					    "/dev", "etc",   "/nonexistent"};
	struct evum_config config = defaults();

	config.root = EVUM_ROOT_HOST;
	config.bind_count = 1;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		config.binds[0] = paths[i];
		CHECK(try(&config) < 0);
	}
}

static void a_share_that_is_none(void)
{
	static const struct evum_share shares[] = {
		{"/tmp", "relative", 0}, {"/tmp", "/", 0},     {"/tmp", "/a/../b", 0},
		{"/tmp", "/a/..", 0},	 {"/tmp", "/a\"b", 0}, {"/tmp", "/a\nb", 0},
		{"/tmp", "", 0},	 {"/tmp", NULL, 0},    {NULL, "/a", 0},
		{"tmp", "/a", 0},	 {"/proc", "/a", 0},   {"/", "/a", 0},
		{"/dev/shm", "/a", 0},	 {"/bin/sh", "/a", 0}, {"/nonexistent", "/a", 0},
	};
	struct evum_config config = defaults();

	config.share_count = 1;
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		config.shares[0] = shares[i];
		CHECK(try(&config) < 0);
	}
	config.share_count = EVUM_SHARES_MAX + 1;
	CHECK(try(&config) == -E2BIG);
}

static void a_directory_that_nobody_serves(void)
{
	struct evum_config config = defaults();

	config.dir_count = 1;
	config.dirs[0] = (struct evum_dir){.address = "evum-test/nobody", .guest = "/state"};
	CHECK(try(&config) == -ECONNREFUSED && strcmp(error.stage, "dir") == 0);
	config.dirs[0].guest = "state";
	CHECK(try(&config) == -EINVAL);
}

static void a_cpu_that_is_not_ours(void)
{
	struct evum_config config = defaults();

	config.cpu_policy = EVUM_CPU_NUMBER;
	config.cpu = 100000;
	CHECK(try(&config) == -EINVAL);
}

static void a_disk_that_another_machine_writes(void)
{
	char path[] = "/tmp/evum-test-disk-XXXXXX";
	struct evum_config config = defaults();
	struct machine machine;
	int fd = mkstemp(path);

	CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0 && fchmod(fd, 0666) == 0);
	config.disks[0] = (struct evum_disk){.path = path, .writable = 1};
	config.disk_count = 1;
	machine_start(&machine, &config);
	CHECK(try(&config) == -EBUSY && strstr(error.text, path));
	config.disks[0].writable = 0;
	CHECK(try(&config) == -EBUSY);
	evum_vm_free(machine.vm);
	machine_start(&machine, &config);
	evum_vm_free(machine.vm);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(try(&config) == -EINVAL && strcmp(error.stage, "disk") == 0);
	unlink(path);
	close(fd);
}

static unsigned int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	CHECK(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

int main(void)
{
	unsigned int before;

	a_kernel_that_is_none();
	before = open_descriptors();
	an_initramfs_that_is_not_there();
	memory_out_of_range();
	a_host_name_that_is_none();
	a_host_directory_that_is_never_shown();
	a_share_that_is_none();
	a_directory_that_nobody_serves();
	a_cpu_that_is_not_ours();
	a_disk_that_another_machine_writes();
	CHECK(open_descriptors() == before);
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	return 0;
}
