/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node: the program that an image of its own runs on the console
 */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"

static int add_arg(struct node *node, char *word)
{
	if (node->argc == NODE_ARGS_MAX)
		return -E2BIG;
	node->argv[node->argc++] = word;
	return 0;
}

/* The number of the assignment to the same name, or envc. */
static int find(const struct node *node, const char *assignment)
{
	size_t len = strcspn(assignment, "=") + 1;
	int i = 0;

	while (i < node->envc && strncmp(node->envp[i], assignment, len) != 0)
		i++;
	return i;
}

static int set_env(struct node *node, char *assignment)
{
	int i;

	if (assignment[0] == '=' || strchr(assignment, '=') == NULL)
		return -EINVAL;
	i = find(node, assignment);
	if (i == NODE_ENV_MAX)
		return -E2BIG;
	node->envp[i] = assignment;
	if (i == node->envc)
		node->envc++;
	return 0;
}

static int take_line(struct node *node, char *line)
{
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (strncmp(line, "arg ", 4) == 0)
		return add_arg(node, line + 4);
	if (strncmp(line, "env ", 4) == 0)
		return set_env(node, line + 4);
	return -EINVAL;
}

int node_parse(struct node *node, char *text, size_t len)
{
	char *line = text, *end = text + len, *next;
	int result = 0;

	text[len] = '\0';
	for (node->line = 1; line < end; node->line++, line = next + 1) {
		next = memchr(line, '\n', (size_t)(end - line));
		if (next == NULL)
			next = end;
		*next = '\0';
		result = strlen(line) == (size_t)(next - line) ? take_line(node, line) : -EINVAL;
		if (result < 0)
			break;
	}
	return result;
}

void node_default(struct node *node, char *assignment)
{
	if (node->envc < NODE_ENV_MAX && find(node, assignment) == node->envc)
		node->envp[node->envc++] = assignment;
}

/* All of fd, which it closes.  Returns how much it was, at most NODE_FILE_MAX + 1, or -errno. */
static ssize_t read_all(int fd, char *text)
{
	size_t len = 0;
	ssize_t got;

	do {
		got = read(fd, text + len, NODE_FILE_MAX + 1 - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 && len <= NODE_FILE_MAX);
	got = got < 0 ? -errno : (ssize_t)len;
	close(fd);
	return got;
}

static int take_file(struct boot *boot, const char *file, int fd)
{
	struct node *node = boot->node;
	char *text = node->text + node->used;
	ssize_t len = read_all(fd, text);
	int result;

	if (len < 0)
		return boot_error(boot, "cannot read %s: %s", file, strerror((int)-len));
	if (len > (ssize_t)NODE_FILE_MAX)
		return boot_error(boot, "%s is longer than %u bytes", file, NODE_FILE_MAX);
	node->used += (size_t)len + 1;
	result = node_parse(node, text, (size_t)len);
	if (result == -E2BIG)
		return boot_error(boot, "%s, line %u: more than %d arguments or %d variables", file,
				  node->line, NODE_ARGS_MAX, NODE_ENV_MAX);
	if (result < 0)
		return boot_error(boot, "%s, line %u: neither \"arg WORD\" nor \"env NAME=VALUE\"",
				  file, node->line);
	return 1;
}

int node_read(struct boot *boot, const char *file)
{
	/* The host may serve the file, and an image may have anything of that name. */
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : boot_error(boot, "cannot read %s: %s", file, strerror(errno));
	if (boot->node == NULL)
		boot->node = calloc(1, sizeof(*boot->node));
	if (boot->node == NULL) {
		close(fd);
		return boot_error(boot, "cannot read %s: %s", file, strerror(ENOMEM));
	}
	return take_file(boot, file, fd);
}
