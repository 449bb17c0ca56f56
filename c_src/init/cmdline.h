/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline: what the kernel's command line asks of evum-init
 */
#ifndef EVUM_INIT_CMDLINE_H
#define EVUM_INIT_CMDLINE_H

#include <stdbool.h>

#include "nic.h"

#define BOOT_NAME_MAX 64 /* what sethostname(2) takes */
#define BOOT_PATH_MAX 255
#define BOOT_LAYERS_MAX 15
#define BOOT_SHARES_MAX 8
#define BOOT_DIRS_MAX 8

enum boot_root {
	BOOT_INITRAMFS,
	BOOT_DISK,
	BOOT_HOST,
};

/* A directory of the host's, and where the machine has it. */
struct boot_share {
	char path[BOOT_PATH_MAX + 1];
	bool rw;
};

struct boot_config {
	char hostname[BOOT_NAME_MAX + 1];
	char init[BOOT_PATH_MAX + 1];  /* init=, empty where none was given */
	char spool[BOOT_PATH_MAX + 1]; /* the host's folder with the spool's files, or empty */
	char bad[BOOT_NAME_MAX + 1];   /* the start of the word that could not be understood */
	enum boot_root root;
	bool rw;
	unsigned int layers; /* of the disks, over the first one */
	bool log;
	bool modules;
	struct boot_share shares[BOOT_SHARES_MAX];   /* by number; no path: not asked for */
	char dirs[BOOT_DIRS_MAX][BOOT_PATH_MAX + 1]; /* served ones; the first empty one ends it */
	struct nic nics[NIC_COUNT]; /* by number; what wasn't asked for isn't plugged */
};

/*
 * Reads the text of /proc/cmdline into config; the last of equal words wins,
 * words of others are left alone, "--" ends.  Returns 0, or -EINVAL with the
 * word in config->bad; what could be read stands in config either way.
 */
int cmdline_parse(const char *text, struct boot_config *config);

#endif
