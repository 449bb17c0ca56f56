/* SPDX-License-Identifier: Apache-2.0 */
/* A real interface: packet socket or tap */
#ifndef EVUM_UPLINK_DEVICE_H
#define EVUM_UPLINK_DEVICE_H

#include "uplink.h"

struct device {
	int fd;
	int index; /* of the interface */
	unsigned int mtu;
	bool down; /* of a packet socket: it isn't up at the moment */
};

/* 0, or -errno: -ENODEV no such interface, -EPERM, -ENETDOWN it isn't up, -ENAMETOOLONG. */
int packet_open(struct uplink *uplink, const char *interface);
/*
 * 0, or -errno: -EPERM, -EBUSY somebody has it open, -EINVAL it is no tap, -ENOENT
 * there is no /dev/net/tun, -ENAMETOOLONG.
 */
int tap_open(struct uplink *uplink, const char *interface);

/* What both have in common (device.c). */

/* The interface's request with its name in it.  0 or -ENAMETOOLONG. */
struct ifreq;
int device_request(struct ifreq *request, const char *interface);
/* Makes the link of uplink, which owns fd from then on, and looks up its MTU by socket.  0 or -errno. */
int device_make(struct uplink *uplink, int fd, int socket, const char *interface);
int device_watch(struct uplink *uplink, int *timeout);
/* Is there credit for more? */
bool device_has_room(const struct uplink *uplink);
/* Has something come? */
bool device_is_ready(const struct uplink *uplink);
/* A frame from outside. */
void device_received(struct uplink *uplink, const uint8_t *frame, size_t len);
/* What came of sending len bytes: result is a system call's. */
void device_sent(struct uplink *uplink, size_t len, ssize_t result);
void device_close(struct uplink *uplink);

#endif
