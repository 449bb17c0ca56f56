/* SPDX-License-Identifier: Apache-2.0 */
/* What the program gives up once it has its way out */
#ifndef EVUM_UPLINK_CONFINE_H
#define EVUM_UPLINK_CONFINE_H

enum confine_for {
	CONFINE_NAT, /* opens sockets of the internet's families, and ports under 1024 where it could */
	CONFINE_LINK, /* opens nothing */
};

/* As many descriptors as there may be, no core dumps, no new privileges.  0 or -errno. */
int confine_prepare(void);
/* 0, or -errno; then the program isn't to go on. */
int confine_enter(enum confine_for purpose);

#endif
