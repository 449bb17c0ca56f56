/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's NICs: frames between the guest and the wire
 *
 * Theory of operation.  A frame is touched as seldom as can be: it is read from
 * the guest's socket into a slot, many by one call, and written from there, with
 * its neighbours that have the same header, as one message; what comes is written
 * to the guest's socket from the wire's own buffer, many by one call.  Only what
 * the other side doesn't take at once is copied, into a queue.
 *
 * Both queues have bounds.  Towards Erlang it is the NIC's credit: without it the
 * guest's socket isn't read, and its kernel waits.  Towards the guest nobody can
 * wait, since control comes the same way as frames: a guest that doesn't read has
 * EVUM_NIC_QUEUE bytes waiting for it, and loses what is more.
 *
 * The guest may send what it likes: a frame that no Ethernet of its MTU has is
 * counted and goes nowhere.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "batch.h"
#include "port.h"
#include "util.h"

_Static_assert(FRAMES_BYTES >= BATCH_LENGTH + EVUM_NIC_MTU_MAX + EVUM_NIC_OVERHEAD,
	       "the longest frame has a slot");

void frames_init(struct frames *frames, const struct evum_config *config)
{
	frames->count = config->nic_count;
	for (unsigned int i = 0; i < frames->count; i++)
		frames->nics[i] = (struct nic){
			.fd = -1,
			.max_frame = config->nics[i].mtu + EVUM_NIC_OVERHEAD,
			.credit = EVUM_NIC_WINDOW,
		};
}

/* --- from the guest ---------------------------------------------------------- */

static size_t slot_size(const struct nic *nic)
{
	return BATCH_LENGTH + nic->max_frame;
}

static uint8_t *slot(struct frames *frames, const struct nic *nic, unsigned int number)
{
	return frames->slots + number * slot_size(nic);
}

/* How many frames may be read now, should each be a message of its own. */
static unsigned int readable(const struct port *port, unsigned int number)
{
	const struct nic *nic = &port->frames.nics[number];
	size_t slots = min_size(FRAMES_BYTES / slot_size(nic), FRAMES_AT_ONCE);

	if (flows_hold(&port->flows, number))
		return 0;
	return (unsigned int)min_size(slots, nic->credit / (BATCH_HEAD + slot_size(nic)));
}

int frames_send(struct port *port, unsigned int number, const struct iovec *parts,
		unsigned int count)
{
	struct nic *nic = &port->frames.nics[number];
	uint8_t head[BATCH_HEAD];
	size_t len = 0;

	for (unsigned int i = 0; i < count; i++)
		len += parts[i].iov_len;
	/* Of frames that were just read there is enough. */
	if (nic->credit < sizeof(head) + len) {
		nic->counters.rx_dropped += count;
		return 0;
	}
	batch_put_head(head, (uint8_t)number, count);
	nic->credit -= (uint32_t)(sizeof(head) + len);
	return wire_send_parts(&port->wire, head, sizeof(head), parts, count, len);
}

/* Sends count frames of the same addresses on their way. */
static int send_group(struct port *port, unsigned int number, const struct iovec *parts,
		      unsigned int count)
{
	const uint8_t *frame = (const uint8_t *)parts->iov_base + BATCH_LENGTH;
	struct flow *flow = flows_find(&port->flows, number, frame);

	if (flow)
		return flows_send(port, flow, parts, count);
	return frames_send(port, number, parts, count);
}

static bool joins(const struct iovec *first, const struct iovec *part, size_t len)
{
	return BATCH_HEAD + len + part->iov_len <= EVUM_FRAME_MAX &&
	       batch_same_flow((const uint8_t *)first->iov_base + BATCH_LENGTH,
			       (const uint8_t *)part->iov_base + BATCH_LENGTH);
}

/* Neighbours of one flow are one message. */
static int send_groups(struct port *port, unsigned int number, const struct iovec *parts,
		       unsigned int count)
{
	unsigned int taken = 0;

	while (taken < count) {
		const struct iovec *first = parts + taken;
		unsigned int size = 1;
		size_t len = first->iov_len;
		int err;

		for (; taken + size < count && joins(first, first + size, len); size++)
			len += first[size].iov_len;
		err = send_group(port, number, first, size);
		if (err)
			return err;
		taken += size;
	}
	return 0;
}

