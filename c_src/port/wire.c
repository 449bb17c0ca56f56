/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: an incremental reader and a queue that never blocks
 *
 * Theory of operation.  A frame is a length of 4 bytes in network order and
 * that many bytes.  The reader's buffer holds two frames of the greatest size,
 * so that the first part of a frame is seldom moved to make room for the rest; a
 * longer frame is refused when its length has been read.  The queue is a list
 * of blocks with whole frames, so that many small ones cost one writev().
 * Bulk bytes are added to the frame queued last where that is of the same
 * stream and still unsent: a guest that writes byte by byte costs the BEAM one
 * message a wake-up, and a BEAM that is late gets fewer and larger ones.
 *
 * A pipe that was full is made larger, so that bulk is fewer wake-ups.  Not before:
 * the host allows a user so much in all, from which on each new pipe of any of the
 * user's programs has two pages, and sixty machines that only wait would use it up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "evum_proto.h"
#include "util.h"
#include "wire.h"

#define LENGTH_SIZE 4u
#define BUFFER_SIZE (2 * (size_t)(LENGTH_SIZE + EVUM_FRAME_MAX))
#define BLOCK_SIZE (LENGTH_SIZE + 6u + EVUM_BULK_MAX)
#define FLUSH_BLOCKS 16
#define HEAD_MAX 8u
#define PIPE_BYTES 65536u /* of a pipe, as the kernel makes it */
#define PIPE_WIDE_BYTES (4 * (int)EVUM_BULK_MAX)
#define PARTS_MAX 272 /* of a frame, its length and head in one */

struct wire_block {
	struct wire_block *next;
	size_t capacity, len, sent;
	size_t answers; /* bytes of answers to calls among len */
	uint8_t bytes[];
};

uint32_t wire_get32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

void wire_put32(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 24);
	bytes[1] = (uint8_t)(value >> 16);
	bytes[2] = (uint8_t)(value >> 8);
	bytes[3] = (uint8_t)value;
}

/* The buffer's pages cost nothing until a frame reaches them. */
int wire_init(struct wire *wire, int in, int out)
{
	*wire = (struct wire){.in = in, .out = out, .buffer = malloc(BUFFER_SIZE)};
	return wire->buffer ? 0 : -ENOMEM;
}

void wire_free(struct wire *wire)
{
	while (wire->head) {
		struct wire_block *block = wire->head;

		wire->head = block->next;
		free(block);
	}
	free(wire->spare);
	free(wire->buffer);
	*wire = (struct wire){.in = -1, .out = -1};
}

/* Makes room for the rest of a frame behind its bytes that were read. */
static void buffer_settle(struct wire *wire)
{
	size_t kept = wire->end - wire->start;

	if (kept && BUFFER_SIZE - wire->start >= LENGTH_SIZE + EVUM_FRAME_MAX)
		return;
	memmove(wire->buffer, wire->buffer + wire->start, kept);
	wire->start = 0;
	wire->end = kept;
}

/* true where it has become larger just now. */
static bool widen(int fd, bool *wide)
{
	if (*wide)
		return false;
	*wide = true;
	return fcntl(fd, F_SETPIPE_SZ, PIPE_WIDE_BYTES) >= 0;
}

int wire_read(struct wire *wire)
{
	ssize_t n;

	buffer_settle(wire);
	n = read(wire->in, wire->buffer + wire->end, BUFFER_SIZE - wire->end);
	if (n < 0)
		return -errno;
	if ((size_t)n >= PIPE_BYTES)
		widen(wire->in, &wire->in_wide);
	wire->end += (size_t)n;
	return n > 0;
}

int wire_next(struct wire *wire, struct wire_frame *frame)
{
	size_t have = wire->end - wire->start;
	uint8_t *at = wire->buffer + wire->start;
	uint32_t len;

	if (have < LENGTH_SIZE)
		return 0;
	len = wire_get32(at);
	if (len == 0 || len > EVUM_FRAME_MAX)
		return -EPROTO;
	if (have - LENGTH_SIZE < len)
		return 0;
	*frame = (struct wire_frame){.bytes = at + LENGTH_SIZE, .len = len};
	wire->start += LENGTH_SIZE + len;
	return 1;
}

