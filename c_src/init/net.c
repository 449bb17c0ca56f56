/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: the machine's network interfaces and the names it finds
 *
 * Theory of operation.  The kernel has an interface vecN for each that the host
 * plugged or may plug.  It is called ethN before anybody sees it.  Opening one
 * (up) connects it to the host, so an unplugged one stays down.
 *
 * A new setting is put beside the old one, which goes when all of the new one is
 * there: addresses first, then the default route, whose metric is the interface's
 * number, so that several can have one and the lowest number's is used.  An
 * address in the same subnet as an older one would be deleted with that one,
 * were it not for promote_secondaries.
 *
 * IPv6 is the kernel's own doing: it makes itself addresses and takes what routers
 * advertise.  It needs not ask whether they are unique, as the machine's MAC is.
 * Where there is no IPv6 in the kernel or beside it, a machine that has an IPv4
 * address does without.
 *
 * Names: /etc/hosts and /etc/resolv.conf (etc.c), and drop-in files below /run for
 * the programs of dists that manage interfaces, which find ours configured and
 * shall leave it so: systemd-networkd keeps what it finds and asks for nothing,
 * NetworkManager doesn't touch it, systemd-resolved knows our nameservers.  What
 * asks by DHCP on its own gets the same address from the network's gateway.
 *
 * What is asked lies in memory that all processes of evum-init share, so that a
 * command of the agent's can write the names of all interfaces anew.
 */
#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etc.h"
#include "module.h"
#include "names.h"
#include "rtnl.h"
#include "watch.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define NETWORKD_FILE "/run/systemd/network/00-evum-%s.network"
#define RESOLVED_FILE "/run/systemd/resolved.conf.d/00-evum.conf"
#define NETWORK_MANAGER_FILE "/run/NetworkManager/conf.d/00-evum.conf"

#define IPV6_MODULE "net/ipv6/ipv6.ko"
#define IPV6_NEEDS "lib/crc-ccitt.ko"
#define IPV6_SYSCTLS "/proc/sys/net/ipv6"

#define MTU_MAX 65535
#define RUNNING_MS 1000 /* for an interface that was opened to be seen as connected */
#define RUNNING_LOOK_MS 2

struct net {
	pthread_mutex_t lock;
	enum boot_root root;
	bool rw;
	char hostname[BOOT_NAME_MAX + 1];
	struct nic nics[NIC_COUNT];
};

struct net *net_shared;

/* One interface, while it is being changed. */
struct target {
	int fd; /* rtnl */
	int index;
	int number;
	const char *failed; /* what an error is about */
	char name[IFNAMSIZ];
};

static void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One write(2): dprintf(3) would seek, which this file refuses. */
static void warn(const char *format, ...)
{
	char text[BOOT_TEXT_MAX], line[BOOT_TEXT_MAX + 32];
	va_list args;
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC), len;

	if (fd < 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Without its end it would be shown with the next line. */
	len = snprintf(line, sizeof(line), "<4>evum-init: %s\n", text);
	(void)!write(fd, line, (size_t)len);
	close(fd);
}

/* --- one interface ------------------------------------------------------------ */

static int target_open(struct target *target, int number)
{
	*target = (struct target){.fd = -1, .number = number, .failed = "interface"};
	snprintf(target->name, sizeof(target->name), "eth%d", number);
	target->index = (int)if_nametoindex(target->name);
	if (target->index == 0)
		return -ENODEV;
	target->fd = rtnl_open();
	return target->fd < 0 ? target->fd : 0;
}

static void target_close(const struct target *target)
{
	if (target->fd >= 0)
		close(target->fd);
}

static int set_link(const struct target *target, bool up)
{
	struct rtnl_message message;

	rtnl_message_up(&message, target->index, up);
	return rtnl_ask(target->fd, &message);
}

static int set_mtu(const struct target *target, uint32_t mtu)
{
	struct rtnl_message message;

	rtnl_message_mtu(&message, target->index, mtu);
	return rtnl_ask(target->fd, &message);
}

