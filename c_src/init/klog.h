/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klog: the kernel's log, on the console
 */
#ifndef EVUM_INIT_KLOG_H
#define EVUM_INIT_KLOG_H

#include <stddef.h>

/*
 * Copies the end of the kernel's log to the console, as dmesg prints it.
 * Bounded in size and time: a console that nobody reads must not stop a boot.
 */
void klog_copy(void);

/* Takes the "<6>" off the start of each line, in place; returns the new length. */
size_t klog_strip(char *text, size_t len);

/* Adds a line, a warning, which names evum-init. */
void klog_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
