/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interface: one network interface, changed as a whole
 *
 * Theory of operation.  A new setting is put beside the old one, which goes when
 * all of the new one is there: addresses first, then the default route, whose metric
 * is the interface's number, so that several can have one and the lowest number's is
 * used.  An address in the same subnet as an older one would be deleted with that
 * one, were it not for promote_secondaries.
 *
 * IPv6 is the kernel's own doing: it makes itself addresses and takes what routers
 * advertise.  It needs not ask whether they are unique, as the machine's MAC is.
 * Where there is no IPv6 in the kernel or beside it, an interface that has an IPv4
 * address does without.
 */
#define _GNU_SOURCE
#include "interface.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "klog.h"
#include "module.h"
#include "rtnl.h"
#include "watch.h"

#define IPV6_MODULE "net/ipv6/ipv6.ko"
#define IPV6_NEEDS "lib/crc-ccitt.ko"
#define IPV6_SYSCTLS "/proc/sys/net/ipv6"

#define RUNNING_MS 1000 /* for an interface that was opened to be seen as connected */
#define RUNNING_LOOK_MS 2

int interface_open(struct interface *interface, int number)
{
	*interface = (struct interface){.fd = -1, .number = number, .failed = "interface"};
	snprintf(interface->name, sizeof(interface->name), "eth%d", number);
	interface->index = (int)if_nametoindex(interface->name);
	if (interface->index == 0)
		return -ENODEV;
	interface->fd = rtnl_open();
	return interface->fd < 0 ? interface->fd : 0;
}

void interface_close(const struct interface *interface)
{
	if (interface->fd >= 0)
		close(interface->fd);
}

static int set_link(const struct interface *interface, bool up)
{
	struct rtnl_message message;

	rtnl_message_up(&message, interface->index, up);
	return rtnl_ask(interface->fd, &message);
}

static int set_mtu(const struct interface *interface, uint32_t mtu)
{
	struct rtnl_message message;

	rtnl_message_mtu(&message, interface->index, mtu);
	return rtnl_ask(interface->fd, &message);
}

/* A setting of the interface in family, "ipv4" or "ipv6", where there is one. */
static void set_sysctl(const struct interface *interface, const char *family, const char *name,
		       const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, interface->name, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, value, strlen(value));
	close(fd);
}

/* 0, or -errno where the kernel has no IPv6 and can't get it. */
static int set_ipv6(const struct interface *interface, bool wanted)
{
	static const char *const modules[] = {IPV6_NEEDS, IPV6_MODULE, NULL};
	int result = 0;

	if (wanted && access(IPV6_SYSCTLS, F_OK) < 0)
		result = module_load_unseen(modules);
	set_sysctl(interface, "ipv6", "accept_dad", "0");
	set_sysctl(interface, "ipv6", "router_solicitation_delay", "0");
	set_sysctl(interface, "ipv6", "disable_ipv6", wanted ? "0" : "1");
	return result;
}

/* The kernel looks for a carrier a moment after it opened an interface; nothing is sent before. */
static void await_running(const struct interface *interface)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), waited;

	memcpy(request.ifr_name, interface->name, sizeof(request.ifr_name));
	for (waited = 0; waited < RUNNING_MS; waited += RUNNING_LOOK_MS) {
		if (ioctl(fd, SIOCGIFFLAGS, &request) < 0 || (request.ifr_flags & IFF_RUNNING) != 0)
			break;
		watch_pause(RUNNING_LOOK_MS);
	}
	if (fd >= 0)
		close(fd);
}

static int set_route(const struct interface *interface, const struct rtnl_default *route)
{
	struct rtnl_message message;

	if (route->gateway.s_addr == INADDR_ANY)
		return 0;
	rtnl_message_route(&message, route);
	return rtnl_ask(interface->fd, &message);
}

/* A nameserver of this network is reached also by an address of another subnet. */
static void set_near(const struct interface *interface, const struct nic *nic)
{
	struct rtnl_message message;

	if (!nic->near)
		return;
	rtnl_message_host(&message, interface->index, nic->nameserver,
			  !nic_is_near(nic, nic->nameserver));
	(void)rtnl_ask(interface->fd, &message);
}

/* Puts the route, and then the address it needs, in the place of all others. */
static int replace_routes(struct interface *interface, const struct rtnl_address *address,
			  const struct rtnl_default *route)
{
	const bool some = address->address.s_addr != INADDR_ANY;
	int result;

	interface->failed = "gateway";
	result = set_route(interface, route);
	if (result == 0)
		result = rtnl_clear_defaults(interface->fd, interface->index,
					     route->gateway.s_addr != INADDR_ANY ? route : NULL);
	if (result < 0)
		return result;
	interface->failed = "address";
	return rtnl_clear_addresses(interface->fd, interface->index, some ? address : NULL);
}

static int replace_addresses(struct interface *interface, const struct nic *nic)
{
	const struct rtnl_address address = {
		.index = interface->index, .address = nic->address, .prefix = (uint8_t)nic->prefix};
	const struct rtnl_default route = {.index = interface->index,
					   .gateway = nic->gateway,
					   .metric = (uint32_t)interface->number};
	struct rtnl_message message;
	int added = -EEXIST, result;

	interface->failed = "address";
	set_sysctl(interface, "ipv4", "promote_secondaries", "1");
	if (nic->address.s_addr != INADDR_ANY) {
		rtnl_message_add(&message, &address);
		added = rtnl_ask(interface->fd, &message);
	}
	if (added < 0 && added != -EEXIST)
		return added;
	result = replace_routes(interface, &address, &route);
	if (result < 0 && added == 0) {
		rtnl_message_delete(&message, &address);
		(void)rtnl_ask(interface->fd, &message);
	}
	return result;
}

int interface_apply(struct interface *interface, const struct nic *nic, uint32_t mtu)
{
	int result = 0;

	interface->failed = "mtu";
	if (mtu != 0)
		result = set_mtu(interface, mtu);
	if (result < 0)
		return result;
	interface->failed = "ipv6";
	result = set_ipv6(interface, nic->ipv6);
	if (result < 0 && nic->address.s_addr == INADDR_ANY)
		return result;
	if (result < 0)
		klog_warn("%s is without IPv6: %s", interface->name, strerror(-result));
	interface->failed = "interface";
	result = set_link(interface, true);
	if (result < 0)
		return result;
	await_running(interface);
	result = replace_addresses(interface, nic);
	if (result == 0)
		set_near(interface, nic);
	return result;
}

int interface_withdraw(struct interface *interface)
{
	int result = set_link(interface, false);

	return result < 0 ? result : rtnl_clear_addresses(interface->fd, interface->index, NULL);
}

void interface_forget(const struct interface *interface, const struct nic *had,
		      const struct nic *nic)
{
	struct rtnl_message message;

	if (!had->near || had->nameserver.s_addr == nic->nameserver.s_addr)
		return;
	rtnl_message_host(&message, interface->index, had->nameserver, false);
	(void)rtnl_ask(interface->fd, &message);
}

void interface_restore(const struct interface *interface, const struct nic *nic)
{
	const struct rtnl_default route = {.index = interface->index,
					   .gateway = nic->gateway,
					   .metric = (uint32_t)interface->number};
	struct rtnl_message message;

	if (route.gateway.s_addr != INADDR_ANY) {
		rtnl_message_restore(&message, &route);
		(void)rtnl_ask(interface->fd, &message);
	}
	set_near(interface, nic);
}
