/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External terms as text, both ways, for tests of the port program
 *
 * {a,1,[<<"b">>]} and the like.  Reading, "b" is a binary too, and ^ in it
 * a zero byte.  As Erlang does, a list of bytes is encoded as a string.
 */
#ifndef EVUM_TEST_PORT_TEXT_H
#define EVUM_TEST_PORT_TEXT_H

#include <ctype.h>
#include <ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

/* NOLINTBEGIN(misc-no-recursion): terms nest, and a test's own are shallow */

static inline const char *text_encode(const char *text, ei_x_buff *x);

static inline const char *text_skip(const char *text, const char *mark)
{
	CHECK(strncmp(text, mark, strlen(mark)) == 0);
	return text + strlen(mark);
}

/* Elements up to close; count is how many. */
static inline const char *text_encode_elements(const char *text, char close, ei_x_buff *x,
					       int *count)
{
	for (*count = 0; *text != close; ++*count) {
		if (*count)
			text = text[0] == '=' ? text_skip(text, "=>") : text_skip(text, ",");
		text = text_encode(text, x);
	}
	return text + 1;
}

/* The bytes of elements that are all small integers, or no string. */
static inline int text_is_string(const ei_x_buff *x, int count, char *bytes)
{
	for (int i = 0, at = 0; i < count; i++, at += 2) {
		if (at >= x->index || x->buff[at] != ERL_SMALL_INTEGER_EXT)
			return 0;
		bytes[i] = x->buff[at + 1];
	}
	return count > 0 && x->index == 2 * count;
}

static inline const char *text_encode_compound(const char *text, ei_x_buff *x)
{
	char kind = *text;
	char bytes[64];
	ei_x_buff inner;
	int count;

	ei_x_new(&inner);
	text = text_skip(text, kind == '#' ? "#{" : kind == '{' ? "{" : "[");
	text = text_encode_elements(text, kind == '[' ? ']' : '}', &inner, &count);
	if (kind == '[' && count < (int)sizeof(bytes) && text_is_string(&inner, count, bytes)) {
		ei_x_encode_string_len(x, bytes, count);
		ei_x_free(&inner);
		return text;
	}
	if (kind == '#')
		ei_x_encode_map_header(x, count / 2);
	else if (kind == '{')
		ei_x_encode_tuple_header(x, count);
	else if (count)
		ei_x_encode_list_header(x, count);
	ei_x_append(x, &inner);
	if (kind == '[')
		ei_x_encode_empty_list(x);
	ei_x_free(&inner);
	return text;
}

static inline const char *text_encode(const char *text, ei_x_buff *x)
{
	size_t len;
	char *end;

	if (strchr("{[#", *text))
		return text_encode_compound(text, x);
	if (*text == '"') {
		len = strcspn(text + 1, "\"");
		ei_x_encode_binary(x, text + 1, (int)len);
		for (char *at = x->buff + x->index - len; at < x->buff + x->index; at++)
			*at = (char)(*at == '^' ? 0 : *at);
		return text + len + 2;
	}
	if (isdigit((unsigned char)*text) || *text == '-') {
		long long number = strtoll(text, &end, 10);

		if (*end == '.')
			ei_x_encode_double(x, strtod(text, &end));
		else
			ei_x_encode_longlong(x, number);
		return end;
	}
	len = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
	CHECK(len > 0);
	ei_x_encode_atom_len(x, text, (int)len);
	return text + len;
}

static inline void text_print(FILE *out, const char *bytes, int *index);

static inline void text_print_elements(FILE *out, const char *bytes, int *index, int count,
				       const char *marks)
{
	for (int i = 0; i < count; i++) {
		if (i)
			fputs(marks[i % 2] == '=' ? "=>" : ",", out);
		text_print(out, bytes, index);
	}
}

static inline void text_print_binary(FILE *out, const char *bytes, int *index, int size)
{
	char *copy = malloc((size_t)size + 1);
	long len;

	ei_decode_binary(bytes, index, copy, &len);
	fprintf(out, "<<\"%.*s\">>", (int)len, copy);
	free(copy);
}

static inline void text_print(FILE *out, const char *bytes, int *index)
{
	char atom[MAXATOMLEN_UTF8];
	int type;
	int size;
	long long number;

	ei_get_type(bytes, index, &type, &size);
	if (type == ERL_ATOM_EXT) {
		ei_decode_atom(bytes, index, atom);
		fputs(atom, out);
	} else if (type == ERL_SMALL_TUPLE_EXT) {
		ei_decode_tuple_header(bytes, index, &size);
		fputc('{', out);
		text_print_elements(out, bytes, index, size, ",,");
		fputc('}', out);
	} else if (type == ERL_MAP_EXT) {
		ei_decode_map_header(bytes, index, &size);
		fputs("#{", out);
		text_print_elements(out, bytes, index, 2 * size, ",=");
		fputc('}', out);
	} else if (type == ERL_LIST_EXT || type == ERL_NIL_EXT) {
		ei_decode_list_header(bytes, index, &size);
		fputc('[', out);
		text_print_elements(out, bytes, index, size, ",,");
		fputc(']', out);
		*index += size > 0;
	} else if (type == ERL_BINARY_EXT) {
		text_print_binary(out, bytes, index, size);
	} else {
		CHECK(ei_decode_longlong(bytes, index, &number) == 0);
		fprintf(out, "%lld", number);
	}
}

/* NOLINTEND(misc-no-recursion) */

/* The term in len bytes, which the caller frees. */
static inline char *text_of_term(const char *bytes, int len)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int index = 0;
	int version;

	CHECK(ei_decode_version(bytes, &index, &version) == 0);
	text_print(out, bytes, &index);
	CHECK(index == len);
	fclose(out);
	return text;
}

#endif
