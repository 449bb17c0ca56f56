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

#include "diff.h"
#include "freeze.h"
#include "get.h"
#include "net.h"
#include "put.h"
#include "watch.h"

const volatile uint32_t *builtin_ready;
const struct boot *builtin_boot;

struct builtin {
	const char *name;
	int least; /* arguments */
	int most;
	int (*run)(char **args);
	bool outside; /* where the file systems are that the machine is put together from */
};

static const struct builtin builtins[] = {
	{"put", 3, 3, put_main, false},	     {"get", 1, 1, get_main, false},
	{"await", 1, 2, watch_main, false},  {"net", 2, 8, net_main, false},
	{"freeze", 0, 0, freeze_main, true}, {"thaw", 0, 0, thaw_main, true},
	{"diff", 0, 0, diff_main, true},
};

static const struct builtin *find(const char *name)
{
	for (size_t i = 0; i < sizeof(builtins) / sizeof(*builtins); i++)
		if (strcmp(name, builtins[i].name) == 0)
			return &builtins[i];
	return NULL;
}

bool builtin_is_outside(const char *name)
{
	const struct builtin *builtin = find(name);

	return builtin != NULL && builtin->outside;
}

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
	const struct builtin *builtin = argc > 0 ? find(argv[0]) : NULL;

	take_signals();
	if (builtin != NULL && argc - 1 >= builtin->least && argc - 1 <= builtin->most)
		return builtin->run(argv + 1);
	fputs(argc > 0 ? argv[0] : "no command", stderr);
	return EINVAL;
}
