/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BEAM as our child, with the link on its descriptors 3 and 4
 */
#ifndef EVUM_ATTACH_BEAM_H
#define EVUM_ATTACH_BEAM_H

#include <sys/types.h>

int beam_start(char *const argv[], int *link_fd, pid_t *pid);
int beam_wait(pid_t pid, int timeout_ms);

#endif
