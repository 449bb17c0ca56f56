/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limited program harms itself only, and goes as a whole
 */
#include <errno.h>

#include "machine.h"

static struct machine machine;
static uint32_t last_id = 1000;

static void start(const char *command, uint32_t procs, uint32_t mem)
{
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	const struct evum_program program = {
		.argv = argv, .window = 65536, .max_procs = procs, .max_mem = mem};

	machine.out_len = 0;
	machine.out[0] = '\0';
	CHECK(evum_program_start(machine.vm, ++last_id, &program) == 0);
}

static int end(void)
{
	while (machine.exit.id != last_id)
		CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 20000) == 0);
	return machine.exit.exit == EVUM_EXITED ? machine.exit.value : -machine.exit.value;
}

static void limits_are_refused_where_the_old_interface_is_in_use(void)
{
	CHECK(machine_sh(&machine, "mkdir /cg; mount -t cgroup -o pids none /cg") == 0);
	start("true", 5, 0);
	CHECK(end() == -EOPNOTSUPP && machine.exit.exit == EVUM_NOT_STARTED);
	/* The kernel lets go of it when it likes. */
	CHECK(machine_sh(&machine, "umount /cg; mount -t cgroup2 none /cg; until grep -q pids "
				   "/cg/cgroup.controllers; do sleep 0.01; done; umount /cg") == 0);
}

static void a_limited_program_runs(void)
{
	start("cat /proc/self/cgroup; exit 4", 5, 10);
	CHECK(end() == 4);
	CHECK(strncmp(machine.out, "0::/evum-agent/", 15) == 0);
	start("id -u", 5, 10);
	CHECK(end() == 0);
}

static void there_are_so_many_processes_and_no_more(void)
{
	start("for i in 1 2 3 4 5 6; do sleep 1000 & done; echo not reached", 4, 0);
	CHECK(end() != 0);
	CHECK(machine.out_len == 0);
	/* What it left was killed. */
	CHECK(machine_sh(&machine, "while pidof sleep >/dev/null; do :; done") == 0);
}

/* Whether a process has the bomb's text; the asking one has it with brackets. */
#define BOMB_RUNS "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '[b]omb'"

/* The machine stays as good as unharmed: the bomb's processes get what one of others' gets. */
static void a_fork_bomb_is_one_programs_trouble(void)
{
	/* Whose first process forks but once: later ones are refused it. */
	start("bomb() { bomb | bomb & }; bomb & exec sleep 1000", 50, 0);
	CHECK(machine_sh(&machine, "mount -t cgroup2 none /cg; until grep -q 'max [1-9]' "
				   "/cg/evum-agent/*/pids.events; do :; done; umount /cg") == 0);
	for (int i = 0; i < 5; i++)
		CHECK(machine_sh(&machine, "exit 3") == 3);
	CHECK(machine_sh(&machine, BOMB_RUNS) == 0);
	CHECK(evum_program_signal(machine.vm, last_id, SIGKILL) == 0);
	CHECK(end() == -SIGKILL);
	CHECK(machine_sh(&machine, "while " BOMB_RUNS "; do sleep 0.01; done") == 0);
}

static void who_is_hungry_goes_with_all_it_started(void)
{
	start("sleep 1000 & tail /dev/zero", 0, 8);
	CHECK(end() == -SIGKILL);
	CHECK(machine_sh(&machine, "while pidof sleep >/dev/null; do :; done") == 0);
}

static void daemons_of_a_limited_program_end_with_it(void)
{
	start("setsid sleep 1000 >/dev/null 2>&1 </dev/null & exit 0", 5, 0);
	CHECK(end() == 0);
	CHECK(machine_sh(&machine, "while pidof sleep >/dev/null; do :; done") == 0);
}

static void no_group_is_left(void)
{
	CHECK(machine_sh(&machine, "mount -t cgroup2 none /cg; while ls -d /cg/evum-agent/*/ "
				   ">/dev/null 2>&1; do sleep 0.01; done; umount /cg") == 0);
}

/* An init that tidies up can't take the controllers away from a program that runs. */
static void limits_stay(void)
{
	start("echo ready; read line; cat /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup)/pids.max",
	      7, 0);
	while (machine.out_len == 0)
		CHECK(evum_vm_wait(machine.vm, EVUM_OUTPUT, 5000) == 0);
	machine.out_len = 0;
	CHECK(machine_sh(&machine, "mount -t cgroup2 none /sys/fs/cgroup; ! echo -pids -memory > "
				   "/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null") == 0);

	CHECK(evum_program_write(machine.vm, last_id, "\n", 1) == 0);
	CHECK(end() == 0);
	CHECK(strcmp(machine.out, "7\n") == 0);
}

/* A session's leader that ends takes its terminal along: here the agent's line. */
static void an_agent_ends_what_the_one_before_has_left(void)
{
	start("setsid sleep 1000 >/dev/null 2>&1 </dev/null & "
	      "setsid sh -c 'exec <>/dev/tty15; exit'; exec sleep 2000",
	      5, 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_UP, 20000) == 0);
	CHECK(machine.exit.id == last_id && machine.exit.exit == EVUM_LOST);
	CHECK(machine_sh(&machine, "while pidof sleep >/dev/null; do :; done") == 0);
	a_limited_program_runs();
}

int main(void)
{
	machine_boot(&machine);
	limits_are_refused_where_the_old_interface_is_in_use();
	a_limited_program_runs();
	there_are_so_many_processes_and_no_more();
	a_fork_bomb_is_one_programs_trouble();
	who_is_hungry_goes_with_all_it_started();
	daemons_of_a_limited_program_end_with_it();
	limits_stay();
	an_agent_ends_what_the_one_before_has_left();
	no_group_is_left();
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
	return 0;
}
