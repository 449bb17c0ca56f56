/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_file: until there is a file
 *
 * Theory of operation.  The kernel tells what happens in the deepest directory
 * of the path that is there.  Each time that is another one it is looked again,
 * as what is awaited may have come before the watch.  A file system that others
 * write to (hostfs), one mounted over the directory, and a link into another
 * directory tell nothing; for these it is looked now and then in any case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch.h"

#define LOOK_MS 500
#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct file_watch {
	const char *path;
	int inotify;
	int descriptor;		/* of the watch, or -1 */
	char watched[PATH_MAX]; /* "": nothing */
	char deepest[PATH_MAX]; /* that is there */
};

/* Cuts the last name off. */
static void cut(char *path)
{
	char *end = path + strlen(path);

	while (end > path && end[-1] == '/')
		end--;
	while (end > path && end[-1] != '/')
		end--;
	while (end > path + 1 && end[-1] == '/')
		end--;
	*end = '\0';
	if (end == path)
		memcpy(path, ".", 2);
}

/* Returns 1 where the file is there; else 0 with the deepest of its directories, or -errno. */
static int look(struct file_watch *watch)
{
	struct stat file;

	if (stat(watch->path, &file) == 0)
		return 1;
	if (errno != ENOENT && errno != ENOTDIR)
		return -errno;
	memcpy(watch->deepest, watch->path, strlen(watch->path) + 1);
	do
		cut(watch->deepest);
	while (stat(watch->deepest, &file) < 0 && strcmp(watch->deepest, "/") != 0 &&
	       strcmp(watch->deepest, ".") != 0);
	return 0;
}

static void move_watch(struct file_watch *watch)
{
	if (watch->descriptor >= 0)
		inotify_rm_watch(watch->inotify, watch->descriptor);
	watch->descriptor = inotify_add_watch(watch->inotify, watch->deepest, EVENTS);
	memcpy(watch->watched, watch->deepest, sizeof(watch->watched));
}

/* Waits for an event, but not long; forgets the watch where its directory went. */
static void wait_event(struct file_watch *watch)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct pollfd poll_in = {.fd = watch->inotify, .events = POLLIN};
	const struct inotify_event *event;
	ssize_t got, at;

	if (poll(&poll_in, 1, LOOK_MS) <= 0)
		return;
	got = read(watch->inotify, events, sizeof(events));
	for (at = 0; at < got; at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (const struct inotify_event *)(events + at);
		if (event->wd == watch->descriptor &&
		    (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0)
			watch->watched[0] = '\0';
	}
}

int watch_file(struct seen *seen, const char *path)
{
	static struct file_watch watch;
	int result;

	if (path[0] == '\0')
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	watch = (struct file_watch){.path = path, .descriptor = -1};
	watch.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch.inotify < 0)
		return -errno;
	for (;;) {
		result = look(&watch);
		if (result != 0)
			break;
		seen_start(seen, "%s is there, %s isn't", watch.deepest, path);
		result = seen_tell(seen);
		if (result < 0)
			break;
		if (strcmp(watch.deepest, watch.watched) != 0)
			move_watch(&watch);
		else
			wait_event(&watch);
	}
	close(watch.inotify);
	return result > 0 ? 0 : result;
}
