/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum_file: what Erlang can't do with this host's files, as a port program
 *
 * Calls come one after the other, in the frames of evum_port's wire, and are
 * answered in that order: {call, Seq, Name, Args}.
 *
 *   copy(From, To)       a sparse copy (copy.h); {ok, Bytes}
 *   extents(File, From)  {ok, {Size, [{Offset, Length}]}}: where data is, EXTENTS_MAX at most
 *   sync(Path)           a file's bytes, or a directory's names, are on the disk
 *   lock(File, Seconds)  makes the file and locks it until the program ends; etimedout
 *   idle(File)           {ok, true | false}: does nobody hold a lock on it?
 *
 * End of file on the input is the order to go: a copy that is under way is given
 * up and removed, and the locks are free.  Exit status: 0; 1 when the system fails;
 * 2 when the peer broke the protocol.
 *
 * As "evum_file run PROGRAM ARG..." it runs a program instead (tool.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "file/copy.h"
#include "file/tool.h"
#include "port/evum_proto.h"
#include "port/rpc.h"
#include "port/start.h"
#include "util.h"

#define EXTENTS_MAX 1024
#define LOCK_SECONDS_MAX 600u
#define LOCK_PAUSE_MS 50
/* What the loop ends with besides errors: the BEAM is gone. */
#define FILE_EOF 1

struct file {
	struct wire wire;
	struct rpc_call rpc;
};

typedef int call_handler(struct file *file);

static int reply(struct file *file, int result)
{
	return rpc_reply_result(&file->wire, file->rpc.seq, result);
}

/* Has the peer closed its end? */
static bool is_gone(void *ctx)
{
	const struct file *file = ctx;
	struct pollfd fd = {.fd = file->wire.in, .events = POLLIN};

	return poll(&fd, 1, 0) > 0 && fd.revents & (POLLHUP | POLLERR);
}

static int copy_handler(struct file *file)
{
	const char *from, *to;
	struct term_out out;
	uint64_t bytes;
	int err;

	if (file->rpc.count != 2 || term_get_string(&file->rpc.args, &from) < 0 ||
	    term_get_string(&file->rpc.args, &to) < 0)
		return reply(file, -EINVAL);
	err = copy_file(from, to, is_gone, file, &bytes);
	if (err)
		return reply(file, err);
	rpc_reply_begin_tagged(&out, file->rpc.seq, "ok");
	term_put_integer(&out, (long long)bytes);
	return rpc_reply_end(&file->wire, &out);
}

static int extents_handler(struct file *file)
{
	static struct copy_extent extents[EXTENTS_MAX];
	struct term_out out;
	const char *path;
	long long from;
	uint64_t size;
	int count;

	if (file->rpc.count != 2 || term_get_string(&file->rpc.args, &path) < 0 ||
	    term_get_integer(&file->rpc.args, 0, INT64_MAX, &from) < 0)
		return reply(file, -EINVAL);
	count = copy_extents(path, (uint64_t)from, extents, EXTENTS_MAX, &size);
	if (count < 0)
		return reply(file, count);
	rpc_reply_begin_tagged(&out, file->rpc.seq, "ok");
	term_put_tuple(&out, 2);
	term_put_integer(&out, (long long)size);
	for (int i = 0; i < count; i++) {
		term_put_list(&out, 1);
		term_put_tuple(&out, 2);
		term_put_integer(&out, (long long)extents[i].offset);
		term_put_integer(&out, (long long)extents[i].length);
	}
	term_put_nil(&out);
	return rpc_reply_end(&file->wire, &out);
}

static int sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	fd_close(&fd);
	return err;
}

static int sync_handler(struct file *file)
{
	const char *path;

	if (file->rpc.count != 1 || term_get_string(&file->rpc.args, &path) < 0)
		return reply(file, -EINVAL);
	return reply(file, sync_path(path));
}

