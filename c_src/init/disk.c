/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: a machine's disks, and the layers over one of them
 *
 * Theory of operation.  The first disk is a file system, read-only.  Each layer
 * over it is an ext4 with two folders, "upper" and "work"; the last layer's are
 * where an overlay writes, those of the others are only read.  The overlay's
 * features that change what a layer holds are off, so that a layer that was written
 * to once can be read from later.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount.h"

#define DEVICE_MAX 16
#define LAYER_BLOCK 4096u
#define SUPERBLOCK 1024 /* where an ext4 has it */

/* ext4's own, which <linux/fs.h> lacks. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/*
 * Tables of inodes that hold none are left unwritten, so that the host's file stays
 * sparse; what is freed is given back to it.
 */
#define LAYER_OPTIONS "noinit_itable,discard,errors=remount-ro"
#define OVERLAY_OPTIONS "index=off,metacopy=off,xino=off,redirect_dir=off"

static void name_device(unsigned int number, char device[static DEVICE_MAX])
{
	snprintf(device, DEVICE_MAX, "/dev/ubd%c", (char)('a' + number));
}

int disk_read_filesystems(char text[static FILESYSTEMS_MAX])
{
	int fd = open("/proc/filesystems", O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, text, FILESYSTEMS_MAX - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return 0;
}

/* Tries one type; the kernel's answer to a wrong one is EINVAL. */
static int try_type(const char *type, const char *where, unsigned long flags, int *result)
{
	char device[DEVICE_MAX];

	name_device(0, device);
	if (mount(device, where, type, flags, "") == 0)
		return 0;
	if (errno != EINVAL || *result == 0)
		*result = -errno;
	return -1;
}

/* ext4 goes first, as ext2 would take it too. */
int disk_mount(struct boot *boot, const char *where, unsigned long flags)
{
	char text[FILESYSTEMS_MAX] = "";
	char *line, *rest = text;
	int result = 0;

	if (try_type("ext4", where, flags, &result) == 0)
		return 0;
	(void)disk_read_filesystems(text);
	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] == '\t' && try_type(line + 1, where, flags, &result) == 0)
			return 0;
	if (result == -EROFS)
		return boot_error(boot, "the disk wasn't unmounted cleanly and can't be repaired "
					"read-only: boot it once with {access, rw}, or fsck it");
	return boot_error(boot, "cannot mount the disk /dev/ubda: %s", strerror(-result));
}

static int mount_layer(struct boot *boot, unsigned int number, const char *where,
		       unsigned long flags)
{
	char device[DEVICE_MAX];

	name_device(number, device);
	(void)mkdir(where, 0755);
	if (mount(device, where, "ext4", flags, LAYER_OPTIONS) == 0)
		return 0;
	return boot_error(boot, "cannot mount layer %u of the disk: %s", number, strerror(errno));
}

/* Blocks of the ext4 on a device, as its superblock has it; 0 where that can't be read. */
static uint64_t count_blocks(int device)
{
	uint32_t low, high;

	if (pread(device, &low, sizeof(low), SUPERBLOCK + 0x4) != sizeof(low) ||
	    pread(device, &high, sizeof(high), SUPERBLOCK + 0x150) != sizeof(high))
		return 0;
	return (uint64_t)le32toh(high) << 32 | le32toh(low);
}

/*
 * A layer is made smaller than its file: it grows when it is mounted first.  Later it
 * isn't tried: after an error, as of a host's disk that was full, ext4 refuses even
 * that which changes nothing.
 */
static int grow(struct boot *boot, unsigned int number, const char *where)
{
	char name[DEVICE_MAX];
	uint64_t bytes = 0, blocks;
	int device, root, result = 0;

	name_device(number, name);
	device = open(name, O_RDONLY | O_CLOEXEC);
	root = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (device < 0 || root < 0 || ioctl(device, BLKGETSIZE64, &bytes) < 0)
		result = -errno;
	blocks = bytes / LAYER_BLOCK;
	if (result == 0 && count_blocks(device) != blocks &&
	    ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		result = -errno;
	close(device);
	close(root);
	if (result == 0)
		return 0;
	return boot_error(boot, "the layer can't grow to its size: %s", strerror(-result));
}

void disk_lower(const struct boot *boot, char text[static DISK_LOWER_MAX])
{
	size_t used = 0;

	for (unsigned int i = boot->config.layers - 1; i > 0; i--)
		used += (size_t)snprintf(text + used, DISK_LOWER_MAX - used,
					 LOWER_DIR "%u/upper:", i);
	snprintf(text + used, DISK_LOWER_MAX - used, LOWER_DIR);
}

static int mount_lower(struct boot *boot)
{
	char where[sizeof(LOWER_DIR "15")];

	for (unsigned int i = 1; i < boot->config.layers; i++) {
		snprintf(where, sizeof(where), LOWER_DIR "%u", i % 100);
		if (mount_layer(boot, i, where, MS_RDONLY) < 0)
			return -1;
	}
	(void)mkdir(LOWER_DIR, 0755);
	return disk_mount(boot, LOWER_DIR, MS_RDONLY);
}

int disk_mount_layers(struct boot *boot)
{
	unsigned int top = boot->config.layers;
	char lower[DISK_LOWER_MAX], options[DISK_LOWER_MAX + 256];

	if (mount_lower(boot) < 0 || mount_layer(boot, top, UPPER_DIR, 0) < 0 ||
	    grow(boot, top, UPPER_DIR) < 0)
		return -1;
	(void)mkdir(UPPER_DIR "/upper", 0755);
	(void)mkdir(UPPER_DIR "/work", 0755);
	disk_lower(boot, lower);
	snprintf(options, sizeof(options),
		 OVERLAY_OPTIONS ",lowerdir=%s,upperdir=" UPPER_DIR "/upper,workdir=" UPPER_DIR
				 "/work",
		 lower);
	if (mount("overlay", ROOT_DIR, "overlay", 0, options) == 0)
		return 0;
	return boot_error(boot, "cannot put the layers over the disk: %s", strerror(errno));
}
