/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot: what evum-init's parts share
 *
 * One struct boot is made in main() and handed to everything.  The inner init
 * and the agent are forks, so each has a copy from the moment it starts.
 */
#ifndef EVUM_INIT_BOOT_H
#define EVUM_INIT_BOOT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmdline.h"

#define BOOT_TEXT_MAX 256
#define BOOT_PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define CONSOLE_TTY "/dev/tty0"
#define AGENT_TTY "/dev/tty15"

struct net;
struct node;

struct boot {
	struct boot_config config;
	int line;   /* AGENT_TTY, blocking, for the guardian's own frames */
	int proc;   /* /proc of the outermost pid namespace */
	int pid_ns; /* of the inner init; -1 before it runs */
	int mnt_ns;
	pid_t init; /* the inner init */
	pid_t agent;
	int notify;		  /* where init says that it is through; -1: it has no such habit */
	volatile uint32_t *ready; /* 1 once it did; shared by all processes, NULL without notify */
	bool built_in;		  /* the inner init is ours */
	struct node *node;	  /* what it runs in place of a shell; NULL: a shell */
	const char *shell;	  /* which the built-in one runs on the console */
	bool shell_edits;	  /* the shell edits lines itself and so echoes them */
	const char *path;	  /* PATH in the machine */
	struct net *net;	  /* net.c's, shared by all processes */
	int dirs[BOOT_DIRS_MAX];  /* dir.c's */
	char error[BOOT_TEXT_MAX]; /* why the boot can't go on */
};

/* Notes why the boot can't go on; always returns -1. */
int boot_error(struct boot *boot, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Milliseconds of a clock that only goes forward. */
int64_t boot_now_ms(void);
/* The earlier of two such times; negative is never. */
int64_t boot_earlier(int64_t a, int64_t b);
/* Takes the next of the signals in set, or 0 after wait_ms; negative waits for ever. */
int boot_next_signal(const sigset_t *set, int64_t wait_ms);

#endif
