/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways in: ports of the host that lead to a machine
 *
 * libslirp (4.7) listens with a backlog of one, and says neither which port it
 * was given for 0 nor which descriptor it listens on.  The descriptor is known
 * all the same: a program of one thread gets the lowest free number.  So its
 * port can be asked for, and a second listen() makes room.
 */
#include "nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "util.h"

/* The number that the next descriptor will have, or -errno. */
static int next_fd(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	close(fd);
	return fd;
}

/* The port that fd has of host; 0 where it is no such socket. */
static uint16_t port_of(int fd, struct in_addr host)
{
	struct sockaddr_in name = {0};
	socklen_t size = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &size) < 0 || name.sin_family != AF_INET ||
	    name.sin_addr.s_addr != host.s_addr)
		return 0;
	return ntohs(name.sin_port);
}

/* libslirp listens for forward from now on.  0 or -errno. */
static int forward_open(struct instance *instance, struct forward *forward, struct in_addr guest,
			uint16_t guest_port)
{
	forward->fd = next_fd();
	if (forward->fd < 0)
		return forward->fd;
	if (slirp_add_hostfwd(instance->slirp, forward->udp, forward->host, forward->port, guest,
			      guest_port) < 0)
		return errno ? -errno : -EIO;
	instance->sockets++;
	instance->nat->sockets++;
	forward->port = port_of(forward->fd, forward->host);
	if (!forward->port)
		return -EBADF;
	if (!forward->udp && listen(forward->fd, UPLINK_BACKLOG) < 0)
		return -errno;
	return 0;
}

int forward_add(struct instance *instance, bool udp, struct in_addr host, uint16_t *port,
		struct in_addr guest, uint16_t guest_port)
{
	struct forward *forward;
	int err;

	if (instance->nat->forward_count == UPLINK_FORWARDS_MAX)
		return -ENOSPC;
	forward = calloc(1, sizeof(*forward));
	if (!forward)
		return -ENOMEM;
	forward->udp = udp;
	forward->host = host;
	forward->port = *port;
	err = forward_open(instance, forward, guest, guest_port);
	if (err) {
		free(forward);
		return err;
	}
	*port = forward->port;
	forward->next = instance->forwards;
	instance->forwards = forward;
	instance->nat->forward_count++;
	return 0;
}

static void forget(struct instance *instance, struct forward **link)
{
	struct forward *forward = *link;

	*link = forward->next;
	instance->nat->forward_count--;
	free(forward);
}

void forward_forget_all(struct instance *instance)
{
	while (instance->forwards)
		forget(instance, &instance->forwards);
}

static int remove_from(struct instance *instance, bool udp, uint16_t port)
{
	struct forward **link = &instance->forwards;

	while (*link && ((*link)->udp != udp || (*link)->port != port))
		link = &(*link)->next;
	if (!*link)
		return -ENOENT;
	slirp_remove_hostfwd(instance->slirp, udp, (*link)->host, port);
	forget(instance, link);
	return 0;
}

int forward_remove(struct nat *nat, bool udp, uint16_t port)
{
	for (unsigned int i = 0; i < nat->machine_count; i++)
		if (remove_from(nat->machines[i], udp, port) == 0)
			return 0;
	return nat->shared ? remove_from(nat->shared, udp, port) : -ENOENT;
}

bool forward_listens(const struct instance *instance, int fd)
{
	const struct forward *forward = instance->forwards;

	while (forward && forward->fd != fd)
		forward = forward->next;
	return forward && !forward->udp;
}
