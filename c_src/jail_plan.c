/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's plan: every file of the host that the kernel's process will see
 *
 * Made before the clone, since the child may not allocate; what is missing or
 * taken is told here, with its name.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "jail.h"
#include "kernel_elf.h"
#include "layer.h"
#include "util.h"

#define LOCK_TRIES 10
#define LOCK_PAUSE_NS 5000000

/* Adds a host file; target NULL: the same path in the private root. */
static struct jail_file *add_file(struct jail *jail, const char *source, const char *target,
				  enum landlock_grant grant)
{
	struct jail_file *file = &jail->files[jail->file_count];
	struct stat st;

	if (jail->file_count == JAIL_FILES_MAX || stat(source, &st) < 0)
		return NULL;
	file->copy = NULL;
	file->source = realpath(source, NULL);
	file->target = strdup(target ? target : source);
	file->directory = S_ISDIR(st.st_mode);
	file->grant = grant;
	jail->file_count++;
	return file->source && file->target ? file : NULL;
}

static int plan_kernel(struct jail *jail, struct evum_error *error)
{
	const char *kernel = jail->config->kernel;
	struct elf_needs needs;
	int err = elf_kernel_needs(kernel, &needs);

	if (err == -ENOEXEC)
		return jail_error(error, "kernel", ENOEXEC,
				  "%s is no x86-64 User Mode Linux kernel", kernel);
	if (err == -ELIBACC)
		return jail_error(error, "kernel", ELIBACC,
				  "%s needs a shared library that this host lacks", kernel);
	if (err)
		return jail_error(error, "kernel", -err, "%s can't be executed", kernel);
	if (!add_file(jail, kernel, "/kernel", LANDLOCK_EXECUTE))
		return jail_error(error, "kernel", ENOENT, "%s is gone", kernel);
	if (needs.loader[0] && !add_file(jail, needs.loader, NULL, LANDLOCK_EXECUTE))
		return jail_error(error, "kernel", ELIBACC, "%s is missing", needs.loader);
	for (unsigned int i = 0; i < needs.library_count; i++)
		if (!add_file(jail, needs.library[i], NULL, LANDLOCK_READ))
			return jail_error(error, "kernel", ELIBACC, "%s is missing",
					  needs.library[i]);
	return 0;
}

static int plan_boot_files(struct jail *jail, struct evum_error *error)
{
	const struct evum_config *config = jail->config;

	if (!add_file(jail, config->initramfs, "/initrd", LANDLOCK_READ))
		return jail_error(error, "initramfs", errno, "%s can't be found",
				  config->initramfs);
	if (!add_file(jail, "/dev/null", NULL, LANDLOCK_WRITE))
		return jail_error(error, "mounts", errno, "/dev/null is missing");
	/* Without modules a kernel boots all the same; evum-init tells when it lacks one. */
	if (config->modules)
		add_file(jail, config->modules, "/modules", LANDLOCK_TREE);
	return 0;
}

/* Which disk an error is about, as a stage: jail_error() keeps the string. */
static const char *disk_stage(unsigned int number)
{
	static const char *const names[] = {"disk",   "disk1",	"disk2",  "disk3",
					    "disk4",  "disk5",	"disk6",  "disk7",
					    "disk8",  "disk9",	"disk10", "disk11",
					    "disk12", "disk13", "disk14", "disk15"};

	_Static_assert(ARRAY_SIZE(names) == EVUM_DISKS_MAX, "a name for each disk");
	return names[number];
}

