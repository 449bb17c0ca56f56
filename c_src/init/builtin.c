/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin: commands that the agent has itself, so that no guest needs them
 */
#define _GNU_SOURCE
#include "builtin.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "get.h"
#include "net.h"
#include "put.h"
#include "watch.h"

const volatile uint32_t *builtin_ready;

struct builtin {
	const char *name;
	int least; /* arguments */
	int most;
	int (*run)(char **args);
};

static const struct builtin builtins[] = {
	{"put", 3, 3, put_main},
	{"get", 1, 1, get_main},
	{"await", 1, 2, watch_main},
	{"net", 2, 8, net_main},
};

/* The agent may have had other plans for these. */
static void take_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit is an error, as a full disk is */
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int builtin_main(int argc, char **argv)
{
	const struct builtin *builtin;
	size_t i;

	take_signals();
	for (i = 0; argc > 0 && i < sizeof(builtins) / sizeof(*builtins); i++) {
		builtin = &builtins[i];
		if (strcmp(argv[0], builtin->name) != 0)
			continue;
		if (argc - 1 < builtin->least || argc - 1 > builtin->most)
			break;
		return builtin->run(argv + 1);
	}
	fputs(argc > 0 ? argv[0] : "no command", stderr);
	return EINVAL;
}
