/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offers: a NIC's descriptor for another machine's port program
 *
 * Theory of operation.  The asker has a socket with an abstract address that the
 * kernel chose, and a secret for each flow that it asks for.  Both reach the
 * receiver's port program through Erlang, and from there the descriptor comes back
 * in a datagram.  Datagrams of other users are thrown away, and so is one that
 * doesn't know the secret: nobody can put a descriptor of his own under a flow.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "offers.h"
#include "util.h"

struct letter {
	uint8_t secret[OFFER_SECRET];
	uint32_t max_frame;
};

int offer_read(struct offer *offer, const uint8_t *bytes, size_t len)
{
	if (len <= OFFER_SECRET || len > OFFER_SECRET + OFFER_NAME_MAX)
		return -EPROTO;
	memcpy(offer->secret, bytes, OFFER_SECRET);
	offer->name_len = len - OFFER_SECRET;
	memcpy(offer->name, bytes + OFFER_SECRET, offer->name_len);
	return 0;
}

int mailbox_open(void)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	const int on = 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
	    bind(fd, (const struct sockaddr *)&any, sizeof(any.sun_family)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int mailbox_name(int mailbox, char *name)
{
	const size_t begin = offsetof(struct sockaddr_un, sun_path) + 1;
	struct sockaddr_un own;
	socklen_t len = sizeof(own);

	if (getsockname(mailbox, (struct sockaddr *)&own, &len) < 0)
		return -errno;
	if (len <= begin || len - begin > OFFER_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, own.sun_path + 1, len - begin);
	return (int)(len - begin);
}

void offer_send(const struct offer *offer, int fd, uint32_t max_frame)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct letter letter = {.max_frame = max_frame};
	struct iovec part = {.iov_base = &letter, .iov_len = sizeof(letter)};
	struct msghdr message = {.msg_name = &to,
				 .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
							    1 + offer->name_len),
				 .msg_iov = &part,
				 .msg_iovlen = 1};
	cleanup_fd int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (from < 0)
		return;
	memcpy(letter.secret, offer->secret, OFFER_SECRET);
	memcpy(to.sun_path + 1, offer->name, offer->name_len);
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
	}
	(void)sendmsg(from, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The first descriptor is the caller's; no others are wanted. */
static void take_descriptors(const struct cmsghdr *head, int *first)
{
	size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(head) + i * sizeof(fd), sizeof(fd));
		if (*first < 0)
			*first = fd;
		else
			close(fd);
	}
}

/* Is the sender of our user?  What descriptor came is the caller's in any case. */
static bool look_at(struct msghdr *message, int *fd)
{
	bool known = false;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head;
	     head = CMSG_NXTHDR(message, head)) {
		if (head->cmsg_level != SOL_SOCKET)
			continue;
		if (head->cmsg_type == SCM_CREDENTIALS) {
			struct ucred sender;

			memcpy(&sender, CMSG_DATA(head), sizeof(sender));
			known = sender.uid == geteuid();
		} else if (head->cmsg_type == SCM_RIGHTS) {
			take_descriptors(head, fd);
		}
	}
	return known;
}

int offer_receive(int mailbox, uint8_t secret[OFFER_SECRET], int *fd, uint32_t *max_frame)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct letter letter;
	struct iovec part = {.iov_base = &letter, .iov_len = sizeof(letter)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t len = recvmsg(mailbox, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (len < 0)
		return 0;
	/* A stranger's is one that fits no secret. */
	memset(secret, 0, OFFER_SECRET);
	if (!look_at(&message, fd) || len != sizeof(letter)) {
		fd_close(fd);
		return 1;
	}
	memcpy(secret, letter.secret, OFFER_SECRET);
	*max_frame = letter.max_frame;
	return 1;
}
