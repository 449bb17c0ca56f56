/* SPDX-License-Identifier: Apache-2.0 */
/* What all of the port program shares */
#ifndef EVUM_PORT_H
#define EVUM_PORT_H

#include <evum.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backlog.h"
#include "evum_proto.h"
#include "flows.h"
#include "frames.h"
#include "wire.h"

/* Output that waits for the BEAM: above this the machine isn't dispatched. */
#define PORT_OUT_HIGH 262144u

/* What epoll watches, in epoll_event.data. */
enum port_source {
	SOURCE_IN,
	SOURCE_OUT,
	SOURCE_VM,
	SOURCE_MAILBOX,
	SOURCE_NIC,				   /* and the NIC's number */
	SOURCE_FLOW = SOURCE_NIC + EVUM_NIC_COUNT, /* and the flow's */
};

/* What the BEAM sent faster than the guest reads (bulk.c). */
struct bulk {
	uint8_t console[EVUM_CONSOLE_IN_WINDOW];
	size_t console_len;
	uint32_t console_taken; /* by libevum, and not yet told to the BEAM */
	struct backlog backlog;
};

/* Calls that are answered by an event (call.c). */
struct pending {
	uint32_t seq[EVUM_MCONSOLE_PENDING];
	unsigned int count;
};

/* Made in main().  vm is NULL before start, after a start that failed and after EVUM_DOWN. */
struct port {
	int epoll;
	struct wire wire;
	uint32_t out_armed, vm_armed; /* epoll events asked for */
	struct evum_vm *vm;
	char *temporary;	/* the layer that goes with the machine, or NULL */
	bool stopping;		/* stop or kill was called: dispatch at any cost */
	bool down;		/* the last frame is queued */
	int failed;		/* a handler's error, looked at after dispatch */
	uint32_t messages_left; /* message events that may be sent */
	uint64_t messages_dropped;
	struct bulk bulk;
	struct pending pending;
	struct frames frames;
	struct flows flows;
};

/*
 * All of them: 0, -EPROTO where the peer broke the protocol, -ENOBUFS where it
 * doesn't read, -ENOMEM and other errors of the system where this program
 * can't go on.  Wrong values in a call are answered and return 0.
 */
int call_dispatch(struct port *port, const struct wire_frame *frame);
/* value: 0; 1 where the kernel refused; a negative errno where it said nothing. */
int call_answer_late(struct port *port, uint32_t seq, int value, const void *text, size_t len);
int call_abandon(struct port *port); /* answers what is pending: the machine is down */

int bulk_console(struct port *port, const struct wire_frame *frame);
int bulk_stream(struct port *port, const struct wire_frame *frame);
int bulk_credit(struct port *port, const struct wire_frame *frame);
int bulk_retry(struct port *port); /* after each dispatch: libevum may have room again */
void bulk_forget(struct port *port, uint32_t id); /* the program has ended */
int bulk_tell_taken(struct port *port);		  /* queues the console's input credit */
void bulk_free(struct bulk *bulk);

void frames_init(struct frames *frames, const struct evum_config *config);
int frames_link(struct port *port, unsigned int number, int fd); /* fd: -1 when it went down */
/* What the loop ends with besides errors: the BEAM is gone. */
#define PORT_EOF 1

/* Reads once and handles each whole frame; PORT_EOF.  After the last event it only reads. */
int input_handler(struct port *port);
/* The same, where there is something. */
int input_first(struct port *port);

/* Frames of the same header, each with its length in front, to Erlang. */
int frames_send(struct port *port, unsigned int number, const struct iovec *parts,
		unsigned int count);
bool frames_is_up(const struct frames *frames, unsigned int number);
void frames_offer(struct port *port, unsigned int number, const struct offer *offer);
int frames_deliver(struct port *port, const struct wire_frame *message);
int frames_credit(struct port *port, unsigned int number, uint32_t n);
int frames_handler(struct port *port, unsigned int number, uint32_t events);
int frames_settle(struct port *port, bool may_read); /* asks epoll for what is wanted */
void frames_free(struct port *port);

void event_handler(void *ctx, const struct evum_event *event); /* ctx: struct port */
int event_hello(struct port *port);
const char *event_stage_name(enum evum_stage stage);

#endif
