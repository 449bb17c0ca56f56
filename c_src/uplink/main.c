/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_uplink: a network's way out, as a port program
 *
 * Frames come from a switch, and go to libslirp, a packet socket or a tap; what
 * comes from there goes to the switch.  End of file on the input is the order to
 * go: with the process go all connections and ways in.
 *
 * One wake-up: what libslirp waited for is served first, since its list of
 * descriptors is of the time before the input, which may end an instance.
 *
 * Exit status: 0 at end of file; 1 when the system fails; 2 when the peer broke
 * the protocol; 3 when the interface is gone.  1 and 2 say why on stderr, which
 * is the BEAM's.
 */
#include <ei.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "confine.h"
#include "port/start.h"
#include "port/term.h"
#include "uplink.h"
#include "util.h"

/* What the loop ends with besides errors: the BEAM is gone. */
#define UPLINK_EOF 1

#define CREDIT_FRAME 10u

static int send_hello(struct uplink *uplink)
{
	struct term_out out;
	int err = -ENOMEM;

	term_out_init(&out);
	term_put_tuple(&out, 3);
	term_put_atom(&out, "event");
	term_put_atom(&out, "hello");
	term_put_map(&out, 2);
	term_put_atom(&out, "version");
	term_put_integer(&out, UPLINK_VERSION);
	term_put_atom(&out, "os_pid");
	term_put_integer(&out, getpid());
	if (!out.failed)
		err = wire_send_control(&uplink->wire, out.x.buff, (size_t)out.x.index, false);
	term_out_free(&out);
	return err;
}

/* --- from Erlang ------------------------------------------------------------ */

static int frames_handler(struct uplink *uplink, const struct wire_frame *frame)
{
	struct batch batch;
	struct batch_frame one;

	if (batch_open(&batch, frame->bytes, frame->len) < 0 || batch.nic != UPLINK_NET)
		return -EPROTO;
	/* They crossed the answer to a call for a way out that failed. */
	if (!uplink->way)
		return 0;
	while (batch_next(&batch, &one))
		if (one.len < BATCH_FLOW)
			uplink->counters.tx_blocked++;
		else
			uplink->way->send(uplink, frame->bytes + (one.bytes - frame->bytes),
					  one.len);
	return uplink->failed;
}

static int credit_handler(struct uplink *uplink, const struct wire_frame *frame)
{
	unsigned int nic;

	if (frame->len != CREDIT_FRAME || wire_get32(frame->bytes + 1) != 0 ||
	    frame->bytes[5] < EVUM_NIC_FD)
		return -EPROTO;
	nic = frame->bytes[5] - EVUM_NIC_FD;
	if (nic >= UPLINK_NICS)
		return -EPROTO;
	return gather_credit(&uplink->gathers[nic], wire_get32(frame->bytes + 6));
}

static int frame_dispatch(struct uplink *uplink, const struct wire_frame *frame)
{
	switch (frame->bytes[0]) {
	case CHANNEL_CONTROL:
		return call_dispatch(uplink, frame);
	case CHANNEL_FRAMES:
		return frames_handler(uplink, frame);
	case CHANNEL_CREDIT:
		return credit_handler(uplink, frame);
	default:
		return -EPROTO;
	}
}

/* Reads once and handles each whole frame. */
static int in_handler(struct uplink *uplink)
{
	struct wire_frame frame;
	int err = wire_read(&uplink->wire);

	if (err == 0 || err == -ECONNRESET)
		return UPLINK_EOF;
	if (err < 0)
		return err == -EAGAIN || err == -EINTR ? 0 : err;
	while ((err = wire_next(&uplink->wire, &frame)) > 0) {
		err = frame_dispatch(uplink, &frame);
		if (err)
			return err;
	}
	return err;
}

/* --- the loop ---------------------------------------------------------------- */

/* Writes what can be written. */
static int uplink_settle(struct uplink *uplink)
{
	int err = 0;

	for (unsigned int i = 0; i < UPLINK_NICS && !err; i++)
		err = gather_flush(&uplink->gathers[i], &uplink->wire);
	return err ? err : wire_flush(&uplink->wire);
}

/* The first two entries are the peer's. */
static int uplink_watch(struct uplink *uplink, int *timeout)
{
	struct wire *wire = &uplink->wire;

	*timeout = -1;
	polls_clear(&uplink->polls);
	if (polls_add(&uplink->polls, wire->in, POLLIN) < 0 ||
	    polls_add(&uplink->polls, wire->out, wire->queued ? POLLOUT : 0) < 0)
		return -ENOMEM;
	return uplink->way ? uplink->way->watch(uplink, timeout) : 0;
}

static int uplink_wait(struct uplink *uplink, int timeout)
{
	struct polls *polls = &uplink->polls;

	if (poll(polls->fds, polls->count, timeout) >= 0)
		return 0;
	/* Nothing is ready then: the events of before mustn't be taken for it. */
	for (size_t i = 0; i < polls->count; i++)
		polls->fds[i].revents = 0;
	return errno == EINTR ? 0 : -errno;
}

static int uplink_turn(struct uplink *uplink)
{
	int timeout;
	int err = uplink_settle(uplink);

	if (!err)
		err = uplink_watch(uplink, &timeout);
	if (!err)
		err = uplink_wait(uplink, timeout);
	if (!err && uplink->way)
		err = uplink->way->ready(uplink);
	if (!err && polls_events(&uplink->polls, 1) & (POLLERR | POLLHUP))
		err = UPLINK_EOF;
	if (!err && polls_events(&uplink->polls, 0))
		err = in_handler(uplink);
	return err;
}

static int uplink_init(struct uplink *uplink)
{
	int err = wire_init(&uplink->wire, PORT_IN, PORT_OUT);

	if (!err)
		err = confine_prepare();
	for (unsigned int i = 0; i < UPLINK_NICS; i++)
		gather_init(&uplink->gathers[i], (uint8_t)i);
	return err ? err : send_hello(uplink);
}

/* The exit status, and one line about what is wrong. */
static int uplink_report(int err)
{
	if (err >= 0 || err == -EPIPE)
		return 0;
	if (err == -ENODEV)
		return 3;
	if (err == -EPROTO)
		fprintf(stderr, "evum_uplink: malformed input\n");
	else if (err == -ENOBUFS)
		fprintf(stderr, "evum_uplink: answers aren't read\n");
	else
		fprintf(stderr, "evum_uplink: %s\n", strerror(-err));
	return err == -EPROTO || err == -ENOBUFS ? 2 : 1;
}

int main(void)
{
	/* Static for its size. */
	static struct uplink uplink;
	int err;

	if (start_prepare() < 0) {
		fprintf(stderr,
			"evum_uplink: is started by Erlang, with descriptors 3 and 4 open\n");
		return 1;
	}
	ei_init();
	err = uplink_init(&uplink);
	while (!err)
		err = uplink_turn(&uplink);
	if (uplink.way)
		uplink.way->close(&uplink);
	polls_free(&uplink.polls);
	wire_free(&uplink.wire);
	return uplink_report(err);
}
