/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk arrives whole and in order, both ways, whatever becomes of the spool
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "machine.h"
#include "vm.h"

#define STREAMS_MAX 24u

/* Bytes that a program is given and, being cat, gives back. */
struct stream {
	uint32_t id;
	size_t size, written, received;
	size_t room;   /* bytes of stdin that the guest takes */
	bool trusted;  /* what comes back must be what was written */
	bool finished; /* end of file was written */
	bool ended;
	enum evum_exit exit;
};

static struct machine machine;
static struct stream streams[STREAMS_MAX];
static unsigned int stream_count;

/* Each stream's bytes are its own, and those of its slots differ. */
static uint8_t byte_at(uint32_t id, size_t at)
{
	return (uint8_t)((size_t)id * 31 + at + at / 251 + at / AGENT_SPOOL_SLOT * 7);
}

static struct stream *find_stream(uint32_t id)
{
	for (unsigned int i = 0; i < stream_count; i++)
		if (streams[i].id == id)
			return &streams[i];
	return NULL;
}

static void take_output(struct stream *stream, const struct evum_event *event)
{
	const uint8_t *bytes = event->data;

	for (size_t i = 0; i < event->len && stream->trusted; i++)
		CHECK(bytes[i] == byte_at(stream->id, stream->received + i));
	stream->received += event->len;
	if (event->len)
		CHECK(evum_program_credit(machine.vm, stream->id, event->fd,
					  (uint32_t)event->len) == 0);
}

static void handler(void *ctx, const struct evum_event *event)
{
	struct stream *stream = find_stream(event->id);

	if (stream && event->type == EVUM_STDIN_CREDIT) {
		stream->room += (size_t)event->value;
		CHECK(stream->room <= AGENT_STDIN_WINDOW_MAX);
	} else if (stream && event->type == EVUM_OUTPUT) {
		take_output(stream, event);
	} else if (stream && event->type == EVUM_EXIT) {
		stream->ended = true;
		stream->exit = event->exit;
	}
	machine_handler(ctx, event);
}

static void boot(bool with_spool)
{
	struct evum_config config;
	struct evum_error error;

	memset(&machine, 0, sizeof(machine));
	machine.read_console = true;
	evum_config_init(&config);
	config.initramfs = machine_initramfs();
	CHECK(evum_vm_start(&config, handler, &machine, &machine.vm, &error) == 0);
	/* The guest's init comes to it some milliseconds later. */
	if (!with_spool)
		CHECK(unlinkat(machine.vm->mconsole.run, AGENT_SPOOL_OUT, 0) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_UP, 20000) == 0);
	CHECK(machine.vm->rings.agent_has == with_spool);
}

static void stop(void)
{
	CHECK(evum_vm_stop(machine.vm, 5000) == 0);
	machine_wait_down(&machine, EVUM_END_HALTED);
}

static void start_streams(unsigned int count, size_t size, bool trusted)
{
	const char *const argv[] = {"cat", NULL};
	const struct evum_program program = {.argv = argv, .window = 200000};
	static uint32_t id = 1000;

	stream_count = count;
	for (unsigned int i = 0; i < count; i++) {
		id++;
		id++;
		streams[i] = (struct stream){
			.id = id, .size = size, .trusted = trusted, .room = AGENT_STDIN_WINDOW};
		CHECK(evum_program_start(machine.vm, id, &program) == 0);
	}
}

/* Bytes by the line, by one slot, by several and a rest. */
static size_t any_piece(void)
{
	static const size_t most[] = {600, 4096, AGENT_SPOOL_SLOT + 600, AGENT_STDIN_WINDOW_MAX};

	return 1 + (size_t)random() % most[random() % 4];
}

