/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve: a path to the directory and the name that it ends in
 */
#define _GNU_SOURCE
#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define AT_DIRECTORY (O_PATH | O_DIRECTORY | O_CLOEXEC)

static bool is_dots(const char *name, size_t len)
{
	return (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

static size_t without_slashes(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] == '/')
		len--;
	return len;
}

/* Opens the directory that is the first len bytes of path, from the place's on. */
static int enter(struct place *place, const char *path, size_t len)
{
	char text[PATH_MAX];
	int fd;

	memcpy(text, path, len);
	text[len] = '\0';
	fd = openat(place->directory, len > 0 ? text : ".", AT_DIRECTORY);
	if (fd < 0)
		return -errno;
	if (place->directory >= 0)
		close(place->directory);
	place->directory = fd;
	return 0;
}

/* One step: path is relative to the place, which becomes where its last name is. */
static int step(struct place *place, const char *path, bool directory)
{
	size_t full = strlen(path), end = without_slashes(path, full), start = end;

	if (full == 0)
		return -ENOENT;
	if (full >= PATH_MAX)
		return -ENAMETOOLONG;
	while (start > 0 && path[start - 1] != '/')
		start--;
	if (!directory && (end < full || is_dots(path + start, end - start)))
		return -EISDIR;
	if (end == 0 || is_dots(path + start, end - start)) {
		memcpy(place->name, ".", 2);
		return enter(place, path, full);
	}
	if (end - start > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(place->name, path + start, end - start);
	place->name[end - start] = '\0';
	return enter(place, path, start);
}

static int follow_links(struct place *place, bool directory)
{
	char target[PATH_MAX];
	ssize_t len;
	int links, result;

	for (links = 0; links < RESOLVE_LINKS_MAX; links++) {
		len = readlinkat(place->directory, place->name, target, sizeof(target));
		if (len < 0) /* no link, or nothing */
			return errno == EINVAL || errno == ENOENT ? 0 : -errno;
		if ((size_t)len == sizeof(target))
			return -ENAMETOOLONG;
		target[len] = '\0';
		result = step(place, target, directory);
		if (result < 0)
			return result;
	}
	return -ELOOP;
}

int resolve_place(const char *path, bool follow, bool directory, struct place *place)
{
	int result;

	place->directory = AT_FDCWD;
	result = step(place, path, directory);
	if (result == 0 && follow)
		result = follow_links(place, directory);
	if (result < 0 && place->directory >= 0)
		close(place->directory);
	return result;
}
