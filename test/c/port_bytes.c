/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_port alone: bytes that come in pieces, too fast, malformed or not any more
 */
#include "port_machine.h"

static void expect_flood(struct peer *peer, size_t *seen, size_t n)
{
	size_t end = *seen + n;

	while (*seen < end) {
		CHECK(peer_recv(peer) == 1 && peer->len <= 1 + 131072);
		for (size_t i = 1; i < peer->len; i++, ++*seen)
			CHECK(peer->frame[i] == (uint8_t)(*seen % 251));
	}
	CHECK(*seen == end);
}

static void the_console_prints_within_its_window(void)
{
	struct peer peer;
	size_t seen = 0;

	start_machine(&peer, ",args=>[\"floods\"],console_window=>1000");
	expect_flood(&peer, &seen, 1000);
	/* Twice, so that whatever was on its way is in front of the second answer. */
	for (int i = 1; i < 3; i++) {
		char text[32];

		peer_call(&peer, "{call,%d,mconsole,[\"v\"]}", i);
		snprintf(text, sizeof(text), "{reply,%d,{ok,...", i);
		peer_expect(&peer, text);
	}
	for (uint32_t n = 1; n < 200000; n = n * 3 + 1) {
		peer_credit(&peer, 0, 1, n);
		expect_flood(&peer, &seen, n);
	}
	peer_call(&peer, "{call,3,mconsole,[\"v\"]}");
	peer_expect(&peer, "{reply,3,{ok,...");
	end_by_eof(&peer);
}

static void typed_bytes_wait_for_the_guest(void)
{
	enum { WINDOW = 65536 };
	static char typed[WINDOW + WINDOW];
	struct peer peer;
	size_t seen = 0;
	size_t credit = 0;

	for (size_t i = 0; i < sizeof(typed); i++)
		typed[i] = (char)(i % 251);
	start_machine(&peer, ",args=>[\"deaf\"],console_window=>1000000");
	peer_send(&peer, 1, typed, WINDOW);
	peer_expect_credit(&peer, 0, 0, WINDOW);
	peer_send(&peer, 1, typed + WINDOW, 1);
	peer_send(&peer, 1, typed + WINDOW + 1, WINDOW - 1);
	peer_call(&peer, "{call,1,mconsole,[\"hear\"]}");
	peer_expect(&peer, "{reply,1,{ok,...");
	while (seen < sizeof(typed)) {
		if (peer_recv(&peer) == 3) {
			credit += get32(peer.frame + 6);
			continue;
		}
		CHECK(peer.frame[0] == 1);
		for (size_t i = 1; i < peer.len; i++, seen++)
			CHECK(peer.frame[i] == (uint8_t)(seen % 251));
	}
	CHECK(credit == WINDOW);
	end_by_eof(&peer);
}

static void typing_beyond_the_window_ends_it(void)
{
	static char typed[65536];
	struct peer peer;

	start_machine(&peer, ",args=>[\"deaf\"]");
	peer_send(&peer, 1, typed, sizeof(typed));
	peer_expect_credit(&peer, 0, 0, sizeof(typed));
	peer_send(&peer, 1, typed, sizeof(typed));
	peer_send(&peer, 1, typed, 1);
	peer_expect_exit(&peer, 2);
	peer_expect_log(&peer, START_LOG " arg=deaf" START_LOG_END "free\n");
}

static void frames_come_in_any_pieces(void)
{
	static const char call[] = "\0\0\0\x1d\0\x83h\4w\4calla\1w\nfrobnicatej";
	struct peer peer;
	char many[100 * (sizeof(call) - 1)];
	size_t len = sizeof(call) - 1;

	memcpy(many, call, len);
	many[3] = (char)(len - 4);
	for (size_t i = 1; i < 100; i++)
		memmove(many + i * len, many, len);
	start_and_greet(&peer);
	for (size_t i = 0; i < 2 * len; i++)
		CHECK(peer_write(&peer, many + i, 1));
	CHECK(peer_write(&peer, many + 2 * len, sizeof(many) - 2 * len));
	for (size_t i = 0; i < 100; i++)
		peer_expect(&peer, "{reply,1,{error,enosys}}");
	end_by_eof(&peer);
}

/* Bytes after the channel's; the length is that of a string literal. */
#define FRAME(channel, literal)                       \
	{                                             \
		channel, literal, sizeof(literal) - 1 \
	}

