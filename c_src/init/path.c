/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path: the name of what a walk of a tree is at, to tell of an error
 */
#include "path.h"

#include <string.h>
#include <unistd.h>

static void add(struct path *path, const char *text)
{
	size_t len = strnlen(text, sizeof(path->text) - 1 - path->len);

	memcpy(path->text + path->len, text, len);
	path->len += len;
	path->text[path->len] = '\0';
}

void path_start(struct path *path, const char *text)
{
	path->len = 0;
	add(path, text);
}

size_t path_enter(struct path *path, const char *name)
{
	size_t mark = path->len;

	if (mark == 0 || path->text[mark - 1] != '/')
		add(path, "/");
	add(path, name);
	return mark;
}

void path_back(struct path *path, size_t mark)
{
	path->len = mark;
	path->text[mark] = '\0';
}

int path_report(const struct path *path, int result)
{
	/* Whoever doesn't listen has the status. */
	(void)!write(STDERR_FILENO, path->text, path->len);
	return -result;
}
