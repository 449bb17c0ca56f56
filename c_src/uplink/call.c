/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: a table of {name, handler}
 *
 * A handler decodes, does and answers.  Wrong arguments are {error, einval};
 * what is no call at all can't be answered, and ends the program.
 */
#include <errno.h>
#include <string.h>
#include "confine.h"
#include "device.h"
#include "nat.h"
#include "port/rpc.h"
#include "uplink.h"
#include "util.h"

struct call {
	struct uplink *uplink;
	struct rpc_call rpc;
};

typedef int call_handler(struct call *call);

static int call_reply(struct call *call, int result)
{
	return rpc_reply_result(&call->uplink->wire, call->rpc.seq, result);
}

static int call_reply_number(struct call *call, long long number)
{
	struct term_out out;

	rpc_reply_begin_tagged(&out, call->rpc.seq, "ok");
	term_put_integer(&out, number);
	return rpc_reply_end(&call->uplink->wire, &out);
}

static int get_ip(struct term *args, struct in_addr *ip)
{
	return term_get_bytes(args, ip, sizeof(*ip));
}

static int get_port(struct term *args, int min, uint16_t *port)
{
	long long number;

	*port = 0;
	if (term_get_integer(args, min, UINT16_MAX, &number) < 0)
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}

/* tcp or udp */
static int get_proto(struct term *args, bool *udp)
{
	char atom[TERM_ATOM_SIZE];

	if (term_get_atom(args, atom) < 0)
		return -EINVAL;
	*udp = strcmp(atom, "udp") == 0;
	return *udp || strcmp(atom, "tcp") == 0 ? 0 : -EINVAL;
}

/* --- the way out ------------------------------------------------------------ */

/* The way is open: nothing more is to be had from the host. */
static int way_chosen(struct uplink *uplink, const struct way *way, enum confine_for purpose)
{
	int err = confine_enter(purpose);

	if (err)
		way->close(uplink);
	else
		uplink->way = way;
	return err;
}

static int get_host_ports(struct term *args, struct filter *filter)
{
	uint16_t port;
	int count;

	if (term_get_list(args, &count) < 0)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		if (get_port(args, 1, &port) < 0)
			return -EINVAL;
		filter_open_port(filter, port);
	}
	return term_get_list_end(args, count);
}

static int slirp_open(struct uplink *uplink, struct term *args)
{
	struct nat_config config;
	int err = get_ip(args, &config.gateway);

	if (err || term_get_u32(args, 0, &config.prefix) < 0 ||
	    term_get_u32(args, 0, &config.mtu) < 0 ||
	    term_get_boolean(args, &config.restricted) < 0 ||
	    term_get_boolean(args, &config.ipv6) < 0)
		return -EINVAL;
	err = nat_open(uplink, &config);
	if (err)
		return err;
	err = get_host_ports(args, &uplink->nat->filter);
	if (err)
		way_slirp.close(uplink);
	if (!err)
		err = way_chosen(uplink, &way_slirp, CONFINE_NAT);
	if (!err)
		nat_confined(uplink->nat);
	return err;
}

static int slirp_handler(struct call *call)
{
	if (call->rpc.count != 6)
		return call_reply(call, -EINVAL);
	if (call->uplink->way)
		return call_reply(call, -EISCONN);
	return call_reply(call, slirp_open(call->uplink, &call->rpc.args));
}

typedef int link_opener(struct uplink *uplink, const char *interface);

static int link_handler(struct call *call, link_opener *open_link, const struct way *way)
{
	struct term_arena arena __attribute__((cleanup(term_arena_free)));
	struct uplink *uplink = call->uplink;
	const char *interface;
	int err = term_arena_init(&arena, call->rpc.args.len);

	if (err)
		return err;
	call->rpc.args.arena = &arena;
	if (uplink->way)
		return call_reply(call, -EISCONN);
	if (call->rpc.count != 1 || term_get_string(&call->rpc.args, &interface) < 0)
		return call_reply(call, -EINVAL);
	err = open_link(uplink, interface);
	if (!err)
		err = way_chosen(uplink, way, CONFINE_LINK);
	return err ? call_reply(call, err) : call_reply_number(call, uplink->link->mtu);
}

static int packet_handler(struct call *call)
{
	return link_handler(call, packet_open, &way_packet);
}

static int tap_handler(struct call *call)
{
	return link_handler(call, tap_open, &way_tap);
}

