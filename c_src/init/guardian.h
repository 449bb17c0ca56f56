/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guardian: the machine's real pid 1
 */
#ifndef EVUM_INIT_GUARDIAN_H
#define EVUM_INIT_GUARDIAN_H

#include "boot.h"

/* Takes over pid 1's signals, before anything is forked. */
void guardian_prepare(void);

/* Starts the agent and watches it and the inner init, until the machine ends. */
_Noreturn void guardian_watch(struct boot *boot);

/* Says why the boot can't go on, to the host and on the console, and powers off. */
_Noreturn void guardian_give_up(struct boot *boot);

#endif
