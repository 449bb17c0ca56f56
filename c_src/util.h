/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers that every file of libevum uses */
#ifndef EVUM_UTIL_H
#define EVUM_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A closed descriptor is -1. */
static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void free_pointer(void *pointer)
{
	free(*(void **)pointer);
}

#define cleanup_fd __attribute__((cleanup(fd_close)))
#define cleanup_free __attribute__((cleanup(free_pointer)))

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Calls expression again while a signal interrupts it. */
#define RETRY(expression)                                  \
	__extension__({                                    \
		__auto_type retry_result = (expression);   \
		while (retry_result < 0 && errno == EINTR) \
			retry_result = (expression);       \
		retry_result;                              \
	})

#endif
