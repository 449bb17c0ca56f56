/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's root reads and writes nothing of the host that it was not given
 */
#include <sys/stat.h>

#include "machine.h"

static struct machine machine;

/* True when the command prints nothing and fails, or prints text. */
static bool says(const char *command, const char *text)
{
	machine_sh(&machine, command);
	return strstr(machine.out, text) != NULL;
}

static void hostfs_shows_the_jail_and_no_more(void)
{
	CHECK(machine_sh(&machine, "mkdir -p /mnt/h") == 0);
	/* With the root itself Landlock refuses even to list it. */
	machine_sh(&machine, "mount -t hostfs none /mnt/h -o /; ls /mnt/h; cat /mnt/h/etc/passwd");
	CHECK(!strstr(machine.out, "root:"));
	machine_sh(&machine, "umount /mnt/h; mount -t hostfs none /mnt/h -o ../../../..; "
			     "cat /mnt/h/etc/passwd /mnt/h/etc/hostname /mnt/h/proc/version");
	CHECK(machine.out_len == 0);
	machine_sh(&machine, "umount /mnt/h");
}

static void the_kernel_and_the_initramfs_cannot_be_written(void)
{
	machine_sh(&machine,
		   "mount -t hostfs none /mnt/h -o /modules && touch /mnt/h/x && echo no");
	CHECK(!strstr(machine.out, "no"));
	machine_sh(&machine, "umount /mnt/h");
}

static void links_cannot_be_made_in_the_run_directory(void)
{
	CHECK(machine_sh(&machine, "mount -t hostfs none /mnt/h -o /run") == 0);
	CHECK(!says("ln -s /etc/passwd /mnt/h/link && echo made", "made"));
	CHECK(!says("mknod /mnt/h/null c 1 3 && echo made", "made"));
	CHECK(machine_sh(&machine, "umount /mnt/h") == 0);
}

static void the_management_console_cannot_name_a_host_file(void)
{
	struct stat st;

	CHECK(stat("/etc/shadow", &st) == 0);
	CHECK(evum_mconsole(machine.vm, 1, "config ubd3=/etc/shadow") == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_REPLY, 2000) == 0);
	CHECK(!says("head -c 5 /dev/ubdd && echo read", "read"));
}

static void the_jail_is_what_it_says(void)
{
	struct evum_vm_info info;

	evum_vm_info(machine.vm, &info);
	CHECK(info.confined);
	CHECK(info.landlock_abi > 0);
}

/* The namespaces of the kernel's process are not ours. */
static void no_namespace_is_shared(void)
{
	static const char *const kinds[] = {"user", "pid", "mnt", "net", "ipc", "uts"};
	char path[64], ours[64], theirs[64];
	struct evum_vm_info info;

	evum_vm_info(machine.vm, &info);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memset(ours, 0, sizeof(ours));
		memset(theirs, 0, sizeof(theirs));
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		CHECK(readlink(path, ours, sizeof(ours) - 1) > 0);
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", info.init_pid, kinds[i]);
		CHECK(readlink(path, theirs, sizeof(theirs) - 1) > 0);
		CHECK(strcmp(ours, theirs) != 0);
	}
}

/* A set-uid bit there would be a program of the guest's with the disk's owner's rights. */
static void the_mode_of_a_disk_is_the_hosts(void)
{
	char path[] = "/tmp/evum-test-disk-XXXXXX";
	struct evum_config config;
	int fd = mkstemp(path);
	struct stat st;

	CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0 && fchmod(fd, 0666) == 0);
	evum_config_init(&config);
	config.disks[0] = (struct evum_disk){.path = path, .writable = 1};
	config.disk_count = 1;
	machine_start(&machine, &config);
	CHECK(evum_vm_wait(machine.vm, EVUM_UP, 20000) == 0);
	CHECK(machine_sh(&machine, "mkdir -p /mnt/h && mount -t hostfs none /mnt/h -o /") == 0);
	CHECK(machine_sh(&machine, "chmod 4755 /mnt/h/disk0") != 0);
	CHECK(machine_sh(&machine, "chown 1 /mnt/h/disk0") != 0);
	CHECK(machine_sh(&machine, "echo written > /dev/ubda") == 0);
	CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0666 && st.st_uid == geteuid());
	evum_vm_free(machine.vm);
	unlink(path);
	close(fd);
}

static void the_hosts_files_are_there_and_cannot_be_changed(void)
{
	struct evum_config config;

	evum_config_init(&config);
	config.root = EVUM_ROOT_HOST;
	config.binds[0] = "/usr";
	config.binds[1] = "/etc";
	config.bind_count = 2;
	config.mem = 128;
	machine_start(&machine, &config);
	CHECK(evum_vm_wait(machine.vm, EVUM_UP, 20000) == 0);
	CHECK(machine_sh(&machine, "test -x /usr/bin/dpkg && ls /bin/sh") == 0);
	CHECK(machine_sh(&machine, "echo changed > /etc/evum-test && cat /etc/evum-test") == 0);
	CHECK(access("/etc/evum-test", F_OK) < 0);
	CHECK(machine_sh(&machine, "cat /etc/shadow") != 0);
	CHECK(machine.out_len == 0);
	CHECK(machine_sh(&machine, "ls /") == 0);
	CHECK(strstr(machine.out, "usr\n") && strstr(machine.out, "bin\n"));
	CHECK(machine_sh(&machine, "find /home /srv -mindepth 1 2>/dev/null | grep .") != 0);
	CHECK(machine_sh(&machine, "test -e /root/.bashrc || test -e /root/.profile") != 0);
	/* Below the overlay, too. */
	CHECK(machine_sh(&machine, "mkdir -p /mnt/h && "
				   "/evum/bin/mount -t hostfs none /mnt/h -o /host/etc") == 0);
	machine_sh(&machine, "cat /mnt/h/shadow; touch /mnt/h/evum-test && echo wrote");
	CHECK(machine.out_len == 0);
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
}

int main(void)
{
	machine_boot(&machine);
	the_jail_is_what_it_says();
	no_namespace_is_shared();
	hostfs_shows_the_jail_and_no_more();
	the_kernel_and_the_initramfs_cannot_be_written();
	links_cannot_be_made_in_the_run_directory();
	the_management_console_cannot_name_a_host_file();
	evum_vm_free(machine.vm);
	the_mode_of_a_disk_is_the_hosts();
	the_hosts_files_are_there_and_cannot_be_changed();
	return 0;
}
