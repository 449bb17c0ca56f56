/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine says arrives whole, in order, and within its window
 */
#include <errno.h>

#include "machine.h"

static struct machine machine;

static void wait_console(const char *text)
{
	while (!strstr(machine.console, text))
		CHECK(evum_vm_wait(machine.vm, EVUM_CONSOLE, 5000) == 0);
}

static void clear_console(void)
{
	machine.console_len = machine.console_total = 0;
	machine.console[0] = '\0';
}

static void the_boot_messages_come_before_up(void)
{
	CHECK(strstr(machine.console, "Linux version 6.") != NULL);
}

static void a_typed_line_is_run(void)
{
	static const char line[] = "echo $((40 + 2))\n";

	clear_console();
	CHECK(evum_console_write(machine.vm, line, strlen(line)) == (long)strlen(line));
	wait_console("42\r\n");
}

/* UML's lines go deaf when they are typed full while nobody reads. */
static void a_busy_console_takes_all_that_was_typed(void)
{
	static const char line[] = ": 0123456789012345678901234567890123456789\n";
	static const char first[] = "sleep 1\n", last[] = "echo read $((6 * 7))\n";
	size_t typed = 0;

	clear_console();
	CHECK(evum_console_write(machine.vm, first, strlen(first)) > 0);
	for (; typed < 10000; typed += strlen(line))
		CHECK(evum_console_write(machine.vm, line, strlen(line)) == (long)strlen(line));
	CHECK(evum_console_write(machine.vm, last, strlen(last)) > 0);
	wait_console("read 42");
}

/* The same defect, met by a line that isn't finished: the tty keeps it from its reader. */
static void a_line_that_is_too_long_costs_itself_only(void)
{
	static const char cat[] = "cat > /tmp/line\n", end[] = "\nshort\n\4";
	static const char after[] = "wc -lc < /tmp/line; tail -n 1 /tmp/line\n";
	static char line[9000];

	clear_console();
	memset(line, 'x', sizeof(line));
	CHECK(evum_console_write(machine.vm, cat, strlen(cat)) > 0);
	CHECK(machine_sh(&machine, "until pidof cat > /dev/null; do :; done") == 0);
	CHECK(evum_console_write(machine.vm, line, sizeof(line)) == sizeof(line));
	CHECK(evum_console_write(machine.vm, end, strlen(end)) > 0);
	CHECK(machine_sh(&machine, "while pidof cat > /dev/null; do :; done") == 0);
	clear_console();
	CHECK(evum_console_write(machine.vm, after, strlen(after)) > 0);
	wait_console("short\r\n");
}

static void many_programs_at_once_all_end(void)
{
	const char *const argv[] = {"true", NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	for (uint32_t id = 5000; id < 5200; id++)
		CHECK(evum_program_start(machine.vm, id, &program) == 0);
	machine.exits = 0;
	while (machine.exits < 200) {
		CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 10000) == 0);
		CHECK(machine.exit.exit == EVUM_EXITED && machine.exit.value == 0);
	}
}

static void a_program_takes_a_full_window_at_once(void)
{
	static const char bytes[65536];
	const char *const argv[] = {"wc", "-c", NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	machine.out_len = 0;
	CHECK(evum_program_start(machine.vm, 98, &program) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_STARTED, 5000) == 0);
	CHECK(evum_program_write(machine.vm, 98, bytes, sizeof(bytes)) == 0);
	CHECK(evum_program_write(machine.vm, 98, "x", 1) == -EAGAIN);
	CHECK(evum_vm_wait(machine.vm, EVUM_STDIN_CREDIT, 5000) == 0);
	CHECK(evum_program_write(machine.vm, 98, NULL, 0) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(strcmp(machine.out, "65536\n") == 0);
}

static void a_flood_stops_at_the_window(void)
{
	const char *const yes[] = {"/bin/sh", "-c", "yes > /dev/console", NULL};
	const struct evum_program program = {.argv = yes, .window = 4096};

	/* The shell on the console is asked to keep still first. */
	clear_console();
	machine.read_console = false;
	CHECK(evum_program_start(machine.vm, 77, &program) == 0);
	while (machine.console_total < 65000)
		CHECK(evum_vm_wait(machine.vm, EVUM_CONSOLE, 5000) == 0);
	while (evum_vm_wait(machine.vm, EVUM_CONSOLE, 300) == 0)
		continue;
	CHECK(machine.console_total <= 65536 + 4096);
	/* Half of the flood is "y", the other "\r\n", none is out of order. */
	for (size_t i = 3; i + 3 < 60000; i++)
		CHECK(machine.console[i] == machine.console[i + 3]);
	CHECK(evum_program_signal(machine.vm, 77, SIGKILL) == 0);
	machine.read_console = true;
	evum_console_credit(machine.vm, 65536);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(machine.exit.exit == EVUM_SIGNALED && machine.exit.value == SIGKILL);
}

static void a_program_beyond_its_window_waits_and_no_other_does(void)
{
	const char *const yes[] = {"yes", NULL};
	const struct evum_program program = {.argv = yes, .window = 1000};

	machine.out_len = 0;
	CHECK(evum_program_start(machine.vm, 88, &program) == 0);
	while (machine.out_len < 1000)
		CHECK(evum_vm_wait(machine.vm, EVUM_OUTPUT, 5000) == 0);
	CHECK(machine_sh(&machine, "exit 3") == 3);
	CHECK(machine.out_len == 0);
	CHECK(evum_program_signal(machine.vm, 88, SIGTERM) == 0);
	/* Its exit comes after what it wrote, and that is taken only within the window. */
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 300) == -ETIMEDOUT);
	CHECK(evum_program_credit(machine.vm, 88, 1, 1 << 20) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(machine.exit.exit == EVUM_SIGNALED && machine.exit.value == SIGTERM);
}

