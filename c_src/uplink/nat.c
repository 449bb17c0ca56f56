/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libslirp: one instance for each machine
 *
 * Theory of operation.  libslirp can't close what belongs to one guest of many,
 * so each machine that is announced has an instance of its own, and its end is
 * slirp_cleanup(): all its connections are closed and its ways in are free.  The
 * senders that nobody announced (bridged guests, containers) share one.
 *
 * An instance learns who has which address from the frames themselves, as from
 * ARP answers: then a way back is known before anything is sent, also to what
 * lies behind a machine that routes.  Its own ARP and DHCP are never asked.
 *
 * Bounds.  An instance has no more host sockets than are still free, so that however
 * many there are each finds some, and UPLINK_SOCKETS_MAX; at that number what
 * could open another is dropped, and ways in aren't accepted from: only the
 * machine that has so many is the worse for it.  What libslirp would keep of TCP
 * that isn't in order is bounded by segments.c.  Without credit towards Erlang
 * no host socket is read, so that the senders outside are slowed down.
 */
#include "nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include "util.h"

#define ETHER_HEAD 14u
#define ARP_FRAME 42u
#define TYPE_IP4 0x0800
#define TYPE_IP6 0x86dd
#define SLIRP_CONFIG_VERSION 4
/* The program's own, and some that are in use for a moment. */
#define OTHER_DESCRIPTORS 32u

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* As the datagrams count: never 0. */
static uint32_t clock_seconds(void)
{
	return (uint32_t)(clock_ns() / 1000000000) + 1;
}

static unsigned int type_of(const uint8_t *frame)
{
	return (unsigned int)frame[12] << 8 | frame[13];
}

/* --- what libslirp calls ---------------------------------------------------- */

/*
 * libslirp makes up an Ethernet address for each IPv6 sender outside.  A switch
 * would learn them all: they are one, that of libslirp's own two addresses.
 */
static void router_mac6(uint8_t *ether)
{
	static const uint8_t router[MAC_SIZE] = {0x52, 0x56, 0, 0, 0, 2};

	if (type_of(ether) == TYPE_IP6)
		memcpy(ether + MAC_SIZE, router, MAC_SIZE);
}

static ssize_t send_packet(const void *bytes, size_t len, void *opaque)
{
	struct instance *instance = opaque;
	const uint8_t *frame = bytes;
	uint8_t ether[ETHER_HEAD];

	if (len < ETHER_HEAD)
		return (ssize_t)len;
	filter_made(&instance->nat->filter, &instance->datagrams, clock_seconds(), frame, len);
	segments_made(&instance->segments, frame, len);
	memcpy(ether, frame, sizeof(ether));
	router_mac6(ether);
	uplink_deliver(instance->nat->uplink, UPLINK_NET, ether, frame + ETHER_HEAD,
		       len - ETHER_HEAD);
	return (ssize_t)len;
}

/* A guest's mistake is the guest's. */
static void guest_error(const char *message, void *opaque)
{
	(void)message;
	(void)opaque;
}

static int64_t clock_get_ns(void *opaque)
{
	(void)opaque;
	return clock_ns();
}

static void *timer_new(SlirpTimerId id, void *timer_opaque, void *opaque)
{
	(void)id;
	(void)timer_opaque;
	return opaque;
}

static void timer_free(void *timer, void *opaque)
{
	(void)opaque;
	((struct instance *)timer)->timer = -1;
}

static void timer_mod(void *timer, int64_t expires, void *opaque)
{
	(void)opaque;
	((struct instance *)timer)->timer = expires;
}

static void register_poll_fd(int fd, void *opaque)
{
	struct instance *instance = opaque;

	if (fd < 0)
		return;
	instance->sockets++;
	instance->nat->sockets++;
}

static void unregister_poll_fd(int fd, void *opaque)
{
	struct instance *instance = opaque;

	if (fd < 0 || !instance->sockets)
		return;
	instance->sockets--;
	instance->nat->sockets--;
}

/* The loop looks at everything after each wake-up. */
static void notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = register_poll_fd,
	.unregister_poll_fd = unregister_poll_fd,
	.notify = notify,
	.timer_new_opaque = timer_new,
};

