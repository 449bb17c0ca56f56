/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path: the name of what a walk of a tree is at, to tell of an error
 */
#ifndef EVUM_INIT_PATH_H
#define EVUM_INIT_PATH_H

#include <stddef.h>

#include "files.h"

/* The path that was asked for, and a name for each level of the tree; what is longer is cut. */
#define PATH_TEXT_MAX (4096 + (FILES_DEPTH_MAX + 1) * (FILES_NAME_MAX + 1))

struct path {
	size_t len;
	char text[PATH_TEXT_MAX];
};

void path_start(struct path *path, const char *text);
/* Goes down to name; returns what path_back() needs to come back from it. */
size_t path_enter(struct path *path, const char *name);
void path_back(struct path *path, size_t mark);
/* Writes the path on standard error and returns the errno of result (-errno) as a status. */
int path_report(const struct path *path, int result);

#endif
