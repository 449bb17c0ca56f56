/* SPDX-License-Identifier: Apache-2.0 */
/* What all of the uplink program shares */
#ifndef EVUM_UPLINK_H
#define EVUM_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "gather.h"
#include "polls.h"
#include "port/wire.h"
#include "uplink_proto.h"

struct uplink_counters {
#define UPLINK_COUNTER(name, what) uint64_t name;
#include "uplink_proto.def"
};

struct uplink;
struct nat;
struct device;

/* A way out.  Errors are those with which this program can't go on. */
struct way {
	const char *name;
	/* A frame from the network, of BATCH_FLOW bytes or more, in the wire's own buffer. */
	void (*send)(struct uplink *uplink, uint8_t *frame, size_t len);
	/* Before waiting: what for, and how long at most (ms; -1: for ever). */
	int (*watch)(struct uplink *uplink, int *timeout);
	/* After waiting.  0 or an error. */
	int (*ready)(struct uplink *uplink);
	void (*close)(struct uplink *uplink);
};

extern const struct way way_slirp, way_packet, way_tap;

/* Made in main().  way is NULL until one is chosen. */
struct uplink {
	struct wire wire;
	struct polls polls;
	struct gather gathers[UPLINK_NICS];
	const struct way *way;
	struct nat *nat;     /* of way_slirp */
	struct device *link; /* of way_packet and way_tap */
	struct uplink_counters counters;
	int failed; /* an error of a callback, looked at by the loop */
};

/* A frame from outside, or for the gateway's address, towards Erlang; never fails at once. */
void uplink_deliver(struct uplink *uplink, uint8_t nic, const uint8_t *ether, const void *bytes,
		    size_t len);

/* What is counted, with what there is now. */
struct uplink_counters uplink_count(const struct uplink *uplink);

/* 0; -EPROTO, -ENOBUFS and -ENOMEM as in c_src/port. */
int call_dispatch(struct uplink *uplink, const struct wire_frame *frame);

#endif
