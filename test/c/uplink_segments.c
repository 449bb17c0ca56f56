/* SPDX-License-Identifier: Apache-2.0 */
/* How many segments may come ahead of a part that is missing */
#include <stdbool.h>
#include "check.h"
#include "segments.h"
#include "uplink_guest.h"

#define SERVER 0xc0000201u

static struct peer peer;
static struct guest guest = {&peer, {2, 'e', 'v', 'u', 1}, 0x0a4d0002};
static struct segments segments;

static struct guest_tcp stream(uint16_t port)
{
	return (struct guest_tcp){.guest = &guest, .ip = SERVER, .port = port, .other_port = 80};
}

/* May the machine's segment of len bytes at sequence pass? */
static bool take(uint16_t port, uint32_t sequence, size_t len)
{
	static const uint8_t data[100];
	struct guest_tcp tcp = stream(port);
	uint8_t frame[200];

	tcp.next = sequence;
	return segments_take(&segments, frame, guest_make_tcp(&tcp, frame, TH_ACK, data, len));
}

/* libslirp acknowledges what is before next. */
static void acknowledge(uint16_t port, uint32_t next, uint8_t flags)
{
	struct guest server = {&peer, {2, 'e', 'v', 'u', 2}, SERVER};
	struct guest_tcp tcp = {
		.guest = &server, .ip = guest.ip, .port = 80, .other_port = port, .seen = next};
	uint8_t frame[200];

	segments_made(&segments, frame, guest_make_tcp(&tcp, frame, flags, NULL, 0));
}

static void forget_all(void)
{
	memset(&segments, 0, sizeof(segments));
}

static void what_is_in_order_or_unknown_passes(void)
{
	forget_all();
	CHECK(take(1, 5000, 10));
	acknowledge(1, 0xfffffff0, TH_ACK);
	for (unsigned int i = 0; i < 1000; i++)
		CHECK(take(1, 0xfffffff0, 10) && take(1, 0xffffff00, 10) && take(1, 7, 0));
	CHECK(segments.ahead == 0);
}

static void so_many_may_come_ahead(void)
{
	forget_all();
	acknowledge(1, 0xfffffff0, TH_ACK);
	for (uint32_t i = 0; i < STREAM_AHEAD_MAX; i++)
		CHECK(take(1, 0xfffffff2 + 2 * i, 1));
	CHECK(!take(1, 1000, 1));
	/* The missing part passes; other connections are none the worse. */
	CHECK(take(1, 0xfffffff0, 2));
	acknowledge(2, 100, TH_ACK);
	CHECK(take(2, 200, 1));
	/* A part of them is acknowledged: the rest is still kept. */
	acknowledge(1, 10, TH_ACK);
	CHECK(!take(1, 1000, 1));
	acknowledge(1, 0xfffffff2 + 2 * STREAM_AHEAD_MAX, TH_ACK);
	CHECK(take(1, 1000, 1) && segments.ahead == 2);
	acknowledge(1, 0, TH_RST);
	CHECK(segments.ahead == 1);
}

static void all_of_a_machine_have_a_bound(void)
{
	unsigned int taken = 0;

	forget_all();
	for (uint16_t port = 1; port <= 100; port++) {
		acknowledge(port, 100, TH_ACK);
		for (uint32_t i = 0; i < STREAM_AHEAD_MAX; i++)
			taken += take(port, 200 + 2 * i, 1);
	}
	CHECK(taken == STREAMS_AHEAD_MAX && segments.ahead == taken);
	for (uint16_t port = 1; port <= 100; port++)
		CHECK(take(port, 100, 1));
}

static void the_oldest_is_forgotten(void)
{
	forget_all();
	for (uint32_t port = 0; port < 3 * STREAMS_MAX; port++) {
		acknowledge((uint16_t)port, 100, TH_ACK);
		CHECK(take((uint16_t)port, 200, 1));
		acknowledge((uint16_t)port, 100, TH_ACK);
		if (port >= STREAMS_AHEAD_MAX - 1)
			acknowledge((uint16_t)(port + 1 - STREAMS_AHEAD_MAX), 201, TH_ACK);
	}
	CHECK(segments.made == 3 * STREAMS_MAX && segments.ahead < STREAMS_AHEAD_MAX);
	for (uint32_t port = 3 * STREAMS_MAX - 10; port < 3 * STREAMS_MAX; port++)
		acknowledge((uint16_t)port, 100, TH_ACK);
	CHECK(segments.made == 3 * STREAMS_MAX);
}

int main(void)
{
	what_is_in_order_or_unknown_passes();
	so_many_may_come_ahead();
	all_of_a_machine_have_a_bound();
	the_oldest_is_forgotten();
	return 0;
}
