/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine: its start, its events, its end
 *
 * Everything the machine does reaches its owner through one handler, called from
 * evum_vm_dispatch().  The machine is down when the first process of its jail
 * has ended; what was said before that is delivered first, so that EVUM_DOWN is
 * the last event.
 */
#include "vm.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "config.h"
#include "util.h"

void vm_emit(struct evum_vm *vm, const struct evum_event *event)
{
	vm->seen |= 1u << event->type;
	vm->handler(vm->ctx, event);
}

void vm_reach(struct evum_vm *vm, enum evum_stage stage)
{
	struct evum_event event = {.type = EVUM_STAGE, .value = (int)stage};

	if (stage <= vm->stage)
		return;
	vm->stage = stage;
	vm_emit(vm, &event);
}

/* Watches fd for events; current (may be NULL) remembers them, to spare the call. */
void vm_watch(struct evum_vm *vm, enum vm_source source, int fd, uint32_t events, uint32_t *current)
{
	struct epoll_event event = {.events = events, .data.u32 = source};

	if (current && *current == events)
		return;
	if (epoll_ctl(vm->epoll, EPOLL_CTL_MOD, fd, &event) < 0)
		epoll_ctl(vm->epoll, EPOLL_CTL_ADD, fd, &event);
	if (current)
		*current = events;
}

static void child_handler(struct evum_vm *vm, uint32_t events)
{
	(void)events;
	vm->child_gone = true;
}

/* Takes what has come on the agent's line; false when there is nothing more. */
static bool agent_read(struct evum_vm *vm)
{
	size_t size;
	uint8_t *room = agent_room(&vm->agent, &size);
	ssize_t received = RETRY(recv(vm->agent_fd, room, size, MSG_DONTWAIT));

	/* The kernel's end is closed, or half of it: nothing more will come. */
	if (received == 0 && !vm->agent_ended) {
		epoll_ctl(vm->epoll, EPOLL_CTL_DEL, vm->agent_fd, NULL);
		vm->agent_ended = true;
	}
	if (received <= 0)
		return false;
	agent_received(&vm->agent, (size_t)received);
	vm_agent_frames(vm);
	return true;
}

void vm_agent_drain(struct evum_vm *vm)
{
	while (agent_read(vm))
		continue;
}

static void agent_handler(struct evum_vm *vm, uint32_t events)
{
	if (events & ~(uint32_t)EPOLLOUT)
		agent_read(vm);
	/* What was read may have been the line's credit. */
	vm_agent_flush(vm);
}

/* Keeps the last bytes of what the kernel says before it has a console. */
static void log_handler(struct evum_vm *vm, uint32_t events)
{
	char bytes[1024];
	ssize_t received = read(vm->log_fd, bytes, sizeof(bytes));
	size_t len = received > 0 ? (size_t)received : 0;
	size_t keep = min_size(vm->log_len, sizeof(vm->log) - len);

	(void)events;
	if (received == 0)
		epoll_ctl(vm->epoll, EPOLL_CTL_DEL, vm->log_fd, NULL);
	memmove(vm->log, vm->log + vm->log_len - keep, keep);
	memcpy(vm->log + keep, bytes, len);
	vm->log_len = keep + len;
}

typedef void source_handler(struct evum_vm *vm, uint32_t events);

static source_handler *const handlers[] = {
	[VM_CHILD] = child_handler,	 [VM_CONSOLE] = vm_console_handler,
	[VM_AGENT] = agent_handler,	 [VM_MCONSOLE] = vm_mconsole_handler,
	[VM_NOTIFY] = vm_notify_handler, [VM_LOG] = log_handler,
	[VM_TIMER] = vm_timer_handler,	 [VM_NIC] = vm_nic_handler,
};
_Static_assert(ARRAY_SIZE(handlers) == VM_SOURCES, "a handler for each source");

