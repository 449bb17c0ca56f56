/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of sparse files, and where their data is
 *
 * Three ways, each for what the one before can't: the file system shares the
 * blocks (FICLONE), the kernel copies (copy_file_range), or we do, and leave out
 * what is all zeros, since who can't do the second often knows of no holes either.
 */
#include "copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "util.h"

#define PIECE ((size_t)8 << 20) /* between two looks whether to stop */
#define BLOCK ((size_t)64 << 10)

struct copy {
	int from, to;
	bool by_hand; /* the kernel doesn't copy between these two */
	char *block;
	uint64_t bytes;
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
static ssize_t piece_by_hand(struct copy *copy, off_t offset, size_t len)
{
	ssize_t got;
	int err;

	if (!copy->block)
		copy->block = malloc(BLOCK);
	if (!copy->block)
		return -ENOMEM;
	got = RETRY(pread(copy->from, copy->block, min_size(len, BLOCK), offset));
	if (got <= 0)
		return got < 0 ? -errno : 0;
	err = is_zero(copy->block, (size_t)got) ? 0 : write_block(copy, offset, (size_t)got);
	return err ? err : got;
}

static ssize_t piece(struct copy *copy, off_t offset, size_t len)
{
	off_t out = offset, in = offset;
	ssize_t done;

	if (copy->by_hand)
		return piece_by_hand(copy, offset, len);
	done = RETRY(copy_file_range(copy->from, &in, copy->to, &out, len, 0));
	if (done >= 0)
		return done;
	if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -errno;
	copy->by_hand = true;
	return piece_by_hand(copy, offset, len);
}

static int copy_data(struct copy *copy, off_t offset, off_t end, copy_stop *stop, void *ctx)
{
	ssize_t done = 1;

	while (offset < end && done > 0) {
		if (stop && stop(ctx))
			return -ECANCELED;
		done = piece(copy, offset, min_size((size_t)(end - offset), PIECE));
		if (done > 0) {
			offset += done;
			copy->bytes += (uint64_t)done;
		}
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

static int copy_all(struct copy *copy, const struct stat *st, copy_stop *stop, void *ctx)
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
		err = more < 0 ? more : copy_data(copy, start, end, stop, ctx);
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
	struct copy copy = {.to = -1};
	struct stat st;
	int err;

	copy.from = open_regular(from, &st);
	if (copy.from < 0)
		return copy.from;
	copy.to = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	err = copy.to < 0 ? -errno : copy_all(&copy, &st, stop, ctx);
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
