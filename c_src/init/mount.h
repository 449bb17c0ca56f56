/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount: the file systems of a machine
 */
#ifndef EVUM_INIT_MOUNT_H
#define EVUM_INIT_MOUNT_H

#include "boot.h"

#define WORK_DIR "/evum"
#define ROOT_DIR WORK_DIR "/root"   /* where another root is put together */
#define UPPER_DIR WORK_DIR "/rw"    /* what an overlay writes to */
#define LOWER_DIR WORK_DIR "/lower" /* what all lies over; a number after it: a layer */

/* /proc and /dev, without which nothing can be read or said.  0 or -errno. */
int mount_first(void);

/* Prepares the root that the command line asks for.  0, or -1 with boot->error. */
int mount_root(struct boot *boot);

/* In the inner init's namespaces: makes that root / and mounts what belongs in it.  0 or -1. */
int mount_enter(struct boot *boot);

/* Mounts a file system where nobody sees it, until all that is open in it is closed.  Its root. */
int mount_unseen(const char *type, const char *options);

/* Makes what the machine wrote to its disk whole, once all its programs are dead. */
void mount_finish(const struct boot *boot);

#endif
