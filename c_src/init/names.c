/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names: the texts by which a machine finds names
 *
 * Resolvers read three nameservers and six domains to search at most; those of
 * the interfaces with the lowest numbers go first.
 */
#define _GNU_SOURCE
#include "names.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SERVERS_MAX 3
#define DOMAINS_MAX 6
#define MARK "# evum: this machine\n"
#define MARK_END "# evum: end\n"

static void add(struct names_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What has no room is cut: none of these texts comes near NAMES_TEXT_MAX. */
static void add(struct names_text *text, const char *format, ...)
{
	const size_t room = NAMES_TEXT_MAX - text->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->bytes + text->len, room, format, args);
	va_end(args);
	if (len > 0)
		text->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void add_address(struct names_text *text, const char *before, struct in_addr address)
{
	char digits[INET_ADDRSTRLEN];

	add(text, "%s%s", before, inet_ntop(AF_INET, &address, digits, sizeof(digits)));
}

/* Has an interface before number i the same? */
static bool is_server_known(const struct nic *nics, int i)
{
	int n;

	for (n = 0; n < i; n++)
		if (nics[n].nameserver.s_addr == nics[i].nameserver.s_addr)
			return true;
	return false;
}

static bool is_domain_known(const struct nic *nics, int i)
{
	int n;

	for (n = 0; n < i; n++)
		if (strcmp(nics[n].domain, nics[i].domain) == 0)
			return true;
	return false;
}

/* Each nameserver after before; returns how many there are. */
static int add_servers(struct names_text *text, const struct nic *nics, const char *before,
		       const char *after)
{
	int i, count = 0;

	for (i = 0; i < NIC_COUNT && count < SERVERS_MAX; i++) {
		if (nics[i].nameserver.s_addr == INADDR_ANY || is_server_known(nics, i))
			continue;
		add_address(text, before, nics[i].nameserver);
		add(text, "%s", after);
		count++;
	}
	return count;
}

/* One line of all domains that begins with name, or none. */
static void add_domains(struct names_text *text, const struct nic *nics, const char *name)
{
	int i, count = 0;

	for (i = 0; i < NIC_COUNT && count < DOMAINS_MAX; i++)
		if (nics[i].domain[0] != '\0' && !is_domain_known(nics, i))
			add(text, "%s%s", count++ == 0 ? name : " ", nics[i].domain);
	if (count > 0)
		add(text, "\n");
}

void names_resolv(const struct nic *nics, struct names_text *text)
{
	text->len = 0;
	if (add_servers(text, nics, "nameserver ", "\n") > 0)
		add_domains(text, nics, "search ");
}

void names_resolved(const struct nic *nics, struct names_text *text)
{
	text->len = 0;
	add(text, "[Resolve]\n");
	if (add_servers(text, nics, "DNS=", "\n") > 0)
		add_domains(text, nics, "Domains=");
	else
		text->len = 0;
}

/* "ADDRESS	NAME.DOMAIN NAME"; returns whether it has an address. */
static bool add_own_name(struct names_text *text, const struct nic *nic, const char *hostname)
{
	if (nic->address.s_addr == INADDR_ANY)
		return false;
	add_address(text, "", nic->address);
	if (nic->domain[0] != '\0')
		add(text, "\t%s.%s", hostname, nic->domain);
	add(text, "\t%s\n", hostname);
	return true;
}

void names_hosts(const struct nic *nics, const char *hostname, struct names_text *text)
{
	bool named = false;
	int i;

	text->len = 0;
	add(text, MARK "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	for (i = 0; i < NIC_COUNT; i++)
		named = add_own_name(text, &nics[i], hostname) || named;
	if (!named)
		add(text, "127.0.1.1\t%s\n", hostname);
	add(text, MARK_END);
}

size_t names_strip(char *text, size_t len)
{
	char *start = memmem(text, len, MARK, sizeof(MARK) - 1);
	char *end;

	if (start == NULL)
		return len;
	end = memmem(start, len - (size_t)(start - text), MARK_END, sizeof(MARK_END) - 1);
	if (end == NULL)
		return len;
	end += sizeof(MARK_END) - 1;
	memmove(start, end, len - (size_t)(end - text));
	return len - (size_t)(end - start);
}
