/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy has the same bytes and holes, and a copy that fails leaves nothing
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "copy.h"
#include "util.h"

#define MIB ((off_t)1 << 20)
#define SIZE (96 * MIB + 123)

static char directory[] = "/tmp/evum-copy-XXXXXX";

/* Some data at the start, in the middle and at the odd end, or none at all. */
static void make_file(const char *path, off_t size, bool filled)
{
	static char bytes[300000];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, size) == 0);
	memset(bytes, 'x', sizeof(bytes));
	for (off_t at = 4096; filled && at < size; at += 24 * MIB)
		CHECK(pwrite(fd, bytes, sizeof(bytes), at) == sizeof(bytes));
	if (filled)
		CHECK(pwrite(fd, "end", 3, size - 3) == 3);
	close(fd);
}

static void check_same(const char *a, const char *b)
{
	static char one[1 << 16], two[1 << 16];
	int first = open(a, O_RDONLY | O_CLOEXEC), second = open(b, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	CHECK(first >= 0 && second >= 0);
	do {
		got = read(first, one, sizeof(one));
		CHECK(got >= 0 && read(second, two, sizeof(two)) == got);
		CHECK(memcmp(one, two, (size_t)got) == 0);
	} while (got > 0);
	close(first);
	close(second);
}

static blkcnt_t blocks(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return st.st_blocks;
}

static void copies_are_the_same_and_as_sparse(const char *to)
{
	uint64_t bytes = 0;

	for (int filled = 0; filled < 2; filled++) {
		make_file("from", SIZE, filled != 0);
		CHECK(copy_file("from", to, NULL, NULL, &bytes) == 0);
		check_same("from", to);
		CHECK(blocks(to) * 512 <= 4 * MIB);
		CHECK(filled ? bytes >= 1200000 && bytes < 4 * MIB : bytes == 0);
		CHECK(unlink(to) == 0);
	}
	make_file("from", 0, false);
	CHECK(copy_file("from", to, NULL, NULL, &bytes) == 0 && bytes == 0);
	check_same("from", to);
	CHECK(unlink(to) == 0);
}

static void extents_cover_all_data(void)
{
	struct copy_extent extents[4];
	uint64_t size, at = 0;
	int count, all = 0;

	make_file("from", SIZE, true);
	while ((count = copy_extents("from", at, extents, ARRAY_SIZE(extents), &size)) > 0) {
		CHECK(size == SIZE);
		for (int i = 0; i < count; i++) {
			CHECK(extents[i].offset >= at && extents[i].length > 0);
			at = extents[i].offset + extents[i].length;
		}
		all += count;
	}
	CHECK(count == 0 && all >= 5 && at == SIZE);
	CHECK(copy_extents("from", SIZE + 5, extents, 1, &size) == 0);
	CHECK(copy_extents("missing", 0, extents, 1, &size) == -ENOENT);
	CHECK(copy_extents(".", 0, extents, 1, &size) == -EINVAL);
}

static bool stop_at_once(void *ctx)
{
	return ++*(int *)ctx > 1;
}

static void what_fails_leaves_nothing(void)
{
	struct rlimit all, few;
	uint64_t bytes;
	int asked = 0;

	make_file("from", SIZE, true);
	CHECK(copy_file("missing", "to", NULL, NULL, &bytes) == -ENOENT);
	CHECK(copy_file(".", "to", NULL, NULL, &bytes) == -EINVAL);
	CHECK(copy_file("from", "missing/to", NULL, NULL, &bytes) == -ENOENT);
	CHECK(copy_file("from", "to", stop_at_once, &asked, &bytes) == -ECANCELED);
	CHECK(access("to", F_OK) < 0);
	/* as a disk that is full */
	CHECK(getrlimit(RLIMIT_FSIZE, &all) == 0);
	few = (struct rlimit){.rlim_cur = 30 * MIB, .rlim_max = all.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &few) == 0);
	CHECK(copy_file("from", "to", NULL, NULL, &bytes) == -EFBIG);
	CHECK(setrlimit(RLIMIT_FSIZE, &all) == 0);
	CHECK(access("to", F_OK) < 0);
	/* what was there stays */
	make_file("to", 5, false);
	CHECK(copy_file("from", "to", NULL, NULL, &bytes) == -EEXIST);
	CHECK(access("to", F_OK) == 0);
	CHECK(unlink("to") == 0);
}

/* Onto another file system the kernel may not copy. */
static void copies_cross_file_systems(void)
{
	char other[] = "/dev/shm/evum-copy-XXXXXX";
	int fd = mkstemp(other);

	if (fd < 0)
		return;
	close(fd);
	CHECK(unlink(other) == 0);
	copies_are_the_same_and_as_sparse(other);
}

int main(void)
{
	CHECK(mkdtemp(directory) && chdir(directory) == 0);
	copies_are_the_same_and_as_sparse("to");
	copies_cross_file_systems();
	extents_cover_all_data();
	what_fails_leaves_nothing();
	CHECK(unlink("from") == 0);
	CHECK(chdir("/") == 0 && rmdir(directory) == 0);
	return 0;
}
