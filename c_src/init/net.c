/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: the machine's network interfaces and the names it finds
 *
 * Theory of operation.  The kernel has an interface vecN for each that the host
 * plugged or may plug.  It is called ethN before anybody sees it.  Opening one
 * (up) connects it to the host, so an unplugged one stays down.
 *
 * What is asked of the interfaces lies in memory that all processes of evum-init
 * share: a command of the agent's (net_command.c) can write the names of all anew,
 * and the agent knows which routes to add when the machine has taken an interface
 * down and up again: the kernel drops them, as it doesn't with addresses.  Routes of
 * an interface that was not down are the machine's own to change.
 */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interface.h"
#include "net_names.h"
#include "net_state.h"
#include "rtnl.h"

#define EVENTS_MAX 8192
#define READS_MAX 16 /* at a time: nobody can keep the agent busy with this alone */

/* --- the shared memory ------------------------------------------------------------- */

void net_lock(struct net *net)
{
	if (pthread_mutex_lock(&net->lock) == EOWNERDEAD)
		(void)pthread_mutex_consistent(&net->lock);
}

bool net_try_lock(struct net *net)
{
	int error = pthread_mutex_trylock(&net->lock);

	if (error == EOWNERDEAD)
		error = pthread_mutex_consistent(&net->lock);
	return error == 0;
}

void net_unlock(struct net *net)
{
	(void)pthread_mutex_unlock(&net->lock);
}

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	int error = pthread_mutexattr_init(&attributes);

	if (error != 0)
		return -error;
	(void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	(void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	error = pthread_mutex_init(lock, &attributes);
	(void)pthread_mutexattr_destroy(&attributes);
	return -error;
}

/* Shared memory with what config asks for, or NULL. */
static struct net *make_net(const struct boot_config *config)
{
	struct net *net =
		mmap(NULL, sizeof(*net), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (net == MAP_FAILED || init_lock(&net->lock) < 0)
		return NULL;
	net->root = config->root;
	net->rw = config->rw;
	memcpy(net->hostname, config->hostname, sizeof(net->hostname));
	memcpy(net->nics, config->nics, sizeof(net->nics));
	return net;
}

/* --- a boot ------------------------------------------------------------------------ */

/* vecN becomes ethN. */
static int rename_nic(int fd, const struct if_nameindex *nic)
{
	struct rtnl_message message;
	char name[IFNAMSIZ];
	int number;

	if (strncmp(nic->if_name, "vec", 3) != 0)
		return 0;
	number = nic_parse_number(nic->if_name + 3);
	if (number < 0)
		return 0;
	snprintf(name, sizeof(name), "eth%d", number);
	rtnl_message_rename(&message, (int)nic->if_index, name);
	return rtnl_ask(fd, &message);
}

/*
 * Of those that there are: to be asked for one that isn't, the kernel runs
 * modprobe twice, which would be most of a boot.
 */
static int rename_all(void)
{
	struct if_nameindex *all = if_nameindex(), *nic;
	int fd, result;

	if (all == NULL)
		return -errno;
	fd = rtnl_open();
	result = fd < 0 ? fd : 0;
	for (nic = all; nic->if_index != 0 && result == 0; nic++)
		result = rename_nic(fd, nic);
	if (fd >= 0)
		close(fd);
	if_freenameindex(all);
	return result;
}

static int set_up(struct boot *boot, int number)
{
	struct interface interface;
	int result = interface_open(&interface, number);

	if (result == 0)
		result = interface_apply(&interface, &boot->net->nics[number], 0);
	interface_close(&interface);
	if (result == 0)
		return 0;
	return boot_error(boot, "cannot set up eth%d (%s): %s", number, interface.failed,
			  strerror(-result));
}

int net_start(struct boot *boot)
{
	int i, result;

	boot->net = make_net(&boot->config);
	if (boot->net == NULL)
		return boot_error(boot, "cannot set up the network: %s", strerror(ENOMEM));
	result = rename_all();
	if (result < 0)
		return boot_error(boot, "cannot name the network interfaces: %s",
				  strerror(-result));
	for (i = 0; i < NIC_COUNT; i++)
		if (nic_is_plugged(&boot->net->nics[i]) && set_up(boot, i) < 0)
			return -1;
	return 0;
}

void net_furnish(const struct boot *boot)
{
	net_names_write(boot->net);
}

/* --- down and up ------------------------------------------------------------------- */

int net_watch(void)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void restore(const struct net *net, int number)
{
	struct interface interface;

	if (interface_open(&interface, number) == 0)
		interface_restore(&interface, &net->nics[number]);
	interface_close(&interface);
}

/* The number of the interface that the event is about, or -1. */
static int number_of(const struct ifinfomsg *link)
{
	char name[IFNAMSIZ];
	int number;

	if (if_indextoname((unsigned int)link->ifi_index, name) == NULL ||
	    strncmp(name, "eth", 3) != 0)
		return -1;
	number = nic_parse_number(name + 3);
	return number < 0 ? -1 : number;
}

static void take_event(struct net *net, const struct ifinfomsg *link)
{
	const int number = number_of(link);

	if (number < 0)
		return;
	if ((link->ifi_flags & IFF_UP) == 0) {
		net->closed[number] = true;
	} else if ((link->ifi_flags & IFF_RUNNING) != 0 && net->closed[number]) {
		net->closed[number] = false;
		restore(net, number);
	}
}

static void take_events(struct net *net, const struct nlmsghdr *header, size_t len)
{
	for (; NLMSG_OK(header, len); header = NLMSG_NEXT(header, len))
		if (header->nlmsg_type == RTM_NEWLINK &&
		    header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)))
			take_event(net, NLMSG_DATA(header));
}

void net_watched(struct net *net, int fd)
{
	static union {
		struct nlmsghdr header;
		char bytes[EVENTS_MAX];
	} events;
	ssize_t received;
	int i;

	for (i = 0; i < READS_MAX; i++) {
		received = recv(fd, events.bytes, sizeof(events.bytes), 0);
		if (received <= 0)
			return;
		/* A command that runs has its own mind about routes. */
		if (!net_try_lock(net))
			continue;
		take_events(net, &events.header, (size_t)received);
		net_unlock(net);
	}
}