/* The block that has room for size bytes more: the last one or a new one. */
static struct wire_block *wire_room(struct wire *wire, size_t size)
{
	struct wire_block *block = wire->tail;
	size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;

	if (block && block->capacity - block->len >= size)
		return block;
	block = capacity == BLOCK_SIZE ? wire->spare : NULL;
	if (block)
		wire->spare = NULL;
	else
		block = malloc(sizeof(*block) + capacity);
	if (!block)
		return NULL;
	*block = (struct wire_block){.capacity = capacity};
	if (wire->tail)
		wire->tail->next = block;
	else
		wire->head = block;
	wire->tail = block;
	return block;
}

static void block_add(struct wire *wire, const void *bytes, size_t len)
{
	if (len)
		memcpy(wire->tail->bytes + wire->tail->len, bytes, len);
	wire->tail->len += len;
	wire->queued += len;
}

/* Queues one frame of two parts; returns 0 or -ENOMEM. */
static int wire_add(struct wire *wire, const uint8_t *head, size_t head_len, const void *bytes,
		    size_t len)
{
	struct wire_block *block = wire_room(wire, LENGTH_SIZE + head_len + len);
	uint8_t length[LENGTH_SIZE];

	if (!block)
		return -ENOMEM;
	wire->last = block->len;
	wire->last_head = 0;
	wire_put32(length, (uint32_t)(head_len + len));
	block_add(wire, length, sizeof(length));
	block_add(wire, head, head_len);
	block_add(wire, bytes, len);
	return 0;
}

/*
 * Adds to the frame queued last as many of len bytes as it takes, 0 where it
 * is another stream's, an end of file, full or on its way.
 */
static size_t wire_merge(struct wire *wire, const uint8_t *head, size_t head_len, const void *bytes,
			 size_t len)
{
	struct wire_block *block = wire->tail;
	uint8_t *frame;
	size_t have;

	if (!block || wire->last_head != head_len || block->sent > wire->last)
		return 0;
	frame = block->bytes + wire->last;
	if (memcmp(frame + LENGTH_SIZE, head, head_len) != 0)
		return 0;
	have = wire_get32(frame) - head_len;
	len = min_size(len, min_size(EVUM_BULK_MAX - have, block->capacity - block->len));
	block_add(wire, bytes, len);
	wire_put32(frame, (uint32_t)(head_len + have + len));
	return len;
}

static int wire_send_bulk(struct wire *wire, const uint8_t *head, size_t head_len,
			  const uint8_t *bytes, size_t len)
{
	size_t part;
	int err;

	if (!len)
		return 0;
	part = wire_merge(wire, head, head_len, bytes, len);
	for (bytes += part, len -= part; len; bytes += part, len -= part) {
		part = min_size(len, EVUM_BULK_MAX);
		err = wire_add(wire, head, head_len, bytes, part);
		if (err)
			return err;
		wire->last_head = head_len;
	}
	return 0;
}

int wire_send_control(struct wire *wire, const char *term, size_t len, bool answer)
{
	const uint8_t head = CHANNEL_CONTROL;
	int err;

	if (len > EVUM_FRAME_MAX - sizeof(head))
		return -EMSGSIZE;
	err = wire_add(wire, &head, sizeof(head), term, len);
	if (err || !answer)
		return err;
	wire->tail->answers += LENGTH_SIZE + sizeof(head) + len;
	wire->answers += LENGTH_SIZE + sizeof(head) + len;
	return 0;
}

int wire_send_console(struct wire *wire, const void *bytes, size_t len)
{
	const uint8_t head = CHANNEL_CONSOLE;

	return wire_send_bulk(wire, &head, sizeof(head), bytes, len);
}

