/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etc: files of the machine's /etc get other contents, and no disk is changed
 */
#ifndef EVUM_INIT_ETC_H
#define EVUM_INIT_ETC_H

#include <stdbool.h>
#include <stddef.h>

#define ETC_TEXT_MAX 65536 /* of what is read */

/*
 * Has path, such as "/etc/hosts", hold text.  Where keep is false, /etc lies in
 * memory: a new file takes the old one's place.  Where it is true, /etc lies on a
 * disk: a file of memory, kept below /run, is mounted over the disk's.  Returns 0 or
 * -errno; -ENOENT where the disk has nothing that could be mounted over.
 */
int etc_write(const char *path, bool keep, const char *text, size_t len);

/* Writes a file of a directory that lies in memory and is made, with all above it, where it is missing. */
int etc_write_memory(const char *path, const char *text, size_t len);

/* The start of a regular file, at most max bytes; 0 where there is none. */
size_t etc_read(const char *path, char *text, size_t max);

#endif