/* The slots of what is a frame, in order.  An end of file looks like an empty packet. */
static unsigned int choose(struct frames *frames, struct nic *nic, const struct burst *burst,
			   struct iovec *parts)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < burst->count; i++) {
		size_t len = burst->messages[i].msg_len;
		uint8_t *at = slot(frames, nic, i);

		if (len < BATCH_FLOW || len > nic->max_frame) {
			nic->counters.rx_bad += len > 0;
			continue;
		}
		batch_put_length(at, len);
		nic->counters.rx_frames++;
		nic->counters.rx_bytes += len;
		parts[count++] = (struct iovec){.iov_base = at, .iov_len = BATCH_LENGTH + len};
	}
	return count;
}

static int receive(struct port *port, unsigned int number)
{
	struct frames *frames = &port->frames;
	struct nic *nic = &frames->nics[number];
	struct iovec parts[FRAMES_AT_ONCE];
	const unsigned int most = readable(port, number);
	struct burst burst;
	int received, err;

	burst.count = 0;
	while (burst.count < most)
		burst_add(&burst, slot(frames, nic, burst.count) + BATCH_LENGTH, nic->max_frame);
	received = recvmmsg(nic->fd, burst.messages, burst.count, MSG_DONTWAIT | MSG_TRUNC, NULL);
	if (received <= 0)
		return 0;
	burst.count = (unsigned int)received;
	/* A word that ends a flow was said before the guest sent what came after it. */
	err = port->flows.used ? input_first(port) : 0;
	if (err)
		return err;
	return send_groups(port, number, parts, choose(frames, nic, &burst, parts));
}

int frames_credit(struct port *port, unsigned int number, uint32_t n)
{
	struct nic *nic;

	if (number >= port->frames.count)
		return -EPROTO;
	nic = &port->frames.nics[number];
	if (n > EVUM_NIC_WINDOW - nic->credit)
		return -EPROTO;
	nic->credit += n;
	return 0;
}

/* --- to the guest ------------------------------------------------------------ */

/* Writes what the guest takes now; returns how many frames that was. */
static unsigned int write_burst(struct nic *nic, struct burst *burst)
{
	unsigned int count = burst_send(nic->fd, burst);

	nic->counters.tx_frames += count;
	nic->counters.tx_bytes += burst_bytes(burst, count);
	return count;
}

/* What waits goes first: then nothing is sent before it. */
static void burst_deliver(struct nic *nic, struct burst *burst)
{
	unsigned int sent = nic->queue.len ? 0 : write_burst(nic, burst);

	for (unsigned int i = sent; i < burst->count; i++)
		nic->counters.tx_dropped += !queue_add(&nic->queue, EVUM_NIC_QUEUE,
						       burst->parts[i].iov_base,
						       burst->parts[i].iov_len);
}

static bool fits(const struct nic *nic, const struct batch_frame *frame)
{
	return frame->len >= BATCH_FLOW && frame->len <= nic->max_frame;
}

int frames_deliver(struct port *port, const struct wire_frame *message)
{
	struct batch_frame frame;
	struct burst burst;
	struct batch batch;
	struct nic *nic;

	if (batch_open(&batch, message->bytes, message->len) < 0 || batch.nic >= port->frames.count)
		return -EPROTO;
	nic = &port->frames.nics[batch.nic];
	burst.count = 0;
	while (batch_next(&batch, &frame)) {
		if (nic->fd < 0 || nic->hung || !fits(nic, &frame)) {
			nic->counters.tx_dropped++;
			continue;
		}
		burst_add(&burst, frame.bytes, frame.len);
		if (burst.count == FRAMES_AT_ONCE || !batch.count) {
			burst_deliver(nic, &burst);
			burst.count = 0;
		}
	}
	if (burst.count)
		burst_deliver(nic, &burst);
	return 0;
}