/* --- instances -------------------------------------------------------------- */

static void instance_free(struct instance *instance)
{
	if (!instance)
		return;
	forward_forget_all(instance);
	slirp_cleanup(instance->slirp);
	instance->nat->sockets -= instance->sockets;
	free(instance);
}

static struct instance *instance_new(struct nat *nat, const uint8_t *mac)
{
	struct instance *instance = calloc(1, sizeof(*instance));

	if (!instance)
		return NULL;
	instance->nat = nat;
	instance->timer = -1;
	memcpy(instance->mac, mac, MAC_SIZE);
	(void)!getrandom(&instance->segments.seed, sizeof(instance->segments.seed), GRND_NONBLOCK);
	instance->slirp = slirp_new(&nat->config, &callbacks, instance);
	if (instance->slirp)
		return instance;
	free(instance);
	return NULL;
}

/* One past the last where it isn't announced. */
static unsigned int machine_find(const struct nat *nat, const uint8_t *mac)
{
	unsigned int i = 0;

	while (i < nat->machine_count && memcmp(nat->machines[i]->mac, mac, MAC_SIZE) != 0)
		i++;
	return i;
}

struct instance *nat_instance(struct nat *nat, const uint8_t *mac)
{
	static const uint8_t nobody[MAC_SIZE];
	unsigned int i = machine_find(nat, mac);

	if (i < nat->machine_count)
		return nat->machines[i];
	if (!nat->shared)
		nat->shared = instance_new(nat, nobody);
	return nat->shared;
}

/* Tells an instance who has an address, by an ARP answer. */
static void instance_tell(struct instance *instance, const uint8_t *mac, uint32_t ip)
{
	uint8_t frame[ARP_FRAME] = {
		[12] = 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2,
	};

	if (instance->told_ip == ip && memcmp(instance->told_mac, mac, MAC_SIZE) == 0)
		return;
	memcpy(frame + 22, mac, MAC_SIZE);
	memcpy(frame + 28, &ip, sizeof(ip));
	slirp_input(instance->slirp, frame, sizeof(frame));
	instance->told_ip = ip;
	memcpy(instance->told_mac, mac, MAC_SIZE);
}

int nat_machine_add(struct nat *nat, const uint8_t *mac, struct in_addr ip)
{
	struct instance *instance;

	if (machine_find(nat, mac) < nat->machine_count)
		return -EEXIST;
	if (nat->machine_count == UPLINK_MACHINES_MAX)
		return -ENOSPC;
	instance = instance_new(nat, mac);
	if (!instance)
		return -ENOMEM;
	instance_tell(instance, mac, ip.s_addr);
	nat->machines[nat->machine_count++] = instance;
	return 0;
}

int nat_machine_gone(struct nat *nat, const uint8_t *mac)
{
	unsigned int i = machine_find(nat, mac);

	if (i == nat->machine_count)
		return -ENOENT;
	instance_free(nat->machines[i]);
	nat->machines[i] = nat->machines[--nat->machine_count];
	return 0;
}

/* Calls something for each instance there is. */
typedef void instance_handler(struct instance *instance, void *context);

static void instances_each(struct nat *nat, instance_handler *handler, void *context)
{
	for (unsigned int i = 0; i < nat->machine_count; i++)
		handler(nat->machines[i], context);
	if (nat->shared)
		handler(nat->shared, context);
}

/* --- the way out ------------------------------------------------------------ */

/* At its bound an instance keeps the connections it has. */
static bool may_open_sockets(const struct instance *instance)
{
	const struct nat *nat = instance->nat;

	return instance->sockets < UPLINK_SOCKETS_MAX &&
	       instance->sockets + nat->sockets < nat->sockets_max;
}

static bool could_open_socket(const uint8_t *frame)
{
	/* filter_check() has found the headers whole, and IPv4's of plain length. */
	size_t protocol = type_of(frame) == TYPE_IP6 ? 20 : 23;
	size_t flags = ETHER_HEAD + (type_of(frame) == TYPE_IP6 ? 40 : 20) + 13;

	return frame[protocol] != IPPROTO_TCP || (frame[flags] & 0x12) == 0x02;
}

