/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klog: the kernel's log, on the console
 *
 * With "quiet" the kernel prints nothing, which is what makes the boot fast;
 * whoever looks at the console still gets to see it boot.
 */
#define _GNU_SOURCE
#include "klog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <unistd.h>

#include "boot.h"

#define KLOG_READ_ALL 3
#define KLOG_MAX 49152 /* fits the first window of the console, where nobody reads yet */
#define KLOG_PATIENCE_MS 200

size_t klog_strip(char *text, size_t len)
{
	size_t from = 0, to = 0, end;
	char *newline;

	while (from < len) {
		newline = memchr(text + from, '\n', len - from);
		end = newline != NULL ? (size_t)(newline - text) + 1 : len;
		if (text[from] == '<') {
			while (from < end && text[from] != '>' && text[from] != '\n')
				from++;
			if (from < end && text[from] == '>')
				from++;
		}
		memmove(text + to, text + from, end - from);
		to += end - from;
		from = end;
	}
	return to;
}

/* Writes while the console takes it. */
static void write_patiently(int fd, const char *text, size_t len)
{
	struct pollfd console = {.fd = fd, .events = POLLOUT};
	ssize_t written;

	while (len > 0) {
		written = write(fd, text, len);
		if (written > 0) {
			text += written;
			len -= (size_t)written;
		} else if ((written < 0 && errno != EAGAIN) ||
			   poll(&console, 1, KLOG_PATIENCE_MS) <= 0) {
			return;
		}
	}
}

void klog_copy(void)
{
	char *text = malloc(KLOG_MAX);
	int fd, len;

	fd = open(CONSOLE_TTY, O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (text != NULL && fd >= 0) {
		len = klogctl(KLOG_READ_ALL, text, KLOG_MAX);
		if (len > 0)
			write_patiently(fd, text, klog_strip(text, (size_t)len));
	}
	if (fd >= 0)
		close(fd);
	free(text);
}

/* One write(2): dprintf(3) would seek, which this file refuses. */
void klog_warn(const char *format, ...)
{
	char text[BOOT_TEXT_MAX], line[BOOT_TEXT_MAX + 32];
	va_list args;
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC), len;

	if (fd < 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Without its end it would be shown with the next line. */
	len = snprintf(line, sizeof(line), "<4>evum-init: %s\n", text);
	(void)!write(fd, line, (size_t)len);
	close(fd);
}
