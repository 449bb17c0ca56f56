/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user: names to numbers, by the guest's own files
 *
 * A static program can't use the guest's name services, and the files are
 * another root file system's, so they are read here.
 */
#define _GNU_SOURCE
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_LEN 16384 /* the rest of a longer line is not seen */
#define FIELDS_MAX 7

/* Lines of a file, one after the other, in a fixed buffer. */
struct lines {
	int fd;
	size_t start;
	size_t end;
	bool cut; /* the line before was longer than the buffer */
	char text[LINE_MAX_LEN];
};

/* Splits a copy of line at its colons; returns how many fields there are, at most max. */
static int split(char *line, char *fields[], int max)
{
	int count = 0;

	while (count < max) {
		fields[count++] = line;
		line = strchr(line, ':');
		if (line == NULL)
			break;
		*line++ = '\0';
	}
	return count;
}

static bool parse_id(const char *text, unsigned int *id)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end != '\0' || errno != 0 || value >= 0xffffffffUL)
		return false;
	*id = (unsigned int)value;
	return true;
}

static void copy_text(char out[static USER_TEXT_MAX], const char *text)
{
	size_t len = strnlen(text, USER_TEXT_MAX - 1);

	memcpy(out, text, len);
	out[len] = '\0';
}

bool user_match_passwd(const char *line, const char *who, struct user *user)
{
	char copy[1024];
	char *field[FIELDS_MAX];
	unsigned int uid, gid, number;
	size_t len = strlen(line);

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, line, len + 1);
	if (split(copy, field, FIELDS_MAX) < FIELDS_MAX || field[0][0] == '\0')
		return false;
	if (!parse_id(field[2], &uid) || !parse_id(field[3], &gid))
		return false;
	if (strcmp(field[0], who) != 0 && !(parse_id(who, &number) && number == uid))
		return false;
	*user = (struct user){.uid = uid, .gid = gid};
	copy_text(user->name, field[0]);
	copy_text(user->home, field[5]);
	copy_text(user->shell, field[6]);
	return true;
}

/* Is name one of the words that commas divide? */
static bool is_member(const char *members, const char *name)
{
	size_t len = strlen(name);
	const char *end;

	for (; members != NULL; members = *end == ',' ? end + 1 : NULL) {
		end = members + strcspn(members, ",");
		if ((size_t)(end - members) == len && memcmp(members, name, len) == 0)
			return len > 0;
	}
	return false;
}

bool user_match_group(const char *line, const char *name, gid_t *gid)
{
	const char *at = line;
	char number[16];
	size_t len;
	int colon;

	for (colon = 0; colon < 2; colon++) {
		at = strchr(at, ':');
		if (at == NULL)
			return false;
		at++;
	}
	len = strcspn(at, ":");
	if (at[len] != ':' || len >= sizeof(number))
		return false;
	memcpy(number, at, len);
	number[len] = '\0';
	return parse_id(number, gid) && is_member(at + len + 1, name);
}

/* Reads more of the file behind what is held; returns false at its end. */
static bool refill(struct lines *lines)
{
	ssize_t got;

	memmove(lines->text, lines->text + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->start = 0;
	got = read(lines->fd, lines->text + lines->end, sizeof(lines->text) - 1 - lines->end);
	if (got <= 0)
		return false;
	lines->end += (size_t)got;
	return true;
}

/* The next line, without its newline, or NULL. */
static char *next_line(struct lines *lines)
{
	char *line, *end;
	bool skip;

	for (;;) {
		line = lines->text + lines->start;
		end = memchr(line, '\n', lines->end - lines->start);
		skip = lines->cut;
		if (end == NULL && lines->end - lines->start < sizeof(lines->text) - 1) {
			if (refill(lines))
				continue;
			end = lines->text + lines->end;
			if (lines->start == lines->end)
				return NULL;
			line = lines->text + lines->start;
		}
		lines->cut = end == NULL;
		if (end == NULL)
			end = lines->text + lines->end;
		*end = '\0';
		lines->start = (size_t)(end - lines->text) + 1;
		if (lines->start > lines->end)
			lines->start = lines->end;
		if (!skip)
			return line;
	}
}

static void find_groups(const char *group, struct user *user)
{
	struct lines lines = {.fd = open(group, O_RDONLY | O_CLOEXEC)};
	const char *line;
	gid_t gid;

	if (lines.fd < 0)
		return;
	while (user->group_count < USER_GROUPS_MAX && (line = next_line(&lines)) != NULL)
		if (user_match_group(line, user->name, &gid))
			user->groups[user->group_count++] = gid;
	close(lines.fd);
}

static bool find_passwd(const char *passwd, const char *who, struct user *user)
{
	struct lines lines = {.fd = open(passwd, O_RDONLY | O_CLOEXEC)};
	const char *line;
	bool found = false;

	if (lines.fd < 0)
		return false;
	while (!found && (line = next_line(&lines)) != NULL)
		found = user_match_passwd(line, who, user);
	close(lines.fd);
	return found;
}

int user_find(const char *passwd, const char *group, const char *who, struct user *user)
{
	unsigned int number;

	if (find_passwd(passwd, who, user)) {
		find_groups(group, user);
		/* initgroups(3) puts the user's own group in the list as well. */
		if (user->group_count < USER_GROUPS_MAX)
			user->groups[user->group_count++] = user->gid;
		return 0;
	}
	if (!parse_id(who, &number))
		return -ENOENT;
	*user = (struct user){.uid = number, .gid = number, .home = "/", .group_count = 1};
	user->groups[0] = number;
	return 0;
}
