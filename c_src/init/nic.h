/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic: what is asked of one network interface, as words
 */
#ifndef EVUM_INIT_NIC_H
#define EVUM_INIT_NIC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define NIC_COUNT 8 /* EVUM_NICS_MAX */
#define NIC_DOMAIN_MAX 253

/* An address of INADDR_ANY is none. */
struct nic {
	uint32_t prefix; /* 1 to 32, where there is an address */
	struct in_addr address;
	struct in_addr gateway;
	struct in_addr nameserver;
	bool ipv6;
	bool near; /* the nameserver is on this network, also where the address isn't of its subnet */
	char domain[NIC_DOMAIN_MAX + 1]; /* empty: none */
};

/* The fields of a word in their order; an empty one is none. */
enum nic_field {
	NIC_ADDRESS, /* "10.0.0.2/24", a host's */
	NIC_GATEWAY,
	NIC_NAMESERVER,
	NIC_DOMAIN,
	NIC_IPV6, /* "0" or "1" */
	NIC_FIELDS,
};

/* Reads the fields into nic.  0 or -EINVAL; *nic is whole only after 0. */
int nic_parse(const char *const fields[NIC_FIELDS], struct nic *nic);

/* The same of "ADDRESS,GATEWAY,NAMESERVER,DOMAIN,IPV6". */
int nic_parse_word(const char *word, struct nic *nic);

/* A number of an interface: "0" to "7".  Returns it, or -EINVAL. */
int nic_parse_number(const char *text);

/* A number from 1 to max, which has five digits at most, and no zeros before it.  0 or -EINVAL. */
int nic_parse_positive(const char *text, uint32_t max, uint32_t *number);

/* Is other an address of the same subnet? */
bool nic_is_near(const struct nic *nic, struct in_addr other);

/* Is anything wanted of it, so that it is to be up? */
bool nic_is_plugged(const struct nic *nic);

#endif
