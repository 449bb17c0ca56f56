/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_port: one machine, on the end of an Erlang port
 *
 * Theory of operation.  Frames come in on descriptor 3 and go out on 4, both
 * non-blocking; the machine is one descriptor more.  One loop reads input
 * whenever there is some, whatever the output does, so that a kill is never
 * stuck behind bulk; it dispatches the machine only while less than
 * PORT_OUT_HIGH bytes wait to be written, so that a late BEAM stalls the guest
 * and not this program's memory.  What a dispatch can queue is bounded by the
 * credit given, so a machine that was told to stop is dispatched regardless.
 *
 * End of file on the input, or nobody at the output's other end: the BEAM is
 * gone, so the machine is killed.  The kernel closing our descriptors, when we
 * are killed ourselves, ends the machine as well: that is libevum's promise.
 *
 * Exit status: 0 after the last event or at end of file; 1 when the system
 * fails; 2 when the peer broke the protocol.  1 and 2 say why on stderr, which
 * is the BEAM's.
 */
#include <ei.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "port.h"
#include "start.h"
#include "util.h"

/* How long the machine's end may take once the BEAM is gone. */
#define END_SECONDS 10

static int epoll_set(struct port *port, int op, int fd, uint32_t events, enum port_source source)
{
	struct epoll_event event = {.events = events, .data.u32 = source};

	return epoll_ctl(port->epoll, op, fd, &event) < 0 ? -errno : 0;
}

/* Asks for events of fd unless they are asked for already. */
static int epoll_arm(struct port *port, int fd, uint32_t *armed, uint32_t events,
		     enum port_source source)
{
	int err = 0;

	if (*armed != events)
		err = epoll_set(port, EPOLL_CTL_MOD, fd, events, source);
	*armed = events;
	return err;
}

static int port_init(struct port *port)
{
	int err = wire_init(&port->wire, PORT_IN, PORT_OUT);

	if (err)
		return err;
	port->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (port->epoll < 0)
		return -errno;
	err = epoll_set(port, EPOLL_CTL_ADD, PORT_IN, EPOLLIN, SOURCE_IN);
	if (!err)
		err = epoll_set(port, EPOLL_CTL_ADD, PORT_OUT, 0, SOURCE_OUT);
	return err ? err : event_hello(port);
}

/* Waits for the machine's end, which evum_vm_free() brings about. */
static void port_free_vm(struct port *port)
{
	if (!port->vm)
		return;
	flows_free(port);
	frames_free(port);
	/* Not left to close(): a child that has a copy would keep it in epoll. */
	epoll_ctl(port->epoll, EPOLL_CTL_DEL, evum_vm_fd(port->vm), NULL);
	/* Should the end ever hang, our own is what kills the machine. */
	alarm(END_SECONDS);
	evum_vm_free(port->vm);
	alarm(0);
	port->vm = NULL;
	bulk_free(&port->bulk);
}

static int vm_handler(struct port *port)
{
	int result;

	/* It may have gone since epoll_wait(). */
	if (!port->vm)
		return 0;
	result = evum_vm_dispatch(port->vm);
	if (port->failed)
		return port->failed;
	if (result < 0)
		return result;
	if (result == 0)
		return bulk_retry(port);
	port->down = true;
	port_free_vm(port);
	return 0;
}

static int event_dispatch(struct port *port, const struct epoll_event *event)
{
	if (event->data.u32 >= SOURCE_FLOW)
		return flows_handler(port, event->data.u32 - SOURCE_FLOW, event->events);
	if (event->data.u32 >= SOURCE_NIC)
		return frames_handler(port, event->data.u32 - SOURCE_NIC, event->events);
	switch (event->data.u32) {
	case SOURCE_IN:
		return input_handler(port);
	case SOURCE_OUT:
		/* The loop flushes; an error means that nobody is left to read. */
		return event->events & (EPOLLERR | EPOLLHUP) ? PORT_EOF : 0;
	case SOURCE_VM:
		return vm_handler(port);
	case SOURCE_MAILBOX:
		return flows_mail(port);
	}
	return 0;
}

/* Writes what can be written and asks epoll for what can't. */
static int port_settle(struct port *port)
{
	bool dispatch;
	int err = bulk_tell_taken(port);

	if (!err)
		err = wire_flush(&port->wire);
	if (!err)
		err = epoll_arm(port, PORT_OUT, &port->out_armed, port->wire.queued ? EPOLLOUT : 0,
				SOURCE_OUT);
	if (err || !port->vm)
		return err;
	/* Behind what waits a frame would be copied; in the guest's socket it waits as well. */
	err = frames_settle(port, !port->wire.queued);
	if (!err)
		err = flows_settle(port);
	if (err)
		return err;
	dispatch = port->stopping || port->wire.queued < PORT_OUT_HIGH;
	return epoll_arm(port, evum_vm_fd(port->vm), &port->vm_armed, dispatch ? EPOLLIN : 0,
			 SOURCE_VM);
}

/* Until the last frame is written: 0; PORT_EOF; or an error. */
static int port_run(struct port *port)
{
	struct epoll_event events[4 + EVUM_NIC_COUNT];
	int err = port_settle(port);

	while (!err && !(port->down && !port->wire.queued)) {
		int count = epoll_wait(port->epoll, events, ARRAY_SIZE(events),
				       flows_timeout(&port->flows));

		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count && !err; i++)
			err = event_dispatch(port, &events[i]);
		if (!err)
			err = flows_expire(port);
		if (!err)
			err = port_settle(port);
	}
	return err == -EPIPE ? PORT_EOF : err;
}

/* The exit status, and one line about what is wrong. */
static int port_report(int err)
{
	if (err >= 0)
		return 0;
	if (err == -EPROTO)
		fprintf(stderr, "evum_port: malformed input: the machine is killed\n");
	else if (err == -ENOBUFS)
		fprintf(stderr, "evum_port: answers aren't read: the machine is killed\n");
	else
		fprintf(stderr, "evum_port: %s: the machine is killed\n", strerror(-err));
	return err == -EPROTO || err == -ENOBUFS ? 2 : 1;
}

int main(void)
{
	/* Static for its size: what isn't used of it costs no memory. */
	static struct port port;
	int err;

	port.epoll = -1;
	flows_init(&port.flows);
	if (start_prepare() < 0) {
		fprintf(stderr, "evum_port: is started by Erlang, with descriptors 3 and 4 open\n");
		return 1;
	}
	ei_init();
	err = port_init(&port);
	if (!err)
		err = port_run(&port);
	/*
	 * After the machine's end it is the BEAM's to remove, or to start again.  First,
	 * since we may be killed too: the jail, while it lives, would empty it.
	 */
	if (err && port.temporary)
		unlink(port.temporary);
	free(port.temporary);
	port_free_vm(&port);
	wire_free(&port.wire);
	fd_close(&port.epoll);
	return port_report(err);
}
