/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: frames that go to another machine without Erlang on their way
 *
 * Theory of operation.  A flow is two addresses: frames of a NIC that carry them are
 * written to the receiver's socket, whose descriptor its port program has offered.
 * Which flows there are is Erlang's to say, and a word of it ends one: then its
 * frames go to Erlang again, as all others do.
 *
 * No frame overtakes another.  While a flow is asked for, its NIC isn't read: the
 * question that goes through Erlang to the receiver travels behind the frames that
 * were sent before it, and the receiver answers when it has written them.
 *
 * Nothing is lost for a receiver that is late: what it doesn't take is held, and the
 * NIC isn't read, so its guest waits.  One that needs more than FLOW_HOLD_MS
 * would hold up the guest's other neighbours: its flow ends, and what was held goes
 * through Erlang, where it is queued and counted.
 */
#include "flows.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include "batch.h"
#include "port.h"
#include "util.h"

/* How long a NIC isn't read for an offer that doesn't come. */
#define FLOW_OFFER_MS 50
/* How long it isn't read until a receiver has taken all that is held. */
#define FLOW_HOLD_MS 50
/* Counts aren't older when nobody asks for them. */
#define FLOW_REPORT_MS 1000

/* Channel, operation, NIC and id. */
#define FLOW_HEAD 11u
#define FLOW_COUNTS 16u

