/* SPDX-License-Identifier: Apache-2.0 */
/*
 * temporary: names for what isn't whole yet, and its removal
 */
#ifndef EVUM_INIT_TEMPORARY_H
#define EVUM_INIT_TEMPORARY_H

#include <stdint.h>

#define TEMPORARY_PREFIX ".evum-"
#define TEMPORARY_NAME (sizeof(TEMPORARY_PREFIX) + 6)

/* A series of names that others can't foretell; one that is taken nevertheless is EEXIST. */
uint64_t temporary_seed(void);
void temporary_name(uint64_t *seed, char name[static TEMPORARY_NAME]);
/* Removes what directory has under name, a tree too, as far as that is possible. */
void temporary_remove(int directory, const char *name);

#endif
