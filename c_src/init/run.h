/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: what an AGENT_RUN frame asks for
 */
#ifndef EVUM_INIT_RUN_H
#define EVUM_INIT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_proto.h"

#define RUN_ARGS_MAX 4096
#define RUN_ENV_MAX 512
#define RUN_DEFAULTS_MAX 2048 /* bytes for what run_default() adds */

struct run_spec {
	int argc;
	int envc;
	const char *cwd;  /* NULL: / */
	const char *user; /* NULL: root */
	bool builtin;	  /* argv is a command of the agent's own */
	bool pty;
	uint16_t rows; /* of the pty */
	uint16_t columns;
	uint32_t window;
	uint32_t max_procs; /* 0: no limit */
	uint32_t max_mem;   /* MiB; 0: no limit */
	size_t used;	    /* of text */
	char *argv[RUN_ARGS_MAX + 1];
	char *envp[RUN_ENV_MAX + 1];
	char text[AGENT_PAYLOAD_MAX + RUN_DEFAULTS_MAX];
};

/*
 * Reads a payload.  0; -EBADMSG for fields that can't be read, -EINVAL for no
 * argument, an unknown field or a NUL inside a string, -E2BIG for too many.
 */
int run_parse(const uint8_t *payload, size_t len, struct run_spec *spec);

/* A program of our own, without arguments. */
void run_simple(struct run_spec *spec, const char *program);

/* The value of name in the environment, or NULL. */
const char *run_env(const struct run_spec *spec, const char *name);

/* Adds name=value to the environment unless name is there; without room, not. */
void run_default(struct run_spec *spec, const char *name, const char *value);

#endif
