/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The person's terminal: raw, its size, and back
 */
#include "tty.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Looks whether there is a terminal, and remembers how it was. */
void tty_open(struct tty *tty)
{
	tty->raw = false;
	tty->present = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
		       tcgetattr(STDIN_FILENO, &tty->saved) == 0;
}

/* Every key goes to the machine, ^C included.  0 or -errno. */
int tty_set_raw(struct tty *tty)
{
	struct termios raw = tty->saved;

	if (!tty->present)
		return -ENOTTY;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return -errno;
	tty->raw = true;
	return 0;
}

/* Safe to call at any time and more than once. */
void tty_restore(struct tty *tty)
{
	if (!tty->raw)
		return;
	tty->raw = false;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &tty->saved);
}

/* 0 x 0 where there is no terminal to ask. */
void tty_size(uint16_t *rows, uint16_t *columns)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	*rows = size.ws_row;
	*columns = size.ws_col;
}
