/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: bulk between libevum and the agent, through two host files
 *
 * Theory of operation.  agent_proto.h has the rings and their slots.  The files
 * are made before the guest runs and opened once: a guest's root can mount the
 * run directory and do as it likes with them, remove them and put others in
 * their place.  Only these descriptors are used here, and only by pread() and
 * pwrite(): a file that was cut short gives few bytes, and no SIGBUS as a map of
 * it would.  So it can garble its own machine's streams and no more.
 */
#include "rings.h"

#include <fcntl.h>
#include <stdio.h>

#include "util.h"

static int make_file(const char *directory, const char *name, int *fd)
{
	char path[96];

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*fd < 0)
		return -errno;
	/* hostfs believes the size that it saw first. */
	return ftruncate(*fd, (off_t)AGENT_SPOOL_SLOTS * AGENT_SPOOL_SLOT) < 0 ? -errno : 0;
}

int rings_make(const char *directory, int fds[2])
{
	int err;

	fds[0] = fds[1] = -1;
	err = make_file(directory, AGENT_SPOOL_IN, &fds[0]);
	err = err ? err : make_file(directory, AGENT_SPOOL_OUT, &fds[1]);
	if (err) {
		fd_close(&fds[0]);
		fd_close(&fds[1]);
	}
	return err;
}

int rings_init(struct rings *rings, int fds[2])
{
	*rings = (struct rings){.in = fds[0], .out = fds[1], .buffer = malloc(AGENT_SPOOL_SLOT)};
	fds[0] = fds[1] = -1;
	return rings->buffer ? 0 : -ENOMEM;
}

void rings_free(struct rings *rings)
{
	fd_close(&rings->in);
	fd_close(&rings->out);
	free(rings->buffer);
	rings->buffer = NULL;
}

void rings_reset(struct rings *rings, bool agent_has)
{
	rings->agent_has = agent_has;
	rings->failed = false;
	rings->first = rings->next;
	rings->ungranted = 0;
}

size_t rings_slots(const struct rings *rings, size_t len)
{
	if (!rings->agent_has || rings->failed)
		return 0;
	return len / AGENT_SPOOL_SLOT + (len % AGENT_SPOOL_SLOT >= AGENT_SPOOL_MIN);
}

size_t rings_free_slots(const struct rings *rings)
{
	return AGENT_SPOOL_SLOTS - (rings->next - rings->first);
}

static off_t offset_of(uint32_t number)
{
	return (off_t)(number % AGENT_SPOOL_SLOTS) * AGENT_SPOOL_SLOT;
}

int rings_write(struct rings *rings, uint32_t ahead, const void *bytes, size_t len)
{
	off_t offset = offset_of(rings->next + ahead);

	if (RETRY(pwrite(rings->in, bytes, len, offset)) == (ssize_t)len)
		return 0;
	rings->failed = true;
	return -EIO;
}

uint32_t rings_take(struct rings *rings)
{
	return rings->next++;
}

void rings_granted(struct rings *rings, uint32_t number)
{
	if (number - rings->first <= rings->next - rings->first)
		rings->first = number;
}

int rings_read(struct rings *rings, uint32_t slot, uint32_t len)
{
	if (slot >= AGENT_SPOOL_SLOTS || len == 0 || len > AGENT_SPOOL_SLOT)
		return -EINVAL;
	if (RETRY(pread(rings->out, rings->buffer, len, offset_of(slot))) != (ssize_t)len)
		return -EINVAL;
	return 0;
}
