/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount: the file systems of a machine
 *
 * Theory of operation.  The guardian stays on the initramfs.  Another root is
 * put together at ROOT_DIR: a disk, or a read-only disk or the host's files
 * under an overlay whose upper side is guest memory.  The inner init, which
 * has a mount namespace of its own, moves it to /.  The guardian keeps its own
 * view of it, so that at the end it can make the disk's file system read-only,
 * which writes out the journal, whatever the machine's init left mounted.
 */
#define _GNU_SOURCE
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "dir.h"
#include "disk.h"
#include "module.h"
#include "share.h"

#define MODULES_DIR WORK_DIR "/modules"
#define UNSEEN_DIR WORK_DIR "/unseen"

#define JAIL_HOST "/host" /* the jail shows the host's files there */
#define APPLETS "/evum"	  /* in a host root: the initramfs, for busybox */

struct api_mount {
	const char *type;
	const char *where;
	const char *options;
	unsigned long flags;
	mode_t mode;
};

#define NO_PROGRAMS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* What every root gets.  A failure is the machine's loss and not the boot's end. */
static const struct api_mount api_mounts[] = {
	{"proc", "/proc", "", NO_PROGRAMS, 0755},
	{"sysfs", "/sys", "", NO_PROGRAMS, 0755},
	{"devtmpfs", "/dev", "mode=755", MS_NOSUID, 0755},
	{"devpts", "/dev/pts", "mode=620,gid=5,ptmxmode=666", MS_NOSUID | MS_NOEXEC, 0755},
	{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, 01777},
	{"tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV, 0755},
};

/* What a root that is not a disk gets besides. */
static const struct api_mount own_mounts[] = {
	{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV, 01777},
};
static const struct api_mount host_mounts[] = {
	{"tmpfs", "/root", "mode=700", MS_NOSUID | MS_NODEV, 0700},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Mounts table under root, a path without a slash at its end. */
static void mount_table(const char *root, const struct api_mount *table, size_t count)
{
	char where[64];

	for (; count > 0; count--, table++) {
		snprintf(where, sizeof(where), "%s%s", root, table->where);
		(void)mkdir(where, table->mode);
		(void)mount(table->type, where, table->type, table->flags, table->options);
	}
}

int mount_first(void)
{
	(void)mkdir("/proc", 0755);
	(void)mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", NO_PROGRAMS, "") < 0)
		return -errno;
	if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755") < 0)
		return -errno;
	return 0;
}

static bool kernel_has_overlay(void)
{
	char text[FILESYSTEMS_MAX] = "";

	return disk_read_filesystems(text) == 0 && strstr(text, "\toverlay\n") != NULL;
}

/* Overlays are a module in Debian's kernel. */
static int need_overlay(struct boot *boot)
{
	struct utsname kernel;
	int result;

	if (kernel_has_overlay())
		return 0;
	if (!boot->config.modules)
		return boot_error(boot, "this kernel has no overlay file system built in, "
					"and no modules were given");
	(void)mkdir(MODULES_DIR, 0755);
	result = module_load(MODULES_DIR, "fs/overlayfs/overlay.ko");
	if (result == 0)
		return 0;
	(void)uname(&kernel);
	return boot_error(boot, "cannot load the overlay module of Linux %s: %s", kernel.release,
			  strerror(-result));
}

/* Puts guest memory over LOWER_DIR, at ROOT_DIR. */
static int mount_overlay(struct boot *boot, unsigned long flags)
{
	static const char options[] = "lowerdir=" LOWER_DIR ",upperdir=" UPPER_DIR
				      "/upper,workdir=" UPPER_DIR "/work";

	(void)mkdir(UPPER_DIR, 0755);
	if (mount("tmpfs", UPPER_DIR, "tmpfs", 0, "mode=755") < 0)
		return boot_error(boot, "cannot mount tmpfs: %s", strerror(errno));
	(void)mkdir(UPPER_DIR "/upper", 0755);
	(void)mkdir(UPPER_DIR "/work", 0755);
	if (mount("overlay", ROOT_DIR, "overlay", flags, options) < 0)
		return boot_error(boot, "cannot mount the overlay: %s", strerror(errno));
	return 0;
}

static int root_on_disk(struct boot *boot)
{
	(void)mkdir(WORK_DIR, 0755);
	(void)mkdir(ROOT_DIR, 0755);
	if (boot->config.rw)
		return disk_mount(boot, ROOT_DIR, 0);
	if (need_overlay(boot) < 0)
		return -1;
	if (boot->config.layers > 0)
		return disk_mount_layers(boot);
	(void)mkdir(LOWER_DIR, 0755);
	if (disk_mount(boot, LOWER_DIR, MS_RDONLY) < 0)
		return -1;
	return mount_overlay(boot, 0);
}

/*
 * To an ordinary user's machine the host's root is nobody (65534), in its set-uid
 * programs as well: without nosuid "mount" would make guest root a nobody.
 */
static unsigned long host_flags(void)
{
	struct stat st;

	return stat(LOWER_DIR "/usr/bin", &st) == 0 && st.st_uid == 0 ? 0 : MS_NOSUID;
}

static int root_of_host(struct boot *boot)
{
	(void)mkdir(WORK_DIR, 0755);
	(void)mkdir(ROOT_DIR, 0755);
	(void)mkdir(LOWER_DIR, 0755);
	if (need_overlay(boot) < 0)
		return -1;
	if (mount("none", LOWER_DIR, "hostfs", MS_RDONLY, JAIL_HOST) < 0)
		return boot_error(boot, "cannot see the host's files: %s", strerror(errno));
	if (mount_overlay(boot, host_flags()) < 0)
		return -1;
	if (access(ROOT_DIR "/bin/bash", X_OK) == 0)
		boot->shell = "/bin/bash";
	boot->shell_edits = strcmp(boot->shell, "/bin/bash") == 0;
	boot->path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" APPLETS
		     "/bin:" APPLETS "/sbin:" APPLETS "/usr/bin:" APPLETS "/usr/sbin";
	return 0;
}

int mount_root(struct boot *boot)
{
	switch (boot->config.root) {
	case BOOT_DISK:
		return root_on_disk(boot);
	case BOOT_HOST:
		return root_of_host(boot);
	case BOOT_INITRAMFS:
		break;
	}
	return 0;
}

/* Where there is one of that name already, it stays. */
static void make_link(const char *target, const char *path)
{
	(void)!symlink(target, path);
}

/*
 * The host's power-off programs talk to an init that isn't there, so busybox's
 * cover them; and readline's bracketed paste would put escapes on every line.
 */
static void furnish_host(void)
{
	static const char *const names[] = {"halt", "poweroff", "reboot"};
	static const char inputrc[] = "set enable-bracketed-paste off\n";
	char path[64];
	size_t i;
	int fd;

	for (i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "/usr/sbin/%s", names[i]);
		(void)unlink(path);
		make_link(APPLETS "/bin/busybox", path);
	}
	fd = open("/root/.inputrc", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0) {
		(void)!write(fd, inputrc, sizeof(inputrc) - 1);
		close(fd);
	}
}

static void link_dev(void)
{
	make_link("/proc/self/fd", "/dev/fd");
	make_link("/proc/self/fd/0", "/dev/stdin");
	make_link("/proc/self/fd/1", "/dev/stdout");
	make_link("/proc/self/fd/2", "/dev/stderr");
}

/* The initramfs stays the root; the guardian's /proc, which shows its processes, goes. */
static int enter_initramfs(void)
{
	(void)umount2("/proc", MNT_DETACH);
	(void)umount2("/dev", MNT_DETACH);
	mount_table("", api_mounts, COUNT(api_mounts));
	mount_table("", own_mounts, COUNT(own_mounts));
	return 0;
}

/*
 * A disk's own init would set the name of the machine that the image was made
 * from.  What is under an overlay is written over; a disk of one's own keeps
 * what is on it.
 */
static void name_host(const struct boot *boot)
{
	const char *name = boot->config.hostname;
	int fd;

	if (boot->config.root != BOOT_DISK || boot->config.rw)
		return;
	/* The image may have anything of that name, and opening it mustn't block. */
	fd = open("/etc/hostname", O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", name);
	close(fd);
}

static int enter_other(struct boot *boot)
{
	mount_table(ROOT_DIR, api_mounts, COUNT(api_mounts));
	/* Where a dist's own init puts its first login prompt. */
	(void)mount(ROOT_DIR "/dev/tty0", ROOT_DIR "/dev/tty1", NULL, MS_BIND, NULL);
	if (boot->config.root == BOOT_HOST) {
		mount_table(ROOT_DIR, own_mounts, COUNT(own_mounts));
		mount_table(ROOT_DIR, host_mounts, COUNT(host_mounts));
		(void)mkdir(ROOT_DIR APPLETS, 0755);
		(void)mount("/", ROOT_DIR APPLETS, NULL, MS_BIND, NULL);
		(void)mount(NULL, ROOT_DIR APPLETS, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
	}
	if (chdir(ROOT_DIR) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return boot_error(boot, "cannot enter the root: %s", strerror(errno));
	if (boot->config.root == BOOT_HOST)
		furnish_host();
	name_host(boot);
	return 0;
}

int mount_enter(struct boot *boot)
{
	int result;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return boot_error(boot, "cannot make mounts private: %s", strerror(errno));
	result = boot->config.root == BOOT_INITRAMFS ? enter_initramfs() : enter_other(boot);
	link_dev();
	result = result < 0 ? result : share_mount(boot);
	return result < 0 ? result : dir_mount(boot);
}

int mount_unseen(const char *type, const char *options)
{
	int root = -1;

	(void)mkdir(WORK_DIR, 0755);
	(void)mkdir(UNSEEN_DIR, 0700);
	if (mount("none", UNSEEN_DIR, type, NO_PROGRAMS, options) == 0) {
		root = open(UNSEEN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		(void)umount2(UNSEEN_DIR, MNT_DETACH);
	}
	/* The machine sees the folders of the initramfs. */
	(void)rmdir(UNSEEN_DIR);
	(void)rmdir(WORK_DIR);
	return root;
}

void mount_finish(const struct boot *boot)
{
	sync();
	if (boot->config.root != BOOT_DISK)
		return;
	if (boot->config.rw)
		(void)mount(NULL, ROOT_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	else if (boot->config.layers > 0)
		(void)mount(NULL, UPPER_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL);
}
