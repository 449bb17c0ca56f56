/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files_stream: the bytes of file streams, right ones and wrong ones
 */
#ifndef EVUM_TEST_FILES_STREAM_H
#define EVUM_TEST_FILES_STREAM_H

#include <libdeflate.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define FILE_STREAM_MAX 262144

struct file_stream {
	size_t len;
	uint8_t bytes[FILE_STREAM_MAX];
};

static inline void add_bytes(struct file_stream *stream, const void *bytes, size_t len)
{
	CHECK(stream->len + len <= sizeof(stream->bytes));
	memcpy(stream->bytes + stream->len, bytes, len);
	stream->len += len;
}

/* The lowest len bytes of a number, the lowest first. */
static inline void add_number(struct file_stream *stream, uint64_t number, size_t len)
{
	uint8_t byte;

	for (; len > 0; len--, number >>= 8) {
		byte = (uint8_t)number;
		add_bytes(stream, &byte, 1);
	}
}

/* An entry as far as all have it; owner is the uid and the gid. */
static inline void add_entry(struct file_stream *stream, char type, uint32_t mode, uint32_t owner,
			     const char *name, size_t len)
{
	add_number(stream, (uint8_t)type, 1);
	add_number(stream, mode, 4);
	add_number(stream, owner, 4);
	add_number(stream, owner, 4);
	add_number(stream, 1000000000, 8);
	add_number(stream, len, 2);
	add_bytes(stream, name, len);
}

#define UNSET 0xffffffffu

/* An entry with nothing but a name. */
static inline void add_named(struct file_stream *stream, char type, const char *name)
{
	add_entry(stream, type, UNSET, UNSET, name, strlen(name));
}

/* The content of a file, in one piece. */
static inline void add_content(struct file_stream *stream, const char *text)
{
	size_t len = strlen(text);

	if (len > 0) {
		add_number(stream, len, 4);
		add_bytes(stream, text, len);
	}
	add_number(stream, 0, 4);
	add_number(stream, libdeflate_crc32(0, text, len), 4);
}

static inline void add_file(struct file_stream *stream, const char *name, const char *text)
{
	add_named(stream, 'f', name);
	add_content(stream, text);
}

static inline void add_link(struct file_stream *stream, const char *name, const char *target)
{
	add_named(stream, 'l', name);
	add_number(stream, strlen(target), 2);
	add_bytes(stream, target, strlen(target));
}

static inline void add_text(struct file_stream *stream, const char *text)
{
	add_bytes(stream, text, strlen(text));
}

#endif
