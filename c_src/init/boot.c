/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot: what evum-init's parts share
 */
#include "boot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

int boot_error(struct boot *boot, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(boot->error, sizeof(boot->error), format, args);
	va_end(args);
	return -1;
}

int64_t boot_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t boot_earlier(int64_t a, int64_t b)
{
	return b < 0 || (a >= 0 && a < b) ? a : b;
}

int boot_next_signal(const sigset_t *set, int64_t wait_ms)
{
	struct timespec wait = {.tv_sec = wait_ms / 1000,
				.tv_nsec = (long)(wait_ms % 1000) * 1000000};
	int signal;

	do
		signal = sigtimedwait(set, NULL, wait_ms < 0 ? NULL : &wait);
	while (signal < 0 && errno == EINTR);
	return signal < 0 ? 0 : signal;
}
