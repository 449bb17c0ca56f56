/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between evum-attach and the BEAM: buffers and bounds
 */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Takes over fd, a connected stream socket.  0 or -errno. */
int link_init(struct link *link, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	link->fd = fd;
	link->ended = false;
	link->in_len = 0;
	link->out_len = 0;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* How many bytes the next frame may carry. */
size_t link_room(const struct link *link)
{
	size_t left = sizeof(link->out) - link->out_len;

	return left > 5 ? left - 5 : 0;
}

/* Queues a frame.  0, or -ENOBUFS where it doesn't fit: ask link_room() first. */
int link_send(struct link *link, uint8_t type, const void *bytes, size_t len)
{
	unsigned char *out = link->out + link->out_len;
	uint32_t length = htonl((uint32_t)(len + 1));

	if (len > link_room(link) || len >= LINK_FRAME_MAX)
		return -ENOBUFS;
	memcpy(out, &length, sizeof(length));
	out[4] = type;
	if (len)
		memcpy(out + 5, bytes, len);
	link->out_len += 5 + len;
	return 0;
}

/* Writes what the socket takes of the queue.  0; -errno: nobody reads there any more. */
int link_flush(struct link *link)
{
	while (link->out_len) {
		ssize_t n = send(link->fd, link->out, link->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		link->out_len -= (size_t)n;
		memmove(link->out, link->out + n, link->out_len);
	}
	return 0;
}

/* Hands on the whole frames of the buffer and keeps the rest. */
static int link_deliver(struct link *link, link_handler *handler, void *ctx)
{
	size_t done = 0;
	int err = 0;

	while (!err && link->in_len - done >= 5) {
		uint32_t length;

		memcpy(&length, link->in + done, sizeof(length));
		length = ntohl(length);
		if (length == 0 || length > LINK_FRAME_MAX)
			return -EPROTO;
		if (link->in_len - done - 4 < length)
			break;
		err = handler(ctx, link->in[done + 4], link->in + done + 5, length - 1);
		done += 4 + length;
	}
	link->in_len -= done;
	memmove(link->in, link->in + done, link->in_len);
	return err;
}

/*
 * Reads once and calls handler for each whole frame.  0, also at the end of
 * file, which sets ended; -EPROTO for a frame out of bounds, or what the
 * handler returned.
 */
int link_receive(struct link *link, link_handler *handler, void *ctx)
{
	ssize_t n = recv(link->fd, link->in + link->in_len, sizeof(link->in) - link->in_len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		link->ended = true;
		return 0;
	}
	link->in_len += (size_t)n;
	return link_deliver(link, handler, ctx);
}
