/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the reader of the file that names an image's program
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted fits, ends with NULL, and has each variable once. */
static void check(const struct node *node)
{
	if (node->argc > NODE_ARGS_MAX || node->envc > NODE_ENV_MAX)
		__builtin_trap();
	if (node->argv[node->argc] != NULL || node->envp[node->envc] != NULL)
		__builtin_trap();
	for (int i = 0; i < node->envc; i++) {
		size_t len = strcspn(node->envp[i], "=") + 1;

		if (len == 1 || node->envp[i][len - 1] != '=')
			__builtin_trap();
		for (int j = 0; j < i; j++)
			if (strncmp(node->envp[i], node->envp[j], len) == 0)
				__builtin_trap();
	}
}

/* Twice, as the image's file and the machine's are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct node *node = calloc(1, sizeof(*node));
	size_t first = size / 2, second = size - first;
	char *text = malloc(size + 2);

	if (node != NULL && text != NULL) {
		memcpy(text, data, first);
		memcpy(text + first + 1, data + first, second);
		(void)node_parse(node, text, first);
		(void)node_parse(node, text + first + 1, second);
		check(node);
	}
	free(text);
	free(node);
	return 0;
}
