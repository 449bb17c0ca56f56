/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put: a file stream becomes a file or a tree
 *
 * Theory of operation.  Nothing is seen under its own name before it is whole.
 * A file is written beside its place under a temporary name and renamed.  A
 * tree that isn't there yet is made under one temporary name too, which nobody
 * else may enter until it is full, so what is inside needs no other names.
 * Into a directory that is there the entries go one by one, each in that way;
 * that directory keeps its mode, owner and time.
 *
 * Only the path that was asked for is followed through links.  Below it all is
 * relative to open directories and by names that have no way out: a link in the
 * place of a file is replaced, and in the place of a directory it is ENOTDIR.
 *
 * The owner is set before the mode, of which it would clear the set-user-ID
 * bits; mode and time of a directory are set when it is full.
 *
 * Asked to go, the input ends: from there on all is as with a sender who gave
 * up, and what was begun is removed.
 */
#define _GNU_SOURCE
#include "put.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "resolve.h"
#include "files.h"
#include "temporary.h"
#include "user.h"

#define MODE_FILE 0644u /* where nobody said another */
#define MODE_DIRECTORY 0755u

struct put {
	uint32_t mode; /* of files; FILES_UNSET: as the stream has it */
	uint32_t uid;  /* of everything, with gid; the same */
	uint32_t gid;
	uint64_t seed;	  /* of temporary names */
	struct path path; /* of what is being made */
	struct files_reader reader;
};

static int make_entry(struct put *put, struct files_entry *entry, int directory, const char *name,
		      int depth);

/* --- going when asked to --------------------------------------------------- */

static volatile sig_atomic_t ended_pipe; /* one that nobody writes to */

/* No flag: that could be set between a look at it and a read that then waits. */
static void end_input(int signal)
{
	int error = errno;

	(void)signal;
	(void)dup2(ended_pipe, STDIN_FILENO);
	errno = error;
}

static int prepare_to_go(void)
{
	struct sigaction action = {.sa_handler = end_input}; /* no SA_RESTART: a read ends */
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	close(ends[1]);
	ended_pipe = ends[0];
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return 0;
}

/* --- one file, link or directory ------------------------------------------- */

/* Settles what is left open.  there: the file that is about to be replaced, or NULL. */
static void choose(const struct put *put, struct files_entry *entry, const struct stat *there)
{
	bool file = entry->type == FILES_FILE;

	if (file && put->mode != FILES_UNSET)
		entry->mode = put->mode;
	if (put->uid != FILES_UNSET) {
		entry->uid = put->uid;
		entry->gid = put->gid;
	}
	if (file && there != NULL && S_ISREG(there->st_mode)) {
		/* Who made a program set-user-ID didn't mean its successor. */
		if (entry->mode == FILES_UNSET)
			entry->mode = there->st_mode & 0777;
		if (entry->uid == FILES_UNSET)
			entry->uid = there->st_uid;
		if (entry->gid == FILES_UNSET)
			entry->gid = there->st_gid;
	}
	if (entry->mode == FILES_UNSET)
		entry->mode = file ? MODE_FILE : MODE_DIRECTORY;
}

static void set_times(const struct files_entry *entry, struct timespec times[2])
{
	times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	times[1] = (struct timespec){.tv_sec = entry->mtime};
}

/* chown(2) leaves alone what is FILES_UNSET. */
_Static_assert((uid_t)-1 == FILES_UNSET && (gid_t)-1 == FILES_UNSET, "unset is unchanged");

