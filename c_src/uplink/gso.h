/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as the host's drivers leave them, made into frames for a cable; pure */
#ifndef EVUM_UPLINK_GSO_H
#define EVUM_UPLINK_GSO_H

#include <stddef.h>
#include <stdint.h>

/* What virtio's header says of a frame (its names, in the host's order). */
struct gso {
	uint8_t flags, type;
	uint16_t size; /* payload bytes of each frame that is cut */
	uint16_t csum_start, csum_offset;
};

typedef void gso_done(void *context, const uint8_t *frame, size_t len);

/*
 * Completes the checksum of a frame, which is changed, or cuts it, and calls done
 * for each that comes of it.  0; -EINVAL where what is said of it isn't so, or it
 * is of a kind that can't be cut: then done wasn't called.
 */
int gso_cut(const struct gso *gso, uint8_t *frame, size_t len, gso_done *done, void *context);

#endif
