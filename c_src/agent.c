/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the agent's channel: frames in, frames out, windows kept
 *
 * What comes in was written by the guest, root or not: agent_next() is the one
 * door to it.  A length over AGENT_PAYLOAD_MAX is as much garbage as a wrong
 * magic.  Frames about programs that don't run, and output beyond its window,
 * are dropped by the caller and counted as garbage: a guest can make the host
 * keep nothing that the host did not ask for.
 */
#include "agent.h"

#include <string.h>
#include <sys/socket.h>

#include "util.h"

/* Credit and orders must get through whatever programs are given to read. */
#define CONTROL_RESERVE 65536u

#define IN_MAX (2 * (sizeof(struct agent_header) + AGENT_PAYLOAD_MAX))

int agent_init(struct agent *agent)
{
	memset(agent, 0, sizeof(*agent));
	agent->in = malloc(IN_MAX);
	agent->out = malloc(EVUM_AGENT_QUEUE);
	return agent->in && agent->out ? 0 : -ENOMEM;
}

void agent_free(struct agent *agent)
{
	free(agent->in);
	free(agent->out);
	agent->in = agent->out = NULL;
}

uint8_t *agent_room(struct agent *agent, size_t *size)
{
	memmove(agent->in, agent->in + agent->in_first, agent->in_len);
	agent->in_first = 0;
	*size = IN_MAX - agent->in_len;
	return agent->in + agent->in_len;
}

void agent_received(struct agent *agent, size_t len)
{
	agent->in_len += len;
}

static void take(struct agent *agent, size_t len)
{
	agent->in_first += len;
	agent->in_len -= len;
}

/* Is there a header at the start, as far as its bytes have come? */
static bool plausible(const struct agent *agent, struct agent_header *header)
{
	const uint8_t magic[] = {AGENT_MAGIC & 0xff, AGENT_MAGIC >> 8};
	const uint8_t *start = agent->in + agent->in_first;

	if (memcmp(start, magic, min_size(agent->in_len, sizeof(magic))) != 0)
		return false;
	if (agent->in_len < sizeof(*header))
		return true;
	memcpy(header, start, sizeof(*header));
	return header->len <= AGENT_PAYLOAD_MAX;
}

bool agent_next(struct agent *agent, struct agent_frame *frame)
{
	while (agent->in_len > 0 && !plausible(agent, &frame->header)) {
		take(agent, 1);
		agent->garbage++;
	}
	if (agent->in_len < sizeof(frame->header) ||
	    agent->in_len - sizeof(frame->header) < frame->header.len)
		return false;
	frame->payload = agent->in + agent->in_first + sizeof(frame->header);
	take(agent, sizeof(frame->header) + frame->header.len);
	return true;
}

size_t agent_out_room(const struct agent *agent, enum agent_type type)
{
	size_t room = EVUM_AGENT_QUEUE - agent->out_len;
	size_t reserve = type == AGENT_STDIN || type == AGENT_RUN ? CONTROL_RESERVE : 0;

	return room > reserve ? room - reserve : 0;
}

void agent_forget_output(struct agent *agent)
{
	agent->out_len = agent->begun;
}

static void queue(struct agent *agent, const void *bytes, size_t len)
{
	if (len == 0)
		return;
	memcpy(agent->out + agent->out_first + agent->out_len, bytes, len);
	agent->out_len += len;
}

