/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's command line
 *
 * Three kinds of words: the wiring, which only evum sets; tuned defaults, each
 * of which gives way to a word of the same name in the user's args; and the
 * user's own.  What the defaults are for:
 *
 * quiet, loglevel=3    printing a line costs more than most of what it tells
 * lpj                  no calibration; only udelay() scales with it
 * pty.legacy_count=0   256 legacy pty pairs are 512 uevents, each of which forks
 *                      a helper: a small guest's first fork() then fails
 * initcall_blacklist   raid6_select_algo is a benchmark of 850 ms (without it a
 *                      btrfs RAID6 write panics the guest); ssl_init makes 64
 *                      serial lines that nothing is connected to
 */
#include "argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static const char *const tuned[] = {
	"lpj=40000000",
	"pty.legacy_count=0",
	"initcall_blacklist=raid6_select_algo,ssl_init",
};

static const char *const quiet[] = {
	"quiet",
	"loglevel=3",
};

static const char *const reserved[] = {
#define RESERVED_ARG(word) word,
#include "reserved_args.def"
#undef RESERVED_ARG
};

int argv_reserved(const char *word)
{
	/* "console=" chooses among the guest's own devices. */
	if (strncmp(word, "console", strlen("console")) == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (strncmp(word, reserved[i], strlen(reserved[i])) == 0)
			return 1;
	return word[0] == '\0' || strpbrk(word, "\n") != NULL || strcmp(word, "--") == 0;
}

__attribute__((format(printf, 2, 3))) static int add(struct argv *argv, const char *format, ...)
{
	va_list args;
	int length;

	if (argv->count == ARGV_MAX)
		return -E2BIG;
	va_start(args, format);
	length = vasprintf(&argv->words[argv->count], format, args);
	va_end(args);
	if (length < 0) {
		argv->words[argv->count] = NULL;
		return -ENOMEM;
	}
	argv->words[++argv->count] = NULL;
	argv->bytes += (size_t)length + 1;
	return argv->bytes > EVUM_CMDLINE_MAX ? -E2BIG : 0;
}

/* Do the user's args have a word of the same name as word? */
static bool overridden(const struct evum_config *config, const char *word)
{
	size_t name = strcspn(word, "=");

	for (size_t i = 0; config->args && config->args[i]; i++)
		if (strcspn(config->args[i], "=") == name &&
		    strncmp(config->args[i], word, name) == 0)
			return true;
	return false;
}

static int add_defaults(struct argv *argv, const struct evum_config *config,
			const char *const *words, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		if (!overridden(config, words[i]))
			err = add(argv, "%s", words[i]);
	return err;
}

/*
 * d: a guest's forged header must not make it a copy-on-write disk of another file;
 * r: read-only; s: each write is one to the host's disk, since a guest's fsync is
 * none.
 */
static int add_disk(struct argv *argv, const struct evum_disk *disk, unsigned int number,
		    const char *path)
{
	const char *flags = !disk->writable ? "rd" : disk->durable ? "sd" : "d";

	return add(argv, "ubd%u%s=%s", number, flags, path);
}

static int add_wiring(struct argv *argv, const struct evum_config *config,
		      const struct argv_paths *paths)
{
	int err = add(argv, "linux");

	err = err ? err : add(argv, "mem=%uM", config->mem);
	err = err ? err : add(argv, "initrd=%s", paths->initramfs);
	err = err ? err : add(argv, "rdinit=/init");
	err = err ? err : add(argv, "con0=fd:%d", ARGV_FD_CONSOLE);
	err = err ? err : add(argv, "con15=fd:%d", ARGV_FD_AGENT);
	for (unsigned int i = 0; i < config->dir_count && !err; i++)
		err = add(argv, "con%u=fd:%u", ARGV_DIR_LINE - i, ARGV_FD_DIR + i);
	err = err ? err : add(argv, "con=null");
	err = err ? err : add(argv, "ssl=null");
	err = err ? err : add(argv, "noreboot");
	err = err ? err : add(argv, "uml_dir=%s/", paths->run);
	err = err ? err : add(argv, "umid=m");
	err = err ? err : add(argv, "mconsole=notify:%s/n", paths->run);
	for (unsigned int i = 0; i < config->disk_count && !err; i++)
		err = add_disk(argv, &config->disks[i], i, paths->disks[i]);
	return err;
}

static int add_nic(struct argv *argv, const struct evum_nic *nic, unsigned int number,
		   const char *run)
{
	const uint8_t *mac = nic->mac;

	return add(argv,
		   "vec%u:transport=bess,dst=%s/" ARGV_NIC
		   "%u,mac=%02x:%02x:%02x:%02x:%02x:%02x,mtu=%u",
		   number, run, number, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], nic->mtu);
}

