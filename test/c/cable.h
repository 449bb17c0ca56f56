/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cable: two network interfaces with a cable between them
 */
#ifndef EVUM_TEST_CABLE_H
#define EVUM_TEST_CABLE_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

struct cable_attribute {
	struct rtattr head;
	char text[12];
};

/* Makes a cable with its ends v0 and veth0; false where the kernel can't. */
static inline bool cable_make(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
		struct cable_attribute name;
		struct rtattr info;
		struct cable_attribute kind;
	} order = {
		.head = {.nlmsg_len = sizeof(order),
			 .nlmsg_type = RTM_NEWLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
		.name = {{.rta_len = RTA_LENGTH(3), .rta_type = IFLA_IFNAME}, "v0"},
		.info = {.rta_len = sizeof(struct rtattr) + sizeof(struct cable_attribute),
			 .rta_type = IFLA_LINKINFO},
		.kind = {{.rta_len = RTA_LENGTH(4), .rta_type = IFLA_INFO_KIND}, "veth"},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[sizeof(order)];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t got;

	/* What an attribute has beyond its length is another, of nothing. */
	order.name.head.rta_len = sizeof(struct cable_attribute);
	order.kind.head.rta_len = sizeof(struct cable_attribute);
	CHECK(fd >= 0 && send(fd, &order, sizeof(order), 0) == sizeof(order));
	got = recv(fd, &answer, sizeof(answer), 0);
	CHECK(got >= (ssize_t)(sizeof(answer.head) + sizeof(answer.error.error)));
	close(fd);
	return answer.error.error == 0;
}

static inline void cable_request(const char *name, unsigned long what, struct ifreq *request)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	memcpy(request->ifr_name, name, strlen(name) + 1);
	CHECK(ioctl(fd, what, request) == 0);
	close(fd);
}

static inline void cable_up(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_UP};

	cable_request(name, SIOCSIFFLAGS, &request);
}

#endif
