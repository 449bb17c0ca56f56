/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot: what evum-init's parts share
 */
#include "boot.h"

#include <stdarg.h>
#include <stdio.h>

int boot_error(struct boot *boot, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(boot->error, sizeof(boot->error), format, args);
	va_end(args);
	return -1;
}
