/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of the parser of batches
 *
 * clang -fsanitize=fuzzer,address,undefined fuzz_port_batch.c c_src/port/batch.c.
 * An input is one FRAMES message.  What is opened makes frames that cover it,
 * and the same bytes again when it is written anew.
 */
#include <stdlib.h>
#include <string.h>
#include "batch.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct batch_frame frame;
	struct batch batch;
	uint8_t *copy, *again;
	size_t at = BATCH_HEAD;

	/* Of its own size, so that a byte read behind it is noticed. */
	copy = malloc(size + !size);
	again = malloc(size + BATCH_HEAD);
	CHECK(copy && again);
	memcpy(copy, data, size);
	if (batch_open(&batch, copy, size) == 0) {
		batch_put_head(again, batch.nic, batch.count);
		for (; batch_next(&batch, &frame); at += BATCH_LENGTH + frame.len) {
			batch_put_length(again + at, frame.len);
			memcpy(again + at + BATCH_LENGTH, frame.bytes, frame.len);
		}
		CHECK(at == size && memcmp(copy, again, size) == 0);
	}
	free(copy);
	free(again);
	return 0;
}
