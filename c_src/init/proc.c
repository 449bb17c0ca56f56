/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc: the programs that the agent runs, and their streams
 *
 * Theory of operation.  epoll is edge-triggered and only sets "ready" flags;
 * procs_pump() goes round all programs and gives each stream one turn, so that
 * one which floods waits like any other, and an event that is stale by then
 * costs one read.  A round begins where the one before could do no more: at the
 * program that found the queue full, or no slot of the spool's.
 *
 * When a program has ended, somebody it left behind may still hold its pipes
 * ("sleep 100 &").  Every byte that was in a pipe at the program's end is
 * delivered.  After that a pipe is given up once it was quiet for QUIET_MS, or
 * LINGER_MS after the end at the latest: a late child's last words get through,
 * and nobody waits for a daemon.  The daemon gets SIGPIPE if it writes after
 * that: its output belongs in a file.
 */
#define _GNU_SOURCE
#include "proc.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot.h"
#include "evum.h"
#include "pty.h"
#include "streams.h"

#define QUIET_MS 100
#define LINGER_MS 1000

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void procs_init(struct procs *procs, int epoll, struct spool *spool, struct limits *limits)
{
	procs->epoll = epoll;
	procs->spool = spool;
	procs->limits = limits;
	procs->grown = procs->wide = procs->high = procs->next = 0;
}

bool procs_any(const struct procs *procs)
{
	return procs->high > 0;
}

static struct proc *find(struct procs *procs, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < procs->high; i++)
		if (procs->slot[i].used && procs->slot[i].id == id)
			return &procs->slot[i];
	return NULL;
}

static struct proc *free_slot(struct procs *procs)
{
	unsigned int i;

	for (i = 0; i < PROCS_MAX; i++)
		if (!procs->slot[i].used)
			return &procs->slot[i];
	return NULL;
}

static void release(struct procs *procs, struct proc *proc)
{
	int i;

	input_close(&proc->in, &procs->grown);
	for (i = 0; i < 2; i++) {
		close_fd(&proc->out[i].fd);
		procs->wide -= proc->out[i].wide;
	}
	proc->used = false;
	while (procs->high > 0 && !procs->slot[procs->high - 1].used)
		procs->high--;
}

static void send_exit(struct outq *out, uint32_t id, enum evum_exit how, int value)
{
	uint8_t payload[5] = {(uint8_t)how};

	frame_put_u32(payload + 1, (uint32_t)value);
	outq_frame(out, AGENT_EXIT, 0, id, payload, sizeof(payload));
}

void proc_refuse(struct outq *out, uint32_t id, int error)
{
	send_exit(out, id, EVUM_NOT_STARTED, error);
}

