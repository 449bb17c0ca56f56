/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seen: a line on standard output each time that what is seen changes
 */
#ifndef EVUM_INIT_SEEN_H
#define EVUM_INIT_SEEN_H

#include <stddef.h>

#define SEEN_MAX 1024 /* of a line; the rest of a longer one is not told */

struct seen {
	size_t len;
	char text[SEEN_MAX];
	char told[SEEN_MAX];
};

/* Begins anew with what is formatted. */
void seen_start(struct seen *seen, const char *format, ...) __attribute__((format(printf, 2, 3)));
void seen_add(struct seen *seen, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Tells it, unless that was what was told last.  Returns 0 or -errno. */
int seen_tell(struct seen *seen);

#endif
