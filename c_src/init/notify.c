/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: the machine's init says that it is through
 *
 * Theory of operation.  The guardian opens the socket, as it outlives all agents;
 * the agent that runs reads it.  That init was ready is kept in memory which all
 * share, so that the next agent and its commands know it.  Anybody in the
 * machine can send; the kernel says who it was.
 *
 * An init waits while the socket is full, so it is read whatever it holds, and
 * shut once nothing more is wanted: who sends to it then is told so at once.
 */
#define _GNU_SOURCE
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT_MAX 4096 /* the rest of a longer message is not seen */
#define READS_MAX 16  /* at a time: nobody can keep the agent busy with this alone */

static int open_socket(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0" NOTIFY_ADDRESS};
	const socklen_t len = offsetof(struct sockaddr_un, sun_path) + sizeof(NOTIFY_ADDRESS);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) == 0 &&
	    bind(fd, (const struct sockaddr *)&address, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

void notify_open(struct boot *boot)
{
	void *page = mmap(NULL, sizeof(*boot->ready), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	boot->notify = page != MAP_FAILED ? open_socket() : -1;
	boot->ready = boot->notify >= 0 ? page : NULL;
}

/* Is it a line of the message? */
static bool says_ready(const char *text)
{
	static const char ready[] = "READY=1";

	for (; text != NULL; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strcspn(text, "\n") == sizeof(ready) - 1 &&
		    strncmp(text, ready, sizeof(ready) - 1) == 0)
			return true;
	}
	return false;
}

/* The next message; *from is 0 where its sender isn't known. */
static ssize_t receive(int fd, char text[static TEXT_MAX], pid_t *from)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = {.iov_base = text, .iov_len = TEXT_MAX - 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const struct cmsghdr *extra;
	struct ucred sender;
	ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

	*from = 0;
	text[len > 0 ? len : 0] = '\0';
	extra = len < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (extra != NULL && extra->cmsg_level == SOL_SOCKET &&
	    extra->cmsg_type == SCM_CREDENTIALS) {
		memcpy(&sender, CMSG_DATA(extra), sizeof(sender));
		*from = sender.pid;
	}
	return len;
}

bool notify_read(const struct boot *boot)
{
	char text[TEXT_MAX];
	pid_t from;
	int i;

	for (i = 0; i < READS_MAX && receive(boot->notify, text, &from) >= 0; i++) {
		if (from != boot->init || !says_ready(text))
			continue;
		*boot->ready = 1;
		(void)shutdown(boot->notify, SHUT_RD);
		return true;
	}
	return false;
}
