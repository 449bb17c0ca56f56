/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: the machine's init says that it is through
 */
#ifndef EVUM_INIT_NOTIFY_H
#define EVUM_INIT_NOTIFY_H

#include "boot.h"

/* What an init finds in its environment, see sd_notify(3). */
#define NOTIFY_ENV "NOTIFY_SOCKET=@" NOTIFY_ADDRESS
#define NOTIFY_ADDRESS "evum-notify"

/* Before init is started.  Where it fails, nobody can wait for an init that would say so. */
void notify_open(struct boot *boot);

/* Reads what has come.  Returns true once init is ready: then nothing more is listened for. */
bool notify_read(const struct boot *boot);

#endif
