/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of the machine, as frames
 *
 * A table of one function for each enum evum_event_type, pinned to it.  Bulk
 * bytes go as they are; the rest are {event, Name, #{Property => Value}}.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "port.h"
#include "term.h"
#include "util.h"

enum proto_event {
#define PROTO_EVENT(name, properties, what) PROTO_EVENT_##name,
#include "evum_proto.def"
	PROTO_EVENT_COUNT
};

static const char *const event_names[] = {
#define PROTO_EVENT(name, properties, what) [PROTO_EVENT_##name] = #name,
#include "evum_proto.def"
};
_Static_assert(ARRAY_SIZE(event_names) == PROTO_EVENT_COUNT, "one name for each event");

static const char *const stage_names[] = {
	[EVUM_STAGE_SPAWN] = "spawn", [EVUM_STAGE_KERNEL] = "kernel", [EVUM_STAGE_INIT] = "init",
	[EVUM_STAGE_ROOT] = "root",   [EVUM_STAGE_AGENT] = "agent",
};
_Static_assert(ARRAY_SIZE(stage_names) == EVUM_STAGE_AGENT + 1, "one name for each stage");

static const char *const end_names[] = {
	[EVUM_END_HALTED] = "halted",		[EVUM_END_REBOOTED] = "rebooted",
	[EVUM_END_INIT_EXITED] = "init_exited", [EVUM_END_PANIC] = "panic",
	[EVUM_END_SIGNAL] = "signal",		[EVUM_END_STATUS] = "status",
};
_Static_assert(ARRAY_SIZE(end_names) == EVUM_END_STATUS + 1, "one name for each end");

typedef int event_sender(struct port *port, const struct evum_event *event);

const char *event_stage_name(enum evum_stage stage)
{
	return (size_t)stage < ARRAY_SIZE(stage_names) ? stage_names[stage] : "unknown";
}

/* {event, Name, #{...}}: count keys and values are the caller's. */
static void event_begin(struct term_out *out, enum proto_event name, long count)
{
	term_out_init(out);
	term_put_tuple(out, 3);
	term_put_atom(out, "event");
	term_put_atom(out, event_names[name]);
	term_put_map(out, count);
}

static int event_end(struct port *port, struct term_out *out)
{
	int err = -ENOMEM;

	if (!out->failed)
		err = wire_send_control(&port->wire, out->x.buff, (size_t)out->x.index, false);
	term_out_free(out);
	return err;
}

int event_hello(struct port *port)
{
	struct term_out out;

	event_begin(&out, PROTO_EVENT_hello, 2);
	term_put_atom(&out, "version");
	term_put_integer(&out, EVUM_PROTO_VERSION);
	term_put_atom(&out, "os_pid");
	term_put_integer(&out, getpid());
	return event_end(port, &out);
}

static int send_stage(struct port *port, const struct evum_event *event)
{
	struct term_out out;

	event_begin(&out, PROTO_EVENT_stage, 1);
	term_put_atom(&out, "stage");
	term_put_atom(&out, event_stage_name((enum evum_stage)event->value));
	return event_end(port, &out);
}

/* An event whose one property is its data. */
static int send_bytes(struct port *port, const struct evum_event *event, enum proto_event name,
		      const char *property)
{
	struct term_out out;

	event_begin(&out, name, 1);
	term_put_atom(&out, property);
	term_put_binary(&out, event->data, min_size(event->len, EVUM_BULK_MAX));
	return event_end(port, &out);
}

static int send_up(struct port *port, const struct evum_event *event)
{
	return send_bytes(port, event, PROTO_EVENT_up, "release");
}

static int send_console(struct port *port, const struct evum_event *event)
{
	return wire_send_console(&port->wire, event->data, event->len);
}

/* What is held is offered again after every dispatch: nothing to do. */
static int send_console_ready(struct port *port, const struct evum_event *event)
{
	(void)port;
	(void)event;
	return 0;
}

/* A guest that sends faster than its owner reads loses messages, and is told by info. */
static int send_message(struct port *port, const struct evum_event *event)
{
	if (!port->messages_left) {
		port->messages_dropped++;
		return 0;
	}
	port->messages_left--;
	return send_bytes(port, event, PROTO_EVENT_message, "bytes");
}

static int send_panic(struct port *port, const struct evum_event *event)
{
	return send_bytes(port, event, PROTO_EVENT_panic, "text");
}

static int send_boot_error(struct port *port, const struct evum_event *event)
{
	return send_bytes(port, event, PROTO_EVENT_boot_error, "text");
}

static int send_started(struct port *port, const struct evum_event *event)
{
	struct term_out out;

	event_begin(&out, PROTO_EVENT_started, 2);
	term_put_atom(&out, "id");
	term_put_integer(&out, event->id);
	term_put_atom(&out, "pid");
	term_put_integer(&out, event->value);
	return event_end(port, &out);
}

static int send_output(struct port *port, const struct evum_event *event)
{
	return wire_send_stream(&port->wire, event->id, (uint8_t)event->fd, event->data,
				event->len);
}

static int send_stdin_credit(struct port *port, const struct evum_event *event)
{
	return wire_send_credit(&port->wire, event->id, 0, (uint32_t)event->value);
}

/* N, {signal, N}, {error, Posix} or lost */
static void put_status(struct term_out *out, enum evum_exit how, int value)
{
	switch (how) {
	case EVUM_EXITED:
		term_put_integer(out, value);
		return;
	case EVUM_SIGNALED:
		term_put_tuple(out, 2);
		term_put_atom(out, "signal");
		term_put_integer(out, value);
		return;
	case EVUM_NOT_STARTED:
		term_put_tuple(out, 2);
		term_put_atom(out, "error");
		term_put_posix(out, value);
		return;
	case EVUM_LOST:
		break;
	}
	term_put_atom(out, "lost");
}

static int send_exit(struct port *port, const struct evum_event *event)
{
	struct term_out out;

	bulk_forget(port, event->id);
	event_begin(&out, PROTO_EVENT_exit, 2);
	term_put_atom(&out, "id");
	term_put_integer(&out, event->id);
	term_put_atom(&out, "status");
	put_status(&out, event->exit, event->value);
	return event_end(port, &out);
}

static int send_reply(struct port *port, const struct evum_event *event)
{
	return call_answer_late(port, event->id, event->value, event->data, event->len);
}

static int send_nic(struct port *port, const struct evum_event *event)
{
	struct term_out out;
	int err = frames_link(port, event->id, event->fd);

	if (err)
		return err;
	event_begin(&out, PROTO_EVENT_nic, 2);
	term_put_atom(&out, "nic");
	term_put_integer(&out, event->id);
	term_put_atom(&out, "link");
	term_put_atom(&out, event->fd < 0 ? "down" : "up");
	return event_end(port, &out);
}

static int send_down(struct port *port, const struct evum_event *event)
{
	struct term_out out;
	size_t end = (size_t)event->end;
	int err = call_abandon(port);

	if (err)
		return err;
	event_begin(&out, PROTO_EVENT_down, 3);
	term_put_atom(&out, "how");
	term_put_atom(&out, end < ARRAY_SIZE(end_names) ? end_names[end] : "unknown");
	term_put_atom(&out, "value");
	term_put_integer(&out, event->value);
	term_put_atom(&out, "log");
	term_put_binary(&out, event->data, min_size(event->len, EVUM_BULK_MAX));
	return event_end(port, &out);
}

static event_sender *const senders[] = {
	[EVUM_STAGE] = send_stage,
	[EVUM_UP] = send_up,
	[EVUM_CONSOLE] = send_console,
	[EVUM_CONSOLE_READY] = send_console_ready,
	[EVUM_MESSAGE] = send_message,
	[EVUM_PANIC] = send_panic,
	[EVUM_BOOT_ERROR] = send_boot_error,
	[EVUM_STARTED] = send_started,
	[EVUM_OUTPUT] = send_output,
	[EVUM_STDIN_CREDIT] = send_stdin_credit,
	[EVUM_EXIT] = send_exit,
	[EVUM_REPLY] = send_reply,
	[EVUM_NIC] = send_nic,
	[EVUM_DOWN] = send_down,
};
_Static_assert(ARRAY_SIZE(senders) == EVUM_DOWN + 1, "one sender for each event of libevum");

/* Keeps the first error: a handler can't return one. */
void event_handler(void *ctx, const struct evum_event *event)
{
	struct port *port = ctx;

	if (port->failed || (size_t)event->type >= ARRAY_SIZE(senders))
		return;
	port->failed = senders[event->type](port, event);
}
