/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_command: the command net, by which the host changes an interface
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "interface.h"
#include "net.h"
#include "net_names.h"
#include "net_state.h"

#define MTU_MAX 65535

struct net *net_shared;

static int take_mtu(const char *text, uint32_t *mtu)
{
	*mtu = 0;
	return *text == '\0' ? 0 : nic_parse_positive(text, MTU_MAX, mtu);
}

static void remember(struct net *net, int number, const struct nic *nic)
{
	if (net == NULL)
		return;
	net->nics[number] = *nic;
	net_names_write(net);
}

/* What a command wants of one interface. */
struct wish {
	int number;
	uint32_t mtu; /* 0: as it is */
	bool down;
	bool keeps[NIC_FIELDS]; /* what it has of that */
	struct nic nic;
};

static void keep(const struct net *net, struct wish *wish)
{
	const struct nic *had = &net->nics[wish->number];

	if (wish->keeps[NIC_NAMESERVER]) {
		wish->nic.nameserver = had->nameserver;
		wish->nic.near = had->near;
	}
	if (wish->keeps[NIC_DOMAIN])
		memcpy(wish->nic.domain, had->domain, sizeof(had->domain));
	if (wish->keeps[NIC_IPV6])
		wish->nic.ipv6 = had->ipv6;
}

/* Under the lock.  interface->failed says what an error is about. */
static int fulfil(struct wish *wish, struct interface *interface)
{
	int result = interface_open(interface, wish->number);

	if (result == 0 && wish->down)
		return interface_withdraw(interface);
	if (result < 0)
		return result;
	if (net_shared != NULL)
		keep(net_shared, wish);
	result = interface_apply(interface, &wish->nic, wish->mtu);
	if (result == 0 && net_shared != NULL)
		interface_forget(interface, &net_shared->nics[wish->number], &wish->nic);
	return result;
}

static int change(struct wish *wish)
{
	struct interface interface;
	int result;

	if (net_shared != NULL)
		net_lock(net_shared);
	result = fulfil(wish, &interface);
	interface_close(&interface);
	if (result == 0)
		remember(net_shared, wish->number, &wish->nic);
	if (net_shared != NULL)
		net_unlock(net_shared);
	if (result < 0)
		fputs(interface.failed, stderr);
	return -result;
}

static int bad(const char *what)
{
	fputs(what, stderr);
	return EINVAL;
}

/* "-" is how a command says what a word says by nothing. */
static const char *field(const char *text)
{
	return strcmp(text, "-") == 0 ? "" : text;
}

/* The same of what may be kept, for which "=" stands; instead is read in its place. */
static const char *kept(struct wish *wish, enum nic_field which, const char *text,
			const char *instead)
{
	wish->keeps[which] = strcmp(text, "=") == 0;
	return wish->keeps[which] ? instead : field(text);
}

static int set_main(int number, char **args)
{
	struct wish wish = {.number = number};
	const char *fields[NIC_FIELDS] = {
		[NIC_ADDRESS] = field(args[0]),
		[NIC_GATEWAY] = field(args[1]),
		[NIC_NAMESERVER] = kept(&wish, NIC_NAMESERVER, args[2], ""),
		[NIC_DOMAIN] = kept(&wish, NIC_DOMAIN, args[3], ""),
		[NIC_IPV6] = kept(&wish, NIC_IPV6, args[5], "0"),
	};

	if (take_mtu(field(args[4]), &wish.mtu) < 0)
		return bad("mtu");
	if (nic_parse(fields, &wish.nic) < 0)
		return bad("address");
	return change(&wish);
}

static int down_main(int number)
{
	struct wish wish = {.number = number, .down = true};

	return change(&wish);
}

static int count(char **args)
{
	int n = 0;

	while (args[n] != NULL)
		n++;
	return n;
}

int net_main(char **args)
{
	const int number = nic_parse_number(args[1]), arguments = count(args);

	if (number < 0)
		return bad("interface");
	if (strcmp(args[0], "set") == 0 && arguments == 8)
		return set_main(number, args + 2);
	if (strcmp(args[0], "down") == 0 && arguments == 2)
		return down_main(number);
	return bad(args[0]);
}
