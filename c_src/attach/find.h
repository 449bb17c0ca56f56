/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which machines have a console to attach to
 */
#ifndef EVUM_ATTACH_FIND_H
#define EVUM_ATTACH_FIND_H

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define FIND_LABEL_MAX 63u
#define FIND_MACHINES_MAX 1024u

/* A listener on the abstract address evum/UID/LABEL/PID, where PID is the BEAM's. */
struct machine {
	uid_t uid;
	pid_t pid;
	char label[FIND_LABEL_MAX + 1];
};

int find_parse(const char *line, struct machine *machine);
size_t find_list(FILE *table, uid_t uid, struct machine *machines, size_t max);
int find_machine(const struct machine *machines, size_t count, uid_t uid, const char *name);
int find_connect(const struct machine *machine);

#endif
