/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each way in which a machine ends is told from the others
 */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "machine.h"

static struct machine machine;

/* Starts a command that the machine doesn't survive. */
static void sh_last(const char *command)
{
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	CHECK(evum_program_start(machine.vm, 1000000, &program) == 0);
}

static void await_death(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

	CHECK(pidfd >= 0 && poll(&pfd, 1, 10000) == 1);
	close(pidfd);
}

static void a_halt_is_no_reboot(void)
{
	static const struct {
		const char *command;
		enum evum_end end;
	} ways[] = {
		{"poweroff -f", EVUM_END_HALTED},
		{"halt -f", EVUM_END_HALTED},
		{"reboot -f", EVUM_END_REBOOTED},
		{"poweroff", EVUM_END_HALTED},
		{"reboot", EVUM_END_REBOOTED},
		{"echo o > /proc/sysrq-trigger", EVUM_END_HALTED},
		{"echo b > /proc/sysrq-trigger", EVUM_END_REBOOTED},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		machine_boot(&machine);
		sh_last(ways[i].command);
		machine_wait_down(&machine, ways[i].end);
	}
}

static void a_panic_has_its_text(void)
{
	machine_boot(&machine);
	sh_last("echo c > /proc/sysrq-trigger");
	CHECK(evum_vm_wait(machine.vm, EVUM_PANIC, 1000) == 0);
	machine_wait_down(&machine, EVUM_END_PANIC);
	CHECK(strcmp(machine.text, "sysrq triggered crash") == 0);
}

static void a_killed_kernel_is_a_signal(void)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	CHECK(info.kernel_pid > 0 && kill(info.kernel_pid, SIGKILL) == 0);
	machine_wait_down(&machine, EVUM_END_SIGNAL);
	CHECK(machine.down.value == SIGKILL);
}

static void a_power_cut_is_a_signal(void)
{
	machine_boot(&machine);
	CHECK(evum_vm_kill(machine.vm) == 0);
	machine_wait_down(&machine, EVUM_END_SIGNAL);
}

static void a_stop_is_a_halt(void)
{
	machine_boot(&machine);
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
}

static void a_paused_machine_can_be_stopped(void)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	CHECK(evum_mconsole(machine.vm, 1, "stop") == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_REPLY, 2000) == 0);
	evum_vm_info(machine.vm, &info);
	CHECK(info.paused);
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
}

/* The kernel's process is stopped by the host: it hears no rung of the ladder but the last. */
static void a_machine_that_does_not_listen_is_killed(void)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	CHECK(kill(info.kernel_pid, SIGSTOP) == 0);
	CHECK(evum_vm_stop(machine.vm, 100) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_DOWN, 4000) == 0);
	CHECK(machine.down.end == EVUM_END_SIGNAL && machine.down.value == SIGKILL);
	evum_vm_free(machine.vm);
}

/* Three programs say more than one read takes, the guest powers off, and only then does anybody look. */
static void nothing_that_was_said_before_the_end_is_lost(void)
{
	const char *const argv[] = {"head", "-c", "30000", "/dev/zero", NULL};
	const struct evum_program program = {.argv = argv, .window = 65536};
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	for (uint32_t id = 1; id <= 3; id++)
		CHECK(evum_program_start(machine.vm, id, &program) == 0);
	sh_last("sleep 1; reboot -f");
	await_death(info.init_pid);
	machine_wait_down(&machine, EVUM_END_REBOOTED);
	CHECK(machine.out_total == 90000);
	CHECK(machine.exits >= 3);
}

static void an_ignored_sigchld_changes_nothing(void)
{
	signal(SIGCHLD, SIG_IGN);
	machine_boot(&machine);
	CHECK(evum_vm_kill(machine.vm) == 0);
	machine_wait_down(&machine, EVUM_END_SIGNAL);
	CHECK(machine.down.value == SIGKILL);
	signal(SIGCHLD, SIG_DFL);
}

static void freeing_a_live_machine_ends_it(void)
{
	struct evum_vm_info info;

	machine_boot(&machine);
	evum_vm_info(machine.vm, &info);
	evum_vm_free(machine.vm);
	CHECK(kill(info.kernel_pid, 0) < 0 && errno == ESRCH);
	CHECK(kill(info.init_pid, 0) < 0 && errno == ESRCH);
}

static void an_init_that_ends_tells_its_status(void)
{
	const char *const args[] = {"init=/bin/false", NULL};
	struct evum_config config;

	evum_config_init(&config);
	config.args = args;
	machine_start(&machine, &config);
	machine_wait_down(&machine, EVUM_END_INIT_EXITED);
	CHECK(machine.down.value == 1);
}

int main(void)
{
	a_halt_is_no_reboot();
	a_panic_has_its_text();
	a_killed_kernel_is_a_signal();
	a_power_cut_is_a_signal();
	a_stop_is_a_halt();
	a_paused_machine_can_be_stopped();
	a_machine_that_does_not_listen_is_killed();
	nothing_that_was_said_before_the_end_is_lost();
	an_ignored_sigchld_changes_nothing();
	freeing_a_live_machine_ends_it();
	an_init_that_ends_tells_its_status();
	return 0;
}
