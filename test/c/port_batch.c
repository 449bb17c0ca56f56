/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of frames: what was put in comes out, and lies are told from truth */
#include "batch.h"

#include <errno.h>
#include <string.h>
#include "check.h"
#include "evum_proto.h"

struct message {
	uint8_t bytes[256];
	size_t len;
};

static void message_add(struct message *message, const char *frame)
{
	size_t len = strlen(frame);

	batch_put_length(message->bytes + message->len, len);
	memcpy(message->bytes + message->len + BATCH_LENGTH, frame, len);
	message->len += BATCH_LENGTH + len;
}

static struct message three_frames(void)
{
	struct message message = {.len = BATCH_HEAD};

	batch_put_head(message.bytes, 5, 3);
	message_add(&message, "first");
	message_add(&message, "");
	message_add(&message, "the third");
	return message;
}

static void expect_frame(struct batch *batch, const char *expected)
{
	struct batch_frame frame;

	CHECK(batch_next(batch, &frame));
	CHECK(frame.len == strlen(expected) && memcmp(frame.bytes, expected, frame.len) == 0);
}

static void frames_come_out_as_they_went_in(void)
{
	struct message message = three_frames();
	struct batch_frame frame;
	struct batch batch;

	CHECK(batch_open(&batch, message.bytes, message.len) == 0);
	CHECK(batch.nic == 5 && batch.count == 3);
	expect_frame(&batch, "first");
	expect_frame(&batch, "");
	expect_frame(&batch, "the third");
	CHECK(!batch_next(&batch, &frame));
}

static void a_batch_may_be_empty(void)
{
	const uint8_t message[] = {CHANNEL_FRAMES, 0, 0, 0};
	struct batch_frame frame;
	struct batch batch;

	CHECK(batch_open(&batch, message, sizeof(message)) == 0);
	CHECK(!batch_next(&batch, &frame));
}

static void a_message_that_is_cut_anywhere_is_refused(void)
{
	struct message message = three_frames();
	struct batch batch;

	for (size_t len = 0; len < message.len; len++)
		CHECK(batch_open(&batch, message.bytes, len) == -EPROTO);
}

static void a_count_that_lies_is_refused(void)
{
	struct message message = three_frames();
	struct batch batch;

	for (unsigned int count = 0; count < 600; count++) {
		batch_put_head(message.bytes, 5, count);
		CHECK(batch_open(&batch, message.bytes, message.len) == (count == 3 ? 0 : -EPROTO));
	}
}

static void another_channel_is_no_batch(void)
{
	struct message message = three_frames();
	struct batch batch;

	message.bytes[0] = CHANNEL_STREAM;
	CHECK(batch_open(&batch, message.bytes, message.len) == -EPROTO);
}

static void a_flow_is_two_addresses_and_a_type(void)
{
	CHECK(batch_same_flow((const uint8_t *)"dstdstsrcsrc08one",
			      (const uint8_t *)"dstdstsrcsrc08two"));
	for (size_t i = 0; i < BATCH_FLOW; i++) {
		uint8_t other[BATCH_FLOW + 1] = "dstdstsrcsrc08";

		other[i] ^= 1;
		CHECK(!batch_same_flow((const uint8_t *)"dstdstsrcsrc08", other));
	}
}

int main(void)
{
	frames_come_out_as_they_went_in();
	a_batch_may_be_empty();
	a_message_that_is_cut_anywhere_is_refused();
	a_count_that_lies_is_refused();
	another_channel_is_no_batch();
	a_flow_is_two_addresses_and_a_type();
	return 0;
}
