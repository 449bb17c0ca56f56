/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libevum: start, watch, confine and stop User Mode Linux machines
 *
 * Every function returns 0 (or a count) on success and a negative errno on
 * failure.  The library never exits, never prints and keeps no global state.
 * A machine belongs to the thread that dispatches it; two machines are
 * independent of each other.
 *
 * The life of a machine: evum_config_init(), fill in, evum_vm_start(); then
 * poll evum_vm_fd() and call evum_vm_dispatch() when it is readable, which
 * calls the handler with events, the last of which is EVUM_DOWN; then
 * evum_vm_free().  evum_vm_free() on a live machine cuts its power.
 */
#ifndef EVUM_H
#define EVUM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define EVUM_VERSION "0.1.0"

/* Limits.  What is over one is refused with the error named beside it. */
#define EVUM_MEM_MIN 32u	  /* MiB of guest memory; ERANGE */
#define EVUM_DISKS_MAX 16u	  /* disks of a machine; E2BIG */
#define EVUM_LAYER_MIN 64u	  /* MiB of a layer that is made; ERANGE */
#define EVUM_BINDS_MAX 32u	  /* bound host directories; E2BIG */
#define EVUM_SHARES_MAX 8u	  /* shared host directories; E2BIG */
#define EVUM_DIRS_MAX 8u	  /* served directories; E2BIG */
#define EVUM_PATH_MAX 255u	  /* bytes of where one of either is in the guest; EINVAL */
#define EVUM_NICS_MAX 8u	  /* network interfaces of a machine; E2BIG */
#define EVUM_MTU_MIN 576u	  /* ERANGE */
#define EVUM_MTU_MAX 65150u	  /* a larger one's buffers are twice as large; ERANGE */
#define EVUM_HOSTNAME_MAX 63u	  /* bytes; EINVAL */
#define EVUM_CMDLINE_MAX 4000u	  /* bytes of kernel command line; E2BIG */
#define EVUM_MCONSOLE_MAX 500u	  /* bytes of one request; EMSGSIZE */
#define EVUM_MCONSOLE_PENDING 16u /* requests not yet answered; EBUSY */
#define EVUM_LAUNCH_LOG_MAX 4096u /* bytes kept of what the kernel prints before it has a console */
#define EVUM_CONSOLE_QUEUE 65536u /* bytes typed and not yet read by the guest; short count */
#define EVUM_AGENT_QUEUE 1048576u /* bytes for the agent not yet read by the guest; EAGAIN */
#define EVUM_PROGRAMS_MAX 512u	  /* programs of a machine at a time; EBUSY */

struct evum_vm;

struct evum_disk {
	const char *path; /* raw image or block device */
	int writable;	  /* 0: opened read-only; 1: locked, one writer */
	int durable; /* what the guest has written is on the host's disk before it is told so */
};

/*
 * A network interface, ethN in the guest.  Without an address it is not plugged:
 * evum-init leaves it down.
 */
struct evum_nic {
	uint8_t mac[6];		/* unicast, not 0 */
	unsigned int mtu;	/* fixed from here on */
	const char *address;	/* "10.77.0.2/24", or NULL */
	const char *gateway;	/* the default route's, or NULL */
	const char *nameserver; /* or NULL */
	const char *domain;	/* to search names in, or NULL */
	int ipv6;		/* the guest configures itself by router advertisements */
};

/*
 * A host directory in the guest, the same one and not a copy.  Needs namespaces.
 * A guest makes, changes and removes files and directories in it, where it is
 * writable, and nothing else: no links, devices or set-uid bits, and no change of a
 * mode, owner or time.  It runs as the caller, or as 65534 where the caller is root.
 */
struct evum_share {
	const char *host;  /* absolute; none that the host keeps for itself (/proc, /run, …) */
	const char *guest; /* absolute, without ".." and without " and control characters */
	int writable;
};

/*
 * A directory of the guest's that somebody else serves, over a stream socket:
 * 9P2000.L, in the framing of c_src/init/dir.c.
 */
