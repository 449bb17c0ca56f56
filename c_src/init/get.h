/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get: a file or a tree becomes a file stream
 */
#ifndef EVUM_INIT_GET_H
#define EVUM_INIT_GET_H

/* Writes args[0] as a stream on descriptor 1.  Returns 0 or the errno of what failed. */
int get_main(char **args);

#endif
