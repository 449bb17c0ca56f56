/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: one machine's frames reach the other by no way but a descriptor, in order, or by Erlang */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "batch.h"
#include "check.h"
#include "port.h"
#include "util.h"

#define MTU 1500u
#define FRAME 100u
#define ID 7u
#define REST_MAX 64u

/* A port program with one NIC, whose guest and whose Erlang we are. */
struct machine {
	struct port port;
	struct wire rx;
	int wire[2];
	int guest;
	uint8_t mac;
};

/* What the port said of a flow. */
struct word {
	uint8_t op;
	uint64_t id;
	uint8_t rest[REST_MAX];
	size_t len;
};

static void connect_guest(struct machine *machine)
{
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	machine->guest = ends[1];
	CHECK(frames_link(&machine->port, 0, ends[0]) == 0);
}

static void machine_open(struct machine *machine, uint8_t mac)
{
	struct evum_config config = {.nic_count = 1, .nics = {{.mtu = MTU}}};

	memset(machine, 0, sizeof(*machine));
	machine->mac = mac;
	CHECK(pipe2(machine->wire, O_NONBLOCK | O_CLOEXEC) == 0);
	CHECK(wire_init(&machine->port.wire, -1, machine->wire[1]) == 0);
	CHECK(wire_init(&machine->rx, machine->wire[0], -1) == 0);
	machine->port.epoll = epoll_create1(EPOLL_CLOEXEC);
	/* It is only looked at for being there. */
	machine->port.vm = (struct evum_vm *)machine;
	frames_init(&machine->port.frames, &config);
	flows_init(&machine->port.flows);
	connect_guest(machine);
}

static void machine_close(struct machine *machine)
{
	int fd = machine->port.frames.nics[0].fd;

	flows_free(&machine->port);
	frames_free(&machine->port);
	fd_close(&fd);
	fd_close(&machine->guest);
	fd_close(&machine->port.epoll);
	wire_free(&machine->port.wire);
	wire_free(&machine->rx);
	close(machine->wire[0]);
	close(machine->wire[1]);
}

static void settle(struct machine *machine)
{
	CHECK(wire_flush(&machine->port.wire) == 0);
	CHECK(frames_settle(&machine->port, !machine->port.wire.queued) == 0);
	CHECK(flows_settle(&machine->port) == 0);
}

/* As main.c's loop does, until nothing is left to do for ms milliseconds. */
static void run_for(struct machine *machine, int ms)
{
	struct epoll_event event;

	settle(machine);
	for (;;) {
		int due = flows_timeout(&machine->port.flows);
		bool soon = due >= 0 && due < ms;
		int got = epoll_wait(machine->port.epoll, &event, 1, soon ? due : ms);
		uint32_t source = event.data.u32;

		if (got == 0 && !soon)
			return;
		if (got == 1 && source >= SOURCE_FLOW)
			CHECK(flows_handler(&machine->port, source - SOURCE_FLOW, event.events) ==
			      0);
		else if (got == 1 && source >= SOURCE_NIC)
			CHECK(frames_handler(&machine->port, source - SOURCE_NIC, event.events) ==
			      0);
		else if (got == 1)
			CHECK(source == SOURCE_MAILBOX && flows_mail(&machine->port) == 0);
		CHECK(flows_expire(&machine->port) == 0);
		settle(machine);
	}
}

static void run(struct machine *machine)
{
	run_for(machine, 0);
}

static bool next_message(struct machine *machine, struct wire_frame *message)
{
	int got;

	while ((got = wire_next(&machine->rx, message)) == 0)
		if (wire_read(&machine->rx) <= 0)
			return false;
	CHECK(got == 1);
	return true;
}

static void expect_silence(struct machine *machine)
{
	struct wire_frame message;

	CHECK(!next_message(machine, &message));
}

static struct word expect_word(struct machine *machine, uint8_t op)
{
	struct wire_frame message;
	struct word word;

	CHECK(next_message(machine, &message));
	CHECK(message.bytes[0] == CHANNEL_FLOW && message.bytes[1] == op && message.bytes[2] == 0);
	word.op = op;
	word.id = wire_get32(message.bytes + 7);
	word.len = message.len - 11;
	CHECK(word.len <= REST_MAX && word.id == ID);
	memcpy(word.rest, message.bytes + 11, word.len);
	return word;
}

