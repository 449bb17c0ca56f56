/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff: what a machine changed of what it was made from
 *
 * Theory of operation.  What an overlay wrote lies in a directory of its own: a file
 * is there whole once it was written to, a removed one as a character device 0:0,
 * and a directory that took another's place is marked as opaque, so that all of the
 * other that isn't in it again was removed.  Two trees are walked side by side.  A
 * file that has the same bytes, mode and owner as before isn't told: it was only touched.
 *
 * Several layers below are put together by an overlay of their own, in a mount
 * namespace that ends with this process.
 */
#define _GNU_SOURCE
#include "diff.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "builtin.h"
#include "disk.h"
#include "files.h"
#include "mount.h"
#include "path.h"

#define PIECE 65536
#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct diff {
	struct path path; /* of what is looked at */
	char upper[PIECE], lower[PIECE];
};

/* The same directory on both sides; lower is -1 where there was none. */
struct level {
	int upper, lower;
	bool opaque; /* nothing of lower shows through */
	int depth;
};

static int walk(struct diff *diff, const struct level *level);

static int tell(const struct diff *diff, char what)
{
	if (putchar(what) < 0 || fwrite(diff->path.text, diff->path.len, 1, stdout) != 1 ||
	    putchar('\0') < 0)
		return EPIPE;
	return 0;
}

static bool is_whiteout(const struct stat *file)
{
	return S_ISCHR(file->st_mode) && file->st_rdev == 0;
}

