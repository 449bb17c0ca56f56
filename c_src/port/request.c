/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps of start and run
 *
 * A map is a table of keys here: how its value is decoded, whether it must be
 * there, and what to say where it is wrong.  An unknown key is an error: a
 * typing mistake must not start a machine that lacks an option.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "request.h"
#include "evum_proto.h"
#include "util.h"

typedef int value_decoder(struct term *term, void *target);

struct key {
	const char *name;
	value_decoder *decode;
	const char *expected;
	bool required;
};

/* One past the last; no key: index is the count. */
static size_t key_find(const struct key *keys, size_t count, const char *name)
{
	size_t i = 0;

	while (i < count && strcmp(keys[i].name, name) != 0)
		i++;
	return i;
}

/* Takes a name and its value.  seen has a bit for each key. */
static int key_get(struct term *term, const struct key *keys, size_t count, void *target,
		   unsigned int *seen, char text[], size_t text_size)
{
	char name[TERM_ATOM_SIZE];
	size_t i;
	int err;

	if (term_get_atom(term, name) < 0) {
		snprintf(text, text_size, "a key is no atom");
		return -EINVAL;
	}
	i = key_find(keys, count, name);
	if (i == count) {
		snprintf(text, text_size, "%.60s: no such key", name);
		return -EINVAL;
	}
	err = keys[i].decode(term, target);
	if (err)
		snprintf(text, text_size, "%s: expected %s", keys[i].name, keys[i].expected);
	*seen |= 1u << i;
	return err;
}

static int keys_get(struct term *term, const struct key *keys, size_t count, void *target,
		    char text[], size_t text_size)
{
	unsigned int seen = 0;
	int err;
	int n;

	if (term_get_map(term, &n) < 0) {
		snprintf(text, text_size, "expected a map");
		return -EINVAL;
	}
	for (; n; n--) {
		err = key_get(term, keys, count, target, &seen, text, text_size);
		if (err)
			return err;
	}
	for (size_t i = 0; i < count; i++)
		if (keys[i].required && !(seen & 1u << i)) {
			snprintf(text, text_size, "%s: missing", keys[i].name);
			return -EINVAL;
		}
	return 0;
}

static int get_kernel(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_string(term, &config->kernel);
}

static int get_initramfs(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_string(term, &config->initramfs);
}

static int get_modules(struct term *term, void *target)
{
	struct evum_config *config = target;
	char atom[TERM_ATOM_SIZE];

	if (!term_next_is_atom(term))
		return term_get_string(term, &config->modules);
	config->modules = NULL;
	return term_get_atom(term, atom) == 0 && strcmp(atom, "none") == 0 ? 0 : -EINVAL;
}

static int get_hostname(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_string(term, &config->hostname);
}

static int get_mem(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_u32(term, 1, &config->mem);
}

static int get_root(struct term *term, void *target)
{
	static const char *const names[] = {
		[EVUM_ROOT_INITRAMFS] = "initramfs",
		[EVUM_ROOT_DISK] = "disk",
		[EVUM_ROOT_HOST] = "host",
	};
	struct evum_config *config = target;
	char atom[TERM_ATOM_SIZE];

	_Static_assert(ARRAY_SIZE(names) == EVUM_ROOT_HOST + 1, "one name for each enum evum_root");
	if (term_get_atom(term, atom) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], atom) == 0) {
			config->root = (enum evum_root)i;
			return 0;
		}
	return -EINVAL;
}

static int get_disk(struct term *term, struct evum_disk *disk)
{
	char mode[TERM_ATOM_SIZE];

	if (term_get_tuple(term, 2) < 0 || term_get_string(term, &disk->path) < 0 ||
	    term_get_atom(term, mode) < 0)
		return -EINVAL;
	disk->durable = strcmp(mode, "durable") == 0;
	disk->writable = disk->durable || strcmp(mode, "rw") == 0;
	return disk->writable || strcmp(mode, "ro") == 0 ? 0 : -EINVAL;
}

