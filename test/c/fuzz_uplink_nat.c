/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of libslirp behind the frame filter
 *
 * An input is frames, each a length of two bytes and that many, which a machine
 * sends.  In a network namespace of its own, so that nobody is reached; without
 * one nothing is done.
 */
#include <arpa/inet.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "nat.h"
#include "own_namespaces.h"
#include "uplink_guest.h"

static int nowhere;

/* Once: true where nobody can be reached. */
static bool leave_network(void)
{
	nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (own_namespaces(CLONE_NEWNET))
		return true;
	fprintf(stderr, "no network namespace: nothing is done\n");
	return false;
}

static void open_uplink(struct uplink *uplink)
{
	const struct nat_config config = {
		.gateway.s_addr = htonl(0x0a4d0001), .prefix = 24, .mtu = 1500, .ipv6 = 1};

	memset(uplink, 0, sizeof(*uplink));
	CHECK(wire_init(&uplink->wire, -1, nowhere) == 0);
	for (unsigned int i = 0; i < UPLINK_NICS; i++)
		gather_init(&uplink->gathers[i], (uint8_t)i);
	CHECK(nat_open(uplink, &config) == 0);
}

/* libslirp looks behind checksums only: they are made right. */
static void sum_up(uint8_t *frame, size_t len)
{
	size_t transport = len - 34;

	if (len < 54 || get16(frame + 12) != 0x0800 || frame[14] != 0x45)
		return;
	put16(frame + 16, len - GUEST_ETHER);
	put16(frame + 24, 0);
	put16(frame + 24, ~guest_add(0, frame + GUEST_ETHER, 20) & 0xffff);
	if (frame[23] == IPPROTO_TCP)
		guest_finish(frame, 16, transport);
	if (frame[23] == IPPROTO_UDP)
		put16(frame + 40, 0);
	if (frame[23] == IPPROTO_ICMP) {
		put16(frame + 36, 0);
		put16(frame + 36, ~guest_add(0, frame + 34, transport) & 0xffff);
	}
}

/* A turn of the program's loop, in which nothing is ready. */
static void turn(struct uplink *uplink)
{
	int timeout;

	polls_clear(&uplink->polls);
	CHECK(way_slirp.watch(uplink, &timeout) == 0);
	CHECK(poll(uplink->polls.fds, uplink->polls.count, 0) >= 0);
	CHECK(way_slirp.ready(uplink) == 0);
	for (unsigned int i = 0; i < UPLINK_NICS; i++) {
		CHECK(gather_flush(&uplink->gathers[i], &uplink->wire) == 0);
		uplink->gathers[i].credit = EVUM_NIC_WINDOW;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct uplink uplink;
	static bool tried;
	static bool alone;

	if (!tried)
		alone = leave_network();
	tried = true;
	if (!alone)
		return 0;
	open_uplink(&uplink);
	while (size >= 2) {
		size_t len = (size_t)(data[0] << 8 | data[1]) % (size - 1);
		uint8_t *frame = malloc(len ? len : 1);

		memcpy(frame, data + 2, len);
		sum_up(frame, len);
		if (len >= BATCH_FLOW)
			way_slirp.send(&uplink, frame, len);
		free(frame);
		turn(&uplink);
		data += 2 + len;
		size -= 2 + len;
	}
	way_slirp.close(&uplink);
	polls_free(&uplink.polls);
	wire_free(&uplink.wire);
	return 0;
}
