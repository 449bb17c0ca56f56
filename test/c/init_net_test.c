/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: interfaces are set up as asked, and names are found without a change to a disk
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "builtin_child.h"
#include "cable.h"
#include "etc.h"
#include "names.h"
#include "net.h"
#include "net_state.h"
#include "own_namespaces.h"
#include "rtnl.h"
#include "temporary.h"

#define TEXT_MAX 4096

static struct in_addr ip(const char *text)
{
	struct in_addr address;

	CHECK(inet_pton(AF_INET, text, &address) == 1);
	return address;
}

/* In a child, whose namespaces go with it. */
static void apart(int (*run)(void), const char *skipped)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(run());
	status = child_status(pid);
	CHECK(status == 0 || status == CHECK_SKIP);
	if (status == CHECK_SKIP)
		fputs(skipped, stderr);
}

/* --- messages ---------------------------------------------------------------- */

static void an_address_message_says_all(void)
{
	const struct rtnl_address asked = {.index = 7, .address = ip("10.1.2.3"), .prefix = 20};
	const uint32_t broadcast = inet_addr("10.1.15.255");
	struct rtnl_address told;
	struct rtnl_message message;

	rtnl_message_add(&message, &asked);
	CHECK(message.header.nlmsg_len <= RTNL_MESSAGE_MAX);
	CHECK(rtnl_message_is_address(&message.header, &told));
	CHECK(told.index == 7 && told.prefix == 20);
	CHECK(told.address.s_addr == asked.address.s_addr);
	CHECK(memmem(message.bytes, message.header.nlmsg_len, &broadcast, 4) != NULL);
	message.header.nlmsg_len = NLMSG_HDRLEN + sizeof(struct ifaddrmsg) - 1;
	CHECK(!rtnl_message_is_address(&message.header, &told));
}

static void a_default_route_message_says_all(void)
{
	const struct rtnl_default asked = {.index = 7, .gateway = ip("10.1.2.1"), .metric = 3};
	struct rtnl_default told;
	struct rtnl_message message;

	rtnl_message_route(&message, &asked);
	CHECK(message.header.nlmsg_len <= RTNL_MESSAGE_MAX);
	CHECK(rtnl_message_is_default(&message.header, &told));
	CHECK(told.index == 7 && told.gateway.s_addr == asked.gateway.s_addr && told.metric == 3);
	rtnl_message_host(&message, 7, asked.gateway, true);
	CHECK(message.header.nlmsg_len <= RTNL_MESSAGE_MAX);
	CHECK(!rtnl_message_is_default(&message.header, &told));
}

/* --- names --------------------------------------------------------------------- */

static void is_text(const struct names_text *text, const char *expected)
{
	CHECK(text->len == strlen(expected) && memcmp(text->bytes, expected, text->len) == 0);
}

static void names_of_two_networks(void)
{
	struct nic nics[NIC_COUNT] = {0};
	struct names_text text;

	CHECK(nic_parse_word("10.0.0.2/24,,10.0.0.1,one,0", &nics[0]) == 0);
	CHECK(nic_parse_word("10.1.0.2/24,,10.1.0.1,two,0", &nics[3]) == 0);
	CHECK(nic_parse_word("10.1.0.3/24,,10.1.0.1,two,0", &nics[4]) == 0);
	names_resolv(nics, &text);
	is_text(&text, "nameserver 10.0.0.1\nnameserver 10.1.0.1\nsearch one two\n");
	names_resolved(nics, &text);
	is_text(&text, "[Resolve]\nDNS=10.0.0.1\nDNS=10.1.0.1\nDomains=one two\n");
	names_hosts(nics, "me", &text);
	is_text(&text, "# evum: this machine\n127.0.0.1\tlocalhost\n"
		       "::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.2\tme.one\tme\n"
		       "10.1.0.2\tme.two\tme\n10.1.0.3\tme.two\tme\n# evum: end\n");
}

static void names_of_no_network(void)
{
	const struct nic nics[NIC_COUNT] = {0};
	struct names_text text;

	names_resolv(nics, &text);
	is_text(&text, "");
	names_resolved(nics, &text);
	is_text(&text, "");
	names_hosts(nics, "me", &text);
	is_text(&text, "# evum: this machine\n127.0.0.1\tlocalhost\n"
		       "::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tme\n# evum: end\n");
}

