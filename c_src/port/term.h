/* SPDX-License-Identifier: Apache-2.0 */
/* External terms: checked before decoding, and encoding */
#ifndef EVUM_TERM_H
#define EVUM_TERM_H

#include <ei.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TERM_DEPTH_MAX 8
#define TERM_ATOM_SIZE MAXATOMLEN_UTF8

/* Memory of one call's strings and tables: freed at once. */
struct term_arena {
	char *bytes;
	size_t used, size;
};

/*
 * A cursor over a term that term_open() has found whole.  The term_get
 * functions take what comes next: 0, or -EINVAL where that is something else;
 * then the cursor is of no use any more.
 */
struct term {
	const char *bytes;
	size_t len;
	int index;
	bool string;	 /* in a list that was sent as a string of bytes */
	int string_left; /* and so many of its elements are still to come */
	struct term_arena *arena;
};

/* 0, or -EPROTO where bytes are no term that this wire carries. */
int term_open(struct term *term, const void *bytes, size_t len);

int term_arena_init(struct term_arena *arena, size_t term_len);
void term_arena_free(struct term_arena *arena);
/* Zeroed and aligned for a pointer; NULL where the term can't be that large. */
void *term_arena_take(struct term_arena *arena, size_t count, size_t size);

int term_get_tuple(struct term *term, int arity);
int term_get_list(struct term *term, int *count);
int term_get_list_end(struct term *term, int count);
int term_get_map(struct term *term, int *count);
int term_get_atom(struct term *term, char atom[TERM_ATOM_SIZE]);
int term_get_integer(struct term *term, long long min, long long max, long long *value);
int term_get_u32(struct term *term, uint32_t min, uint32_t *value);
int term_get_boolean(struct term *term, int *value);
/* A binary of exactly len bytes. */
int term_get_bytes(struct term *term, void *bytes, size_t len);
/* A binary without zero bytes, as a string in the arena. */
int term_get_string(struct term *term, const char **string);
/* A list of them, NULL-terminated. */
int term_get_strings(struct term *term, const char *const **strings);
bool term_next_is_atom(const struct term *term);

/*
 * Encoding.  failed sticks: it is looked at once, when the term is complete.
 * It is set when memory is short and never otherwise.
 */
struct term_out {
	ei_x_buff x;
	bool failed;
};

void term_out_init(struct term_out *out);
void term_out_free(struct term_out *out);
void term_put_tuple(struct term_out *out, long arity);
void term_put_list(struct term_out *out, long count);
void term_put_nil(struct term_out *out);
void term_put_map(struct term_out *out, long count);
void term_put_atom(struct term_out *out, const char *atom);
void term_put_boolean(struct term_out *out, bool value);
void term_put_integer(struct term_out *out, long long value);
void term_put_binary(struct term_out *out, const void *bytes, size_t len);
void term_put_text(struct term_out *out, const char *text);
/* enoent and the like; the atom unknown for a number that has no name. */
void term_put_posix(struct term_out *out, int err);

#endif
