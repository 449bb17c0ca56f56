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
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "jail.h"
#include "util.h"

#define PREFIX "evum-"
#define SPARE_MIB 16u

/* Removes what is below an open directory; never follows a link. */
static void empty_directory(int fd, int depth)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!directory) {
		fd_close(&copy);
		return;
	}
	while ((entry = readdir(directory)) != NULL) {
		cleanup_fd int below = -1;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0 || depth == 0)
			continue;
		below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			empty_directory(below, depth - 1);
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(directory);
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
		if (!bases[i] || bases[i][0] != '/' || strlen(bases[i]) > 40)
			continue;
		err = fits(bases[i], mem);
		if (!err)
			return bases[i];
	}
	jail_error(error, "memory", -err,
		   "no directory for %u MiB of guest memory: TMPDIR, /dev/shm and /tmp are full, "
		   "not writable or mounted noexec; set TMPDIR to one that is not",
		   mem);
	return NULL;
}

int rundir_make(struct jail *jail, struct evum_error *error)
{
	const char *base = choose_base(jail->config->mem, error);
	char path[80];
	int lock;

	if (!base)
		return -ENOSPC;
	sweep(base);
	snprintf(jail->run, sizeof(jail->run), "%s/" PREFIX "XXXXXX", base);
	if (!mkdtemp(jail->run))
		return jail_error(error, "memory", errno, "no directory can be made in %s", base);
	snprintf(path, sizeof(path), "%s/lock", jail->run);
	lock = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) < 0) {
		fd_close(&lock);
		rundir_remove(jail->run);
		return jail_error(error, "memory", errno, "%s can't be made", path);
	}
	jail->locks[jail->lock_count++] = lock;
	return 0;
}