/* Who only asks whether a disk is in use has its lock for a moment. */
static int lock_soon(int fd, int operation)
{
	int tries = LOCK_TRIES, result;

	while ((result = flock(fd, operation)) < 0 && errno == EWOULDBLOCK && --tries > 0)
		nanosleep(&(const struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
	return result;
}

/* One writer a disk: UML's own lock is lost as soon as it closes another descriptor of the file. */
static int lock_disk(struct jail *jail, unsigned int number, struct evum_error *error)
{
	const struct evum_disk *disk = &jail->config->disks[number];
	const char *stage = disk_stage(number);
	int fd = open(disk->path, (disk->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return jail_error(error, stage, errno, "%s can't be opened for %s", disk->path,
				  disk->writable ? "writing" : "reading");
	jail->locks[jail->lock_count++] = fd;
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return jail_error(error, stage, EINVAL, "%s is no disk image or block device",
				  disk->path);
	if (S_ISREG(st.st_mode) && st.st_size < 512)
		return jail_error(error, stage, EINVAL, "%s is empty", disk->path);
	if (lock_soon(fd, (disk->writable ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		return jail_error(error, stage, EBUSY, "%s is in use by another machine",
				  disk->path);
	return 0;
}

/* A layer that isn't there yet; another machine may make it at the same time. */
static int make_layer(struct jail *jail, unsigned int number, const struct layer_ids *below,
		      struct evum_error *error)
{
	const struct evum_config *config = jail->config;
	const char *path = config->disks[number].path;
	int err;

	if (!config->layer_size || number != config->layer_count || access(path, F_OK) == 0)
		return 0;
	err = layer_make(path, config->layer_template, config->layer_size, below,
			 jail->drop ? NOBODY : (uid_t)-1, !config->layer_temporary);
	if (err && err != -EEXIST)
		return jail_error(error, disk_stage(number), -err, "the layer %s can't be made",
				  path);
	return 0;
}

/* Is it one, and was it made over what it is to lie over now? */
static int check_layer(struct jail *jail, unsigned int number, const struct layer_ids *below,
		       struct evum_error *error)
{
	const struct evum_disk *disks = jail->config->disks;
	unsigned int changed;
	int err = layer_check(jail->locks[jail->lock_count - 1], below, &changed);

	if (err == -ESTALE)
		return jail_error(error, disk_stage(changed), ESTALE,
				  "%s was changed after the layer %s was made over it",
				  disks[changed].path, disks[number].path);
	if (err)
		return jail_error(error, disk_stage(number), -err, "%s is no layer of a disk",
				  disks[number].path);
	return 0;
}

/* Locks a disk and finds out whether the disks fit on each other.  below: those before it. */
static int take_disk(struct jail *jail, unsigned int number, struct layer_ids *below,
		     struct evum_error *error)
{
	const bool layer = number > 0 && number <= jail->config->layer_count;
	int err = layer ? make_layer(jail, number, below, error) : 0;

	err = err ? err : lock_disk(jail, number, error);
	if (err || !jail->config->layer_count)
		return err;
	err = layer ? check_layer(jail, number, below, error) : 0;
	if (err)
		return err;
	err = layer_identify(jail->locks[jail->lock_count - 1], below);
	if (err)
		return jail_error(error, disk_stage(number), -err, "%s can't be read",
				  jail->config->disks[number].path);
	return 0;
}

/* So that a cache of images keeps what a machine may boot from again. */
static void lock_initramfs(struct jail *jail)
{
	int fd = open(jail->config->initramfs, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	jail->locks[jail->lock_count++] = fd;
	(void)lock_soon(fd, LOCK_SH | LOCK_NB);
}

static int plan_disks(struct jail *jail, struct evum_error *error)
{
	struct layer_ids below = {.count = 0};

	for (unsigned int i = 0; i < jail->config->disk_count; i++) {
		const struct evum_disk *disk = &jail->config->disks[i];
		struct jail_file *file;
		char target[16];
		int err = take_disk(jail, i, &below, error);

		if (err)
			return err;
		snprintf(target, sizeof(target), "/disk%u", i);
		file = add_file(jail, disk->path, target,
				disk->writable ? LANDLOCK_WRITE : LANDLOCK_READ);
		if (!file)
			return jail_error(error, disk_stage(i), errno, "%s can't be found",
					  disk->path);
		file->writable = disk->writable;
	}
	return 0;
}

/* path is what it is after all links: /var/run is /run. */
static int check_bind(const char *stage, const char *path, struct evum_error *error)
{
	static const char *const never[] = {"/proc", "/sys", "/dev", "/run"};

	if (path[1] == '\0')
		return jail_error(error, stage, EINVAL, "%s: not a directory below /", path);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		size_t length = strlen(never[i]);

		if (strncmp(path, never[i], length) == 0 && strchr("/", path[length]))
			return jail_error(error, stage, EINVAL,
					  "%s is the host's own and never shown to a machine",
					  path);
	}
	return 0;
}

static int plan_bind(struct jail *jail, const char *path, struct evum_error *error)
{
	char target[PATH_MAX];
	struct jail_file *file;

	if (path[0] != '/')
		return jail_error(error, "config", EINVAL, "%s: not a directory below /", path);
	if (snprintf(target, sizeof(target), "/host%s", path) >= (int)sizeof(target))
		return jail_error(error, "config", ENAMETOOLONG, "a bound path is too long");
	file = add_file(jail, path, target, LANDLOCK_TREE);
	if (!file)
		return jail_error(error, "config", errno, "%s can't be found", path);
	if (!file->directory)
		return jail_error(error, "config", ENOTDIR, "%s is no directory", path);
	return check_bind("config", file->source, error);
}

/* /bin and its like: links into /usr on a merged host, directories of their own elsewhere. */
static int plan_root_names(struct jail *jail, struct evum_error *error)
{
	char name[16], link[64];
	ssize_t length;
	int err;

	for (size_t i = 0; i < JAIL_LINKS_MAX; i++) {
		snprintf(name, sizeof(name), "/%s", jail_link_names[i]);
		length = readlink(name, link, sizeof(link) - 1);
		if (length > 0) {
			link[length] = '\0';
			jail->links[i] = strdup(link);
			continue;
		}
		err = access(name, X_OK) == 0 ? plan_bind(jail, name, error) : 0;
		if (err)
			return err;
	}
	return 0;
}

static int plan_host(struct jail *jail, struct evum_error *error)
{
	int err = 0;

	if (jail->config->root != EVUM_ROOT_HOST)
		return 0;
	for (unsigned int i = 0; i < jail->config->bind_count && !err; i++)
		err = plan_bind(jail, jail->config->binds[i], error);
	return err ? err : plan_root_names(jail, error);
}

static int plan_share(struct jail *jail, unsigned int number, struct evum_error *error)
{
	const struct evum_share *share = &jail->config->shares[number];
	struct jail_file *file;
	char target[16];

	if (share->host[0] != '/')
		return jail_error(error, "share", EINVAL, "%s: not an absolute path", share->host);
	snprintf(target, sizeof(target), ARGV_SHARE "%u", number);
	file = add_file(jail, share->host, target,
			share->writable ? LANDLOCK_SHARE : LANDLOCK_TREE);
	if (!file)
		return jail_error(error, "share", errno, "%s can't be found", share->host);
	if (!file->directory)
		return jail_error(error, "share", ENOTDIR, "%s is no directory", share->host);
	file->share = true;
	file->writable = share->writable;
	return check_bind("share", file->source, error);
}

static int plan_shares(struct jail *jail, struct evum_error *error)
{
	int err = 0;

	for (unsigned int i = 0; i < jail->config->share_count && !err; i++)
		err = plan_share(jail, i, error);
	return err;
}

static int plan_cpu(struct jail *jail, struct evum_error *error)
{
	const struct evum_config *config = jail->config;
	cpu_set_t allowed;
	unsigned int turn;

	if (config->cpu_policy == EVUM_CPU_ANY)
		return 0;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return jail_error(error, "config", errno, "the allowed CPUs can't be read");
	jail->pinned = true;
	jail->cpu = config->cpu;
	if (config->cpu_policy == EVUM_CPU_NUMBER) {
		if (config->cpu < CPU_SETSIZE && CPU_ISSET(config->cpu, &allowed))
			return 0;
		return jail_error(error, "cpu", EINVAL, "CPU %u isn't one this process may use",
				  config->cpu);
	}
	turn = config->cpu % (unsigned int)CPU_COUNT(&allowed);
	for (jail->cpu = 0; !CPU_ISSET(jail->cpu, &allowed) || turn-- > 0;)
		jail->cpu++;
	return 0;
}

/* Guest memory is a file of the host's memory: what isn't there is a SIGBUS later. */
static int check_memory(unsigned int mem, struct evum_error *error)
{
	static const char name[] = "MemAvailable:";
	unsigned long available = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	if (!file)
		return 0;
	while (!available && fgets(line, sizeof(line), file))
		if (strncmp(line, name, sizeof(name) - 1) == 0)
			available = strtoul(line + sizeof(name) - 1, NULL, 10);
	fclose(file);
	if (!available || mem <= available / 1024)
		return 0;
	return jail_error(error, "memory", ENOMEM,
			  "the machine wants %u MiB, the host has %lu MiB available", mem,
			  available / 1024);
}

/* Does a map of our own user namespace have the id? */
static bool mapped(const char *name, unsigned long id)
{
	char path[64], line[128];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		char *rest;
		unsigned long first = strtoul(line, &rest, 10);

		(void)strtoul(rest, &rest, 10);
		found = id >= first && id - first < strtoul(rest, NULL, 10);
	}
	if (file)
		fclose(file);
	return found;
}

static bool may_set_groups(void)
{
	char word[16] = "";
	FILE *file = fopen("/proc/self/setgroups", "re");

	if (file && !fgets(word, sizeof(word), file))
		word[0] = '\0';
	if (file)
		fclose(file);
	return strncmp(word, "deny", 4) != 0;
}

/* In a container root may have no other id than his own; he is an ordinary user then. */
static bool root_can_drop(void)
{
	return geteuid() == 0 && mapped("uid_map", NOBODY) && mapped("gid_map", NOBODY) &&
	       may_set_groups();
}

const char *jail_file_path(const struct jail *jail, const struct jail_file *file)
{
	if (jail->mode == JAIL_CONFINED)
		return file->target;
	return file->copy ? file->copy : file->source;
}

int jail_plan(struct jail *jail, const struct evum_config *config, struct evum_error *error)
{
	int err;

	jail->config = config;
	jail->landlock_abi = landlock_abi();
	jail->drop = root_can_drop();
	err = check_memory(config->mem, error);
	err = err ? err : plan_kernel(jail, error);
	err = err ? err : plan_boot_files(jail, error);
	err = err ? err : plan_disks(jail, error);
	if (!err)
		lock_initramfs(jail);
	err = err ? err : plan_host(jail, error);
	err = err ? err : plan_shares(jail, error);
	return err ? err : plan_cpu(jail, error);
}

int jail_plan_argv(struct jail *jail, struct evum_error *error)
{
	struct argv_paths paths = {.run = jail->run};
	unsigned int disk = 0;
	int err;

	for (size_t i = 0; i < jail->file_count; i++) {
		const struct jail_file *file = &jail->files[i];
		const char *path = jail_file_path(jail, file);

		if (strcmp(file->target, "/initrd") == 0)
			paths.initramfs = path;
		if (strncmp(file->target, "/disk", 5) == 0)
			paths.disks[disk++] = path;
	}
	argv_free(&jail->argv);
	err = argv_make(jail->config, &paths, &jail->argv);
	if (err == -EINVAL)
		return jail_error(error, "args", EINVAL,
				  "args hold a word that evum sets itself (mem=, con…=, ubd…)");
	if (err)
		return jail_error(error, "config", -err,
				  "the kernel's command line is over %u bytes", EVUM_CMDLINE_MAX);
	return 0;
}

void jail_release(struct jail *jail)
{
	for (size_t i = 0; i < jail->file_count; i++) {
		free(jail->files[i].source);
		free(jail->files[i].target);
		free(jail->files[i].copy);
	}
	jail->file_count = 0;
	for (size_t i = 0; i < JAIL_LINKS_MAX; i++) {
		free(jail->links[i]);
		jail->links[i] = NULL;
	}
	argv_free(&jail->argv);
	fd_close(&jail->null);
	fd_close(&jail->log);
	fd_close(&jail->console);
	fd_close(&jail->agent);
	for (size_t i = 0; i < jail->dir_count; i++)
		fd_close(&jail->dirs[i]);
	jail->dir_count = 0;
	for (size_t i = 0; i < jail->lock_count; i++)
		fd_close(&jail->locks[i]);
	jail->lock_count = 0;
}
