/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A built-in command of the agent's as a program of the host's, for tests of
 * what other languages send to it and take from it
 *
 * usage: init_tool COMMAND [ARGUMENT]...
 */
#include <stdio.h>

#include "builtin.h"

int main(int argc, char **argv)
{
	int status = builtin_main(argc - 1, argv + 1);

	fflush(stderr);
	return status;
}