static void watch(const struct procs *procs, unsigned int slot, unsigned int stream, int fd)
{
	struct epoll_event event = {
		.events = (stream == 0 ? EPOLLOUT : EPOLLIN) | EPOLLET,
		.data.u64 = (uint64_t)slot * 4 + stream,
	};

	(void)epoll_ctl(procs->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* What makes a program, until it has its slot. */
struct birth {
	struct streams streams;
	struct spawned spawned;
	uint32_t group; /* of its limits; 0: none */
};

static void adopt(struct procs *procs, struct proc *proc, uint32_t id, const struct run_spec *spec,
		  const struct birth *birth)
{
	unsigned int slot = (unsigned int)(proc - procs->slot), i;
	const int *fds = birth->streams.ours;

	*proc = (struct proc){.used = true,
			      .builtin = spec->builtin,
			      .pty = spec->pty,
			      .id = id,
			      .group = birth->group,
			      .pid = birth->spawned.pid};
	proc->in = (struct input){.fd = fds[0], .ready = true, .pty = spec->pty};
	for (i = 0; i < 2; i++)
		proc->out[i] = (struct output){.fd = fds[i + 1],
					       .pty = spec->pty,
					       .number = (uint8_t)(i + 1),
					       .window = spec->window};
	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			watch(procs, slot, i, fds[i]);
	if (slot >= procs->high)
		procs->high = slot + 1;
}

/* Starts the program within its limits, with theirs of the streams.  0 or -errno. */
static int start_limited(struct limits *limits, const struct spawn_host *host,
			 struct run_spec *spec, struct birth *birth)
{
	const int *theirs = birth->streams.theirs;
	const int stdio[3] = {theirs[0], spec->pty ? theirs[0] : theirs[1],
			      spec->pty ? theirs[0] : theirs[2]};
	int joined = -1, result;

	if (spec->max_procs > 0 || spec->max_mem > 0) {
		joined = limit_make(limits, spec->max_procs, spec->max_mem, &birth->group);
		if (joined < 0)
			return joined;
	}
	result = spawn_program(host, spec, stdio, joined, &birth->spawned);
	close_fd(&joined);
	if (result < 0 && birth->group != 0)
		limit_end(limits, birth->group);
	return result;
}

static int start(struct limits *limits, const struct spawn_host *host, struct run_spec *spec,
		 struct birth *birth)
{
	int result = streams_open(&birth->streams, host, spec);

	if (result < 0)
		return result;
	result = start_limited(limits, host, spec, birth);
	streams_close_theirs(&birth->streams);
	if (result < 0)
		streams_close_ours(&birth->streams);
	return result;
}

void proc_run(struct procs *procs, const struct spawn_host *host, struct run_spec *spec,
	      uint32_t id, struct outq *out)
{
	struct proc *proc = free_slot(procs);
	struct birth birth = {.group = 0};
	uint8_t pid[4];
	int result;

	if (find(procs, id) != NULL)
		return;
	result = proc == NULL ? -EAGAIN : start(procs->limits, host, spec, &birth);
	if (result < 0) {
		proc_refuse(out, id, -result);
		return;
	}
	adopt(procs, proc, id, spec, &birth);
	frame_put_u32(pid, (uint32_t)birth.spawned.guest_pid);
	outq_frame(out, AGENT_STARTED, 0, id, pid, sizeof(pid));
	if (spec->pty)
		output_end(&proc->out[1], id, out);
}

void proc_input(struct procs *procs, uint32_t id, const uint8_t *bytes, uint32_t len)
{
	struct proc *proc = find(procs, id);

	if (proc != NULL)
		input_add(&proc->in, bytes, len);
}

bool proc_input_spooled(struct procs *procs, uint32_t id, uint32_t slot, uint32_t len)
{
	struct proc *proc = find(procs, id);

	return proc != NULL && input_add_spooled(&proc->in, procs->spool, slot, len);
}

void proc_credit(struct procs *procs, uint32_t id, uint8_t fd, uint32_t bytes)
{
	struct proc *proc = find(procs, id);

	if (proc != NULL && (fd == 1 || fd == 2))
		output_credit(&proc->out[fd - 1], bytes);
}

void proc_signal(struct procs *procs, uint32_t id, int signal)
{
	struct proc *proc = find(procs, id);

	if (proc == NULL || signal <= 0 || signal >= _NSIG)
		return;
	/* A built-in command is to take its temporary files with it. */
	if (proc->builtin && signal == SIGKILL)
		signal = SIGTERM;
	/* One that was forked a moment ago has no group yet. */
	if (kill(-proc->pid, signal) < 0 && proc->builtin && !proc->ended)
		(void)kill(proc->pid, signal);
}

void proc_winsize(struct procs *procs, uint32_t id, uint16_t rows, uint16_t columns)
{
	struct proc *proc = find(procs, id);

	if (proc != NULL && proc->pty && proc->out[0].fd >= 0)
		(void)pty_set_size(proc->out[0].fd, rows, columns);
}

void proc_event(struct procs *procs, uint64_t word, uint32_t events)
{
	struct proc *proc;
	unsigned int stream = word % 4;

	if (word / 4 >= procs->high || stream > 2)
		return;
	proc = &procs->slot[word / 4];
	if (stream == 0) {
		proc->in.ready = true;
		return;
	}
	proc->out[stream - 1].ready = true;
	if (events & EPOLLHUP)
		proc->out[stream - 1].hung_up = true;
}

void proc_ended(struct procs *procs, pid_t pid, int status, bool untold, int64_t now)
{
	struct proc *proc = procs->slot;
	int i;

	while (proc < procs->slot + procs->high &&
	       !(proc->used && !proc->ended && proc->pid == pid))
		proc++;
	if (proc == procs->slot + procs->high)
		return;
	proc->ended = true;
	proc->untold = untold;
	proc->status = status;
	proc->ended_at = now;
	proc->active_at = now;
	for (i = 0; i < 2; i++)
		output_owe(&proc->out[i]);
	if (proc->group != 0)
		limit_end(procs->limits, proc->group);
}

/* When an output that outlives its program is given up. */
static int64_t give_up_at(const struct proc *proc)
{
	int64_t quiet = proc->active_at + QUIET_MS, late = proc->ended_at + LINGER_MS;

	return quiet < late ? quiet : late;
}

/* The status of a built-in command that failed is an errno. */
static void tell_end(const struct proc *proc, struct outq *out)
{
	int status = proc->status;

	if (WIFSIGNALED(status))
		send_exit(out, proc->id, EVUM_SIGNALED, WTERMSIG(status));
	else if (proc->builtin && WEXITSTATUS(status) != 0)
		proc_refuse(out, proc->id, WEXITSTATUS(status));
	else
		send_exit(out, proc->id, EVUM_EXITED, WEXITSTATUS(status));
}

static void finish(struct procs *procs, struct proc *proc, struct outq *out, int64_t now)
{
	int i;

	for (i = 0; i < 2; i++)
		if (proc->out[i].fd >= 0 && proc->out[i].owed == 0 && now >= give_up_at(proc))
			output_end(&proc->out[i], proc->id, out);
	if (proc->out[0].fd >= 0 || proc->out[1].fd >= 0)
		return;
	if (!proc->untold)
		tell_end(proc, out);
	release(procs, proc);
}

static void widen(struct procs *procs, struct output *output)
{
	if (!output->fills || output->wide || procs->wide == OUTPUTS_WIDE_MAX)
		return;
	output_widen(output);
	procs->wide++;
}

/* One program's turn: at most OUTQ_STEP frames and small ones are made in each step. */
static bool pump_one(struct procs *procs, struct proc *proc, struct outq *out, int64_t now)
{
	enum output_result result;
	struct output *output;
	bool more = false;
	int i;

	input_pump(&proc->in, proc->id, out, &procs->grown, now);
	/* Changed before the queue can be full: the first alone may fill it each time. */
	proc->second_first = !proc->second_first;
	for (i = 0; i < 2; i++) {
		if (outq_full(out))
			return true;
		output = &proc->out[i != proc->second_first];
		result = output_pump(output, proc->id, out, procs->spool);
		if (result != OUTPUT_NOTHING)
			proc->active_at = now;
		more = more || result == OUTPUT_MORE;
		widen(procs, output);
	}
	if (outq_full(out))
		return true;
	if (proc->ended)
		finish(procs, proc, out, now);
	return more;
}

bool procs_pump(struct procs *procs, struct outq *out, int64_t now)
{
	unsigned int high = procs->high, start = procs->next < high ? procs->next : 0;
	bool more = false, starved = false;
	struct proc *proc;
	unsigned int i, slot;

	for (i = 0; i < high; i++) {
		slot = (start + i) % high;
		proc = &procs->slot[slot];
		if (outq_full(out)) {
			procs->next = slot;
			return true;
		}
		if (!proc->used)
			continue;
		more = pump_one(procs, proc, out, now) || more;
		if (!starved && (proc->out[0].starved || proc->out[1].starved)) {
			procs->next = slot;
			starved = true;
		}
	}
	return more;
}

/* When what a program left open is given up; -1: never. */
static int64_t finish_deadline(const struct proc *proc)
{
	int i;

	/* What is still owed waits for the host's window, not for the clock. */
	for (i = 0; proc->ended && i < 2; i++)
		if (proc->out[i].fd >= 0 && proc->out[i].owed == 0)
			return give_up_at(proc);
	return -1;
}

int64_t procs_deadline(const struct procs *procs)
{
	const struct proc *proc;
	int64_t first = -1;
	unsigned int i;

	for (i = 0; i < procs->high; i++) {
		proc = &procs->slot[i];
		if (!proc->used)
			continue;
		first = boot_earlier(first, finish_deadline(proc));
		first = boot_earlier(first, input_deadline(&proc->in));
	}
	return first;
}

void procs_abandon(struct procs *procs, struct outq *out)
{
	struct proc *proc;
	unsigned int i;
	int j;

	for (i = 0; i < procs->high && !outq_full(out); i++) {
		proc = &procs->slot[i];
		if (!proc->used || !proc->ended)
			continue;
		for (j = 0; j < 2; j++) {
			proc->out[j].owed = 0;
			if (proc->out[j].fd >= 0)
				output_end(&proc->out[j], proc->id, out);
		}
		finish(procs, proc, out, 0);
	}
}
