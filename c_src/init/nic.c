/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic: what is asked of one network interface, as words
 */
#include "nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "evum.h"

_Static_assert(NIC_COUNT == EVUM_NICS_MAX, "the host has as many interfaces for us");

#define WORD_MAX 400 /* the longest fields and their commas are shorter */
#define LABEL_MAX 63
#define PREFIX_MAX 32
#define POSITIVE_DIGITS 5
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static int take_flag(const char *text, bool *flag)
{
	if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		return -EINVAL;
	*flag = text[0] == '1';
	return 0;
}

/* One that a host can have: of no special block (RFC 6890), and not multicast. */
static bool is_host(struct in_addr address)
{
	const uint8_t first = (uint8_t)(ntohl(address.s_addr) >> 24);

	return first != 0 && first != IN_LOOPBACKNET && first < 224;
}

static int take_host(const char *text, struct in_addr *address)
{
	if (*text == '\0')
		return 0;
	return inet_pton(AF_INET, text, address) == 1 && is_host(*address) ? 0 : -EINVAL;
}

int nic_parse_positive(const char *text, uint32_t max, uint32_t *number)
{
	size_t i;

	*number = 0;
	for (i = 0; text[i] >= '0' && text[i] <= '9' && i < POSITIVE_DIGITS; i++)
		*number = *number * 10 + (uint32_t)(text[i] - '0');
	return text[i] == '\0' && text[0] != '0' && *number > 0 && *number <= max ? 0 : -EINVAL;
}

/* The first and the last address of a subnet are not a host's, but for those of two. */
static bool is_in_subnet(const struct nic *nic)
{
	const uint32_t mask = nic->prefix < 31 ? UINT32_MAX >> nic->prefix : 0;
	const uint32_t host = ntohl(nic->address.s_addr) & mask;

	return mask == 0 || (host != 0 && host != mask);
}

static int take_address(const char *text, struct nic *nic)
{
	const char *slash = strchr(text, '/');
	char address[INET_ADDRSTRLEN] = "";

	if (*text == '\0')
		return 0;
	if (slash == NULL || slash - text >= INET_ADDRSTRLEN)
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	if (*address == '\0' || take_host(address, &nic->address) < 0 ||
	    nic_parse_positive(slash + 1, PREFIX_MAX, &nic->prefix) < 0)
		return -EINVAL;
	return is_in_subnet(nic) ? 0 : -EINVAL;
}

static int take_domain(const char *text, char domain[static NIC_DOMAIN_MAX + 1])
{
	const size_t whole = strlen(text);
	size_t at = 0, label;

	if (whole > NIC_DOMAIN_MAX)
		return -EINVAL;
	while (at < whole) {
		label = strspn(text + at, HOST_CHARACTERS);
		if (label < 1 || label > LABEL_MAX || text[at] == '-')
			return -EINVAL;
		at += label;
		/* A dot stands between two labels. */
		if (at < whole && (text[at++] != '.' || at == whole))
			return -EINVAL;
	}
	memcpy(domain, text, whole + 1);
	return 0;
}

int nic_parse(const char *const fields[NIC_FIELDS], struct nic *nic)
{
	*nic = (struct nic){0};
	if (take_address(fields[NIC_ADDRESS], nic) < 0 ||
	    take_host(fields[NIC_GATEWAY], &nic->gateway) < 0 ||
	    take_host(fields[NIC_NAMESERVER], &nic->nameserver) < 0 ||
	    take_domain(fields[NIC_DOMAIN], nic->domain) < 0 ||
	    take_flag(fields[NIC_IPV6], &nic->ipv6) < 0)
		return -EINVAL;
	nic->near = nic->nameserver.s_addr != INADDR_ANY && nic_is_near(nic, nic->nameserver);
	/* Nothing is beyond an interface without an address. */
	if (nic->address.s_addr == INADDR_ANY && nic->gateway.s_addr != INADDR_ANY)
		return -EINVAL;
	return 0;
}

int nic_parse_word(const char *word, struct nic *nic)
{
	const char *fields[NIC_FIELDS];
	char text[WORD_MAX], *rest = text;
	int count = 0;

	if (strlen(word) >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, strlen(word) + 1);
	while (rest != NULL && count < NIC_FIELDS)
		fields[count++] = strsep(&rest, ",");
	return rest == NULL && count == NIC_FIELDS ? nic_parse(fields, nic) : -EINVAL;
}

int nic_parse_number(const char *text)
{
	return text[0] >= '0' && text[0] < '0' + NIC_COUNT && text[1] == '\0' ? text[0] - '0'
									      : -EINVAL;
}

bool nic_is_near(const struct nic *nic, struct in_addr other)
{
	return nic->address.s_addr != INADDR_ANY &&
	       ((ntohl(nic->address.s_addr ^ other.s_addr) >> (32 - nic->prefix)) == 0);
}

bool nic_is_plugged(const struct nic *nic)
{
	return nic->address.s_addr != INADDR_ANY || nic->ipv6;
}
