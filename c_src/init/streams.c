/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams: what connects a program with the agent
 */
#define _GNU_SOURCE
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pty.h"

static void close_all(int fds[3])
{
	int i;

	for (i = 0; i < 3; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

void streams_close_ours(struct streams *streams)
{
	close_all(streams->ours);
}

void streams_close_theirs(struct streams *streams)
{
	close_all(streams->theirs);
}

static int open_pipes(struct streams *streams)
{
	int pair[2], fd;

	for (fd = 0; fd < 3; fd++) {
		if (pipe2(pair, O_CLOEXEC) < 0)
			return -errno;
		streams->ours[fd] = pair[fd == 0 ? 1 : 0];
		streams->theirs[fd] = pair[fd == 0 ? 0 : 1];
		if (fcntl(streams->ours[fd], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

/* The master twice, so that each direction has an end of its own. */
static int open_pty(struct streams *streams, const struct spawn_host *host,
		    const struct run_spec *spec)
{
	int result = pty_open(host->proc, host->init, spec->rows, spec->columns, &streams->ours[0],
			      &streams->theirs[0]);

	if (result < 0)
		return result;
	streams->ours[1] = fcntl(streams->ours[0], F_DUPFD_CLOEXEC, 0);
	return streams->ours[1] < 0 ? -errno : 0;
}

int streams_open(struct streams *streams, const struct spawn_host *host,
		 const struct run_spec *spec)
{
	int result;

	*streams = (struct streams){.ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
	result = spec->pty ? open_pty(streams, host, spec) : open_pipes(streams);
	if (result < 0) {
		close_all(streams->ours);
		close_all(streams->theirs);
	}
	return result;
}
