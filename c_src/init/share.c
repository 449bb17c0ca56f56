/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: the host's directories that the machine has
 *
 * hostfs confines nothing: a machine's root may mount any path of the jail's, with
 * ".." in it too.  What is read-only, and where the end of the world is, the jail
 * says; the flags here are for who asks.
 */
#define _GNU_SOURCE
#include "share.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "argv.h"

int share_make_path(const char *path)
{
	char part[BOOT_PATH_MAX + 1];
	size_t len = strnlen(path, sizeof(part));
	char *slash = part;

	if (len == sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(part, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int mount_one(unsigned int number, const struct boot_share *share)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | (share->rw ? 0 : MS_RDONLY);
	char source[sizeof(ARGV_SHARE) + 2];
	int result = share_make_path(share->path);

	if (result < 0)
		return result;
	snprintf(source, sizeof(source), ARGV_SHARE "%u", number);
	return mount(source, share->path, "hostfs", flags, source) < 0 ? -errno : 0;
}

int share_mount(struct boot *boot)
{
	for (unsigned int i = 0; i < BOOT_SHARES_MAX; i++) {
		const struct boot_share *share = &boot->config.shares[i];
		int result = share->path[0] != '\0' ? mount_one(i, share) : 0;

		if (result < 0)
			return boot_error(boot, "cannot mount a share at %.100s: %s", share->path,
					  strerror(-result));
	}
	return 0;
}
