/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop waits for: a list that is made anew each time */
#include "polls.h"

#include <errno.h>
#include <stdlib.h>

#define POLLS_FIRST 64u

void polls_clear(struct polls *polls)
{
	polls->count = 0;
}

static int grow(struct polls *polls)
{
	size_t capacity = polls->capacity ? 2 * polls->capacity : POLLS_FIRST;
	struct pollfd *fds = reallocarray(polls->fds, capacity, sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	polls->fds = fds;
	polls->capacity = capacity;
	return 0;
}

int polls_add(struct polls *polls, int fd, short events)
{
	if (polls->count == polls->capacity && grow(polls) < 0)
		return -ENOMEM;
	polls->fds[polls->count] = (struct pollfd){.fd = fd, .events = events};
	return (int)polls->count++;
}

short polls_events(const struct polls *polls, int index)
{
	return polls->fds[index].revents;
}

void polls_free(struct polls *polls)
{
	free(polls->fds);
	*polls = (struct polls){0};
}