struct evum_dir {
	const char *address; /* of a listening local socket: its abstract name, without the NUL */
	const char *guest;   /* as a share's */
};

enum evum_root {
	EVUM_ROOT_INITRAMFS, /* the initramfs itself: busybox */
	EVUM_ROOT_DISK, /* disks[0]; where read-only, under layers or an overlay in guest memory */
	EVUM_ROOT_HOST, /* binds, read-only, under an overlay in guest memory */
};

enum evum_cpu {
	EVUM_CPU_SPREAD, /* pinned to allowed CPU number (cpu modulo how many there are) */
	EVUM_CPU_ANY,	 /* not pinned */
	EVUM_CPU_NUMBER, /* pinned to CPU number cpu; EINVAL where that is not allowed */
};

struct evum_config {
	const char *kernel;    /* a UML kernel, default "/usr/bin/linux.uml" */
	const char *initramfs; /* required: made with evum-init as /init */
	const char *
		modules; /* kernel modules, shown to evum-init; default "/usr/lib/uml/modules", NULL none */
	const char *hostname; /* RFC 1123 label */
	unsigned int mem;     /* MiB, default 64 */
	enum evum_root root;
	struct evum_disk disks[EVUM_DISKS_MAX];
	unsigned int disk_count;
	/*
	 * EVUM_ROOT_DISK: so many of the disks that follow disks[0] are layers over it,
	 * lowest first, the last one writable.  That one is made where it is missing and
	 * layer_size isn't 0: in its directory, as a sparse file that no half of is
	 * ever seen.  Every layer remembers what it was made over, and is refused over
	 * anything else.
	 */
	unsigned int layer_count;
	unsigned int layer_size;    /* MiB */
	const char *layer_template; /* an empty layer, packed; required with layer_size */
	int layer_temporary; /* the caller removes it; where the caller was killed, the machine does */
	const char *binds[EVUM_BINDS_MAX]; /* absolute host paths; EVUM_ROOT_HOST only */
	unsigned int bind_count;
	struct evum_share shares[EVUM_SHARES_MAX];
	unsigned int share_count;
	struct evum_dir dirs[EVUM_DIRS_MAX];
	unsigned int dir_count;
	struct evum_nic nics[EVUM_NICS_MAX];
	unsigned int nic_count;
	const char *const
		*args; /* more kernel arguments, NULL-terminated; these win over the default ones */
	enum evum_cpu cpu_policy;
	unsigned int cpu;
	int verbose; /* kernel messages on the console as they come, at the cost of a slower boot */
	int copy_log;	       /* copy the kernel's log to the console before EVUM_UP */
	size_t console_window; /* first window of the console, bytes */
};

/* How far a boot has come: a stage is announced once it is complete. */
enum evum_stage {
	EVUM_STAGE_SPAWN,  /* jail made, kernel executed: evum_vm_start() has returned */
	EVUM_STAGE_KERNEL, /* kernel runs: the management console answers */
	EVUM_STAGE_INIT,   /* evum-init runs */
	EVUM_STAGE_ROOT,   /* the root file system is mounted */
	EVUM_STAGE_AGENT,  /* the agent answers: the machine is up */
};

enum evum_event_type {
	EVUM_STAGE,   /* value: enum evum_stage */
	EVUM_UP,      /* data: the guest's kernel release; also after the agent was restarted */
	EVUM_CONSOLE, /* data: bytes, takes len from the window */
	EVUM_CONSOLE_READY, /* value: bytes that evum_console_write() would take again after a short count */
	EVUM_MESSAGE,	 /* data: what a guest's root wrote to /proc/mconsole, 512 bytes at most */
	EVUM_PANIC,	 /* data: the panic's text */
	EVUM_BOOT_ERROR, /* data: why evum-init can't go on, a sentence; EVUM_DOWN follows */
	EVUM_STARTED,	 /* id: program; value: its pid in the guest */
	EVUM_OUTPUT, /* id, fd (1 or 2); data: bytes, takes len from the window; len 0: end of file */
	EVUM_STDIN_CREDIT, /* id; value: bytes more that evum_program_write() takes */
	EVUM_EXIT,	   /* id; exit, value: how the program ended; after all its output */
	EVUM_REPLY, /* id: of evum_mconsole(); value: 0, 1 where the kernel refused, -ETIMEDOUT, -EPIPE; data: its answer */
	EVUM_NIC,   /* id: number of the NIC; fd: see below, or -1 when the guest closed it */
	EVUM_DOWN,  /* end, value; data: the launch log.  The last event */
};

