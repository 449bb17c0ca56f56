/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UML's management console: requests, their answers, and notifications
 *
 * Datagrams both ways.  The kernel answers to the path of the client's socket,
 * so that one is bound inside the jail; we reach the kernel's socket through a
 * descriptor of it, which also keeps its path below the 108 bytes of a socket
 * address.  What arrives here comes from the UML process, so
 * lengths are checked.
 */
#include "mconsole.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "util.h"

#define MAGIC 0xcafebabeu
#define VERSION 2u
#define DATA_MAX 512

struct request {
	uint32_t magic;
	uint32_t version;
	uint32_t len;
	char data[DATA_MAX];
};

struct reply {
	uint32_t err;
	uint32_t more;
	uint32_t len;
	char data[DATA_MAX];
};

struct notice {
	uint32_t magic;
	uint32_t version;
	int32_t type;
	uint32_t len;
	char data[DATA_MAX];
};

int mconsole_init(struct mconsole *mconsole)
{
	*mconsole = (struct mconsole){.client = -1, .run = -1, .kernel = -1};
	mconsole->answer = malloc(MCONSOLE_ANSWER_MAX);
	return mconsole->answer ? 0 : -ENOMEM;
}

void mconsole_free(struct mconsole *mconsole)
{
	fd_close(&mconsole->client);
	fd_close(&mconsole->run);
	fd_close(&mconsole->kernel);
	free(mconsole->answer);
	mconsole->answer = NULL;
}

/* A guest's root may put links into the run directory: none is followed. */
void mconsole_ready(struct mconsole *mconsole)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	if (mconsole->kernel < 0)
		mconsole->kernel =
			(int)syscall(SYS_openat2, mconsole->run, "m/mconsole", &how, sizeof(how));
}

int mconsole_queue(struct mconsole *mconsole, uint32_t id, const char *command)
{
	struct mconsole_request *request;

	if (command[0] == '\0')
		return -EINVAL;
	if (strlen(command) > EVUM_MCONSOLE_MAX)
		return -EMSGSIZE;
	if (mconsole->count == EVUM_MCONSOLE_PENDING)
		return -EBUSY;
	request = &mconsole->queue[(mconsole->first + mconsole->count) % EVUM_MCONSOLE_PENDING];
	request->id = id;
	memcpy(request->command, command, strlen(command) + 1);
	mconsole->count++;
	return 0;
}

bool mconsole_send(struct mconsole *mconsole)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct request request = {.magic = MAGIC, .version = VERSION};
	struct reply reply;
	const char *command = mconsole->queue[mconsole->first].command;

	if (mconsole->kernel < 0 || mconsole->waiting || mconsole->count == 0)
		return false;
	/* Answers to what was given up. */
	while (recv(mconsole->client, &reply, sizeof(reply), MSG_DONTWAIT) >= 0)
		continue;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", mconsole->kernel);
	request.len = (uint32_t)strlen(command);
	memcpy(request.data, command, request.len);
	mconsole->waiting = true;
	mconsole->refused = false;
	mconsole->answer_len = 0;
	/* A failure here is a kernel that is gone: the request's time-out answers it. */
	sendto(mconsole->client, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT,
	       (struct sockaddr *)&address, sizeof(address));
	return true;
}

bool mconsole_receive(struct mconsole *mconsole)
{
	struct reply reply;
	ssize_t received = recv(mconsole->client, &reply, sizeof(reply), MSG_DONTWAIT);
	size_t header = offsetof(struct reply, data);
	size_t len;

	if (received < (ssize_t)header || !mconsole->waiting)
		return false;
	len = min_size(reply.len, (size_t)received - header);
	len = min_size(len, MCONSOLE_ANSWER_MAX - mconsole->answer_len);
	/* The kernel fills in err in the first packet of an answer only. */
	if (mconsole->answer_len == 0)
		mconsole->refused = reply.err != 0;
	/* A refusal's text counts its closing NUL. */
	if (len > 0 && reply.data[len - 1] == '\0')
		len--;
	memcpy(mconsole->answer + mconsole->answer_len, reply.data, len);
	mconsole->answer_len += len;
	return reply.more == 0;
}

void mconsole_done(struct mconsole *mconsole)
{
	mconsole->waiting = false;
	mconsole->answer_len = 0;
	mconsole->first = (mconsole->first + 1) % EVUM_MCONSOLE_PENDING;
	mconsole->count--;
}

long mconsole_read_notice(int notify, enum mconsole_notice *type, char *data, size_t size)
{
	struct notice notice;
	ssize_t received = recv(notify, &notice, sizeof(notice), MSG_DONTWAIT);
	size_t header = offsetof(struct notice, data);
	size_t len;

	if (received < 0)
		return -errno;
	if (received < (ssize_t)header || notice.magic != MAGIC || notice.type < 0 ||
	    notice.type > MCONSOLE_USER)
		return -EBADMSG;
	len = min_size(notice.len, (size_t)received - header);
	len = min_size(len, size);
	memcpy(data, notice.data, len);
	*type = (enum mconsole_notice)notice.type;
	return (long)len;
}