/* Writes a piece; false when the stream takes no more now. */
static bool write_piece(struct stream *stream)
{
	static uint8_t bytes[AGENT_STDIN_WINDOW_MAX];
	size_t left = stream->size - stream->written;
	size_t len = any_piece();
	int err;

	if (stream->ended || stream->finished || (left && !stream->room))
		return false;
	len = len < left ? len : left;
	len = len < stream->room ? len : stream->room;
	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(stream->id, stream->written + i);
	err = evum_program_write(machine.vm, stream->id, bytes, len);
	CHECK(err == 0 || err == -EAGAIN);
	if (err)
		return false;
	stream->written += len;
	stream->room -= len;
	stream->finished = len == 0;
	return true;
}

static bool dispatch(int timeout)
{
	struct pollfd pfd = {.fd = evum_vm_fd(machine.vm), .events = POLLIN};

	if (poll(&pfd, 1, timeout) == 0)
		return false;
	CHECK(evum_vm_dispatch(machine.vm) == 0);
	return true;
}

static bool all_ended(void)
{
	for (unsigned int i = 0; i < stream_count; i++)
		if (!streams[i].ended)
			return false;
	return true;
}

static void write_pieces(void)
{
	for (unsigned int i = 0; i < stream_count; i++)
		write_piece(&streams[i]);
}

static void move_all(void)
{
	while (!all_ended()) {
		write_pieces();
		CHECK(dispatch(20000));
	}
	for (unsigned int i = 0; i < stream_count; i++) {
		CHECK(streams[i].exit == EVUM_EXITED);
		CHECK(streams[i].received == streams[i].size);
	}
}

static uint64_t garbage(void)
{
	struct evum_vm_info info;

	evum_vm_info(machine.vm, &info);
	return info.agent_garbage;
}

static void the_files_are_the_kernels_users_alone(void)
{
	const int fds[] = {machine.vm->rings.in, machine.vm->rings.out};
	uid_t owner = geteuid() ? geteuid() : 65534;
	struct stat st;

	for (int i = 0; i < 2; i++) {
		CHECK(fstat(fds[i], &st) == 0 && S_ISREG(st.st_mode));
		CHECK((st.st_mode & 07777) == 0600 && st.st_uid == owner);
		CHECK(st.st_size == (off_t)AGENT_SPOOL_SLOTS * AGENT_SPOOL_SLOT);
		CHECK(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	}
}

static void no_byte_of_many_programs_is_mixed(void)
{
	uint32_t before = machine.vm->rings.next;

	start_streams(STREAMS_MAX, 1 << 20, true);
	move_all();
	CHECK(machine.vm->rings.next - before > AGENT_SPOOL_SLOTS);
	CHECK(garbage() == 0);
}

/* A write has all the slots it needs, or none. */
static void a_write_that_finds_no_slot_is_refused_whole(void)
{
	static const uint8_t bytes[2 * AGENT_SPOOL_MIN];
	const char *const argv[] = {"wc", "-c", NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	machine.out_len = 0;
	CHECK(evum_program_start(machine.vm, 1, &program) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_STARTED, 5000) == 0);
	CHECK(evum_mconsole(machine.vm, 1, "stop") == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_REPLY, 2000) == 0);
	for (unsigned int i = 0; i < AGENT_SPOOL_SLOTS; i++)
		CHECK(evum_program_write(machine.vm, 1, bytes, sizeof(bytes)) == 0);
	CHECK(evum_program_write(machine.vm, 1, bytes, sizeof(bytes)) == -EAGAIN);
	CHECK(evum_program_write(machine.vm, 1, bytes, AGENT_SPOOL_MIN - 1) == 0);
	CHECK(evum_mconsole(machine.vm, 2, "go") == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_STDIN_CREDIT, 5000) == 0);
	while (evum_program_write(machine.vm, 1, bytes, sizeof(bytes)) == -EAGAIN)
		CHECK(dispatch(5000));
	CHECK(evum_program_write(machine.vm, 1, NULL, 0) == 0);
	CHECK(evum_vm_wait(machine.vm, EVUM_EXIT, 5000) == 0);
	CHECK(strtoul(machine.out, NULL, 10) == 9 * sizeof(bytes) + AGENT_SPOOL_MIN - 1);
}

