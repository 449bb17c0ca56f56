/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet socket: machines on the host's own network
 *
 * The socket takes what the interface sees of others: not what is for the host
 * itself (machines have addresses of their own), and not what the host sends.
 * Frames come as the host's drivers leave them, many joined in one and with
 * checksums still to be made, and a header that says so: gso.c makes frames of
 * them that any cable would carry.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <arpa/inet.h>
#include "gso.h"
#include "device.h"
#include "util.h"

/* Frames that are read in one turn of the loop. */
#define PACKET_TURN 64
/* How often an interface that is down is looked at, ms. */
#define DOWN_MS 200
#define PACKET_BUFFER (4 << 20)
#define VLAN_TAG 4u
#define ADDRESSES_SIZE 12u

/* A joined frame may hold 64 KB and its headers. */
#define FRAME_ROOM (UINT16_MAX + 256u)

struct received {
	struct virtio_net_hdr head;
	uint8_t bytes[VLAN_TAG +
		      FRAME_ROOM]; /* room for the tag that the kernel took out, and a frame */
};

/* Of others, to all or to others: neither the host's own nor what leaves it. */
static const struct sock_filter of_others[] = {
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

static int set_option(int fd, int option, const void *value, socklen_t size)
{
	return setsockopt(fd, SOL_PACKET, option, value, size) < 0 ? -errno : 0;
}

/* Everything is set before the socket is bound, so that it gets nothing else. */
static int prepare(int fd)
{
	struct sock_filter filter[ARRAY_SIZE(of_others)];
	const struct sock_fprog program = {.len = ARRAY_SIZE(of_others), .filter = filter};
	const int on = 1;
	const int size = PACKET_BUFFER;
	int err = set_option(fd, PACKET_VNET_HDR, &on, sizeof(on));

	memcpy(filter, of_others, sizeof(filter));
	if (!err)
		err = set_option(fd, PACKET_AUXDATA, &on, sizeof(on));
	if (!err && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		err = -errno;
	/* As much as the host allows. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return err;
}

static int check_up(int fd, const char *interface)
{
	struct ifreq request;
	int err = device_request(&request, interface);

	if (err)
		return err;
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	return request.ifr_flags & IFF_UP ? 0 : -ENETDOWN;
}

static int attach(int fd, const struct device *link)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = link->index,
	};
	const struct packet_mreq all = {.mr_ifindex = link->index, .mr_type = PACKET_MR_PROMISC};

	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return set_option(fd, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
}

static int open_on(struct uplink *uplink, int fd, const char *interface)
{
	int err = prepare(fd);

	if (!err)
		err = device_make(uplink, fd, fd, interface);
	if (err)
		return err;
	err = attach(fd, uplink->link);
	if (err) {
		uplink->link->fd = -1;
		device_close(uplink);
	}
	return err;
}

int packet_open(struct uplink *uplink, const char *interface)
{
	cleanup_fd int named = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* What the interface lacks is told to those as well who may not open it. */
	int err = check_up(named, interface);
	int fd;

	if (err)
		return err;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = open_on(uplink, fd, interface);
	if (err)
		fd_close(&fd);
	return err;
}

static void packet_send(struct uplink *uplink, uint8_t *frame, size_t len)
{
	struct virtio_net_hdr whole = {0};
	struct iovec parts[] = {
		{.iov_base = &whole, .iov_len = sizeof(whole)},
		{.iov_base = frame, .iov_len = len},
	};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};

	device_sent(uplink, len, sendmsg(uplink->link->fd, &message, 0));
}

/* --- receiving --------------------------------------------------------------- */

/* The tag that the kernel took out of a frame: what it tells of it; NULL where there was none. */
static const struct tpacket_auxdata *tag_of(struct msghdr *message)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
	     part = CMSG_NXTHDR(message, part)) {
		const struct tpacket_auxdata *data = (const void *)CMSG_DATA(part);

		if (part->cmsg_level == SOL_PACKET && part->cmsg_type == PACKET_AUXDATA)
			return data->tp_status & TP_STATUS_VLAN_VALID ? data : NULL;
	}
	return NULL;
}

