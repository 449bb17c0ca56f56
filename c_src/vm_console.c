/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console: bytes out within a window, bytes in through a bounded queue
 *
 * A line of UML's that is typed full while nobody reads goes deaf for good, so
 * what is typed goes in by windows as well, which the agent grants.
 *
 * With the window spent we stop reading: the socket fills, and the guest's
 * writer blocks.  When the machine is gone what the socket still holds is
 * delivered whatever the window says: it is bounded by the socket's size, and
 * nobody else will ever read it.
 */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util.h"
#include "vm.h"

/* Bytes delivered at a time. */
#define CHUNK 65536u

void vm_console_watch(struct evum_vm *vm)
{
	struct vm_console *console = &vm->console;
	bool writing = console->typed_len && console->typed_window;
	uint32_t events = (console->window ? EPOLLIN : 0u) | (writing ? EPOLLOUT : 0u);

	if (!console->ended)
		vm_watch(vm, VM_CONSOLE, console->fd, events, &console->events);
}

static void remember(struct vm_console *console, const char *bytes, size_t len)
{
	size_t take = min_size(len, VM_TAIL_MAX);
	size_t keep = min_size(console->tail_len, VM_TAIL_MAX - take);

	memmove(console->tail, console->tail + console->tail_len - keep, keep);
	memcpy(console->tail + keep, bytes + len - take, take);
	console->tail_len = keep + take;
}

/* Bytes delivered; 0 when none are there, -1 when none will come. */
static ssize_t deliver(struct evum_vm *vm, size_t most)
{
	char bytes[CHUNK];
	ssize_t received = recv(vm->console.fd, bytes, min_size(most, CHUNK), MSG_DONTWAIT);
	struct evum_event event = {.type = EVUM_CONSOLE, .data = bytes, .len = (size_t)received};

	if (received == 0)
		return -1;
	if (received < 0)
		return 0;
	remember(&vm->console, bytes, event.len);
	vm->console.delivered += event.len;
	vm->console.window -= min_size(vm->console.window, event.len);
	vm_emit(vm, &event);
	return received;
}

/* Is there room again for a caller who was told that there was none? */
static void tell_room(struct evum_vm *vm)
{
	struct vm_console *console = &vm->console;
	struct evum_event event = {.type = EVUM_CONSOLE_READY,
				   .value = (int)(EVUM_CONSOLE_QUEUE - console->typed_len)};

	if (!console->refused || console->typed_len > EVUM_CONSOLE_QUEUE / 2)
		return;
	console->refused = false;
	vm_emit(vm, &event);
}

/* Where the first line of bytes ends, its end not counted; len when it doesn't. */
static size_t line_length(const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (at < len && bytes[at] != '\n' && bytes[at] != '\r')
		at++;
	return at;
}

static void take_typed(struct vm_console *console, size_t len)
{
	console->typed_len -= len;
	memmove(console->typed, console->typed + len, console->typed_len);
}

/* Counts what was typed of the line that isn't finished. */
static void count_unfinished(struct vm_console *console, size_t sent)
{
	size_t at = 0;

	while (at < sent) {
		size_t length = line_length(console->typed + at, sent - at);

		console->unfinished += length;
		at += length;
		if (at < sent) {
			console->unfinished = 0;
			at++;
		}
	}
}

/* Drops what is too long of a line for a tty that keeps it until it is finished. */
static void drop_excess(struct vm_console *console)
{
	if (console->gives_lines && console->unfinished >= AGENT_LINE_MAX)
		take_typed(console, line_length(console->typed, console->typed_len));
}

/* Types what the line's window takes; the agent tells when the guest has read it. */
static void write_typed(struct evum_vm *vm)
{
	struct vm_console *console = &vm->console;
	uint32_t typed;
	ssize_t sent;
	size_t most;

	drop_excess(console);
	most = min_size(console->typed_len, console->typed_window);
	if (most == 0)
		return;
	sent = send(console->fd, console->typed, most, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent <= 0)
		return;
	count_unfinished(console, (size_t)sent);
	take_typed(console, (size_t)sent);
	console->typed_window -= (size_t)sent;
	typed = (uint32_t)sent;
	agent_send(&vm->agent, AGENT_TYPED, 0, 0, &typed, sizeof(typed));
	vm_agent_flush(vm);
}

void vm_console_typed_credit(struct evum_vm *vm, size_t bytes, bool gives_lines)
{
	struct vm_console *console = &vm->console;

	console->gives_lines = gives_lines;
	console->typed_window += min_size(bytes, AGENT_CONSOLE_WINDOW - console->typed_window);
	write_typed(vm);
	tell_room(vm);
	vm_console_watch(vm);
}

void vm_console_handler(struct evum_vm *vm, uint32_t events)
{
	struct vm_console *console = &vm->console;

	write_typed(vm);
	tell_room(vm);
	if (console->window && deliver(vm, console->window) < 0)
		events |= EPOLLERR;
	/* Nothing more will come, or nobody takes it: vm_console_drain() reads the rest. */
	if ((events & EPOLLERR) || ((events & EPOLLHUP) && !console->window)) {
		console->ended = events & EPOLLERR;
		epoll_ctl(vm->epoll, EPOLL_CTL_DEL, console->fd, NULL);
		return;
	}
	vm_console_watch(vm);
}

void vm_console_drain(struct evum_vm *vm)
{
	while (deliver(vm, CHUNK) > 0)
		continue;
}

/* Are the words among the last that were printed? */
bool vm_console_says(const struct evum_vm *vm, const char *words)
{
	const struct vm_console *console = &vm->console;

	return memmem(console->tail, console->tail_len, words, strlen(words)) != NULL;
}

long evum_console_write(struct evum_vm *vm, const void *bytes, size_t len)
{
	struct vm_console *console = &vm->console;
	size_t take = min_size(len, EVUM_CONSOLE_QUEUE - console->typed_len);

	if (vm->down)
		return -EPIPE;
	memcpy(console->typed + console->typed_len, bytes, take);
	console->typed_len += take;
	console->refused = console->refused || take < len;
	write_typed(vm);
	vm_console_watch(vm);
	return (long)take;
}

void evum_console_credit(struct evum_vm *vm, size_t bytes)
{
	if (vm->down)
		return;
	vm->console.window += min_size(bytes, SIZE_MAX - vm->console.window);
	vm_console_watch(vm);
}

int evum_console_winsize(struct evum_vm *vm, unsigned int rows, unsigned int cols)
{
	uint16_t size[2] = {(uint16_t)rows, (uint16_t)cols};
	int err;

	if (rows == 0 || cols == 0 || rows > UINT16_MAX || cols > UINT16_MAX)
		return -ERANGE;
	if (!vm->up)
		return -ENOTCONN;
	err = agent_send(&vm->agent, AGENT_WINSIZE, 0, 0, size, sizeof(size));
	vm_agent_flush(vm);
	return err;
}
