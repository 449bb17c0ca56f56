/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_port alone, driven on its descriptors, with a fake libevum
 */
#include "port_machine.h"

static void hello_is_the_first_frame(void)
{
	struct peer peer;
	char text[96];

	peer_start(&peer);
	snprintf(text, sizeof(text), "{event,hello,#{version=>4,os_pid=>%d}}", (int)peer.pid);
	peer_expect(&peer, text);
	end_by_eof(&peer);
}

static long status_field(pid_t pid, const char *file, const char *field, int base)
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

static void what_is_inherited_is_reset(void)
{
	struct peer peer;

	start_and_greet(&peer);
	CHECK(status_field(peer.pid, "status", "SigBlk:", 16) == 0);
	CHECK(status_field(peer.pid, "status", "SigIgn:", 16) == 1L << (SIGPIPE - 1));
	CHECK((status_field(peer.pid, "fdinfo/3", "flags:", 8) & (O_CLOEXEC | O_NONBLOCK)) ==
	      (O_CLOEXEC | O_NONBLOCK));
	CHECK((status_field(peer.pid, "fdinfo/4", "flags:", 8) & (O_CLOEXEC | O_NONBLOCK)) ==
	      (O_CLOEXEC | O_NONBLOCK));
	end_by_eof(&peer);
}

/* What pipes of a user's hold in all is bounded, and idle machines shall not use it up. */
static void only_a_pipe_that_was_full_becomes_larger(void)
{
	static const uint8_t bulk[4 + 1 + 5 + 131072] = {0, 2, 0, 6, 4, 0, 0, 0, 1, 0};
	struct peer peer;
	int usual, calls = 0;
	siginfo_t info;
	ssize_t first;

	start_and_greet(&peer);
	usual = fcntl(peer.err, F_GETPIPE_SZ);
	CHECK(fcntl(peer.in, F_GETPIPE_SZ) == usual && fcntl(peer.out, F_GETPIPE_SZ) == usual);
	CHECK(kill(peer.pid, SIGSTOP) == 0);
	CHECK(waitid(P_PID, (id_t)peer.pid, &info, WSTOPPED) == 0);
	first = write(peer.in, bulk, sizeof(bulk));
	CHECK(first == usual);
	CHECK(kill(peer.pid, SIGCONT) == 0);
	CHECK(peer_write(&peer, bulk + first, sizeof(bulk) - (size_t)first));
	peer_call(&peer, "{call,1,frobnicate,[]}");
	peer_expect(&peer, "{reply,1,{error,enosys}}");
	CHECK(fcntl(peer.in, F_GETPIPE_SZ) > usual && fcntl(peer.out, F_GETPIPE_SZ) == usual);
	for (; fcntl(peer.out, F_GETPIPE_SZ) == usual && calls < 100000; calls++)
		peer_call(&peer, "{call,2,frobnicate,[]}");
	while (calls-- > 0)
		peer_expect(&peer, "{reply,2,{error,enosys}}");
	end_by_eof(&peer);
}

static void a_call_that_is_none_is_answered(void)
{
	struct peer peer;

	start_and_greet(&peer);
	peer_call(&peer, "{call,4294967295,frobnicate,[]}");
	peer_expect(&peer, "{reply,4294967295,{error,enosys}}");
	peer_call(&peer, "{call,1,frames,[1,2,3]}");
	peer_expect(&peer, "{reply,1,{error,enosys}}");
	end_by_eof(&peer);
}

static void without_a_machine_start_and_probe_work(void)
{
	static const char *const calls[] = {"stop,[1]",
					    "kill,[]",
					    "mconsole,[\"version\"]",
					    "run,[1,#{argv=>[\"cat\"]}]",
					    "signal,[1,9]",
					    "winsize,[24,80]",
					    "program_winsize,[1,24,80]",
					    "drop_caches,[]",
					    "info,[]"};
	struct peer peer;

	start_and_greet(&peer);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		peer_call(&peer, "{call,1,%s}", calls[i]);
		peer_expect(&peer, "{reply,1,{error,enotconn}}");
	}
	peer_call(&peer, "{call,2,probe,[]}");
	peer_expect(&peer, "{reply,2,{ok,[{userns,true,<<\"namespaces\">>},"
			   "{landlock,false,<<\"no\">>}]}}");
	/* Bulk for a machine that failed to start. */
	peer_credit(&peer, 0, 1, 5);
	peer_send(&peer, 1, "x", 1);
	peer_stdin(&peer, 1, "x", 1);
	peer_call(&peer, "{call,3,start,[#{kernel=>\"/nonexistent\",initramfs=>\"/i\","
			 "hostname=>\"h\",mem=>64,root=>disk}]}");
	peer_expect(&peer, "{reply,3,{error,{enoent,kernel,<<\"/nonexistent: is no file\">>}}}");
	peer_call(&peer, "{call,4,start,[#{" START_FIELDS "}]}");
	peer_expect(&peer, "{reply,4,ok}");
	end_by_eof(&peer);
}

