/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of the term walker and of all that decodes behind it
 *
 * clang -fsanitize=fuzzer,address,undefined fuzz_port_term.c and c_src/port/
 * {term,call,request,bulk,frames,batch,event,wire}.c, port_fake_evum.c, ei.  An input is one
 * frame, its channel first, for a machine that runs.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "check.h"
#include "port.h"
#include "term.h"

/* Once more with a machine, unless the first frame has started one. */
static void fuzz_frame(struct port *port, const struct wire_frame *frame)
{
	switch (frame->bytes[0]) {
	case CHANNEL_CONTROL:
		(void)call_dispatch(port, frame);
		break;
	case CHANNEL_CONSOLE:
		(void)bulk_console(port, frame);
		break;
	case CHANNEL_FRAMES:
		(void)frames_deliver(port, frame);
		break;
	case CHANNEL_CREDIT:
		(void)bulk_credit(port, frame);
		break;
	case CHANNEL_STREAM:
		(void)bulk_stream(port, frame);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct port port;
	struct evum_config config;
	struct wire_frame frame = {.len = size};

	if (!size || size > EVUM_FRAME_MAX)
		return 0;
	frame.bytes = malloc(size);
	memcpy(frame.bytes, data, size);
	memset(&port, 0, sizeof(port));
	CHECK(wire_init(&port.wire, -1, -1) == 0);
	fuzz_frame(&port, &frame);
	if (!port.vm) {
		evum_config_init(&config);
		config.initramfs = config.hostname = "x";
		CHECK(evum_vm_start(&config, event_handler, &port, &port.vm, NULL) == 0);
		fuzz_frame(&port, &frame);
	}
	evum_vm_dispatch(port.vm);
	evum_vm_free(port.vm);
	bulk_free(&port.bulk);
	wire_free(&port.wire);
	free(frame.bytes);
	return 0;
}
