/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff: what a machine changed of what it was made from
 */
#ifndef EVUM_INIT_DIFF_H
#define EVUM_INIT_DIFF_H

/*
 * Writes a record a path on standard output: A (added), C (changed) or R (removed),
 * the path, which begins with a slash, and a zero byte.  A directory counts as
 * changed where its mode or owner did; of a removed one only its own path is told.
 * ENOENT: nothing lies over anything here.
 */
int diff_main(char **args);

/* Of two directories: what an overlay wrote, and what it lies over.  0 or an errno. */
int diff_write(const char *upper, const char *lower);

#endif
