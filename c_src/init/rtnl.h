/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl: the kernel's interfaces, addresses and routes, asked for and changed
 */
#ifndef EVUM_INIT_RTNL_H
#define EVUM_INIT_RTNL_H

#include "rtnl_message.h"

/* A socket for the calls below, or -errno; the caller closes it. */
int rtnl_open(void);

/* Sends a request and waits for what the kernel says: 0 or -errno. */
int rtnl_ask(int fd, struct rtnl_message *message);

/* Deletes all IPv4 addresses of the interface but keep, which may be NULL.  0 or -errno. */
int rtnl_clear_addresses(int fd, int index, const struct rtnl_address *keep);

/* Deletes all default routes through the interface but keep, which may be NULL.  0 or -errno. */
int rtnl_clear_defaults(int fd, int index, const struct rtnl_default *keep);

#endif
