/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline: what the kernel's command line asks of evum-init
 *
 * Words are split as the kernel does it: at white space outside double quotes,
 * and the quotes are dropped.
 */
#include "cmdline.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 512 /* a longer word is none of ours and is cut */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/* Copies the next word of *text without its quotes; returns false at the end. */
static bool next_word(const char **text, char word[static WORD_MAX])
{
	const char *at = *text;
	bool quoted = false;
	size_t len = 0;

	while (is_space(*at))
		at++;
	if (*at == '\0')
		return false;
	for (; *at != '\0' && (quoted || !is_space(*at)); at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (len < WORD_MAX - 1)
			word[len++] = *at;
	}
	word[len] = '\0';
	*text = at;
	return true;
}

static int set_flag(bool *flag, const char *value)
{
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return -EINVAL;
	*flag = value[0] == '1';
	return 0;
}

static int set_layers(unsigned int *layers, const char *value)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (end == value || *end != '\0' || number > BOOT_LAYERS_MAX)
		return -EINVAL;
	*layers = (unsigned int)number;
	return 0;
}

static int set_text(char *text, size_t max, const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > max)
		return -EINVAL;
	memcpy(text, value, len + 1);
	return 0;
}

static int set_root(enum boot_root *root, const char *value)
{
	if (strcmp(value, "initramfs") == 0)
		*root = BOOT_INITRAMFS;
	else if (strcmp(value, "disk") == 0)
		*root = BOOT_DISK;
	else if (strcmp(value, "host") == 0)
		*root = BOOT_HOST;
	else
		return -EINVAL;
	return 0;
}

/* The part of word behind name, or NULL where word doesn't start with it. */
static const char *value_of(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 ? word + len : NULL;
}

/* value: "N=" and what is asked of interface N. */
static int set_nic(struct nic nics[static NIC_COUNT], const char *value)
{
	const char number[] = {value[0], '\0'};
	const int n = nic_parse_number(number);

	if (n < 0 || value[1] != '=')
		return -EINVAL;
	return nic_parse_word(value + 2, &nics[n]);
}

/* value: "N=ro,/path" or "N=rw,/path" */
static int set_share(struct boot_share shares[static BOOT_SHARES_MAX], const char *value)
{
	struct boot_share *share = &shares[value[0] - '0'];

	if (value[0] < '0' || value[0] >= '0' + BOOT_SHARES_MAX || value[1] != '=')
		return -EINVAL;
	value += 2;
	if (strncmp(value, "ro,/", 4) != 0 && strncmp(value, "rw,/", 4) != 0)
		return -EINVAL;
	share->rw = value[1] == 'w';
	return set_text(share->path, BOOT_PATH_MAX, value + 3);
}

/* value: "N=/path" */
static int set_dir(char dirs[static BOOT_DIRS_MAX][BOOT_PATH_MAX + 1], const char *value)
{
	if (value[0] < '0' || value[0] >= '0' + BOOT_DIRS_MAX || value[1] != '=' || value[2] != '/')
		return -EINVAL;
	return set_text(dirs[value[0] - '0'], BOOT_PATH_MAX, value + 2);
}

static int take_word(struct boot_config *config, const char *word)
{
	const char *value;

	if ((value = value_of(word, "evum.hostname=")) != NULL)
		return set_text(config->hostname, BOOT_NAME_MAX, value);
	if ((value = value_of(word, "evum.root=")) != NULL)
		return set_root(&config->root, value);
	if ((value = value_of(word, "evum.rw=")) != NULL)
		return set_flag(&config->rw, value);
	if ((value = value_of(word, "evum.layers=")) != NULL)
		return set_layers(&config->layers, value);
	if ((value = value_of(word, "evum.log=")) != NULL)
		return set_flag(&config->log, value);
	if ((value = value_of(word, "evum.modules=")) != NULL)
		return set_flag(&config->modules, value);
	if ((value = value_of(word, "evum.spool=")) != NULL)
		return set_text(config->spool, BOOT_PATH_MAX, value);
	if ((value = value_of(word, "evum.share")) != NULL)
		return set_share(config->shares, value);
	if ((value = value_of(word, "evum.dir")) != NULL)
		return set_dir(config->dirs, value);
	if ((value = value_of(word, "evum.nic")) != NULL)
		return set_nic(config->nics, value);
	if ((value = value_of(word, "init=")) != NULL)
		return set_text(config->init, BOOT_PATH_MAX, value);
	return 0;
}

int cmdline_parse(const char *text, struct boot_config *config)
{
	char word[WORD_MAX] = "";
	int result = 0;

	*config = (struct boot_config){.hostname = "evum"};
	while (next_word(&text, word) && strcmp(word, "--") != 0) {
		if (take_word(config, word) == 0)
			continue;
		result = -EINVAL;
		snprintf(config->bad, sizeof(config->bad), "%.*s", BOOT_NAME_MAX, word);
	}
	return result;
}
