/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line */
#ifndef EVUM_ARGV_H
#define EVUM_ARGV_H

#include <stddef.h>

#include "evum.h"

#define ARGV_MAX 128

/* The sockets that NICs connect to: this and a number, in the run directory. */
#define ARGV_NIC "net"
/* The line of the first served directory; the next one has the number before. */
#define ARGV_DIR_LINE 14u
/* The shared directories: this and a number, in the private root. */
#define ARGV_SHARE "/share"

/* Descriptors of the kernel's process. */
enum {
	ARGV_FD_CONSOLE = 3,
	ARGV_FD_AGENT = 4,
	ARGV_FD_DIR = 5, /* and those of further directories */
};

/* Paths as the kernel's process sees them. */
struct argv_paths {
	const char *run; /* directory of the sockets, the spool and guest memory */
	const char *initramfs;
	const char *disks[EVUM_DISKS_MAX];
};

struct argv {
	char *words[ARGV_MAX + 1]; /* NULL-terminated, each allocated */
	size_t count;
	size_t bytes;
};

/*
 * Makes the command line.  Returns 0; -EINVAL when config->args has a word
 * that evum sets itself (argv_reserved() tells which); -E2BIG when it is longer
 * than EVUM_CMDLINE_MAX; -ENOMEM.  Free with argv_free() in every case.
 */
int argv_make(const struct evum_config *config, const struct argv_paths *paths, struct argv *argv);
void argv_free(struct argv *argv);

/* Is the word one that a user's args may not hold? */
int argv_reserved(const char *word);

#endif
