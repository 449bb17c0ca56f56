/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent: runs programs in the machine for the host
 *
 * Theory of operation.  One process, one epoll loop, edge-triggered for streams: events
 * set flags, and then everything that can be done is done, in turn, until the
 * queue to the host is full or there is nothing left.  When it is full nothing
 * else is taken or made until the host has read: so the agent's memory is
 * bounded whatever the machine or the host does.
 *
 * The agent lives in the outermost pid namespace, where the machine's programs
 * can't see it ("kill -9 -1"), and its children in the machine's.  When the
 * line fails (a program hung it up) it ends; the guardian starts another.
 * SIGTERM is the guardian's: the machine ends, say what is left to say and go.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "builtin.h"
#include "limit.h"
#include "line.h"
#include "net.h"
#include "notify.h"
#include "oom.h"
#include "outq.h"
#include "proc.h"
#include "pty.h"
#include "run.h"
#include "spawn.h"
#include "spool.h"

#define EVENTS_MAX 64
#define FILES_NEEDED (PROCS_MAX * 3 + 64)
#define KEPT_BYTES (2 * (int)AGENT_STDIN_WINDOW_MAX)
#define SHELL_PATIENCE_MS 300
#define SHELL_LOOK_NS 500000
#define STOP_PATIENCE_MS 300
#define POWEROFF_AGAIN_MS 250
#define CONSOLE_LOOK_MS 5
#define CONSOLE_LOOK_MAX_MS 200

/* fd of a credit that is about no program */
#define CREDIT_SPOOL_IN 3
#define CREDIT_SPOOL_OUT 4

#define WORD_LINE UINT64_MAX
#define WORD_SIGNALS (UINT64_MAX - 1)
#define WORD_NOTIFY (UINT64_MAX - 2)
#define WORD_NET (UINT64_MAX - 3)

struct agent {
	const struct boot *boot;
	int epoll;
	int signals;
	int console;
	int links;     /* events of network interfaces; -1: none */
	bool in_ready; /* the line may have bytes */
	bool signals_ready;
	int64_t stop_at; /* ms; 0: not asked to stop */
	int64_t ask_at;	 /* ms, when to run poweroff again; 0: not */
	pid_t poweroff;
	int64_t now;	/* ms, read once a wake-up */
	uint32_t taken; /* bytes read from the line and not yet granted again */
	uint32_t typed; /* bytes typed on the console and not yet granted again */
	int look_ms;	/* when to look next whether they were read */
	struct spawn_host host;
	struct frame_reader in;
	struct outq out;
	struct spool spool;
	struct limits limits;
	struct run_spec spec;
	struct procs procs;
};

/* of the kernel's include/linux/sched.h */
#define PF_EXITING 0x4u

typedef void frame_handler(struct agent *agent, const struct frame *frame);

static void run_handler(struct agent *agent, const struct frame *frame)
{
	int result = run_parse(frame->payload, frame->len, &agent->spec);

	if (result < 0)
		proc_refuse(&agent->out, frame->id, -result);
	else
		proc_run(&agent->procs, &agent->host, &agent->spec, frame->id, &agent->out);
}

static void stdin_handler(struct agent *agent, const struct frame *frame)
{
	proc_input(&agent->procs, frame->id, frame->payload, frame->len);
}

/* The slot is free again, whatever became of it. */
static void spooled_handler(struct agent *agent, const struct frame *frame)
{
	uint32_t number;

	if (frame->len != 8)
		return;
	number = frame_u32(frame->payload);
	agent->spool.read = number + 1;
	if (!proc_input_spooled(&agent->procs, frame->id, number % AGENT_SPOOL_SLOTS,
				frame_u32(frame->payload + 4)))
		agent->in.garbage += FRAME_HEADER + frame->len;
}

static void credit_handler(struct agent *agent, const struct frame *frame)
{
	if (frame->len != 4)
		return;
	if (frame->id == 0 && frame->fd == CREDIT_SPOOL_OUT)
		spool_credit(&agent->spool, frame_u32(frame->payload));
	else
		proc_credit(&agent->procs, frame->id, frame->fd, frame_u32(frame->payload));
}

static void signal_handler(struct agent *agent, const struct frame *frame)
{
	if (frame->len == 4)
		proc_signal(&agent->procs, frame->id, (int)frame_u32(frame->payload));
}

