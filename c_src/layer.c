/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of a disk: made, and checked against what they lie over
 *
 * Theory of operation.  A layer is an ext4 in a sparse file, which the guest puts
 * over the disks below it by overlayfs; no block map is kept beside it.  It begins
 * as a copy of a template, packed into the few blocks that aren't zeros, and the
 * guest grows its file system to the file's size.
 *
 * ext4 leaves the first 1024 bytes to boot loaders.  There, in lines of text, a
 * layer remembers each disk that it was made over.  Over another one, or one that
 * was written to since, its file names would mean other files.  A guest's root can
 * write there too, and so have its own layer refused; nothing is opened by what it
 * says.
 */
#include "layer.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define MAGIC "evum-layer 1\nlowers "
#define PACK_MAGIC "evum-pack 1\n"
#define START_BYTES 131072 /* btrfs keeps its superblock at 64 KiB */
#define TEMPORARY ".XXXXXX"
#define MIB 1048576

/* FNV-1a, by words: it finds accidents, not forgers. */
static uint64_t hash_words(uint64_t hash, const uint64_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hash = (hash ^ words[i]) * 0x100000001b3u;
	return hash;
}

static int hash_start(int fd, uint64_t *hash)
{
	uint64_t words[LAYER_BLOCK / sizeof(uint64_t)];

	*hash = 0xcbf29ce484222325u;
	for (off_t at = 0; at < START_BYTES; at += LAYER_BLOCK) {
		ssize_t length = RETRY(pread(fd, words, sizeof(words), at));

		if (length < 0)
			return -errno;
		memset((char *)words + length, 0, sizeof(words) - (size_t)length);
		*hash = hash_words(*hash, words, ARRAY_SIZE(words));
	}
	return 0;
}

int layer_identify(int fd, struct layer_ids *ids)
{
	struct layer_id *id = &ids->id[ids->count];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	id->size = (uint64_t)st.st_size;
	id->mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	ids->count++;
	return hash_start(fd, &id->start);
}

static void print_head(const struct layer_ids *ids, char head[static LAYER_HEAD])
{
	size_t used;

	memset(head, 0, LAYER_HEAD);
	used = (size_t)snprintf(head, LAYER_HEAD, MAGIC "%u\n", ids->count);
	for (unsigned int i = 0; i < ids->count; i++)
		used += (size_t)snprintf(head + used, LAYER_HEAD - used,
					 "%" PRIu64 " %" PRId64 " %016" PRIx64 "\n",
					 ids->id[i].size, ids->id[i].mtime, ids->id[i].start);
}
_Static_assert(sizeof(MAGIC "16\n") + 59ul * EVUM_DISKS_MAX <= LAYER_HEAD,
	       "every line has room: 20, 20 and 16 digits");

/* Copies the template's blocks to where they belong. */
static int unpack(FILE *pack, int fd)
{
	char magic[sizeof(PACK_MAGIC)] = "";
	struct {
		uint32_t number;
		uint8_t bytes[LAYER_BLOCK];
	} block;

	if (fread(magic, 1, sizeof(PACK_MAGIC) - 1, pack) != sizeof(PACK_MAGIC) - 1 ||
	    strcmp(magic, PACK_MAGIC) != 0)
		return -EBADMSG;
	while (fread(&block, sizeof(block), 1, pack) == 1) {
		off_t at = (off_t)le32toh(block.number) * LAYER_BLOCK;
		ssize_t written = pwrite(fd, block.bytes, LAYER_BLOCK, at);

		if (written != LAYER_BLOCK)
			return written < 0 ? -errno : -ENOSPC;
	}
	return feof(pack) ? 0 : -EIO;
}

static int fill(int fd, const char *template, unsigned int size, const struct layer_ids *ids)
{
	char head[LAYER_HEAD];
	FILE *pack = fopen(template, "re");
	int err;

	if (!pack)
		return -errno;
	err = ftruncate(fd, (off_t)size * MIB) < 0 ? -errno : unpack(pack, fd);
	fclose(pack);
	print_head(ids, head);
	if (!err && pwrite(fd, head, sizeof(head), 0) != sizeof(head))
		err = -ENOSPC;
	return err;
}

/* Gives it its name, unless that is taken. */
static int publish(const char *temporary, const char *path)
{
	if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	/* NFS knows no such flag. */
	if (errno != EINVAL || link(temporary, path) < 0)
		return -errno;
	(void)unlink(temporary);
	return 0;
}

/* A directory's names are put on the host's disk. */
static int sync_directory_of(const char *path)
{
	char *copy = strdup(path);
	int fd, err;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* EINVAL: this file system's names need no such thing. */
	err = fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? -errno : 0;
	fd_close(&fd);
	free(copy);
	return err;
}

int layer_make(const char *path, const char *template, unsigned int size,
	       const struct layer_ids *ids, uid_t owner, bool synced)
{
	char *temporary;
	int fd, err;

	if (asprintf(&temporary, "%s" TEMPORARY, path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(temporary);
		return err;
	}
	err = fill(fd, template, size, ids);
	if (!err && owner != (uid_t)-1 && fchown(fd, owner, owner) < 0)
		err = -errno;
	if (!err && synced && fsync(fd) < 0)
		err = -errno;
	err = err ? err : publish(temporary, path);
	if (err)
		unlink(temporary);
	else if (synced)
		err = sync_directory_of(path);
	close(fd);
	free(temporary);
	return err;
}

/* The id in the next line. */
static bool parse_id(char **text, struct layer_id *id)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	id->size = strtoull(*text, &end, 10);
	id->mtime = strtoll(end, &end, 10);
	id->start = strtoull(end, &end, 16);
	*text = end + 1;
	return *end == '\n';
}

int layer_check(int fd, const struct layer_ids *ids, unsigned int *changed)
{
	char head[LAYER_HEAD + 1] = "";
	char *text;
	unsigned long count;

	if (RETRY(pread(fd, head, LAYER_HEAD, 0)) < 0)
		return -errno;
	if (strncmp(head, MAGIC, strlen(MAGIC)) != 0)
		return -EBADMSG;
	count = strtoul(head + strlen(MAGIC), &text, 10);
	if (count == 0 || count > EVUM_DISKS_MAX || *text++ != '\n')
		return -EBADMSG;
	for (*changed = 0; *changed < ids->count; ++*changed) {
		struct layer_id id;

		if (*changed == count)
			return -ESTALE;
		if (!parse_id(&text, &id))
			return -EBADMSG;
		if (id.size != ids->id[*changed].size || id.mtime != ids->id[*changed].mtime ||
		    id.start != ids->id[*changed].start)
			return -ESTALE;
	}
	/* Made over more disks than these: the last of them is missing. */
	*changed = ids->count - 1;
	return count == ids->count ? 0 : -ESTALE;
}