static void a_program_reads_what_is_written_to_it(void)
{
	const char *const cat[] = {"cat", NULL};
	const struct evum_program program = {.argv = cat, .window = 65536};

	machine.out_len = 0;
	CHECK(evum_program_start(machine.vm, 99, &program) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_STARTED, 5000) == 0);
	CHECK(evum_program_write(machine.vm, 99, "one\n", 4) == 0);
	CHECK(evum_program_write(machine.vm, 99, "two\n", 4) == 0);
	CHECK(evum_program_write(machine.vm, 99, NULL, 0) == 0);
	CHECK(evum_program_write(machine.vm, 99, "late", 4) == -EPIPE);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(machine.out_len == 8 && memcmp(machine.out, "one\ntwo\n", 8) == 0);
	CHECK(machine.exit.exit == EVUM_EXITED && machine.exit.value == 0);
}

/* The signal comes with the command itself, before that has a process group. */
static void a_command_of_the_agents_can_be_killed_at_once(void)
{
	const char *const argv[] = {"await", "file", "/no such file", NULL};
	const struct evum_program program = {.argv = argv, .window = 65536, .builtin = 1};

	for (uint32_t id = 4000; id < 4010; id++) {
		CHECK(evum_program_start(machine.vm, id, &program) == 0);
		CHECK(evum_program_signal(machine.vm, id, SIGKILL) == 0);
		CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
		CHECK(machine.exit.id == id && machine.exit.exit == EVUM_SIGNALED);
		CHECK(machine.exit.value == SIGTERM);
	}
}

static void what_cannot_be_started_says_why(void)
{
	CHECK(machine_sh(&machine, "exit 0") == 0);
	const char *const missing[] = {"/no/such/program", NULL};
	const struct evum_program program = {.argv = missing, .window = 4096};

	CHECK(evum_program_start(machine.vm, 5, &program) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(machine.exit.exit == EVUM_NOT_STARTED && machine.exit.value == ENOENT);
}

static void any_program_can_send_to_the_owner(void)
{
	CHECK(machine_sh(&machine, "echo -n from inside > /proc/mconsole") == 0);
	CHECK(strcmp(machine.text, "from inside") == 0);
}

static void garbage_on_the_agents_line_harms_nobody(void)
{
	struct evum_vm_info info;

	CHECK(machine_sh(&machine, "head -c 300000 /dev/urandom > /dev/tty15; echo done") == 0);
	CHECK(strcmp(machine.out, "done\n") == 0);
	CHECK(machine_sh(&machine, "exit 4") == 4);
	evum_vm_info(machine.vm, &info);
	CHECK(info.agent_garbage > 250000);
}

static void the_management_console_answers_in_order(void)
{
	CHECK(evum_mconsole(machine.vm, 1, "version") == 0);
	CHECK(evum_mconsole(machine.vm, 2, "no such command") == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_REPLY, 2000) == 0);
	CHECK(machine.reply == 0 && strncmp(machine.text, "Linux ", 6) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_REPLY, 2000) == 0);
	CHECK(machine.reply == 1);
	CHECK(evum_mconsole(machine.vm, 3, "") == -EINVAL);
	CHECK(evum_mconsole(machine.vm, 3, "version\nhalt") == -EINVAL);
}

int main(void)
{
	machine_boot(&machine);
	the_boot_messages_come_before_up();
	a_typed_line_is_run();
	a_program_beyond_its_window_waits_and_no_other_does();
	a_program_reads_what_is_written_to_it();
	a_program_takes_a_full_window_at_once();
	many_programs_at_once_all_end();
	a_busy_console_takes_all_that_was_typed();
	a_line_that_is_too_long_costs_itself_only();
	a_command_of_the_agents_can_be_killed_at_once();
	what_cannot_be_started_says_why();
	any_program_can_send_to_the_owner();
	the_management_console_answers_in_order();
	garbage_on_the_agents_line_harms_nobody();
	a_flood_stops_at_the_window();
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
	return 0;
}