/* Its descriptor stays open, and with it the lock. */
static int lock_path(struct file *file, const char *path, unsigned int seconds)
{
	/* The end of the peer's end comes without being asked for. */
	struct pollfd peer = {.fd = file->wire.in};
	unsigned int tries = seconds * 1000 / LOCK_PAUSE_MS;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int err = 0;

	if (fd < 0)
		return -errno;
	while (!err && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			err = -errno;
		else if (tries-- == 0)
			err = -ETIMEDOUT;
		else if (poll(&peer, 1, LOCK_PAUSE_MS) > 0)
			err = -ECANCELED;
	}
	if (err)
		close(fd);
	return err;
}

static int lock_handler(struct file *file)
{
	const char *path;
	uint32_t seconds;

	if (file->rpc.count != 2 || term_get_string(&file->rpc.args, &path) < 0 ||
	    term_get_u32(&file->rpc.args, 1, &seconds) < 0 || seconds > LOCK_SECONDS_MAX)
		return reply(file, -EINVAL);
	return reply(file, lock_path(file, path, seconds));
}

static int idle_handler(struct file *file)
{
	cleanup_fd int fd = -1;
	struct term_out out;
	const char *path;
	bool idle;

	if (file->rpc.count != 1 || term_get_string(&file->rpc.args, &path) < 0)
		return reply(file, -EINVAL);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return reply(file, -errno);
	idle = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (!idle && errno != EWOULDBLOCK)
		return reply(file, -errno);
	rpc_reply_begin_tagged(&out, file->rpc.seq, "ok");
	term_put_boolean(&out, idle);
	return rpc_reply_end(&file->wire, &out);
}

static const struct {
	const char *name;
	call_handler *handle;
} calls[] = {
	{"copy", copy_handler}, {"extents", extents_handler}, {"sync", sync_handler},
	{"lock", lock_handler}, {"idle", idle_handler},
};

static int dispatch(struct file *file, const struct wire_frame *frame)
{
	struct term_arena arena;
	int err;

	if (frame->bytes[0] != CHANNEL_CONTROL || rpc_open(&file->rpc, frame) < 0)
		return -EPROTO;
	err = term_arena_init(&arena, frame->len);
	if (err)
		return err;
	file->rpc.args.arena = &arena;
	err = -EPROTO;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (strcmp(file->rpc.name, calls[i].name) == 0)
			err = calls[i].handle(file);
	term_arena_free(&arena);
	return err;
}

static int wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	return RETRY(poll(&poll_fd, 1, -1)) < 0 ? -errno : 0;
}

static int flush(struct file *file)
{
	int err = wire_flush(&file->wire);

	while (!err && file->wire.queued) {
		err = wait_for(file->wire.out, POLLOUT);
		err = err ? err : wire_flush(&file->wire);
	}
	return err;
}

static int turn(struct file *file)
{
	struct wire_frame frame;
	int err = wait_for(file->wire.in, POLLIN);

	if (err)
		return err;
	err = wire_read(&file->wire);
	if (err == 0 || err == -ECONNRESET)
		return FILE_EOF;
	if (err < 0)
		return err == -EAGAIN || err == -EINTR ? 0 : err;
	while ((err = wire_next(&file->wire, &frame)) > 0) {
		err = dispatch(file, &frame);
		err = err ? err : flush(file);
		if (err)
			return err;
	}
	return err;
}

int main(int argc, char **argv)
{
	static struct file file;
	int err;

	if (argc > 2 && strcmp(argv[1], "run") == 0)
		return run_program(argv + 2);
	if (start_prepare() < 0) {
		fprintf(stderr, "evum_file: is started by Erlang, with descriptors 3 and 4 open\n");
		return 1;
	}
	/* A limit is an error, as a full disk is. */
	signal(SIGXFSZ, SIG_IGN);
	ei_init();
	err = wire_init(&file.wire, PORT_IN, PORT_OUT);
	while (!err)
		err = turn(&file);
	wire_free(&file.wire);
	if (err >= 0 || err == -EPIPE)
		return 0;
	fprintf(stderr, "evum_file: %s\n", strerror(-err));
	return err == -EPROTO ? 2 : 1;
}
