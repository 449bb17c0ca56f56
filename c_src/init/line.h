/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line: the agent's terminal line
 */
#ifndef EVUM_INIT_LINE_H
#define EVUM_INIT_LINE_H

#include <stddef.h>
#include <stdint.h>

/* Opens AGENT_TTY raw, never as controlling terminal.  flags: O_NONBLOCK or 0.  A descriptor or -errno. */
int line_open(int flags);
/* The same of another terminal. */
int line_open_tty(const char *tty, int flags);

/* Writes one frame and waits until the host has it, for a second at most.  0 or -errno. */
int line_send(int fd, uint8_t type, const void *payload, size_t len);

/* Writes as many zeros as end any frame that was left unfinished. */
void line_pad(int fd);

#endif
