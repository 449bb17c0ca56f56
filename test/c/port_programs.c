/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs through evum_port alone: their start, their windows, what waits for them
 */
#include "port_machine.h"

static void programs_run(void)
{
	struct peer peer;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,run,[7,#{argv=>[\"both\",\"x y\"],env=>[\"A=1\"],cwd=>\"/tmp\","
			 "user=>\"nobody\",window=>100}]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_expect(&peer, "{event,started,#{id=>7,pid=>100}}");
	peer_expect_stream(&peer, 7, 1, "out\n");
	peer_expect_stream(&peer, 7, 2, "err\n");
	peer_expect_stream(&peer, 7, 1, "");
	peer_expect_stream(&peer, 7, 2, "");
	peer_expect(&peer, "{event,exit,#{id=>7,status=>3}}");
	peer_call(&peer, "{call,2,run,[8,#{argv=>[\"missing\"]}]}");
	peer_expect(&peer, "{reply,2,ok}");
	peer_expect(&peer, "{event,exit,#{id=>8,status=>{error,enoent}}}");
	/* A number that only a hostile guest would send makes no atom. */
	peer_call(&peer, "{call,3,run,[9,#{argv=>[\"strange\"]}]}");
	peer_expect(&peer, "{reply,3,ok}");
	peer_expect(&peer, "{event,exit,#{id=>9,status=>{error,unknown}}}");
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, START_LOG START_LOG_END
			"run 7 both x y env=A=1 cwd=/tmp user=nobody window=100\n"
			"run 8 missing cwd=- user=- window=131072\n"
			"run 9 strange cwd=- user=- window=131072\nfree\n");
}

static void a_program_has_its_pty_and_its_limits(void)
{
	struct peer peer;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,run,[7,#{argv=>[\"cat\"],pty=>{24,65535},max_procs=>1,"
			 "max_mem=>4294967295,builtin=>true}]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_expect(&peer, "{event,started,...");
	peer_call(&peer, "{call,2,program_winsize,[7,65535,1]}");
	peer_expect(&peer, "{reply,2,ok}");
	peer_call(&peer, "{call,3,run,[8,#{argv=>[\"both\"],builtin=>false}]}");
	peer_expect(&peer, "{reply,3,ok}");
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(
		&peer, START_LOG START_LOG_END
		"run 7 cat cwd=- user=- window=131072 pty=24x65535 procs=1 mem=4294967295 builtin\n"
		"winsize 7 65535 1\nrun 8 both cwd=- user=- window=131072\nfree\n");
}

static void a_program_prints_within_its_window(void)
{
	struct peer peer;
	size_t bytes = 0;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,run,[4294967295,#{argv=>[\"yes\"],window=>1001}]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_expect(&peer, "{event,started,#{id=>4294967295,pid=>100}}");
	/* Neighbours of one stream come as one frame. */
	CHECK(peer_recv(&peer) == 4 && peer.len == 6 + 1001);
	peer_call(&peer, "{call,2,signal,[2,15]}");
	peer_expect(&peer, "{reply,2,{error,esrch}}");
	peer_credit(&peer, UINT32_MAX, 1, 200000);
	while (bytes < 200000) {
		CHECK(peer_recv(&peer) == 4 && peer.len <= 6 + 131072);
		bytes += peer.len - 6;
	}
	CHECK(bytes == 200000);
	peer_call(&peer, "{call,3,signal,[4294967295,15]}");
	peer_expect(&peer, "{reply,3,ok}");
	peer_expect_stream(&peer, UINT32_MAX, 1, "");
	peer_expect_stream(&peer, UINT32_MAX, 2, "");
	peer_expect(&peer, "{event,exit,#{id=>4294967295,status=>{signal,15}}}");
	/* Crossed the program's end. */
	peer_credit(&peer, UINT32_MAX, 2, 5);
	peer_stdin(&peer, UINT32_MAX, "late", 4);
	peer_call(&peer, "{call,4,drop_caches,[]}");
	peer_expect(&peer, "{reply,4,ok}");
	end_by_eof(&peer);
}

/* n numbered bytes of stream id, echoed by cat. */
static void expect_numbered(struct peer *peer, uint32_t id, size_t n)
{
	size_t seen = 0;
	size_t credit = 0;

	while (seen < n || credit < n) {
		if (peer_recv(peer) == 3) {
			credit += get32(peer->frame + 6);
			continue;
		}
		CHECK(peer->frame[0] == 4 && get32(peer->frame + 1) == id && peer->frame[5] == 1);
		for (size_t i = 6; i < peer->len; i++, seen++)
			CHECK(peer->frame[i] == (uint8_t)(seen % 241));
	}
	CHECK(seen == n && credit == n);
}

static void stdin_waits_for_room_in_order(void)
{
	enum { BYTES = 65536 };
	static uint8_t numbered[BYTES];
	struct peer peer;

	for (size_t i = 0; i < BYTES; i++)
		numbered[i] = (uint8_t)(i % 241);
	start_machine(&peer, ",args=>[\"clogged\"]");
	peer_call(&peer, "{call,1,run,[1,#{argv=>[\"cat\"]}]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_expect(&peer, "{event,started,...");
	for (size_t i = 0; i < BYTES; i += 4096)
		peer_stdin(&peer, 1, numbered + i, 4096);
	peer_call(&peer, "{call,2,mconsole,[\"unclog\"]}");
	peer_expect(&peer, "{reply,2,{ok,<<\"unclog\">>}}");
	expect_numbered(&peer, 1, BYTES);
	peer_stdin(&peer, 1, NULL, 0);
	peer_expect_stream(&peer, 1, 1, "");
	peer_expect_stream(&peer, 1, 2, "");
	peer_expect(&peer, "{event,exit,#{id=>1,status=>0}}");
	end_by_eof(&peer);
}

static void stdin_beyond_all_credit_ends_it(void)
{
	static uint8_t bytes[65536];
	struct peer peer;

	start_machine(&peer, ",args=>[\"clogged\"]");
	/* Nobody's: dropped. */
	for (int i = 0; i < 128; i++)
		peer_stdin(&peer, 1, bytes, sizeof(bytes));
	peer_call(&peer, "{call,1,run,[1,#{argv=>[\"cat\"]}]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_expect(&peer, "{event,started,...");
	for (int i = 0; i < 64; i++)
		peer_stdin(&peer, 1, bytes, sizeof(bytes));
	peer_expect_exit(&peer, 2);
	unlink(peer.log);
}

/*
 * A machine that is paused: each program may be written a window, and they are
 * many.  It is nobody's mistake, and each gets its own bytes, and its end.
 */
static void many_full_windows_wait_for_a_machine_that_stands(void)
{
	enum { PROGRAMS = 150, WINDOW = 65536 };
	static uint8_t bytes[WINDOW];
	struct peer peer;
	size_t seen[PROGRAMS] = {0};
	unsigned int ended = 0;

	start_machine(&peer, ",args=>[\"clogged\"]");
	for (uint32_t id = 1; id <= PROGRAMS; id++) {
		peer_call(&peer, "{call,1,run,[%u,#{argv=>[\"cat\"]}]}", id);
		peer_expect(&peer, "{reply,1,ok}");
		peer_expect(&peer, "{event,started,...");
	}
	/* In pieces, one program's among the others'. */
	for (size_t at = 0; at < WINDOW; at = at * 8 + 1)
		for (uint32_t id = 1; id <= PROGRAMS; id++) {
			size_t next = at * 8 + 1 < WINDOW ? at * 8 + 1 : WINDOW;

			memset(bytes, (int)id, sizeof(bytes));
			peer_stdin(&peer, id, bytes, next - at);
		}
	for (uint32_t id = 1; id <= PROGRAMS; id++)
		peer_stdin(&peer, id, NULL, 0);
	peer_call(&peer, "{call,2,mconsole,[\"unclog\"]}");
	peer_expect(&peer, "{reply,2,{ok,<<\"unclog\">>}}");
	while (ended < PROGRAMS) {
		int channel = peer_recv(&peer);

		if (channel == 4) {
			uint32_t id = get32(peer.frame + 1);

			for (size_t i = 6; i < peer.len; i++, seen[id - 1]++)
				CHECK(peer.frame[i] == (uint8_t)id);
		}
		ended += channel == 0;
	}
	for (size_t i = 0; i < PROGRAMS; i++)
		CHECK(seen[i] == WINDOW);
	end_by_eof(&peer);
}

static const struct machine_test tests[] = {
	TEST(programs_run),
	TEST(a_program_has_its_pty_and_its_limits),
	TEST(a_program_prints_within_its_window),
	TEST(stdin_waits_for_room_in_order),
	TEST(stdin_beyond_all_credit_ends_it),
	TEST(many_full_windows_wait_for_a_machine_that_stands),
};

int main(int argc, char **argv)
{
	return machine_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
