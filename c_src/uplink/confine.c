/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program gives up once it has its way out
 *
 * It takes apart what guests send, in a library of some age.  Whoever breaks into
 * it finds: an ordinary user with no privilege but perhaps that of low ports, no
 * file, no other process, and the few system calls that moving bytes takes.
 * Landlock and seccomp are stages of their own: a host without Landlock leaves
 * the files to what the user may do and to seccomp, which lets none be opened.
 */
#include "confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "landlock.h"
#include "util.h"

#define NOBODY 65534u

int confine_prepare(void)
{
	struct rlimit none = {0, 0};
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* --- privileges -------------------------------------------------------------- */

/* Of the capabilities that are there, keeps those of the mask. */
static int keep_capabilities(uint32_t mask)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	sets[0].permitted &= mask;
	sets[0].effective = sets[0].permitted;
	sets[0].inheritable = 0;
	sets[1] = (struct __user_cap_data_struct){0};
	return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

/* In a user namespace there may be no other user, and groups may be fixed: no harm. */
static int leave_root(void)
{
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
		return -errno;
	if (setresuid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

/* --- system calls ------------------------------------------------------------ */

static const unsigned int allowed[] = {
	SYS_read,
	SYS_write,
	SYS_writev,
	SYS_poll,
	SYS_sendto,
	SYS_recvfrom,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_recvmmsg,
	SYS_sendmmsg,
	SYS_close,
	SYS_fcntl,
	SYS_ioctl,
	SYS_bind,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_connect,
	SYS_shutdown,
	SYS_getsockopt,
	SYS_setsockopt,
	SYS_getsockname,
	SYS_getpeername,
	SYS_mmap,
	SYS_mremap,
	SYS_munmap,
	SYS_madvise,
	SYS_brk,
	SYS_futex,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_getrandom,
	SYS_getrlimit,
	SYS_getpid,
	SYS_getppid,
	SYS_gettid,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_sigaltstack,
	SYS_restart_syscall,
	SYS_exit,
	SYS_exit_group,
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define REFUSE(error) (SECCOMP_RET_ERRNO | (error))

static const struct sock_filter head[] = {
	LOAD(arch),
	IF_EQUAL(AUDIT_ARCH_X86_64, 1, 0),
	ANSWER(REFUSE(ENOSYS)),
	LOAD(nr),
	/* Sockets of the internet's families; who opens nothing has none. */
	IF_EQUAL(SYS_socket, 0, 5),
	LOAD(args[0]),
	IF_EQUAL(AF_INET, 1, 0),
	IF_EQUAL(AF_INET6, 0, 1),
	ANSWER(SECCOMP_RET_ALLOW),
	ANSWER(REFUSE(EAFNOSUPPORT)),
};

static int filter_calls(void)
{
	struct sock_filter filter[ARRAY_SIZE(head) + 2 * ARRAY_SIZE(allowed) + 1];
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	struct sock_filter *next = filter + ARRAY_SIZE(head);

	memcpy(filter, head, sizeof(head));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		*next++ = (struct sock_filter)IF_EQUAL(allowed[i], 0, 1);
		*next++ = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
	}
	*next = (struct sock_filter)ANSWER(REFUSE(EPERM));
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

/* --------------------------------------------------------------------------- */

static int leave_files(enum confine_for purpose)
{
	int abi = landlock_abi();
	cleanup_fd int ruleset = -1;

	if (!abi)
		return 0;
	ruleset = landlock_open(abi, purpose == CONFINE_NAT ? LANDLOCK_NET : LANDLOCK_NO_NET);
	return ruleset < 0 ? ruleset : landlock_enter(ruleset);
}

int confine_enter(enum confine_for purpose)
{
	int err = leave_root();

	if (!err)
		err = keep_capabilities(purpose == CONFINE_NAT ? 1u << CAP_NET_BIND_SERVICE : 0);
	if (!err)
		err = leave_files(purpose);
	return err ? err : filter_calls();
}
