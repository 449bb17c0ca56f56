/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the receiver of file streams, which must not leave its directory
 *
 * The first byte says what the rest is: a stream, or orders to make one, which
 * has right checksums and names that lead somewhere.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "files_stream.h"
#include "temporary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_inside(void)
{
	CHECK(mkdir("inside", 0755) == 0 && mkdir("inside/d", 0755) == 0);
	CHECK(symlink("../outside", "inside/l") == 0);
	CHECK(symlink("../../outside", "inside/d/l") == 0);
	CHECK(symlink("../outside/file", "inside/f") == 0);
}

static uint8_t next(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	(*size)--;
	return *(*data)++;
}

static void make_stream(struct file_stream *stream, const uint8_t *data, size_t size)
{
	static const char *const names[] = {"", "a", "d", "f", "l", "..", ".", "a/b", "../outside"};
	static const char types[] = "fdlue";
	const char *name;
	char type;

	while (size > 0 && stream->len < FILE_STREAM_MAX / 2) {
		type = types[next(&data, &size) % 5];
		if (type == 'u' || type == 'e') {
			add_number(stream, (uint8_t)type, 1);
			continue;
		}
		name = names[next(&data, &size) % 9];
		add_entry(stream, type, next(&data, &size) % 128 * 8u, UNSET, name, strlen(name));
		if (type == 'f')
			add_content(stream, name);
		if (type == 'l') {
			add_number(stream, strlen("../outside"), 2);
			add_text(stream, "../outside");
		}
	}
}

static int run(const struct file_stream *stream, const char *path)
{
	char put[] = "put", none[] = "", target[32];
	char *argv[] = {put, target, none, none, NULL};
	int fd = memfd_create("stream", MFD_CLOEXEC), err = dup(STDERR_FILENO), status;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	snprintf(target, sizeof(target), "%s", path);
	CHECK(fd >= 0 && write(fd, stream->bytes, stream->len) == (ssize_t)stream->len);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, STDIN_FILENO) >= 0);
	close(fd);
	/* Where the fuzzer itself speaks. */
	dup2(null, STDERR_FILENO);
	status = builtin_main(4, argv);
	dup2(err, STDERR_FILENO);
	close(err);
	close(null);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct file_stream stream;
	char home[] = "/tmp/fuzz_files_XXXXXX";
	bool merge;
	int status;

	if (size < 1 || size > FILE_STREAM_MAX)
		return 0;
	stream.len = 0;
	merge = (data[0] & 2) != 0;
	if ((data[0] & 1) != 0)
		add_bytes(&stream, data + 1, size - 1);
	else
		make_stream(&stream, data + 1, size - 1);
	CHECK(mkdtemp(home) != NULL && chdir(home) == 0 && mkdir("outside", 0755) == 0);
	if (merge)
		make_inside();
	status = run(&stream, "inside");
	/* What fails leaves nothing where nothing was. */
	if (status == 0 || merge)
		temporary_remove(AT_FDCWD, "inside");
	/* An empty directory can be removed, and no other. */
	if (rmdir("outside") < 0 || rmdir(home) < 0)
		abort();
	return 0;
}
