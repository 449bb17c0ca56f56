/* SPDX-License-Identifier: Apache-2.0 */
/* Is a machine's configuration one that can be started? */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "argv.h"
#include "jail.h"

void evum_config_init(struct evum_config *config)
{
	*config = (struct evum_config){
		.kernel = "/usr/bin/linux.uml",
		.modules = "/usr/lib/uml/modules",
		.hostname = "evum",
		.mem = 64,
		.copy_log = 1,
		.console_window = 65536,
	};
}

static int hostname_ok(const char *name)
{
	size_t length = name ? strlen(name) : 0;

	if (length == 0 || length > EVUM_HOSTNAME_MAX || name[0] == '-' || name[length - 1] == '-')
		return 0;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-')
			return 0;
	return 1;
}

static int check_args(const struct evum_config *config, struct evum_error *error)
{
	for (size_t i = 0; config->args && config->args[i]; i++)
		if (argv_reserved(config->args[i]))
			return jail_error(error, "args", EINVAL,
					  "kernel argument \"%.64s\" is evum's own to set",
					  config->args[i]);
	return 0;
}

/* Is the writable one the last of the layers, and no other? */
static int layers_ok(const struct evum_config *config)
{
	for (unsigned int i = 0; i <= config->layer_count; i++)
		if (!config->disks[i].writable != (i < config->layer_count))
			return 0;
	return 1;
}

static int check_layers(const struct evum_config *config, struct evum_error *error)
{
	if (config->layer_count == 0)
		return 0;
	if (config->root != EVUM_ROOT_DISK || config->layer_count >= config->disk_count ||
	    !layers_ok(config))
		return jail_error(error, "config", EINVAL,
				  "layers lie over a read-only disk, the last one writable");
	if (config->layer_size && config->layer_size < EVUM_LAYER_MIN)
		return jail_error(error, "config", ERANGE, "a layer is %u MiB at least",
				  EVUM_LAYER_MIN);
	if (config->layer_size && !config->layer_template)
		return jail_error(error, "config", EINVAL, "a layer is made of a template");
	return 0;
}

static int check_root(const struct evum_config *config, struct evum_error *error)
{
	int err;

	if (config->disk_count > EVUM_DISKS_MAX || config->bind_count > EVUM_BINDS_MAX)
		return jail_error(error, "config", E2BIG, "at most %u disks and %u directories",
				  EVUM_DISKS_MAX, EVUM_BINDS_MAX);
	err = check_layers(config, error);
	if (err)
		return err;
	if (config->root == EVUM_ROOT_DISK && config->disk_count == 0)
		return jail_error(error, "config", EINVAL, "a root on a disk needs a disk");
	if (config->root == EVUM_ROOT_HOST && config->bind_count == 0)
		return jail_error(error, "config", EINVAL,
				  "a root of the host's files needs directories");
	return 0;
}

/* What goes into a word of the kernel's command line that commas divide. */
static int setting_ok(const char *text)
{
	for (; text && *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(".:/-_", *text))
			return 0;
	return 1;
}

static int check_nic(const struct evum_nic *nic, unsigned int number, struct evum_error *error)
{
	static const uint8_t none[sizeof(nic->mac)];

	if (nic->mtu < EVUM_MTU_MIN || nic->mtu > EVUM_MTU_MAX)
		return jail_error(error, "config", ERANGE, "NIC %u: the MTU must be %u to %u",
				  number, EVUM_MTU_MIN, EVUM_MTU_MAX);
	if (nic->mac[0] & 1 || memcmp(nic->mac, none, sizeof(none)) == 0)
		return jail_error(error, "config", EINVAL, "NIC %u: not a unicast address", number);
	if (!setting_ok(nic->address) || !setting_ok(nic->gateway) ||
	    !setting_ok(nic->nameserver) || !setting_ok(nic->domain))
		return jail_error(error, "config", EINVAL,
				  "NIC %u: an address or a domain has a character that none has",
				  number);
	return 0;
}

static int check_nics(const struct evum_config *config, struct evum_error *error)
{
	int err = 0;

	if (config->nic_count > EVUM_NICS_MAX)
		return jail_error(error, "config", E2BIG, "at most %u NICs", EVUM_NICS_MAX);
	for (unsigned int i = 0; i < config->nic_count && !err; i++)
		err = check_nic(&config->nics[i], i, error);
	return err;
}

/* What can stand in quotes on the kernel's command line, and be made below the root. */
static int guest_path_ok(const char *path)
{
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length > EVUM_PATH_MAX || path[0] != '/' || strchr(path, '"'))
		return 0;
	for (size_t i = 0; i < length; i++) {
		if (iscntrl((unsigned char)path[i]))
			return 0;
		if (strncmp(path + i, "/..", 3) == 0 && (path[i + 3] == '/' || !path[i + 3]))
			return 0;
	}
	return 1;
}

static int check_shares(const struct evum_config *config, struct evum_error *error)
{
	if (config->share_count > EVUM_SHARES_MAX || config->dir_count > EVUM_DIRS_MAX)
		return jail_error(error, "config", E2BIG,
				  "at most %u shares, %u served directories", EVUM_SHARES_MAX,
				  EVUM_DIRS_MAX);
	for (unsigned int i = 0; i < config->share_count; i++)
		if (!config->shares[i].host || !guest_path_ok(config->shares[i].guest))
			return jail_error(error, "config", EINVAL,
					  "share %u: not a directory below / of the guest", i);
	for (unsigned int i = 0; i < config->dir_count; i++)
		if (!config->dirs[i].address || !guest_path_ok(config->dirs[i].guest))
			return jail_error(error, "config", EINVAL,
					  "served directory %u: not one below / of the guest", i);
	return 0;
}

int config_check(const struct evum_config *config, struct evum_error *error)
{
	int err;

	if (!config->kernel || !config->initramfs)
		return jail_error(error, "config", EINVAL, "kernel and initramfs are required");
	if (!hostname_ok(config->hostname))
		return jail_error(error, "config", EINVAL,
				  "the host name must be 1 to %u letters, digits and hyphens",
				  EVUM_HOSTNAME_MAX);
	if (config->mem < EVUM_MEM_MIN)
		return jail_error(error, "config", ERANGE, "a machine needs at least %u MiB",
				  EVUM_MEM_MIN);
	err = check_args(config, error);
	err = err ? err : check_nics(config, error);
	err = err ? err : check_shares(config, error);
	return err ? err : check_root(config, error);
}
