/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's NICs: frames between the guest and the wire */
#ifndef EVUM_FRAMES_H
#define EVUM_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "burst.h"
#include "evum_proto.h"
#include "offers.h"

/*
 * Bytes of frames that are read at once: the message with its head and its length
 * fits into an empty pipe, and into one read of the BEAM's.
 */
#define FRAMES_BYTES (65536u - 16u)

struct nic_counters {
	uint64_t rx_frames, rx_bytes; /* from the guest */
	uint64_t rx_bad;	      /* too short or too long */
	uint64_t rx_dropped;	      /* held for a flow that ended when Erlang took no more */
	uint64_t tx_frames, tx_bytes; /* to the guest */
	uint64_t tx_dropped;
};

/* A NIC has a descriptor, libevum's, while the guest has it open. */
struct nic {
	int fd;		/* or -1 */
	bool hung;	/* the guest has closed it, and libevum has not said so yet */
	uint32_t armed; /* epoll events asked for */
	size_t max_frame;
	uint32_t credit;		 /* bytes of messages that Erlang takes */
	struct queue queue;		 /* what the guest has not taken */
	struct offer offers[OFFERS_MAX]; /* made once the queue is empty */
	unsigned int offer_count;
	struct nic_counters counters;
};

struct frames {
	struct nic nics[EVUM_NIC_COUNT];
	unsigned int count;
	uint8_t slots[FRAMES_BYTES]; /* what was read last */
};

#endif
