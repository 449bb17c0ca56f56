/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: the kernel's command line is understood, and bad words are named
 */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "cmdline.h"

static void reads_every_word(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("mem=64M evum.hostname=test1 evum.root=disk evum.rw=1 evum.log=1 "
			    "evum.modules=1 init=/sbin/other noreboot\n",
			    &config) == 0);
	CHECK(strcmp(config.hostname, "test1") == 0);
	CHECK(strcmp(config.init, "/sbin/other") == 0);
	CHECK(config.root == BOOT_DISK && config.rw && config.log && config.modules);
}

static void has_defaults(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("", &config) == 0);
	CHECK(strcmp(config.hostname, "evum") == 0 && config.init[0] == '\0');
	CHECK(config.root == BOOT_INITRAMFS && !config.rw && !config.log && !config.modules);
}

static void last_one_wins(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("evum.root=disk evum.log=1 evum.root=host evum.log=0", &config) == 0);
	CHECK(config.root == BOOT_HOST && !config.log);
}

static void leaves_others_words_alone(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("rdinit=/init xinit=/a evum.rootx evumroot=disk -- init=/b", &config) ==
	      0);
	CHECK(config.init[0] == '\0' && config.root == BOOT_INITRAMFS);
}

static void quotes_hold_words_together(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("foo=\"a evum.root=disk b\" \"init=/a b\"", &config) == 0);
	CHECK(config.root == BOOT_INITRAMFS);
	CHECK(strcmp(config.init, "/a b") == 0);
	CHECK(cmdline_parse("\"never closed", &config) == 0);
}

static void names_the_bad_word(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("evum.root=floppy evum.log=1", &config) == -EINVAL);
	CHECK(strcmp(config.bad, "evum.root=floppy") == 0);
	CHECK(config.log);
	CHECK(cmdline_parse("evum.rw=yes", &config) == -EINVAL);
	CHECK(cmdline_parse("evum.rw=", &config) == -EINVAL);
	CHECK(cmdline_parse("evum.hostname=", &config) == -EINVAL);
}

static void long_words_are_refused_or_cut(void)
{
	static char text[8192];
	struct boot_config config;

	memset(text, 'x', sizeof(text) - 1);
	CHECK(cmdline_parse(text, &config) == 0);
	memcpy(text, "evum.hostname=", 14);
	CHECK(cmdline_parse(text, &config) == -EINVAL);
	CHECK(strlen(config.bad) == BOOT_NAME_MAX);
	memcpy(text, "init=/", 6);
	CHECK(cmdline_parse(text, &config) == -EINVAL);
}

int main(void)
{
	reads_every_word();
	has_defaults();
	last_one_wins();
	leaves_others_words_alone();
	quotes_hold_words_together();
	names_the_bad_word();
	long_words_are_refused_or_cut();
	return 0;
}
