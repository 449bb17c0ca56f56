/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc: the programs that the agent runs, and their streams
 *
 * The life of a program: proc_run() gives it a slot; its output is pumped into
 * the queue as far as its windows reach; proc_ended() notes its end; once both
 * outputs are through, AGENT_EXIT is sent and the slot is free.
 */
#ifndef EVUM_INIT_PROC_H
#define EVUM_INIT_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent_proto.h"
#include "input.h"
#include "limit.h"
#include "outq.h"
#include "output.h"
#include "spawn.h"
#include "spool.h"

#define PROCS_MAX 512

/*
 * Outputs whose pipes were made larger at a time; the others keep theirs.  What a
 * full pipe holds is the machine's memory, and the host may read none of them.
 */
#define OUTPUTS_WIDE_MAX 16

struct proc {
	bool used;
	bool ended;
	bool builtin;
	bool pty;    /* in and out[0] are its master, and there is no out[1] */
	bool untold; /* its end is the machine's, which is told for all */
	int status;  /* of waitpid(2) */
	uint32_t id;
	uint32_t group; /* of its limits; 0: none */
	pid_t pid;
	int64_t ended_at;  /* ms */
	int64_t active_at; /* when an output last had something, ms */
	bool second_first; /* of the outputs, in the next turn */
	struct input in;
	struct output out[2];
};

struct procs {
	int epoll;
	struct spool *spool;
	struct limits *limits;
	unsigned int grown; /* stdin windows that are */
	unsigned int wide;  /* outputs that are */
	unsigned int high;  /* slots from here on were never used or are free */
	unsigned int next;  /* slot whose turn is the first of the next round */
	struct proc slot[PROCS_MAX];
};

void procs_init(struct procs *procs, int epoll, struct spool *spool, struct limits *limits);

/* Starts a program, or says with AGENT_EXIT why not. */
void proc_run(struct procs *procs, const struct spawn_host *host, struct run_spec *spec,
	      uint32_t id, struct outq *out);

/* Refuses: AGENT_EXIT, NOT_STARTED. */
void proc_refuse(struct outq *out, uint32_t id, int error);

/* What the host sent for a program; an id that isn't there is late and ignored. */
void proc_input(struct procs *procs, uint32_t id, const uint8_t *bytes, uint32_t len);
/* false where there is no such input, or no such bytes in the spool. */
bool proc_input_spooled(struct procs *procs, uint32_t id, uint32_t slot, uint32_t len);
void proc_credit(struct procs *procs, uint32_t id, uint8_t fd, uint32_t bytes);
void proc_signal(struct procs *procs, uint32_t id, int signal);
void proc_winsize(struct procs *procs, uint32_t id, uint16_t rows, uint16_t columns);

/* Something happened to a stream; word is what epoll gave. */
void proc_event(struct procs *procs, uint64_t word, uint32_t events);

/* A child was reaped; pid may be a stranger. */
void proc_ended(struct procs *procs, pid_t pid, int status, bool untold, int64_t now);

/* Moves what can be moved, once round.  Returns true where there is more to do at once. */
bool procs_pump(struct procs *procs, struct outq *out, int64_t now);

/* When procs_pump() is to be called although nothing happened; -1: never. */
int64_t procs_deadline(const struct procs *procs);

bool procs_any(const struct procs *procs);

/* The machine ends: what has ended says so now, whatever its pipes or windows. */
void procs_abandon(struct procs *procs, struct outq *out);

#endif
