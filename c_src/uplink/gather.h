/* SPDX-License-Identifier: Apache-2.0 */
/* Frames towards Erlang: neighbours of one header are one message */
#ifndef EVUM_UPLINK_GATHER_H
#define EVUM_UPLINK_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "port/batch.h"
#include "port/wire.h"

#define GATHER_MAX 131072u
/* Below this host sockets aren't read: what is left is for answers to machines. */
#define GATHER_LOW 262144

/* What is gathered of one NIC's frames, and how much more the peer takes. */
struct gather {
	uint8_t nic;
	uint8_t body[GATHER_MAX]; /* (length, frame) each */
	size_t len;
	unsigned int count;
	int64_t credit;
};

void gather_init(struct gather *gather, uint8_t nic);

/*
 * A frame of a header (BATCH_FLOW bytes) and len bytes more.  0; -ENOBUFS
 * where there is no credit for it and it is dropped; or an error of the wire.
 */
int gather_add(struct gather *gather, struct wire *wire, const uint8_t *ether, const void *bytes,
	       size_t len);
/* Sends what is gathered.  0 or an error of the wire. */
int gather_flush(struct gather *gather, struct wire *wire);
/* Is there room for more than answers? */
bool gather_has_room(const struct gather *gather);
/* n bytes more.  0; -EPROTO where that is more than was ever taken. */
int gather_credit(struct gather *gather, uint32_t n);

#endif
