/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: a table of {name, handler}
 *
 * {call, Seq, Name, [Argument]} is answered by {reply, Seq, Result}, at once
 * or, mconsole, when the machine has answered.  A handler decodes, does and
 * answers.  Wrong arguments are {error, einval}; what is no call at all can't
 * be answered, and ends the program.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include "request.h"
#include "port.h"
#include "rpc.h"
#include "term.h"
#include "util.h"

#define SIGNAL_MAX 64

struct call {
	struct port *port;
	struct rpc_call rpc;
};

typedef int call_handler(struct call *call);

static int call_reply(struct call *call, int result)
{
	return rpc_reply_result(&call->port->wire, call->rpc.seq, result);
}

/* Strings of the arguments live in arena; the caller frees it. */
static int call_arena(struct call *call, struct term_arena *arena)
{
	int err = term_arena_init(arena, call->rpc.args.len);

	call->rpc.args.arena = arena;
	return err;
}

static int start_reply_error(struct call *call, int err, const struct evum_error *error)
{
	struct term_out out;

	rpc_reply_begin_tagged(&out, call->rpc.seq, "error");
	term_put_tuple(&out, 3);
	term_put_posix(&out, -err);
	term_put_atom(&out, error->stage ? error->stage : "config");
	term_put_text(&out, error->text);
	return rpc_reply_end(&call->port->wire, &out);
}

/* 0, or a negative errno and why. */
static int start_machine(struct call *call, struct evum_error *error)
{
	struct term_arena arena __attribute__((cleanup(term_arena_free)));
	struct evum_config config;
	int err = call_arena(call, &arena);

	if (!err)
		err = request_config(&call->rpc.args, &config, error);
	if (err)
		return err;
	frames_init(&call->port->frames, &config);
	/* What is no such number libevum refuses. */
	if (config.layer_temporary && config.layer_count && config.layer_count < config.disk_count)
		call->port->temporary = strdup(config.disks[config.layer_count].path);
	return evum_vm_start(&config, event_handler, call->port, &call->port->vm, error);
}

/* The loop dispatches the machine from now on. */
static int start_watch(struct port *port)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = SOURCE_VM};

	port->vm_armed = event.events;
	port->messages_left = EVUM_MESSAGE_WINDOW;
	return epoll_ctl(port->epoll, EPOLL_CTL_ADD, evum_vm_fd(port->vm), &event) < 0 ? -errno : 0;
}

static int start_handler(struct call *call)
{
	struct evum_error error = {.stage = "config", .text = "expected a map"};
	int err = -EINVAL;

	if (call->port->vm) {
		strcpy(error.text, "the machine is started already");
		err = -EISCONN;
	} else if (call->rpc.count == 1) {
		err = start_machine(call, &error);
	}
	if (err < 0)
		return start_reply_error(call, err, &error);
	err = start_watch(call->port);
	return err ? err : call_reply(call, 0);
}

static int stop_handler(struct call *call)
{
	long long grace;

	if (call->rpc.count != 1 || term_get_integer(&call->rpc.args, 0, INT_MAX, &grace) < 0)
		return call_reply(call, -EINVAL);
	call->port->stopping = true;
	return call_reply(call, evum_vm_stop(call->port->vm, (int)grace));
}

static int kill_handler(struct call *call)
{
	if (call->rpc.count != 0)
		return call_reply(call, -EINVAL);
	call->port->stopping = true;
	return call_reply(call, evum_vm_kill(call->port->vm));
}

/* Is answered late, by call_answer_late(), when the library took it. */
static int mconsole_handler(struct call *call)
{
	struct term_arena arena __attribute__((cleanup(term_arena_free)));
	struct pending *pending = &call->port->pending;
	const char *command;
	int err = call_arena(call, &arena);

	if (err)
		return err;
	if (call->rpc.count != 1 || term_get_string(&call->rpc.args, &command) < 0)
		return call_reply(call, -EINVAL);
	if (pending->count == ARRAY_SIZE(pending->seq))
		return call_reply(call, -EBUSY);
	err = evum_mconsole(call->port->vm, call->rpc.seq, command);
	if (err < 0)
		return call_reply(call, err);
	pending->seq[pending->count++] = call->rpc.seq;
	return 0;
}

