/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop waits for: a list that is made anew each time */
#ifndef EVUM_UPLINK_POLLS_H
#define EVUM_UPLINK_POLLS_H

#include <poll.h>
#include <stddef.h>

struct polls {
	struct pollfd *fds;
	size_t count, capacity;
};

void polls_clear(struct polls *polls);
/* The entry's index, or -ENOMEM. */
int polls_add(struct polls *polls, int fd, short events);
/* What came of it. */
short polls_events(const struct polls *polls, int index);
void polls_free(struct polls *polls);

#endif
