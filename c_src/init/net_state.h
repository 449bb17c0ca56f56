/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_state: what is asked of all interfaces now, shared by evum-init's processes
 */
#ifndef EVUM_INIT_NET_STATE_H
#define EVUM_INIT_NET_STATE_H

#include <pthread.h>

#include "cmdline.h"

struct net {
	pthread_mutex_t lock; /* of who changes interfaces or names */
	enum boot_root root;
	bool rw;
	char hostname[BOOT_NAME_MAX + 1];
	struct nic nics[NIC_COUNT];
	bool closed[NIC_COUNT]; /* the machine took it down, and not up since */
};

/* One that was killed while it had the lock left nothing half written. */
void net_lock(struct net *net);
bool net_try_lock(struct net *net);
void net_unlock(struct net *net);

#endif