static void the_longest_names_have_room(void)
{
	char word[512], hostname[65];
	struct nic nics[NIC_COUNT];
	struct names_text text;
	int i;

	memset(hostname, 'h', sizeof(hostname) - 1);
	hostname[64] = '\0';
	for (i = 0; i < NIC_COUNT; i++) {
		snprintf(word, sizeof(word),
			 "222.222.222.22%d/24,,222.222.22%d.222,%063d.%063d.%063d.%061d,1", i, i, i,
			 i, i, i);
		CHECK(nic_parse_word(word, &nics[i]) == 0);
	}
	names_hosts(nics, hostname, &text);
	CHECK(text.len > 3000 && text.len < NAMES_TEXT_MAX - 100);
	names_resolv(nics, &text);
	CHECK(text.len > 1500 && text.len < NAMES_TEXT_MAX - 100);
}

static void own_lines_are_found_again(void)
{
	static const char theirs[] = "127.0.0.1 localhost\n10.0.0.9 other\n";
	const struct nic nics[NIC_COUNT] = {0};
	char bytes[2 * NAMES_TEXT_MAX];
	struct names_text text;
	size_t len;

	names_hosts(nics, "me", &text);
	len = (size_t)snprintf(bytes, sizeof(bytes), "%.*s%s", (int)text.len, text.bytes, theirs);
	CHECK(names_strip(bytes, len) == strlen(theirs));
	CHECK(memcmp(bytes, theirs, strlen(theirs)) == 0);
	CHECK(names_strip(bytes, strlen(theirs)) == strlen(theirs));
	/* Half a block is somebody else's doing. */
	CHECK(names_strip(text.bytes, text.len - 1) == text.len - 1);
}

/* --- files of /etc --------------------------------------------------------------- */

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void has_text(const char *path, const char *expected)
{
	char text[TEXT_MAX];
	const size_t len = etc_read(path, text, sizeof(text));

	CHECK(len == strlen(expected) && memcmp(text, expected, len) == 0);
}

static int entries(const char *path)
{
	const struct dirent *entry;
	DIR *directory = opendir(path);
	int count = 0;

	CHECK(directory != NULL);
	while ((entry = readdir(directory)) != NULL)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(directory);
	return count;
}

static void a_file_takes_the_place_of_anything(void)
{
	CHECK(mkdir("etc", 0755) == 0);
	CHECK(etc_write("etc/hosts", false, "one\n", 4) == 0);
	has_text("etc/hosts", "one\n");
	CHECK(etc_write("etc/hosts", false, "2\n", 2) == 0);
	has_text("etc/hosts", "2\n");
	write_text("target", "target\n");
	CHECK(symlink("../target", "etc/resolv.conf") == 0);
	CHECK(etc_write("etc/resolv.conf", false, "three\n", 6) == 0);
	has_text("etc/resolv.conf", "three\n");
	has_text("target", "target\n");
	CHECK(mkdir("etc/full", 0755) == 0 && mkdir("etc/full/x", 0755) == 0);
	CHECK(etc_write("etc/full", false, "four\n", 5) < 0);
	CHECK(etc_write("missing/x", false, "five\n", 5) == -ENOENT);
	CHECK(entries("etc") == 3);
}

/* A root of a disk with /run in memory; false where the disk is memory itself. */
static bool make_root(void)
{
	static const char *const directories[] = {"etc", "run", "proc"};
	struct statfs system;
	size_t i;

	CHECK(statfs(".", &system) == 0);
	if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC)
		return false;
	for (i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		CHECK(mkdir(directories[i], 0755) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("tmpfs", "run", "tmpfs", 0, "mode=755") == 0);
	CHECK(mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL) == 0);
	return chroot(".") == 0 && chdir("/") == 0;
}

static void a_file_is_covered(void)
{
	write_text("/etc/hosts", "of the disk\n");
	CHECK(etc_write("/etc/hosts", true, "covered\n", 8) == 0);
	has_text("/etc/hosts", "covered\n");
	CHECK(etc_write("/etc/hosts", true, "new\n", 4) == 0);
	has_text("/etc/hosts", "new\n");
	CHECK(umount2("/etc/hosts", MNT_DETACH) == 0);
	/* The second was written to what the first had mounted. */
	has_text("/etc/hosts", "of the disk\n");
}

