/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outq: frames on their way to the host
 */
#define _GNU_SOURCE
#include "outq.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

uint8_t *outq_payload(struct outq *out)
{
	if (sizeof(out->bytes) - out->end < FRAME_MAX + OUTQ_SMALL) {
		memmove(out->bytes, out->bytes + out->start, out->end - out->start);
		out->end -= out->start;
		out->start = 0;
	}
	return out->bytes + out->end + FRAME_HEADER;
}

void outq_commit(struct outq *out, uint8_t type, uint8_t fd, uint32_t id, uint32_t len)
{
	frame_put_header(out->bytes + out->end, type, fd, id, len);
	out->end += FRAME_HEADER + len;
}

void outq_frame(struct outq *out, uint8_t type, uint8_t fd, uint32_t id, const void *payload,
		size_t len)
{
	memcpy(outq_payload(out), payload, len);
	outq_commit(out, type, fd, id, (uint32_t)len);
}

int outq_flush(struct outq *out)
{
	ssize_t written;

	while (out->ready && out->start < out->end) {
		written = write(out->fd, out->bytes + out->start, out->end - out->start);
		if (written > 0)
			out->start += (size_t)written;
		else if (written < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		else if (written == 0 || errno == EAGAIN)
			out->ready = false;
	}
	if (out->start == out->end)
		out->start = out->end = 0;
	return 0;
}
