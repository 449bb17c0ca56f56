/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of sparse files, and where their data is
 *
 * Where the file system shares blocks (FICLONE) nothing is copied.  Else what isn't a
 * hole is read, and written but for blocks of zeros: a guest's file system writes many.
 */
#include "copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "util.h"

#define BLOCK ((size_t)64 << 10)

struct copy {
	int from, to;
	char *block;
	uint64_t bytes;
	copy_stop *stop;
	void *ctx;
};

static bool is_zero(const char *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static int write_block(const struct copy *copy, off_t offset, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = RETRY(
			pwrite(copy->to, copy->block + done, len - done, offset + (off_t)done));

		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

/* At most len bytes; how many, 0 at the end of the file. */
static ssize_t copy_block(struct copy *copy, off_t offset, size_t len)
{
	ssize_t got = RETRY(pread(copy->from, copy->block, min_size(len, BLOCK), offset));
	int err;

	if (got < 0)
		return -errno;
	if (is_zero(copy->block, (size_t)got))
		return got;
	err = write_block(copy, offset, (size_t)got);
	copy->bytes += (uint64_t)got;
	return err ? err : got;
}

static int copy_data(struct copy *copy, off_t offset, off_t end)
{
	ssize_t done = 1;

	for (; offset < end && done > 0; offset += done) {
		if (copy->stop && copy->stop(copy->ctx))
			return -ECANCELED;
		done = copy_block(copy, offset, (size_t)(end - offset));
	}
	return done < 0 ? (int)done : 0;
}

/* The next data from offset on: 1, 0 where there is no more, or -errno. */
static int next_data(int fd, off_t offset, off_t size, off_t *start, off_t *end)
{
	if (offset >= size)
		return 0;
	*start = lseek(fd, offset, SEEK_DATA);
	if (*start < 0 && errno == ENXIO)
		return 0;
	*end = *start < 0 ? -1 : lseek(fd, *start, SEEK_HOLE);
	if (*start >= 0 && *end >= 0)
		return 1;
	if (errno != EINVAL && errno != EOPNOTSUPP)
		return -errno;
	/* It knows of no holes. */
	*start = offset;
	*end = size;
	return 1;
}

static int copy_all(struct copy *copy, const struct stat *st)
{
	off_t start, end = 0;
	int more, err = 0;

	if (ioctl(copy->to, FICLONE, copy->from) == 0) {
		copy->bytes = (uint64_t)st->st_blocks * 512;
		return 0;
	}
	if (ftruncate(copy->to, st->st_size) < 0)
		return -errno;
	while (!err && (more = next_data(copy->from, end, st->st_size, &start, &end)) != 0)
		err = more < 0 ? more : copy_data(copy, start, end);
	return err;
}

static int open_regular(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err = 0;

	*st = (struct stat){0};
	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0)
		err = -errno;
	else if (!S_ISREG(st->st_mode))
		err = -EINVAL;
	if (err)
		close(fd);
	return err ? err : fd;
}

int copy_file(const char *from, const char *to, copy_stop *stop, void *ctx, uint64_t *bytes)
{
	struct copy copy = {.to = -1, .stop = stop, .ctx = ctx, .block = malloc(BLOCK)};
	struct stat st;
	int err;

	copy.from = open_regular(from, &st);
	err = copy.from < 0 ? copy.from : 0;
	if (!copy.block)
		err = -ENOMEM;
	if (!err)
		copy.to = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!err)
		err = copy.to < 0 ? -errno : copy_all(&copy, &st);
	if (err && copy.to >= 0)
		(void)unlink(to);
	fd_close(&copy.to);
	fd_close(&copy.from);
	free(copy.block);
	*bytes = copy.bytes;
	return err;
}

int copy_extents(const char *path, uint64_t from, struct copy_extent *extents, size_t max,
		 uint64_t *size)
{
	struct stat st;
	off_t start, end = (off_t)from;
	size_t count = 0;
	int more = 1, fd = open_regular(path, &st);

	if (fd < 0)
		return fd;
	*size = (uint64_t)st.st_size;
	while (count < max && (more = next_data(fd, end, st.st_size, &start, &end)) > 0)
		extents[count++] = (struct copy_extent){.offset = (uint64_t)start,
							.length = (uint64_t)(end - start)};
	close(fd);
	return more < 0 ? more : (int)count;
}