static void links_into_run_are_followed(void)
{
	static const char *const good[][2] = {
		{"../run/resolve/stub.conf", "/run/resolve/stub.conf"},
		{"/run/a/b/c", "/run/a/b/c"},
		{"/var/run/d", "/run/d"},
	};
	static const char *const bad[] = {"../run/../etc/x", "/run/x/../../etc/x",
					  "/etc/x",	     "../etc/run/x",
					  "runx/y",	     "/run/"};
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		CHECK(symlink(good[i][0], "/etc/resolv.conf") == 0);
		CHECK(etc_write("/etc/resolv.conf", true, "led\n", 4) == 0);
		has_text(good[i][1], "led\n");
		CHECK(unlink("/etc/resolv.conf") == 0);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK(symlink(bad[i], "/etc/resolv.conf") == 0);
		CHECK(etc_write("/etc/resolv.conf", true, "led\n", 4) < 0);
		CHECK(unlink("/etc/resolv.conf") == 0);
	}
	CHECK(entries("/etc") == 1);
}

static void what_cannot_be_covered_stays(void)
{
	CHECK(etc_write("/etc/resolv.conf", true, "x\n", 2) == -ENOENT);
	CHECK(mkfifo("/etc/resolv.conf", 0644) == 0);
	CHECK(etc_write("/etc/resolv.conf", true, "x\n", 2) == -ENXIO);
	CHECK(unlink("/etc/resolv.conf") == 0 && mkdir("/etc/resolv.conf", 0755) == 0);
	CHECK(etc_write("/etc/resolv.conf", true, "x\n", 2) == -EISDIR);
	CHECK(rmdir("/etc/resolv.conf") == 0 && entries("/etc") == 1);
	CHECK(etc_write_memory("/run/deep/er/file", "x\n", 2) == 0);
	has_text("/run/deep/er/file", "x\n");
	CHECK(umount2("/run", MNT_DETACH) == 0);
	CHECK(etc_write_memory("/run/evum/file", "x\n", 2) == -EROFS && entries("/run") == 0);
}

static int disk_is_not_changed(void)
{
	if (!own_namespaces(CLONE_NEWNS) || !make_root())
		return CHECK_SKIP;
	a_file_is_covered();
	links_into_run_are_followed();
	what_cannot_be_covered_stays();
	return 0;
}

/* --- interfaces -------------------------------------------------------------------- */

/* Runs "net" with these words. */
static int net_command(const char *line)
{
	const char *args[CHILD_ARGS_MAX + 1] = {NULL};
	char text[128], *rest = text;
	int err = child_file("", 0), status, n = 0;

	snprintf(text, sizeof(text), "net %s", line);
	while (rest != NULL && n < CHILD_ARGS_MAX)
		args[n++] = strsep(&rest, " ");
	status = child_status(child_start(args, err, err, err));
	close(err);
	return status;
}

/* The interface's IPv4 addresses, each as "ADDRESS/MASK ". */
static void has_addresses(const char *name, const char *expected)
{
	char text[TEXT_MAX] = "", one[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
	struct ifaddrs *all, *at;
	struct sockaddr_in in;

	CHECK(getifaddrs(&all) == 0);
	for (at = all; at != NULL; at = at->ifa_next) {
		if (strcmp(at->ifa_name, name) != 0 || at->ifa_addr == NULL ||
		    at->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&in, at->ifa_addr, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, one, sizeof(one));
		memcpy(&in, at->ifa_netmask, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, mask, sizeof(mask));
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s/%s ", one, mask);
	}
	freeifaddrs(all);
	CHECK(strcmp(text, expected) == 0);
}

/* Lines of /proc/net/route that begin so: "NAME\tDESTINATION\tGATEWAY", in the kernel's digits. */
static int routes(const char *start)
{
	char line[TEXT_MAX];
	FILE *file = fopen("/proc/self/net/route", "r");
	int count = 0;

	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file) != NULL)
		count += strncmp(line, start, strlen(start)) == 0;
	fclose(file);
	return count;
}

