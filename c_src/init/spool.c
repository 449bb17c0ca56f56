/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool: bulk to and from the host, by two files
 *
 * hostfs is mounted for as long as it takes to open the files, where only the
 * guardian and the agent see it.  It caches pages of the host's files, and
 * looks at a file's length when it opens it: a slot's pages are dropped before
 * they are read, and a file that is shorter than the ring is none.
 */
#define _GNU_SOURCE
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount.h"

#define RING_SIZE ((off_t)AGENT_SPOOL_SLOTS * AGENT_SPOOL_SLOT)

#define WRITE_OUT (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

static off_t offset_of(uint32_t slot)
{
	return (off_t)slot * AGENT_SPOOL_SLOT;
}

static int open_ring(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= RING_SIZE)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void close_rings(struct spool *spool)
{
	if (spool->in >= 0)
		close(spool->in);
	if (spool->out >= 0)
		close(spool->out);
	spool->in = spool->out = -1;
}

void spool_open(struct spool *spool, const char *path)
{
	int folder = path[0] != '\0' ? mount_unseen("hostfs", path) : -1;

	spool->in = spool->out = -1;
	spool->free = AGENT_SPOOL_SLOTS;
	if (folder < 0)
		return;
	spool->in = open_ring(folder, AGENT_SPOOL_IN);
	spool->out = open_ring(folder, AGENT_SPOOL_OUT);
	close(folder);
	/* Slots are whole reads: what would be read ahead is dropped again. */
	(void)posix_fadvise(spool->in, 0, 0, POSIX_FADV_RANDOM);
	if (spool->in < 0 || spool->out < 0)
		close_rings(spool);
}

void spool_credit(struct spool *spool, uint32_t slots)
{
	spool->free = slots < AGENT_SPOOL_SLOTS - spool->free ? spool->free + slots
							      : AGENT_SPOOL_SLOTS;
}

int spool_read(const struct spool *spool, uint32_t slot, uint32_t len, uint8_t *to)
{
	if (spool->in < 0 || slot >= AGENT_SPOOL_SLOTS || len == 0 || len > AGENT_SPOOL_SLOT)
		return -EBADMSG;
	(void)posix_fadvise(spool->in, offset_of(slot), AGENT_SPOOL_SLOT, POSIX_FADV_DONTNEED);
	return pread(spool->in, to, len, offset_of(slot)) == (ssize_t)len ? 0 : -EBADMSG;
}

int spool_write(struct spool *spool, uint32_t len)
{
	uint32_t slot = spool->slot;

	if (pwrite(spool->out, spool->bytes, len, offset_of(slot)) != (ssize_t)len ||
	    sync_file_range(spool->out, offset_of(slot), len, WRITE_OUT) < 0) {
		close(spool->out);
		spool->out = -1;
		return -EIO;
	}
	spool->slot = (slot + 1) % AGENT_SPOOL_SLOTS;
	spool->free--;
	return (int)slot;
}