static const struct {
	int channel;
	const char *bytes;
	size_t len;
} malformed[] = {
	FRAME(-1, ""),
	FRAME(0, ""),
	FRAME(2, "frame"),
	FRAME(5, ""),
	FRAME(255, "\x83j"),
	FRAME(0, "\x83"),
	FRAME(0, "\x82j"),
	FRAME(0, "\x83j"),
	FRAME(0, "\x83jj"),
	/* not a call */
	FRAME(0, "\x83h\4w\4calla\1w\4stop"),
	FRAME(0, "\x83h\3w\4calla\1w\4stopj"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopj\0"),
	FRAME(0, "\x83h\4w\4casta\1w\4stopj"),
	FRAME(0, "\x83h\4w\4callw\1aw\4stopj"),
	FRAME(0, "\x83h\4w\4calla\1m\0\0\0\4stopj"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopw\1a"),
	FRAME(0, "\x83h\4w\4callb\xff\xff\xff\xffw\4stopj"),
	/* sizes that lie */
	FRAME(0, "\x83m\xff\xff\xff\xffx"),
	FRAME(0, "\x83m\x7f\xff\xff\xffx"),
	FRAME(0, "\x83l\xff\xff\xff\xffj"),
	FRAME(0, "\x83i\xff\xff\xff\xffj"),
	FRAME(0, "\x83t\xff\xff\xff\xffj"),
	FRAME(0, "\x83t\x80\0\0\0j"),
	FRAME(0, "\x83k\xff\xff"
		 "abc"),
	FRAME(0, "\x83w\xff"
		 "abc"),
	FRAME(0, "\x83"
		 "d\xff\xff"
		 "abc"),
	FRAME(0, "\x83n\xff\0"
		 "abc"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopl\0\0\0\2a\1j"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopl\0\0\0\1a\1a\2"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopl\0\0\0\1a\1"),
	/* nested too deep; tags that nobody sends */
	FRAME(0, "\x83h\1h\1h\1h\1h\1h\1h\1h\1h\1h\1j"),
	FRAME(0, "\x83h\4w\4calla\1w\4stopl\0\0\0\1h\1h\1h\1h\1h\1h\1h\1jj"),
	FRAME(0, "\x83P\0\0\0\x01x"),
	FRAME(0, "\x83X"),
	FRAME(0, "\x83p"),
	FRAME(0, "\x83M\0\0\0\1\3x"),
	FRAME(0, "\x83o\0\0\0\1\0a"),
	/* bulk */
	FRAME(3, ""),
	FRAME(3, "\0\0\0\0\1\0\0\0"),
	FRAME(3, "\0\0\0\0\1\0\0\0\1\0"),
	FRAME(3, "\0\0\0\0\0\0\0\0\1"),
	FRAME(3, "\0\0\0\0\3\0\0\0\1"),
	FRAME(3, "\0\0\0\1\0\0\0\0\1"),
	FRAME(3, "\0\0\0\0\2\0\0\0\1"),
	FRAME(4, ""),
	FRAME(4, "\0\0\0\1"),
	FRAME(4, "\0\0\0\0\0x"),
	FRAME(4, "\0\0\0\1\1x"),
};

static void malformed_frames_end_it(void)
{
	struct peer peer;

	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		start_machine(&peer, "");
		peer_send(&peer, malformed[i].channel, malformed[i].bytes, malformed[i].len);
		peer_expect_exit(&peer, 2);
		peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
	}
}

static void frames_over_the_limit_end_it(void)
{
	static char bytes[131073 + 5];
	struct peer peer;

	start_machine(&peer, "");
	CHECK(peer_write(&peer, "\0\4\0\1", 4));
	peer_expect_exit(&peer, 2);
	unlink(peer.log);
	start_and_greet(&peer);
	CHECK(peer_write(&peer, "\xff\xff\xff\xff", 4));
	peer_expect_exit(&peer, 2);
	start_machine(&peer, "");
	bytes[3] = 1;
	peer_send(&peer, 4, bytes, sizeof(bytes));
	peer_expect_exit(&peer, 2);
	unlink(peer.log);
}

/* Random bytes, and the same behind a length that is all right. */
static void garbage_ends_it(void)
{
	enum { GARBAGE = 10 << 20 };
	char *garbage = malloc(GARBAGE);
	struct peer peer;

	for (int round = 0; round < 10; round++) {
		srandom((unsigned int)round);
		for (size_t i = 0; i < GARBAGE; i++)
			garbage[i] = (char)random();
		if (round % 2)
			memcpy(garbage, (const char[]){0, 3, 0, 0, 0, (char)0x83, 'h'}, 7);
		start_machine(&peer, "");
		CHECK(!peer_write(&peer, garbage, GARBAGE));
		peer_expect_exit(&peer, 2);
		peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
	}
	free(garbage);
}

static void end_of_file_frees_the_machine(void)
{
	struct peer peer;

	start_machine(&peer, ",args=>[\"floods\"],console_window=>4294967295");
	/* In the middle of a frame, its output full. */
	CHECK(peer_write(&peer, "\0\0", 2));
	close(peer.in);
	peer_expect_exit(&peer, 0);
	unlink(peer.log);
	start_machine(&peer, "");
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
}

static void a_reader_that_is_gone_frees_the_machine(void)
{
	struct peer peer;

	start_machine(&peer, "");
	close(peer.out);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
}

static long rss_kb(pid_t pid)
{
	return status_field(pid, "status", "VmRSS:", 10);
}

/* A BEAM that stalls: the guest stalls too, calls are heard, nothing is lost. */
static void output_that_waits_is_bounded(void)
{
	enum { CALLS = 2000 };
	struct peer peer;
	size_t seen = 0;
	int replies = 0;
	long before;
	char log[256] = "";

	start_machine(&peer, ",args=>[\"floods\"],console_window=>4294967295");
	before = rss_kb(peer.pid);
	for (int i = 0; i < CALLS; i++)
		peer_call(&peer, "{call,%d,winsize,[0,0]}", i);
	CHECK(rss_kb(peer.pid) - before < 8192);
	peer_call(&peer, "{call,%d,kill,[]}", CALLS);
	/* The order to die is heard although no byte was read. */
	for (int i = 0; !strstr(log, "free\n"); i++) {
		int fd = open(peer.log, O_RDONLY | O_CLOEXEC);

		CHECK(i < 5000 && fd >= 0 && read(fd, log, sizeof(log) - 1) > 0);
		close(fd);
		poll(NULL, 0, 1);
	}
	while (replies <= CALLS) {
		char expected[64];
		char *text;

		if (peer_recv(&peer) == 1) {
			for (size_t i = 1; i < peer.len; i++, seen++)
				CHECK(peer.frame[i] == (uint8_t)(seen % 251));
			continue;
		}
		snprintf(expected, sizeof(expected), "{reply,%d,%s}", replies,
			 replies == CALLS ? "ok" : "{error,einval}");
		text = text_of_term((char *)peer.frame + 1, (int)peer.len - 1);
		CHECK(strcmp(text, expected) == 0);
		free(text);
		replies++;
	}
	while (peer_recv(&peer) == 1)
		;
	CHECK(peer.frame[0] == 0 && peer_recv(&peer) == -1);
	CHECK(seen < 2 << 20);
	peer_expect_exit(&peer, 0);
	unlink(peer.log);
}

static void answers_that_nobody_reads_end_it(void)
{
	struct peer peer;
	long before;
	long most = 0;

	start_machine(&peer, "");
	before = rss_kb(peer.pid);
	for (int i = 0; peer_call(&peer, "{call,%d,info,[]}", i); i++) {
		long now = i % 100 ? 0 : rss_kb(peer.pid);

		CHECK(i < 200000);
		most = now > most ? now : most;
	}
	CHECK(most - before < 16384);
	peer_expect_exit(&peer, 2);
	peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
}

static const struct machine_test tests[] = {
	TEST(the_console_prints_within_its_window),
	TEST(typed_bytes_wait_for_the_guest),
	TEST(typing_beyond_the_window_ends_it),
	TEST(frames_come_in_any_pieces),
	TEST(malformed_frames_end_it),
	TEST(frames_over_the_limit_end_it),
	TEST(garbage_ends_it),
	TEST(end_of_file_frees_the_machine),
	TEST(a_reader_that_is_gone_frees_the_machine),
	TEST(output_that_waits_is_bounded),
	TEST(answers_that_nobody_reads_end_it),
};

int main(int argc, char **argv)
{
	return machine_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
