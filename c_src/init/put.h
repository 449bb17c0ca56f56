/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put: a file stream becomes a file or a tree
 */
#ifndef EVUM_INIT_PUT_H
#define EVUM_INIT_PUT_H

/*
 * Writes the stream on descriptor 0 at args[0]; args[1] is the permission bits
 * of files in octal, args[2] the owner of everything, "uid:gid" or a name; ""
 * leaves it to the stream.  Returns 0 or the errno of what failed.
 */
int put_main(char **args);

#endif
