/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: an order to run a program is read whole or refused
 */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "frame.h"
#include "klog.h"
#include "run.h"

static uint8_t payload[AGENT_PAYLOAD_MAX];
static size_t used;
static struct run_spec spec;

static void add(uint8_t tag, const void *bytes, size_t len)
{
	payload[used] = tag;
	frame_put_u32(payload + used + 1, (uint32_t)len);
	memcpy(payload + used + 5, bytes, len);
	used += 5 + len;
}

static void a_whole_order(void)
{
	used = 0;
	add(AGENT_RUN_ARG, "sh", 2);
	add(AGENT_RUN_ENV, "A=1", 3);
	add(AGENT_RUN_ARG, "", 0);
	add(AGENT_RUN_ENV, "A=2", 3);
	add(AGENT_RUN_CWD, "/tmp", 4);
	add(AGENT_RUN_USER, "joe", 3);
	add(AGENT_RUN_WINDOW, "\x00\x01\x00\x00", 4);
	add(AGENT_RUN_PTY, "\x18\x00\x50\x00", 4);
	add(AGENT_RUN_PROCS, "\x02\x00\x00\x00", 4);
	add(AGENT_RUN_MEM, "\x03\x00\x00\x00", 4);
	add(AGENT_RUN_BUILTIN, "", 0);
	CHECK(run_parse(payload, used, &spec) == 0);
	CHECK(spec.argc == 2 && strcmp(spec.argv[0], "sh") == 0 && spec.argv[1][0] == '\0');
	CHECK(spec.argv[2] == NULL && spec.envc == 1 && strcmp(run_env(&spec, "A"), "2") == 0);
	CHECK(strcmp(spec.cwd, "/tmp") == 0 && strcmp(spec.user, "joe") == 0);
	CHECK(spec.window == 256 && spec.builtin);
	CHECK(spec.pty && spec.rows == 24 && spec.columns == 80);
	CHECK(spec.max_procs == 2 && spec.max_mem == 3);
	run_default(&spec, "A", "3");
	run_default(&spec, "B", "4");
	CHECK(strcmp(run_env(&spec, "A"), "2") == 0 && strcmp(run_env(&spec, "B"), "4") == 0);
	CHECK(spec.envp[2] == NULL);
}

static int parse_one(uint8_t tag, const void *bytes, size_t len)
{
	used = 0;
	add(AGENT_RUN_ARG, "x", 1);
	add(tag, bytes, len);
	return run_parse(payload, used, &spec);
}

static void an_order_forgets_the_one_before(void)
{
	CHECK(parse_one(AGENT_RUN_ARG, "y", 1) == 0);
	CHECK(spec.argc == 2 && spec.envc == 0 && spec.cwd == NULL && spec.user == NULL);
	CHECK(!spec.builtin && !spec.pty);
	CHECK(spec.window == 0 && spec.max_procs == 0 && spec.max_mem == 0);
}

static void broken_orders(void)
{
	CHECK(run_parse(payload, 0, &spec) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_ARG, "a\0b", 3) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_ENV, "novalue", 7) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_ENV, "=x", 2) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_WINDOW, "123", 3) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_PTY, "12345", 5) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_PROCS, "1", 1) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_MEM, "", 0) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_BUILTIN, "1", 1) == -EINVAL);
	CHECK(parse_one(99, "", 0) == -EINVAL);
	CHECK(parse_one(AGENT_RUN_CWD, "/", 1) == 0);
	CHECK(run_parse(payload, used - 1, &spec) == -EBADMSG);
}

static void too_much(void)
{
	used = 0;
	while (used + 6 <= sizeof(payload))
		add(AGENT_RUN_ARG, "x", 1);
	CHECK(run_parse(payload, used, &spec) == -E2BIG);
	used = 0;
	memset(payload, 'y', sizeof(payload));
	payload[0] = AGENT_RUN_ARG;
	frame_put_u32(payload + 1, sizeof(payload) - 5);
	CHECK(run_parse(payload, sizeof(payload), &spec) == 0);
	CHECK(strlen(spec.argv[0]) == sizeof(payload) - 5);
}

static void the_log_loses_its_levels(void)
{
	char text[] = "<6>[ 0.1] one <2>\n<30>two\nthree\n<cut";
	size_t len = klog_strip(text, sizeof(text) - 1);

	CHECK(len == strlen("[ 0.1] one <2>\ntwo\nthree\n"));
	CHECK(memcmp(text, "[ 0.1] one <2>\ntwo\nthree\n", len) == 0);
	CHECK(klog_strip(text, 0) == 0);
}

int main(void)
{
	a_whole_order();
	an_order_forgets_the_one_before();
	broken_orders();
	too_much();
	the_log_loses_its_levels();
	return 0;
}
