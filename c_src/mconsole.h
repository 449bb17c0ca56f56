/* SPDX-License-Identifier: Apache-2.0 */
/* UML's management console: requests, their answers, and notifications */
#ifndef EVUM_MCONSOLE_H
#define EVUM_MCONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evum.h"

/* Longest answer kept; the rest of it is dropped. */
#define MCONSOLE_ANSWER_MAX 65536u

struct mconsole_request {
	uint32_t id;
	char command[EVUM_MCONSOLE_MAX + 1];
};

/* One request is on its way at a time: answers don't say what they answer. */
struct mconsole {
	int client; /* bound in the jail */
	int run;    /* O_PATH descriptor of the run directory */
	int kernel; /* that of the kernel's socket; -1: not ready */
	bool waiting;
	bool refused;
	struct mconsole_request queue[EVUM_MCONSOLE_PENDING];
	unsigned int first, count;
	char *answer;
	size_t answer_len;
};

enum mconsole_notice { MCONSOLE_READY = 0, MCONSOLE_PANIC, MCONSOLE_HANG, MCONSOLE_USER };

/* The kernel says that its socket is there. */
void mconsole_ready(struct mconsole *mconsole);
int mconsole_init(struct mconsole *mconsole);
void mconsole_free(struct mconsole *mconsole);
/* 0; -EBUSY with EVUM_MCONSOLE_PENDING waiting; -EMSGSIZE; -EINVAL. */
int mconsole_queue(struct mconsole *mconsole, uint32_t id, const char *command);
/* Sends the first request when none is on its way; true when one went out. */
bool mconsole_send(struct mconsole *mconsole);
/* Reads one packet: true when it completes the answer to the first request. */
bool mconsole_receive(struct mconsole *mconsole);
/* The first request has been answered or given up. */
void mconsole_done(struct mconsole *mconsole);

/* Reads one notification; its text goes to data.  Returns the text's length, or -errno. */
long mconsole_read_notice(int notify, enum mconsole_notice *type, char *data, size_t size);

#endif
