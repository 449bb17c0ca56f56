/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_init: until the machine's init has started all that it starts
 *
 * Theory of operation.  systemd says so itself (READY=1, which the agent hears).
 * OpenRC says which runlevel it is in, and has a directory while it starts one;
 * it enters a level a moment before it makes the directory, so there must be no
 * openrc at work either.  Of any other init nobody knows, so it is taken to be
 * done.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "watch.h"

#define LOOK_MS 50
#define TEXT_MAX 256

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The first line of a file, without its newline; false where there is none. */
static bool read_line(const char *path, char line[static TEXT_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, line, TEXT_MAX - 1);
	close(fd);
	if (got <= 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

/* Is pid 1 a program of that name? */
static bool is_init(const char *name)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/1/exe", path, sizeof(path) - 1);
	const char *base;

	if (len < 0)
		return false;
	path[len] = '\0';
	base = strrchr(path, '/');
	base = base == NULL ? path : base + 1;
	/* " (deleted)" follows where it was upgraded. */
	return strncmp(base, name, strlen(name)) == 0 && strchr(" ", base[strlen(name)]) != NULL;
}

static bool inittab_runs_openrc(void)
{
	char line[TEXT_MAX];
	FILE *file = fopen("/etc/inittab", "re");
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = line[0] != '#' &&
			(strstr(line, "openrc") != NULL || strstr(line, "/init.d/rc") != NULL);
	fclose(file);
	return found;
}

static bool has_openrc(void)
{
	if (exists("/run/openrc") || is_init("openrc-init"))
		return true;
	return exists("/sbin/openrc") && (is_init("init") || is_init("busybox")) &&
	       inittab_runs_openrc();
}

static bool openrc_works(void)
{
	char path[TEXT_MAX], name[TEXT_MAX];
	DIR *proc = opendir("/proc");
	const struct dirent *found;
	bool works = false;

	if (proc == NULL)
		return false;
	while (!works && (found = readdir(proc)) != NULL) {
		if (found->d_name[0] < '0' || found->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", found->d_name);
		works = read_line(path, name) && strcmp(name, "openrc") == 0;
	}
	closedir(proc);
	return works;
}

static bool systemd_is_done(struct seen *seen)
{
	seen_start(seen, "systemd is starting");
	return builtin_ready != NULL && *builtin_ready != 0;
}

static bool openrc_is_done(struct seen *seen)
{
	char level[TEXT_MAX];

	if (!read_line("/run/openrc/softlevel", level)) {
		seen_start(seen, "OpenRC is in no runlevel");
		return false;
	}
	seen_start(seen, "OpenRC is starting runlevel %s", level);
	return strcmp(level, "sysinit") != 0 && strcmp(level, "boot") != 0 &&
	       !exists("/run/openrc/rc.starting") && !openrc_works();
}

int watch_init(struct seen *seen, const char *none)
{
	bool (*is_done)(struct seen *) = NULL;
	int result = 0;

	(void)none;
	if (is_init("systemd"))
		is_done = systemd_is_done;
	else if (has_openrc())
		is_done = openrc_is_done;
	while (is_done != NULL && result == 0 && !is_done(seen)) {
		result = seen_tell(seen);
		watch_pause(LOOK_MS);
	}
	return result;
}
