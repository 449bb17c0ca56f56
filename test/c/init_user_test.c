/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: users are found by name and number, and broken lines are passed over
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "user.h"

static void passwd_lines(void)
{
	struct user user;

	CHECK(user_match_passwd("joe:x:1000:100:Joe,,,:/home/joe:/bin/sh", "joe", &user));
	CHECK(user.uid == 1000 && user.gid == 100 && strcmp(user.home, "/home/joe") == 0);
	CHECK(user_match_passwd("joe:x:1000:100::/:", "1000", &user));
	CHECK(strcmp(user.name, "joe") == 0 && user.shell[0] == '\0');
	CHECK(!user_match_passwd("joe:x:1000:100::/:", "jo", &user));
	CHECK(!user_match_passwd("joe:x:-1:100::/:", "joe", &user));
	CHECK(!user_match_passwd("joe:x:4294967295:100::/:", "joe", &user));
	CHECK(!user_match_passwd("joe:x:1000:100:/:", "joe", &user));
	CHECK(!user_match_passwd("::0:0:::", "", &user));
	CHECK(!user_match_passwd("", "joe", &user));
}

static void group_lines(void)
{
	gid_t gid;

	CHECK(user_match_group("video:x:44:ann,joe,max", "joe", &gid) && gid == 44);
	CHECK(user_match_group("video:x:44:joe", "joe", &gid));
	CHECK(!user_match_group("video:x:44:joey,ajoe", "joe", &gid));
	CHECK(!user_match_group("video:x:44:", "joe", &gid));
	CHECK(!user_match_group("video:x:44:a,,b", "", &gid));
	CHECK(!user_match_group("video:x:99999999999999999999:joe", "joe", &gid));
	CHECK(!user_match_group("video:x", "joe", &gid));
}

/* A file of what is about to be looked up; the caller unlinks it. */
static void write_file(char *path, const char *first, size_t junk, const char *last)
{
	int fd = mkstemp(path);
	FILE *file;

	CHECK(fd >= 0);
	file = fdopen(fd, "w");
	CHECK(file != NULL);
	fputs(first, file);
	while (junk-- > 0)
		fputc('z', file);
	fputs(last, file);
	CHECK(fclose(file) == 0);
}

static void files_with_endless_lines(void)
{
	char passwd[] = "/tmp/init_user_XXXXXX", group[] = "/tmp/init_user_XXXXXX";
	struct user user;

	write_file(passwd, "root:x:0:0::/root:/bin/sh\n", 100000,
		   "joe:x:5:5::/:\njoe:x:1000:100::/home/joe:/bin/sh");
	write_file(group, "root:x:0:\nvideo:x:44:joe\n", 50000, "\nwheel:x:10:root,joe\n");
	CHECK(user_find(passwd, group, "joe", &user) == 0 && user.uid == 1000);
	CHECK(user.group_count == 3 && user.groups[0] == 44 && user.groups[1] == 10);
	CHECK(user.groups[2] == 100);
	CHECK(user_find(passwd, group, "nobody", &user) == -ENOENT);
	CHECK(user_find(passwd, group, "4711", &user) == 0);
	CHECK(user.uid == 4711 && user.gid == 4711 && user.group_count == 1);
	CHECK(user_find("/nonexistent", group, "joe", &user) == -ENOENT);
	unlink(passwd);
	unlink(group);
}

int main(void)
{
	passwd_lines();
	group_lines();
	files_with_endless_lines();
	return 0;
}