/* Bytes until there are as many as fit, or the end; -1 with errno. */
static ssize_t read_piece(int fd, char piece[static PIECE])
{
	size_t len = 0;
	ssize_t got = 1;

	while (len < PIECE && got > 0) {
		got = read(fd, piece + len, PIECE - len);
		if (got > 0)
			len += (size_t)got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	return got < 0 ? -1 : (ssize_t)len;
}

/* 1 where both have the same bytes, 0, or -errno. */
static int same_bytes(struct diff *diff, int upper, int lower)
{
	ssize_t got, other;

	do {
		got = read_piece(upper, diff->upper);
		other = got < 0 ? -1 : read_piece(lower, diff->lower);
		if (other < 0)
			return -errno;
		if (got != other || memcmp(diff->upper, diff->lower, (size_t)got) != 0)
			return 0;
	} while (got > 0);
	return 1;
}

static int same_file(struct diff *diff, const struct level *level, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int upper = openat(level->upper, name, flags);
	int lower = openat(level->lower, name, flags);
	int result = upper < 0 || lower < 0 ? -errno : same_bytes(diff, upper, lower);

	if (upper >= 0)
		close(upper);
	if (lower >= 0)
		close(lower);
	return result;
}

static int same_link(struct diff *diff, const struct level *level, const char *name)
{
	ssize_t len = readlinkat(level->upper, name, diff->upper, PIECE);
	ssize_t other = readlinkat(level->lower, name, diff->lower, PIECE);

	if (len < 0 || other < 0)
		return -errno;
	return len == other && memcmp(diff->upper, diff->lower, (size_t)len) == 0;
}

/* 1 where what is there is what was there, 0, or -errno. */
static int same(struct diff *diff, const struct level *level, const char *name,
		const struct stat *file, const struct stat *old)
{
	if (file->st_mode != old->st_mode || file->st_uid != old->st_uid ||
	    file->st_gid != old->st_gid)
		return 0;
	if (S_ISREG(file->st_mode))
		return file->st_size == old->st_size ? same_file(diff, level, name) : 0;
	if (S_ISLNK(file->st_mode))
		return same_link(diff, level, name);
	if (S_ISCHR(file->st_mode) || S_ISBLK(file->st_mode))
		return file->st_rdev == old->st_rdev;
	return 1;
}

static bool is_opaque(int directory)
{
	char value;

	return fgetxattr(directory, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

static int walk_into(struct diff *diff, const struct level *level, const char *name, bool was_there)
{
	struct level inner = {.lower = -1, .depth = level->depth + 1};
	int result;

	if (inner.depth > FILES_DEPTH_MAX)
		return ELOOP;
	inner.upper = openat(level->upper, name, OPEN_DIRECTORY);
	if (inner.upper < 0)
		return errno == ENOENT ? 0 : errno;
	if (was_there)
		inner.lower = openat(level->lower, name, OPEN_DIRECTORY);
	inner.opaque = level->opaque || is_opaque(inner.upper);
	result = was_there && inner.lower < 0 ? errno : walk(diff, &inner);
	close(inner.upper);
	if (inner.lower >= 0)
		close(inner.lower);
	return result;
}

/* Of what an overlay wrote. */
static int tell_written(struct diff *diff, const struct level *level, const char *name)
{
	struct stat file, old;
	bool was_there = level->lower >= 0 &&
			 fstatat(level->lower, name, &old, AT_SYMLINK_NOFOLLOW) == 0;
	int is_same = 0, result;

	if (fstatat(level->upper, name, &file, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : errno;
	if (is_whiteout(&file))
		return was_there ? tell(diff, 'R') : 0;
	if (was_there)
		is_same = same(diff, level, name, &file, &old);
	/* What goes away meanwhile is told next time. */
	if (is_same < 0)
		return is_same == -ENOENT ? 0 : -is_same;
	result = is_same ? 0 : tell(diff, was_there ? 'C' : 'A');
	if (result != 0 || !S_ISDIR(file.st_mode))
		return result;
	return walk_into(diff, level, name, was_there && S_ISDIR(old.st_mode));
}

/* Of what an opaque directory hides: what isn't in it again was removed. */
static int tell_hidden(struct diff *diff, const struct level *level, const char *name)
{
	struct stat file;

	return fstatat(level->upper, name, &file, AT_SYMLINK_NOFOLLOW) < 0 ? tell(diff, 'R') : 0;
}

typedef int entry_handler(struct diff *diff, const struct level *level, const char *name);

static int each_entry(struct diff *diff, const struct level *level, int directory,
		      entry_handler *handle)
{
	int fd = openat(directory, ".", OPEN_DIRECTORY), result = 0;
	DIR *names = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *found;
	size_t mark;

	if (names == NULL) {
		result = errno;
		if (fd >= 0)
			close(fd);
		return result;
	}
	while (result == 0) {
		errno = 0;
		found = readdir(names);
		if (found == NULL) {
			result = errno;
			break;
		}
		if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
			continue;
		mark = path_enter(&diff->path, found->d_name);
		result = handle(diff, level, found->d_name);
		if (result == 0)
			path_back(&diff->path, mark);
	}
	closedir(names);
	return result;
}

static int walk(struct diff *diff, const struct level *level)
{
	int result = each_entry(diff, level, level->upper, tell_written);

	if (result == 0 && level->opaque && level->lower >= 0)
		result = each_entry(diff, level, level->lower, tell_hidden);
	return result;
}

int diff_write(const char *upper, const char *lower)
{
	static struct diff diff;
	struct level top = {.upper = open(upper, OPEN_DIRECTORY),
			    .lower = open(lower, OPEN_DIRECTORY)};
	int result;

	path_start(&diff.path, "");
	result = top.upper < 0 || top.lower < 0 ? errno : walk(&diff, &top);
	if (result == 0 && fflush(stdout) != 0)
		result = EPIPE;
	if (top.upper >= 0)
		close(top.upper);
	if (top.lower >= 0)
		close(top.lower);
	return result == 0 ? 0 : path_report(&diff.path, -result);
}

/* Over the machine's root, which nobody needs in this namespace. */
static int mount_lower(const char *options)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("overlay", ROOT_DIR, "overlay", MS_RDONLY, options) < 0)
		return errno;
	return 0;
}

int diff_main(char **args)
{
	char lower[DISK_LOWER_MAX], options[DISK_LOWER_MAX + sizeof("lowerdir=")];
	int result;

	(void)args;
	if (builtin_boot->config.layers < 2)
		return diff_write(UPPER_DIR "/upper", LOWER_DIR);
	disk_lower(builtin_boot, lower);
	snprintf(options, sizeof(options), "lowerdir=%s", lower);
	result = mount_lower(options);
	return result == 0 ? diff_write(UPPER_DIR "/upper", ROOT_DIR) : result;
}
