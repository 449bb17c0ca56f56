/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pty: a terminal of the machine's own
 */
#ifndef EVUM_INIT_PTY_H
#define EVUM_INIT_PTY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Opens a pty in what is the root of init, whose /proc proc is: its master, without
 * blocking, and its slave.  0, or -errno: ENODEV where that root has no ptys.
 */
int pty_open(int proc, pid_t init, uint16_t rows, uint16_t columns, int *master, int *slave);

int pty_set_size(int fd, uint16_t rows, uint16_t columns);

/* The end of what is typed; zeroed but for unfinished. */
struct pty_end {
	bool unfinished; /* the last line that was typed */
	int count;	 /* of ends typed */
	int wait_ms;
	int64_t look_at; /* ms; when pty_end() is to be called next, -1: never again */
};

/* Types the end, as often as a program reads it. */
void pty_end(int master, struct pty_end *end, int64_t now);

/* In the program, a session's leader: makes descriptor 0 its terminal, and uid's. */
int pty_take(void);
int pty_own(uid_t uid);

#endif
