/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: which files the kernel's process may touch, and nothing else */
#ifndef EVUM_LANDLOCK_H
#define EVUM_LANDLOCK_H

#include <stdint.h>

/* What may be done below a path. */
enum landlock_grant {
	LANDLOCK_EXECUTE, /* run and read a file */
	LANDLOCK_READ,	  /* read a file */
	LANDLOCK_WRITE,	  /* read and write a file */
	LANDLOCK_TREE,	  /* read files and directories */
	LANDLOCK_RUN,	  /* all but links: the run directory */
	LANDLOCK_SHARE,	  /* make, write and remove files and directories, and move them inside */
};

/* The version this host's kernel offers, 0 where there is none. */
int landlock_abi(void);

/* Whether TCP is among what is taken away. */
enum landlock_net { LANDLOCK_NO_NET, LANDLOCK_NET };

/* A ruleset that allows nothing (but the net); returns its descriptor or -errno. */
int landlock_open(int abi, enum landlock_net net);
int landlock_allow(int ruleset, int abi, const char *path, enum landlock_grant grant);
/* From here on the thread is confined; needs no_new_privs. */
int landlock_enter(int ruleset);

#endif
