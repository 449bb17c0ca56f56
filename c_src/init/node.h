/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node: the program that an image of its own runs on the console
 *
 * A file of lines: "arg WORD", the program's path and then its arguments, and
 * "env NAME=VALUE", each up to the end of its line; empty lines and those that
 * start with # are passed over.  A second file adds to the first: its arguments
 * come behind, and its values replace those of the same name.
 */
#ifndef EVUM_INIT_NODE_H
#define EVUM_INIT_NODE_H

#include <stdbool.h>
#include <stddef.h>

#define NODE_FILE "/etc/evum/node"	  /* the image's */
#define NODE_MORE_FILE "/run/evum/node"	  /* this machine's, where there is one */
#define NODE_ALONE_FILE "/etc/evum/alone" /* the image's, where there is none */

#define NODE_FILE_MAX 65536u /* bytes of one file */
#define NODE_ARGS_MAX 1024
#define NODE_ENV_MAX 256

struct boot;

struct node {
	int argc;
	int envc;
	unsigned int line; /* the one that is wrong */
	char *argv[NODE_ARGS_MAX + 1];
	char *envp[NODE_ENV_MAX + 1];
	size_t used; /* of text, what was read of both files */
	char text[2 * (NODE_FILE_MAX + 1)];
};

/*
 * Reads len bytes of text, which stays the node's and is changed; text[len] must
 * be writable too.  Returns 0; -EINVAL for a line that is neither, for a name that is
 * empty and for a NUL; -E2BIG for one more word than there is room for.  Then
 * node->line is the line's number, and the lines before it stand.
 */
int node_parse(struct node *node, char *text, size_t len);

/* Adds NAME=VALUE unless the node has that name already; without room, not. */
void node_default(struct node *node, char *assignment);

/*
 * Reads a file into boot->node, which is made by the first one, and takes two; a file
 * that isn't there is none.  Returns 1 where there is one, else 0, or -1 with boot->error filled in.
 */
int node_read(struct boot *boot, const char *file);

#endif