static void instance_send(struct instance *instance, const uint8_t *frame, size_t len)
{
	struct uplink_counters *counters = &instance->nat->uplink->counters;
	uint32_t source;

	if ((!may_open_sockets(instance) && could_open_socket(frame)) ||
	    !segments_take(&instance->segments, frame, len)) {
		counters->tx_dropped++;
		return;
	}
	if (type_of(frame) == TYPE_IP4) {
		memcpy(&source, frame + ETHER_HEAD + 12, sizeof(source));
		instance_tell(instance, frame + MAC_SIZE, source);
	}
	counters->tx_frames++;
	counters->tx_bytes += len;
	slirp_input(instance->slirp, frame, (int)len);
}

static void to_gateway(struct uplink *uplink, const uint8_t *frame, size_t len)
{
	uplink->counters.gateway_frames++;
	uplink_deliver(uplink, UPLINK_GATEWAY, frame, frame + ETHER_HEAD, len - ETHER_HEAD);
}

static void nat_send(struct uplink *uplink, uint8_t *frame, size_t len)
{
	struct nat *nat = uplink->nat;
	struct instance *instance = nat_instance(nat, frame + MAC_SIZE);

	if (!instance) {
		uplink->counters.tx_dropped++;
		return;
	}
	switch (filter_check(&nat->filter, &instance->datagrams, clock_seconds(), frame, len)) {
	case FILTER_NAT:
		instance_send(instance, frame, len);
		break;
	case FILTER_ANSWER:
		slirp_input(instance->slirp, frame, (int)len);
		to_gateway(uplink, frame, len);
		break;
	case FILTER_GATEWAY:
		to_gateway(uplink, frame, len);
		break;
	case FILTER_BLOCK:
		uplink->counters.tx_blocked++;
		break;
	}
}

/* --- waiting ---------------------------------------------------------------- */

static const struct {
	int slirp, system;
} poll_bits[] = {
	{SLIRP_POLL_IN, POLLIN},   {SLIRP_POLL_OUT, POLLOUT}, {SLIRP_POLL_PRI, POLLPRI},
	{SLIRP_POLL_ERR, POLLERR}, {SLIRP_POLL_HUP, POLLHUP},
};

struct watch {
	struct instance *instance;
	uint32_t timeout;
	bool readable; /* frames may be made */
};

static int add_poll(int fd, int events, void *opaque)
{
	const struct watch *watch = opaque;
	struct uplink *uplink = watch->instance->nat->uplink;
	int wanted = 0;
	int index;

	if (!watch->readable)
		events &= SLIRP_POLL_OUT | SLIRP_POLL_ERR;
	if (!may_open_sockets(watch->instance) && forward_listens(watch->instance, fd))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(poll_bits); i++)
		if (events & poll_bits[i].slirp)
			wanted |= poll_bits[i].system;
	/* The system reports errors and hang-ups of what it is asked for: not asked, no loop. */
	if (!(wanted & (POLLIN | POLLOUT)))
		return -1;
	index = polls_add(&uplink->polls, fd, (short)wanted);
	if (index < 0)
		uplink->failed = index;
	return index < 0 ? -1 : index;
}

static int get_revents(int index, void *opaque)
{
	const struct uplink *uplink = opaque;
	short events = polls_events(&uplink->polls, index);
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(poll_bits); i++)
		if (events & poll_bits[i].system)
			result |= poll_bits[i].slirp;
	return result;
}

static void timer_watch(const struct instance *instance, uint32_t *timeout)
{
	int64_t left = instance->timer - clock_ns() / 1000000;

	if (instance->timer < 0)
		return;
	if (left < 0)
		left = 0;
	if (left < *timeout)
		*timeout = (uint32_t)left;
}

static void instance_watch(struct instance *instance, void *context)
{
	struct watch *watch = context;

	watch->instance = instance;
	slirp_pollfds_fill(instance->slirp, &watch->timeout, add_poll, watch);
	timer_watch(instance, &watch->timeout);
}

