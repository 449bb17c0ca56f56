/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: the command await: until something is so in the machine
 */
#ifndef EVUM_INIT_WATCH_H
#define EVUM_INIT_WATCH_H

#include "seen.h"

/* args: "file" PATH, "port" N, "net" or "init", then NULL.  Returns 0 or an errno. */
int watch_main(char **args);

/* Each returns 0 once it is so, or -errno. */
int watch_file(struct seen *seen, const char *path);
int watch_port(struct seen *seen, const char *text);
int watch_net(struct seen *seen, const char *none);
int watch_init(struct seen *seen, const char *none);

/* Sleeps, for what nothing tells of. */
void watch_pause(int ms);

#endif
