/* SPDX-License-Identifier: Apache-2.0 */
/* libslirp: one instance for each machine */
#ifndef EVUM_UPLINK_NAT_H
#define EVUM_UPLINK_NAT_H

#include <netinet/in.h>
#include <slirp/libslirp.h>
#include <stdbool.h>
#include <stdint.h>
#include "filter.h"
#include "segments.h"
#include "uplink.h"

#define MAC_SIZE 6u

struct forward {
	struct forward *next;
	bool udp;
	struct in_addr host;
	uint16_t port; /* of the host; never 0 */
	int fd;	       /* libslirp's */
};

struct instance {
	struct nat *nat;
	Slirp *slirp;
	uint8_t mac[MAC_SIZE];
	uint8_t told_mac[MAC_SIZE]; /* what libslirp was told last: who has which address */
	uint32_t told_ip;
	unsigned int sockets;
	int64_t timer; /* ms, of libslirp's one timer; -1: off */
	struct forward *forwards;
	struct datagrams datagrams;
	struct segments segments;
};

struct nat {
	struct uplink *uplink;
	struct filter filter;
	SlirpConfig config;
	unsigned int sockets, sockets_max; /* of all instances */
	struct instance *shared; /* of those that nobody announced; NULL: not needed yet */
	struct instance *machines[UPLINK_MACHINES_MAX];
	unsigned int machine_count, forward_count;
};

struct nat_config {
	struct in_addr gateway;
	unsigned int prefix, mtu;
	int restricted, ipv6;
};

/* 0, -EINVAL or -ENOMEM. */
int nat_open(struct uplink *uplink, const struct nat_config *config);

/* The program has become who it stays: what the host lets it do can be asked. */
void nat_confined(struct nat *nat);

/* 0; -EEXIST where it is announced; -ENOSPC; -ENOMEM. */
int nat_machine_add(struct nat *nat, const uint8_t *mac, struct in_addr ip);
/* 0 or -ENOENT. */
int nat_machine_gone(struct nat *nat, const uint8_t *mac);
/* The instance of a machine, or the shared one; NULL where memory is short. */
struct instance *nat_instance(struct nat *nat, const uint8_t *mac);

/* *port: 0 for any; the one that was taken.  0 or the error of bind(2), -ENOSPC, -ENOMEM. */
int forward_add(struct instance *instance, bool udp, struct in_addr host, uint16_t *port,
		struct in_addr guest, uint16_t guest_port);
/* Ends the way in of that port, whose ever it is.  0 or -ENOENT. */
int forward_remove(struct nat *nat, bool udp, uint16_t port);
void forward_forget_all(struct instance *instance);
/* Does a way in listen on fd? */
bool forward_listens(const struct instance *instance, int fd);

#endif
