/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run directory of a machine without a private root
 *
 * It lies in the host's memory where it can, is closed to others, and has a
 * file "lock" that every process of the machine holds.  Where all of them were
 * killed at once the directory stays; the next machine of the same user removes
 * it when its lock is free.  A pid is never asked: pids come again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "jail.h"
#include "util.h"

#define PREFIX "evum-"
#define SPARE_MIB 16u

/* What getdents64(2) answers with. */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static void empty_directory(int fd, int depth);

static void remove_entry(int fd, const char *name, int depth)
{
	cleanup_fd int below = -1;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(fd, name, 0) == 0 ||
	    depth == 0)
		return;
	below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below >= 0)
		empty_directory(below, depth - 1);
	unlinkat(fd, name, AT_REMOVEDIR);
}

/* Removes what is below an open directory; never follows a link, never allocates. */
static void empty_directory(int fd, int depth)
{
	union {
		char bytes[2048];
		struct entry align;
	} list;
	long length;

	while ((length = syscall(SYS_getdents64, fd, list.bytes, sizeof(list.bytes))) > 0) {
		for (long at = 0; at < length;) {
			struct entry *entry = (struct entry *)(void *)(list.bytes + at);

			remove_entry(fd, entry->name, depth);
			at += entry->length;
		}
	}
}

void rundir_remove(const char *path)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	empty_directory(fd, 64);
	rmdir(path);
}

/* Removes the directories of machines that are gone: ours, and their lock is free. */
static void sweep(const char *base)
{
	DIR *directory = opendir(base);
	struct dirent *entry;
	char path[512];
	struct stat st;

	while (directory && (entry = readdir(directory)) != NULL) {
		cleanup_fd int lock = -1;

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/lock", base, entry->d_name);
		lock = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (lock < 0 || fstat(lock, &st) < 0 || st.st_uid != geteuid() ||
		    flock(lock, LOCK_EX | LOCK_NB) < 0)
			continue;
		*strrchr(path, '/') = '\0';
		rundir_remove(path);
	}
	if (directory)
		closedir(directory);
}

static int fits(const char *base, unsigned int mem)
{
	struct statvfs fs;

	if (access(base, W_OK | X_OK) < 0 || statvfs(base, &fs) < 0)
		return -errno;
	if (fs.f_flag & ST_NOEXEC)
		return -ENOEXEC;
	if ((uint64_t)fs.f_bavail * fs.f_frsize < ((uint64_t)mem + SPARE_MIB) << 20)
		return -ENOSPC;
	return 0;
}

/* Guest memory is mapped executable, so it can't lie on a file system mounted noexec. */
static const char *choose_base(unsigned int mem, struct evum_error *error)
{
	const char *bases[] = {getenv("TMPDIR"), "/dev/shm", "/tmp"};
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		/* It stands in arguments of the kernel's, which have no quoting. */
		if (!bases[i] || bases[i][0] != '/' || strlen(bases[i]) > 40 ||
		    strpbrk(bases[i], " \t\n,=\""))
			continue;
		err = fits(bases[i], mem);
		if (!err)
			return bases[i];
	}
	jail_error(error, "memory", -err,
		   "no directory for %u MiB of guest memory: TMPDIR, /dev/shm and /tmp are full, "
		   "not writable or mounted noexec (or named with blank, comma, quote or =); "
		   "set TMPDIR to one that is not",
		   mem);
	return NULL;
}

/* One try: -EAGAIN where another machine's sweep took it for one left behind. */
static int make_locked(struct jail *jail, const char *base)
{
	char path[80];
	int lock;

	snprintf(jail->run, sizeof(jail->run), "%s/" PREFIX "XXXXXX", base);
	if (!mkdtemp(jail->run))
		return -errno;
	snprintf(path, sizeof(path), "%s/lock", jail->run);
	lock = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) == 0 && access(path, F_OK) == 0) {
		jail->locks[jail->lock_count++] = lock;
		return 0;
	}
	fd_close(&lock);
	rundir_remove(jail->run);
	return -EAGAIN;
}

int rundir_make(struct jail *jail, struct evum_error *error)
{
	const char *base = choose_base(jail->config->mem, error);
	int err = -EAGAIN;

	if (!base)
		return -ENOSPC;
	sweep(base);
	for (int tries = 0; tries < 8 && err == -EAGAIN; tries++)
		err = make_locked(jail, base);
	if (err)
		return jail_error(error, "memory", -err, "no directory can be made in %s", base);
	return 0;
}

int rundir_copy(const struct jail *jail, struct jail_file *file, struct evum_error *error)
{
	cleanup_fd int from = open(file->source, O_RDONLY | O_CLOEXEC);
	cleanup_fd int to = -1;
	ssize_t copied = 1;

	if (asprintf(&file->copy, "%s%s", jail->run, file->target) < 0) {
		file->copy = NULL;
		return jail_error(error, "memory", ENOMEM, "no memory");
	}
	to = open(file->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	while (from >= 0 && to >= 0 && copied > 0)
		copied = sendfile(to, from, NULL, 1 << 30);
	if (from < 0 || to < 0 || copied < 0 || fchmod(to, 0755) < 0)
		return jail_error(error, "memory", errno, "%s can't be copied to %s", file->source,
				  jail->run);
	return 0;
}
