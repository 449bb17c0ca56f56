/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_port alone, driven on its descriptors, with a fake libevum: calls and answers
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
};

int main(int argc, char **argv)
{
	return machine_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
