/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_names: the files by which a machine's programs find names, and leave interfaces alone
 *
 * Besides /etc/hosts and /etc/resolv.conf (etc.c) there are drop-in files below /run
 * for the programs of dists that manage interfaces.  They find ours configured and
 * shall leave it so: systemd-networkd keeps what it finds and asks for nothing,
 * NetworkManager doesn't touch it, systemd-resolved knows our nameservers.  What asks
 * by DHCP on its own gets the same address from the network's gateway.
 */
#define _GNU_SOURCE
#include "net_names.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "etc.h"
#include "klog.h"
#include "names.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define NETWORKD_FILE "/run/systemd/network/00-evum-%s.network"
#define RESOLVED_FILE "/run/systemd/resolved.conf.d/00-evum.conf"
#define NETWORK_MANAGER_FILE "/run/NetworkManager/conf.d/00-evum.conf"

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
		klog_warn("%s: %s", path, strerror(-result));
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

void net_names_write(const struct net *net)
{
	const bool disk = net->root == BOOT_DISK, keep = disk && net->rw;

	/* A disk of one's own keeps its names as well as long as there is no network. */
	if (!keep || is_any_plugged(net))
		write_hosts(net, keep);
	write_resolv(net, keep);
	if (disk)
		tell_managers(net);
}
