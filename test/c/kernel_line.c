/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's command line: a user's words win, but for the wiring
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "argv.h"
#include "check.h"
#include "kernel_elf.h"

static const struct argv_paths paths = {.run = "/run",
					.initramfs = "/initrd",
					.disks = {"/disk0", "/disk1", "/disk2"}};

static bool has(const struct argv *argv, const char *word)
{
	for (size_t i = 0; i < argv->count; i++)
		if (strcmp(argv->words[i], word) == 0)
			return true;
	return false;
}

static int make(const char *const *args, struct argv *argv)
{
	struct evum_config config;

	evum_config_init(&config);
	config.args = args;
	config.disks[0].path = "base.img";
	config.disks[1] = (struct evum_disk){.path = "a.img", .writable = 1};
	config.disks[2] = (struct evum_disk){.path = "b.img", .writable = 1, .durable = 1};
	config.disk_count = 3;
	return argv_make(&config, &paths, argv);
}

static void the_tuned_boot_is_the_default(void)
{
	struct argv argv;

	CHECK(make(NULL, &argv) == 0);
	CHECK(has(&argv, "pty.legacy_count=0"));
	CHECK(has(&argv, "initcall_blacklist=raid6_select_algo,ssl_init"));
	CHECK(has(&argv, "ubd0rd=/disk0"));
	CHECK(has(&argv, "ubd1d=/disk1"));
	CHECK(has(&argv, "ubd2sd=/disk2"));
	CHECK(argv.words[argv.count] == NULL);
	argv_free(&argv);
}

static void a_word_of_the_user_takes_the_place_of_a_default(void)
{
	const char *const args[] = {"initcall_blacklist=", "quiet", NULL};
	struct argv argv;

	CHECK(make(args, &argv) == 0);
	CHECK(has(&argv, "initcall_blacklist="));
	CHECK(!has(&argv, "initcall_blacklist=raid6_select_algo,ssl_init"));
	argv_free(&argv);
}

static void the_wiring_is_not_the_users(void)
{
	static const char *const words[] = {"con0=fd:9",
					    "mem=1G",
					    "ubd0=/etc/shadow",
					    "con=pts",
					    "mconsole=notify:/x",
					    "hostfs=/",
					    "noreboot",
					    "",
					    "--",
					    "evum.root=host",
					    "initrd=/x",
					    "vec0:transport=tap"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *const args[] = {words[i], NULL};
		struct argv argv;

		CHECK(make(args, &argv) == -EINVAL);
		argv_free(&argv);
	}
	CHECK(!argv_reserved("console=tty0"));
}

static void the_line_is_bounded(void)
{
	static char word[EVUM_CMDLINE_MAX + 1];
	const char *const args[] = {word, NULL};
	struct argv argv;

	memset(word, 'x', sizeof(word) - 1);
	CHECK(make(args, &argv) == -E2BIG);
	argv_free(&argv);
}

static void only_a_uml_kernel_is_a_kernel(void)
{
	struct elf_needs needs;

	CHECK(elf_kernel_needs("/bin/sh", &needs) == -ENOEXEC);
	CHECK(elf_kernel_needs("/etc/passwd", &needs) == -ENOEXEC);
	CHECK(elf_kernel_needs("/etc", &needs) == -ENOEXEC);
	CHECK(elf_kernel_needs("/nonexistent", &needs) == -ENOENT);
	CHECK(elf_kernel_needs("/usr/bin/linux.uml", &needs) == 0);
	CHECK(strstr(needs.loader, "ld-linux") != NULL);
	CHECK(needs.library_count == 1 && strstr(needs.library[0], "libc.so.6") != NULL);
}

int main(void)
{
	the_tuned_boot_is_the_default();
	a_word_of_the_user_takes_the_place_of_a_default();
	the_wiring_is_not_the_users();
	the_line_is_bounded();
	only_a_uml_kernel_is_a_kernel();
	return 0;
}
