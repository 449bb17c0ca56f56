/* SPDX-License-Identifier: Apache-2.0 */
/* Offers: a NIC's descriptor for another machine's port program */
#ifndef EVUM_OFFERS_H
#define EVUM_OFFERS_H

#include <stddef.h>
#include <stdint.h>

/* Where an offer goes, and what makes it one: what the asker's port program has said. */
#define OFFER_SECRET 16u
#define OFFER_NAME_MAX 16u /* bytes of an abstract address behind its zero */
/* Offers of a NIC that wait for its queue; more are refused. */
#define OFFERS_MAX 8

struct offer {
	uint8_t secret[OFFER_SECRET];
	char name[OFFER_NAME_MAX];
	size_t name_len;
};

/* Its parts on the wire: 0, or -EPROTO. */
int offer_read(struct offer *offer, const uint8_t *bytes, size_t len);

/* A socket with an address of its own, which only processes of our user are heard at. */
int mailbox_open(void); /* or a negative errno */
/* What to tell of it: OFFER_NAME_MAX bytes of room; its length, or a negative errno. */
int mailbox_name(int mailbox, char *name);

/*
 * Sends fd, or -1 for a refusal, with the longest frame that its NIC takes.  Whoever
 * doesn't get it waits no longer for it than it would for a refusal.
 */
void offer_send(const struct offer *offer, int fd, uint32_t max_frame);
/* The next one in the mailbox: 1, 0 where there is none.  fd is the caller's, or -1. */
int offer_receive(int mailbox, uint8_t secret[OFFER_SECRET], int *fd, uint32_t *max_frame);

#endif
