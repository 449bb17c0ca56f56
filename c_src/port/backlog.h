/* SPDX-License-Identifier: Apache-2.0 */
/* Stdin that libevum has no room for yet, a program each */
#ifndef EVUM_BACKLOG_H
#define EVUM_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a program: what legal credit allows.  A peer that sends more broke the protocol. */
#define BACKLOG_MAX 262144u

struct waiting {
	struct waiting *next;
	uint32_t id;
	uint8_t *bytes; /* len of them, from first on */
	size_t first, len, capacity;
	bool ends; /* end of file after the bytes */
};

/* Programs in the order in which they are served. */
struct backlog {
	struct waiting *head, *tail;
};

bool backlog_has(const struct backlog *backlog, uint32_t id);
/* Adds bytes of a program, or its end of file where there are none.  0, -EPROTO, -ENOMEM. */
int backlog_add(struct backlog *backlog, uint32_t id, const uint8_t *bytes, size_t len);
/* The first program lost len bytes to libevum; it goes behind the others, or away. */
void backlog_took(struct backlog *backlog, size_t len);
void backlog_forget(struct backlog *backlog, uint32_t id);
void backlog_free(struct backlog *backlog);

#endif
