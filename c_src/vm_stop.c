/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a machine: a ladder of requests, each less polite, each bounded
 *
 * A machine that isn't up has nothing to save and is killed at once.  A paused
 * one is resumed first, or it could not hear any rung but the last two.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include "util.h"
#include "vm.h"

/* How long each rung has, in ms; the first one's time is the caller's. */
static const int rung_ms[] = {
	[VM_RUNG_CAD] = 1000,
	[VM_RUNG_HALT] = 1000,
	[VM_RUNG_TERM] = 500,
	[VM_RUNG_KILL] = 0,
};

int64_t vm_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* Sets the timer to the earliest of the deadlines. */
void vm_timer_arm(struct evum_vm *vm)
{
	int64_t next = earlier(vm->nic_deadline, earlier(vm->rung_deadline, vm->mconsole_deadline));
	struct itimerspec spec = {.it_value = {.tv_nsec = 0}};

	spec.it_value.tv_sec = next / 1000;
	spec.it_value.tv_nsec = next % 1000 * 1000000;
	timerfd_settime(vm->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void kernel_signal(struct evum_vm *vm, int signal)
{
	if (vm->child.kernel_pidfd >= 0)
		syscall(SYS_pidfd_send_signal, vm->child.kernel_pidfd, signal, NULL, 0);
}

void vm_poweroff(struct evum_vm *vm)
{
	uint8_t control = AGENT_POWEROFF;

	agent_send(&vm->agent, AGENT_CONTROL, 0, 0, &control, sizeof(control));
	vm_agent_flush(vm);
}

static void climb(struct evum_vm *vm, enum vm_rung rung, int wait_ms)
{
	vm->rung = rung;
	vm->rung_deadline = vm_now() + wait_ms;
	switch (rung) {
	case VM_RUNG_NONE:
		break;
	case VM_RUNG_POWEROFF:
		if (vm->paused)
			evum_mconsole(vm, VM_INTERNAL_ID, "go");
		vm_poweroff(vm);
		break;
	case VM_RUNG_CAD:
		evum_mconsole(vm, VM_INTERNAL_ID, "cad");
		break;
	case VM_RUNG_HALT:
		evum_mconsole(vm, VM_INTERNAL_ID, "halt");
		break;
	case VM_RUNG_TERM:
		kernel_signal(vm, SIGTERM);
		break;
	case VM_RUNG_KILL:
		vm->rung_deadline = 0;
		evum_vm_kill(vm);
		break;
	}
	vm_timer_arm(vm);
}

void vm_timer_handler(struct evum_vm *vm, uint32_t events)
{
	int64_t now = vm_now();
	uint64_t expirations;

	(void)events;
	if (read(vm->timer, &expirations, sizeof(expirations)) < 0)
		return;
	if (vm->mconsole_deadline && vm->mconsole_deadline <= now)
		vm_mconsole_give_up(vm, -ETIMEDOUT);
	if (vm->nic_deadline && vm->nic_deadline <= now)
		vm_nic_watch(vm);
	if (vm->rung_deadline && vm->rung_deadline <= now && vm->rung < VM_RUNG_KILL)
		climb(vm, vm->rung + 1, rung_ms[vm->rung + 1]);
	else
		vm_timer_arm(vm);
}

int evum_vm_stop(struct evum_vm *vm, int grace_ms)
{
	if (vm->down)
		return -EPIPE;
	if (grace_ms < 0)
		return -ERANGE;
	if (vm->rung != VM_RUNG_NONE)
		return 0;
	if (vm->up)
		climb(vm, VM_RUNG_POWEROFF, grace_ms);
	else
		climb(vm, VM_RUNG_KILL, 0);
	return 0;
}

int evum_vm_kill(struct evum_vm *vm)
{
	if (!vm->down)
		jail_kill(&vm->child);
	return 0;
}
