/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the agent's reader of frames and of orders to run
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "frame.h"
#include "run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame_reader reader;
	static struct run_spec spec;
	struct frame frame;
	size_t room, n;
	uint8_t *at;

	reader.start = reader.end = 0;
	while (size > 0) {
		at = frame_room(&reader, &room);
		n = size < room ? size : room;
		if (n == 0)
			__builtin_trap();
		memcpy(at, data, n);
		frame_added(&reader, n);
		data += n;
		size -= n;
		while (frame_next(&reader, &frame))
			if (frame.type == AGENT_RUN)
				(void)run_parse(frame.payload, frame.len, &spec);
	}
	return 0;
}
