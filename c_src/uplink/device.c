/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real interface: what packet sockets and taps have in common
 *
 * The kernel's own queues are the bounds both ways: without credit nothing is
 * read, and what the interface doesn't take at once is dropped and counted.
 */
#include "device.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "util.h"

/* The loop's list begins with the peer's two. */
#define LINK_POLL 2

int device_request(struct ifreq *request, const char *interface)
{
	size_t len = strlen(interface);

	*request = (struct ifreq){0};
	if (len == 0 || len >= sizeof(request->ifr_name))
		return -ENAMETOOLONG;
	memcpy(request->ifr_name, interface, len);
	return 0;
}

int device_make(struct uplink *uplink, int fd, int socket, const char *interface)
{
	struct ifreq request;
	struct device *link;
	int err = device_request(&request, interface);

	if (err)
		return err;
	link = malloc(sizeof(*link));
	if (!link)
		return -ENOMEM;
	*link = (struct device){.fd = fd};
	if (ioctl(socket, SIOCGIFMTU, &request) == 0)
		link->mtu = (unsigned int)request.ifr_mtu;
	if (ioctl(socket, SIOCGIFINDEX, &request) == 0)
		link->index = request.ifr_ifindex;
	if (!link->mtu || !link->index) {
		err = -errno;
		free(link);
		return err;
	}
	uplink->link = link;
	return 0;
}

bool device_has_room(const struct uplink *uplink)
{
	return gather_has_room(&uplink->gathers[UPLINK_NET]);
}

int device_watch(struct uplink *uplink, int *timeout)
{
	short events = device_has_room(uplink) ? POLLIN : 0;

	*timeout = -1;
	return polls_add(&uplink->polls, uplink->link->fd, events) < 0 ? -ENOMEM : 0;
}

bool device_is_ready(const struct uplink *uplink)
{
	return polls_events(&uplink->polls, LINK_POLL) != 0;
}

void device_received(struct uplink *uplink, const uint8_t *frame, size_t len)
{
	if (len < BATCH_FLOW || len > uplink->link->mtu + EVUM_NIC_OVERHEAD) {
		uplink->counters.rx_dropped++;
		return;
	}
	uplink_deliver(uplink, UPLINK_NET, frame, frame + BATCH_FLOW, len - BATCH_FLOW);
}

void device_sent(struct uplink *uplink, size_t len, ssize_t result)
{
	if (result < 0) {
		uplink->counters.tx_dropped++;
		return;
	}
	uplink->counters.tx_frames++;
	uplink->counters.tx_bytes += len;
}

void device_close(struct uplink *uplink)
{
	fd_close(&uplink->link->fd);
	free(uplink->link);
	uplink->link = NULL;
}