/* A setting of the interface in family, "ipv4" or "ipv6", where there is one. */
static void set_sysctl(const struct target *target, const char *family, const char *name,
		       const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, target->name, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, value, strlen(value));
	close(fd);
}

/* 0, or -errno where the kernel has no IPv6 and can't get it. */
static int set_ipv6(const struct target *target, bool wanted)
{
	int result = 0;

	if (wanted && access(IPV6_SYSCTLS, F_OK) < 0)
		result = module_load_unseen(IPV6_NEEDS, IPV6_MODULE);
	set_sysctl(target, "ipv6", "accept_dad", "0");
	set_sysctl(target, "ipv6", "router_solicitation_delay", "0");
	set_sysctl(target, "ipv6", "disable_ipv6", wanted ? "0" : "1");
	return result;
}

/* The kernel looks for a carrier a moment after it opened an interface; nothing is sent before. */
static void await_running(const struct target *target)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), waited;

	memcpy(request.ifr_name, target->name, sizeof(request.ifr_name));
	for (waited = 0; waited < RUNNING_MS; waited += RUNNING_LOOK_MS) {
		if (ioctl(fd, SIOCGIFFLAGS, &request) < 0 || (request.ifr_flags & IFF_RUNNING) != 0)
			break;
		watch_pause(RUNNING_LOOK_MS);
	}
	if (fd >= 0)
		close(fd);
}

static int set_route(const struct target *target, const struct rtnl_default *route)
{
	struct rtnl_message message;

	if (route->gateway.s_addr == INADDR_ANY)
		return 0;
	rtnl_message_route(&message, route);
	return rtnl_ask(target->fd, &message);
}

/* A nameserver of this network is reached also by an address of another subnet. */
static int set_near(const struct target *target, const struct nic *nic)
{
	struct rtnl_message message;
	const bool there = nic->near && !nic_is_near(nic, nic->nameserver);
	int result;

	if (nic->nameserver.s_addr == INADDR_ANY || (!there && !nic->near))
		return 0;
	rtnl_message_host(&message, target->index, nic->nameserver, there);
	result = rtnl_ask(target->fd, &message);
	return result == -ESRCH ? 0 : result;
}

/* Puts the route, and then the address it needs, in the place of all others. */
static int replace_routes(struct target *target, const struct rtnl_address *address,
			  const struct rtnl_default *route)
{
	const bool some = address->address.s_addr != INADDR_ANY;
	int result;

	target->failed = "gateway";
	result = set_route(target, route);
	if (result == 0)
		result = rtnl_clear_defaults(target->fd, target->index,
					     route->gateway.s_addr != INADDR_ANY ? route : NULL);
	if (result < 0)
		return result;
	target->failed = "address";
	return rtnl_clear_addresses(target->fd, target->index, some ? address : NULL);
}

static int replace_addresses(struct target *target, const struct nic *nic)
{
	const struct rtnl_address address = {
		.index = target->index, .address = nic->address, .prefix = (uint8_t)nic->prefix};
	const struct rtnl_default route = {.index = target->index,
					   .gateway = nic->gateway,
					   .metric = (uint32_t)target->number};
	struct rtnl_message message;
	int added = -EEXIST, result;

	target->failed = "address";
	set_sysctl(target, "ipv4", "promote_secondaries", "1");
	if (nic->address.s_addr != INADDR_ANY) {
		rtnl_message_add(&message, &address);
		added = rtnl_ask(target->fd, &message);
	}
	if (added < 0 && added != -EEXIST)
		return added;
	result = replace_routes(target, &address, &route);
	if (result < 0 && added == 0) {
		rtnl_message_delete(&message, &address);
		(void)rtnl_ask(target->fd, &message);
	}
	return result;
}

