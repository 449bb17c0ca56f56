/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl_message: requests to the kernel's network tables, as bytes
 */
#ifndef EVUM_INIT_RTNL_MESSAGE_H
#define EVUM_INIT_RTNL_MESSAGE_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTNL_MESSAGE_MAX 128 /* the longest of these has 64 bytes */

struct rtnl_message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[RTNL_MESSAGE_MAX];
	};
};

struct rtnl_address {
	int index; /* of the interface */
	struct in_addr address;
	uint8_t prefix;
};

struct rtnl_default {
	int index;
	struct in_addr gateway; /* INADDR_ANY: none, the interface itself */
	uint32_t metric;
};

/* Each fills message with one request that wants an acknowledgement. */
void rtnl_message_rename(struct rtnl_message *message, int index, const char name[static IFNAMSIZ]);
void rtnl_message_mtu(struct rtnl_message *message, int index, uint32_t mtu);
void rtnl_message_up(struct rtnl_message *message, int index, bool up);
/* The kernel answers EEXIST where it is there already, with the same prefix. */
void rtnl_message_add(struct rtnl_message *message, const struct rtnl_address *address);
void rtnl_message_delete(struct rtnl_message *message, const struct rtnl_address *address);
/* In the place of the default route with that metric, if there is one. */
void rtnl_message_route(struct rtnl_message *message, const struct rtnl_default *route);
/* Beside all others; where there is one with that metric it stays, and the answer is EEXIST. */
void rtnl_message_restore(struct rtnl_message *message, const struct rtnl_default *route);
void rtnl_message_unroute(struct rtnl_message *message, const struct rtnl_default *route);

/* A route to one host of the interface's network, in the place of an older one; or none. */
void rtnl_message_host(struct rtnl_message *message, int index, struct in_addr host, bool there);

/* All IPv4 addresses, or routes, of all interfaces. */
void rtnl_message_list_addresses(struct rtnl_message *message);
void rtnl_message_list_routes(struct rtnl_message *message);

/* Is one message of such a list about an address, or a default route of the main table?  Fills it then. */
bool rtnl_message_is_address(const struct nlmsghdr *header, struct rtnl_address *address);
bool rtnl_message_is_default(const struct nlmsghdr *header, struct rtnl_default *route);

#endif
