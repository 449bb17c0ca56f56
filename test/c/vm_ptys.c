/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with a pty sees a terminal of the machine's own
 */
#include <errno.h>

#include "machine.h"

static struct machine machine;
static uint32_t last_id = 1000;

static void start(const char *command, const char *user)
{
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	const struct evum_program program = {
		.argv = argv, .window = 65536, .rows = 33, .cols = 77, .user = user};

	machine.out_len = 0;
	machine.out[0] = '\0';
	CHECK(evum_program_start(machine.vm, ++last_id, &program) == 0);
}

static void type(const char *text)
{
	if (text[0] != '\0')
		CHECK(evum_program_write(machine.vm, last_id, text, strlen(text)) == 0);
	CHECK(evum_program_write(machine.vm, last_id, NULL, 0) == 0);
}

static int end(void)
{
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 20000) == 0);
	CHECK(machine.exit.id == last_id);
	return machine.exit.exit == EVUM_EXITED ? machine.exit.value : -machine.exit.value;
}

static void wait_output(const char *text)
{
	while (!strstr(machine.out, text))
		CHECK(evum_vm_wait(machine.vm, EVUM_OUTPUT, 5000) == 0);
}

static void it_is_the_terminal_of_all_three(void)
{
	start("tty; stty size; echo to stderr >&2; echo to tty >/dev/tty; exit 7", NULL);
	CHECK(end() == 7);
	CHECK(strcmp(machine.out, "/dev/pts/0\r\n33 77\r\nto stderr\r\nto tty\r\n") == 0);
}

static void it_belongs_to_the_user(void)
{
	start("id -u; ls -ln $(tty); : <$(tty) && echo opened", "1234");
	CHECK(end() == 0);
	CHECK(strncmp(machine.out, "1234\r\ncrw--w----    1 1234     5 ", 32) == 0);
	CHECK(strstr(machine.out, "opened\r\n") != NULL);
}

/* Each is told the end by the key for it, wherever the line stands. */
static void end_of_file_is_typed(void)
{
	static const char *const lines[] = {"", "unfinished", "whole\n", "one\ntwo"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		start("stty -echo; echo go; cat", NULL);
		wait_output("go");
		machine.out_len = 0;
		type(lines[i]);
		CHECK(end() == 0);
		CHECK(strncmp(machine.out, lines[i], 3) == 0);
	}
}

/* A shell that edits its line is as good at losing the end as two that read one after the other. */
static void the_end_is_there_for_whoever_reads_it(void)
{
	start("cat; cat; echo both", NULL);
	type("");
	CHECK(end() == 0);
	CHECK(strcmp(machine.out, "both\r\n") == 0);
	start("sh -i", NULL);
	type("exit_of_a_shell=3\n");
	CHECK(end() == 0);
}

static void all_that_was_written_arrives(void)
{
	static const char last[] = "line 1999\r\n";

	start("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", NULL);
	CHECK(end() == 0);
	CHECK(machine.out_len == 10 * 8 + 90 * 9 + 900 * 10 + 1000 * 11);
	CHECK(strcmp(machine.out + machine.out_len - strlen(last), last) == 0);
}

static void who_is_left_behind_is_not_waited_for(void)
{
	start("sleep 1000 & echo bye", NULL);
	CHECK(end() == 0);
	CHECK(strcmp(machine.out, "bye\r\n") == 0);
}

static void a_change_of_its_size_is_told(void)
{
	start("trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.01; done", NULL);
	wait_output("ready");
	CHECK(evum_program_winsize(machine.vm, last_id, 50, 132) == 0);
	CHECK(end() == 5);
	CHECK(strcmp(machine.out, "ready\r\n50 132\r\n") == 0);
}

static void a_key_interrupts(void)
{
	start("trap 'echo interrupted; exit 6' INT; echo ready; while :; do sleep 0.01; done",
	      NULL);
	wait_output("ready");
	CHECK(evum_program_write(machine.vm, last_id, "\3", 1) == 0);
	CHECK(end() == 6);
}

static void a_root_without_ptys_is_told(void)
{
	CHECK(machine_sh(&machine, "umount /dev/pts") == 0);
	start("tty", NULL);
	CHECK(end() == -ENODEV && machine.exit.exit == EVUM_NOT_STARTED);
}

/* As some systems have it; the link is the machine's, not the agent's. */
static void a_link_to_the_ptys_is_followed(void)
{
	CHECK(machine_sh(&machine, "mount -t devpts none /dev/pts && "
				   "ln -sf /dev/pts/ptmx /dev/ptmx") == 0);
	start("tty", NULL);
	CHECK(end() == 0);
	CHECK(strcmp(machine.out, "/dev/pts/0\r\n") == 0);
}

int main(void)
{
	machine_boot(&machine);
	it_is_the_terminal_of_all_three();
	it_belongs_to_the_user();
	end_of_file_is_typed();
	the_end_is_there_for_whoever_reads_it();
	all_that_was_written_arrives();
	who_is_left_behind_is_not_waited_for();
	a_change_of_its_size_is_told();
	a_key_interrupts();
	a_root_without_ptys_is_told();
	a_link_to_the_ptys_is_followed();
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
	return 0;
}
