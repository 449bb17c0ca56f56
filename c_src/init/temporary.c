/* SPDX-License-Identifier: Apache-2.0 */
/*
 * temporary: names for what isn't whole yet, and its removal
 */
#define _GNU_SOURCE
#include "temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

static void remove_entry(int directory, const char *name, int depth);

uint64_t temporary_seed(void)
{
	struct timespec now;
	uint64_t seed = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	/* A young machine may have to wait for good numbers; a boot shall not. */
	(void)!getrandom(&seed, sizeof(seed), GRND_INSECURE);
	return seed ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
}

/* splitmix64: a system call for each name would cost more than the name is worth. */
static uint64_t next_number(uint64_t *seed)
{
	uint64_t n = *seed += 0x9e3779b97f4a7c15u;

	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
	return n ^ (n >> 31);
}

void temporary_name(uint64_t *seed, char name[static TEMPORARY_NAME])
{
	static const char letters[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	uint64_t number = next_number(seed);
	size_t i;

	memcpy(name, TEMPORARY_PREFIX, sizeof(TEMPORARY_PREFIX));
	for (i = sizeof(TEMPORARY_PREFIX) - 1; i < TEMPORARY_NAME - 1; i++) {
		name[i] = letters[number % (sizeof(letters) - 1)];
		number /= sizeof(letters) - 1;
	}
	name[i] = '\0';
}

/* The directory of a tree that was given its mode already may not be ours to change. */
static DIR *open_to_empty(int directory, const char *name)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	DIR *opened;
	int fd;

	fd = openat(directory, name, flags);
	if (fd < 0 && errno == EACCES && fchmodat(directory, name, 0700, 0) == 0)
		fd = openat(directory, name, flags);
	if (fd < 0)
		return NULL;
	(void)fchmod(fd, 0700);
	opened = fdopendir(fd);
	if (opened == NULL)
		close(fd);
	return opened;
}

static void empty(int directory, const char *name, int depth)
{
	DIR *opened = open_to_empty(directory, name);
	const struct dirent *found;

	if (opened == NULL)
		return;
	while ((found = readdir(opened)) != NULL)
		if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
			remove_entry(dirfd(opened), found->d_name, depth + 1);
	closedir(opened);
}

static void remove_entry(int directory, const char *name, int depth)
{
	if (unlinkat(directory, name, 0) == 0 || errno != EISDIR)
		return;
	if (depth <= FILES_DEPTH_MAX)
		empty(directory, name, depth);
	(void)unlinkat(directory, name, AT_REMOVEDIR);
}

void temporary_remove(int directory, const char *name)
{
	remove_entry(directory, name, 1);
}
