/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seen: a line on standard output each time that what is seen changes
 */
#include "seen.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add(struct seen *seen, const char *format, va_list args)
{
	size_t room = sizeof(seen->text) - 1 - seen->len; /* one for the newline */
	int len = vsnprintf(seen->text + seen->len, room, format, args);

	if (len > 0)
		seen->len += (size_t)len < room ? (size_t)len : room - 1;
}

void seen_start(struct seen *seen, const char *format, ...)
{
	va_list args;

	seen->len = 0;
	va_start(args, format);
	add(seen, format, args);
	va_end(args);
}

void seen_add(struct seen *seen, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(seen, format, args);
	va_end(args);
}

int seen_tell(struct seen *seen)
{
	size_t i;

	/* The name of a file must not look like a second line. */
	for (i = 0; i < seen->len; i++)
		if (seen->text[i] == '\n')
			seen->text[i] = '?';
	if (strcmp(seen->text, seen->told) == 0)
		return 0;
	memcpy(seen->told, seen->text, seen->len + 1);
	seen->text[seen->len] = '\n';
	return write(STDOUT_FILENO, seen->text, seen->len + 1) < 0 ? -errno : 0;
}
