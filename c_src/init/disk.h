/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: a machine's disks, and the layers over one of them
 */
#ifndef EVUM_INIT_DISK_H
#define EVUM_INIT_DISK_H

#include "boot.h"

#define FILESYSTEMS_MAX 4096

/* /proc/filesystems, NUL-terminated.  0 or -errno. */
int disk_read_filesystems(char text[static FILESYSTEMS_MAX]);

/* Mounts the first disk as whatever the kernel can read.  0, or -1 and a boot error. */
int disk_mount(struct boot *boot, const char *where, unsigned long flags);

/*
 * Puts the layers over the first disk, at ROOT_DIR: the last one is written to, and
 * stays at UPPER_DIR.  0, or -1 and a boot error.
 */
int disk_mount_layers(struct boot *boot);

/*
 * What the last layer lies over, as an overlay's lowerdir: what only the read layers
 * and the disk hold.  With at least one layer; outside the machine's own mount
 * namespace.
 */
#define DISK_LOWER_MAX 512
void disk_lower(const struct boot *boot, char text[static DISK_LOWER_MAX]);

#endif
