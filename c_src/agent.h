/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of the agent's channel: frames in, frames out, windows kept */
#ifndef EVUM_AGENT_H
#define EVUM_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_proto.h"
#include "evum.h"

enum agent_program_state { AGENT_FREE, AGENT_STARTING, AGENT_RUNNING };

struct agent_program {
	enum agent_program_state state;
	uint32_t id;
	uint32_t window[3]; /* [0]: stdin bytes the guest takes; [1], [2]: bytes we take */
	bool stdin_closed;
	bool pty;
};

struct agent {
	struct agent_program programs[EVUM_PROGRAMS_MAX];
	uint64_t garbage;
	uint8_t *in; /* received and not yet taken: in_len bytes from in_first on */
	size_t in_first, in_len;
	uint8_t *out; /* queued and not yet written: out_len bytes from out_first on */
	size_t out_first, out_len;
	size_t begun;	    /* of out, the rest of a frame whose first bytes were written */
	size_t line_window; /* bytes the guest's line takes: see agent_proto.h */
};

/* One well-formed frame. */
struct agent_frame {
	struct agent_header header;
	const uint8_t *payload;
};

int agent_init(struct agent *agent);
void agent_free(struct agent *agent);

/* Where to read into and how much; agent_received() after it. */
uint8_t *agent_room(struct agent *agent, size_t *size);
void agent_received(struct agent *agent, size_t len);
/* Takes the next frame; skips and counts garbage.  payload lives until agent_room(). */
bool agent_next(struct agent *agent, struct agent_frame *frame);

/* Queues a frame: 0, or -EAGAIN when EVUM_AGENT_QUEUE would be exceeded. */
int agent_send(struct agent *agent, enum agent_type type, uint8_t fd, uint32_t id,
	       const void *payload, size_t len);
/* Bytes of type that can still be queued, and what len bytes of payload take of them. */
size_t agent_out_room(const struct agent *agent, enum agent_type type);
size_t agent_frames_size(size_t len);
/*
 * Drops what is queued: the agent it was for is gone.  But the rest of a frame
 * that was begun: the next agent would take what follows for it.
 */
void agent_forget_output(struct agent *agent);
/* Writes what fd and the line's window take: 0, or -errno but -EAGAIN. */
int agent_flush(struct agent *agent, int fd);
/* Is there something that fd alone holds up? */
bool agent_can_write(const struct agent *agent);

struct agent_program *agent_find(struct agent *agent, uint32_t id);
int agent_run(struct agent *agent, uint32_t id, const struct evum_program *program);

/* Little-endian numbers of a payload; 0 where it is too short. */
uint32_t agent_u32(const struct agent_frame *frame, size_t offset);

#endif
