/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link keeps its frames whole and its bounds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "link.h"

struct seen {
	unsigned int frames;
	size_t bytes;
	uint8_t type;
};

static int count_handler(void *ctx, uint8_t type, const unsigned char *bytes, size_t len)
{
	struct seen *seen = ctx;

	seen->frames++;
	seen->type = type;
	for (size_t i = 0; i < len; i++)
		seen->bytes += bytes[i] == 'x';
	return 0;
}

static struct link here;
static int there;

static void pair_open(void)
{
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(link_init(&here, pair[0]) == 0);
	there = pair[1];
}

static void pair_close(void)
{
	close(here.fd);
	close(there);
}

static void a_frame_sent_is_length_type_bytes(void)
{
	unsigned char got[16];

	pair_open();
	CHECK(link_send(&here, LINK_DATA, "abc", 3) == 0);
	CHECK(link_flush(&here) == 0);
	CHECK(recv(there, got, sizeof(got), 0) == 8);
	CHECK(memcmp(got, "\0\0\0\4\1abc", 8) == 0);
	pair_close();
}

static void frames_that_come_byte_by_byte_are_whole(void)
{
	static const unsigned char two[] = {0, 0, 0, 3, 1, 'x', 'x', 0, 0, 0, 1, 4};
	struct seen seen = {0};

	pair_open();
	for (size_t i = 0; i < sizeof(two); i++) {
		CHECK(send(there, two + i, 1, 0) == 1);
		CHECK(link_receive(&here, count_handler, &seen) == 0);
	}
	CHECK(seen.frames == 2 && seen.bytes == 2 && seen.type == 4);
	pair_close();
}

static void a_frame_of_no_length_is_refused(void)
{
	struct seen seen = {0};

	pair_open();
	CHECK(send(there, "\0\0\0\0", 5, 0) == 5);
	CHECK(link_receive(&here, count_handler, &seen) == -EPROTO);
	CHECK(seen.frames == 0);
	pair_close();
}

static void a_frame_over_the_bound_is_refused(void)
{
	uint32_t header[2] = {htonl(LINK_FRAME_MAX + 1), 0};
	struct seen seen = {0};

	pair_open();
	CHECK(send(there, header, sizeof(header), 0) == sizeof(header));
	CHECK(link_receive(&here, count_handler, &seen) == -EPROTO);
	pair_close();
}

static void a_full_queue_takes_no_more(void)
{
	static const unsigned char bytes[LINK_DATA_MAX];

	pair_open();
	CHECK(link_send(&here, LINK_DATA, bytes, sizeof(bytes)) == 0);
	CHECK(link_send(&here, LINK_DATA, bytes, sizeof(bytes)) == 0);
	CHECK(link_send(&here, LINK_DATA, bytes, sizeof(bytes)) == -ENOBUFS);
	CHECK(link_room(&here) < sizeof(bytes));
	pair_close();
}

static void the_end_of_file_is_seen(void)
{
	struct seen seen = {0};

	pair_open();
	shutdown(there, SHUT_WR);
	CHECK(link_receive(&here, count_handler, &seen) == 0);
	CHECK(here.ended);
	pair_close();
}

int main(void)
{
	a_frame_sent_is_length_type_bytes();
	frames_that_come_byte_by_byte_are_whole();
	a_frame_of_no_length_is_refused();
	a_frame_over_the_bound_is_refused();
	a_full_queue_takes_no_more();
	the_end_of_file_is_seen();
	return 0;
}
