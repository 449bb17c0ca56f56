/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface: the host's end of a cable
 *
 * The kernel gives whole frames of the interface's MTU, with their checksums,
 * as long as nothing else is asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "device.h"
#include "util.h"

/* Frames that are read in one turn of the loop. */
#define TAP_TURN 64

/* A new interface is down; who may not bring it up has had one made that is. */
static void bring_up(int socket, const char *interface)
{
	struct ifreq request;

	if (device_request(&request, interface) < 0 || ioctl(socket, SIOCGIFFLAGS, &request) < 0)
		return;
	request.ifr_flags |= IFF_UP;
	(void)ioctl(socket, SIOCSIFFLAGS, &request);
}

static int attach(int fd, const char *interface)
{
	struct ifreq request;
	int err = device_request(&request, interface);

	if (err)
		return err;
	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

int tap_open(struct uplink *uplink, const char *interface)
{
	cleanup_fd int named = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == EACCES ? -EPERM : -errno;
	err = attach(fd, interface);
	if (!err) {
		bring_up(named, interface);
		err = device_make(uplink, fd, named, interface);
	}
	if (err)
		close(fd);
	return err;
}

static void tap_send(struct uplink *uplink, uint8_t *frame, size_t len)
{
	/* The kernel would take it: no cable is behind it. */
	bool fits = len <= uplink->link->mtu + EVUM_NIC_OVERHEAD;

	device_sent(uplink, len, fits ? write(uplink->link->fd, frame, len) : -1);
}

static int tap_ready(struct uplink *uplink)
{
	uint8_t frame[UINT16_MAX];

	if (!device_is_ready(uplink))
		return 0;
	for (int i = 0; i < TAP_TURN && (i == 0 || device_has_room(uplink)); i++) {
		ssize_t len = read(uplink->link->fd, frame, sizeof(frame));

		/* The interface was deleted. */
		if (len < 0 && (errno == EBADFD || errno == ENODEV))
			return -ENODEV;
		if (len < 0)
			return 0;
		device_received(uplink, frame, (size_t)len);
	}
	return uplink->failed;
}

const struct way way_tap = {
	.name = "tap",
	.send = tap_send,
	.watch = device_watch,
	.ready = tap_ready,
	.close = device_close,
};
