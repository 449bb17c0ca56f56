/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which machines have a console to attach to: the kernel's own list of sockets
 *
 * An abstract address leaves nothing on the disk and ends with its socket, so
 * what /proc/net/unix shows is what runs, with no stale entries.
 */
#include "find.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENS 0x10000ul /* __SO_ACCEPTCON of the kernel, in the column Flags */

/* A decimal number at *text, which is moved behind it.  0 or -EINVAL. */
static int parse_number(const char **text, char end, unsigned int *number)
{
	char *rest;
	unsigned long value;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(*text, &rest, 10);
	if (errno || value > 0x7fffffffu || *rest != end)
		return -EINVAL;
	*number = (unsigned int)value;
	*text = rest + 1;
	return 0;
}

/* Does the line's fourth column, Flags, say that the socket listens? */
static bool listens(const char *line)
{
	for (int column = 0; column < 3; column++) {
		line += strspn(line, " ");
		line += strcspn(line, " ");
	}
	return strtoul(line, NULL, 16) & LISTENS;
}

/*
 * Reads one line of /proc/net/unix.  0, or -EINVAL where it is no machine that
 * listens (the machine's own connections have the same address).
 */
int find_parse(const char *line, struct machine *machine)
{
	const char *name = strstr(line, " @evum/");
	const char *slash;
	unsigned int uid;
	unsigned int pid;
	size_t len;

	if (!name || !listens(line))
		return -EINVAL;
	name += strlen(" @evum/");
	if (parse_number(&name, '/', &uid) < 0)
		return -EINVAL;
	slash = strchr(name, '/');
	len = slash ? (size_t)(slash - name) : 0;
	if (len == 0 || len > FIND_LABEL_MAX)
		return -EINVAL;
	memcpy(machine->label, name, len);
	machine->label[len] = '\0';
	name = slash + 1;
	if (parse_number(&name, '\n', &pid) < 0)
		return -EINVAL;
	machine->uid = uid;
	machine->pid = (pid_t)pid;
	return 0;
}

/* The machines that uid may attach to: its own, and root every one.  Returns how many. */
size_t find_list(FILE *table, uid_t uid, struct machine *machines, size_t max)
{
	char line[512];
	size_t count = 0;

	while (count < max && fgets(line, sizeof(line), table)) {
		if (find_parse(line, &machines[count]) < 0)
			continue;
		if (uid == 0 || machines[count].uid == uid)
			count++;
	}
	return count;
}

/* Is it the machine that a person calls LABEL or LABEL/PID? */
static bool machine_is(const struct machine *machine, const char *name)
{
	size_t len = strlen(machine->label);

	if (strncmp(machine->label, name, len) != 0)
		return false;
	if (name[len] == '/')
		return strtol(name + len + 1, NULL, 10) == machine->pid;
	return name[len] == '\0';
}

/*
 * The index of the machine called name; of several the only one of uid's own.
 * -ENOENT; -ENOTUNIQ where name fits several.
 */
int find_machine(const struct machine *machines, size_t count, uid_t uid, const char *name)
{
	size_t all = 0;
	size_t own = 0;
	int any_at = -ENOENT;
	int own_at = -ENOENT;

	for (size_t i = 0; i < count; i++) {
		if (!machine_is(&machines[i], name))
			continue;
		all++;
		any_at = (int)i;
		if (machines[i].uid != uid)
			continue;
		own++;
		own_at = (int)i;
	}
	if (own == 1)
		return own_at;
	return all > 1 ? -ENOTUNIQ : any_at;
}

/* An abstract address is anybody's to take: is it who its name says? */
static int check_peer(int fd, uid_t uid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	return peer.uid == uid ? 0 : -EPERM;
}

/* A connected socket, or -errno; -EPERM where another user poses as the machine's. */
int find_connect(const struct machine *machine)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "evum/%u/%s/%d",
			   (unsigned int)machine->uid, machine->label, (int)machine->pid);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = connect(fd, (struct sockaddr *)&address, size) < 0 ? -errno
								 : check_peer(fd, machine->uid);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
