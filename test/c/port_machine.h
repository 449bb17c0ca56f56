/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of the fake libevum's behind evum_port, and the list of tests on it
 *
 * usage: TEST [PORT]   where PORT is evum_port linked with port_fake_evum.c
 */
#ifndef EVUM_TEST_PORT_MACHINE_H
#define EVUM_TEST_PORT_MACHINE_H

#include "port_peer.h"

#define START_FIELDS "kernel=>\"/k\",initramfs=>\"/i\",hostname=>\"h\",mem=>64,root=>initramfs"
#define START_LOG "start /k /i /usr/lib/uml/modules h mem=64 root=0"
#define START_LOG_END " cpu=0:0 verbose=0 log=0 window=0\n"

/* A number of a process, from its file in /proc; -1: it has no such field. */
static inline long status_field(pid_t pid, const char *file, const char *field, int base)
{
	char name[64];
	char line[256];
	long value = -1;
	FILE *status;

	snprintf(name, sizeof(name), "/proc/%d/%s", (int)pid, file);
	status = fopen(name, "re");
	CHECK(status != NULL);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtol(line + strlen(field), NULL, base);
	fclose(status);
	return value;
}

static inline void start_and_greet(struct peer *peer)
{
	peer_start(peer);
	peer_expect(peer, "{event,hello,#{...");
}

/* A machine that is up; more are fields of start's map, each begun by a comma. */
static inline void start_machine(struct peer *peer, const char *more)
{
	static const char *const stages[] = {"spawn", "kernel", "init", "root", "agent"};
	char text[64];

	start_and_greet(peer);
	peer_call(peer, "{call,0,start,[#{" START_FIELDS "%s}]}", more);
	peer_expect(peer, "{reply,0,ok}");
	for (size_t i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "{event,stage,#{stage=>%s}}", stages[i]);
		peer_expect(peer, text);
	}
	peer_expect(peer, "{event,up,#{release=><<\"6.1.0\">>}}");
}

static inline void end_by_eof(struct peer *peer)
{
	close(peer->in);
	peer_expect_exit(peer, 0);
	unlink(peer->log);
}

struct machine_test {
	const char *name;
	void (*run)(void);
};

#define TEST(name)          \
	{                   \
#name, name \
	}

static inline int machine_main(int argc, char **argv, const struct machine_test *tests,
			       size_t count)
{
	signal(SIGPIPE, SIG_IGN);
	/* What ASan keeps of freed memory isn't the port's. */
	setenv("ASAN_OPTIONS", "quarantine_size_mb=1", 0);
	peer_program = argc > 1 ? argv[1] : getenv("EVUM_PORT_FAKE");
	if (!peer_program) {
		fprintf(stderr, "usage: %s evum_port_fake\n", argv[0]);
		return CHECK_SKIP;
	}
	for (size_t i = 0; i < count; i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].run();
	}
	return 0;
}

#endif