/* --- machines and ways in --------------------------------------------------- */

static int machine_add_handler(struct call *call)
{
	uint8_t mac[MAC_SIZE];
	struct in_addr ip;

	if (call->rpc.count != 2 || term_get_bytes(&call->rpc.args, mac, sizeof(mac)) < 0 ||
	    get_ip(&call->rpc.args, &ip) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, nat_machine_add(call->uplink->nat, mac, ip));
}

static int machine_gone_handler(struct call *call)
{
	uint8_t mac[MAC_SIZE];

	if (call->rpc.count != 1 || term_get_bytes(&call->rpc.args, mac, sizeof(mac)) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, nat_machine_gone(call->uplink->nat, mac));
}

static int forward_add_handler(struct call *call)
{
	struct term *args = &call->rpc.args;
	struct instance *instance;
	uint8_t mac[MAC_SIZE];
	struct in_addr host;
	struct in_addr guest;
	uint16_t port;
	uint16_t guest_port;
	bool udp;
	int err;

	if (call->rpc.count != 6 || get_proto(args, &udp) < 0 || get_ip(args, &host) < 0 ||
	    get_port(args, 0, &port) < 0 || term_get_bytes(args, mac, sizeof(mac)) < 0 ||
	    get_ip(args, &guest) < 0 || get_port(args, 1, &guest_port) < 0)
		return call_reply(call, -EINVAL);
	instance = nat_instance(call->uplink->nat, mac);
	if (!instance)
		return call_reply(call, -ENOMEM);
	err = forward_add(instance, udp, host, &port, guest, guest_port);
	return err ? call_reply(call, err) : call_reply_number(call, port);
}

static int forward_remove_handler(struct call *call)
{
	uint16_t port;
	bool udp;

	if (call->rpc.count != 2 || get_proto(&call->rpc.args, &udp) < 0 ||
	    get_port(&call->rpc.args, 1, &port) < 0)
		return call_reply(call, -EINVAL);
	return call_reply(call, forward_remove(call->uplink->nat, udp, port));
}

static int host_port_handler(struct call *call)
{
	uint16_t port;

	if (call->rpc.count != 1 || get_port(&call->rpc.args, 0, &port) < 0)
		return call_reply(call, -EINVAL);
	call->uplink->nat->filter.host_port = port;
	return call_reply(call, 0);
}

/* --- what is counted -------------------------------------------------------- */

static void put_counter(struct term_out *out, const char *name, uint64_t value)
{
	term_put_atom(out, name);
	term_put_integer(out, value > INT64_MAX ? INT64_MAX : (long long)value);
}

static int info_handler(struct call *call)
{
	const struct uplink_counters counters = uplink_count(call->uplink);
	struct term_out out;

	if (call->rpc.count != 0)
		return call_reply(call, -EINVAL);
	rpc_reply_begin_tagged(&out, call->rpc.seq, "ok");
	term_put_map(&out, sizeof(counters) / sizeof(uint64_t));
#define UPLINK_COUNTER(name, what) put_counter(&out, #name, counters.name);
#include "uplink_proto.def"
	return rpc_reply_end(&call->uplink->wire, &out);
}

/* ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	call_handler *handler;
} calls[] = {
#define UPLINK_CALL(name, arguments, what) [UPLINK_CALL_##name] = {#name, name##_handler},
#include "uplink_proto.def"
};
_Static_assert(ARRAY_SIZE(calls) == UPLINK_CALLS, "one handler for each call of uplink_proto.def");

static bool needs_nat(size_t call)
{
	return call == UPLINK_CALL_machine_add || call == UPLINK_CALL_machine_gone ||
	       call == UPLINK_CALL_forward_add || call == UPLINK_CALL_forward_remove ||
	       call == UPLINK_CALL_host_port;
}

int call_dispatch(struct uplink *uplink, const struct wire_frame *frame)
{
	struct call call = {.uplink = uplink};
	size_t i = 0;

	if (rpc_open(&call.rpc, frame) < 0)
		return -EPROTO;
	while (i < ARRAY_SIZE(calls) && strcmp(calls[i].name, call.rpc.name) != 0)
		i++;
	if (i == ARRAY_SIZE(calls))
		return call_reply(&call, -ENOSYS);
	if (needs_nat(i) && !uplink->nat)
		return call_reply(&call, -ENOTCONN);
	return calls[i].handler(&call);
}
