/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_port: until something listens on a TCP port
 *
 * Theory of operation.  Nothing tells of a listen(2), so the kernel's tables
 * are read again and again.  They have the listening sockets first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

#define LOOK_MS 20
#define LINE_TEXT 256 /* a line of the tables has 150 */
#define PORTS 65536
#define STATE_LISTEN 10

struct ports {
	uint8_t listening[PORTS / 8];
};

static bool listens(const struct ports *ports, unsigned int port)
{
	return (ports->listening[port / 8] & 1u << port % 8) != 0;
}

/* "  sl: local:port remote:port state …", in hexadecimal; false where it doesn't listen. */
static bool parse_line(const char *line, unsigned int *port)
{
	const char *at = strchr(line, ':');
	char *end;

	at = at == NULL ? NULL : strchr(at + 1, ':');
	if (at == NULL)
		return false;
	*port = (unsigned int)strtoul(at + 1, &end, 16);
	at = strchr(end, ':');
	at = at == NULL ? NULL : strchr(at, ' ');
	return at != NULL && *port < PORTS && strtoul(at, NULL, 16) == STATE_LISTEN;
}

/* Returns 0 or -errno. */
static int read_table(const char *path, struct ports *ports)
{
	char line[LINE_TEXT];
	FILE *table = fopen(path, "re");
	unsigned int port;

	if (table == NULL)
		return -errno;
	/* The first line is the heading. */
	if (fgets(line, sizeof(line), table) != NULL)
		while (fgets(line, sizeof(line), table) != NULL && parse_line(line, &port))
			ports->listening[port / 8] |= (uint8_t)(1u << port % 8);
	fclose(table);
	return 0;
}

static int tell(struct seen *seen, const struct ports *ports)
{
	const char *before = "listening: ";
	unsigned int port;

	seen_start(seen, "%s", "");
	for (port = 0; port < PORTS; port++) {
		if (!listens(ports, port))
			continue;
		seen_add(seen, "%s%u", before, port);
		before = " ";
	}
	if (seen->len == 0)
		seen_add(seen, "nothing listens");
	return seen_tell(seen);
}

static int parse_port(const char *text, unsigned int *port)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	value = strtoul(text, &end, 10);
	if (*end != '\0' || value == 0 || value >= PORTS)
		return -EINVAL;
	*port = (unsigned int)value;
	return 0;
}

int watch_port(struct seen *seen, const char *text)
{
	struct ports ports;
	unsigned int port;
	int result;

	result = parse_port(text, &port);
	while (result == 0) {
		memset(&ports, 0, sizeof(ports));
		result = read_table("/proc/net/tcp", &ports);
		/* A kernel may have no IPv6. */
		(void)read_table("/proc/net/tcp6", &ports);
		if (result == 0 && listens(&ports, port))
			return 0;
		if (result == 0)
			result = tell(seen, &ports);
		if (result == 0)
			watch_pause(LOOK_MS);
	}
	return result;
}
