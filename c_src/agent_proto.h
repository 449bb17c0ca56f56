/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's channel: frames between libevum and the agent in the guest
 *
 * Theory of operation.  The channel is the guest's /dev/tty15 in raw mode; the
 * host's end is a stream socket.  The guest speaks first (bytes sent before
 * its tty is raw would be echoed), with AGENT_STAGE frames from evum-init and
 * then AGENT_HELLO from the agent.  A frame is a header and len bytes, in
 * little-endian order.  Guest root can write to the line too, and so can put
 * garbage between frames: a reader that finds no magic skips a byte, counts it
 * and goes on.  Garbage may hurt the machine it came from and nothing else.
 *
 * Towards the host every stream of a program has a window: the agent stops
 * reading the program's pipe when it is spent, so a program that floods stalls
 * itself and no other.  Towards the guest, stdin has one: the agent grants
 * credit when the program has taken bytes.  The first stdin window is
 * AGENT_STDIN_WINDOW; the agent may let it grow to AGENT_STDIN_WINDOW_MAX for
 * at most AGENT_STDIN_GROWN programs at a time.
 *
 * The spool.  The line carries 2 MB/s towards the guest and some tens from it,
 * so bulk goes through two host files that the agent opens through hostfs:
 * AGENT_SPOOL_IN and AGENT_SPOOL_OUT in the machine's run directory.  Each is a
 * ring of AGENT_SPOOL_SLOTS slots of AGENT_SPOOL_SLOT bytes, taken in turn; the
 * line carries only a frame that says which slot and how many bytes
 * (AGENT_STDIN_SPOOLED, AGENT_OUTPUT_SPOOLED), so all frames stay in order.  The
 * reader of a slot grants it again.  Of output the host grants how many slots it
 * has read (AGENT_CREDIT, id 0, fd 4).  Slots of stdin are numbered: number N is
 * slot N % AGENT_SPOOL_SLOTS, and the numbers go on when an agent is followed by
 * another.  The agent grants the number after the last one it has read
 * (AGENT_CREDIT, id 0, fd 3), so a frame left in the line for an agent that is gone
 * frees nothing that is in use.  All slots are free at AGENT_HELLO, which says
 * whether the agent has the files; without them everything goes by the line.
 * hostfs caches what it reads: the agent drops its cached pages of a slot before
 * it reads the slot, and writes its own out before it tells of them.  Guest root
 * can write to both files, and so garble its own machine's streams.
 *
 * The line itself has a window too, and so has the console's input: a UML line
 * whose tty holds more than 3968 unread bytes is throttled, and by a defect of
 * the kernel's (seen in 6.1) never interrupts again: it is deaf for good.  So
 * the host has at most AGENT_LINE_WINDOW bytes under way to the agent, headers
 * and all; the agent grants them again as it reads (AGENT_CREDIT, id 0, fd 0).
 * And it has at most AGENT_CONSOLE_WINDOW bytes typed on the console that were
 * not granted: after typing N it sends AGENT_TYPED N, which the agent answers
 * (AGENT_CREDIT, id 0, N, fd 1, or fd 2 where the tty gives out whole lines only)
 * once nothing typed waits to be read.  A line that isn't finished doesn't count
 * as waiting, so of such a tty's the host types no more than AGENT_LINE_MAX bytes
 * and drops the rest of it, as the kernel does from 4095 on.  Both are
 * full again at AGENT_HELLO, and grow to no more than that; before the first
 * one there is none for the line and a full one for the console.  Two windows
 * fit under the limit, so that bytes of before an agent's restart do no harm.
 */
#ifndef EVUM_AGENT_PROTO_H
#define EVUM_AGENT_PROTO_H

#include <stdint.h>

