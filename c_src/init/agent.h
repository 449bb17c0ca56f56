/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent: runs programs in the machine for the host
 */
#ifndef EVUM_INIT_AGENT_H
#define EVUM_INIT_AGENT_H

#include "boot.h"

/* The agent could not ask the machine's init to power off: the guardian is to do it. */
#define AGENT_EXIT_CUT_POWER 3

/* In a child of the guardian.  first: the machine is booting, and its shell is waited for. */
_Noreturn void agent_main(const struct boot *boot, bool first);

#endif