void flows_init(struct flows *flows)
{
	*flows = (struct flows){.mailbox = -1};
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void put64(uint8_t *bytes, uint64_t value)
{
	wire_put32(bytes, (uint32_t)(value >> 32));
	wire_put32(bytes + 4, (uint32_t)value);
}

static uint64_t get64(const uint8_t *bytes)
{
	return (uint64_t)wire_get32(bytes) << 32 | wire_get32(bytes + 4);
}

static int tell(struct port *port, uint8_t op, unsigned int nic, uint64_t id, const uint8_t *rest,
		size_t len)
{
	uint8_t head[FLOW_HEAD] = {CHANNEL_FLOW, op, (uint8_t)nic};

	put64(head + 3, id);
	return wire_send_whole(&port->wire, head, sizeof(head), rest, len);
}

/* Without a deadline it waits for nothing. */
static void wait_until(struct flows *flows, struct flow *flow, int64_t deadline)
{
	flows->waiting -= flow->deadline != 0;
	flows->waiting += deadline != 0;
	flow->deadline = deadline;
}

static bool has_addresses(const struct flow *flow, unsigned int nic, const uint8_t *addresses)
{
	return flow->nic == nic && memcmp(flow->addresses, addresses, FLOW_ADDRESSES) == 0;
}

struct flow *flows_find(struct flows *flows, unsigned int nic, const uint8_t *frame)
{
	/* Neighbours are mostly of one flow. */
	for (unsigned int i = 0; i < flows->used; i++) {
		unsigned int number = (flows->last + i) % flows->used;
		struct flow *flow = &flows->flows[number];

		if (flow->state != FLOW_OPEN || !has_addresses(flow, nic, frame))
			continue;
		flows->last = number;
		return flow;
	}
	return NULL;
}

bool flows_hold(const struct flows *flows, unsigned int nic)
{
	for (unsigned int i = 0; flows->waiting && i < flows->used; i++)
		if (flows->flows[i].deadline && flows->flows[i].nic == nic)
			return true;
	return false;
}

int flows_timeout(const struct flows *flows)
{
	int64_t first = flows->report_at ? flows->report_at : INT64_MAX;

	if (!flows->waiting && !flows->report_at)
		return -1;
	for (unsigned int i = 0; flows->waiting && i < flows->used; i++)
		if (flows->flows[i].deadline && flows->flows[i].deadline < first)
			first = flows->flows[i].deadline;
	first -= now_ms();
	return first > 0 ? (int)first : 0;
}

/* --- the end ------------------------------------------------------------------- */

/* What was held goes the other way. */
static int release_queue(struct port *port, struct flow *flow)
{
	int err = 0;

	while (flow->queue.len && !err) {
		uint8_t *at = flow->queue.memory + flow->queue.first;
		struct iovec part = {.iov_base = at,
				     .iov_len = BATCH_LENGTH + batch_get_length(at)};

		err = frames_send(port, flow->nic, &part, 1);
		queue_take(&flow->queue);
	}
	queue_free(&flow->queue);
	return err;
}

static void take_counts(struct flow *flow, uint8_t counts[FLOW_COUNTS])
{
	put64(counts, flow->frames);
	put64(counts + 8, flow->bytes);
	flow->frames = flow->bytes = 0;
}

static void close_receiver(struct port *port, struct flow *flow)
{
	/* Not left to close(): others have copies of it. */
	if (flow->fd >= 0)
		epoll_ctl(port->epoll, EPOLL_CTL_DEL, flow->fd, NULL);
	fd_close(&flow->fd);
}

static int end_flow(struct port *port, struct flow *flow, uint8_t why)
{
	struct flows *flows = &port->flows;
	uint8_t rest[FLOW_COUNTS + 1];
	int err;

	close_receiver(port, flow);
	wait_until(flows, flow, 0);
	flow->state = FLOW_FREE;
	err = release_queue(port, flow);
	while (flows->used && flows->flows[flows->used - 1].state == FLOW_FREE)
		flows->used--;
	if (err)
		return err;
	take_counts(flow, rest);
	rest[FLOW_COUNTS] = why;
	return tell(port, EVUM_FLOW_END, flow->nic, flow->id, rest, sizeof(rest));
}

/* Ends those of a NIC that have the id, or all. */
static int end_flows(struct port *port, unsigned int nic, uint64_t id, uint8_t why)
{
	int err = 0;

	for (unsigned int i = 0; i < port->flows.used && !err; i++) {
		struct flow *flow = &port->flows.flows[i];

		if (flow->state != FLOW_FREE && flow->nic == nic && (!id || flow->id == id))
			err = end_flow(port, flow, why);
	}
	return err;
}

int flows_close(struct port *port, unsigned int nic)
{
	return end_flows(port, nic, 0, EVUM_FLOW_GONE);
}

int flows_expire(struct port *port)
{
	int64_t now = port->flows.waiting || port->flows.report_at ? now_ms() : 0;
	int err = 0;

	if (port->flows.report_at && port->flows.report_at <= now)
		err = flows_report(port);
	for (unsigned int i = 0; port->flows.waiting && i < port->flows.used && !err; i++) {
		struct flow *flow = &port->flows.flows[i];

		if (flow->deadline && flow->deadline <= now)
			err = end_flow(port, flow, EVUM_FLOW_BUSY);
	}
	return err;
}

/* --- the beginning ------------------------------------------------------------- */

static int open_mailbox(struct port *port)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = SOURCE_MAILBOX};
	int fd;

	if (port->flows.mailbox >= 0)
		return 0;
	fd = mailbox_open();
	if (fd < 0)
		return fd;
	if (epoll_ctl(port->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		fd_close(&fd);
		return -EIO;
	}
	port->flows.mailbox = fd;
	return 0;
}

static struct flow *free_flow(struct flows *flows)
{
	for (unsigned int i = 0; i < FLOWS_MAX; i++) {
		if (flows->flows[i].state != FLOW_FREE)
			continue;
		if (i >= flows->used)
			flows->used = i + 1;
		return &flows->flows[i];
	}
	return NULL;
}

/* What an offer is to hold: the secret and the mailbox's name.  Its length, or an error. */
static int make_question(struct port *port, struct flow *flow, uint8_t *rest)
{
	int len = open_mailbox(port);

	if (len < 0)
		return len;
	if (getrandom(flow->secret, OFFER_SECRET, 0) != OFFER_SECRET)
		return -EIO;
	memcpy(rest, flow->secret, OFFER_SECRET);
	len = mailbox_name(port->flows.mailbox, (char *)rest + OFFER_SECRET);
	return len < 0 ? len : (int)OFFER_SECRET + len;
}

