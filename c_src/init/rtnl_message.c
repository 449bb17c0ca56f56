/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl_message: requests to the kernel's network tables, as bytes
 */
#define _GNU_SOURCE
#include "rtnl_message.h"

#include <arpa/inet.h>
#include <string.h>

/* Room for len bytes more at the end, aligned and zeroed; the callers' sum is below RTNL_MESSAGE_MAX. */
static void *extend(struct rtnl_message *message, size_t len)
{
	void *at = message->bytes + NLMSG_ALIGN(message->header.nlmsg_len);

	message->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(message->header.nlmsg_len) + len);
	return at;
}

static void *begin(struct rtnl_message *message, uint16_t type, uint16_t flags, size_t body)
{
	*message =
		(struct rtnl_message){.header = {.nlmsg_len = NLMSG_HDRLEN,
						 .nlmsg_type = type,
						 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)}};
	return extend(message, body);
}

static void put(struct rtnl_message *message, uint16_t type, const void *bytes, size_t len)
{
	struct rtattr *attribute = extend(message, RTA_LENGTH(len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), bytes, len);
}

/* --- links ----------------------------------------------------------------- */

static struct ifinfomsg *begin_link(struct rtnl_message *message, int index)
{
	struct ifinfomsg *link = begin(message, RTM_NEWLINK, NLM_F_ACK, sizeof(*link));

	link->ifi_index = index;
	return link;
}

void rtnl_message_rename(struct rtnl_message *message, int index, const char name[static IFNAMSIZ])
{
	begin_link(message, index);
	put(message, IFLA_IFNAME, name, strnlen(name, IFNAMSIZ - 1) + 1);
}

void rtnl_message_mtu(struct rtnl_message *message, int index, uint32_t mtu)
{
	begin_link(message, index);
	put(message, IFLA_MTU, &mtu, sizeof(mtu));
}

void rtnl_message_up(struct rtnl_message *message, int index, bool up)
{
	struct ifinfomsg *link = begin_link(message, index);

	link->ifi_flags = up ? IFF_UP : 0;
	link->ifi_change = IFF_UP;
}

/* --- addresses --------------------------------------------------------------- */

static void begin_address(struct rtnl_message *message, uint16_t type, uint16_t flags,
			  const struct rtnl_address *address)
{
	struct ifaddrmsg *body = begin(message, type, flags, sizeof(*body));

	body->ifa_family = AF_INET;
	body->ifa_prefixlen = address->prefix;
	body->ifa_scope = RT_SCOPE_UNIVERSE;
	body->ifa_index = (uint32_t)address->index;
	put(message, IFA_LOCAL, &address->address, sizeof(address->address));
}

void rtnl_message_add(struct rtnl_message *message, const struct rtnl_address *address)
{
	struct in_addr broadcast = address->address;

	begin_address(message, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, address);
	put(message, IFA_ADDRESS, &address->address, sizeof(address->address));
	if (address->prefix >= 31)
		return;
	broadcast.s_addr |= htonl(UINT32_MAX >> address->prefix);
	put(message, IFA_BROADCAST, &broadcast, sizeof(broadcast));
}

void rtnl_message_delete(struct rtnl_message *message, const struct rtnl_address *address)
{
	begin_address(message, RTM_DELADDR, NLM_F_ACK, address);
}

void rtnl_message_list_addresses(struct rtnl_message *message)
{
	struct ifaddrmsg *body = begin(message, RTM_GETADDR, NLM_F_DUMP, sizeof(*body));

	body->ifa_family = AF_INET;
}

/* --- routes ------------------------------------------------------------------ */

/* To be in the place of one with the same metric, or, where not there, to be deleted. */
static struct rtmsg *begin_route(struct rtnl_message *message, bool there, int index)
{
	struct rtmsg *body = begin(message, there ? RTM_NEWROUTE : RTM_DELROUTE,
				   there ? NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE : NLM_F_ACK,
				   sizeof(*body));

