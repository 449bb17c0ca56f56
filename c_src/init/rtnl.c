/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl: the kernel's interfaces, addresses and routes, asked for and changed
 */
#define _GNU_SOURCE
#include "rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 32768 /* what the kernel packs into one answer of a list at most */
#define FOUND_MAX 64	 /* of a list at a time; the rest in the next round */

struct answer {
	union {
		struct nlmsghdr header;
		uint8_t bytes[ANSWER_MAX];
	};
};

int rtnl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

/* Each socket is used by one process, for one request after another, so an answer needs no number. */
static int send_message(int fd, const struct rtnl_message *message)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	const size_t len = message->header.nlmsg_len;
	ssize_t sent = sendto(fd, message->bytes, len, 0, (const struct sockaddr *)&kernel,
			      sizeof(kernel));

	return sent < 0 ? -errno : 0;
}

static ssize_t receive(int fd, struct answer *answer)
{
	ssize_t len;

	do
		len = recv(fd, answer->bytes, sizeof(answer->bytes), 0);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : len;
}

/* What an NLMSG_ERROR says: 0 or -errno. */
static int error_of(const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);

	return header->nlmsg_len >= NLMSG_LENGTH(sizeof(*error)) ? error->error : -EPROTO;
}

int rtnl_ask(int fd, struct rtnl_message *message)
{
	static struct answer answer;
	ssize_t len;
	int result = send_message(fd, message);

	if (result < 0)
		return result;
	len = receive(fd, &answer);
	if (len < 0)
		return (int)len;
	if (!NLMSG_OK(&answer.header, (size_t)len) || answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return error_of(&answer.header);
}

/*
 * Calls take for each message of the list that request asks for.  Returns 0 at
 * its end, or -errno.
 */
static int list(int fd, const struct rtnl_message *request,
		void (*take)(const struct nlmsghdr *header, void *found), void *found)
{
	static struct answer answer;
	const struct nlmsghdr *header;
	ssize_t received;
	size_t len;
	int result = send_message(fd, request);

	while (result == 0) {
		received = receive(fd, &answer);
		if (received < 0)
			return (int)received;
		len = (size_t)received;
		for (header = &answer.header; NLMSG_OK(header, len);
		     header = NLMSG_NEXT(header, len)) {
			if (header->nlmsg_type == NLMSG_DONE)
				return 0;
			if (header->nlmsg_type == NLMSG_ERROR)
				return error_of(header);
			take(header, found);
		}
	}
	return result;
}

/* --- addresses --------------------------------------------------------------- */

struct addresses {
	int index;
	const struct rtnl_address *keep;
	size_t count;
	struct rtnl_address all[FOUND_MAX];
};

static void take_address(const struct nlmsghdr *header, void *found)
{
	struct addresses *addresses = found;
	const struct rtnl_address *keep = addresses->keep;
	struct rtnl_address one;

	if (addresses->count == FOUND_MAX || !rtnl_message_is_address(header, &one) ||
	    one.index != addresses->index)
		return;
	if (keep == NULL || one.address.s_addr != keep->address.s_addr ||
	    one.prefix != keep->prefix)
		addresses->all[addresses->count++] = one;
}

static int delete_addresses(int fd, const struct addresses *addresses)
{
	struct rtnl_message message;
	size_t i;
	int result = 0;

	for (i = 0; i < addresses->count && result == 0; i++) {
		rtnl_message_delete(&message, &addresses->all[i]);
		result = rtnl_ask(fd, &message);
		/* It went with the one whose subnet it was in, or somebody else took it. */
		if (result == -EADDRNOTAVAIL)
			result = 0;
	}
	return result;
}

int rtnl_clear_addresses(int fd, int index, const struct rtnl_address *keep)
{
	static struct addresses addresses;
	struct rtnl_message request;
	int result;

	addresses.index = index;
	addresses.keep = keep;
	do {
		addresses.count = 0;
		rtnl_message_list_addresses(&request);
		result = list(fd, &request, take_address, &addresses);
		if (result == 0)
			result = delete_addresses(fd, &addresses);
	} while (result == 0 && addresses.count == FOUND_MAX);
	return result;
}

/* --- default routes ------------------------------------------------------------ */

struct defaults {
	int index;
	const struct rtnl_default *keep;
	size_t count;
	struct rtnl_default all[FOUND_MAX];
};

static void take_default(const struct nlmsghdr *header, void *found)
{
	struct defaults *defaults = found;
	const struct rtnl_default *keep = defaults->keep;
	struct rtnl_default one;

	if (defaults->count == FOUND_MAX || !rtnl_message_is_default(header, &one) ||
	    one.index != defaults->index)
		return;
	if (keep == NULL || one.gateway.s_addr != keep->gateway.s_addr ||
	    one.metric != keep->metric)
		defaults->all[defaults->count++] = one;
}

static int delete_defaults(int fd, const struct defaults *defaults)
{
	struct rtnl_message message;
	size_t i;
	int result = 0;

	for (i = 0; i < defaults->count && result == 0; i++) {
		rtnl_message_unroute(&message, &defaults->all[i]);
		result = rtnl_ask(fd, &message);
		if (result == -ESRCH)
			result = 0;
	}
	return result;
}

int rtnl_clear_defaults(int fd, int index, const struct rtnl_default *keep)
{
	static struct defaults defaults;
	struct rtnl_message request;
	int result;

	defaults.index = index;
	defaults.keep = keep;
	do {
		defaults.count = 0;
		rtnl_message_list_routes(&request);
		result = list(fd, &request, take_default, &defaults);
		if (result == 0)
			result = delete_defaults(fd, &defaults);
	} while (result == 0 && defaults.count == FOUND_MAX);
	return result;
}