static void a_command_replaces_addresses_and_routes(void)
{
	CHECK(net_command("set 0 10.0.0.2/24 10.0.0.1 10.0.0.1 evum - 0") == 0);
	has_addresses("eth0", "10.0.0.2/255.255.255.0 ");
	CHECK(routes("eth0\t00000000\t0100000A") == 1 && routes("eth0") == 2);
	/* In the same subnet, and then the same address with another prefix. */
	CHECK(net_command("set 0 10.0.0.3/24 10.0.0.9 - - - 0") == 0);
	has_addresses("eth0", "10.0.0.3/255.255.255.0 ");
	CHECK(routes("eth0\t00000000\t0900000A") == 1 && routes("eth0") == 2);
	CHECK(net_command("set 0 10.0.0.3/16 10.0.0.9 - - - 0") == 0);
	has_addresses("eth0", "10.0.0.3/255.255.0.0 ");
	CHECK(routes("eth0\t00000000\t0900000A") == 1 && routes("eth0") == 2);
	CHECK(net_command("set 0 10.0.0.3/16 10.0.0.9 - - - 0") == 0);
	has_addresses("eth0", "10.0.0.3/255.255.0.0 ");
	CHECK(net_command("set 0 10.0.0.3/16 - - - - 0") == 0);
	CHECK(routes("eth0\t00000000") == 0 && routes("eth0") == 1);
	CHECK(net_command("set 0 - - - - - 0") == 0);
	has_addresses("eth0", "");
}

static void a_command_that_fails_changes_nothing(void)
{
	CHECK(net_command("set 0 10.0.0.2/24 10.0.0.1 - - - 0") == 0);
	CHECK(net_command("set 0 10.2.0.2/24 10.3.0.1 - - - 0") == ENETUNREACH);
	CHECK(net_command("set 0 10.2.0.2/24 10.2.0.1 - - 60 0") == EINVAL);
	has_addresses("eth0", "10.0.0.2/255.255.255.0 ");
	CHECK(routes("eth0\t00000000\t0100000A") == 1 && routes("eth0") == 2);
}

