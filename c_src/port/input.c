/* SPDX-License-Identifier: Apache-2.0 */
/* What Erlang says, taken to those that it is for */
#include <errno.h>
#include <poll.h>
#include "port.h"

static int frame_dispatch(struct port *port, const struct wire_frame *frame)
{
	switch (frame->bytes[0]) {
	case CHANNEL_CONTROL:
		return call_dispatch(port, frame);
	case CHANNEL_CONSOLE:
		return bulk_console(port, frame);
	case CHANNEL_FRAMES:
		return port->vm ? frames_deliver(port, frame) : 0;
	case CHANNEL_CREDIT:
		return bulk_credit(port, frame);
	case CHANNEL_STREAM:
		return bulk_stream(port, frame);
	case CHANNEL_FLOW:
		return flows_message(port, frame);
	default:
		return -EPROTO;
	}
}

int input_handler(struct port *port)
{
	struct wire_frame frame;
	int err = wire_read(&port->wire);

	if (err == 0 || err == -ECONNRESET)
		return PORT_EOF;
	if (err < 0)
		return err == -EAGAIN || err == -EINTR ? 0 : err;
	while ((err = wire_next(&port->wire, &frame)) > 0) {
		err = port->down ? 0 : frame_dispatch(port, &frame);
		if (err)
			return err;
	}
	return err;
}

int input_first(struct port *port)
{
	struct pollfd in = {.fd = port->wire.in, .events = POLLIN};

	return poll(&in, 1, 0) > 0 ? input_handler(port) : 0;
}
