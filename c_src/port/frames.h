/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's NICs: frames between the guest and the wire */
#ifndef EVUM_FRAMES_H
#define EVUM_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "evum_proto.h"

/* Frames that are read or written by one system call. */
#define FRAMES_AT_ONCE 256
/*
 * Bytes of frames that are read at once: the message with its head and its length
 * fits into an empty pipe, and into one read of the BEAM's.
 */
#define FRAMES_BYTES (65536u - 16u)

struct nic_counters {
	uint64_t rx_frames, rx_bytes; /* from the guest */
	uint64_t rx_bad;	      /* too short or too long */
	uint64_t tx_frames, tx_bytes; /* to the guest */
	uint64_t tx_dropped;
};

/* A NIC has a descriptor, libevum's, while the guest has it open. */
struct nic {
	int fd;		/* or -1 */
	bool hung;	/* the guest has closed it, and libevum has not said so yet */
	uint32_t armed; /* epoll events asked for */
	size_t max_frame;
	uint32_t credit; /* bytes of messages that Erlang takes */
	uint8_t *queue;	 /* what the guest has not taken: frames as in a batch, from first on */
	size_t first, queued;
	struct nic_counters counters;
};

struct frames {
	struct nic nics[EVUM_NIC_COUNT];
	unsigned int count;
	uint8_t slots[FRAMES_BYTES]; /* what was read last */
};

#endif