/* A descriptor pair: ours, non-blocking, and the guest's. */
static int make_pair(int type, int *ours, int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	*ours = ends[0];
	*theirs = ends[1];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int make_log(struct evum_vm *vm, struct jail *jail)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	vm->log_fd = ends[0];
	jail->log = ends[1];
	return fcntl(vm->log_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int make_descriptors(struct evum_vm *vm, struct jail *jail)
{
	int err = make_pair(SOCK_STREAM, &vm->console.fd, &jail->console);

	err = err ? err : make_pair(SOCK_STREAM, &vm->agent_fd, &jail->agent);
	err = err ? err : make_log(vm, jail);
	if (err)
		return err;
	vm->mconsole.client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	vm->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	vm->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	vm->epoll = epoll_create1(EPOLL_CLOEXEC);
	jail->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	jail->client = vm->mconsole.client;
	jail->notify = vm->notify;
	if (vm->mconsole.client < 0 || vm->notify < 0 || vm->timer < 0 || vm->epoll < 0 ||
	    jail->null < 0)
		return -errno;
	return 0;
}

static void watch_all(struct evum_vm *vm)
{
	vm_watch(vm, VM_CHILD, vm->child.pidfd, EPOLLIN, NULL);
	vm_watch(vm, VM_AGENT, vm->agent_fd, EPOLLIN, &vm->agent_events);
	vm_watch(vm, VM_MCONSOLE, vm->mconsole.client, EPOLLIN, NULL);
	vm_watch(vm, VM_NOTIFY, vm->notify, EPOLLIN, NULL);
	vm_watch(vm, VM_LOG, vm->log_fd, EPOLLIN, NULL);
	vm_watch(vm, VM_TIMER, vm->timer, EPOLLIN, NULL);
	vm_nic_watch(vm);
	vm_console_watch(vm);
}

/* user.max_user_namespaces, where 0 forbids them and more is a limit that was reached. */
static bool namespaces_forbidden(void)
{
	char text[16] = "";
	cleanup_fd int fd = open("/proc/sys/user/max_user_namespaces", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) == 0;
}

/* Only where the host doesn't let us: what failed for another reason mustn't run with less. */
static bool can_fall_back(const struct evum_config *config, const struct evum_error *error, int err)
{
	if (config->root == EVUM_ROOT_HOST || config->share_count > 0)
		return false;
	if (strcmp(error->stage, "mounts") == 0)
		return err == -EPERM || err == -EACCES;
	if (strcmp(error->stage, "namespaces") != 0)
		return false;
	return err == -EPERM || err == -EACCES || err == -ENOSYS || err == -EINVAL ||
	       (err == -ENOSPC && namespaces_forbidden());
}

static int spawn(struct evum_vm *vm, struct jail *jail, struct evum_error *error)
{
	int err = jail_spawn(jail, &vm->child, error);

	if (err && can_fall_back(jail->config, error, err)) {
		jail->mode = JAIL_REAPED;
		err = jail_spawn(jail, &vm->child, error);
	}
	vm->mode = jail->mode;
	vm->landlock_abi = jail->landlock_abi;
	vm->cpu = jail->pinned ? (int)jail->cpu : -1;
	return err;
}

static struct evum_vm *vm_new(evum_handler *handler, void *ctx)
{
	struct evum_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->handler = handler;
	vm->ctx = ctx;
	vm->epoll = vm->timer = vm->agent_fd = vm->notify = vm->log_fd = vm->console.fd = -1;
	jail_child_init(&vm->child);
	vm->console.typed_window = AGENT_CONSOLE_WINDOW;
	vm->rings.in = vm->rings.out = -1;
	vm->console.typed = malloc(EVUM_CONSOLE_QUEUE);
	if (!vm->console.typed || mconsole_init(&vm->mconsole) < 0 || agent_init(&vm->agent) < 0) {
		evum_vm_free(vm);
		return NULL;
	}
	return vm;
}

static int connect_dirs(struct jail *jail, const struct evum_config *config,
			struct evum_error *error)
{
	for (unsigned int i = 0; i < config->dir_count; i++) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		size_t length = strlen(config->dirs[i].address);
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (length >= sizeof(address.sun_path) || fd < 0) {
			fd_close(&fd);
			return jail_error(error, "dir", ENAMETOOLONG, "%s can't be connected to",
					  config->dirs[i].guest);
		}
		jail->dirs[jail->dir_count++] = fd;
		memcpy(address.sun_path + 1, config->dirs[i].address, length);
		length += offsetof(struct sockaddr_un, sun_path) + 1;
		if (connect(fd, (struct sockaddr *)&address, (socklen_t)length) < 0)
			return jail_error(error, "dir", errno, "%s: nobody serves it",
					  config->dirs[i].guest);
	}
	return 0;
}

static int start(struct evum_vm *vm, const struct evum_config *config, struct evum_error *error)
{
	struct jail jail = {.null = -1, .log = -1, .console = -1, .agent = -1, .control = -1};
	int err = make_descriptors(vm, &jail);

	err = err ? err : vm_nic_init(vm, config);
	for (unsigned int i = 0; i < vm->nic_count; i++)
		jail.nics[i] = vm->nics[i].listener;
	if (err)
		jail_error(error, "descriptors", -err, "no descriptors left");
	err = err ? err : connect_dirs(&jail, config, error);
	err = err ? err : jail_plan(&jail, config, error);
	err = err ? err : spawn(vm, &jail, error);
	jail_release(&jail);
	if (err)
		return err;
	if (rings_init(&vm->rings, vm->child.spool) < 0)
		return jail_error(error, "descriptors", ENOMEM, "no memory");
	vm->mconsole.run = vm->child.run;
	vm->child.run = -1;
	vm->console.window = config->console_window;
	watch_all(vm);
	return 0;
}

int evum_vm_start(const struct evum_config *config, evum_handler *handler, void *ctx,
		  struct evum_vm **vm, struct evum_error *error)
{
	struct evum_error ignored;
	struct evum_vm *new;
	int err;

	*vm = NULL;
	if (!error)
		error = &ignored;
	*error = (struct evum_error){.stage = ""};
	err = config_check(config, error);
	if (err)
		return err;
	new = vm_new(handler, ctx);
	if (!new)
		return jail_error(error, "descriptors", ENOMEM, "no memory");
	err = start(new, config, error);
	if (err)
		evum_vm_free(new);
	else
		*vm = new;
	return err;
}

int evum_vm_fd(const struct evum_vm *vm)
{
	return vm->epoll;
}

/* The kernel's wait status, as the jail reported it, or that of the jail's first process. */
static void read_end(struct evum_vm *vm, struct evum_event *down)
{
	struct jail_report report;
	bool reported = false;
	int status;

	while (!reported &&
	       recv(vm->child.control, &report, sizeof(report), MSG_DONTWAIT) == sizeof(report))
		reported = report.kind == JAIL_ENDED;
	status = jail_wait(&vm->child);
	if (reported)
		status = report.value;
	down->end = WIFSIGNALED(status) ? EVUM_END_SIGNAL : EVUM_END_STATUS;
	down->value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * The exit status alone can't tell a halt from a reboot, and a clean halt ends
 * by SIGABRT once in a thousand times: what evum-init announced counts first,
 * then the kernel's last words on the console.
 */
static void judge_end(struct evum_vm *vm, struct evum_event *down)
{
	static const enum evum_end endings[] = {
		[AGENT_END_HALT] = EVUM_END_HALTED,
		[AGENT_END_REBOOT] = EVUM_END_REBOOTED,
		[AGENT_END_INIT] = EVUM_END_INIT_EXITED,
	};
	bool killed = down->end == EVUM_END_SIGNAL && down->value == SIGKILL;

	if (vm->panicked) {
		down->end = EVUM_END_PANIC;
	} else if (vm->ending && !killed) {
		down->end = endings[vm->ending];
		down->value = vm->ending_value;
	} else if (down->end == EVUM_END_STATUS && down->value == 0) {
		down->end = vm_console_says(vm, "reboot: Restarting system") ||
					    vm_console_says(vm, "sysrq: Resetting")
				    ? EVUM_END_REBOOTED
				    : EVUM_END_HALTED;
	}
}

static void finish(struct evum_vm *vm)
{
	struct evum_event down = {.type = EVUM_DOWN};

	vm_agent_drain(vm);
	vm_console_drain(vm);
	vm_notify_handler(vm, 0);
	if (vm->late_panic_len && !vm_console_says(vm, "reboot: "))
		vm_panic(vm, vm->late_panic, vm->late_panic_len);
	log_handler(vm, 0);
	vm_mconsole_give_up(vm, -EPIPE);
	read_end(vm, &down);
	judge_end(vm, &down);
	down.data = vm->log;
	down.len = vm->log_len;
	vm->down = true;
	vm_emit(vm, &down);
}

int evum_vm_dispatch(struct evum_vm *vm)
{
	struct epoll_event events[VM_SOURCES];
	int count;

	if (vm->down)
		return 1;
	count = RETRY(epoll_wait(vm->epoll, events, VM_SOURCES, 0));
	for (int i = 0; i < count; i++)
		handlers[events[i].data.u32](vm, events[i].events);
	if (vm->child_gone)
		finish(vm);
	return vm->down;
}

int evum_vm_wait(struct evum_vm *vm, enum evum_event_type type, int timeout_ms)
{
	int64_t deadline = vm_now() + timeout_ms;
	struct pollfd pfd = {.fd = vm->epoll, .events = POLLIN};

	vm->seen &= ~(1u << type);
	while (!(vm->seen & 1u << type)) {
		int64_t left = deadline - vm_now();

		if (vm->down)
			return -EPIPE;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, (int)left) > 0)
			evum_vm_dispatch(vm);
	}
	return 0;
}

void evum_vm_info(const struct evum_vm *vm, struct evum_vm_info *info)
{
	*info = (struct evum_vm_info){
		.init_pid = vm->child.pid,
		.kernel_pid = vm->child.kernel_pid,
		.cpu = vm->cpu,
		.paused = vm->paused,
		.stage = vm->stage,
		.confined = vm->mode == JAIL_CONFINED,
		.landlock_abi = vm->landlock_abi,
		.agent_garbage = vm->agent.garbage,
		.console_bytes = vm->console.delivered,
	};
}

void evum_vm_free(struct evum_vm *vm)
{
	if (!vm)
		return;
	jail_kill(&vm->child);
	jail_wait(&vm->child);
	fd_close(&vm->console.fd);
	fd_close(&vm->agent_fd);
	fd_close(&vm->notify);
	fd_close(&vm->log_fd);
	fd_close(&vm->timer);
	vm_nic_free(vm);
	fd_close(&vm->epoll);
	free(vm->console.typed);
	mconsole_free(&vm->mconsole);
	agent_free(&vm->agent);
	rings_free(&vm->rings);
	free(vm);
}
