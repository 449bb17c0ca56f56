/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the readers of what is asked of interfaces, and of an image's /etc/hosts
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline.h"
#include "names.h"

#define INPUT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted has texts that fit, and of hosts(5) our lines are found again. */
static void write_names(const struct nic *nics)
{
	struct names_text text;

	names_resolv(nics, &text);
	names_resolved(nics, &text);
	if (text.len >= NAMES_TEXT_MAX - 1)
		__builtin_trap();
	names_hosts(nics, "a-machine", &text);
	if (text.len >= NAMES_TEXT_MAX - 1 || names_strip(text.bytes, text.len) != 0)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct boot_config config;
	char *text;

	if (size >= INPUT_MAX)
		return 0;
	text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cmdline_parse(text, &config) == 0)
		write_names(config.nics);
	if (names_strip(text, size) > size)
		__builtin_trap();
	free(text);
	return 0;
}
