/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_names: the files by which a machine's programs find names, and leave interfaces alone
 */
#ifndef EVUM_INIT_NET_NAMES_H
#define EVUM_INIT_NET_NAMES_H

#include "net_state.h"

/* Writes them for the root that this process is in.  What fails is told to the kernel's log. */
void net_names_write(const struct net *net);

#endif
