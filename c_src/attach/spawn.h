/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BEAM as our child, with the link on its descriptors 3 and 4
 */
#ifndef EVUM_ATTACH_SPAWN_H
#define EVUM_ATTACH_SPAWN_H

#include <sys/types.h>

int spawn_linked(char *const argv[], int *link_fd, pid_t *pid);
int spawn_wait(pid_t pid, int timeout_ms);

#endif