int agent_send(struct agent *agent, enum agent_type type, uint8_t fd, uint32_t id,
	       const void *payload, size_t len)
{
	struct agent_header header = {
		.magic = AGENT_MAGIC,
		.type = (uint8_t)type,
		.fd = fd,
		.id = id,
		.len = (uint32_t)len,
	};

	if (len > AGENT_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (sizeof(header) + len > agent_out_room(agent, type))
		return -EAGAIN;
	if (agent->out_first + agent->out_len + sizeof(header) + len > EVUM_AGENT_QUEUE) {
		memmove(agent->out, agent->out + agent->out_first, agent->out_len);
		agent->out_first = 0;
	}
	queue(agent, &header, sizeof(header));
	queue(agent, payload, len);
	return 0;
}

size_t agent_frames_size(size_t len)
{
	size_t frames = len / AGENT_PAYLOAD_MAX + 1;

	return frames * sizeof(struct agent_header) + len;
}

bool agent_can_write(const struct agent *agent)
{
	return agent->out_len > 0 && agent->line_window > 0;
}

/* Takes what was written from the queue, which has whole frames behind the one that is begun. */
static void written(struct agent *agent, size_t len)
{
	struct agent_header header;

	while (len > 0) {
		size_t part;

		if (agent->begun == 0) {
			memcpy(&header, agent->out + agent->out_first, sizeof(header));
			agent->begun = sizeof(header) + header.len;
		}
		part = min_size(len, agent->begun);
		agent->begun -= part;
		agent->out_first += part;
		agent->out_len -= part;
		len -= part;
	}
}

int agent_flush(struct agent *agent, int fd)
{
	while (agent_can_write(agent)) {
		ssize_t sent = RETRY(send(fd, agent->out + agent->out_first,
					  min_size(agent->out_len, agent->line_window),
					  MSG_NOSIGNAL | MSG_DONTWAIT));

		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		written(agent, (size_t)sent);
		agent->line_window -= (size_t)sent;
	}
	return 0;
}

struct agent_program *agent_find(struct agent *agent, uint32_t id)
{
	for (size_t i = 0; i < EVUM_PROGRAMS_MAX; i++)
		if (agent->programs[i].state != AGENT_FREE && agent->programs[i].id == id)
			return &agent->programs[i];
	return NULL;
}

static struct agent_program *find_free(struct agent *agent)
{
	for (size_t i = 0; i < EVUM_PROGRAMS_MAX; i++)
		if (agent->programs[i].state == AGENT_FREE)
			return &agent->programs[i];
	return NULL;
}

/* A payload being put together. */
struct fields {
	uint8_t bytes[AGENT_PAYLOAD_MAX];
	size_t len;
	bool overflow;
};

static void put_field(struct fields *fields, enum agent_run_field tag, const void *value,
		      size_t len)
{
	uint32_t length = (uint32_t)len;

	if (fields->overflow || len > sizeof(fields->bytes) ||
	    fields->len + 5 + len > sizeof(fields->bytes)) {
		fields->overflow = true;
		return;
	}
	fields->bytes[fields->len] = (uint8_t)tag;
	memcpy(fields->bytes + fields->len + 1, &length, sizeof(length));
	memcpy(fields->bytes + fields->len + 5, value, len);
	fields->len += 5 + len;
}

static void put_string(struct fields *fields, enum agent_run_field tag, const char *value)
{
	if (value)
		put_field(fields, tag, value, strlen(value));
}

static void put_limit(struct fields *fields, enum agent_run_field tag, uint32_t limit)
{
	if (limit)
		put_field(fields, tag, &limit, sizeof(limit));
}

static void put_program(struct fields *fields, const struct evum_program *program)
{
	const uint16_t size[2] = {(uint16_t)program->rows, (uint16_t)program->cols};

	fields->len = 0;
	fields->overflow = false;
	for (size_t i = 0; program->argv[i]; i++)
		put_string(fields, AGENT_RUN_ARG, program->argv[i]);
	for (size_t i = 0; program->env && program->env[i]; i++)
		put_string(fields, AGENT_RUN_ENV, program->env[i]);
	put_string(fields, AGENT_RUN_CWD, program->cwd);
	put_string(fields, AGENT_RUN_USER, program->user);
	put_field(fields, AGENT_RUN_WINDOW, &program->window, sizeof(program->window));
	if (program->rows)
		put_field(fields, AGENT_RUN_PTY, size, sizeof(size));
	put_limit(fields, AGENT_RUN_PROCS, program->max_procs);
	put_limit(fields, AGENT_RUN_MEM, program->max_mem);
	if (program->builtin)
		put_field(fields, AGENT_RUN_BUILTIN, "", 0);
}

/* Both or none. */
static bool pty_valid(const struct evum_program *program)
{
	return program->rows <= UINT16_MAX && program->cols <= UINT16_MAX &&
	       !program->rows == !program->cols;
}

int agent_run(struct agent *agent, uint32_t id, const struct evum_program *program)
{
	struct agent_program *entry = find_free(agent);
	struct fields fields;
	int err;

	if (id == 0 || !program->argv || !program->argv[0] || agent_find(agent, id))
		return -EINVAL;
	if (!pty_valid(program))
		return -ERANGE;
	if (!entry)
		return -EBUSY;
	put_program(&fields, program);
	if (fields.overflow)
		return -E2BIG;
	err = agent_send(agent, AGENT_RUN, 0, id, fields.bytes, fields.len);
	if (err)
		return err;
	*entry = (struct agent_program){
		.state = AGENT_STARTING,
		.id = id,
		.window = {AGENT_STDIN_WINDOW, program->window, program->window},
		.pty = program->rows > 0,
	};
	return 0;
}

uint32_t agent_u32(const struct agent_frame *frame, size_t offset)
{
	uint32_t value = 0;

	if (offset + sizeof(value) <= frame->header.len)
		memcpy(&value, frame->payload + offset, sizeof(value));
	return value;
}
