/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of what makes frames for a cable of joined ones
 *
 * An input is the fields of struct gso, 8 bytes, and a frame.
 */
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "gso.h"

#define FIELDS 8u

static void done(void *context, const uint8_t *frame, size_t len)
{
	size_t *sum = context;

	/* All of it can be read. */
	for (size_t i = 0; i < len; i++)
		*sum += frame[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gso gso;
	uint8_t *frame;
	size_t sum = 0;

	if (size <= FIELDS || size > UINT16_MAX)
		return 0;
	gso = (struct gso){.flags = data[0], .type = data[1]};
	memcpy(&gso.size, data + 2, sizeof(gso.size));
	memcpy(&gso.csum_start, data + 4, sizeof(gso.csum_start));
	memcpy(&gso.csum_offset, data + 6, sizeof(gso.csum_offset));
	frame = malloc(size - FIELDS);
	memcpy(frame, data + FIELDS, size - FIELDS);
	(void)gso_cut(&gso, frame, size - FIELDS, done, &sum);
	free(frame);
	return 0;
}
