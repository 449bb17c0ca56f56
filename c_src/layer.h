/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of a disk: made, and checked against what they lie over */
#ifndef EVUM_LAYER_H
#define EVUM_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "evum.h"

#define LAYER_BLOCK 4096u
#define LAYER_HEAD 1024u /* bytes before an ext4's superblock: nobody else's */

/* What tells a disk from another, and from itself after a change. */
struct layer_id {
	uint64_t size;	/* bytes */
	int64_t mtime;	/* ns */
	uint64_t start; /* hash of its first bytes, where file systems count their changes */
};

struct layer_ids {
	unsigned int count;
	struct layer_id id[EVUM_DISKS_MAX];
};

/* Adds what an open disk is.  0 or -errno. */
int layer_identify(int fd, struct layer_ids *ids);

/*
 * Makes an empty layer over disks of these ids.  size: MiB.  uid, gid: whose it
 * is to be, or -1.  synced: it is on the host's disk when this returns.
 * Returns 0; -EEXIST where path is there by now; -ENOSPC; -EBADMSG for a
 * template that isn't one; another -errno.
 */
int layer_make(const char *path, const char *template, unsigned int size,
	       const struct layer_ids *ids, uid_t owner, bool synced);

/*
 * Was the layer made over disks of these ids?  0; -EBADMSG: it is no layer; -ESTALE:
 * disk *changed is not what it was then; -errno.
 */
int layer_check(int fd, const struct layer_ids *ids, unsigned int *changed);

#endif