/* The agent goes in the middle of bulk; what the line still holds for it harms no later program. */
static void a_new_agent_begins_with_a_clean_spool(void)
{
	const char *const argv[] = {"/bin/sh", "-c", "setsid sh -c 'exec <>/dev/tty15; exit'",
				    NULL};
	const struct evum_program hangup = {.argv = argv, .window = 4096};

	for (uint32_t round = 1; round <= 2; round++) {
		start_streams(STREAMS_MAX, SIZE_MAX / 2, true);
		for (int i = 0; i < 200; i++) {
			write_pieces();
			CHECK(dispatch(20000));
		}
		CHECK(evum_program_start(machine.vm, round, &hangup) == 0);
		while (!all_ended()) {
			write_pieces();
			CHECK(dispatch(20000));
		}
		for (unsigned int i = 0; i < stream_count; i++)
			CHECK(streams[i].exit == EVUM_LOST);
		start_streams(8, 1 << 20, true);
		move_all();
	}
}

/* Streams that are fed until the command has ended, and then go. */
static void feed_while(const char *command)
{
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};
	const struct evum_program program = {.argv = argv, .window = 4096};

	start_streams(8, SIZE_MAX / 2, false);
	machine.exit.id = 0;
	CHECK(evum_program_start(machine.vm, 7, &program) == 0);
	while (machine.exit.id != 7) {
		write_pieces();
		CHECK(dispatch(20000));
	}
	/* What was lost of its output has left its window smaller. */
	for (unsigned int i = 0; i < stream_count; i++) {
		CHECK(evum_program_signal(machine.vm, streams[i].id, SIGKILL) == 0);
		CHECK(evum_program_credit(machine.vm, streams[i].id, 1, 1 << 20) == 0);
	}
	while (!all_ended())
		CHECK(dispatch(20000));
}

/* Whoever is root in the guest finds the files as easily as the agent. */
static void a_guest_that_ruins_the_files_ruins_its_own_streams(void)
{
	static const char *const ways[] = {
		"for i in 1 2; do dd if=/dev/urandom of=/mnt/spool-in bs=64k count=16; "
		"dd if=/dev/urandom of=/mnt/spool-out bs=64k count=16; done",
		"for i in 1 2 3 4; do truncate -s 0 /mnt/spool-out; "
		"truncate -s 70000 /mnt/spool-in; sync; done",
		"rm /mnt/spool-in /mnt/spool-out; mkdir /mnt/spool-in; echo > /mnt/spool-out",
	};
	char command[512];

	CHECK(machine_sh(&machine, "mkdir -p /mnt; mount -t hostfs none /mnt -o /run") == 0);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		snprintf(command, sizeof(command), "(%s) > /dev/null 2>&1", ways[i]);
		feed_while(command);
		CHECK(machine_sh(&machine, "exit 3") == 3);
	}
}

static void a_host_file_that_is_full_leaves_the_line(void)
{
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	uint64_t before = garbage();

	CHECK(full >= 0 && dup2(full, machine.vm->rings.in) >= 0);
	close(full);
	start_streams(2, 100000, true);
	move_all();
	CHECK(machine.vm->rings.failed && garbage() == before);
}

static void without_a_spool_all_goes_by_the_line(void)
{
	start_streams(2, 100000, true);
	move_all();
	CHECK(machine.vm->rings.next == 0 && garbage() == 0);
	CHECK(machine_sh(&machine, "head -c 60000 /dev/zero") == 0);
	CHECK(machine.out_len == 60000);
}

int main(void)
{
	boot(true);
	the_files_are_the_kernels_users_alone();
	no_byte_of_many_programs_is_mixed();
	a_write_that_finds_no_slot_is_refused_whole();
	a_new_agent_begins_with_a_clean_spool();
	a_host_file_that_is_full_leaves_the_line();
	stop();
	boot(true);
	a_guest_that_ruins_the_files_ruins_its_own_streams();
	stop();
	boot(false);
	without_a_spool_all_goes_by_the_line();
	stop();
	return 0;
}
