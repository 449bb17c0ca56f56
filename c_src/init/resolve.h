/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve: a path to the directory and the name that it ends in
 */
#ifndef EVUM_INIT_RESOLVE_H
#define EVUM_INIT_RESOLVE_H

#include <limits.h>
#include <stdbool.h>

#define RESOLVE_LINKS_MAX 40 /* the kernel's own bound; ELOOP */

struct place {
	int directory;		 /* to be closed */
	char name[NAME_MAX + 1]; /* "." where the path can only be a directory's */
};

/*
 * Finds where path is, or would be made.  follow: through links at its end too,
 * so that what has the name then, if anything, is no link.  Returns 0 or
 * -errno; EISDIR where a slash at the end, or nothing but dots before it, says
 * that it is a directory, and directory is false.
 */
int resolve_place(const char *path, bool follow, bool directory, struct place *place);

#endif
