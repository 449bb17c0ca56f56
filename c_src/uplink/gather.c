/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames towards Erlang: neighbours of one header are one message
 *
 * A message is for one look-up of the switch, so its frames begin with the same
 * bytes.  It is charged to the NIC's window as it grows, and sent when
 * another header comes, when it is full, or when the program is about to wait.
 */
#include "gather.h"

#include <errno.h>
#include <string.h>
#include "port/evum_proto.h"

_Static_assert(GATHER_MAX + BATCH_HEAD <= EVUM_FRAME_MAX, "what is gathered fits in a message");
_Static_assert(GATHER_MAX / (BATCH_LENGTH + BATCH_FLOW) <= UINT16_MAX, "and so does its count");

void gather_init(struct gather *gather, uint8_t nic)
{
	gather->nic = nic;
	gather->len = 0;
	gather->count = 0;
	gather->credit = EVUM_NIC_WINDOW;
}

/* May a frame of that header and size be added to what is gathered? */
static bool gather_takes(const struct gather *gather, const uint8_t *ether, size_t size)
{
	return gather->len + size <= GATHER_MAX &&
	       batch_same_flow(gather->body + BATCH_LENGTH, ether);
}

int gather_add(struct gather *gather, struct wire *wire, const uint8_t *ether, const void *bytes,
	       size_t len)
{
	size_t size = BATCH_LENGTH + BATCH_FLOW + len;
	uint8_t *at;

	if (BATCH_FLOW + len > UINT16_MAX || gather->credit < (int64_t)(BATCH_HEAD + size))
		return -ENOBUFS;
	if (gather->len && !gather_takes(gather, ether, size)) {
		int err = gather_flush(gather, wire);

		if (err)
			return err;
	}
	if (!gather->len)
		gather->credit -= BATCH_HEAD;
	at = gather->body + gather->len;
	batch_put_length(at, BATCH_FLOW + len);
	memcpy(at + BATCH_LENGTH, ether, BATCH_FLOW);
	memcpy(at + BATCH_LENGTH + BATCH_FLOW, bytes, len);
	gather->len += size;
	gather->count++;
	gather->credit -= (int64_t)size;
	return 0;
}

int gather_flush(struct gather *gather, struct wire *wire)
{
	const struct iovec part = {.iov_base = gather->body, .iov_len = gather->len};
	uint8_t head[BATCH_HEAD];

	if (!gather->len)
		return 0;
	batch_put_head(head, gather->nic, gather->count);
	gather->len = 0;
	gather->count = 0;
	return wire_send_parts(wire, head, sizeof(head), &part, 1, part.iov_len);
}

bool gather_has_room(const struct gather *gather)
{
	return gather->credit >= GATHER_LOW;
}

int gather_credit(struct gather *gather, uint32_t n)
{
	if (n > EVUM_NIC_WINDOW - gather->credit)
		return -EPROTO;
	gather->credit += n;
	return 0;
}