static void expect_counts(const struct word *word, uint32_t frames)
{
	CHECK(wire_get32(word->rest + 4) == frames);
	CHECK(wire_get32(word->rest + 12) == frames * FRAME);
}

static void expect_end(struct machine *machine, uint8_t why, uint32_t frames)
{
	struct word word = expect_word(machine, EVUM_FLOW_END);

	CHECK(word.len == 17 && word.rest[16] == why);
	expect_counts(&word, frames);
}

static void expect_batch(struct machine *machine, unsigned int count)
{
	struct wire_frame message;
	struct batch batch;

	CHECK(next_message(machine, &message));
	CHECK(batch_open(&batch, message.bytes, message.len) == 0 && batch.count == count);
}

static int say(struct machine *machine, uint8_t op, uint64_t id, const void *rest, size_t len)
{
	uint8_t bytes[11 + REST_MAX] = {CHANNEL_FLOW, op, 0};
	struct wire_frame message = {.bytes = bytes, .len = 11 + len};

	wire_put32(bytes + 7, (uint32_t)id);
	if (len)
		memcpy(bytes + 11, rest, len);
	return flows_message(&machine->port, &message);
}

static void put_addresses(uint8_t addresses[FLOW_ADDRESSES], uint8_t to, uint8_t from)
{
	memset(addresses, to, 6);
	memset(addresses + 6, from, 6);
}

static bool guest_send(const struct machine *from, const struct machine *to, uint32_t number)
{
	uint8_t frame[FRAME] = {0};

	put_addresses(frame, to->mac, from->mac);
	wire_put32(frame + FRAME - 4, number);
	return send(from->guest, frame, FRAME, MSG_DONTWAIT) == (ssize_t)FRAME;
}

