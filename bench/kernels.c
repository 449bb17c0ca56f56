/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kernels and no evum: kernels INIT MEM NIC NIC
 *
 * Each is pinned to a CPU of its own and boots the host's files with INIT, which
 * finds its number, 1 or 2, in $me.  NIC is a kernel argument; one that says
 * fd=3 is the other's peer on a socketpair, with nothing between them.  The first
 * one's console is our stdin and stdout.  All ends with us.
 */
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KERNEL "/usr/bin/linux.uml"

static void run_kernel(int number, const char *init, const char *mem, char *nic)
{
	char memory[32], first[256], me[16];
	char *argv[] = {KERNEL,
			memory,
			first,
			me,
			nic,
			"root=/dev/root",
			"rootfstype=hostfs",
			"rootflags=/",
			"rw",
			"con0=fd:0,fd:1",
			"con=null",
			"ssl=null",
			"quiet",
			"loglevel=3",
			"lpj=40000000",
			"pty.legacy_count=0",
			"initcall_blacklist=raid6_select_algo,ssl_init",
			NULL};
	cpu_set_t set;

	snprintf(memory, sizeof(memory), "mem=%sM", mem);
	snprintf(first, sizeof(first), "init=%s", init);
	snprintf(me, sizeof(me), "me=%d", number);
	CPU_ZERO(&set);
	CPU_SET(number - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	personality(ADDR_NO_RANDOMIZE);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(KERNEL, argv);
	_exit(127);
}

/* As the first process of a pid namespace: what a kernel leaves behind ends with us. */
static int run_both(char **argv)
{
	int ends[2], null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
		return 2;
	for (int number = 1; number <= 2; number++) {
		if (fork() != 0)
			continue;
		if (number == 2) {
			dup2(null, 0);
			dup2(null, 1);
		}
		/* May be null itself: from here on it is gone. */
		dup2(ends[number - 1], 3);
		close_range(4, ~0u, 0);
		run_kernel(number, argv[1], argv[2], argv[2 + number]);
	}
	while (wait(NULL) > 0)
		continue;
	return 0;
}

int main(int argc, char **argv)
{
	char home[256];

	if (argc != 5 || unshare(CLONE_NEWPID) < 0)
		return 2;
	/* Where UML makes its directories. */
	snprintf(home, sizeof(home), "%s", argv[1]);
	setenv("HOME", dirname(home), 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fork() == 0)
		return run_both(argv);
	wait(NULL);
	return 0;
}
