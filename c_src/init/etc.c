/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etc: files of the machine's /etc get other contents, and no disk is changed
 *
 * Theory of operation.  In the initramfs and on an overlay /etc is guest memory,
 * and whatever an image has under the name, a link too, is replaced by a file.
 *
 * On a disk that is written to, what is on it stays.  A file that lies in memory
 * already is written to: one that was mounted over the disk's by an earlier call,
 * or one that a link of the image leads to, as systemd-resolved has it.  Such a
 * link may lead to nothing before that program has started; if it leads below
 * /run, what is missing there is made.  Over any other file one of RUN_DIR is
 * mounted.  A file that is missing can't be had without changing the disk.
 *
 * The image is the machine's own: its links can only mislead its own names.
 * Nothing that is opened here may block, though, whatever the image has there.
 */
#define _GNU_SOURCE
#include "etc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "temporary.h"

#define RUN "/run/"
#define RUN_DIR RUN "evum"
#define OPEN_SAFELY (O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define MODE_FILE 0644
#define MODE_DIRECTORY 0755

/* Closes fd; 0 where it is a regular file and all of text is what it holds. */
static int fill(int fd, const char *text, size_t len)
{
	int result = 0;

	if (pwrite(fd, text, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)len) < 0)
		result = errno != 0 ? -errno : -EIO;
	if (close(fd) < 0 && result == 0)
		result = -errno;
	return result;
}

static bool is_regular(int fd)
{
	struct stat file;

	return fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
}

static bool is_in_memory(int fd)
{
	struct statfs system;

	return fstatfs(fd, &system) == 0 &&
	       (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
}

/* --- a new file in the place of what is there -------------------------------- */

static int replace(const char *path, const char *text, size_t len)
{
	uint64_t seed = temporary_seed();
	char name[TEMPORARY_NAME], beside[PATH_MAX];
	int fd, result;

	temporary_name(&seed, name);
	snprintf(beside, sizeof(beside), "%.*s/%s", (int)(strrchr(path, '/') - path), path, name);
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE_FILE);
	if (fd < 0)
		return -errno;
	errno = 0;
	result = fill(fd, text, len);
	if (result == 0 && rename(beside, path) < 0)
		result = -errno;
	if (result < 0)
		(void)unlink(beside);
	return result;
}

/* Makes the directories of path, a file's; one that is there is no error. */
static int make_directories(const char *path)
{
	char part[PATH_MAX];
	const char *end = path;

	if (strlen(path) >= sizeof(part))
		return -ENAMETOOLONG;
	while ((end = strchr(end + 1, '/')) != NULL) {
		snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
		if (mkdir(part, MODE_DIRECTORY) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static bool is_memory(const char *directory)
{
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool memory = fd >= 0 && is_in_memory(fd);

	if (fd >= 0)
		close(fd);
	return memory;
}

int etc_write_memory(const char *path, const char *text, size_t len)
{
	int result;

	if (!is_memory(RUN))
		return -EROFS;
	result = make_directories(path);
	return result < 0 ? result : replace(path, text, len);
}

/* --- over a disk --------------------------------------------------------------- */

/* Fills where with the file below /run that path, a link, leads to; false where it does not. */
static bool leads_to_run(const char *path, char where[static PATH_MAX])
{
	static const char *const starts[] = {RUN, "../run/", "/var/run/", "../var/run/"};
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	size_t i, start;

	target[len > 0 ? len : 0] = '\0';
	for (i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		start = strlen(starts[i]);
		if (strncmp(target, starts[i], start) != 0 || strstr(target + start, "..") != NULL)
			continue;
		snprintf(where, PATH_MAX, RUN "%.*s", PATH_MAX - (int)sizeof(RUN), target + start);
		return true;
	}
	return false;
}

/* Mounts a file of RUN_DIR with that text over the one that fd is open on. */
static int cover(int fd, const char *path, const char *text, size_t len)
{
	char own[PATH_MAX], target[32];
	int result;

	snprintf(own, sizeof(own), RUN_DIR "%s", strrchr(path, '/'));
	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	result = etc_write_memory(own, text, len);
	if (result == 0 && mount(own, target, NULL, MS_BIND, NULL) < 0)
		result = -errno;
	return result;
}

static int write_over_disk(const char *path, const char *text, size_t len)
{
	char where[PATH_MAX];
	int fd = open(path, O_WRONLY | OPEN_SAFELY);
	int result;

	if (fd < 0)
		return errno == ENOENT && leads_to_run(path, where)
			       ? etc_write_memory(where, text, len)
			       : -errno;
	if (is_regular(fd) && is_in_memory(fd))
		return fill(fd, text, len);
	result = is_regular(fd) ? cover(fd, path, text, len) : -EINVAL;
	close(fd);
	return result;
}

int etc_write(const char *path, bool keep, const char *text, size_t len)
{
	return keep ? write_over_disk(path, text, len) : replace(path, text, len);
}

size_t etc_read(const char *path, char *text, size_t max)
{
	int fd = open(path, O_RDONLY | OPEN_SAFELY);
	ssize_t len = -1;

	if (fd < 0)
		return 0;
	if (is_regular(fd))
		len = read(fd, text, max);
	close(fd);
	return len > 0 ? (size_t)len : 0;
}