/* False where nobody waits for seq. */
static bool pending_take(struct pending *pending, uint32_t seq)
{
	for (unsigned int i = 0; i < pending->count; i++)
		if (pending->seq[i] == seq) {
			pending->seq[i] = pending->seq[--pending->count];
			return true;
		}
	return false;
}

int call_answer_late(struct port *port, uint32_t seq, int value, const void *text, size_t len)
{
	struct term_out out;

	if (!pending_take(&port->pending, seq))
		return 0;
	if (value < 0)
		return rpc_reply_result(&port->wire, seq, value);
	if (len > EVUM_FRAME_MAX / 2)
		return rpc_reply_result(&port->wire, seq, -EMSGSIZE);
	rpc_reply_begin_tagged(&out, seq, value ? "error" : "ok");
	if (value) {
		term_put_tuple(&out, 2);
		term_put_atom(&out, "refused");
	}
	term_put_binary(&out, text, len);
	return rpc_reply_end(&port->wire, &out);
}

int call_abandon(struct port *port)
{
	int err = 0;

	while (port->pending.count && !err)
		err = rpc_reply_result(&port->wire, port->pending.seq[--port->pending.count],
				       -ENOTCONN);
	return err;
}

static int run_handler(struct call *call)
{
	struct term_arena arena __attribute__((cleanup(term_arena_free)));
	struct evum_program program;
	uint32_t id;
	int err = call_arena(call, &arena);

	if (err)
		return err;
	if (call->rpc.count != 2 || term_get_u32(&call->rpc.args, 1, &id) < 0)
		return call_reply(call, -EINVAL);
	err = request_program(&call->rpc.args, &program);
	if (!err)
		err = evum_program_start(call->port->vm, id, &program);
	return call_reply(call, err);
}

static int signal_handler(struct call *call)
{
	long long number;
	uint32_t id;

	if (call->rpc.count != 2 || term_get_u32(&call->rpc.args, 1, &id) < 0 ||
	    term_get_integer(&call->rpc.args, 1, SIGNAL_MAX, &number) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, evum_program_signal(call->port->vm, id, (int)number));
}

static int winsize_handler(struct call *call)
{
	long long rows;
	long long columns;

	if (call->rpc.count != 2 || term_get_integer(&call->rpc.args, 1, UINT16_MAX, &rows) < 0 ||
	    term_get_integer(&call->rpc.args, 1, UINT16_MAX, &columns) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, evum_console_winsize(call->port->vm, (unsigned int)rows,
						     (unsigned int)columns));
}

static int program_winsize_handler(struct call *call)
{
	long long rows;
	long long columns;
	uint32_t id;

	if (call->rpc.count != 3 || term_get_u32(&call->rpc.args, 1, &id) < 0 ||
	    term_get_integer(&call->rpc.args, 1, UINT16_MAX, &rows) < 0 ||
	    term_get_integer(&call->rpc.args, 1, UINT16_MAX, &columns) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, evum_program_winsize(call->port->vm, id, (unsigned int)rows,
						     (unsigned int)columns));
}

static int drop_caches_handler(struct call *call)
{
	if (call->rpc.count != 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, evum_drop_caches(call->port->vm));
}

static void put_property(struct term_out *out, const char *name, uint64_t value)
{
	term_put_atom(out, name);
	term_put_integer(out, value > INT64_MAX ? INT64_MAX : (long long)value);
}