static int nat_watch(struct uplink *uplink, int *timeout)
{
	struct watch watch = {
		.timeout = INT32_MAX,
		.readable = gather_has_room(&uplink->gathers[UPLINK_NET]),
	};

	instances_each(uplink->nat, instance_watch, &watch);
	*timeout = watch.timeout == INT32_MAX ? -1 : (int)watch.timeout;
	return uplink->failed;
}

static void instance_ready(struct instance *instance, void *context)
{
	int64_t now = clock_ns() / 1000000;

	slirp_pollfds_poll(instance->slirp, 0, get_revents, context);
	if (instance->timer >= 0 && instance->timer <= now) {
		instance->timer = -1;
		slirp_handle_timer(instance->slirp, SLIRP_TIMER_RA, NULL);
	}
}

static int nat_ready(struct uplink *uplink)
{
	instances_each(uplink->nat, instance_ready, uplink);
	return uplink->failed;
}

/* --- opening and closing ---------------------------------------------------- */

/* The gateway's IPv6 network: unique local, by its IPv4 address. */
static void filter_set6(struct filter *filter)
{
	struct in6_addr prefix = {{{0xfd, 'e', 'v', 'u', 'm'}}};

	for (unsigned int i = 0; i < 3; i++)
		prefix.s6_addr[5 + i] = (uint8_t)(filter->gateway >> (16 - 8 * i));
	filter->prefix6 = prefix;
	filter->gateway6 = prefix;
	filter->gateway6.s6_addr[15] = 2;
}

static void config_fill(struct nat *nat, const struct nat_config *config)
{
	struct filter *filter = &nat->filter;

	*filter = (struct filter){
		.gateway = ntohl(config->gateway.s_addr),
		.mask = UINT32_MAX << (32 - config->prefix),
		.restricted = config->restricted,
		.ipv6 = config->ipv6,
	};
	filter_set6(filter);
	nat->config = (SlirpConfig){
		.version = SLIRP_CONFIG_VERSION,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(filter->gateway & filter->mask),
		.vnetmask.s_addr = htonl(filter->mask),
		.vhost = config->gateway,
		.vnameserver = config->gateway,
		.in6_enabled = config->ipv6,
		.vprefix_addr6 = filter->prefix6,
		.vprefix_len = 64,
		.vhost6 = filter->gateway6,
		.vnameserver6 = filter->gateway6,
		.if_mtu = config->mtu,
		.if_mru = config->mtu,
		.disable_dns = true,
		.disable_dhcp = true,
	};
}

/* Descriptors that are left for host sockets. */
static unsigned int sockets_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= OTHER_DESCRIPTORS)
		return 0;
	return (unsigned int)min_size(limit.rlim_cur, UINT32_MAX) - OTHER_DESCRIPTORS;
}

int nat_open(struct uplink *uplink, const struct nat_config *config)
{
	struct nat *nat;

	if (config->prefix < 1 || config->prefix > 30 || config->mtu < EVUM_NIC_MTU_MIN ||
	    config->mtu > EVUM_NIC_MTU_MAX)
		return -EINVAL;
	nat = calloc(1, sizeof(*nat));
	if (!nat)
		return -ENOMEM;
	nat->uplink = uplink;
	nat->sockets_max = sockets_max();
	config_fill(nat, config);
	uplink->nat = nat;
	return 0;
}

/* Whether the host lets us ping: libslirp would fall back to UDP's echo service. */
static bool host_lets_ping(void)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);

	return fd >= 0;
}

void nat_confined(struct nat *nat)
{
	nat->filter.echo = host_lets_ping();
}

static void nat_close(struct uplink *uplink)
{
	struct nat *nat = uplink->nat;

	while (nat->machine_count)
		instance_free(nat->machines[--nat->machine_count]);
	instance_free(nat->shared);
	free(nat);
	uplink->nat = NULL;
}

const struct way way_slirp = {
	.name = "slirp",
	.send = nat_send,
	.watch = nat_watch,
	.ready = nat_ready,
	.close = nat_close,
};