/* How many frames the guest gets, which are numbered from first on. */
static unsigned int guest_read(const struct machine *machine, uint32_t first)
{
	uint8_t frame[2 * MTU];
	unsigned int count = 0;

	while (recv(machine->guest, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		CHECK(wire_get32(frame + FRAME - 4) == first + count++);
	return count;
}

/* The question comes back to be carried to the receiver. */
static struct word ask(struct machine *from, const struct machine *to)
{
	uint8_t addresses[FLOW_ADDRESSES];

	put_addresses(addresses, to->mac, from->mac);
	CHECK(say(from, EVUM_FLOW_ASK, ID, addresses, sizeof(addresses)) == 0);
	run(from);
	return expect_word(from, EVUM_FLOW_ASK);
}

static void open_flow(struct machine *from, struct machine *to)
{
	struct word question = ask(from, to);

	CHECK(say(to, EVUM_FLOW_OFFER, ID, question.rest, question.len) == 0);
	run(from);
	CHECK(from->port.flows.flows[0].state == FLOW_OPEN);
}

static void open_both(struct machine *a, struct machine *b)
{
	machine_open(a, 2);
	machine_open(b, 4);
}

static void close_both(struct machine *a, struct machine *b)
{
	machine_close(a);
	machine_close(b);
}

static void frames_of_a_flow_are_none_of_erlangs(void)
{
	struct machine a;
	struct machine b;
	struct word word;

	open_both(&a, &b);
	open_flow(&a, &b);
	for (uint32_t i = 0; i < 20; i++)
		CHECK(guest_send(&a, &b, i));
	run(&a);
	CHECK(guest_read(&b, 0) == 20);
	CHECK(a.port.frames.nics[0].counters.rx_frames == 20);
	expect_silence(&a);
	/* Other addresses aren't of the flow. */
	CHECK(guest_send(&b, &a, 0));
	run(&b);
	expect_batch(&b, 1);
	CHECK(flows_report(&a.port) == 0);
	run(&a);
	word = expect_word(&a, EVUM_FLOW_COUNT);
	expect_counts(&word, 20);
	/* What was told isn't told again. */
	CHECK(say(&a, EVUM_FLOW_END, ID, NULL, 0) == 0);
	run(&a);
	expect_end(&a, EVUM_FLOW_TOLD, 0);
	CHECK(guest_send(&a, &b, 20));
	run(&a);
	expect_batch(&a, 1);
	CHECK(guest_read(&b, 20) == 0);
	close_both(&a, &b);
}

static void nothing_is_read_before_the_answer(void)
{
	struct machine a;
	struct machine b;
	struct word question;

	open_both(&a, &b);
	question = ask(&a, &b);
	CHECK(guest_send(&a, &b, 0));
	run(&a);
	expect_silence(&a);
	CHECK(say(&b, EVUM_FLOW_OFFER, ID, question.rest, question.len) == 0);
	run(&a);
	CHECK(guest_read(&b, 0) == 1);
	close_both(&a, &b);
}

static void a_receiver_offers_when_it_has_written_what_waited(void)
{
	uint8_t bytes[BATCH_HEAD + BATCH_LENGTH + FRAME] = {0};
	struct wire_frame message = {.bytes = bytes, .len = sizeof(bytes)};
	struct machine a;
	struct machine b;
	struct word question;
	uint32_t sent = 0;

	open_both(&a, &b);
	batch_put_head(bytes, 0, 1);
	batch_put_length(bytes + BATCH_HEAD, FRAME);
	for (; !b.port.frames.nics[0].queue.len; sent++) {
		wire_put32(bytes + sizeof(bytes) - 4, sent);
		CHECK(frames_deliver(&b.port, &message) == 0);
	}
	question = ask(&a, &b);
	CHECK(guest_send(&a, &b, sent));
	CHECK(say(&b, EVUM_FLOW_OFFER, ID, question.rest, question.len) == 0);
	run(&a);
	CHECK(a.port.flows.flows[0].state == FLOW_ASKED);
	CHECK(guest_read(&b, 0) == sent - 1);
	run(&b);
	run(&a);
	CHECK(guest_read(&b, sent - 1) == 2);
	close_both(&a, &b);
}

static void an_offer_that_does_not_come_is_given_up(void)
{
	struct machine a;
	struct machine b;

	open_both(&a, &b);
	ask(&a, &b);
	CHECK(guest_send(&a, &b, 0));
	run_for(&a, 200);
	expect_end(&a, EVUM_FLOW_BUSY, 0);
	expect_batch(&a, 1);
	close_both(&a, &b);
}

static void a_nic_that_is_closed_is_refused_at_once(void)
{
	struct machine a;
	struct machine b;
	struct word question;
	int fd;

	open_both(&a, &b);
	question = ask(&a, &b);
	fd = b.port.frames.nics[0].fd;
	CHECK(frames_link(&b.port, 0, -1) == 0);
	close(fd);
	CHECK(say(&b, EVUM_FLOW_OFFER, ID, question.rest, question.len) == 0);
	run(&a);
	expect_end(&a, EVUM_FLOW_BUSY, 0);
	close_both(&a, &b);
}

static void a_receiver_that_goes_ends_it(void)
{
	struct machine a;
	struct machine b;

	open_both(&a, &b);
	open_flow(&a, &b);
	fd_close(&b.guest);
	run(&a);
	expect_end(&a, EVUM_FLOW_GONE, 0);
	CHECK(guest_send(&a, &b, 0));
	run(&a);
	expect_batch(&a, 1);
	close_both(&a, &b);
}

static void a_sender_that_goes_ends_it(void)
{
	struct machine a;
	struct machine b;
	int fd;

	open_both(&a, &b);
	open_flow(&a, &b);
	fd = a.port.frames.nics[0].fd;
	fd_close(&a.guest);
	CHECK(frames_link(&a.port, 0, -1) == 0);
	close(fd);
	run(&a);
	expect_end(&a, EVUM_FLOW_GONE, 0);
	close_both(&a, &b);
}

/* Sends until nothing is taken any more; returns how many frames that were. */
static uint32_t fill(struct machine *a, struct machine *b)
{
	uint32_t sent = 0;
	uint32_t before;

	do {
		before = sent;
		while (guest_send(a, b, sent))
			sent++;
		run(a);
	} while (sent > before);
	return sent;
}

static void what_a_late_receiver_does_not_take_is_held(void)
{
	struct machine a;
	struct machine b;
	uint32_t sent;
	unsigned int got;

	open_both(&a, &b);
	open_flow(&a, &b);
	sent = fill(&a, &b);
	CHECK(a.port.flows.flows[0].queue.len > 0);
	for (got = 0; got < sent; run(&a))
		got += guest_read(&b, got);
	CHECK(got == sent && a.port.flows.flows[0].state == FLOW_OPEN);
	expect_silence(&a);
	CHECK(a.port.frames.nics[0].counters.rx_dropped == 0);
	close_both(&a, &b);
}

static void a_receiver_that_stands_still_holds_up_nobody(void)
{
	struct machine a;
	struct machine b;
	struct wire_frame message;
	struct batch batch;
	uint32_t got = 0;
	uint32_t sent;

	open_both(&a, &b);
	open_flow(&a, &b);
	sent = fill(&a, &b);
	run_for(&a, 200);
	/* All that was held, what the guest sent meanwhile, and between them the end. */
	for (bool ended = false; next_message(&a, &message); run(&a)) {
		if (message.bytes[0] == CHANNEL_FLOW) {
			CHECK(message.bytes[1] == EVUM_FLOW_END && !ended);
			CHECK(message.bytes[27] == EVUM_FLOW_BUSY);
			ended = true;
			continue;
		}
		CHECK(batch_open(&batch, message.bytes, message.len) == 0);
		got += batch.count;
	}
	got += guest_read(&b, 0);
	CHECK(got == sent && a.port.frames.nics[0].counters.rx_dropped == 0);
	close_both(&a, &b);
}

/* One that takes a frame now and then is as good as one that takes none. */
static void a_slow_receiver_is_not_waited_for(void)
{
	uint8_t frame[FRAME];
	struct machine a;
	struct machine b;

	open_both(&a, &b);
	open_flow(&a, &b);
	fill(&a, &b);
	for (int i = 0; i < 100 && a.port.flows.used; i++) {
		/* Room for the sender comes with a part of the whole. */
		for (int taken = 0; taken < 3; taken++)
			CHECK(recv(b.guest, frame, sizeof(frame), MSG_DONTWAIT) > 0);
		run_for(&a, 5);
	}
	CHECK(!a.port.flows.used);
	close_both(&a, &b);
}

static void a_word_of_erlangs_goes_before_later_frames(void)
{
	uint8_t word[15] = {0, 0, 0, 11, CHANNEL_FLOW, EVUM_FLOW_END, 0};
	struct machine a;
	struct machine b;
	int input[2];

	open_both(&a, &b);
	open_flow(&a, &b);
	CHECK(pipe2(input, O_NONBLOCK | O_CLOEXEC) == 0);
	a.port.wire.in = input[0];
	wire_put32(word + 11, ID);
	CHECK(write(input[1], word, sizeof(word)) == sizeof(word));
	CHECK(guest_send(&a, &b, 0));
	CHECK(frames_handler(&a.port, 0, EPOLLIN) == 0);
	run(&a);
	expect_end(&a, EVUM_FLOW_TOLD, 0);
	expect_batch(&a, 1);
	CHECK(guest_read(&b, 0) == 0);
	close(input[0]);
	close(input[1]);
	close_both(&a, &b);
}

/* Whoever finds the mailbox doesn't know the secret. */
static void a_forged_offer_is_thrown_away(void)
{
	struct machine a;
	struct machine b;
	struct offer forged;
	struct word question;
	int ends[2];

	open_both(&a, &b);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	question = ask(&a, &b);
	CHECK(offer_read(&forged, question.rest, question.len) == 0);
	forged.secret[3] ^= 1;
	offer_send(&forged, ends[0], MTU);
	run(&a);
	CHECK(a.port.flows.flows[0].state == FLOW_ASKED);
	/* The right one, and after it the same again. */
	forged.secret[3] ^= 1;
	offer_send(&forged, ends[0], MTU);
	run(&a);
	CHECK(a.port.flows.flows[0].state == FLOW_OPEN);
	offer_send(&forged, ends[1], MTU);
	run(&a);
	CHECK(guest_send(&a, &b, 0));
	run(&a);
	CHECK(recv(ends[1], &forged, sizeof(forged), MSG_DONTWAIT) > 0);
	close(ends[0]);
	close(ends[1]);
	close_both(&a, &b);
}

/* A user who isn't ours knows it, should the secret leak: that isn't enough. */
static void another_users_offer_is_thrown_away(void)
{
	struct machine a;
	struct machine b;
	struct offer offer;
	struct word question;
	int status;

	if (geteuid() != 0)
		return;
	open_both(&a, &b);
	question = ask(&a, &b);
	CHECK(offer_read(&offer, question.rest, question.len) == 0);
	if (fork() == 0) {
		if (setuid(65534) < 0)
			_exit(1);
		offer_send(&offer, b.port.frames.nics[0].fd, MTU);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	run(&a);
	CHECK(a.port.flows.flows[0].state == FLOW_ASKED);
	close_both(&a, &b);
}

static void long_frames_go_by_erlang(void)
{
	uint8_t frame[MTU] = {0};
	struct machine a;
	struct machine b;

	open_both(&a, &b);
	b.port.frames.nics[0].max_frame = FRAME;
	open_flow(&a, &b);
	put_addresses(frame, b.mac, a.mac);
	CHECK(send(a.guest, frame, sizeof(frame), 0) == sizeof(frame));
	run(&a);
	expect_batch(&a, 1);
	close_both(&a, &b);
}

static void there_are_so_many_and_no_more(void)
{
	uint8_t addresses[FLOW_ADDRESSES];
	struct machine a;
	struct machine b;

	open_both(&a, &b);
	for (unsigned int i = 0; i <= FLOWS_MAX; i++) {
		put_addresses(addresses, (uint8_t)(4 + i), a.mac);
		CHECK(say(&a, EVUM_FLOW_ASK, ID, addresses, sizeof(addresses)) == 0);
		run(&a);
		if (i < FLOWS_MAX)
			expect_word(&a, EVUM_FLOW_ASK);
	}
	expect_end(&a, EVUM_FLOW_BUSY, 0);
	/* All of a NIC. */
	CHECK(say(&a, EVUM_FLOW_END, 0, NULL, 0) == 0);
	run(&a);
	for (unsigned int i = 0; i < FLOWS_MAX; i++)
		expect_end(&a, EVUM_FLOW_TOLD, 0);
	expect_silence(&a);
	close_both(&a, &b);
}

static void what_is_no_word_is_refused(void)
{
	uint8_t rest[REST_MAX] = {0};
	struct machine a;

	machine_open(&a, 2);
	CHECK(say(&a, EVUM_FLOW_ASK, ID, rest, FLOW_ADDRESSES - 1) == -EPROTO);
	CHECK(say(&a, EVUM_FLOW_ASK, 0, rest, FLOW_ADDRESSES) == -EPROTO);
	CHECK(say(&a, EVUM_FLOW_OFFER, ID, rest, OFFER_SECRET) == -EPROTO);
	CHECK(say(&a, EVUM_FLOW_OFFER, ID, rest, OFFER_SECRET + OFFER_NAME_MAX + 1) == -EPROTO);
	CHECK(say(&a, EVUM_FLOW_END, ID, rest, 1) == -EPROTO);
	CHECK(say(&a, EVUM_FLOW_COUNT, ID, rest, 0) == -EPROTO);
	/* Of a flow that has ended meanwhile. */
	CHECK(say(&a, EVUM_FLOW_END, ID, NULL, 0) == 0);
	run(&a);
	expect_silence(&a);
	machine_close(&a);
}

int main(void)
{
	frames_of_a_flow_are_none_of_erlangs();
	nothing_is_read_before_the_answer();
	a_receiver_offers_when_it_has_written_what_waited();
	an_offer_that_does_not_come_is_given_up();
	a_nic_that_is_closed_is_refused_at_once();
	a_receiver_that_goes_ends_it();
	a_sender_that_goes_ends_it();
	what_a_late_receiver_does_not_take_is_held();
	a_receiver_that_stands_still_holds_up_nobody();
	a_slow_receiver_is_not_waited_for();
	a_word_of_erlangs_goes_before_later_frames();
	a_forged_offer_is_thrown_away();
	another_users_offer_is_thrown_away();
	long_frames_go_by_erlang();
	there_are_so_many_and_no_more();
	what_is_no_word_is_refused();
	return 0;
}
