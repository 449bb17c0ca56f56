/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names: the texts by which a machine finds names
 */
#ifndef EVUM_INIT_NAMES_H
#define EVUM_INIT_NAMES_H

#include <stddef.h>

#include "nic.h"

#define NAMES_TEXT_MAX 4096 /* the longest of these texts is shorter */

struct names_text {
	size_t len; /* the NUL behind it doesn't count */
	char bytes[NAMES_TEXT_MAX];
};

/* nics has NIC_COUNT. */

/* resolv.conf(5); empty where no interface has a nameserver. */
void names_resolv(const struct nic *nics, struct names_text *text);

/* The lines of hosts(5) that evum adds: localhost, and hostname by each of its addresses. */
void names_hosts(const struct nic *nics, const char *hostname, struct names_text *text);

/* A part of resolved.conf(5); empty where no interface has a nameserver. */
void names_resolved(const struct nic *nics, struct names_text *text);

/*
 * Takes the lines that names_hosts() once wrote out of text, in place, where they
 * stand whole.  Returns the new length.
 */
size_t names_strip(char *text, size_t len);

#endif
