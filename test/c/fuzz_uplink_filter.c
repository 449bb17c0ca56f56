/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of the frame filter
 *
 * An input is a byte of switches and a frame.  What libslirp would be given has
 * the addresses that its own reading of the frame finds, and they are allowed.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "filter.h"

#define GATEWAY 0x0a4d0001u

static struct filter filter_of(uint8_t switches)
{
	struct filter filter = {.gateway = GATEWAY,
				.mask = 0xffffff00,
				.restricted = switches & 1,
				.echo = switches & 2,
				.ipv6 = switches & 4};

	filter_open_port(&filter, 0x5050);
	filter.host_port = switches & 8 ? 0x5151 : 0;
	memset(&filter.prefix6, 0xfd, 8);
	memset(&filter.gateway6, 0xfd, 8);
	filter.gateway6.s6_addr[15] = 2;
	return filter;
}

static bool is_open(const struct filter *filter, uint16_t port)
{
	return port == 0x5050 || (port && port == filter->host_port);
}

static void check_given(const struct filter *filter, const uint8_t *frame)
{
	const uint8_t *target = frame + 30;
	bool gateway = memcmp(target, "\x0a\x4d\0\1", 4) == 0;

	if (frame[12] != 0x08)
		return;
	CHECK(frame[14] == 0x45 && (frame[20] & 0xbf) == 0 && frame[21] == 0);
	CHECK(target[0] != 127 && target[0] != 0 && target[0] < 224);
	CHECK(target[0] != 169 || target[1] != 254);
	CHECK(gateway || memcmp(target, "\x0a\x4d\0", 3) != 0);
	/* The host's loopback: an open port, or a segment that opens nothing. */
	if (gateway && frame[23] == IPPROTO_UDP)
		CHECK(frame[36] == 0x50 && frame[37] == 0x50);
	if (gateway && frame[23] == IPPROTO_TCP && (frame[47] & 0x37) == 0x02)
		CHECK(is_open(filter, (uint16_t)(frame[36] << 8 | frame[37])));
	CHECK(!gateway || frame[23] != IPPROTO_ICMP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct datagrams none;
	static struct datagrams datagrams;
	struct filter filter;
	uint8_t *frame;

	if (!size || size > UINT16_MAX)
		return 0;
	filter = filter_of(data[0]);
	frame = malloc(size);
	memcpy(frame, data + 1, size - 1);
	if (filter_check(&filter, &none, 1, frame, size - 1) == FILTER_NAT)
		check_given(&filter, frame);
	filter_made(&filter, &datagrams, 1, frame, size - 1);
	free(frame);
	return 0;
}
