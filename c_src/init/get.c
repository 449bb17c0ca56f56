/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get: a file or a tree becomes a file stream
 *
 * Theory of operation.  A file is read until it ends, whatever size it claims:
 * those of /proc claim none, and a log grows.  Everything is opened relative to
 * its directory and by its own name, so a tree that is changed meanwhile can't
 * lead out of itself.  What went away before it was reached isn't told.  A
 * device, pipe or socket can't be sent and is never opened.
 */
#define _GNU_SOURCE
#include "get.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "files.h"

/* O_NONBLOCK: should a pipe have taken a file's place, nobody waits for its other end. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct get {
	struct path path; /* of what is being sent */
	struct files_writer writer;
};

static int send_entry(struct get *get, const char *name, int type, int directory, int depth);

static int put_header(struct get *get, uint8_t type, const struct stat *file, const char *name)
{
	struct files_entry entry = {
		.type = type,
		.mode = file->st_mode & 07777,
		.uid = file->st_uid,
		.gid = file->st_gid,
		.mtime = file->st_mtime,
	};
	size_t len = strlen(name);

	if (len > FILES_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(entry.name, name, len + 1);
	return files_put_entry(&get->writer, &entry);
}

static int send_bytes(struct get *get, int fd)
{
	uint8_t *room;
	ssize_t got;
	int result;

	do {
		result = files_piece_room(&get->writer, &room);
		if (result < 0)
			return result;
		got = read(fd, room, FILES_PIECE_MAX);
		if (got < 0)
			return -errno;
		files_put_piece(&get->writer, (size_t)got);
	} while (got > 0);
	return 0;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Sends all that is in a directory, which is closed. */
static int send_inside(struct get *get, int fd, int depth)
{
	DIR *directory;
	struct dirent *found;
	size_t mark;
	int result = 0;

	directory = fdopendir(fd);
	if (directory == NULL) {
		result = -errno;
		close(fd);
		return result;
	}
	while (result == 0) {
		errno = 0;
		found = readdir(directory);
		if (found == NULL) {
			result = -errno;
			break;
		}
		if (is_dots(found->d_name))
			continue;
		mark = path_enter(&get->path, found->d_name);
		result = send_entry(get, found->d_name, found->d_type, dirfd(directory), depth + 1);
		if (result == 0)
			path_back(&get->path, mark);
	}
	closedir(directory);
	return result < 0 ? result : files_put_up(&get->writer);
}

/* Sends what fd is, a file or a directory, and closes it. */
static int send_open(struct get *get, int fd, const char *name, int depth)
{
	struct stat file;
	int result;

	if (fstat(fd, &file) < 0)
		result = -errno;
	else if (S_ISDIR(file.st_mode))
		result = depth > FILES_DEPTH_MAX ? -ELOOP
						 : put_header(get, FILES_DIRECTORY, &file, name);
	else if (S_ISREG(file.st_mode))
		result = put_header(get, FILES_FILE, &file, name);
	else
		result = -EOPNOTSUPP;
	if (result == 0 && S_ISDIR(file.st_mode))
		return send_inside(get, fd, depth);
	if (result == 0)
		result = send_bytes(get, fd);
	close(fd);
	return result;
}

static int send_link(struct get *get, const char *name, int directory, const struct stat *file)
{
	char target[FILES_TARGET_MAX + 1];
	ssize_t len;
	int result;

	len = readlinkat(directory, name, target, sizeof(target));
	if (len < 0)
		return errno == ENOENT ? 0 : -errno;
	if ((size_t)len == sizeof(target))
		return -ENAMETOOLONG;
	target[len] = '\0';
	result = put_header(get, FILES_LINK, file, name);
	return result < 0 ? result : files_put_target(&get->writer, target);
}

static int send_named(struct get *get, const char *name, int directory, int depth)
{
	int fd = openat(directory, name, OPEN_FLAGS | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return send_open(get, fd, name, depth);
}

/* Sends what directory has under name; type is what the directory says of it. */
static int send_entry(struct get *get, const char *name, int type, int directory, int depth)
{
	struct stat file;

	if (type == DT_REG || type == DT_DIR)
		return send_named(get, name, directory, depth);
	if (fstatat(directory, name, &file, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(file.st_mode))
		return send_link(get, name, directory, &file);
	if (S_ISREG(file.st_mode) || S_ISDIR(file.st_mode))
		return send_named(get, name, directory, depth);
	return -EOPNOTSUPP;
}

static int send_top(struct get *get, const char *path)
{
	struct stat file;
	int fd;

	if (stat(path, &file) < 0)
		return -errno;
	if (!S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode))
		return -EOPNOTSUPP;
	fd = open(path, OPEN_FLAGS);
	return fd < 0 ? -errno : send_open(get, fd, "", 1);
}

int get_main(char **args)
{
	static struct get get;
	int result;

	path_start(&get.path, args[0]);
	files_write(&get.writer, STDOUT_FILENO);
	result = send_top(&get, args[0]);
	if (result == 0)
		result = files_put_end(&get.writer);
	return result == 0 ? 0 : path_report(&get.path, result);
}