/* Has the interface be as nic says, with an MTU of its own unless that is 0.  0 or -errno. */
static int apply(struct target *target, const struct nic *nic, uint32_t mtu)
{
	int result = 0;

	target->failed = "mtu";
	if (mtu != 0)
		result = set_mtu(target, mtu);
	if (result < 0)
		return result;
	target->failed = "ipv6";
	result = set_ipv6(target, nic->ipv6);
	if (result < 0 && nic->address.s_addr == INADDR_ANY)
		return result;
	if (result < 0)
		warn("%s is without IPv6: %s", target->name, strerror(-result));
	target->failed = "interface";
	result = set_link(target, true);
	if (result < 0)
		return result;
	await_running(target);
	result = replace_addresses(target, nic);
	return result < 0 ? result : set_near(target, nic);
}

static int withdraw(struct target *target)
{
	int result = set_link(target, false);

	return result < 0 ? result : rtnl_clear_addresses(target->fd, target->index, NULL);
}

/* --- names ---------------------------------------------------------------------- */

static bool is_any_plugged(const struct net *net)
{
	int i;

	for (i = 0; i < NIC_COUNT; i++)
		if (nic_is_plugged(&net->nics[i]))
			return true;
	return false;
}

static void told(const char *path, int result)
{
	if (result < 0)
		warn("%s: %s", path, strerror(-result));
}

/* Ours first, then what the image says itself. */
static void write_hosts(const struct net *net, bool keep)
{
	static char text[NAMES_TEXT_MAX + ETC_TEXT_MAX];
	struct names_text own;
	size_t len;

	names_hosts(net->nics, net->hostname, &own);
	memcpy(text, own.bytes, own.len);
	len = etc_read(HOSTS, text + own.len, ETC_TEXT_MAX);
	len = own.len + names_strip(text + own.len, len);
	told(HOSTS, etc_write(HOSTS, keep, text, len));
}

static void write_resolv(const struct net *net, bool keep)
{
	struct names_text text;

	names_resolv(net->nics, &text);
	if (text.len > 0)
		told(RESOLV_CONF, etc_write(RESOLV_CONF, keep, text.bytes, text.len));
}

static void write_networkd(const struct nic *nic, int number)
{
	char name[IFNAMSIZ], path[sizeof(NETWORKD_FILE) + IFNAMSIZ], text[BOOT_TEXT_MAX];
	int len;

	snprintf(name, sizeof(name), "eth%d", number);
	snprintf(path, sizeof(path), NETWORKD_FILE, name);
	if (!nic_is_plugged(nic)) {
		(void)unlink(path);
		return;
	}
	len = snprintf(text, sizeof(text),
		       "[Match]\nName=%s\n\n[Network]\nDHCP=no\nKeepConfiguration=yes\n"
		       "LinkLocalAddressing=%s\nIPv6AcceptRA=%s\n",
		       name, nic->ipv6 ? "ipv6" : "no", nic->ipv6 ? "yes" : "no");
	told(path, etc_write_memory(path, text, (size_t)len));
}

static void write_network_manager(const struct net *net)
{
	char text[BOOT_TEXT_MAX];
	int len, i;

	len = snprintf(text, sizeof(text),
		       "[main]\nrc-manager=unmanaged\n\n[keyfile]\nunmanaged-devices=");
	for (i = 0; i < NIC_COUNT; i++)
		if (nic_is_plugged(&net->nics[i]))
			len += snprintf(text + len, sizeof(text) - (size_t)len,
					"interface-name:eth%d;", i);
	text[len - 1] = '\n';
	told(NETWORK_MANAGER_FILE, etc_write_memory(NETWORK_MANAGER_FILE, text, (size_t)len));
}

/* A dist's own managers run on disks only. */
static void tell_managers(const struct net *net)
{
	struct names_text text;
	int i;

	names_resolved(net->nics, &text);
	for (i = 0; i < NIC_COUNT; i++)
		write_networkd(&net->nics[i], i);
	if (is_any_plugged(net))
		write_network_manager(net);
	if (text.len > 0)
		told(RESOLVED_FILE, etc_write_memory(RESOLVED_FILE, text.bytes, text.len));
}

