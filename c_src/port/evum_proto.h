/* SPDX-License-Identifier: Apache-2.0 */
/* The wire's numbers, as C constants */
#ifndef EVUM_PROTO_H
#define EVUM_PROTO_H

enum {
#define PROTO_NUMBER(name, value, what) EVUM_##name = (value),
#include "evum_proto.def"
};

enum proto_channel {
#define PROTO_CHANNEL(name, number, layout, what) CHANNEL_##name = (number),
#include "evum_proto.def"
};

enum proto_call {
#define PROTO_CALL(name, arguments, what) CALL_##name,
#include "evum_proto.def"
	CALL_COUNT
};

#endif