/* How a program ended. */
enum evum_exit {
	EVUM_EXITED,	  /* value: status */
	EVUM_SIGNALED,	  /* value: signal number */
	EVUM_NOT_STARTED, /* value: errno of the exec, or of a built-in command that failed */
	EVUM_LOST,	  /* the agent was restarted under it */
};

/* How a machine ended. */
enum evum_end {
	EVUM_END_HALTED,      /* the guest powered off or halted */
	EVUM_END_REBOOTED,    /* the guest rebooted */
	EVUM_END_INIT_EXITED, /* the guest's init ended; value: its status, or 128 + signal */
	EVUM_END_PANIC,	      /* the kernel panicked; EVUM_PANIC came before */
	EVUM_END_SIGNAL,      /* the kernel's process was killed; value: signal number */
	EVUM_END_STATUS,      /* the kernel's process ended by itself; value: status */
};

/*
 * The fd of EVUM_NIC is a connected, non-blocking SOCK_SEQPACKET socket, a frame
 * a packet both ways, which the caller polls, reads and writes.  It is libevum's
 * and closed when the event that says so returns.  A guest opens and closes its
 * NICs as it likes.
 */
struct evum_event {
	enum evum_event_type type;
	uint32_t id;
	int fd;
	int value;
	enum evum_exit exit;
	enum evum_end end;
	const void *data; /* valid during the call only; not NUL-terminated */
	size_t len;
};

/*
 * Called from evum_vm_dispatch() and evum_vm_wait() only.  May call any
 * function of the machine but evum_vm_dispatch(), evum_vm_wait() and
 * evum_vm_free().
 */
typedef void evum_handler(void *ctx, const struct evum_event *event);

/* What went wrong in evum_vm_start(): which stage, and a sentence for a person. */
struct evum_error {
	const char *
		stage; /* static string: "config", "kernel", "initramfs", "disk", "namespaces", "mounts", … */
	char text[192];
};

struct evum_program {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in the guest's PATH */
	const char *const *env;	 /* "NAME=value", added to the agent's; NULL-terminated or NULL */
	const char *cwd;	 /* or NULL: / */
	const char *user;	 /* name or number in the guest, or NULL: root */
	uint32_t window;	 /* first window of stdout and of stderr, bytes each */
	unsigned int rows, cols; /* a pty of that size is stdin and stdout, and there is no
				    stderr; both 0: three pipes; at most 65535 each */
	uint32_t max_procs;	 /* processes and threads, with all it starts; 0: no limit */
	uint32_t max_mem;	 /* MiB of memory, with all it starts; 0: no limit */
	int builtin;		 /* 1: argv is a command of the agent's own: put, get or await */
};

struct evum_vm_info {
	int init_pid;	/* the namespace's pid 1, or the outer reaper; host's view */
	int kernel_pid; /* the kernel's process, host's view; 0 before it was executed */
	int cpu;	/* host CPU the machine is pinned to, or -1 */
	int paused;
	enum evum_stage stage;
	int confined;		/* 1: namespaces and private root; 0: fallback (see evum-doctor) */
	int landlock_abi;	/* 0: none */
	uint64_t agent_garbage; /* bytes on the agent's line that were no frame */
	uint64_t console_bytes; /* delivered */
};

void evum_config_init(struct evum_config *config);

/*
 * Starts a machine; returns once its kernel has been executed.  On failure
 * nothing is left behind, *vm is NULL and *error (may be NULL) says why.
 * Strings of config need not outlive the call.
 */
