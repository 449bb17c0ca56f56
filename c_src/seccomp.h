/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that a UML kernel never needs, taken away */
#ifndef EVUM_SECCOMP_H
#define EVUM_SECCOMP_H

/* From here on they answer EPERM.  0, or -errno; needs no_new_privs. */
int seccomp_enter(void);

#endif
