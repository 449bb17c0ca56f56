/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user: names to numbers, by the guest's own files
 */
#ifndef EVUM_INIT_USER_H
#define EVUM_INIT_USER_H

#include <stdbool.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 64
#define USER_TEXT_MAX 256

struct user {
	uid_t uid;
	gid_t gid;
	int group_count;
	gid_t groups[USER_GROUPS_MAX];
	char name[USER_TEXT_MAX]; /* empty where only a number is known */
	char home[USER_TEXT_MAX];
	char shell[USER_TEXT_MAX];
};

/* A line of /etc/passwd: fills user and returns true where it is about who, a name or a number. */
bool user_match_passwd(const char *line, const char *who, struct user *user);

/* A line of /etc/group: returns true, and the group in *gid, where name is among its members. */
bool user_match_group(const char *line, const char *name, gid_t *gid);

/*
 * Looks who up in passwd and group, paths of files.  A number needs no line.
 * Returns 0, -ENOENT for an unknown name.
 */
int user_find(const char *passwd, const char *group, const char *who, struct user *user);

#endif