static int add_nics(struct argv *argv, const struct evum_config *config,
		    const struct argv_paths *paths)
{
	int err = 0;

	for (unsigned int i = 0; i < config->nic_count && !err; i++)
		err = add_nic(argv, &config->nics[i], i, paths->run);
	return err;
}

static const char *text_or_empty(const char *text)
{
	return text ? text : "";
}

/* What evum-init sets a NIC to: see struct evum_nic. */
static int add_nic_settings(struct argv *argv, const struct evum_config *config)
{
	int err = 0;

	for (unsigned int i = 0; i < config->nic_count && !err; i++) {
		const struct evum_nic *nic = &config->nics[i];

		err = add(argv, "evum.nic%u=%s,%s,%s,%s,%d", i, text_or_empty(nic->address),
			  text_or_empty(nic->gateway), text_or_empty(nic->nameserver),
			  text_or_empty(nic->domain), nic->ipv6 != 0);
	}
	return err;
}

/* The quotes are for blanks; config_check() has seen to it that there are none inside. */
static int add_directories(struct argv *argv, const struct evum_config *config)
{
	int err = 0;

	for (unsigned int i = 0; i < config->share_count && !err; i++)
		err = add(argv, "\"evum.share%u=%s,%s\"", i,
			  config->shares[i].writable ? "rw" : "ro", config->shares[i].guest);
	for (unsigned int i = 0; i < config->dir_count && !err; i++)
		err = add(argv, "\"evum.dir%u=%s\"", i, config->dirs[i].guest);
	return err;
}

static int add_init(struct argv *argv, const struct evum_config *config,
		    const struct argv_paths *paths)
{
	static const char *const roots[] = {
		[EVUM_ROOT_INITRAMFS] = "initramfs",
		[EVUM_ROOT_DISK] = "disk",
		[EVUM_ROOT_HOST] = "host",
	};
	int err = add(argv, "evum.hostname=%s", config->hostname);

	err = err ? err : add(argv, "evum.root=%s", roots[config->root]);
	err = err ? err : add(argv, "evum.rw=%d", config->disk_count && config->disks[0].writable);
	if (config->layer_count)
		err = err ? err : add(argv, "evum.layers=%u", config->layer_count);
	err = err ? err : add(argv, "evum.log=%d", config->copy_log && !config->verbose);
	err = err ? err : add(argv, "evum.modules=%d", config->modules != NULL);
	err = err ? err : add_nic_settings(argv, config);
	err = err ? err : add_directories(argv, config);
	return err ? err : add(argv, "evum.spool=%s", paths->run);
}

static int add_user(struct argv *argv, const struct evum_config *config)
{
	int err = 0;

	for (size_t i = 0; config->args && config->args[i] && !err; i++)
		err = argv_reserved(config->args[i]) ? -EINVAL : add(argv, "%s", config->args[i]);
	return err;
}

int argv_make(const struct evum_config *config, const struct argv_paths *paths, struct argv *argv)
{
	int err;

	memset(argv, 0, sizeof(*argv));
	err = add_wiring(argv, config, paths);
	err = err ? err : add_nics(argv, config, paths);
	err = err ? err : add_init(argv, config, paths);
	err = err ? err : add_defaults(argv, config, tuned, ARRAY_SIZE(tuned));
	if (!config->verbose)
		err = err ? err : add_defaults(argv, config, quiet, ARRAY_SIZE(quiet));
	return err ? err : add_user(argv, config);
}

void argv_free(struct argv *argv)
{
	for (size_t i = 0; i < argv->count; i++)
		free(argv->words[i]);
	argv->count = 0;
}
