/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: the command await: until something is so in the machine
 */
#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct watch {
	const char *name;
	bool has_what;
	int (*wait)(struct seen *seen, const char *what);
} watches[] = {
	{"file", true, watch_file},
	{"port", true, watch_port},
	{"net", false, watch_net},
	{"init", false, watch_init},
};

void watch_pause(int ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int watch_main(char **args)
{
	static struct seen seen;
	const struct watch *watch;
	size_t i;
	int result = -EINVAL;

	for (i = 0; i < sizeof(watches) / sizeof(*watches); i++) {
		watch = &watches[i];
		if (strcmp(args[0], watch->name) == 0 && watch->has_what == (args[1] != NULL))
			result = watch->wait(&seen, args[1]);
	}
	if (result == 0)
		return 0;
	fputs(args[1] != NULL ? args[1] : args[0], stderr);
	return -result;
}
