/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External terms: checked before decoding, and encoding
 *
 * Theory of operation.  ei's decoders take no length: they trust the bytes.
 * So a frame is walked first, by term_open(), which knows the few tags that
 * Erlang may send here, follows every size and stays inside the frame; what
 * it has found whole is safe to give to ei.  Numbers of any size pass the walk,
 * since a number out of range is a wrong value and no broken frame.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "term.h"
#include "util.h"

#define VERSION_MAGIC 131 /* the first byte of any external term */

/* The bytes that the walk has not seen yet. */
struct walk {
	const uint8_t *at;
	size_t left;
};

static int walk_skip(struct walk *walk, size_t n)
{
	if (walk->left < n)
		return -EPROTO;
	walk->at += n;
	walk->left -= n;
	return 0;
}

/* A big-endian number of size bytes (1 to 4). */
static int walk_number(struct walk *walk, unsigned int size, uint32_t *value)
{
	const uint8_t *at = walk->at;

	if (walk_skip(walk, size) < 0)
		return -EPROTO;
	for (*value = 0; size; size--)
		*value = *value << 8 | *at++;
	return 0;
}

/* A size of size bytes, that many bytes and extra ones. */
static int walk_sized(struct walk *walk, unsigned int size, size_t extra)
{
	uint32_t n;

	if (walk_number(walk, size, &n) < 0)
		return -EPROTO;
	return walk_skip(walk, n + extra);
}

/* Erlang sends no atom of more than 255 characters, and ei has no room for one. */
static int walk_atom(struct walk *walk, unsigned int size, uint32_t max)
{
	uint32_t n;

	if (walk_number(walk, size, &n) < 0 || n > max)
		return -EPROTO;
	return walk_skip(walk, n);
}

/* A compound term that the walk is in: so many terms are still to come in it. */
struct level {
	uint64_t terms;
	bool list; /* after them a NIL_EXT: only proper lists are sent */
};

/* A count of size bytes, and each terms for each. */
static int walk_compound(struct walk *walk, unsigned int size, unsigned int each,
			 struct level *opened)
{
	uint32_t n;

	if (walk_number(walk, size, &n) < 0)
		return -EPROTO;
	opened->terms = (uint64_t)n * each;
	return 1;
}

/* Walks over one term: 0; 1 when it is compound and *opened says what is to come; -EPROTO. */
static int walk_term(struct walk *walk, struct level *opened)
{
	uint32_t tag;

	if (walk_number(walk, 1, &tag) < 0)
		return -EPROTO;
	opened->list = tag == ERL_LIST_EXT;
	switch (tag) {
	case ERL_SMALL_INTEGER_EXT:
		return walk_skip(walk, 1);
	case ERL_INTEGER_EXT:
		return walk_skip(walk, 4);
	case NEW_FLOAT_EXT:
		return walk_skip(walk, 8);
	case ERL_SMALL_BIG_EXT:
		return walk_sized(walk, 1, 1);
	case ERL_ATOM_EXT:
		return walk_atom(walk, 2, MAXATOMLEN - 1);
	case ERL_SMALL_ATOM_EXT:
		return walk_atom(walk, 1, MAXATOMLEN - 1);
	case ERL_ATOM_UTF8_EXT:
		return walk_atom(walk, 2, MAXATOMLEN_UTF8 - 1);
	case ERL_SMALL_ATOM_UTF8_EXT:
		return walk_atom(walk, 1, MAXATOMLEN_UTF8 - 1);
	case ERL_STRING_EXT:
		return walk_sized(walk, 2, 0);
	case ERL_BINARY_EXT:
		return walk_sized(walk, 4, 0);
	case ERL_NIL_EXT:
		return 0;
	case ERL_SMALL_TUPLE_EXT:
		return walk_compound(walk, 1, 1, opened);
	case ERL_LARGE_TUPLE_EXT:
	case ERL_LIST_EXT:
		return walk_compound(walk, 4, 1, opened);
	case ERL_MAP_EXT:
		return walk_compound(walk, 4, 2, opened);
	default:
		return -EPROTO;
	}
}

/* The end of a compound term. */
static int walk_close(struct walk *walk, const struct level *level)
{
	if (!level->list)
		return 0;
	return walk->left && *walk->at == ERL_NIL_EXT ? walk_skip(walk, 1) : -EPROTO;
}