/* No bytes are a frame of its own: end of file. */
int wire_send_stream(struct wire *wire, uint32_t id, uint8_t fd, const void *bytes, size_t len)
{
	uint8_t head[6] = {CHANNEL_STREAM};

	wire_put32(head + 1, id);
	head[5] = fd;
	if (!len)
		return wire_add(wire, head, sizeof(head), NULL, 0);
	return wire_send_bulk(wire, head, sizeof(head), bytes, len);
}

int wire_send_credit(struct wire *wire, uint32_t id, uint8_t fd, uint32_t n)
{
	uint8_t frame[10] = {CHANNEL_CREDIT};

	wire_put32(frame + 1, id);
	frame[5] = fd;
	wire_put32(frame + 6, n);
	return wire_add(wire, frame, sizeof(frame), NULL, 0);
}

int wire_send_whole(struct wire *wire, const uint8_t *head, size_t head_len, const void *bytes,
		    size_t len)
{
	return wire_add(wire, head, head_len, bytes, len);
}

/* Queues the parts but for their first sent bytes. */
static int wire_add_rest(struct wire *wire, const struct iovec *parts, unsigned int count,
			 size_t len, size_t sent)
{
	if (!wire_room(wire, len - sent))
		return -ENOMEM;
	wire->last = wire->tail->len;
	wire->last_head = 0;
	for (unsigned int i = 0; i < count; i++) {
		size_t skip = min_size(sent, parts[i].iov_len);

		block_add(wire, (const uint8_t *)parts[i].iov_base + skip, parts[i].iov_len - skip);
		sent -= skip;
	}
	return 0;
}

int wire_send_parts(struct wire *wire, const uint8_t *head, size_t head_len,
		    const struct iovec *parts, unsigned int count, size_t len)
{
	uint8_t first[LENGTH_SIZE + HEAD_MAX];
	struct iovec all[PARTS_MAX];
	ssize_t sent = 0;

	wire_put32(first, (uint32_t)(head_len + len));
	memcpy(first + LENGTH_SIZE, head, head_len);
	all[0] = (struct iovec){.iov_base = first, .iov_len = LENGTH_SIZE + head_len};
	memcpy(all + 1, parts, count * sizeof(*parts));
	len += all[0].iov_len;
	if (!wire->head)
		sent = writev(wire->out, all, (int)count + 1);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	sent = sent < 0 ? 0 : sent;
	if ((size_t)sent == len)
		return 0;
	widen(wire->out, &wire->out_wide);
	return wire_add_rest(wire, all, count + 1, len, (size_t)sent);
}

/* Keeps one block: fresh memory for each would cost more than the copy into it. */
static void block_release(struct wire *wire, struct wire_block *block)
{
	if (!wire->spare && block->capacity == BLOCK_SIZE)
		wire->spare = block;
	else
		free(block);
}

/* Takes n written bytes from the queue's head. */
static void wire_sent(struct wire *wire, size_t n)
{
	wire->queued -= n;
	while (wire->head) {
		struct wire_block *block = wire->head;
		size_t part = min_size(n, block->len - block->sent);

		block->sent += part;
		n -= part;
		if (block->sent < block->len)
			return;
		wire->answers -= block->answers;
		wire->head = block->next;
		block_release(wire, block);
	}
	wire->tail = NULL;
}

int wire_flush(struct wire *wire)
{
	while (wire->head) {
		struct iovec parts[FLUSH_BLOCKS];
		int count = 0;
		ssize_t n;

		for (struct wire_block *block = wire->head; block && count < FLUSH_BLOCKS;
		     block = block->next)
			parts[count++] = (struct iovec){.iov_base = block->bytes + block->sent,
							.iov_len = block->len - block->sent};
		n = writev(wire->out, parts, count);
		if (n < 0 && errno == EAGAIN && wire->queued >= PIPE_BYTES &&
		    widen(wire->out, &wire->out_wide))
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		wire_sent(wire, (size_t)n);
	}
	return 0;
}
