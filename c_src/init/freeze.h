/* SPDX-License-Identifier: Apache-2.0 */
/*
 * freeze: the disk's layer stands still while the host copies it
 */
#ifndef EVUM_INIT_FREEZE_H
#define EVUM_INIT_FREEZE_H

/*
 * Writes everything out and stops all writers, says "frozen" on standard output,
 * and lets them go on at the end of standard input.  Whoever holds it writes a byte
 * now and then: after a minute without one it ends too, with ETIME.
 */
int freeze_main(char **args);

/* Lets them go on, whoever stopped them: 0 also where nobody had. */
int thaw_main(char **args);

#endif