/* One whole term.  Each step takes a byte or closes a level, so this ends with the frame. */
static int walk_whole(struct walk *walk)
{
	struct level levels[TERM_DEPTH_MAX + 1] = {{.terms = 1}};
	struct level opened;
	int depth = 0;
	int got = 0;

	while (depth >= 0 && got >= 0) {
		if (!levels[depth].terms) {
			got = walk_close(walk, &levels[depth--]);
			continue;
		}
		levels[depth].terms--;
		got = walk_term(walk, &opened);
		if (got != 1)
			continue;
		if (depth == TERM_DEPTH_MAX)
			return -EPROTO;
		levels[++depth] = opened;
	}
	return got < 0 ? got : 0;
}

int term_open(struct term *term, const void *bytes, size_t len)
{
	struct walk walk = {.at = bytes, .left = len};
	uint32_t version;

	if (walk_number(&walk, 1, &version) < 0 || version != VERSION_MAGIC)
		return -EPROTO;
	if (walk_whole(&walk) < 0 || walk.left)
		return -EPROTO;
	*term = (struct term){.bytes = bytes, .len = len, .index = 1};
	return 0;
}

/*
 * A string takes 5 bytes and its own in a term, its own and 1 here; a table of
 * strings takes 8 bytes for each and 8 more, and 1 to 7 are lost to alignment.
 */
int term_arena_init(struct term_arena *arena, size_t term_len)
{
	*arena = (struct term_arena){.size = 2 * term_len + 128};
	arena->bytes = calloc(1, arena->size);
	return arena->bytes ? 0 : -ENOMEM;
}

void term_arena_free(struct term_arena *arena)
{
	free(arena->bytes);
	arena->bytes = NULL;
}

void *term_arena_take(struct term_arena *arena, size_t count, size_t size)
{
	size_t start = arena->used;

	if (size > 1)
		start = (start + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
	if (start > arena->size || count > (arena->size - start) / size)
		return NULL;
	arena->used = start + count * size;
	return arena->bytes + start;
}

/* False where ei would decode what isn't there: behind the end, or an element of a string. */
static bool term_ready(const struct term *term)
{
	return !term->string && (size_t)term->index < term->len;
}

int term_get_tuple(struct term *term, int arity)
{
	int n;

	if (!term_ready(term) || ei_decode_tuple_header(term->bytes, &term->index, &n) < 0)
		return -EINVAL;
	return n == arity ? 0 : -EINVAL;
}

/* Erlang sends a list of small integers, such as [24, 80], as a string. */
int term_get_list(struct term *term, int *count)
{
	int type;

	if (!term_ready(term) || ei_get_type(term->bytes, &term->index, &type, count) < 0)
		return -EINVAL;
	if (type == ERL_STRING_EXT) {
		term->index += 3;
		term->string = true;
		term->string_left = *count;
		return 0;
	}
	return ei_decode_list_header(term->bytes, &term->index, count) < 0 ? -EINVAL : 0;
}

/* To be called once count elements were taken. */
int term_get_list_end(struct term *term, int count)
{
	int tail;

	/* A string has no tail; an empty list was nothing but one. */
	if (term->string) {
		term->string = false;
		return term->string_left ? -EINVAL : 0;
	}
	if (count == 0)
		return 0;
	if (!term_ready(term))
		return -EINVAL;
	return ei_decode_list_header(term->bytes, &term->index, &tail) < 0 ? -EINVAL : 0;
}

int term_get_map(struct term *term, int *count)
{
	if (!term_ready(term) || ei_decode_map_header(term->bytes, &term->index, count) < 0)
		return -EINVAL;
	return 0;
}

int term_get_atom(struct term *term, char atom[TERM_ATOM_SIZE])
{
	if (!term_ready(term) || ei_decode_atom_as(term->bytes, &term->index, atom, TERM_ATOM_SIZE,
						   ERLANG_UTF8, NULL, NULL) < 0)
		return -EINVAL;
	return 0;
}

int term_get_integer(struct term *term, long long min, long long max, long long *value)
{
	if (term->string_left) {
		*value = (uint8_t)term->bytes[term->index++];
		term->string_left--;
	} else if (!term_ready(term) || ei_decode_longlong(term->bytes, &term->index, value) < 0) {
		return -EINVAL;
	}
	return *value < min || *value > max ? -EINVAL : 0;
}

int term_get_u32(struct term *term, uint32_t min, uint32_t *value)
{
	long long number;
	int err = term_get_integer(term, min, UINT32_MAX, &number);

	if (!err)
		*value = (uint32_t)number;
	return err;
}

int term_get_boolean(struct term *term, int *value)
{
	char atom[TERM_ATOM_SIZE];

	if (term_get_atom(term, atom) < 0)
		return -EINVAL;
	*value = strcmp(atom, "true") == 0;
	return *value || strcmp(atom, "false") == 0 ? 0 : -EINVAL;
}

int term_get_bytes(struct term *term, void *bytes, size_t len)
{
	int type;
	int size;
	long got;

	if (!term_ready(term) || ei_get_type(term->bytes, &term->index, &type, &size) < 0 ||
	    type != ERL_BINARY_EXT || (size_t)size != len)
		return -EINVAL;
	return ei_decode_binary(term->bytes, &term->index, bytes, &got) < 0 ? -EINVAL : 0;
}

int term_get_string(struct term *term, const char **string)
{
	int type;
	int size;
	long len;
	char *copy;

	if (!term_ready(term) || ei_get_type(term->bytes, &term->index, &type, &size) < 0 ||
	    type != ERL_BINARY_EXT)
		return -EINVAL;
	copy = term_arena_take(term->arena, (size_t)size + 1, 1);
	if (!copy || ei_decode_binary(term->bytes, &term->index, copy, &len) < 0)
		return -EINVAL;
	if (memchr(copy, 0, (size_t)len))
		return -EINVAL;
	*string = copy;
	return 0;
}

int term_get_strings(struct term *term, const char *const **strings)
{
	const char **table;
	int count;
	int err;

	if (term_get_list(term, &count) < 0)
		return -EINVAL;
	/* NULL: the elements are smaller than any binary is. */
	table = term_arena_take(term->arena, (size_t)count + 1, sizeof(*table));
	if (!table)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		err = term_get_string(term, &table[i]);
		if (err)
			return err;
	}
	*strings = table;
	return term_get_list_end(term, count);
}