/* Puts a tag back between the addresses and the type: the frame begins 4 bytes earlier. */
static uint8_t *put_tag(struct received *received, const struct tpacket_auxdata *tag)
{
	uint8_t *frame = received->bytes;
	uint16_t type = tag->tp_status & TP_STATUS_VLAN_TPID_VALID ? tag->tp_vlan_tpid : 0x8100;
	uint16_t tagged[2] = {htons(type), htons(tag->tp_vlan_tci)};

	memmove(frame, frame + VLAN_TAG, ADDRESSES_SIZE);
	memcpy(frame + ADDRESSES_SIZE, tagged, sizeof(tagged));
	received->head.csum_start = (uint16_t)(received->head.csum_start + VLAN_TAG);
	return frame;
}

static void cut_done(void *context, const uint8_t *frame, size_t len)
{
	device_received(context, frame, len);
}

static void received_handler(struct uplink *uplink, struct received *received, size_t len,
			     const struct tpacket_auxdata *tag)
{
	uint8_t *frame = received->bytes + VLAN_TAG;
	struct gso gso;

	if (tag) {
		frame = put_tag(received, tag);
		len += VLAN_TAG;
	}
	gso = (struct gso){
		.flags = received->head.flags,
		.type = received->head.gso_type,
		.size = received->head.gso_size,
		.csum_start = received->head.csum_start,
		.csum_offset = received->head.csum_offset,
	};
	if (gso_cut(&gso, frame, len, cut_done, uplink) < 0)
		uplink->counters.rx_dropped++;
}

/* 1; 0 where nothing more has come; or an error. */
static int receive(struct uplink *uplink)
{
	static struct received received;
	uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec parts[] = {
		{.iov_base = &received.head, .iov_len = sizeof(received.head)},
		{.iov_base = received.bytes + VLAN_TAG, .iov_len = FRAME_ROOM},
	};
	struct msghdr message = {
		.msg_iov = parts,
		.msg_iovlen = ARRAY_SIZE(parts),
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t len = recvmsg(uplink->link->fd, &message, 0);

	/* What has no such header can't be received, and is lost; so is a frame in memory's want. */
	if (len < 0)
		return errno == EAGAIN ? 0 : errno == ENETDOWN ? -ENETDOWN : 1;
	if ((size_t)len < sizeof(received.head) || message.msg_flags & MSG_TRUNC) {
		uplink->counters.rx_dropped++;
		return 1;
	}
	received_handler(uplink, &received, (size_t)len - sizeof(received.head), tag_of(&message));
	return 1;
}

/*
 * An interface that goes away goes down before, and the socket is told of the first only:
 * one that is down is looked at until it is up again.
 */
static int check_down(struct uplink *uplink)
{
	struct device *link = uplink->link;
	struct ifreq request = {.ifr_ifindex = link->index};

	if (ioctl(link->fd, SIOCGIFNAME, &request) < 0)
		return -ENODEV;
	link->down = ioctl(link->fd, SIOCGIFFLAGS, &request) < 0 || !(request.ifr_flags & IFF_UP);
	return 0;
}

static int packet_watch(struct uplink *uplink, int *timeout)
{
	int err = device_watch(uplink, timeout);

	if (uplink->link->down)
		*timeout = DOWN_MS;
	return err;
}

static int packet_ready(struct uplink *uplink)
{
	int got = 1;

	if (!device_is_ready(uplink))
		return uplink->link->down ? check_down(uplink) : 0;
	for (int i = 0; i < PACKET_TURN && got == 1 && (i == 0 || device_has_room(uplink)); i++)
		got = receive(uplink);
	if (got == -ENETDOWN)
		got = check_down(uplink);
	return got < 0 ? got : uplink->failed;
}

const struct way way_packet = {
	.name = "packet",
	.send = packet_send,
	.watch = packet_watch,
	.ready = packet_ready,
	.close = device_close,
};
