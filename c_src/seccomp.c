/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a UML kernel never needs, taken away
 *
 * Each is a door into the host's kernel that programs in a guest would reach
 * after breaking out of UML: mounts, namespaces, modules, keys, BPF, io_uring,
 * network sockets.  They answer an error and don't kill, since a kernel that is
 * refused something goes on.  Guest programs' own system calls never get here:
 * ptrace takes them before the filter does.
 *
 * The modes, owners and attributes of host files are on the list too: Landlock
 * doesn't cover them, and a guest's root reaches them through hostfs.  A set-uid
 * bit on a writable disk would be a program of the guest's choosing with the
 * rights of the disk's owner.  No file is made with such a bit either: a share is
 * a directory of the host's.
 */
#include "seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "util.h"

/* Newer than some headers. */
#define SYS_FCHMODAT2 452

#define SET_ID_BITS 06000u
#define X32_BIT 0x40000000u
#define NAMESPACE_FLAGS                                                                            \
	((unsigned int)(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | \
			CLONE_NEWUTS | CLONE_NEWCGROUP))

static const unsigned int denied[] = {
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_open_tree,
	SYS_move_mount,
	SYS_fsopen,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fspick,
	SYS_mount_setattr,
	SYS_setns,
	SYS_unshare,
	SYS_swapon,
	SYS_swapoff,
	SYS_reboot,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_kexec_file_load,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_acct,
	SYS_quotactl,
	SYS_open_by_handle_at,
	SYS_syslog,
	SYS_iopl,
	SYS_ioperm,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_chmod,
	SYS_fchmodat,
	SYS_FCHMODAT2,
	SYS_chown,
	SYS_lchown,
	SYS_fchown,
	SYS_fchownat,
	SYS_utime,
	SYS_utimes,
	SYS_futimesat,
	SYS_utimensat,
	SYS_setxattr,
	SYS_lsetxattr,
	SYS_fsetxattr,
	SYS_removexattr,
	SYS_lremovexattr,
	SYS_fremovexattr,
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_SET(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (yes), (no))

#define REFUSE(error) (SECCOMP_RET_ERRNO | (error))

#define NO_SET_ID(call, argument)                                                \
	IF_EQUAL((call), 0, 4), LOAD(args[argument]), IF_SET(SET_ID_BITS, 0, 1), \
		ANSWER(REFUSE(EPERM)), ANSWER(SECCOMP_RET_ALLOW)

static const struct sock_filter head[] = {
	LOAD(arch),
	IF_EQUAL(AUDIT_ARCH_X86_64, 1, 0),
	ANSWER(REFUSE(ENOSYS)),
	LOAD(nr),
	IF_SET(X32_BIT, 0, 1),
	ANSWER(REFUSE(ENOSYS)),
	/* Its flags lie in memory, where no filter can look. */
	IF_EQUAL(SYS_clone3, 0, 1),
	ANSWER(REFUSE(ENOSYS)),
	IF_EQUAL(SYS_clone, 0, 4),
	LOAD(args[0]),
	IF_SET(NAMESPACE_FLAGS, 0, 1),
	ANSWER(REFUSE(EPERM)),
	ANSWER(SECCOMP_RET_ALLOW),
	IF_EQUAL(SYS_socket, 0, 4),
	LOAD(args[0]),
	IF_EQUAL(AF_UNIX, 1, 0),
	ANSWER(REFUSE(EAFNOSUPPORT)),
	ANSWER(SECCOMP_RET_ALLOW),
	/* As clone3's. */
	IF_EQUAL(SYS_openat2, 0, 1),
	ANSWER(REFUSE(ENOSYS)),
	/* UML sets the mode of its memory file. */
	NO_SET_ID(SYS_fchmod, 1),
	NO_SET_ID(SYS_creat, 1),
	NO_SET_ID(SYS_open, 2),
	NO_SET_ID(SYS_openat, 3),
	NO_SET_ID(SYS_mknod, 1),
	NO_SET_ID(SYS_mknodat, 2),
	NO_SET_ID(SYS_mkdir, 1),
	NO_SET_ID(SYS_mkdirat, 2),
};

int seccomp_enter(void)
{
	struct sock_filter filter[ARRAY_SIZE(head) + 2 * ARRAY_SIZE(denied) + 1];
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	struct sock_filter *next = filter + ARRAY_SIZE(head);

	memcpy(filter, head, sizeof(head));
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		*next++ = (struct sock_filter)IF_EQUAL(denied[i], 0, 1);
		*next++ = (struct sock_filter)ANSWER(REFUSE(EPERM));
	}
	*next = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}
