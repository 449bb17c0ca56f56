/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of sparse files, and where their data is */
#ifndef EVUM_FILE_COPY_H
#define EVUM_FILE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asked between blocks of a long copy: true ends it with -ECANCELED. */
typedef bool copy_stop(void *ctx);

/*
 * Copies a regular file: by sharing its blocks where the file system can, else
 * only what isn't a hole or zeros.  to is made, readable and writable by its owner only,
 * and removed again where the copy fails; -EEXIST where it was there before.
 * What is written to from meanwhile may or may not be in the copy.
 * 0 with the bytes that were written or are shared in *bytes; -EINVAL: from is no
 * regular file.
 */
int copy_file(const char *from, const char *to, copy_stop *stop, void *ctx, uint64_t *bytes);

struct copy_extent {
	uint64_t offset, length;
};

/*
 * Where from the file's data is, from an offset on: how many of max extents were
 * filled, in order; fewer than max are all that there are.  The file's size goes to
 * *size.
 */
int copy_extents(const char *path, uint64_t from, struct copy_extent *extents, size_t max,
		 uint64_t *size);

#endif