/* --- what other machines' port programs ask for --------------------------------- */

static void answer_offers(struct nic *nic, int fd)
{
	for (unsigned int i = 0; i < nic->offer_count; i++)
		offer_send(&nic->offers[i], fd, (uint32_t)nic->max_frame);
	nic->offer_count = 0;
}

bool frames_is_up(const struct frames *frames, unsigned int number)
{
	return frames->nics[number].fd >= 0 && !frames->nics[number].hung;
}

/* What waits here was sent before the offer was asked for. */
void frames_offer(struct port *port, unsigned int number, const struct offer *offer)
{
	struct nic *nic = &port->frames.nics[number];

	if (!frames_is_up(&port->frames, number) || nic->offer_count == OFFERS_MAX) {
		offer_send(offer, -1, 0);
		return;
	}
	nic->offers[nic->offer_count++] = *offer;
	if (!nic->queue.len)
		answer_offers(nic, nic->fd);
}

/*
 * Sends from the queue what the guest takes by now.  A frame that it never takes
 * is dropped: nothing may wait behind it.
 */
static void drain(struct nic *nic)
{
	unsigned int sent;
	struct burst burst;

	queue_peek(&nic->queue, &burst);
	sent = write_burst(nic, &burst);
	if (!sent && is_refusal(errno)) {
		nic->counters.tx_dropped++;
		sent = 1;
	}
	for (unsigned int i = 0; i < sent; i++)
		queue_take(&nic->queue);
	if (!nic->queue.len)
		answer_offers(nic, nic->fd);
}

/* --- the link ---------------------------------------------------------------- */

static void nic_forget(struct port *port, struct nic *nic)
{
	if (nic->fd >= 0 && !nic->hung)
		epoll_ctl(port->epoll, EPOLL_CTL_DEL, nic->fd, NULL);
	nic->counters.tx_dropped += queue_free(&nic->queue);
	answer_offers(nic, -1);
	nic->fd = -1;
}

int frames_link(struct port *port, unsigned int number, int fd)
{
	struct epoll_event event = {.data.u32 = SOURCE_NIC + number};
	struct nic *nic = &port->frames.nics[number];
	int err = flows_close(port, number);

	nic_forget(port, nic);
	nic->fd = fd;
	nic->hung = false;
	nic->armed = 0;
	if (err || fd < 0)
		return err;
	return epoll_ctl(port->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int frames_handler(struct port *port, unsigned int number, uint32_t events)
{
	struct nic *nic = &port->frames.nics[number];

	/* It may have gone since epoll_wait(). */
	if (nic->fd < 0 || nic->hung)
		return 0;
	/* libevum will say so; until then there is nothing to wait for. */
	if (events & (EPOLLHUP | EPOLLERR) && has_hung(nic->fd)) {
		epoll_ctl(port->epoll, EPOLL_CTL_DEL, nic->fd, NULL);
		nic->hung = true;
		return 0;
	}
	if (events & EPOLLOUT && nic->queue.len)
		drain(nic);
	return events & EPOLLIN && readable(port, number) ? receive(port, number) : 0;
}

int frames_settle(struct port *port, bool may_read)
{
	int err = 0;

	for (unsigned int i = 0; i < port->frames.count && !err; i++) {
		struct nic *nic = &port->frames.nics[i];
		uint32_t events = (may_read && readable(port, i) ? EPOLLIN : 0u) |
				  (nic->queue.len ? EPOLLOUT : 0u);
		struct epoll_event event = {.events = events, .data.u32 = SOURCE_NIC + i};

		if (nic->fd < 0 || nic->hung || nic->armed == events)
			continue;
		err = epoll_ctl(port->epoll, EPOLL_CTL_MOD, nic->fd, &event) < 0 ? -errno : 0;
		nic->armed = events;
	}
	return err;
}

void frames_free(struct port *port)
{
	for (unsigned int i = 0; i < port->frames.count; i++)
		nic_forget(port, &port->frames.nics[i]);
}
