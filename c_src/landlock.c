/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: which files the kernel's process may touch, and nothing else
 *
 * hostfs doesn't confine: a guest's root mounts any host path with ".." in it.
 * The private root already leaves nothing to find there; this stage holds where
 * that one can't be had, and takes the rest away: links, devices, TCP, abstract
 * sockets and signals to processes outside.
 */
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

/* Newer than some headers; the kernel's version decides whether they are used. */
#define FS_TRUNCATE (1ULL << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define NET_TCP 3ULL		  /* ABI 4: bind and connect */
#define SCOPES 3ULL		  /* ABI 6: abstract sockets and signals */

struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* from ABI 4 on */
	uint64_t scoped;	     /* from ABI 6 on */
};

#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define WRITE_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

static const uint64_t grants[] = {
	[LANDLOCK_EXECUTE] = LANDLOCK_ACCESS_FS_EXECUTE | READ_FILE,
	[LANDLOCK_READ] = READ_FILE,
	[LANDLOCK_WRITE] = WRITE_FILE,
	[LANDLOCK_TREE] = READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	[LANDLOCK_RUN] = WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
			 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
			 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR,
	/* No symbolic links: programs of the host that follow one would be led by the guest. */
	[LANDLOCK_SHARE] = WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
			   LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
			   LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER,
};

/* The rights that exist in a version of the interface. */
static uint64_t rights_of(int abi)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= FS_TRUNCATE;
	if (abi >= 5)
		rights |= FS_IOCTL_DEV;
	return rights;
}

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

int landlock_open(int abi, enum landlock_net net)
{
	struct ruleset_attr attr = {
		.handled_access_fs = rights_of(abi),
		.handled_access_net = abi >= 4 && net == LANDLOCK_NO_NET ? NET_TCP : 0,
		.scoped = abi >= 6 ? SCOPES : 0,
	};
	size_t size = abi >= 6	 ? sizeof(attr)
		      : abi >= 4 ? offsetof(struct ruleset_attr, scoped)
				 : offsetof(struct ruleset_attr, handled_access_net);
	long fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);

	return fd < 0 ? -errno : (int)fd;
}

int landlock_allow(int ruleset, int abi, const char *path, enum landlock_grant grant)
{
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {
		.allowed_access = grants[grant] & rights_of(abi),
		.parent_fd = fd,
	};

	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

int landlock_enter(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
