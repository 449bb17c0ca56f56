/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evum-init: pid 1 of every machine
 *
 * Theory of operation.  evum-init is /init of the initramfs.  It makes the
 * root and the network that the kernel's command line asks for, starts the machine's init in
 * it, in a pid namespace of its own (inner.c), starts the agent, which runs
 * programs for the host (agent.c), and stays as the guardian of both
 * (guardian.c).  The arguments that the kernel hands to /init are ignored:
 * they are kernel options it didn't know.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_proto.h"
#include "boot.h"
#include "dir.h"
#include "evum.h"
#include "guardian.h"
#include "inner.h"
#include "klog.h"
#include "line.h"
#include "mount.h"
#include "net.h"
#include "node.h"
#include "oom.h"

#define CMDLINE_MAX 4096

/* A shell folds its line at the terminal's width; busybox refuses 30000 and more. */
#define CONSOLE_ROWS 24
#define CONSOLE_COLUMNS 29999

/* 0 to 2 are open from here on, so that no descriptor of ours ever gets these numbers. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 2);
	if (fd > 2)
		close(fd);
}

static void tell_stage(const struct boot *boot, enum evum_stage stage)
{
	uint8_t value = (uint8_t)stage;

	(void)line_send(boot->line, AGENT_STAGE, &value, sizeof(value));
}

static int read_config(struct boot *boot)
{
	char text[CMDLINE_MAX + 1];
	ssize_t len;
	int fd;

	fd = openat(boot->proc, "cmdline", O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, CMDLINE_MAX);
	close(fd);
	if (len < 0)
		return boot_error(boot, "cannot read /proc/cmdline: %s", strerror(errno));
	text[len] = '\0';
	if (cmdline_parse(text, &boot->config) < 0)
		return boot_error(boot, "bad kernel argument %s", boot->config.bad);
	boot->built_in = boot->config.root != BOOT_DISK && boot->config.init[0] == '\0';
	boot->shell_edits = boot->config.root == BOOT_INITRAMFS;
	return 0;
}

/* An image may name a program of its own, of which nobody knows whether it edits lines. */
static int find_node(struct boot *boot)
{
	if (!boot->built_in || boot->config.root != BOOT_INITRAMFS)
		return 0;
	if (node_read(boot, NODE_FILE) < 0)
		return -1;
	if (boot->node != NULL)
		boot->shell_edits = false;
	return 0;
}

static void set_console_size(void)
{
	const struct winsize size = {.ws_row = CONSOLE_ROWS, .ws_col = CONSOLE_COLUMNS};
	int fd = open(CONSOLE_TTY, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)ioctl(fd, TIOCSWINSZ, &size);
	close(fd);
}

/* 127.0.0.1 works in any machine; a disk's own init may do it again. */
static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	(void)ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

/* Descriptors and /proc, without which nothing could be said.  The kernel panics where it fails. */
static int open_channels(struct boot *boot)
{
	int result;

	umask(022);
	result = mount_first();
	if (result < 0)
		return result;
	fill_stdio();
	boot->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (boot->proc < 0)
		return -errno;
	boot->line = line_open(0);
	return boot->line < 0 ? boot->line : 0;
}

int main(void)
{
	struct boot boot = {.line = -1,
			    .proc = -1,
			    .pid_ns = -1,
			    .mnt_ns = -1,
			    .notify = -1,
			    .shell = "/bin/sh",
			    .path = BOOT_PATH_DEFAULT};

	if (getpid() != 1) {
		fputs("evum-init: only as pid 1 of a machine\n", stderr);
		return 2;
	}
	if (open_channels(&boot) < 0)
		return 1;
	prctl(PR_SET_NAME, "evum-guardian");
	oom_score(boot.proc, OOM_NEVER);
	guardian_prepare();
	tell_stage(&boot, EVUM_STAGE_INIT);

	if (read_config(&boot) < 0)
		guardian_give_up(&boot);
	(void)sethostname(boot.config.hostname, strlen(boot.config.hostname));
	set_console_size();
	raise_loopback();
	if (boot.config.log)
		klog_copy();
	if (find_node(&boot) < 0 || mount_root(&boot) < 0)
		guardian_give_up(&boot);
	if (net_start(&boot) < 0)
		guardian_give_up(&boot);
	tell_stage(&boot, EVUM_STAGE_ROOT);
	if (dir_start(&boot) < 0 || inner_start(&boot) < 0)
		guardian_give_up(&boot);
	dir_close(&boot);
	guardian_watch(&boot);
}
