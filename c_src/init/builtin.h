/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin: commands that the agent has itself, so that no guest needs them
 */
#ifndef EVUM_INIT_BUILTIN_H
#define EVUM_INIT_BUILTIN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where the agent notes that the machine's init said READY=1: nonzero from then
 * on.  It may change under a running command, so it lies in memory that the
 * agent shares with its children.  NULL: nobody listens for it.
 */
extern const volatile uint32_t *builtin_ready;

struct boot;

/* How the machine was put together.  Set in an agent. */
extern const struct boot *builtin_boot;

/*
 * Runs argv[0] with its arguments in this process, which must be the command's
 * own: it takes descriptors 0 to 2, changes what is done at SIGTERM and SIGPIPE,
 * and frees nothing.  Returns the status to exit with: 0, or the errno of what
 * failed, after a text on standard error (the path concerned, no newline).
 *
 *   put PATH MODE OWNER    a file stream on standard input becomes PATH
 *   get PATH               PATH becomes a file stream on standard output
 *   await file PATH | port N | net | init
 *                          until it is so; a line on standard output says what
 *                          is seen, each time that changes
 *   net set N ADDRESS GATEWAY NAMESERVER DOMAIN MTU IPV6 | down N
 *                          the network interface N; see net.h
 *   freeze, thaw           the disk's layer stands still, and goes on; see freeze.h
 *   diff                   what was changed; see diff.h
 */
int builtin_main(int argc, char **argv);

/* Does the command run in the agent's own mount namespace, not in the machine's? */
bool builtin_is_outside(const char *name);

#endif