int evum_vm_start(const struct evum_config *config, evum_handler *handler, void *ctx,
		  struct evum_vm **vm, struct evum_error *error);

int evum_vm_fd(const struct evum_vm *vm); /* poll it for reading */
int evum_vm_dispatch(struct evum_vm *vm); /* 0; 1 once EVUM_DOWN was delivered */
/* Dispatches until an event of type came: 0; -ETIMEDOUT; -EPIPE when the machine went down first. */
int evum_vm_wait(struct evum_vm *vm, enum evum_event_type type, int timeout_ms);
void evum_vm_info(const struct evum_vm *vm, struct evum_vm_info *info);
void evum_vm_free(
	struct evum_vm *vm); /* kills what still runs and waits for its end; NULL is fine */

/*
 * Climbs the ladder: the agent's power-off (waits grace_ms), Ctrl-Alt-Del,
 * the management console's halt, SIGTERM, SIGKILL.  Bounded: grace_ms + 3 s.
 * Ends with EVUM_DOWN.  Works while paused and while booting.
 */
int evum_vm_stop(struct evum_vm *vm, int grace_ms);
int evum_vm_kill(struct evum_vm *vm); /* power cut: SIGKILL at once; EVUM_DOWN follows */

long evum_console_write(struct evum_vm *vm, const void *bytes, size_t len); /* bytes taken */
void evum_console_credit(struct evum_vm *vm, size_t bytes);
int evum_console_winsize(struct evum_vm *vm, unsigned int rows, unsigned int cols);

/* A command of UML's management console; the answer is EVUM_REPLY with id, which is not UINT32_MAX.  "stop" and "go" pause and resume. */
int evum_mconsole(struct evum_vm *vm, uint32_t id, const char *command);

/*
 * id is the caller's, not 0.  EVUM_STARTED or EVUM_EXIT follows.  -ENOTCONN
 * before EVUM_UP; -EINVAL: an id in use, no argv; -ERANGE: a pty's size;
 * -EBUSY: too many programs; -E2BIG: 32 KiB of arguments; -EAGAIN: the agent
 * has not read what was sent before.
 */
int evum_program_start(struct evum_vm *vm, uint32_t id, const struct evum_program *program);
/*
 * All of len bytes, or none; len 0 is end of file.  A program has credit for
 * 65536 bytes when it starts, and EVUM_STDIN_CREDIT gives more.  -EAGAIN: beyond
 * it, or no room for them now: try again after a dispatch.  -ESRCH; -EPIPE after
 * the end of file.
 */
int evum_program_write(struct evum_vm *vm, uint32_t id, const void *bytes, size_t len);
/* Lets it print so many bytes more on fd 1 or 2.  -ESRCH; -EINVAL; -EAGAIN. */
int evum_program_credit(struct evum_vm *vm, uint32_t id, int fd, uint32_t bytes);
/* To its process group; 1 to 64.  -ESRCH; -EINVAL; -EAGAIN. */
int evum_program_signal(struct evum_vm *vm, uint32_t id, int signal);
/* Size of a program's pty, 1 to 65535 each.  -ERANGE; -ESRCH; -ENOTTY where it has no pty. */
int evum_program_winsize(struct evum_vm *vm, uint32_t id, unsigned int rows, unsigned int cols);

int evum_drop_caches(struct evum_vm *vm); /* before memory is given back */

/*
 * What this host offers.  evum_host_probe() tries each stage of the jail in a
 * child and tells for each whether it works and, where not, why.
 */
struct evum_probe {
	const char *stage;
	int ok;
	char text[160]; /* what it is for; where it failed: why, and the remedy */
};
#define EVUM_PROBES_MAX 12
int evum_host_probe(struct evum_probe probes[EVUM_PROBES_MAX]); /* how many */

/* Is the file a UML kernel this host can run?  0; -ENOENT, -EACCES, -ENOEXEC (no x86-64 UML kernel). */
int evum_kernel_check(const char *path);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
