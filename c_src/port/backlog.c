/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stdin that libevum has no room for yet, a program each
 *
 * A program's bytes are one run, however they came: what a million small writes
 * cost is their bytes.  So memory is bounded by BACKLOG_MAX for each program
 * that runs; those that ended are forgotten.
 */
#include "backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

/* The link that points to the program's entry, or to NULL at the end. */
static struct waiting **find_link(struct backlog *backlog, uint32_t id)
{
	struct waiting **link = &backlog->head;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

bool backlog_has(const struct backlog *backlog, uint32_t id)
{
	const struct waiting *waiting = backlog->head;

	while (waiting && waiting->id != id)
		waiting = waiting->next;
	return waiting != NULL;
}

static void append(struct backlog *backlog, struct waiting *waiting)
{
	waiting->next = NULL;
	if (backlog->tail)
		backlog->tail->next = waiting;
	else
		backlog->head = waiting;
	backlog->tail = waiting;
}

static struct waiting *unlink_one(struct backlog *backlog, struct waiting **link)
{
	struct waiting *waiting = *link;

	*link = waiting->next;
	if (backlog->tail != waiting)
		return waiting;
	backlog->tail = NULL;
	for (struct waiting *last = backlog->head; last; last = last->next)
		backlog->tail = last;
	return waiting;
}

static void free_one(struct waiting *waiting)
{
	free(waiting->bytes);
	free(waiting);
}

static struct waiting *find_or_make(struct backlog *backlog, uint32_t id)
{
	struct waiting *waiting = *find_link(backlog, id);

	if (waiting)
		return waiting;
	waiting = calloc(1, sizeof(*waiting));
	if (!waiting)
		return NULL;
	waiting->id = id;
	append(backlog, waiting);
	return waiting;
}

/* Makes room for len bytes behind those that are there. */
static int make_room(struct waiting *waiting, size_t len)
{
	size_t wanted = waiting->len + len;
	uint8_t *bytes;

	if (waiting->first + wanted <= waiting->capacity)
		return 0;
	if (waiting->first)
		memmove(waiting->bytes, waiting->bytes + waiting->first, waiting->len);
	waiting->first = 0;
	if (wanted <= waiting->capacity)
		return 0;
	if (wanted < 2 * waiting->capacity)
		wanted = min_size(2 * waiting->capacity, BACKLOG_MAX);
	bytes = realloc(waiting->bytes, wanted);
	if (!bytes)
		return -ENOMEM;
	waiting->bytes = bytes;
	waiting->capacity = wanted;
	return 0;
}

int backlog_add(struct backlog *backlog, uint32_t id, const uint8_t *bytes, size_t len)
{
	struct waiting *waiting = find_or_make(backlog, id);
	int err;

	if (!waiting)
		return -ENOMEM;
	if (len > BACKLOG_MAX - waiting->len)
		return -EPROTO;
	/* What comes after the end of file is nobody's. */
	if (waiting->ends)
		return 0;
	waiting->ends = len == 0;
	if (!len)
		return 0;
	err = make_room(waiting, len);
	if (err)
		return err;
	memcpy(waiting->bytes + waiting->first + waiting->len, bytes, len);
	waiting->len += len;
	return 0;
}

void backlog_took(struct backlog *backlog, size_t len)
{
	struct waiting *waiting = unlink_one(backlog, &backlog->head);

	waiting->first += len;
	waiting->len -= len;
	/* No bytes were taken: that was its end of file. */
	if (waiting->len || (waiting->ends && len))
		append(backlog, waiting);
	else
		free_one(waiting);
}

void backlog_forget(struct backlog *backlog, uint32_t id)
{
	struct waiting **link = find_link(backlog, id);

	if (*link)
		free_one(unlink_one(backlog, link));
}

void backlog_free(struct backlog *backlog)
{
	while (backlog->head)
		free_one(unlink_one(backlog, &backlog->head));
}
