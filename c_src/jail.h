/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of a machine: made, entered, watched, emptied */
#ifndef EVUM_JAIL_H
#define EVUM_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "argv.h"
#include "evum.h"
#include "landlock.h"

/* Whom a machine of root's runs as. */
#define NOBODY 65534u

#define JAIL_FILES_MAX (16 + EVUM_DISKS_MAX + EVUM_BINDS_MAX + EVUM_SHARES_MAX)
#define JAIL_LINKS_MAX 6
#define JAIL_STAGE_MAX 16
#define JAIL_TEXT_MAX 192

enum jail_mode {
	JAIL_CONFINED, /* own namespaces and a private root */
	JAIL_REAPED,   /* neither can be had: two reapers and a private run directory */
};

/* A host file or directory, and where the kernel's process finds it. */
struct jail_file {
	char *source;
	char *target; /* in the private root; without one the source serves */
	char *copy;   /* in the run directory: for a user who may not reach the source */
	bool directory;
	bool writable;
	bool share; /* others write to it too: nothing in it is a device or program to us */
	enum landlock_grant grant;
};

/* The life of a jail: jail_plan(), fill in the descriptors, jail_spawn(), jail_release(). */
struct jail {
	const struct evum_config *config;
	enum jail_mode mode;
	struct jail_file files[JAIL_FILES_MAX];
	size_t file_count;
	char *links[JAIL_LINKS_MAX]; /* "bin" -> "usr/bin" of the host, see jail_link_names */
	struct argv argv;
	char run[64];	  /* run directory as the kernel's process sees it */
	unsigned int cpu; /* host CPU, with pinned */
	bool pinned;
	int landlock_abi;
	bool drop; /* root that can become user 65534 */

	/* Descriptors that the jail takes in; jail_release() closes them in the parent. */
	int null;
	int log;     /* stdout and stderr of the kernel */
	int console; /* the guest's ends */
	int agent;
	int dirs[EVUM_DIRS_MAX]; /* connected to who serves them */
	size_t dir_count;
	int client; /* management console: bound in the jail, used outside */
	int notify;
	int nics[EVUM_NICS_MAX]; /* listeners: bound in the jail, used outside */
	/* Of the disks, in their order, the initramfs and the run directory: held as long
	 * as a process of the machine lives. */
	int locks[EVUM_DISKS_MAX + 2];
	size_t lock_count;
	int control; /* see jail_report */
};

/* Where the kernel's process finds the file. */
const char *jail_file_path(const struct jail *jail, const struct jail_file *file);

extern const char *const jail_link_names[JAIL_LINKS_MAX];

/* What comes out of the jail over the control socket, one report a packet. */
enum jail_report_kind {
	JAIL_SPOOL,  /* with two descriptors: rings_make()'s */
	JAIL_KERNEL, /* sent by the kernel's process before exec: its credentials tell its pid */
	JAIL_READY,  /* the kernel was executed */
	JAIL_FAILED, /* stage, err and text say what could not be done */
	JAIL_ENDED,  /* value: the kernel's wait status */
};

struct jail_report {
	enum jail_report_kind kind;
	int value;
	char stage[JAIL_STAGE_MAX];
	char text[JAIL_TEXT_MAX];
};

struct jail_child {
	enum jail_mode mode;
	pid_t pid; /* ns-init, or the outer reaper; -1: none */
	int pidfd;
	int kernel_pidfd;
	pid_t kernel_pid;
	int control; /* its end in the parent: closing it empties the jail */
	int run;     /* O_PATH descriptor of the run directory */
	int spool[2];
};

/* Finds every file the machine needs.  0, or -errno with error filled in. */
int jail_plan(struct jail *jail, const struct evum_config *config, struct evum_error *error);
/* Makes the kernel's command line, which depends on the mode. */
int jail_plan_argv(struct jail *jail, struct evum_error *error);
/* Makes the jail and executes the kernel in it; client and notify must be fresh. */
int jail_spawn(struct jail *jail, struct jail_child *child, struct evum_error *error);
void jail_release(struct jail *jail);

void jail_child_init(struct jail_child *child);
/* Kills all that is in the jail. */
void jail_kill(struct jail_child *child);
/*
 * Waits for the end of the jail's first process and closes what belongs to it.
 * Returns its wait status, SIGKILL's where nobody knows.
 */
int jail_wait(struct jail_child *child);

/* In the child: never returns. */
_Noreturn void jail_enter_confined(struct jail *jail);
_Noreturn void jail_enter_reaped(struct jail *jail);

/* Fills in *error (may be NULL) and returns -err. */
__attribute__((format(printf, 4, 5))) int jail_error(struct evum_error *error, const char *stage,
						     int err, const char *format, ...);

/* The run directory of JAIL_REAPED: made below base, and those whose machine is gone removed. */
int rundir_make(struct jail *jail, struct evum_error *error);
/* Copies a file there. */
int rundir_copy(const struct jail *jail, struct jail_file *file, struct evum_error *error);
void rundir_remove(const char *path);

/*
 * Watches child from its parent until it ends or the socket life closes; then
 * nothing that was started below the caller is left alive.  Reports an end on
 * control: the first such report counts.  Returns the wait status of child.
 */
int reaper_watch(int life, pid_t child, int control, bool is_pid1);

/* In the first process, once reaper_watch() has returned: a temporary layer doesn't outlive its caller. */
void jail_empty_layer(const struct jail *jail);

#endif