static void a_command_takes_no_nonsense(void)
{
	static const char *const bad[] = {
		"set 0",
		"set 8 - - - - - 0",
		"set x - - - - - 0",
		"set 0 - - - - - 0 0",
		"set 0 - - - - - -",
		"set 0 - - - - 0 0",
		"set 0 - - - - 70000 0",
		"set 0 - - - - 1500x 0",
		"set 0 = - - - - 0",
		"set 0 10.0.0.2 - - - - 0",
		"set 0 - 10.0.0.1 - - - 0",
		"down",
		"down 8",
		"down 0 0",
		"up 0",
		"",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK(net_command(bad[i]) == EINVAL);
	CHECK(net_command("set 5 - - - - - 0") == ENODEV);
}

static void a_command_ends_a_network(void)
{
	CHECK(net_command("set 0 10.0.0.2/24 10.0.0.1 - - 1400 0") == 0);
	CHECK(net_command("down 0") == 0);
	has_addresses("eth0", "");
	CHECK(routes("eth0") == 0);
	CHECK(net_command("down 0") == 0);
}

static void rename_to(const char *old, const char *new)
{
	struct rtnl_message message;
	char name[IFNAMSIZ] = "";
	int fd = rtnl_open();

	memcpy(name, new, strlen(new) + 1);
	rtnl_message_rename(&message, (int)if_nametoindex(old), name);
	CHECK(fd >= 0 && rtnl_ask(fd, &message) == 0);
	close(fd);
}

/* With what the agent does at such events. */
static void down_and_up(const struct boot *boot, int events)
{
	struct ifreq down = {.ifr_flags = 0};

	net_watched(boot->net, events);
	cable_request("eth0", SIOCSIFFLAGS, &down);
	CHECK(routes("eth0") == 0);
	net_watched(boot->net, events);
	cable_up("eth0");
	net_watched(boot->net, events);
}

static void a_killed_command_frees_the_lock(struct net *net)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		net_lock(net);
		kill(getpid(), SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(net_try_lock(net));
	net_unlock(net);
	net_lock(net);
	net_unlock(net);
}

static void a_boot_sets_up_what_is_plugged(void)
{
	struct ifreq promiscuous = {.ifr_flags = IFF_UP | IFF_PROMISC};
	struct boot boot = {0};
	int events, net = rtnl_open();

	CHECK(cmdline_parse("evum.hostname=me evum.nic0=10.0.0.2/24,10.0.0.1,10.0.0.1,evum,0 "
			    "evum.nic1=,,,,0",
			    &boot.config) == 0);
	CHECK(net_start(&boot) == 0);
	CHECK(if_nametoindex("eth0") != 0 && if_nametoindex("vec0") == 0);
	has_addresses("eth0", "10.0.0.2/255.255.255.0 ");
	CHECK(routes("eth0\t00000000\t0100000A") == 1);
	net_shared = boot.net;
	events = net_watch();
	CHECK(events >= 0);
	/* Its nameserver is on the cable still. */
	CHECK(net_command("set 0 10.9.0.2/24 10.9.0.1 = = - =") == 0);
	CHECK(routes("eth0\t0100000A\t00000000") == 1 && routes("eth0") == 3);
	down_and_up(&boot, events);
	CHECK(routes("eth0\t00000000\t0100090A") == 1);
	CHECK(routes("eth0\t0100000A\t00000000") == 1 && routes("eth0") == 3);
	CHECK(net_command("set 0 10.0.0.2/24 10.0.0.1 = = - =") == 0);
	CHECK(routes("eth0\t0100000A") == 0 && routes("eth0") == 2);
	/* What the machine deletes itself stays deleted as long as the interface is up. */
	CHECK(rtnl_clear_defaults(net, (int)if_nametoindex("eth0"), NULL) == 0);
	cable_request("eth0", SIOCSIFFLAGS, &promiscuous);
	net_watched(boot.net, events);
	CHECK(routes("eth0\t00000000") == 0);
	a_killed_command_frees_the_lock(boot.net);
	close(events);
	close(net);
	net_shared = NULL;
}

static void a_boot_without_its_interface_fails(void)
{
	struct boot boot = {0};

	CHECK(cmdline_parse("evum.nic6=10.0.0.2/24,,,,0", &boot.config) == 0);
	CHECK(net_start(&boot) < 0);
	CHECK(strcmp(boot.error, "cannot set up eth6 (interface): No such device") == 0);
}

static int interfaces_are_set_up(void)
{
	if (!own_namespaces(CLONE_NEWNET | CLONE_NEWNS) || !cable_make())
		return CHECK_SKIP;
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	/* The machine's own /etc, which the test may write to. */
	CHECK(mount("tmpfs", "/etc", "tmpfs", 0, "") == 0);
	rename_to("v0", "vec0");
	cable_up("veth0");
	a_boot_sets_up_what_is_plugged();
	a_boot_without_its_interface_fails();
	a_command_replaces_addresses_and_routes();
	a_command_that_fails_changes_nothing();
	a_command_takes_no_nonsense();
	a_command_ends_a_network();
	return 0;
}

static void disk(void)
{
	apart(disk_is_not_changed, "no disk to leave alone: not allowed, or all is memory\n");
}

static void interfaces(void)
{
	apart(interfaces_are_set_up, "no interface to set up: not allowed, or no veth\n");
}

int main(void)
{
	static void (*const cases[])(void) = {
		an_address_message_says_all,
		a_default_route_message_says_all,
		names_of_two_networks,
		names_of_no_network,
		the_longest_names_have_room,
		own_lines_are_found_again,
		a_file_takes_the_place_of_anything,
		disk,
		interfaces,
	};
	char home[TEXT_MAX];
	size_t i;

	snprintf(home, sizeof(home), "%s/init_net_XXXXXX", getenv("EVUM_BINARY_DIR"));
	CHECK(mkdtemp(home) != NULL);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		temporary_remove(AT_FDCWD, home);
		CHECK(mkdir(home, 0755) == 0 && chdir(home) == 0);
		cases[i]();
		CHECK(chdir("/") == 0);
	}
	temporary_remove(AT_FDCWD, home);
	return 0;
}
