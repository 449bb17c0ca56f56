/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_net: until an interface is up and has an address
 *
 * An IPv6 address of the link itself doesn't count: each interface gives itself
 * one, whether or not there is a network.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "watch.h"

static int open_events(void)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int error;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* What the events say is looked up anew, so one that was lost (ENOBUFS) does no harm. */
static void wait_events(int events)
{
	char bytes[4096];

	(void)!recv(events, bytes, sizeof(bytes), 0);
	while (recv(events, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static bool format_address(const struct sockaddr *address, char text[static INET6_ADDRSTRLEN])
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (address == NULL)
		return false;
	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		return inet_ntop(AF_INET, &in.sin_addr, text, INET6_ADDRSTRLEN) != NULL;
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&in6, address, sizeof(in6));
	return !IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) &&
	       inet_ntop(AF_INET6, &in6.sin6_addr, text, INET6_ADDRSTRLEN) != NULL;
}

/* Of one that just came up the kernel says RUNNING before it has looked for a carrier. */
static bool is_running(unsigned int flags)
{
	return (flags & IFF_RUNNING) != 0 && (flags & IFF_LOWER_UP) != 0;
}

/* Adds one interface to what is seen; returns whether it is a network. */
static bool add_interface(struct seen *seen, const struct ifaddrs *all, const struct ifaddrs *link)
{
	const bool up = (link->ifa_flags & IFF_UP) != 0;
	const bool running = is_running(link->ifa_flags);
	char text[INET6_ADDRSTRLEN];
	bool has_address = false;

	seen_add(seen, "%s%s %s", seen->len > 0 ? "; " : "", link->ifa_name,
		 !up	    ? "down"
		 : !running ? "up but not running"
			    : "up");
	for (; all != NULL; all = all->ifa_next) {
		if (strcmp(all->ifa_name, link->ifa_name) != 0 ||
		    !format_address(all->ifa_addr, text))
			continue;
		seen_add(seen, "%s%s", has_address ? " " : ", ", text);
		has_address = true;
	}
	if (!has_address)
		seen_add(seen, ", no address");
	return up && running && has_address;
}

/* Returns 1 where there is a network, else 0, or -errno. */
static int look(struct seen *seen)
{
	struct ifaddrs *all, *link;
	int found = 0;

	if (getifaddrs(&all) < 0)
		return -errno;
	seen_start(seen, "%s", "");
	for (link = all; link != NULL; link = link->ifa_next)
		if (link->ifa_addr != NULL && link->ifa_addr->sa_family == AF_PACKET &&
		    (link->ifa_flags & IFF_LOOPBACK) == 0 && add_interface(seen, all, link))
			found = 1;
	freeifaddrs(all);
	if (seen->len == 0)
		seen_add(seen, "no interface");
	return found;
}

int watch_net(struct seen *seen, const char *none)
{
	int events, result;

	(void)none;
	events = open_events();
	if (events < 0)
		return events;
	while ((result = look(seen)) == 0) {
		result = seen_tell(seen);
		if (result < 0)
			break;
		wait_events(events);
	}
	close(events);
	return result > 0 ? 0 : result;
}
