/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: the host's directories that the machine has
 */
#ifndef EVUM_INIT_SHARE_H
#define EVUM_INIT_SHARE_H

#include "boot.h"

/*
 * Mounts every share that the command line asks for, below the root of the
 * calling process.  Returns 0, or -1 with boot->error filled in.
 */
int share_mount(struct boot *boot);

/* Makes path, an absolute one, a directory with all above it.  Returns 0 or -errno. */
int share_make_path(const char *path);

#endif
