/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: the machine's network interfaces and the names it finds
 */
#ifndef EVUM_INIT_NET_H
#define EVUM_INIT_NET_H

#include "boot.h"

/* What is asked of all interfaces now; the same memory in all of evum-init's processes. */
struct net;

/*
 * Gives the interfaces their names and sets up those that the command line says are
 * plugged; to be called once, before the machine's init.  0, or -1 with boot->error.
 */
int net_start(struct boot *boot);

/* In the machine's root: has its programs find names.  What fails is told to the kernel's log. */
void net_furnish(const struct boot *boot);

/* A descriptor that is readable when interfaces went down or up, for net_watched(); or -1. */
int net_watch(void);

/* Has an interface that is up again have its routes again. */
void net_watched(struct net *net, int fd);

/* For net_main(), in the agent. */
extern struct net *net_shared;

/*
 * The command net, on the network namespace and the root that this process is in.
 * args: "set" N ADDRESS GATEWAY NAMESERVER DOMAIN MTU IPV6, or "down" N, then NULL.  "-"
 * is none, and "=", of nameserver, domain and IPv6, what was asked before.  Returns 0, or an errno after a word on
 * standard error that says what it is about.
 *
 * set replaces the addresses and default routes that interface N had, and brings it
 * up.  Where it fails they are as before.  Without an MTU it stays as it is; the
 * kernel refuses (EINVAL) to raise it beyond 1500.
 */
int net_main(char **args);

#endif
