/* SPDX-License-Identifier: Apache-2.0 */
/* The uplink's numbers, as C constants */
#ifndef EVUM_UPLINK_PROTO_H
#define EVUM_UPLINK_PROTO_H

#include "port/evum_proto.h"

enum {
#define UPLINK_NUMBER(name, value, what) name = (value),
#include "uplink_proto.def"
};

enum uplink_call {
#define UPLINK_CALL(name, arguments, what) UPLINK_CALL_##name,
#include "uplink_proto.def"
	UPLINK_CALLS
};

#endif
