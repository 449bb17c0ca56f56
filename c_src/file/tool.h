/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program that leaves no process behind */
#ifndef EVUM_FILE_TOOL_H
#define EVUM_FILE_TOOL_H

/*
 * Runs a program, argv[0] its path, with our output and without input, until it has
 * ended or we are told to end: by a byte or end of file on our input, or by SIGTERM,
 * SIGINT or SIGHUP.  Then whatever it has started is ended, in sessions of its own too: by
 * SIGKILL, but what had been orphaned before is last and has 1 s from a SIGTERM on.  That
 * takes 5 s at most; what can't be killed by then is left to the system.
 *
 * Returns what to exit with: the program's status, 128 + the signal that ended it
 * (SIGKILL, where we were told to), 127 where it can't be run, 1 when the system fails.
 */
int run_program(char **argv);

#endif