/* Each of them with the other required keys, so that it alone is wrong. */
static const char *const wrong_keys[] = {
	"kernel=>1",
	"kernel=>[]",
	"kernel=>\"a^\"",
	"initramfs=>disk",
	"hostname=>[104]",
	"mem=>0",
	"mem=>-1",
	"mem=>64.0",
	"mem=>\"64\"",
	"mem=>4294967296",
	"mem=>[64]",
	"root=>floppy",
	"root=>\"disk\"",
	"root=>1",
	"modules=>1",
	"modules=>some",
	"disks=>{}",
	"disks=>[1]",
	"disks=>[{\"/d\"}]",
	"disks=>[{\"/d\",rx}]",
	"disks=>[{1,ro}]",
	"disks=>[{\"/d\",ro,1}]",
	"binds=>\"/usr\"",
	"binds=>[usr]",
	"binds=>[[\"/usr\"]]",
	"args=>\"a\"",
	"args=>[a]",
	"args=>[1,2]",
	"args=>[\"a\",1]",
	"args=>[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]",
	"cpu=>none",
	"cpu=>1",
	"cpu=>{spread,-1}",
	"cpu=>{number,x}",
	"cpu=>{all,1}",
	"cpu=>{number,1,2}",
	"verbose=>1",
	"verbose=>yes",
	"copy_log=>[]",
	"console_window=>-1",
	"console_window=>unlimited",
	"knerel=>\"/k\"",
	"1=>2",
	"{}=>[]",
};

static void start_names_what_is_wrong(void)
{
	struct peer peer;

	start_and_greet(&peer);
	for (size_t i = 0; i < sizeof(wrong_keys) / sizeof(wrong_keys[0]); i++) {
		peer_call(&peer, "{call,5,start,[#{" START_FIELDS ",%s}]}", wrong_keys[i]);
		peer_expect(&peer, "{reply,5,{error,{einval,config,<<...");
	}
	peer_call(&peer, "{call,6,start,[#{" START_FIELDS ",mem=>none}]}");
	peer_expect(&peer,
		    "{reply,6,{error,{einval,config,<<\"mem: expected a number of MiB\">>}}}");
	peer_call(&peer, "{call,6,start,[#{kernel=>\"/k\"}]}");
	peer_expect(&peer, "{reply,6,{error,{einval,config,<<\"initramfs: missing\">>}}}");
	peer_call(&peer, "{call,6,start,[#{" START_FIELDS
			 ",disks=>[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}]}");
	peer_expect(&peer,
		    "{reply,6,{error,{e2big,config,<<\"disks: expected a list of at most...");
	peer_call(&peer, "{call,7,start,[]}");
	peer_expect(&peer, "{reply,7,{error,{einval,config,<<\"expected a map\">>}}}");
	peer_call(&peer, "{call,7,start,[[]]}");
	peer_expect(&peer, "{reply,7,{error,{einval,config,<<\"expected a map\">>}}}");
	peer_call(&peer, "{call,7,start,[65]}");
	peer_expect(&peer, "{reply,7,{error,{einval,config,<<\"expected a map\">>}}}");
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, "");
}

static void start_gives_the_library_every_key(void)
{
	struct peer peer;

	start_machine(
		&peer,
		",modules=>none,disks=>[{\"/a\",ro},{\"/b\",durable}],layers=>1,"
		"layer_size=>64,layer_template=>\"/t\",layer_temporary=>true,binds=>[\"/usr\"],"
		"args=>[\"quiet\",\"\"],cpu=>{number,3},verbose=>true,copy_log=>true,"
		"console_window=>7,mem=>128,root=>host");
	peer_call(&peer, "{call,1,start,[#{" START_FIELDS "}]}");
	peer_expect(&peer, "{reply,1,{error,{eisconn,config,...");
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(
		&peer,
		"start /k /i none h mem=128 root=2 disk=/a:0 disk=/b:2 layers=1:64:/t:1 bind=/usr "
		"arg=quiet arg= cpu=2:3 verbose=1 log=1 window=7\nfree\n");
}