static int set_attributes(const struct files_entry *entry, int fd)
{
	struct timespec times[2];

	set_times(entry, times);
	if ((entry->uid != FILES_UNSET || entry->gid != FILES_UNSET) &&
	    fchown(fd, entry->uid, entry->gid) < 0)
		return -errno;
	if (fchmod(fd, entry->mode) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	ssize_t put;

	while (len > 0) {
		put = write(fd, bytes, len);
		if (put < 0)
			return -errno;
		bytes += put;
		len -= (size_t)put;
	}
	return 0;
}

static int fill_file(struct put *put, int fd)
{
	const uint8_t *bytes;
	int len, result = 0;

	while (result == 0) {
		len = files_next_piece(&put->reader, &bytes);
		if (len <= 0)
			return len;
		result = write_all(fd, bytes, (size_t)len);
	}
	return result;
}

static int make_file(struct put *put, const struct files_entry *entry, int directory,
		     const char *name)
{
	int fd, result;

	fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	result = fill_file(put, fd);
	if (result == 0)
		result = set_attributes(entry, fd);
	/* Some file systems tell only here that there was no room. */
	if (close(fd) < 0 && result == 0)
		result = -errno;
	if (result < 0)
		(void)unlinkat(directory, name, 0);
	return result;
}

static int set_link_attributes(const struct files_entry *entry, int directory, const char *name)
{
	struct timespec times[2];

	set_times(entry, times);
	if (fchownat(directory, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int make_link(struct put *put, const struct files_entry *entry, int directory,
		     const char *name)
{
	char target[FILES_TARGET_MAX + 1];
	int result;

	result = files_next_target(&put->reader, target);
	if (result < 0)
		return result;
	if (symlinkat(target, directory, name) < 0)
		return -errno;
	result = set_link_attributes(entry, directory, name);
	if (result < 0)
		(void)unlinkat(directory, name, 0);
	return result;
}

/* --- directories ----------------------------------------------------------- */

static int open_directory(int directory, const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/*
 * Has make make what the stream says is in the directory fd; depth is of what
 * is inside.
 */
static int fill_directory(struct put *put, int fd, int depth, __typeof__(make_entry) *make)
{
	struct files_entry entry;
	size_t mark;
	int result;

	for (;;) {
		result = files_next(&put->reader, false, &entry);
		if (result < 0 || entry.type == FILES_UP)
			return result;
		if (entry.type == FILES_END)
			return -EPROTO;
		mark = path_enter(&put->path, entry.name);
		result = make(put, &entry, fd, entry.name, depth);
		if (result < 0)
			return result;
		path_back(&put->path, mark);
	}
}

static int make_directory(struct put *put, const struct files_entry *entry, int directory,
			  const char *name, int depth)
{
	int fd, result;

	if (mkdirat(directory, name, 0700) < 0)
		return -errno;
	fd = open_directory(directory, name);
	result = fd < 0 ? fd : fill_directory(put, fd, depth + 1, make_entry);
	if (result == 0)
		result = set_attributes(entry, fd);
	if (fd >= 0)
		close(fd);
	if (result < 0)
		temporary_remove(directory, name);
	return result;
}

/* Makes what isn't there; what fails leaves nothing. */
static int make_entry(struct put *put, struct files_entry *entry, int directory, const char *name,
		      int depth)
{
	choose(put, entry, NULL);
	if (entry->type == FILES_FILE)
		return make_file(put, entry, directory, name);
	if (entry->type == FILES_LINK)
		return make_link(put, entry, directory, name);
	return depth > FILES_DEPTH_MAX ? -ELOOP
				       : make_directory(put, entry, directory, name, depth);
}

/* --- into what is there ---------------------------------------------------- */

static int expect_end(struct put *put)
{
	struct files_entry entry;
	int result = files_next(&put->reader, true, &entry);

	if (result < 0)
		return result;
	return entry.type == FILES_END ? 0 : -EPROTO;
}

/* Makes the entry under another name, and gives it its own when it is whole. */
static int replace(struct put *put, struct files_entry *entry, int directory, const char *name,
		   int depth)
{
	char temporary[TEMPORARY_NAME];
	int result;

	temporary_name(&put->seed, temporary);
	result = make_entry(put, entry, directory, temporary, depth);
	if (result < 0)
		return result;
	/* The sender's last word is awaited before anything is seen of a whole stream. */
	if (depth == 1)
		result = expect_end(put);
	if (result == 0 && renameat(directory, temporary, directory, name) < 0)
		result = -errno;
	if (result < 0)
		temporary_remove(directory, temporary);
	return result;
}

static int place_entry(struct put *put, struct files_entry *entry, int directory, const char *name,
		       int depth);

static int merge(struct put *put, int directory, const char *name, int depth)
{
	int fd, result;

	if (depth > FILES_DEPTH_MAX)
		return -ELOOP;
	fd = open_directory(directory, name);
	if (fd < 0)
		return fd;
	result = fill_directory(put, fd, depth + 1, place_entry);
	close(fd);
	if (result == 0 && depth == 1)
		result = expect_end(put);
	return result;
}

/* Makes the entry where something may be already. */
static int place_entry(struct put *put, struct files_entry *entry, int directory, const char *name,
		       int depth)
{
	struct stat there;

	if (fstatat(directory, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? replace(put, entry, directory, name, depth) : -errno;
	if (entry->type == FILES_DIRECTORY)
		return S_ISDIR(there.st_mode) ? merge(put, directory, name, depth) : -ENOTDIR;
	if (S_ISDIR(there.st_mode))
		return -EISDIR;
	/* A device that became a file would be a surprise to many. */
	if (!S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode))
		return -EOPNOTSUPP;
	choose(put, entry, &there);
	return replace(put, entry, directory, name, depth);
}

static int put_stream(struct put *put, const char *path)
{
	struct files_entry entry;
	struct place place;
	int result;

	result = files_next(&put->reader, true, &entry);
	if (result < 0)
		return result;
	if (entry.type == FILES_UP || entry.type == FILES_END)
		return -EPROTO;
	result = resolve_place(path, entry.type != FILES_LINK, entry.type == FILES_DIRECTORY,
			       &place);
	if (result < 0)
		return result;
	result = place_entry(put, &entry, place.directory, place.name, 1);
	close(place.directory);
	return result;
}

/* --- the command ----------------------------------------------------------- */

/* A number of nothing but digits up to end; false where it isn't, or is more than most. */
static bool parse_number(const char *text, int base, char end, unsigned long most,
			 const char **rest, uint32_t *number)
{
	unsigned long value;
	char *after;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &after, base);
	if (errno != 0 || *after != end || value > most)
		return false;
	*rest = after;
	*number = (uint32_t)value;
	return true;
}

static int parse_mode(const char *text, struct put *put)
{
	put->mode = FILES_UNSET;
	if (*text == '\0' || parse_number(text, 8, '\0', 07777, &text, &put->mode))
		return 0;
	return -EINVAL;
}

static int parse_owner(const char *text, struct put *put)
{
	const char *rest;
	struct user user;

	put->uid = put->gid = FILES_UNSET;
	if (*text == '\0')
		return 0;
	if (strchr(text, ':') != NULL) {
		if (parse_number(text, 10, ':', FILES_UNSET - 1, &rest, &put->uid) &&
		    parse_number(rest + 1, 10, '\0', FILES_UNSET - 1, &rest, &put->gid))
			return 0;
		return -EINVAL;
	}
	if (user_find("/etc/passwd", "/etc/group", text, &user) < 0)
		return -ESRCH;
	put->uid = user.uid;
	put->gid = user.gid;
	return 0;
}

int put_main(char **args)
{
	static struct put put;
	int result;

	path_start(&put.path, args[1]);
	result = parse_mode(args[1], &put);
	if (result == 0) {
		path_start(&put.path, args[2]);
		result = parse_owner(args[2], &put);
	}
	if (result == 0) {
		path_start(&put.path, args[0]);
		put.seed = temporary_seed();
		files_read(&put.reader, STDIN_FILENO);
		result = prepare_to_go();
	}
	if (result == 0) {
		result = put_stream(&put, args[0]);
		close(ended_pipe);
	}
	return result == 0 ? 0 : path_report(&put.path, result);
}
