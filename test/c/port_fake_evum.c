/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake libevum: machines that follow a script
 *
 * Every call that changes something is a line in the file EVUM_FAKE_LOG, so
 * that a test can compare what was done with what should have been.  Words in
 * args and commands of the management console say how the guest behaves:
 *   floods   prints on the console as long as its window lasts
 *   deaf     doesn't read what is typed (command hear: reads)
 *   clogged  the agent's line takes no stdin (command unclog: it does)
 * Commands: version, refuse, late, hang, hear, unclog, panic, halt, message N (N
 * messages from a guest's program), large N (an answer of N bytes).
 * Programs: cat, yes, both (out, err, status 3), missing, strange.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <evum.h>
#include "util.h"

#define FLOOD_MAX 32768u
#define PROGRAMS_MAX 200u

struct queue {
	char bytes[EVUM_CONSOLE_QUEUE];
	size_t len;
};

struct program {
	uint32_t id; /* 0: free */
	char name[16];
	int started, eof, ended, credit, signal;
	uint32_t window[3];
	struct queue in;
};

struct reply {
	uint32_t id;
	int value; /* of the event */
	char text[64];
	size_t len; /* over that of text: so many letters x */
};

struct evum_vm {
	evum_handler *handler;
	void *ctx;
	int fd;
	int booted, floods, deaf, clogged, stopped;
	size_t window;
	uint64_t printed;
	unsigned int messages;
	struct queue typed;
	struct program programs[PROGRAMS_MAX];
	struct reply replies[EVUM_MCONSOLE_PENDING];
	unsigned int reply_count;
	int panicked, down;
	enum evum_end end;
	int value;
};

__attribute__((format(printf, 1, 2))) static void fake_log(const char *format, ...)
{
	const char *name = getenv("EVUM_FAKE_LOG");
	va_list args;
	int fd;

	if (!name)
		return;
	fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	va_start(args, format);
	vdprintf(fd, format, args);
	va_end(args);
	close(fd);
}

/* Something was said to the machine: it wants to be dispatched. */
static void fake_wake(struct evum_vm *vm)
{
	eventfd_write(vm->fd, 1);
}

static void fake_emit(struct evum_vm *vm, struct evum_event event)
{
	vm->handler(vm->ctx, &event);
}

void evum_config_init(struct evum_config *config)
{
	*config = (struct evum_config){
		.kernel = "/usr/bin/linux.uml", .modules = "/usr/lib/uml/modules", .mem = 64};
}

static void log_config(const struct evum_config *config)
{
	fake_log("start %s %s %s %s mem=%u root=%d", config->kernel, config->initramfs,
		 config->modules ? config->modules : "none", config->hostname, config->mem,
		 (int)config->root);
	for (unsigned int i = 0; i < config->disk_count; i++)
		fake_log(" disk=%s:%d", config->disks[i].path,
			 config->disks[i].writable + config->disks[i].durable);
	if (config->layer_count)
		fake_log(" layers=%u:%u:%s:%d", config->layer_count, config->layer_size,
			 config->layer_template, config->layer_temporary);
	for (unsigned int i = 0; i < config->bind_count; i++)
		fake_log(" bind=%s", config->binds[i]);
	for (size_t i = 0; config->args && config->args[i]; i++)
		fake_log(" arg=%s", config->args[i]);
	fake_log(" cpu=%d:%u verbose=%d log=%d window=%zu\n", (int)config->cpu_policy, config->cpu,
		 config->verbose, config->copy_log, config->console_window);
}

static void fake_behave(struct evum_vm *vm, const char *const *args)
{
	for (size_t i = 0; args && args[i]; i++) {
		vm->floods |= strcmp(args[i], "floods") == 0;
		vm->deaf |= strcmp(args[i], "deaf") == 0;
		vm->clogged |= strcmp(args[i], "clogged") == 0;
	}
}

int evum_vm_start(const struct evum_config *config, evum_handler *handler, void *ctx,
		  struct evum_vm **vm, struct evum_error *error)
{
	*vm = NULL;
	log_config(config);
	if (strcmp(config->kernel, "/nonexistent") == 0) {
		*error = (struct evum_error){.stage = "kernel", .text = "/nonexistent: is no file"};
		return -ENOENT;
	}
	*vm = calloc(1, sizeof(**vm));
	if (!*vm)
		return -ENOMEM;
	(*vm)->handler = handler;
	(*vm)->ctx = ctx;
	(*vm)->window = config->console_window;
	(*vm)->fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	fake_behave(*vm, config->args);
	return 0;
}

int evum_vm_fd(const struct evum_vm *vm)
{
	return vm->fd;
}

static void emit_boot(struct evum_vm *vm)
{
	if (vm->booted)
		return;
	vm->booted = 1;
	for (int stage = EVUM_STAGE_SPAWN; stage <= EVUM_STAGE_AGENT; stage++)
		fake_emit(vm, (struct evum_event){.type = EVUM_STAGE, .value = stage});
	fake_emit(vm, (struct evum_event){.type = EVUM_UP, .data = "6.1.0", .len = 5});
}

static void queue_drop(struct queue *queue, size_t n)
{
	queue->len -= n;
	memmove(queue->bytes, queue->bytes + n, queue->len);
}

static void emit_console(struct evum_vm *vm, const void *bytes, size_t len)
{
	vm->window -= len;
	vm->printed += len;
	fake_emit(vm, (struct evum_event){.type = EVUM_CONSOLE, .data = bytes, .len = len});
}

/* Echoes what was typed; a guest that floods prints its bytes by their number. */
static void emit_terminal(struct evum_vm *vm)
{
	size_t n = vm->deaf ? 0 : min_size(vm->typed.len, vm->window);
	int was_full = vm->typed.len == sizeof(vm->typed.bytes);
	char flood[FLOOD_MAX];

	if (n) {
		emit_console(vm, vm->typed.bytes, n);
		queue_drop(&vm->typed, n);
		if (was_full)
			fake_emit(vm,
				  (struct evum_event){.type = EVUM_CONSOLE_READY, .value = (int)n});
	}
	n = vm->floods ? min_size(sizeof(flood), vm->window) : 0;
	for (size_t i = 0; i < n; i++)
		flood[i] = (char)((vm->printed + i) % 251);
	if (n)
		emit_console(vm, flood, n);
	if ((vm->floods || (vm->typed.len && !vm->deaf)) && vm->window)
		fake_wake(vm);
}

static void emit_output(struct evum_vm *vm, struct program *program, int fd, const void *bytes,
			size_t len)
{
	program->window[fd] -= (uint32_t)len;
	fake_emit(vm, (struct evum_event){.type = EVUM_OUTPUT,
					  .id = program->id,
					  .fd = fd,
					  .data = bytes,
					  .len = len});
}

static void emit_end(struct evum_vm *vm, struct program *program, enum evum_exit how, int value)
{
	if (how != EVUM_NOT_STARTED) {
		emit_output(vm, program, 1, NULL, 0);
		emit_output(vm, program, 2, NULL, 0);
	}
	fake_emit(vm, (struct evum_event){
			      .type = EVUM_EXIT, .id = program->id, .exit = how, .value = value});
	program->id = 0;
}

static void run_cat(struct evum_vm *vm, struct program *program)
{
	size_t n = min_size(program->in.len, program->window[1]);

	if (n) {
		emit_output(vm, program, 1, program->in.bytes, n);
		queue_drop(&program->in, n);
		fake_emit(vm, (struct evum_event){.type = EVUM_STDIN_CREDIT,
						  .id = program->id,
						  .value = (int)n});
	}
	if (program->eof && !program->in.len)
		emit_end(vm, program, EVUM_EXITED, 0);
}

static void run_program(struct evum_vm *vm, struct program *program)
{
	static const char yes[] = "y\ny\ny\ny\n";

	if (strcmp(program->name, "missing") == 0) {
		emit_end(vm, program, EVUM_NOT_STARTED, ENOENT);
	} else if (strcmp(program->name, "strange") == 0) {
		emit_end(vm, program, EVUM_NOT_STARTED, 100000);
	} else if (program->signal) {
		emit_end(vm, program, EVUM_SIGNALED, program->signal);
	} else if (strcmp(program->name, "both") == 0) {
		emit_output(vm, program, 1, "out\n", 4);
		emit_output(vm, program, 2, "err\n", 4);
		emit_end(vm, program, EVUM_EXITED, 3);
	} else if (strcmp(program->name, "cat") == 0) {
		run_cat(vm, program);
	} else {
		while (program->window[1])
			emit_output(vm, program, 1, yes,
				    min_size(sizeof(yes) - 1, program->window[1]));
	}
}

static void emit_programs(struct evum_vm *vm)
{
	for (size_t i = 0; i < PROGRAMS_MAX; i++) {
		struct program *program = &vm->programs[i];

		if (!program->id)
			continue;
		if (!program->started && program->name[0] != 'm' && program->name[0] != 's')
			fake_emit(vm, (struct evum_event){.type = EVUM_STARTED,
							  .id = program->id,
							  .value = 100 + (int)i});
		program->started = 1;
		run_program(vm, program);
	}
}

static void emit_replies(struct evum_vm *vm)
{
	for (unsigned int i = 0; i < vm->reply_count; i++) {
		struct reply *reply = &vm->replies[i];
		char *large = NULL;

		if (reply->len > sizeof(reply->text)) {
			large = malloc(reply->len);
			memset(large, 'x', reply->len);
		}
		fake_emit(vm, (struct evum_event){.type = EVUM_REPLY,
						  .id = reply->id,
						  .value = reply->value,
						  .data = large ? large : reply->text,
						  .len = reply->len});
		free(large);
	}
	vm->reply_count = 0;
}

int evum_vm_dispatch(struct evum_vm *vm)
{
	eventfd_t count;

	eventfd_read(vm->fd, &count);
	emit_boot(vm);
	emit_replies(vm);
	for (; vm->messages; vm->messages--)
		fake_emit(vm, (struct evum_event){.type = EVUM_MESSAGE, .data = "hi", .len = 2});
	emit_terminal(vm);
	emit_programs(vm);
	if (vm->panicked)
		fake_emit(vm, (struct evum_event){.type = EVUM_PANIC, .data = "sysrq", .len = 5});
	if (!vm->down)
		return 0;
	fake_emit(vm, (struct evum_event){.type = EVUM_DOWN,
					  .end = vm->end,
					  .value = vm->value,
					  .data = "log",
					  .len = 3});
	return 1;
}

static int fake_down(struct evum_vm *vm, enum evum_end end, int value)
{
	vm->down = 1;
	vm->end = end;
	vm->value = value;
	fake_wake(vm);
	return 0;
}

void evum_vm_info(const struct evum_vm *vm, struct evum_vm_info *info)
{
	*info = (struct evum_vm_info){.init_pid = 10,
				      .kernel_pid = 11,
				      .cpu = -1,
				      .confined = 1,
				      .stage = EVUM_STAGE_AGENT,
				      .console_bytes = vm->printed};
}

void evum_vm_free(struct evum_vm *vm)
{
	if (!vm)
		return;
	fake_log("free\n");
	close(vm->fd);
	free(vm);
}

int evum_vm_stop(struct evum_vm *vm, int grace_ms)
{
	fake_log("stop %d\n", grace_ms);
	return fake_down(vm, EVUM_END_HALTED, 0);
}

int evum_vm_kill(struct evum_vm *vm)
{
	fake_log("kill\n");
	return fake_down(vm, EVUM_END_SIGNAL, SIGKILL);
}

static size_t queue_add(struct queue *queue, const void *bytes, size_t len)
{
	len = min_size(len, sizeof(queue->bytes) - queue->len);
	if (len)
		memcpy(queue->bytes + queue->len, bytes, len);
	queue->len += len;
	return len;
}

long evum_console_write(struct evum_vm *vm, const void *bytes, size_t len)
{
	size_t taken = queue_add(&vm->typed, bytes, len);

	fake_wake(vm);
	return (long)taken;
}

void evum_console_credit(struct evum_vm *vm, size_t bytes)
{
	vm->window += bytes;
	fake_wake(vm);
}

int evum_console_winsize(struct evum_vm *vm, unsigned int rows, unsigned int cols)
{
	(void)vm;
	fake_log("winsize %u %u\n", rows, cols);
	return 0;
}

static void reply_add(struct evum_vm *vm, uint32_t id, int value, const char *text, size_t len)
{
	struct reply *reply = &vm->replies[vm->reply_count++];

	*reply = (struct reply){.id = id, .value = value, .len = len ? len : strlen(text)};
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	fake_wake(vm);
}

/* The number behind a word, or 0 where command begins with another word. */
static unsigned int command_number(const char *command, const char *word)
{
	size_t len = strlen(word);

	return strncmp(command, word, len) == 0 ? (unsigned int)strtoul(command + len, NULL, 10)
						: 0;
}

int evum_mconsole(struct evum_vm *vm, uint32_t id, const char *command)
{
	if (strlen(command) > EVUM_MCONSOLE_MAX)
		return -EMSGSIZE;
	if (strcmp(command, "hang") == 0)
		return 0;
	vm->messages += command_number(command, "message ");
	if (command_number(command, "large ")) {
		reply_add(vm, id, 0, "", command_number(command, "large "));
		return 0;
	}
	if (strcmp(command, "hear") == 0)
		vm->deaf = 0;
	else if (strcmp(command, "unclog") == 0)
		vm->clogged = 0;
	else if (strcmp(command, "halt") == 0)
		fake_down(vm, EVUM_END_HALTED, 0);
	else if (strcmp(command, "panic") == 0)
		vm->panicked = fake_down(vm, EVUM_END_PANIC, 0) == 0;
	if (strcmp(command, "late") == 0)
		reply_add(vm, id, -ETIMEDOUT, "", 0);
	else
		reply_add(vm, id, strcmp(command, "refuse") == 0, command, 0);
	return 0;
}

static struct program *program_find(struct evum_vm *vm, uint32_t id)
{
	for (size_t i = 0; i < PROGRAMS_MAX; i++)
		if (vm->programs[i].id == id)
			return &vm->programs[i];
	return NULL;
}

static void log_program(uint32_t id, const struct evum_program *program)
{
	fake_log("run %u", id);
	for (size_t i = 0; program->argv[i]; i++)
		fake_log(" %s", program->argv[i]);
	for (size_t i = 0; program->env && program->env[i]; i++)
		fake_log(" env=%s", program->env[i]);
	fake_log(" cwd=%s user=%s window=%u", program->cwd ? program->cwd : "-",
		 program->user ? program->user : "-", program->window);
	if (program->rows)
		fake_log(" pty=%ux%u", program->rows, program->cols);
	if (program->max_procs || program->max_mem)
		fake_log(" procs=%u mem=%u", program->max_procs, program->max_mem);
	fake_log(program->builtin ? " builtin\n" : "\n");
}

int evum_program_start(struct evum_vm *vm, uint32_t id, const struct evum_program *program)
{
	struct program *free_one = program_find(vm, 0);

	log_program(id, program);
	if (program_find(vm, id))
		return -EEXIST;
	if (!free_one)
		return -EAGAIN;
	memset(free_one, 0, sizeof(*free_one));
	free_one->id = id;
	free_one->window[1] = free_one->window[2] = program->window;
	snprintf(free_one->name, sizeof(free_one->name), "%s", program->argv[0]);
	fake_wake(vm);
	return 0;
}

int evum_program_write(struct evum_vm *vm, uint32_t id, const void *bytes, size_t len)
{
	struct program *program = program_find(vm, id);

	if (!program)
		return -ESRCH;
	if (vm->clogged || sizeof(program->in.bytes) - program->in.len < len)
		return -EAGAIN;
	queue_add(&program->in, bytes, len);
	program->eof |= !len;
	fake_wake(vm);
	return 0;
}

int evum_program_credit(struct evum_vm *vm, uint32_t id, int fd, uint32_t bytes)
{
	struct program *program = program_find(vm, id);

	if (!program)
		return -ESRCH;
	program->window[fd] += bytes;
	fake_wake(vm);
	return 0;
}

int evum_program_signal(struct evum_vm *vm, uint32_t id, int signal)
{
	struct program *program = program_find(vm, id);

	if (!program)
		return -ESRCH;
	program->signal = signal;
	fake_wake(vm);
	return 0;
}

int evum_program_winsize(struct evum_vm *vm, uint32_t id, unsigned int rows, unsigned int cols)
{
	if (!program_find(vm, id))
		return -ESRCH;
	fake_log("winsize %u %u %u\n", id, rows, cols);
	return 0;
}

int evum_drop_caches(struct evum_vm *vm)
{
	(void)vm;
	fake_log("drop_caches\n");
	return 0;
}

int evum_host_probe(struct evum_probe probes[EVUM_PROBES_MAX])
{
	probes[0] = (struct evum_probe){.stage = "userns", .ok = 1, .text = "namespaces"};
	probes[1] = (struct evum_probe){.stage = "landlock", .ok = 0, .text = "no"};
	return 2;
}

int evum_kernel_check(const char *path)
{
	(void)path;
	return 0;
}
