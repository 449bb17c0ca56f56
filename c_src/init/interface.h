/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interface: one network interface, changed as a whole
 */
#ifndef EVUM_INIT_INTERFACE_H
#define EVUM_INIT_INTERFACE_H

#include <net/if.h>
#include <stdint.h>

#include "nic.h"

struct interface {
	int fd; /* rtnl */
	int index;
	int number;
	const char *failed; /* what an error is about */
	char name[IFNAMSIZ];
};

/* Finds ethN; to be closed in any case.  0 or -errno. */
int interface_open(struct interface *interface, int number);
void interface_close(const struct interface *interface);

/*
 * Has the interface be as nic says, and up; mtu 0: its MTU stays.  0, or -errno with
 * interface->failed; then its addresses and routes are as before.
 */
int interface_apply(struct interface *interface, const struct nic *nic, uint32_t mtu);

/* Down, and without an address.  0 or -errno. */
int interface_withdraw(struct interface *interface);

/* Drops what nic, which replaces had, has no more use for. */
void interface_forget(const struct interface *interface, const struct nic *had,
		      const struct nic *nic);

/* Adds the routes that the kernel dropped when the interface was closed. */
void interface_restore(const struct interface *interface, const struct nic *nic);

#endif
