/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the wire taken apart, and their replies */
#ifndef EVUM_RPC_H
#define EVUM_RPC_H

#include <stdint.h>
#include "term.h"
#include "wire.h"

/* {call, Seq, Name, [Argument]}: args stands at the first of count arguments. */
struct rpc_call {
	uint32_t seq;
	char name[TERM_ATOM_SIZE];
	struct term args;
	int count;
};

/* 0; -EPROTO: no call, so nothing can be answered. */
int rpc_open(struct rpc_call *call, const struct wire_frame *frame);

/* {reply, Seq, _}, and {reply, Seq, {Tag, _}}: what follows is the caller's. */
void rpc_reply_begin(struct term_out *out, uint32_t seq);
void rpc_reply_begin_tagged(struct term_out *out, uint32_t seq, const char *tag);
/* Queues the reply and frees it.  0, -ENOMEM, or -ENOBUFS where nobody reads answers. */
int rpc_reply_end(struct wire *wire, struct term_out *out);
/* ok, or {error, Posix} where result is a negative errno. */
int rpc_reply_result(struct wire *wire, uint32_t seq, int result);

#endif
