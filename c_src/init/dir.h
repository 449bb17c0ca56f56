/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir: the directories that the host serves
 */
#ifndef EVUM_INIT_DIR_H
#define EVUM_INIT_DIR_H

#include "boot.h"

/*
 * Starts the carrier of each directory that the command line asks for; the other
 * ends of their sockets are boot->dirs.  Returns 0, or -1 with boot->error filled in.
 */
int dir_start(struct boot *boot);

/* Mounts them below the root of the calling process.  0, or -1 with boot->error filled in. */
int dir_mount(struct boot *boot);

/* Closes boot->dirs, which only the mounts are to have. */
void dir_close(struct boot *boot);

#endif
