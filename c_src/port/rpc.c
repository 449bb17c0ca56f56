/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the wire taken apart, and their replies */
#include "rpc.h"

#include <errno.h>
#include <string.h>

/* Answers that wait: a peer that asks on and on and never reads is refused. */
#define ANSWERS_MAX (4u << 20)

int rpc_open(struct rpc_call *call, const struct wire_frame *frame)
{
	struct term *args = &call->args;

	if (term_open(args, frame->bytes + 1, frame->len - 1) < 0)
		return -EPROTO;
	if (term_get_tuple(args, 4) < 0 || term_get_atom(args, call->name) < 0 ||
	    strcmp(call->name, "call") != 0 || term_get_u32(args, 0, &call->seq) < 0 ||
	    term_get_atom(args, call->name) < 0 || term_get_list(args, &call->count) < 0)
		return -EPROTO;
	return 0;
}

void rpc_reply_begin(struct term_out *out, uint32_t seq)
{
	term_out_init(out);
	term_put_tuple(out, 3);
	term_put_atom(out, "reply");
	term_put_integer(out, seq);
}

void rpc_reply_begin_tagged(struct term_out *out, uint32_t seq, const char *tag)
{
	rpc_reply_begin(out, seq);
	term_put_tuple(out, 2);
	term_put_atom(out, tag);
}

int rpc_reply_end(struct wire *wire, struct term_out *out)
{
	int err = -ENOMEM;

	if (!out->failed)
		err = wire_send_control(wire, out->x.buff, (size_t)out->x.index, true);
	term_out_free(out);
	if (!err && wire->answers > ANSWERS_MAX)
		err = -ENOBUFS;
	return err;
}

int rpc_reply_result(struct wire *wire, uint32_t seq, int result)
{
	struct term_out out;

	if (result < 0) {
		rpc_reply_begin_tagged(&out, seq, "error");
		term_put_posix(&out, -result);
	} else {
		rpc_reply_begin(&out, seq);
		term_put_atom(&out, "ok");
	}
	return rpc_reply_end(wire, &out);
}
