/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: the file that names an image's program is understood, and what is wrong is named
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "check.h"
#include "node.h"

static int parse(struct node *node, const char *text, size_t len)
{
	static char copy[NODE_FILE_MAX + 1];

	memcpy(copy, text, len);
	return node_parse(node, copy, len);
}

static int parse_text(struct node *node, const char *text)
{
	return parse(node, text, strlen(text));
}

static void words_go_to_the_end_of_their_lines(void)
{
	struct node node = {.argc = 0};

	CHECK(parse_text(&node, "# a program\n\narg /bin/a b\narg \narg  c=\"d\" \n"
				"env HOME=/a b\nenv EMPTY=\nenv TWO==\narg last") == 0);
	CHECK(node.argc == 4 && strcmp(node.argv[0], "/bin/a b") == 0);
	CHECK(node.argv[1][0] == '\0' && strcmp(node.argv[2], " c=\"d\" ") == 0);
	CHECK(strcmp(node.argv[3], "last") == 0 && node.argv[4] == NULL);
	CHECK(node.envc == 3 && strcmp(node.envp[0], "HOME=/a b") == 0);
	CHECK(strcmp(node.envp[1], "EMPTY=") == 0 && strcmp(node.envp[2], "TWO==") == 0);
	CHECK(node.envp[3] == NULL);
}

static void a_second_file_adds_to_the_first(void)
{
	char first[] = "arg /a\nenv A=1\nenv AB=2\n", second[] = "env A=3\narg b\nenv C=4";
	char lost[] = "A=5", found[] = "D=6";
	struct node node = {.argc = 0};

	CHECK(node_parse(&node, first, strlen(first)) == 0);
	CHECK(node_parse(&node, second, strlen(second)) == 0);
	node_default(&node, lost);
	node_default(&node, found);
	CHECK(node.argc == 2 && strcmp(node.argv[1], "b") == 0);
	CHECK(node.envc == 4 && strcmp(node.envp[0], "A=3") == 0);
	CHECK(strcmp(node.envp[1], "AB=2") == 0 && strcmp(node.envp[3], "D=6") == 0);
}

static void the_wrong_line_is_named(void)
{
	static const char *const bad[] = {"arg",   "argv",   "env",    "env A", "env =a",
					  "run a", " arg a", "arg\ta", "env "};
	char text[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct node node = {.argc = 0};

		snprintf(text, sizeof(text), "arg a\n\n%s\narg b\n", bad[i]);
		CHECK(parse_text(&node, text) == -EINVAL && node.line == 3);
		CHECK(node.argc == 1 && node.envc == 0);
	}
}

static void no_word_has_a_nul(void)
{
	struct node node = {.argc = 0};

	CHECK(parse(&node, "arg a\narg b\0c\n", 14) == -EINVAL && node.line == 2);
	CHECK(parse(&node, "\0", 1) == -EINVAL && node.line == 1);
	CHECK(parse(&node, "", 0) == 0);
}

static void there_is_a_most_of_each(void)
{
	static char text[NODE_FILE_MAX + 1];
	struct node node = {.argc = 0};
	char more[] = "Z=1";
	size_t len = 0;
	int i;

	for (i = 0; i < NODE_ARGS_MAX; i++)
		len += (size_t)sprintf(text + len, "arg %d\n", i);
	CHECK(parse(&node, text, len) == 0 && node.argc == NODE_ARGS_MAX);
	CHECK(parse_text(&node, "arg x") == -E2BIG && node.line == 1);
	for (i = 0, len = 0; i < NODE_ENV_MAX; i++)
		len += (size_t)sprintf(text + len, "env A%d=\n", i);
	CHECK(node_parse(&node, text, len) == 0 && node.envc == NODE_ENV_MAX);
	CHECK(parse_text(&node, "env A0=1\nenv B=") == -E2BIG && node.line == 2);
	CHECK(strcmp(node.envp[0], "A0=1") == 0);
	node_default(&node, more);
	CHECK(node.envc == NODE_ENV_MAX && node.envp[NODE_ENV_MAX] == NULL);
	CHECK(node.argv[NODE_ARGS_MAX] == NULL);
}

/* A file of what is about to be read; the caller unlinks it. */
static void write_file(char *path, const char *text, size_t junk)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(ftruncate(fd, (off_t)(strlen(text) + junk)) == 0);
	CHECK(close(fd) == 0);
}

static void files_are_read_or_refused(void)
{
	char good[] = "/tmp/init_node_XXXXXX", bad[] = "/tmp/init_node_XXXXXX";
	struct boot boot = {.node = NULL};

	CHECK(node_read(&boot, "/nonexistent/node") == 0 && boot.node == NULL);
	write_file(good, "arg /a\n", 0);
	CHECK(node_read(&boot, good) == 1 && boot.node->argc == 1);
	write_file(bad, "arg b\n", NODE_FILE_MAX - 6);
	CHECK(node_read(&boot, bad) == -1 && strstr(boot.error, "line 2: neither") != NULL);
	CHECK(boot.node->argc == 2);
	unlink(bad);
	free(boot.node);
	boot.node = NULL;
	write_file(memcpy(bad, "/tmp/init_node_XXXXXX", sizeof(bad)), "", NODE_FILE_MAX + 1);
	CHECK(node_read(&boot, bad) == -1 && strstr(boot.error, "longer than") != NULL);
	CHECK(node_read(&boot, "/tmp") == -1 && strstr(boot.error, "cannot read") != NULL);
	free(boot.node);
	unlink(good);
	unlink(bad);
}

int main(void)
{
	words_go_to_the_end_of_their_lines();
	a_second_file_adds_to_the_first();
	the_wrong_line_is_named();
	no_word_has_a_nul();
	there_is_a_most_of_each();
	files_are_read_or_refused();
	return 0;
}
