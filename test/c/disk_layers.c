/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer is whole or not there, and lies over what it was made over
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "layer.h"

#define MIB 1048576L

static char directory[] = "/tmp/evum-test-layer-XXXXXX";
static char base[64], layer[64], pack[64];

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	return fd;
}

/* What base is now, as often as that. */
static struct layer_ids identify(unsigned int count)
{
	struct layer_ids ids = {.count = 0};
	int fd = open_file(base);

	while (ids.count < count)
		CHECK(layer_identify(fd, &ids) == 0);
	close(fd);
	return ids;
}

static int make(unsigned int count)
{
	struct layer_ids ids = identify(count);

	return layer_make(layer, pack, 64, &ids, (uid_t)-1, true);
}

static int check(unsigned int count, unsigned int *changed)
{
	struct layer_ids ids = identify(count);
	int fd = open_file(layer);
	int err = layer_check(fd, &ids, changed);

	close(fd);
	return err;
}

static void write_at(const char *path, off_t at, const char *text)
{
	int fd = open_file(path);

	CHECK(pwrite(fd, text, strlen(text), at) == (ssize_t)strlen(text));
	close(fd);
}

static void set_mtime(const char *path, time_t seconds)
{
	const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static void begins_as_the_template(void)
{
	char bytes[12];
	struct stat st;
	int fd;

	CHECK(make(1) == 0);
	CHECK(stat(layer, &st) == 0 && st.st_size == 64 * MIB && st.st_blocks < 64);
	CHECK((st.st_mode & 0777) == 0600);
	fd = open_file(layer);
	CHECK(pread(fd, bytes, sizeof(bytes), 2L * LAYER_BLOCK) == sizeof(bytes));
	CHECK(memcmp(bytes, "second block", sizeof(bytes)) == 0);
	close(fd);
	CHECK(make(1) == -EEXIST);
}

static void knows_its_base(void)
{
	unsigned int changed;

	CHECK(check(1, &changed) == 0);
	set_mtime(base, 1000);
	CHECK(check(1, &changed) == -ESTALE && changed == 0);
	set_mtime(base, 0);
	CHECK(check(1, &changed) == 0);
	/* What keeps its time isn't the same for that. */
	write_at(base, 66000, "!");
	set_mtime(base, 0);
	CHECK(check(1, &changed) == -ESTALE && changed == 0);
	CHECK(truncate(base, 2 * MIB) == 0);
	CHECK(check(1, &changed) == -ESTALE && changed == 0);
}

static void knows_every_disk_below(void)
{
	unsigned int changed;

	CHECK(unlink(layer) == 0 && make(EVUM_DISKS_MAX) == 0);
	CHECK(check(EVUM_DISKS_MAX, &changed) == 0);
	CHECK(check(EVUM_DISKS_MAX - 1, &changed) == -ESTALE && changed == EVUM_DISKS_MAX - 2);
	CHECK(unlink(layer) == 0 && make(2) == 0);
	CHECK(check(3, &changed) == -ESTALE && changed == 2);
}

/* A guest's root writes what it likes there: UML's own header, above all. */
static void what_was_written_over_is_no_layer(void)
{
	static const char *const heads[] = {"OOOM\0\0\0\2/etc/shadow", "evum-layer 1\nlowers 99\n",
					    "evum-layer 1\nlowers 1\nx", "evum-layer 1\n-", ""};
	unsigned int changed;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		char head[LAYER_HEAD] = "";
		int fd = open_file(layer);

		memcpy(head, heads[i], strlen(heads[i]));
		CHECK(pwrite(fd, head, sizeof(head), 0) == sizeof(head));
		close(fd);
		CHECK(check(1, &changed) == -EBADMSG);
	}
	CHECK(truncate(layer, 0) == 0 && check(1, &changed) == -EBADMSG);
}

/* No half of one is left under any name. */
static void is_not_made_of_a_bad_template(void)
{
	struct stat st;

	CHECK(unlink(layer) == 0);
	write_at(pack, 0, "other-pack");
	CHECK(make(1) == -EBADMSG && access(layer, F_OK) < 0);
	CHECK(unlink(pack) == 0 && make(1) == -ENOENT);
	CHECK(stat(directory, &st) == 0);
	CHECK(unlink(base) == 0 && rmdir(directory) == 0);
}

int main(void)
{
	static char block[LAYER_BLOCK] = "second block";
	const uint32_t number = 2;
	int fd;

	CHECK(mkdtemp(directory));
	snprintf(base, sizeof(base), "%s/base", directory);
	snprintf(layer, sizeof(layer), "%s/layer", directory);
	snprintf(pack, sizeof(pack), "%s/pack", directory);
	fd = open_file(base);
	CHECK(ftruncate(fd, MIB) == 0);
	close(fd);
	set_mtime(base, 0);
	fd = open_file(pack);
	CHECK(write(fd, "evum-pack 1\n", 12) == 12 &&
	      write(fd, &number, sizeof(number)) == sizeof(number) &&
	      write(fd, block, sizeof(block)) == sizeof(block));
	close(fd);
	begins_as_the_template();
	knows_its_base();
	knows_every_disk_below();
	what_was_written_over_is_no_layer();
	is_not_made_of_a_bad_template();
	return 0;
}