static int ask(struct port *port, unsigned int nic, uint64_t id, const uint8_t *addresses)
{
	struct flow *flow = flows_find(&port->flows, nic, addresses);
	uint8_t rest[OFFER_SECRET + OFFER_NAME_MAX];
	int len = -EAGAIN;

	if (flow) {
		len = end_flow(port, flow, EVUM_FLOW_TOLD);
		if (len < 0)
			return len;
	}
	flow = free_flow(&port->flows);
	if (flow) {
		*flow = (struct flow){.state = FLOW_ASKED, .nic = (uint8_t)nic, .id = id, .fd = -1};
		memcpy(flow->addresses, addresses, FLOW_ADDRESSES);
		wait_until(&port->flows, flow, now_ms() + FLOW_OFFER_MS);
		len = frames_is_up(&port->frames, nic) ? make_question(port, flow, rest)
						       : -ENETDOWN;
		if (len > 0)
			return tell(port, EVUM_FLOW_ASK, nic, id, rest, (size_t)len);
		return end_flow(port, flow, EVUM_FLOW_BUSY);
	}
	memset(rest, 0, FLOW_COUNTS);
	rest[FLOW_COUNTS] = EVUM_FLOW_BUSY;
	return tell(port, EVUM_FLOW_END, nic, id, rest, FLOW_COUNTS + 1);
}

static struct flow *find_asked(struct flows *flows, const uint8_t secret[OFFER_SECRET])
{
	for (unsigned int i = 0; i < flows->used; i++)
		if (flows->flows[i].state == FLOW_ASKED &&
		    memcmp(flows->flows[i].secret, secret, OFFER_SECRET) == 0)
			return &flows->flows[i];
	return NULL;
}