#define AGENT_VERSION 2u
#define AGENT_MAGIC 0x6d75u /* "um" */
#define AGENT_PAYLOAD_MAX 32768u
#define AGENT_STDIN_WINDOW 65536u
#define AGENT_STDIN_WINDOW_MAX 262144u
#define AGENT_STDIN_GROWN 16u
#define AGENT_LINE_WINDOW 1920u
#define AGENT_CONSOLE_WINDOW 1920u
#define AGENT_LINE_MAX 2047u /* and a window are less than 3968 */
#define AGENT_SPOOL_IN "spool-in"
#define AGENT_SPOOL_OUT "spool-out"
#define AGENT_SPOOL_SLOTS 8u
#define AGENT_SPOOL_SLOT 131072u
#define AGENT_SPOOL_MIN 512u /* less goes by the line */

/* Frames of a served directory's line, see init/dir.c: a type, then u32 bytes. */
#define DIR_WINDOW 3840u /* nobody opens it a second time: less than 3968 will do */
#define DIR_DATA 1u
#define DIR_ACK 2u

struct agent_header {
	uint16_t magic;
	uint8_t type;
	uint8_t fd;  /* OUTPUT, CREDIT: 0 stdin, 1 stdout, 2 stderr */
	uint32_t id; /* program; 0 where the frame is about no program */
	uint32_t len;
};
_Static_assert(sizeof(struct agent_header) == 12, "the header has no padding");

enum agent_type {
	/* host to guest */
	AGENT_RUN = 1,	     /* fields, see below */
	AGENT_STDIN,	     /* bytes; none: end of file */
	AGENT_CREDIT,	     /* u32 bytes more for fd; guest to host too: stdin, line, console */
	AGENT_SIGNAL,	     /* i32 signal, to the program's process group */
	AGENT_CONTROL,	     /* u8 enum agent_control */
	AGENT_WINSIZE,	     /* u16 rows, u16 columns of the program's pty; id 0: of the console */
	AGENT_TYPED,	     /* u32 bytes typed on the console */
	AGENT_STDIN_SPOOLED, /* u32 number of the slot, u32 bytes */
	/* guest to host */
	AGENT_STAGE = 32,     /* u8 enum evum_stage: EVUM_STAGE_INIT or EVUM_STAGE_ROOT */
	AGENT_FAILED,	      /* text: evum-init can't go on; the machine powers off */
	AGENT_HELLO,	      /* u32 AGENT_VERSION, u32 flags, then the kernel's release as text */
	AGENT_STARTED,	      /* i32 pid; 0: a built-in command */
	AGENT_OUTPUT,	      /* bytes of fd 1 or 2; none: end of file */
	AGENT_EXIT,	      /* u8 enum evum_exit, i32 value, after the end of both outputs */
	AGENT_ENDING,	      /* u8 enum agent_ending, i32 value: the kernel is about to stop */
	AGENT_OUTPUT_SPOOLED, /* u32 slot, u32 bytes, of fd 1 or 2 */
};

#define AGENT_HAS_SPOOL 1u /* in AGENT_HELLO's flags */

/* AGENT_RUN's payload: fields of u8 tag, u32 length, bytes. */
enum agent_run_field {
	AGENT_RUN_ARG = 1, /* one for each argument, in order; at least one */
	AGENT_RUN_ENV,	   /* "NAME=value" */
	AGENT_RUN_CWD,
	AGENT_RUN_USER,
	AGENT_RUN_WINDOW,  /* u32: first window of stdout and of stderr */
	AGENT_RUN_BUILTIN, /* no bytes: the arguments are a command of the agent's own */
	AGENT_RUN_PTY,	   /* u16 rows, u16 columns: a pty in place of the three pipes */
	AGENT_RUN_PROCS,   /* u32: limit of processes */
	AGENT_RUN_MEM,	   /* u32: limit of memory, MiB */
};

enum agent_control {
	AGENT_POWEROFF = 1,
	AGENT_DROP_CACHES,
};

enum agent_ending {
	AGENT_END_HALT = 1,
	AGENT_END_REBOOT,
	AGENT_END_INIT, /* value: init's exit status, or 128 + signal */
};

#endif