static void put_nic(struct term_out *out, const struct nic *nic)
{
	const struct nic_counters *counters = &nic->counters;

	term_put_map(out, 8);
	term_put_atom(out, "link");
	term_put_atom(out, nic->fd < 0 ? "down" : "up");
	put_property(out, "rx_frames", counters->rx_frames);
	put_property(out, "rx_bytes", counters->rx_bytes);
	put_property(out, "rx_bad", counters->rx_bad);
	put_property(out, "rx_dropped", counters->rx_dropped);
	put_property(out, "tx_frames", counters->tx_frames);
	put_property(out, "tx_bytes", counters->tx_bytes);
	put_property(out, "tx_dropped", counters->tx_dropped);
}

static void put_nics(struct term_out *out, const struct frames *frames)
{
	term_put_atom(out, "nics");
	if (frames->count)
		term_put_list(out, frames->count);
	for (unsigned int i = 0; i < frames->count; i++)
		put_nic(out, &frames->nics[i]);
	term_put_nil(out);
}

static int info_handler(struct call *call)
{
	struct port *port = call->port;
	struct evum_vm_info info;
	struct term_out out;
	int err;

	if (call->rpc.count != 0)
		return call_reply(call, -EINVAL);
	evum_vm_info(port->vm, &info);
	err = flows_report(port);
	if (err)
		return err;
	rpc_reply_begin_tagged(&out, call->rpc.seq, "ok");
	term_put_map(&out, 11);
	put_property(&out, "init_pid", (uint64_t)info.init_pid);
	put_property(&out, "kernel_pid", (uint64_t)info.kernel_pid);
	term_put_atom(&out, "cpu");
	if (info.cpu < 0)
		term_put_atom(&out, "any");
	else
		term_put_integer(&out, info.cpu);
	term_put_atom(&out, "paused");
	term_put_boolean(&out, info.paused);
	term_put_atom(&out, "stage");
	term_put_atom(&out, event_stage_name(info.stage));
	term_put_atom(&out, "confined");
	term_put_boolean(&out, info.confined);
	put_property(&out, "landlock_abi", (uint64_t)info.landlock_abi);
	put_property(&out, "agent_garbage", info.agent_garbage);
	put_property(&out, "console_bytes", info.console_bytes);
	put_property(&out, "messages_dropped", port->messages_dropped);
	put_nics(&out, &port->frames);
	return rpc_reply_end(&port->wire, &out);
}

static int probe_handler(struct call *call)
{
	struct evum_probe probes[EVUM_PROBES_MAX];
	struct term_out out;
	int count;

	if (call->rpc.count != 0)
		return call_reply(call, -EINVAL);
	count = evum_host_probe(probes);
	if (count < 0)
		return call_reply(call, count);
	rpc_reply_begin_tagged(&out, call->rpc.seq, "ok");
	if (count)
		term_put_list(&out, count);
	for (int i = 0; i < count; i++) {
		term_put_tuple(&out, 3);
		term_put_atom(&out, probes[i].stage);
		term_put_boolean(&out, probes[i].ok);
		term_put_text(&out, probes[i].text);
	}
	term_put_nil(&out);
	return rpc_reply_end(&call->port->wire, &out);
}

static const struct {
	const char *name;
	call_handler *handler;
} calls[] = {
#define PROTO_CALL(name, arguments, what) [CALL_##name] = {#name, name##_handler},
#include "evum_proto.def"
};
_Static_assert(ARRAY_SIZE(calls) == CALL_COUNT, "one handler for each call of evum_proto.def");

/* Handles the call of that name, or answers why not. */
static int call_handle(struct call *call, const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(calls) && strcmp(calls[i].name, name) != 0)
		i++;
	if (i == ARRAY_SIZE(calls))
		return call_reply(call, -ENOSYS);
	if (!call->port->vm && i != CALL_start && i != CALL_probe)
		return call_reply(call, -ENOTCONN);
	return calls[i].handler(call);
}

int call_dispatch(struct port *port, const struct wire_frame *frame)
{
	struct call call = {.port = port};

	if (rpc_open(&call.rpc, frame) < 0)
		return -EPROTO;
	return call_handle(&call, call.rpc.name);
}
