/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: what an AGENT_RUN frame asks for
 *
 * A field takes five bytes of header and its string one NUL, so the text of
 * any payload fits where the payload would.
 */
#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"

/* Copies len bytes as a string; NULL where there is no room. */
static char *keep_text(struct run_spec *spec, const void *bytes, size_t len)
{
	char *text = spec->text + spec->used;

	if (len >= sizeof(spec->text) - spec->used)
		return NULL;
	memcpy(text, bytes, len);
	text[len] = '\0';
	spec->used += len + 1;
	return text;
}

static char **find_env(struct run_spec *spec, const char *name, size_t len)
{
	int i;

	for (i = 0; i < spec->envc; i++)
		if (strncmp(spec->envp[i], name, len) == 0 && spec->envp[i][len] == '=')
			return &spec->envp[i];
	return NULL;
}

/* The last one of a name wins. */
static int add_env(struct run_spec *spec, char *entry)
{
	size_t len = strcspn(entry, "=");
	char **before;

	if (len == 0 || entry[len] == '\0')
		return -EINVAL;
	before = find_env(spec, entry, len);
	if (before != NULL)
		*before = entry;
	else if (spec->envc == RUN_ENV_MAX)
		return -E2BIG;
	else
		spec->envp[spec->envc++] = entry;
	return 0;
}

static int add_arg(struct run_spec *spec, char *arg)
{
	if (spec->argc == RUN_ARGS_MAX)
		return -E2BIG;
	spec->argv[spec->argc++] = arg;
	return 0;
}

static int take_number(const struct frame_field *field, uint32_t *number)
{
	if (field->len != 4)
		return -EINVAL;
	*number = frame_u32(field->bytes);
	return 0;
}

static int take_size(const struct frame_field *field, struct run_spec *spec)
{
	if (field->len != 4)
		return -EINVAL;
	spec->pty = true;
	spec->rows = frame_u16(field->bytes);
	spec->columns = frame_u16(field->bytes + 2);
	return 0;
}

static int take_text(struct run_spec *spec, const struct frame_field *field)
{
	char *text;

	if (memchr(field->bytes, '\0', field->len) != NULL)
		return -EINVAL;
	text = keep_text(spec, field->bytes, field->len);
	if (text == NULL)
		return -E2BIG;
	switch (field->tag) {
	case AGENT_RUN_ARG:
		return add_arg(spec, text);
	case AGENT_RUN_ENV:
		return add_env(spec, text);
	case AGENT_RUN_CWD:
		spec->cwd = text;
		return 0;
	case AGENT_RUN_USER:
		spec->user = text;
		return 0;
	default:
		return -EINVAL;
	}
}

static int take_field(struct run_spec *spec, const struct frame_field *field)
{
	switch (field->tag) {
	case AGENT_RUN_WINDOW:
		return take_number(field, &spec->window);
	case AGENT_RUN_PROCS:
		return take_number(field, &spec->max_procs);
	case AGENT_RUN_MEM:
		return take_number(field, &spec->max_mem);
	case AGENT_RUN_PTY:
		return take_size(field, spec);
	case AGENT_RUN_BUILTIN:
		spec->builtin = true;
		return field->len == 0 ? 0 : -EINVAL;
	default:
		return take_text(spec, field);
	}
}

static void clear(struct run_spec *spec)
{
	spec->argc = 0;
	spec->envc = 0;
	spec->cwd = NULL;
	spec->user = NULL;
	spec->builtin = spec->pty = false;
	spec->window = spec->max_procs = spec->max_mem = 0;
	spec->used = 0;
}

int run_parse(const uint8_t *payload, size_t len, struct run_spec *spec)
{
	struct frame_field field;
	int result;

	clear(spec);
	while ((result = frame_next_field(&payload, &len, &field)) == 1) {
		result = take_field(spec, &field);
		if (result < 0)
			return result;
	}
	if (result < 0)
		return result;
	spec->argv[spec->argc] = NULL;
	spec->envp[spec->envc] = NULL;
	return spec->argc > 0 ? 0 : -EINVAL;
}

void run_simple(struct run_spec *spec, const char *program)
{
	clear(spec);
	(void)add_arg(spec, keep_text(spec, program, strlen(program)));
	spec->argv[spec->argc] = NULL;
	spec->envp[spec->envc] = NULL;
}

const char *run_env(const struct run_spec *spec, const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = 0; i < spec->envc; i++)
		if (strncmp(spec->envp[i], name, len) == 0 && spec->envp[i][len] == '=')
			return spec->envp[i] + len + 1;
	return NULL;
}

void run_default(struct run_spec *spec, const char *name, const char *value)
{
	char entry[RUN_DEFAULTS_MAX];
	char *text;
	int len;

	if (run_env(spec, name) != NULL || spec->envc == RUN_ENV_MAX)
		return;
	len = snprintf(entry, sizeof(entry), "%s=%s", name, value);
	if (len < 0 || (size_t)len >= sizeof(entry))
		return;
	text = keep_text(spec, entry, (size_t)len);
	if (text == NULL)
		return;
	spec->envp[spec->envc++] = text;
	spec->envp[spec->envc] = NULL;
}
