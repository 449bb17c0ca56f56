/* SPDX-License-Identifier: Apache-2.0 */
/* A machine from inside the library */
#ifndef EVUM_VM_H
#define EVUM_VM_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent.h"
#include "evum.h"
#include "jail.h"
#include "mconsole.h"
#include "rings.h"

/* Requests of the library itself; their answers are no events. */
#define VM_INTERNAL_ID UINT32_MAX

#define VM_TAIL_MAX 256

/* What the epoll word says; the table of handlers in vm.c mirrors it. */
enum vm_source {
	VM_CHILD, /* the jail's first process */
	VM_CONSOLE,
	VM_AGENT,
	VM_MCONSOLE,
	VM_NOTIFY,
	VM_LOG,
	VM_TIMER,
	VM_NIC, /* any of them */
	VM_SOURCES,
};

/* The rungs of evum_vm_stop(). */
enum vm_rung {
	VM_RUNG_NONE,
	VM_RUNG_POWEROFF,
	VM_RUNG_CAD,
	VM_RUNG_HALT,
	VM_RUNG_TERM,
	VM_RUNG_KILL
};

struct vm_console {
	int fd;
	size_t window;	 /* bytes the caller still takes */
	uint32_t events; /* what epoll watches */
	uint8_t *typed;	 /* what the guest has not read yet */
	size_t typed_len;
	size_t typed_window; /* bytes the guest's line takes: see agent_proto.h */
	size_t unfinished;   /* bytes typed since the last end of a line */
	bool gives_lines;    /* the guest's tty keeps a line until it is finished */
	bool refused;	     /* a write came up short: say when there is room */
	bool ended;	     /* nothing more will come */
	uint64_t delivered;
	char tail[VM_TAIL_MAX]; /* the last bytes: "reboot: …" tells how the kernel ended */
	size_t tail_len;
};

struct vm_nic {
	int listener; /* bound in the jail */
	int fd;	      /* the guest's, or -1: it has not opened the NIC */
};

struct evum_vm {
	evum_handler *handler;
	void *ctx;
	struct jail_child child;
	enum jail_mode mode;
	int landlock_abi;
	int cpu; /* or -1 */
	int epoll;
	int timer;
	int agent_fd;
	uint32_t agent_events;
	bool agent_ended; /* nothing more will come */
	int notify;
	int log_fd;
	struct vm_console console;
	struct mconsole mconsole;
	struct agent agent;
	struct rings rings;
	struct vm_nic nics[EVUM_NICS_MAX];
	unsigned int nic_count;
	char log[EVUM_LAUNCH_LOG_MAX];
	size_t log_len;

	int64_t hello_at; /* ms; 0: the agent has not spoken yet */
	enum evum_stage stage;
	uint32_t seen; /* events delivered, a bit each: evum_vm_wait() */
	bool up;
	bool paused;
	bool panicked;
	char late_panic[512]; /* of a kernel that was ending: see vm_notify_handler() */
	size_t late_panic_len;
	bool failed; /* a boot error was told */
	bool child_gone;
	bool down;
	enum agent_ending ending; /* 0: not told */
	int ending_value;

	enum vm_rung rung;
	int64_t rung_deadline; /* ms, CLOCK_MONOTONIC; 0: none */
	int64_t mconsole_deadline;
	int64_t nic_deadline; /* until then no NIC is accepted */
};

void vm_emit(struct evum_vm *vm, const struct evum_event *event);
void vm_reach(struct evum_vm *vm, enum evum_stage stage);
void vm_watch(struct evum_vm *vm, enum vm_source source, int fd, uint32_t events,
	      uint32_t *current);

/* vm_agent.c */
void vm_agent_frames(struct evum_vm *vm);
void vm_agent_flush(struct evum_vm *vm);
void vm_agent_drain(struct evum_vm *vm);

/* vm_stop.c */
void vm_poweroff(struct evum_vm *vm);
void vm_timer_arm(struct evum_vm *vm);
void vm_timer_handler(struct evum_vm *vm, uint32_t events);
int64_t vm_now(void);

/* vm_mconsole.c */
void vm_mconsole_next(struct evum_vm *vm);
void vm_mconsole_handler(struct evum_vm *vm, uint32_t events);
void vm_mconsole_give_up(struct evum_vm *vm, int err);
void vm_notify_handler(struct evum_vm *vm, uint32_t events);
void vm_panic(struct evum_vm *vm, const char *text, size_t len);

/* vm_nic.c */
int vm_nic_init(struct evum_vm *vm, const struct evum_config *config);
void vm_nic_watch(struct evum_vm *vm);
void vm_nic_handler(struct evum_vm *vm, uint32_t events);
void vm_nic_free(struct evum_vm *vm);

/* vm_console.c */
void vm_console_handler(struct evum_vm *vm, uint32_t events);
void vm_console_drain(struct evum_vm *vm);
void vm_console_watch(struct evum_vm *vm);
void vm_console_typed_credit(struct evum_vm *vm, size_t bytes, bool gives_lines);
bool vm_console_says(const struct evum_vm *vm, const char *words);

#endif