/*
 * Runs the machine's own "poweroff", which knows how to talk to its init, and
 * runs it again when it failed: an init that is still booting doesn't listen yet.
 */
static void ask_own_init(struct agent *agent)
{
	struct spawned spawned;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), result;

	agent->ask_at = 0;
	run_simple(&agent->spec, "poweroff");
	result = spawn_program(&agent->host, &agent->spec, (int[]){null, null, null}, -1, &spawned);
	close(null);
	if (result < 0)
		_exit(AGENT_EXIT_CUT_POWER);
	agent->poweroff = spawned.pid;
}

static void drop_caches(const struct agent *agent)
{
	int fd = openat(agent->boot->proc, "sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "3", 1);
	close(fd);
}

static void control_handler(struct agent *agent, const struct frame *frame)
{
	if (frame->len != 1)
		return;
	if (frame->payload[0] == AGENT_DROP_CACHES)
		drop_caches(agent);
	else if (frame->payload[0] == AGENT_POWEROFF && agent->boot->built_in)
		(void)kill(agent->boot->init, SIGUSR2);
	else if (frame->payload[0] == AGENT_POWEROFF)
		ask_own_init(agent);
}

static void open_console(struct agent *agent)
{
	if (agent->console >= 0)
		close(agent->console);
	agent->console = open(CONSOLE_TTY, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
}

static void winsize_handler(struct agent *agent, const struct frame *frame)
{
	uint16_t rows, columns;

	if (frame->len != 4)
		return;
	rows = frame_u16(frame->payload);
	columns = frame_u16(frame->payload + 2);
	if (frame->id != 0) {
		proc_winsize(&agent->procs, frame->id, rows, columns);
	} else if (pty_set_size(agent->console, rows, columns) < 0) {
		/* A getty may have hung it up. */
		open_console(agent);
		(void)pty_set_size(agent->console, rows, columns);
	}
}

static void typed_handler(struct agent *agent, const struct frame *frame)
{
	if (frame->len == 4)
		agent->typed += frame_u32(frame->payload);
	agent->look_ms = CONSOLE_LOOK_MS;
}

static frame_handler *const handlers[] = {
	[AGENT_RUN] = run_handler,	   [AGENT_STDIN] = stdin_handler,
	[AGENT_CREDIT] = credit_handler,   [AGENT_SIGNAL] = signal_handler,
	[AGENT_CONTROL] = control_handler, [AGENT_WINSIZE] = winsize_handler,
	[AGENT_TYPED] = typed_handler,	   [AGENT_STDIN_SPOOLED] = spooled_handler,
};
_Static_assert(sizeof(handlers) / sizeof(handlers[0]) == AGENT_STDIN_SPOOLED + 1,
	       "a handler for each type that the host sends");

/* Reads once; ends the agent where the line is gone. */
static void read_line(struct agent *agent)
{
	size_t room;
	uint8_t *at = frame_room(&agent->in, &room);
	ssize_t got = read(agent->out.fd, at, room);

	if (got > 0) {
		frame_added(&agent->in, (size_t)got);
		agent->taken += (uint32_t)got;
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		_exit(1);
	} else {
		agent->in_ready = errno == EINTR;
	}
}

/* Handles what the host has sent, as long as answers have room. */
static void take_input(struct agent *agent)
{
	struct frame frame;

	while (!outq_full(&agent->out)) {
		if (frame_next(&agent->in, &frame))
			handlers[frame.type](agent, &frame);
		else if (agent->in_ready)
			read_line(agent);
		else
			return;
	}
}

static void send_credit(struct agent *agent, uint8_t fd, uint32_t *amount)
{
	uint8_t payload[4];

	frame_put_u32(payload, *amount);
	outq_frame(&agent->out, AGENT_CREDIT, fd, 0, payload, sizeof(payload));
	*amount = 0;
}

/* Does the console's tty keep a line until it is finished? */
static bool gives_lines(const struct agent *agent)
{
	struct termios mode;

	return tcgetattr(agent->console, &mode) == 0 && (mode.c_lflag & ICANON) != 0;
}

/* Keeps the lines below the length at which they go deaf, see agent_proto.h. */
static void grant_lines(struct agent *agent)
{
	int waiting = 0;

	if (outq_full(&agent->out))
		return;
	if (agent->taken > 0)
		send_credit(agent, 0, &agent->taken);
	if (agent->spool.read > 0)
		send_credit(agent, CREDIT_SPOOL_IN, &agent->spool.read);
	if (agent->typed == 0)
		return;
	if (ioctl(agent->console, TIOCINQ, &waiting) < 0)
		open_console(agent);
	if (waiting == 0)
		send_credit(agent, gives_lines(agent) ? 2 : 1, &agent->typed);
	else if (agent->look_ms < CONSOLE_LOOK_MAX_MS)
		agent->look_ms *= 2;
}

/* Is the dist's init ending, or gone?  From proc(5): the ninth number of stat are its flags. */
static bool init_is_ending(const struct boot *boot)
{
	char path[32], stat[512];
	const char *rest;
	ssize_t len;
	int fd, i;

	snprintf(path, sizeof(path), "%d/stat", (int)boot->init);
	fd = openat(boot->proc, path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return true;
	stat[len] = '\0';
	rest = strrchr(stat, ')');
	for (i = 0; i < 7 && rest != NULL; i++)
		rest = strchr(rest + 1, ' ');
	return rest != NULL && (strtoul(rest, NULL, 10) & PF_EXITING) != 0;
}

/*
 * The end of the dist's init kills all programs, before the guardian hears of it:
 * that is the machine's end, which is told next, and not theirs.
 */
static bool died_with_init(const struct agent *agent, int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && init_is_ending(agent->boot);
}

static void take_signals(struct agent *agent)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	agent->signals_ready = false;
	while (read(agent->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM && agent->stop_at == 0)
			agent->stop_at = agent->now + STOP_PATIENCE_MS;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == agent->poweroff && status != 0)
			agent->ask_at = agent->now + POWEROFF_AGAIN_MS;
		proc_ended(&agent->procs, pid, status, died_with_init(agent, status), agent->now);
	}
}

static void wait_events(struct agent *agent, int timeout)
{
	struct epoll_event event[EVENTS_MAX];
	int count = epoll_wait(agent->epoll, event, EVENTS_MAX, timeout), i;

	agent->now = boot_now_ms();
	for (i = 0; i < count; i++) {
		if (event[i].data.u64 == WORD_SIGNALS) {
			agent->signals_ready = true;
		} else if (event[i].data.u64 == WORD_NOTIFY) {
			if (notify_read(agent->boot))
				(void)epoll_ctl(agent->epoll, EPOLL_CTL_DEL, agent->boot->notify,
						NULL);
		} else if (event[i].data.u64 == WORD_NET) {
			net_watched(agent->boot->net, agent->links);
		} else if (event[i].data.u64 == WORD_LINE) {
			if (event[i].events & (EPOLLHUP | EPOLLERR))
				_exit(1);
			agent->in_ready = agent->in_ready || (event[i].events & EPOLLIN);
			agent->out.ready = agent->out.ready || (event[i].events & EPOLLOUT);
		} else {
			proc_event(&agent->procs, event[i].data.u64, event[i].events);
		}
	}
}

/* How long there is nothing to do but by an event, in ms. */
static int idle_time(const struct agent *agent)
{
	int64_t due =
		boot_earlier(agent->stop_at == 0 ? -1 : agent->stop_at, limit_due(&agent->limits));

	if (!outq_full(&agent->out))
		due = boot_earlier(due, procs_deadline(&agent->procs));
	if (agent->ask_at > 0)
		due = boot_earlier(due, agent->ask_at);
	/* Nobody tells when a program has read from its terminal. */
	if (agent->typed > 0)
		due = boot_earlier(due, agent->now + agent->look_ms);
	if (due < 0)
		return -1;
	return due > agent->now ? (int)(due - agent->now) : 0;
}

/* The machine ends: all programs are dead; sends what they left and goes. */
static void stop_if_done(struct agent *agent)
{
	if (agent->stop_at == 0)
		return;
	if (agent->now >= agent->stop_at)
		procs_abandon(&agent->procs, &agent->out);
	if (outq_flush(&agent->out) < 0 || (!procs_any(&agent->procs) && outq_empty(&agent->out)) ||
	    agent->now >= agent->stop_at)
		_exit(outq_empty(&agent->out) ? 0 : 1);
}

static _Noreturn void loop(struct agent *agent)
{
	bool more;

	for (;;) {
		if (agent->signals_ready)
			take_signals(agent);
		if (agent->stop_at == 0)
			take_input(agent);
		if (agent->ask_at > 0 && agent->now >= agent->ask_at)
			ask_own_init(agent);
		grant_lines(agent);
		more = procs_pump(&agent->procs, &agent->out, agent->now);
		limit_tidy(&agent->limits, agent->now);
		if (outq_flush(&agent->out) < 0)
			_exit(1);
		stop_if_done(agent);
		wait_events(agent, more && !outq_full(&agent->out) ? 0 : idle_time(agent));
	}
}

static void say_hello(struct agent *agent)
{
	struct utsname kernel;
	uint8_t payload[8 + sizeof(kernel.release)];
	size_t len;

	uname(&kernel);
	len = strlen(kernel.release);
	frame_put_u32(payload, AGENT_VERSION);
	frame_put_u32(payload + 4, spool_there(&agent->spool) ? AGENT_HAS_SPOOL : 0);
	memcpy(payload + 8, kernel.release, len);
	outq_frame(&agent->out, AGENT_HELLO, 0, 0, payload, 8 + len);
}

/*
 * The shell on the console echoes what it reads itself, and what was typed
 * before it was ready would be echoed by the terminal as well.  Nobody tells
 * when that is over, so it is looked for.
 */
static void await_shell(const struct agent *agent)
{
	const struct timespec pause = {.tv_nsec = SHELL_LOOK_NS};
	int64_t until = boot_now_ms() + SHELL_PATIENCE_MS;
	struct termios mode;

	while (agent->console >= 0 && tcgetattr(agent->console, &mode) == 0 &&
	       (mode.c_lflag & ICANON) && boot_now_ms() < until)
		nanosleep(&pause, NULL);
}

static void watch(const struct agent *agent, int fd, uint32_t events, uint64_t word)
{
	struct epoll_event event = {.events = events, .data.u64 = word};

	(void)epoll_ctl(agent->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void raise_limit(struct agent *agent)
{
	struct rlimit files;

	(void)getrlimit(RLIMIT_NOFILE, &agent->host.files);
	files = agent->host.files;
	files.rlim_cur = FILES_NEEDED;
	if (files.rlim_max < FILES_NEEDED)
		files.rlim_max = FILES_NEEDED;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static bool open_all(struct agent *agent)
{
	agent->out.fd = line_open(O_NONBLOCK);
	agent->epoll = epoll_create1(EPOLL_CLOEXEC);
	agent->signals = open_signals();
	agent->console = -1;
	open_console(agent);
	if (agent->out.fd < 0 || agent->epoll < 0 || agent->signals < 0)
		return false;
	watch(agent, agent->out.fd, EPOLLIN | EPOLLOUT | EPOLLET, WORD_LINE);
	watch(agent, agent->signals, EPOLLIN | EPOLLET, WORD_SIGNALS);
	agent->links = net_watch();
	if (agent->links >= 0)
		watch(agent, agent->links, EPOLLIN, WORD_NET);
	if (agent->boot->ready != NULL && *agent->boot->ready == 0)
		watch(agent, agent->boot->notify, EPOLLIN, WORD_NOTIFY);
	return true;
}

_Noreturn void agent_main(const struct boot *boot, bool first)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	prctl(PR_SET_NAME, "evum-agent");
	/* Fresh pages are dear in UML: those of bulk are used again. */
	(void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	oom_score(boot->proc, OOM_NEVER);
	if (agent == NULL)
		_exit(1);
	agent->boot = boot;
	agent->in_ready = agent->signals_ready = agent->out.ready = true;
	agent->now = boot_now_ms();
	agent->host = (struct spawn_host){
		.mnt_ns = boot->mnt_ns, .proc = boot->proc, .init = boot->init, .path = boot->path};
	raise_limit(agent);
	/* For children only: the agent itself stays outside. */
	if (!open_all(agent) || setns(boot->pid_ns, CLONE_NEWPID) < 0)
		_exit(1);
	builtin_ready = boot->ready;
	builtin_boot = boot;
	net_shared = boot->net;
	spool_open(&agent->spool, boot->config.spool);
	limit_init(&agent->limits);
	if (!first)
		limit_sweep();
	procs_init(&agent->procs, agent->epoll, &agent->spool, &agent->limits);
	if (first && boot->built_in && boot->shell_edits)
		await_shell(agent);
	if (!first)
		tcflush(agent->out.fd, TCIFLUSH);
	say_hello(agent);
	loop(agent);
}
