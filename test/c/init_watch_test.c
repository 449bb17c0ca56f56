/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: what is awaited ends the wait, and what is seen meanwhile is told
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>

#include "builtin_child.h"
#include "cable.h"
#include "own_namespaces.h"
#include "temporary.h"

static char home[] = "/tmp/init_watch_XXXXXX"; /* where every case begins, empty */

/* A command that waits, and what it says. */
struct waiter {
	pid_t pid;
	FILE *lines;
	char line[CHILD_TEXT_MAX]; /* the last that was read */
};

static void wait_for(struct waiter *waiter, const char *kind, const char *what)
{
	const char *args[] = {"await", kind, what, NULL};
	int ends[2], err = child_file("", 0);

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	waiter->pid = child_start(args, err, ends[1], err);
	close(ends[1]);
	close(err);
	waiter->lines = fdopen(ends[0], "r");
	CHECK(waiter->lines != NULL);
}

/* Reads lines until one has text in it. */
static void expect_line(struct waiter *waiter, const char *text)
{
	do
		CHECK(fgets(waiter->line, sizeof(waiter->line), waiter->lines) != NULL);
	while (strstr(waiter->line, text) == NULL);
}

static int ended(struct waiter *waiter)
{
	int status = child_status(waiter->pid);

	fclose(waiter->lines);
	return status;
}

static int wait_status(const char *kind, const char *what)
{
	struct waiter waiter;

	wait_for(&waiter, kind, what);
	return ended(&waiter);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void make_directory(const char *path)
{
	CHECK(mkdir(path, 0755) == 0);
}

/* --- file ------------------------------------------------------------------ */

static void a_file_that_is_there(void)
{
	write_text("f", "");
	CHECK(wait_status("file", "f") == 0 && wait_status("file", "/") == 0);
	CHECK(wait_status("file", "./f") == 0 && wait_status("file", ".") == 0);
}

static void a_file_in_directories_to_come(void)
{
	struct waiter waiter;

	wait_for(&waiter, "file", "a/b//c/f");
	expect_line(&waiter, ". is there, a/b//c/f isn't\n");
	make_directory("a");
	expect_line(&waiter, "a is there");
	make_directory("a/b");
	expect_line(&waiter, "a/b is there");
	CHECK(rmdir("a/b") == 0 && rmdir("a") == 0);
	expect_line(&waiter, ". is there");
	make_directory("x");
	make_directory("x/b");
	make_directory("x/b/c");
	write_text("x/b/c/f", "");
	CHECK(rename("x", "a") == 0);
	CHECK(ended(&waiter) == 0);
}

/* Nothing tells of these: they are found by looking. */
static void a_file_behind_a_link(void)
{
	struct waiter waiter;

	make_directory("other");
	CHECK(symlink("other/target", "link") == 0);
	wait_for(&waiter, "file", "link");
	expect_line(&waiter, ". is there");
	write_text("other/target", "");
	CHECK(ended(&waiter) == 0);
	write_text("file", "");
	wait_for(&waiter, "file", "file/below");
	expect_line(&waiter, "file is there");
	CHECK(unlink("file") == 0);
	make_directory("file");
	write_text("file/below", "");
	CHECK(ended(&waiter) == 0);
}

static void a_file_that_cannot_be(void)
{
	char longest[5001];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	CHECK(wait_status("file", "") == ENOENT && wait_status("file", longest) == ENAMETOOLONG);
	CHECK(symlink("loop", "loop") == 0 && wait_status("file", "loop") == ELOOP);
	CHECK(wait_status("file", NULL) == EINVAL && wait_status("fire", "x") == EINVAL);
	CHECK(wait_status("net", "x") == EINVAL && wait_status("init", "") == EINVAL);
}

/* --- port ------------------------------------------------------------------ */

/* A bound socket; port is set to its own. */
static int bind_any(int family, char port[static 8])
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	struct sockaddr *address = family == AF_INET ? (void *)&in : (void *)&in6;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, address, len) < 0 || getsockname(fd, address, &len) < 0) {
		CHECK(family == AF_INET6);
		return -1;
	}
	snprintf(port, 8, "%u", ntohs(family == AF_INET ? in.sin_port : in6.sin6_port));
	return fd;
}

static void a_port(int family)
{
	struct waiter waiter;
	char port[8], first[8];
	int fd = bind_any(family, port), other = bind_any(family, first);

	if (fd < 0 || other < 0) {
		fputs("no IPv6 here\n", stderr);
		return;
	}
	wait_for(&waiter, "port", port);
	expect_line(&waiter, "listen");
	CHECK(listen(other, 1) == 0);
	expect_line(&waiter, first);
	CHECK(strstr(waiter.line, port) == NULL);
	CHECK(listen(fd, 1) == 0);
	CHECK(ended(&waiter) == 0);
	CHECK(wait_status("port", port) == 0);
	close(fd);
	close(other);
}

