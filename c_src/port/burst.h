/* SPDX-License-Identifier: Apache-2.0 */
/* Bursts: frames that one system call reads or writes, and the queue of what it doesn't */
#ifndef EVUM_BURST_H
#define EVUM_BURST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Frames that are read or written by one system call. */
#define FRAMES_AT_ONCE 256

/* A call of recvmmsg() or sendmmsg(). */
struct burst {
	struct mmsghdr messages[FRAMES_AT_ONCE];
	struct iovec parts[FRAMES_AT_ONCE];
	unsigned int count;
};

void burst_add(struct burst *burst, const uint8_t *bytes, size_t len);
/* Writes what fd takes now: how many frames; 0 leaves errno. */
unsigned int burst_send(int fd, struct burst *burst);
/* Bytes of the first count frames. */
size_t burst_bytes(const struct burst *burst, unsigned int count);

/* No room is no refusal; what else send(2) says, it would say again. */
bool is_refusal(int err);
/* An event may be of the descriptor that had its number when epoll_wait() returned. */
bool has_hung(int fd);

/* Frames as in a batch, first bytes into the memory; without memory there are none. */
struct queue {
	uint8_t *memory;
	size_t first, len;
};

/* Keeps a frame where len stays within bound; memory is twice that. */
bool queue_add(struct queue *queue, size_t bound, const uint8_t *frame, size_t len);
/* The frames at its head, as many as a burst takes. */
void queue_peek(const struct queue *queue, struct burst *burst);
/* The frame at its head has gone. */
void queue_take(struct queue *queue);
/* Forgets all: how many frames that was. */
unsigned int queue_free(struct queue *queue);

#endif