bool term_next_is_atom(const struct term *term)
{
	int type;
	int size;

	return term_ready(term) && ei_get_type(term->bytes, &term->index, &type, &size) == 0 &&
	       type == ERL_ATOM_EXT;
}

void term_out_init(struct term_out *out)
{
	*out = (struct term_out){0};
	out->failed = ei_x_new_with_version(&out->x) < 0;
}

void term_out_free(struct term_out *out)
{
	ei_x_free(&out->x);
}

void term_put_tuple(struct term_out *out, long arity)
{
	out->failed = out->failed || ei_x_encode_tuple_header(&out->x, arity) < 0;
}

void term_put_list(struct term_out *out, long count)
{
	out->failed = out->failed || ei_x_encode_list_header(&out->x, count) < 0;
}

void term_put_nil(struct term_out *out)
{
	out->failed = out->failed || ei_x_encode_empty_list(&out->x) < 0;
}

void term_put_map(struct term_out *out, long count)
{
	out->failed = out->failed || ei_x_encode_map_header(&out->x, count) < 0;
}

void term_put_atom(struct term_out *out, const char *atom)
{
	out->failed = out->failed || ei_x_encode_atom(&out->x, atom) < 0;
}

void term_put_boolean(struct term_out *out, bool value)
{
	term_put_atom(out, value ? "true" : "false");
}

void term_put_integer(struct term_out *out, long long value)
{
	out->failed = out->failed || ei_x_encode_longlong(&out->x, value) < 0;
}

/* What is too long for any frame is as good as memory that is short. */
void term_put_binary(struct term_out *out, const void *bytes, size_t len)
{
	out->failed = out->failed || len > INT32_MAX / 2 ||
		      ei_x_encode_binary(&out->x, len ? bytes : "", (int)len) < 0;
}

void term_put_text(struct term_out *out, const char *text)
{
	term_put_binary(out, text, strlen(text));
}

void term_put_posix(struct term_out *out, int err)
{
	const char *name = strerrorname_np(err);
	char atom[32] = "unknown";

	/* Not a made-up atom: err may come from a guest, and atoms are for ever. */
	for (size_t i = 0; name && i < sizeof(atom) && (i == 0 || name[i - 1]); i++)
		atom[i] =
			(char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
	atom[sizeof(atom) - 1] = 0;
	term_put_atom(out, atom);
}
