/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The person's terminal: raw, its size, and back
 */
#ifndef EVUM_ATTACH_TTY_H
#define EVUM_ATTACH_TTY_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct tty {
	bool present; /* descriptor 0 and descriptor 1 are terminals */
	bool raw;
	struct termios saved;
};

void tty_open(struct tty *tty);
int tty_set_raw(struct tty *tty);
void tty_restore(struct tty *tty);
void tty_size(uint16_t *rows, uint16_t *columns);

#endif
