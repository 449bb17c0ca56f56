/* SPDX-License-Identifier: Apache-2.0 */
/* Bursts: frames that one system call reads or writes, and the queue of what it doesn't */
#include "burst.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "batch.h"

void burst_add(struct burst *burst, const uint8_t *bytes, size_t len)
{
	struct iovec *part = &burst->parts[burst->count];

	*part = (struct iovec){.iov_base = (void *)bytes, .iov_len = len};
	burst->messages[burst->count++] =
		(struct mmsghdr){.msg_hdr = {.msg_iov = part, .msg_iovlen = 1}};
}

unsigned int burst_send(int fd, struct burst *burst)
{
	int sent = sendmmsg(fd, burst->messages, burst->count, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent > 0 ? (unsigned int)sent : 0;
}

size_t burst_bytes(const struct burst *burst, unsigned int count)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < count; i++)
		bytes += burst->parts[i].iov_len;
	return bytes;
}

bool is_refusal(int err)
{
	return err != EAGAIN && err != EINTR && err != ENOBUFS && err != ENOMEM;
}

bool has_hung(int fd)
{
	struct pollfd asked = {.fd = fd};

	return poll(&asked, 1, 0) > 0;
}

/* Room behind what waits: it is moved to the front seldom, by the memory's other half. */
static void queue_settle(struct queue *queue)
{
	memmove(queue->memory, queue->memory + queue->first, queue->len);
	queue->first = 0;
}

bool queue_add(struct queue *queue, size_t bound, const uint8_t *frame, size_t len)
{
	size_t size = BATCH_LENGTH + len;
	uint8_t *at;

	if (!queue->memory)
		queue->memory = malloc(2 * bound);
	if (!queue->memory || queue->len + size > bound)
		return false;
	if (queue->first + queue->len + size > 2 * bound)
		queue_settle(queue);
	at = queue->memory + queue->first + queue->len;
	batch_put_length(at, len);
	memcpy(at + BATCH_LENGTH, frame, len);
	queue->len += size;
	return true;
}

void queue_peek(const struct queue *queue, struct burst *burst)
{
	size_t at = 0;

	burst->count = 0;
	while (burst->count < FRAMES_AT_ONCE && at < queue->len) {
		const uint8_t *length = queue->memory + queue->first + at;
		size_t frame = batch_get_length(length);

		burst_add(burst, length + BATCH_LENGTH, frame);
		at += BATCH_LENGTH + frame;
	}
}

void queue_take(struct queue *queue)
{
	size_t size = BATCH_LENGTH + batch_get_length(queue->memory + queue->first);

	queue->first += size;
	queue->len -= size;
	if (!queue->len)
		queue->first = 0;
}

unsigned int queue_free(struct queue *queue)
{
	unsigned int count = 0;

	for (; queue->len; count++)
		queue_take(queue);
	free(queue->memory);
	*queue = (struct queue){0};
	return count;
}
