/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inner: pid 1 as the machine's programs see it
 */
#ifndef EVUM_INIT_INNER_H
#define EVUM_INIT_INNER_H

#include "boot.h"

/*
 * Starts the inner init in pid and mount namespaces of its own and waits until
 * it runs in its root: fills boot->init, pid_ns and mnt_ns.  0, or -1 with
 * boot->error.
 */
int inner_start(struct boot *boot);

#endif