static int get_disks(struct term *term, void *target)
{
	struct evum_config *config = target;
	int count;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	if ((unsigned int)count > EVUM_DISKS_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		if (get_disk(term, &config->disks[i]) < 0)
			return -EINVAL;
	config->disk_count = (unsigned int)count;
	return term_get_list_end(term, count);
}

static int get_layers(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_u32(term, 0, &config->layer_count);
}

static int get_layer_size(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_u32(term, 0, &config->layer_size);
}

static int get_layer_template(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_string(term, &config->layer_template);
}

static int get_layer_temporary(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_boolean(term, &config->layer_temporary);
}

static int get_binds(struct term *term, void *target)
{
	struct evum_config *config = target;
	int count;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	if ((unsigned int)count > EVUM_BINDS_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		if (term_get_string(term, &config->binds[i]) < 0)
			return -EINVAL;
	config->bind_count = (unsigned int)count;
	return term_get_list_end(term, count);
}

/* {HostDirectory, GuestDirectory, ro | rw} */
static int get_share(struct term *term, struct evum_share *share)
{
	char mode[TERM_ATOM_SIZE];

	if (term_get_tuple(term, 3) < 0 || term_get_string(term, &share->host) < 0 ||
	    term_get_string(term, &share->guest) < 0 || term_get_atom(term, mode) < 0)
		return -EINVAL;
	share->writable = strcmp(mode, "rw") == 0;
	return share->writable || strcmp(mode, "ro") == 0 ? 0 : -EINVAL;
}

static int get_shares(struct term *term, void *target)
{
	struct evum_config *config = target;
	int count;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	if ((unsigned int)count > EVUM_SHARES_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		if (get_share(term, &config->shares[i]) < 0)
			return -EINVAL;
	config->share_count = (unsigned int)count;
	return term_get_list_end(term, count);
}

/* {Address, GuestDirectory} */
static int get_dirs(struct term *term, void *target)
{
	struct evum_config *config = target;
	int count;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	if ((unsigned int)count > EVUM_DIRS_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		if (term_get_tuple(term, 2) < 0 ||
		    term_get_string(term, &config->dirs[i].address) < 0 ||
		    term_get_string(term, &config->dirs[i].guest) < 0)
			return -EINVAL;
	config->dir_count = (unsigned int)count;
	return term_get_list_end(term, count);
}

static int get_mac(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_bytes(term, nic->mac, sizeof(nic->mac));
}

static int get_mtu(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_u32(term, EVUM_MTU_MIN, &nic->mtu);
}

static int get_address(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_string(term, &nic->address);
}

static int get_gateway(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_string(term, &nic->gateway);
}

static int get_nameserver(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_string(term, &nic->nameserver);
}

static int get_domain(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_string(term, &nic->domain);
}

static int get_ipv6(struct term *term, void *target)
{
	struct evum_nic *nic = target;

	return term_get_boolean(term, &nic->ipv6);
}

static const struct key nic_keys[] = {
	{"mac", get_mac, "6 bytes", true},
	{"mtu", get_mtu, "a number of bytes", true},
	{"address", get_address, "a binary", false},
	{"gateway", get_gateway, "a binary", false},
	{"nameserver", get_nameserver, "a binary", false},
	{"domain", get_domain, "a binary", false},
	{"ipv6", get_ipv6, "true or false", false},
};
_Static_assert(EVUM_NIC_COUNT == EVUM_NICS_MAX && EVUM_NIC_MTU_MIN == EVUM_MTU_MIN &&
		       EVUM_NIC_MTU_MAX == EVUM_MTU_MAX,
	       "Erlang's limits are libevum's");

static int get_nics(struct term *term, void *target)
{
	struct evum_config *config = target;
	char text[64];
	int count;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	if ((unsigned int)count > EVUM_NICS_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		if (keys_get(term, nic_keys, ARRAY_SIZE(nic_keys), &config->nics[i], text,
			     sizeof(text)) < 0)
			return -EINVAL;
	config->nic_count = (unsigned int)count;
	return term_get_list_end(term, count);
}

static int get_args(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_strings(term, &config->args);
}

/* any, {spread, K} or {number, N} */
static int get_cpu(struct term *term, void *target)
{
	struct evum_config *config = target;
	char atom[TERM_ATOM_SIZE];

	config->cpu_policy = EVUM_CPU_ANY;
	if (term_next_is_atom(term))
		return term_get_atom(term, atom) == 0 && strcmp(atom, "any") == 0 ? 0 : -EINVAL;
	if (term_get_tuple(term, 2) < 0 || term_get_atom(term, atom) < 0)
		return -EINVAL;
	if (strcmp(atom, "spread") == 0)
		config->cpu_policy = EVUM_CPU_SPREAD;
	else if (strcmp(atom, "number") == 0)
		config->cpu_policy = EVUM_CPU_NUMBER;
	else
		return -EINVAL;
	return term_get_u32(term, 0, &config->cpu);
}

static int get_verbose(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_boolean(term, &config->verbose);
}

static int get_copy_log(struct term *term, void *target)
{
	struct evum_config *config = target;

	return term_get_boolean(term, &config->copy_log);
}

static int get_console_window(struct term *term, void *target)
{
	struct evum_config *config = target;
	uint32_t window;

	if (term_get_u32(term, 0, &window) < 0)
		return -EINVAL;
	config->console_window = window;
	return 0;
}

#define FILE_NAME "a file name (binary)"

static const struct key config_keys[] = {
	{"kernel", get_kernel, FILE_NAME, true},
	{"initramfs", get_initramfs, FILE_NAME, true},
	{"modules", get_modules, "a directory's name (binary) or none", false},
	{"hostname", get_hostname, "a binary", true},
	{"mem", get_mem, "a number of MiB", true},
	{"root", get_root, "initramfs, disk or host", true},
	{"disks", get_disks, "a list of at most 16 {FileName, ro | rw | durable}", false},
	{"layers", get_layers, "how many of the disks are layers", false},
	{"layer_size", get_layer_size, "a number of MiB", false},
	{"layer_template", get_layer_template, FILE_NAME, false},
	{"layer_temporary", get_layer_temporary, "true or false", false},
	{"binds", get_binds, "a list of at most 32 directories' names (binaries)", false},
	{"shares", get_shares, "a list of at most 8 {HostDir, GuestDir, ro | rw}", false},
	{"dirs", get_dirs, "a list of at most 8 {SocketAddress, GuestDir}", false},
	{"nics", get_nics, "a list of at most 8 maps of a mac, an mtu and more", false},
	{"args", get_args, "a list of binaries", false},
	{"cpu", get_cpu, "any, {spread, K} or {number, N}", false},
	{"verbose", get_verbose, "true or false", false},
	{"copy_log", get_copy_log, "true or false", false},
	{"console_window", get_console_window, "a number of bytes", false},
};
_Static_assert(ARRAY_SIZE(config_keys) <= sizeof(unsigned int) * CHAR_BIT, "keys fit in seen");

int request_config(struct term *term, struct evum_config *config, struct evum_error *error)
{
	evum_config_init(config);
	*error = (struct evum_error){.stage = "config"};
	return keys_get(term, config_keys, ARRAY_SIZE(config_keys), config, error->text,
			sizeof(error->text));
}

static int get_argv(struct term *term, void *target)
{
	struct evum_program *program = target;

	if (term_get_strings(term, &program->argv) < 0)
		return -EINVAL;
	return program->argv[0] ? 0 : -EINVAL;
}

static int get_env(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_strings(term, &program->env);
}

static int get_cwd(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_string(term, &program->cwd);
}

static int get_user(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_string(term, &program->user);
}

static int get_window(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_u32(term, 0, &program->window);
}

/* {Rows, Columns} */
static int get_pty(struct term *term, void *target)
{
	struct evum_program *program = target;
	long long rows;
	long long columns;

	if (term_get_tuple(term, 2) < 0 || term_get_integer(term, 1, UINT16_MAX, &rows) < 0 ||
	    term_get_integer(term, 1, UINT16_MAX, &columns) < 0)
		return -EINVAL;
	program->rows = (unsigned int)rows;
	program->cols = (unsigned int)columns;
	return 0;
}

static int get_max_procs(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_u32(term, 1, &program->max_procs);
}

static int get_max_mem(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_u32(term, 1, &program->max_mem);
}

static int get_builtin(struct term *term, void *target)
{
	struct evum_program *program = target;

	return term_get_boolean(term, &program->builtin);
}

static const struct key program_keys[] = {
	{"argv", get_argv, "a list of binaries, not empty", true},
	{"env", get_env, "a list of binaries", false},
	{"cwd", get_cwd, "a binary", false},
	{"user", get_user, "a binary", false},
	{"window", get_window, "a number of bytes", false},
	{"pty", get_pty, "{Rows, Columns}", false},
	{"max_procs", get_max_procs, "a number of processes", false},
	{"max_mem", get_max_mem, "a number of MiB", false},
	{"builtin", get_builtin, "true or false", false},
};

int request_program(struct term *term, struct evum_program *program)
{
	char text[64];

	*program = (struct evum_program){.window = EVUM_BULK_MAX};
	return keys_get(term, program_keys, ARRAY_SIZE(program_keys), program, text, sizeof(text));
}