static void no_ports(void)
{
	static const char *const wrong[] = {
		"", "0", "-1", "65536", "22x", " 22", "0x16", "99999999999999999999", NULL};
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK(wait_status("port", wrong[i]) == EINVAL);
}

/* --- net ------------------------------------------------------------------- */

static void set_address(const char *name, const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct ifreq request = {0};

	CHECK(inet_pton(AF_INET, text, &in.sin_addr) == 1);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	cable_request(name, SIOCSIFADDR, &request);
}

static int net_comes_up(void)
{
	struct waiter waiter;

	if (!own_namespaces(CLONE_NEWNET))
		return CHECK_SKIP;
	cable_up("lo");
	wait_for(&waiter, "net", NULL);
	expect_line(&waiter, "no interface\n");
	if (!cable_make()) {
		CHECK(kill(waiter.pid, SIGTERM) == 0);
		CHECK(waitpid(waiter.pid, NULL, 0) == waiter.pid);
		return CHECK_SKIP;
	}
	expect_line(&waiter, "v0 down, no address");
	set_address("v0", "10.1.2.3");
	expect_line(&waiter, "v0 down, 10.1.2.3");
	cable_up("v0");
	expect_line(&waiter, "v0 up but not running, 10.1.2.3");
	cable_up("veth0");
	CHECK(ended(&waiter) == 0);
	return 0;
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

/* Where nobody else listens, if that may be: a line takes only so many. */
static int ports_listen(void)
{
	if (own_namespaces(CLONE_NEWNET))
		cable_up("lo");
	a_port(AF_INET);
	a_port(AF_INET6);
	return 0;
}

static void ports(void)
{
	apart(ports_listen, "");
}

static void net(void)
{
	apart(net_comes_up, "no network to plug: not allowed, or no veth\n");
}

/* --- init ------------------------------------------------------------------ */

static void make_init(const char *path)
{
	(void)unlink("proc/1/exe");
	CHECK(symlink(path, "proc/1/exe") == 0);
}

static void openrc_starts(const char *init)
{
	struct waiter waiter;

	make_init(init);
	wait_for(&waiter, "init", NULL);
	expect_line(&waiter, "OpenRC is in no runlevel\n");
	make_directory("run/openrc");
	write_text("run/openrc/softlevel", "boot\n");
	expect_line(&waiter, "runlevel boot\n");
	make_directory("run/openrc/rc.starting");
	write_text("run/openrc/softlevel", "default");
	expect_line(&waiter, "runlevel default\n");
	write_text("proc/77/comm", "openrc\n");
	CHECK(rmdir("run/openrc/rc.starting") == 0);
	write_text("run/openrc/softlevel", "custom");
	expect_line(&waiter, "runlevel custom\n");
	write_text("proc/77/comm", "cron\n");
	CHECK(ended(&waiter) == 0);
	CHECK(unlink("run/openrc/softlevel") == 0 && rmdir("run/openrc") == 0);
}

static void systemd_starts(const char *init)
{
	uint32_t *ready =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct waiter waiter;

	CHECK(ready != MAP_FAILED);
	builtin_ready = ready;
	make_init(init);
	wait_for(&waiter, "init", NULL);
	expect_line(&waiter, "systemd is starting\n");
	*ready = 1;
	CHECK(ended(&waiter) == 0);
	CHECK(wait_status("init", NULL) == 0);
}

static int inits_start(void)
{
	static const char *const directories[] = {"proc", "proc/1", "proc/77",
						  "run",  "etc",    "sbin"};
	size_t i;

	if (!own_namespaces(CLONE_NEWNS))
		return CHECK_SKIP;
	CHECK(chroot(".") == 0);
	CHECK(wait_status("init", NULL) == 0);
	for (i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		make_directory(directories[i]);
	make_init("/bin/busybox");
	write_text("sbin/openrc", "");
	write_text("etc/inittab", "# openrc\n::sysinit:/etc/rc.sh\n");
	CHECK(wait_status("init", NULL) == 0);
	openrc_starts("/sbin/openrc-init");
	write_text("etc/inittab", "# nothing\n::sysinit:/sbin/openrc sysinit\n");
	openrc_starts("/bin/busybox");
	write_text("etc/inittab", "si::sysinit:/etc/init.d/rcS\n");
	openrc_starts("/sbin/init");
	make_init("/usr/bin/program");
	CHECK(wait_status("init", NULL) == 0);
	systemd_starts("/usr/lib/systemd/systemd");
	systemd_starts("/usr/lib/systemd/systemd (deleted)");
	make_init("/usr/lib/systemd/systemd-executor");
	CHECK(wait_status("init", NULL) == 0);
	return 0;
}

static void inits(void)
{
	apart(inits_start, "no root directory of our own: not allowed\n");
}

int main(void)
{
	static void (*const cases[])(void) = {
		a_file_that_is_there,
		a_file_in_directories_to_come,
		a_file_behind_a_link,
		a_file_that_cannot_be,
		ports,
		no_ports,
		net,
		inits,
	};
	size_t i;

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