	body->rtm_family = AF_INET;
	body->rtm_table = RT_TABLE_MAIN;
	body->rtm_protocol = there ? RTPROT_BOOT : RTPROT_UNSPEC;
	body->rtm_scope = there ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE;
	body->rtm_type = there ? RTN_UNICAST : RTN_UNSPEC;
	put(message, RTA_OIF, &index, sizeof(index));
	return body;
}

static void put_default(struct rtnl_message *message, const struct rtnl_default *route)
{
	put(message, RTA_PRIORITY, &route->metric, sizeof(route->metric));
	if (route->gateway.s_addr != INADDR_ANY)
		put(message, RTA_GATEWAY, &route->gateway, sizeof(route->gateway));
}

void rtnl_message_route(struct rtnl_message *message, const struct rtnl_default *route)
{
	begin_route(message, true, route->index);
	put_default(message, route);
}

void rtnl_message_restore(struct rtnl_message *message, const struct rtnl_default *route)
{
	rtnl_message_route(message, route);
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
}

void rtnl_message_unroute(struct rtnl_message *message, const struct rtnl_default *route)
{
	begin_route(message, false, route->index);
	put_default(message, route);
}

void rtnl_message_host(struct rtnl_message *message, int index, struct in_addr host, bool there)
{
	struct rtmsg *body = begin_route(message, there, index);

	body->rtm_dst_len = 32;
	body->rtm_scope = there ? RT_SCOPE_LINK : RT_SCOPE_NOWHERE;
	put(message, RTA_DST, &host, sizeof(host));
}

void rtnl_message_list_routes(struct rtnl_message *message)
{
	struct rtmsg *body = begin(message, RTM_GETROUTE, NLM_F_DUMP, sizeof(*body));

	body->rtm_family = AF_INET;
}

/* --- answers ------------------------------------------------------------------- */

static bool has_body(const struct nlmsghdr *header, uint16_t type, size_t body)
{
	return header->nlmsg_type == type && header->nlmsg_len >= NLMSG_LENGTH(body);
}

/* Copies the attribute of that type, where it is there and has that length. */
static void find(const struct nlmsghdr *header, size_t body, uint16_t type, void *bytes, size_t len)
{
	const char *start = (const char *)NLMSG_DATA(header) + NLMSG_ALIGN(body);
	const struct rtattr *attribute = (const struct rtattr *)start;
	size_t left = header->nlmsg_len - NLMSG_SPACE(body);

	if (header->nlmsg_len < NLMSG_SPACE(body))
		return;
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == type && RTA_PAYLOAD(attribute) == len)
			memcpy(bytes, RTA_DATA(attribute), len);
}

bool rtnl_message_is_address(const struct nlmsghdr *header, struct rtnl_address *address)
{
	const struct ifaddrmsg *body = NLMSG_DATA(header);

	if (!has_body(header, RTM_NEWADDR, sizeof(*body)) || body->ifa_family != AF_INET)
		return false;
	*address =
		(struct rtnl_address){.index = (int)body->ifa_index, .prefix = body->ifa_prefixlen};
	find(header, sizeof(*body), IFA_LOCAL, &address->address, sizeof(address->address));
	return true;
}

bool rtnl_message_is_default(const struct nlmsghdr *header, struct rtnl_default *route)
{
	const struct rtmsg *body = NLMSG_DATA(header);

	if (!has_body(header, RTM_NEWROUTE, sizeof(*body)) || body->rtm_family != AF_INET ||
	    body->rtm_table != RT_TABLE_MAIN || body->rtm_dst_len != 0)
		return false;
	*route = (struct rtnl_default){0};
	find(header, sizeof(*body), RTA_OIF, &route->index, sizeof(route->index));
	find(header, sizeof(*body), RTA_GATEWAY, &route->gateway, sizeof(route->gateway));
	find(header, sizeof(*body), RTA_PRIORITY, &route->metric, sizeof(route->metric));
	return true;
}