static void wrong_arguments_are_answered(void)
{
	static const char *const calls[] = {
		"stop,[]",
		"stop,[-1]",
		"stop,[x]",
		"stop,[1,2]",
		"stop,[4294967296]",
		"kill,[1]",
		"mconsole,[]",
		"mconsole,[version]",
		"mconsole,[118]",
		"mconsole,[1,\"a\"]",
		"run,[]",
		"run,[1]",
		"run,[0,#{argv=>[\"a\"]}]",
		"run,[1,#{argv=>[]}]",
		"run,[1,2]",
		"run,[1,#{}]",
		"run,[1,#{argv=>\"a\"}]",
		"run,[1,#{argv=>[\"a\"],envv=>[]}]",
		"run,[1,#{argv=>[\"a\"],env=>[x]}]",
		"run,[1,#{argv=>[\"a\"],cwd=>[]}]",
		"run,[1,#{argv=>[\"a\"],user=>0}]",
		"run,[1,#{argv=>[\"a\"],window=>-1}]",
		"run,[1,#{argv=>[\"a\"],pty=>true}]",
		"run,[1,#{argv=>[\"a\"],pty=>{24}}]",
		"run,[1,#{argv=>[\"a\"],pty=>{0,80}}]",
		"run,[1,#{argv=>[\"a\"],pty=>{24,65536}}]",
		"run,[1,#{argv=>[\"a\"],max_procs=>0}]",
		"run,[1,#{argv=>[\"a\"],max_procs=>4294967296}]",
		"run,[1,#{argv=>[\"a\"],max_mem=>none}]",
		"run,[1,#{argv=>[\"a\"],builtin=>1}]",
		"signal,[]",
		"signal,[1]",
		"signal,[1,0]",
		"signal,[1,65]",
		"signal,[0,9]",
		"signal,[1,2,3]",
		"signal,[1,kill]",
		"winsize,[]",
		"winsize,[24]",
		"winsize,[0,80]",
		"winsize,[24,70000]",
		"winsize,[1,2,3]",
		"winsize,[{24,80}]",
		"program_winsize,[]",
		"program_winsize,[24,80]",
		"program_winsize,[0,24,80]",
		"program_winsize,[1,0,80]",
		"program_winsize,[1,24,65536]",
		"drop_caches,[1]",
		"info,[all]",
		"probe,[\"x\"]",
	};
	struct peer peer;

	start_machine(&peer, "");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		peer_call(&peer, "{call,1,%s}", calls[i]);
		peer_expect(&peer, "{reply,1,{error,einval}}");
	}
	close(peer.in);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, START_LOG START_LOG_END "free\n");
}

static void calls_reach_the_machine(void)
{
	struct peer peer;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,winsize,[24,80]}");
	peer_expect(&peer, "{reply,1,ok}");
	peer_call(&peer, "{call,2,winsize,[24,29999]}");
	peer_expect(&peer, "{reply,2,ok}");
	peer_call(&peer, "{call,3,drop_caches,[]}");
	peer_expect(&peer, "{reply,3,ok}");
	peer_call(&peer, "{call,4,signal,[1,9]}");
	peer_expect(&peer, "{reply,4,{error,esrch}}");
	peer_call(&peer, "{call,4,program_winsize,[1,24,80]}");
	peer_expect(&peer, "{reply,4,{error,esrch}}");
	peer_call(&peer, "{call,5,info,[]}");
	peer_expect(&peer, "{reply,5,{ok,#{init_pid=>10,kernel_pid=>11,cpu=>any,paused=>false,"
			   "stage=>agent,confined=>true,landlock_abi=>0,agent_garbage=>0,"
			   "console_bytes=>0,messages_dropped=>0,nics=>[]}}}");
	peer_call(&peer, "{call,6,stop,[1500]}");
	peer_expect(&peer, "{reply,6,ok}");
	peer_expect(&peer, "{event,down,#{how=>halted,value=>0,log=><<\"log\">>}}");
	CHECK(peer_recv(&peer) == -1);
	peer_expect_exit(&peer, 0);
	peer_expect_log(&peer, START_LOG START_LOG_END
			"winsize 24 80\nwinsize 24 29999\ndrop_caches\nstop 1500\nfree\n");
}

