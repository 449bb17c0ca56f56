/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: frames that go to another machine without Erlang on their way */
#ifndef EVUM_FLOWS_H
#define EVUM_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "burst.h"
#include "offers.h"

struct port;
struct wire_frame;

/* Of all NICs of a machine; further ones go on through Erlang. */
#define FLOWS_MAX 64
/* The addresses that a frame begins with, receiver's and sender's. */
#define FLOW_ADDRESSES 12u

enum flow_state { FLOW_FREE, FLOW_ASKED, FLOW_OPEN };

struct flow {
	enum flow_state state;
	uint8_t nic;
	uint8_t addresses[FLOW_ADDRESSES];
	uint64_t id;		      /* Erlang's */
	uint8_t secret[OFFER_SECRET]; /* whoever offers a descriptor for it knows this */
	int fd;			      /* of the receiver's NIC, or -1 */
	uint32_t max_frame;	      /* bytes that the receiver takes */
	uint32_t armed;		      /* epoll events asked for */
	int64_t deadline;	      /* ms, of what is waited for; or 0 */
	struct queue queue;	      /* what the receiver has not taken */
	uint64_t frames, bytes;	      /* sent, and not yet reported */
};

struct flows {
	struct flow flows[FLOWS_MAX];
	unsigned int used;    /* at and behind it all are free */
	unsigned int last;    /* the one that was found last */
	unsigned int waiting; /* those with a deadline */
	int64_t report_at;    /* ms, while there is something to report; or 0 */
	int mailbox;	      /* where descriptors are offered, or -1 */
};

void flows_init(struct flows *flows);
/* The open flow that a frame of a NIC belongs to, or NULL. */
struct flow *flows_find(struct flows *flows, unsigned int nic, const uint8_t *frame);
/* Does a flow of that NIC wait?  Then nothing is read that could overtake. */
bool flows_hold(const struct flows *flows, unsigned int nic);
/* Milliseconds until flows_expire() has something to do, or -1. */
int flows_timeout(const struct flows *flows);

/* These return 0, or an error as those of port.h do. */
int flows_message(struct port *port, const struct wire_frame *message);
/* A number of frames of one flow, each with its length in front. */
int flows_send(struct port *port, struct flow *flow, const struct iovec *parts,
	       unsigned int number);
int flows_handler(struct port *port, unsigned int number, uint32_t events);
int flows_mail(struct port *port);		      /* something is in the mailbox */
int flows_expire(struct port *port);		      /* what was due by now */
int flows_settle(struct port *port);		      /* asks epoll for what is wanted */
int flows_report(struct port *port);		      /* the counts of all */
int flows_close(struct port *port, unsigned int nic); /* the NIC's link has gone */
void flows_free(struct port *port);

#endif