static int open_flow(struct port *port, struct flow *flow, int fd, uint32_t max_frame)
{
	struct epoll_event event = {.data.u32 = SOURCE_FLOW + (uint32_t)(flow - port->flows.flows)};

	flow->fd = fd;
	flow->max_frame = max_frame;
	if (fd < 0 || epoll_ctl(port->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return end_flow(port, flow, EVUM_FLOW_BUSY);
	flow->state = FLOW_OPEN;
	wait_until(&port->flows, flow, 0);
	return 0;
}

int flows_mail(struct port *port)
{
	uint8_t secret[OFFER_SECRET];
	struct flow *flow;
	uint32_t max_frame = 0;
	int fd;

	if (!offer_receive(port->flows.mailbox, secret, &fd, &max_frame))
		return 0;
	flow = find_asked(&port->flows, secret);
	if (flow)
		return open_flow(port, flow, fd, max_frame);
	fd_close(&fd);
	return 0;
}

int flows_message(struct port *port, const struct wire_frame *message)
{
	const uint8_t *rest = message->bytes + FLOW_HEAD;
	size_t len = message->len - FLOW_HEAD;
	struct offer offer;
	unsigned int nic;
	uint64_t id;

	if (message->len < FLOW_HEAD)
		return -EPROTO;
	if (!port->vm)
		return 0;
	nic = message->bytes[2];
	id = get64(message->bytes + 3);
	if (nic >= port->frames.count)
		return -EPROTO;
	switch (message->bytes[1]) {
	case EVUM_FLOW_ASK:
		return len == FLOW_ADDRESSES && id ? ask(port, nic, id, rest) : -EPROTO;
	case EVUM_FLOW_OFFER:
		if (offer_read(&offer, rest, len) < 0)
			return -EPROTO;
		frames_offer(port, nic, &offer);
		return 0;
	case EVUM_FLOW_END:
		return len == 0 ? end_flows(port, nic, id, EVUM_FLOW_TOLD) : -EPROTO;
	default:
		return -EPROTO;
	}
}

/* --- frames --------------------------------------------------------------------- */

static void count(struct flows *flows, struct flow *flow, const struct burst *burst,
		  unsigned int sent)
{
	flow->frames += sent;
	flow->bytes += burst_bytes(burst, sent);
	if (sent && !flows->report_at)
		flows->report_at = now_ms() + FLOW_REPORT_MS;
}

static bool fit(const struct flow *flow, const struct iovec *parts, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (parts[i].iov_len - BATCH_LENGTH > flow->max_frame)
			return false;
	return true;
}

/* The receiver may take more soon. */
static void hold(struct port *port, struct flow *flow, const struct burst *burst,
		 unsigned int first)
{
	for (unsigned int i = first; i < burst->count; i++)
		if (!queue_add(&flow->queue, FRAMES_BYTES, burst->parts[i].iov_base,
			       burst->parts[i].iov_len))
			port->frames.nics[flow->nic].counters.rx_dropped++;
	if (!flow->deadline)
		wait_until(&port->flows, flow, now_ms() + FLOW_HOLD_MS);
}

int flows_send(struct port *port, struct flow *flow, const struct iovec *parts, unsigned int number)
{
	struct burst burst;
	unsigned int sent = 0;

	if (!fit(flow, parts, number))
		return frames_send(port, flow->nic, parts, number);
	burst.count = 0;
	for (unsigned int i = 0; i < number; i++)
		burst_add(&burst, (uint8_t *)parts[i].iov_base + BATCH_LENGTH,
			  parts[i].iov_len - BATCH_LENGTH);
	if (!flow->queue.len)
		sent = burst_send(flow->fd, &burst);
	count(&port->flows, flow, &burst, sent);
	if (sent == number)
		return 0;
	hold(port, flow, &burst, sent);
	return 0;
}

static int drain(struct port *port, struct flow *flow)
{
	struct burst burst;
	unsigned int sent;

	queue_peek(&flow->queue, &burst);
	sent = burst_send(flow->fd, &burst);
	if (!sent && is_refusal(errno))
		return end_flow(port, flow, EVUM_FLOW_GONE);
	count(&port->flows, flow, &burst, sent);
	for (unsigned int i = 0; i < sent; i++)
		queue_take(&flow->queue);
	if (!flow->queue.len)
		wait_until(&port->flows, flow, 0);
	return 0;
}

int flows_handler(struct port *port, unsigned int number, uint32_t events)
{
	struct flow *flow = &port->flows.flows[number];

	if (flow->state != FLOW_OPEN)
		return 0;
	if (events & (EPOLLHUP | EPOLLERR) && has_hung(flow->fd))
		return end_flow(port, flow, EVUM_FLOW_GONE);
	return events & EPOLLOUT && flow->queue.len ? drain(port, flow) : 0;
}

int flows_settle(struct port *port)
{
	int err = 0;

	for (unsigned int i = 0; i < port->flows.used && !err; i++) {
		struct flow *flow = &port->flows.flows[i];
		uint32_t events = flow->queue.len ? EPOLLOUT : 0u;
		struct epoll_event event = {.events = events, .data.u32 = SOURCE_FLOW + i};

		if (flow->state != FLOW_OPEN || flow->armed == events)
			continue;
		err = epoll_ctl(port->epoll, EPOLL_CTL_MOD, flow->fd, &event) < 0 ? -errno : 0;
		flow->armed = events;
	}
	return err;
}

int flows_report(struct port *port)
{
	int err = 0;

	port->flows.report_at = 0;
	for (unsigned int i = 0; i < port->flows.used && !err; i++) {
		struct flow *flow = &port->flows.flows[i];
		uint8_t counts[FLOW_COUNTS];

		if (!flow->frames)
			continue;
		take_counts(flow, counts);
		err = tell(port, EVUM_FLOW_COUNT, flow->nic, flow->id, counts, sizeof(counts));
	}
	return err;
}

void flows_free(struct port *port)
{
	struct flows *flows = &port->flows;

	for (unsigned int i = 0; i < flows->used; i++) {
		close_receiver(port, &flows->flows[i]);
		queue_free(&flows->flows[i].queue);
	}
	if (flows->mailbox >= 0)
		epoll_ctl(port->epoll, EPOLL_CTL_DEL, flows->mailbox, NULL);
	fd_close(&flows->mailbox);
	flows_init(flows);
}