static void write_names(const struct net *net)
{
	const bool disk = net->root == BOOT_DISK, keep = disk && net->rw;

	/* A disk of one's own keeps its names as well as long as there is no network. */
	if (!keep || is_any_plugged(net))
		write_hosts(net, keep);
	write_resolv(net, keep);
	if (disk)
		tell_managers(net);
}

/* --- a boot ----------------------------------------------------------------------- */

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	int error = pthread_mutexattr_init(&attributes);

	if (error != 0)
		return -error;
	(void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	(void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	error = pthread_mutex_init(lock, &attributes);
	(void)pthread_mutexattr_destroy(&attributes);
	return -error;
}

/* Shared memory with what config asks for, or NULL. */
static struct net *make_net(const struct boot_config *config)
{
	struct net *net =
		mmap(NULL, sizeof(*net), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (net == MAP_FAILED || init_lock(&net->lock) < 0)
		return NULL;
	net->root = config->root;
	net->rw = config->rw;
	memcpy(net->hostname, config->hostname, sizeof(net->hostname));
	memcpy(net->nics, config->nics, sizeof(net->nics));
	return net;
}

/* vecN becomes ethN; a kernel without it is no error here. */
static int rename_nic(int fd, int number)
{
	struct rtnl_message message;
	char old[IFNAMSIZ], new[IFNAMSIZ];
	unsigned int index;

	snprintf(old, sizeof(old), "vec%d", number);
	snprintf(new, sizeof(new), "eth%d", number);
	index = if_nametoindex(old);
	if (index == 0)
		return 0;
	rtnl_message_rename(&message, (int)index, new);
	return rtnl_ask(fd, &message);
}

static int rename_all(void)
{
	int fd = rtnl_open(), i, result = fd < 0 ? fd : 0;

	for (i = 0; i < NIC_COUNT && result == 0; i++)
		result = rename_nic(fd, i);
	if (fd >= 0)
		close(fd);
	return result;
}

static int set_up(struct boot *boot, int number)
{
	struct target target;
	int result = target_open(&target, number);

	if (result == 0)
		result = apply(&target, &boot->net->nics[number], 0);
	target_close(&target);
	if (result == 0)
		return 0;
	return boot_error(boot, "cannot set up eth%d (%s): %s", number, target.failed,
			  strerror(-result));
}

int net_start(struct boot *boot)
{
	int i, result;

	boot->net = make_net(&boot->config);
	if (boot->net == NULL)
		return boot_error(boot, "cannot set up the network: %s", strerror(ENOMEM));
	result = rename_all();
	if (result < 0)
		return boot_error(boot, "cannot name the network interfaces: %s",
				  strerror(-result));
	for (i = 0; i < NIC_COUNT; i++)
		if (nic_is_plugged(&boot->net->nics[i]) && set_up(boot, i) < 0)
			return -1;
	return 0;
}

void net_furnish(const struct boot *boot)
{
	write_names(boot->net);
}

/* --- the command -------------------------------------------------------------------- */

static int take_mtu(const char *text, uint32_t *mtu)
{
	*mtu = 0;
	return *text == '\0' ? 0 : nic_parse_positive(text, MTU_MAX, mtu);
}

/* Waits for other commands of this machine.  One that was killed at it left nothing half written. */
static void lock(struct net *net)
{
	if (net != NULL && pthread_mutex_lock(&net->lock) == EOWNERDEAD)
		(void)pthread_mutex_consistent(&net->lock);
}

static void unlock(struct net *net)
{
	if (net != NULL)
		(void)pthread_mutex_unlock(&net->lock);
}

static void remember(struct net *net, int number, const struct nic *nic)
{
	if (net == NULL)
		return;
	net->nics[number] = *nic;
	write_names(net);
}

/* What a command wants of one interface. */
struct wish {
	int number;
	uint32_t mtu; /* 0: as it is */
	bool down;
	bool keeps[NIC_FIELDS]; /* what it has of that */
	struct nic nic;
};

static void keep(const struct net *net, struct wish *wish)
{
	const struct nic *had = &net->nics[wish->number];

	if (wish->keeps[NIC_NAMESERVER]) {
		wish->nic.nameserver = had->nameserver;
		wish->nic.near = had->near;
	}
	if (wish->keeps[NIC_DOMAIN])
		memcpy(wish->nic.domain, had->domain, sizeof(had->domain));
	if (wish->keeps[NIC_IPV6])
		wish->nic.ipv6 = had->ipv6;
}

/* A route to the nameserver that it had, where it has another now. */
static void forget_near(const struct target *target, const struct nic *had, const struct nic *nic)
{
	struct rtnl_message message;

	if (!had->near || had->nameserver.s_addr == nic->nameserver.s_addr)
		return;
	rtnl_message_host(&message, target->index, had->nameserver, false);
	(void)rtnl_ask(target->fd, &message);
}

/* Under the lock.  target->failed says what an error is about. */
static int fulfil(struct wish *wish, struct target *target)
{
	int result = target_open(target, wish->number);

	if (result == 0 && wish->down)
		return withdraw(target);
	if (result < 0)
		return result;
	if (net_shared != NULL)
		keep(net_shared, wish);
	result = apply(target, &wish->nic, wish->mtu);
	if (result == 0 && net_shared != NULL)
		forget_near(target, &net_shared->nics[wish->number], &wish->nic);
	return result;
}

static int change(struct wish *wish)
{
	struct target target;
	int result;

	lock(net_shared);
	result = fulfil(wish, &target);
	target_close(&target);
	if (result == 0)
		remember(net_shared, wish->number, &wish->nic);
	unlock(net_shared);
	if (result < 0)
		fputs(target.failed, stderr);
	return -result;
}

static int bad(const char *what)
{
	fputs(what, stderr);
	return EINVAL;
}

/* "-" is how a command says what a word says by nothing. */
static const char *field(const char *text)
{
	return strcmp(text, "-") == 0 ? "" : text;
}

/* The same of what may be kept, for which "=" stands; instead is read in its place. */
static const char *kept(struct wish *wish, enum nic_field which, const char *text,
			const char *instead)
{
	wish->keeps[which] = strcmp(text, "=") == 0;
	return wish->keeps[which] ? instead : field(text);
}

static int set_main(int number, char **args)
{
	struct wish wish = {.number = number};
	const char *fields[NIC_FIELDS] = {
		[NIC_ADDRESS] = field(args[0]),
		[NIC_GATEWAY] = field(args[1]),
		[NIC_NAMESERVER] = kept(&wish, NIC_NAMESERVER, args[2], ""),
		[NIC_DOMAIN] = kept(&wish, NIC_DOMAIN, args[3], ""),
		[NIC_IPV6] = kept(&wish, NIC_IPV6, args[5], "0"),
	};

	if (take_mtu(field(args[4]), &wish.mtu) < 0)
		return bad("mtu");
	if (nic_parse(fields, &wish.nic) < 0)
		return bad("address");
	return change(&wish);
}

static int down_main(int number)
{
	struct wish wish = {.number = number, .down = true};

	return change(&wish);
}

static int count(char **args)
{
	int n = 0;

	while (args[n] != NULL)
		n++;
	return n;
}

int net_main(char **args)
{
	const int number = nic_parse_number(args[1]), arguments = count(args);

	if (number < 0)
		return bad("interface");
	if (strcmp(args[0], "set") == 0 && arguments == 8)
		return set_main(number, args + 2);
	if (strcmp(args[0], "down") == 0 && arguments == 2)
		return down_main(number);
	return bad(args[0]);
}
