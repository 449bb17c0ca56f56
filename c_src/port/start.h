/* SPDX-License-Identifier: Apache-2.0 */
/* What a port program does first */
#ifndef EVUM_START_H
#define EVUM_START_H

#define PORT_IN 3
#define PORT_OUT 4

/*
 * Signals as an ordinary program has them, PORT_IN and PORT_OUT non-blocking, 0 to
 * 2 open, and nothing else.  0, or -errno where the program wasn't started by Erlang.
 */
int start_prepare(void);

#endif