static void mconsole_answers_come_late(void)
{
	struct peer peer;

	start_machine(&peer, "");
	peer_call(&peer, "{call,10,mconsole,[\"hang\"]}");
	peer_call(&peer, "{call,11,mconsole,[\"version\"]}");
	peer_expect(&peer, "{reply,11,{ok,<<\"version\">>}}");
	peer_call(&peer, "{call,12,mconsole,[\"refuse\"]}");
	peer_expect(&peer, "{reply,12,{error,{refused,<<\"refuse\">>}}}");
	peer_call(&peer, "{call,15,mconsole,[\"late\"]}");
	peer_expect(&peer, "{reply,15,{error,etimedout}}");
	for (int i = 0; i < 15; i++)
		peer_call(&peer, "{call,%d,mconsole,[\"hang\"]}", 20 + i);
	peer_call(&peer, "{call,13,mconsole,[\"version\"]}");
	peer_expect(&peer, "{reply,13,{error,ebusy}}");
	peer_call(&peer, "{call,14,kill,[]}");
	peer_expect(&peer, "{reply,14,ok}");
	/* Nobody waits for ever. */
	for (int i = 14; i >= 0; i--) {
		char text[64];

		snprintf(text, sizeof(text), "{reply,%d,{error,enotconn}}", 20 + i);
		peer_expect(&peer, text);
	}
	peer_expect(&peer, "{reply,10,{error,enotconn}}");
	peer_expect(&peer, "{event,down,#{how=>signal,value=>9,log=><<\"log\">>}}");
	CHECK(peer_recv(&peer) == -1);
	peer_expect_exit(&peer, 0);
	unlink(peer.log);
}

static void mconsole_answers_of_any_size(void)
{
	struct peer peer;
	ei_x_buff x;
	char *large = malloc(262000);

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,mconsole,[\"large 131072\"]}");
	CHECK(peer_recv(&peer) == 0 && peer.len > 131072);
	peer_call(&peer, "{call,2,mconsole,[\"large 300000\"]}");
	peer_expect(&peer, "{reply,2,{error,emsgsize}}");
	/* A call that fills a frame. */
	memset(large, 'x', 262000);
	ei_x_new_with_version(&x);
	ei_x_encode_tuple_header(&x, 4);
	ei_x_encode_atom(&x, "call");
	ei_x_encode_long(&x, 3);
	ei_x_encode_atom(&x, "mconsole");
	ei_x_encode_list_header(&x, 1);
	ei_x_encode_binary(&x, large, 262000);
	ei_x_encode_empty_list(&x);
	peer_send(&peer, 0, x.buff, (size_t)x.index);
	ei_x_free(&x);
	free(large);
	peer_expect(&peer, "{reply,3,{error,emsgsize}}");
	end_by_eof(&peer);
}

static void messages_are_dropped_beyond_their_window(void)
{
	struct peer peer;
	char *text;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,mconsole,[\"message 300\"]}");
	peer_expect(&peer, "{reply,1,{ok,...");
	for (int i = 0; i < 256; i++)
		peer_expect(&peer, "{event,message,#{bytes=><<\"hi\">>}}");
	peer_credit(&peer, 0, 2, 1);
	peer_call(&peer, "{call,2,mconsole,[\"message 2\"]}");
	peer_expect(&peer, "{reply,2,{ok,...");
	peer_expect(&peer, "{event,message,#{bytes=><<\"hi\">>}}");
	peer_call(&peer, "{call,3,info,[]}");
	text = peer_recv_text(&peer);
	CHECK(strstr(text, "messages_dropped=>45"));
	free(text);
	peer_credit(&peer, 0, 2, 257);
	peer_expect_exit(&peer, 2);
	unlink(peer.log);
}

static void endings_are_told_apart(void)
{
	struct peer peer;

	start_machine(&peer, "");
	peer_call(&peer, "{call,1,mconsole,[\"panic\"]}");
	peer_expect(&peer, "{reply,1,{ok,<<\"panic\">>}}");
	peer_expect(&peer, "{event,panic,#{text=><<\"sysrq\">>}}");
	peer_expect(&peer, "{event,down,#{how=>panic,value=>0,log=><<\"log\">>}}");
	CHECK(peer_recv(&peer) == -1);
	peer_expect_exit(&peer, 0);
	unlink(peer.log);
}

/* n bytes of the flood, numbered from *seen. */
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
	TEST(hello_is_the_first_frame),
	TEST(what_is_inherited_is_reset),
	TEST(only_a_pipe_that_was_full_becomes_larger),
	TEST(a_call_that_is_none_is_answered),
	TEST(without_a_machine_start_and_probe_work),
	TEST(start_names_what_is_wrong),
	TEST(start_gives_the_library_every_key),
	TEST(wrong_arguments_are_answered),
	TEST(calls_reach_the_machine),
	TEST(mconsole_answers_come_late),
	TEST(mconsole_answers_of_any_size),
	TEST(messages_are_dropped_beyond_their_window),
	TEST(endings_are_told_apart),
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
