/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: the kernel's command line is understood, and bad words are named
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "check.h"
#include "cmdline.h"

static void reads_every_word(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("mem=64M evum.hostname=test1 evum.root=disk evum.rw=1 evum.log=1 "
			    "evum.layers=15 evum.modules=1 init=/sbin/other noreboot\n",
			    &config) == 0);
	CHECK(strcmp(config.hostname, "test1") == 0);
	CHECK(strcmp(config.init, "/sbin/other") == 0);
	CHECK(config.root == BOOT_DISK && config.rw && config.log && config.modules);
	CHECK(config.layers == 15);
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
	CHECK(cmdline_parse("evum.layers=16", &config) == -EINVAL);
	CHECK(cmdline_parse("evum.layers=", &config) == -EINVAL);
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

static bool is_address(struct in_addr address, const char *text)
{
	return address.s_addr == inet_addr(text);
}

static void reads_what_is_asked_of_interfaces(void)
{
	struct boot_config config;

	CHECK(cmdline_parse("evum.nic0=10.77.0.2/24,10.77.0.1,10.77.0.3,evum.test,1 "
			    "evum.nic7=10.0.0.0/31,,,,0 evum.nic3=,,,,0",
			    &config) == 0);
	CHECK(is_address(config.nics[0].address, "10.77.0.2") && config.nics[0].prefix == 24);
	CHECK(is_address(config.nics[0].gateway, "10.77.0.1"));
	CHECK(is_address(config.nics[0].nameserver, "10.77.0.3"));
	CHECK(strcmp(config.nics[0].domain, "evum.test") == 0 && config.nics[0].ipv6);
	CHECK(is_address(config.nics[7].address, "10.0.0.0") && config.nics[7].prefix == 31);
	CHECK(nic_is_plugged(&config.nics[0]) && nic_is_plugged(&config.nics[7]));
	CHECK(!nic_is_plugged(&config.nics[1]) && !nic_is_plugged(&config.nics[3]));
}

static void refuses_what_no_interface_can_have(void)
{
	static const char *const bad[] = {
		"0=",
		"0",
		"",
		"8=,,,,0",
		"00=,,,,0",
		"x=,,,,0",
		"0=,,,,",
		"0=,,,,2",
		"0=,,,0",
		"0=,,,,0,",
		"0=,,,,0,,",
		"0=10.0.0.2,,,,0",
		"0=10.0.0.2/,,,,0",
		"0=10.0.0.2/0,,,,0",
		"0=10.0.0.2/33,,,,0",
		"0=10.0.0.2/024,,,,0",
		"0=10.0.0.2/24x,,,,0",
		"0=/24,,,,0",
		"0=10.0.0/24,,,,0",
		"0=10.0.0.02.2/24,,,,0",
		"0=010.0.0.2222222222222222222/24,,,,0",
		"0=10.0.0.0/24,,,,0",
		"0=10.0.0.255/24,,,,0",
		"0=127.0.0.2/24,,,,0",
		"0=0.0.0.2/24,,,,0",
		"0=224.0.0.2/24,,,,0",
		"0=,10.0.0.1,,,0",
		"0=10.0.0.2/24,10.0.0.1/24,,,0",
		"0=10.0.0.2/24,,name,,0",
		"0=10.0.0.2/24,,,a..b,0",
		"0=10.0.0.2/24,,,.a,0",
		"0=10.0.0.2/24,,,a.,0",
		"0=10.0.0.2/24,,,-a,0",
		"0=10.0.0.2/24,,,a;b,0",
		"0=10.0.0.2/24,,,a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,0",
	};
	struct boot_config config;
	char word[512];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(word, sizeof(word), "evum.nic%s", bad[i]);
		CHECK(cmdline_parse(word, &config) == -EINVAL);
	}
	snprintf(word, sizeof(word), "evum.nic0=,,,%0400d,0", 0);
	CHECK(cmdline_parse(word, &config) == -EINVAL);
	snprintf(word, sizeof(word), "evum.nic0=,,,%0300d,0", 0);
	CHECK(cmdline_parse(word, &config) == -EINVAL);
}

static void reads_shares_and_served_directories(void)
{
	static const char *const bad[] = {
		"share8=ro,/a", "share=ro,/a", "shareX=ro,/a", "share0=wo,/a",
		"share0=ro,a",	"share0=ro,",  "share0=/a",    "dir8=/a",
		"dir=/a",	"dir0=a",      "dir0=",	       "dir00=/a",
	};
	struct boot_config config;
	char word[512];

	CHECK(cmdline_parse("\"evum.share0=rw,/a b\" evum.share7=ro,/c evum.dir0=/state "
			    "\"evum.dir1=/d, e\"",
			    &config) == 0);
	CHECK(strcmp(config.shares[0].path, "/a b") == 0 && config.shares[0].rw);
	CHECK(strcmp(config.shares[7].path, "/c") == 0 && !config.shares[7].rw);
	CHECK(config.shares[1].path[0] == '\0');
	CHECK(strcmp(config.dirs[0], "/state") == 0 && strcmp(config.dirs[1], "/d, e") == 0);
	CHECK(config.dirs[2][0] == '\0');
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(word, sizeof(word), "evum.%s", bad[i]);
		CHECK(cmdline_parse(word, &config) == -EINVAL);
	}
	snprintf(word, sizeof(word), "evum.dir0=/%0300d", 0);
	CHECK(cmdline_parse(word, &config) == -EINVAL);
}

int main(void)
{
	reads_shares_and_served_directories();
	reads_what_is_asked_of_interfaces();
	refuses_what_no_interface_can_have();
	reads_every_word();
	has_defaults();
	last_one_wins();
	leaves_others_words_alone();
	quotes_hold_words_together();
	names_the_bad_word();
	long_words_are_refused_or_cut();
	return 0;
}
