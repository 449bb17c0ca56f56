/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files: files and trees as bytes, as put reads and get writes them
 */
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <string.h>
#include <unistd.h>

#include "frame.h"

#define HEADER 22u	  /* of an entry, after its type and before its name */
#define PIPE_SIZE 0x40000 /* of the descriptor, where it's a pipe: fewer changes of process */

static uint64_t get_u64(const uint8_t *bytes)
{
	return frame_u32(bytes) | (uint64_t)frame_u32(bytes + 4) << 32;
}

/* --- reading --------------------------------------------------------------- */

void files_read(struct files_reader *reader, int fd)
{
	reader->fd = fd;
	reader->crc = 0;
	reader->start = reader->end = 0;
	/* A pipe that stays as small as it was is slower. */
	(void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
}

/* Moves what is held to where len bytes of it would be in one piece. */
static void make_room(struct files_reader *reader, size_t len)
{
	size_t held = reader->end - reader->start;

	if (held > 0 && reader->start + len <= sizeof(reader->bytes))
		return;
	memmove(reader->bytes, reader->bytes + reader->start, held);
	reader->start = 0;
	reader->end = held;
}

/* Takes the next len bytes, at most FILES_PIECE_MAX; NULL with reader->error set. */
static const uint8_t *take(struct files_reader *reader, size_t len)
{
	ssize_t got;

	while (reader->end - reader->start < len) {
		make_room(reader, len);
		got = read(reader->fd, reader->bytes + reader->end,
			   sizeof(reader->bytes) - reader->end);
		if (got > 0) {
			reader->end += (size_t)got;
			continue;
		}
		if (got < 0 && errno == EINTR)
			continue;
		reader->error = got == 0 ? -ECANCELED : -errno;
		return NULL;
	}
	reader->start += len;
	return reader->bytes + reader->start - len;
}

static bool is_name(const uint8_t *name, size_t len)
{
	if (len == 0 || len > FILES_NAME_MAX)
		return false;
	if (memchr(name, '/', len) != NULL || memchr(name, '\0', len) != NULL)
		return false;
	return !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

static int take_name(struct files_reader *reader, size_t len, bool top, struct files_entry *entry)
{
	const uint8_t *name;

	if (len > FILES_NAME_MAX)
		return -EPROTO;
	name = take(reader, len);
	if (name == NULL)
		return reader->error;
	if (top ? len > 0 : !is_name(name, len))
		return -EPROTO;
	memcpy(entry->name, name, len);
	entry->name[len] = '\0';
	return 0;
}

int files_next(struct files_reader *reader, bool top, struct files_entry *entry)
{
	const uint8_t *bytes;

	bytes = take(reader, 1);
	if (bytes == NULL)
		return reader->error;
	entry->type = bytes[0];
	entry->name[0] = '\0';
	switch (entry->type) {
	case FILES_UP:
	case FILES_END:
		return 0;
	case FILES_FILE:
	case FILES_DIRECTORY:
	case FILES_LINK:
		break;
	default:
		return -EPROTO;
	}
	bytes = take(reader, HEADER);
	if (bytes == NULL)
		return reader->error;
	entry->mode = frame_u32(bytes);
	entry->uid = frame_u32(bytes + 4);
	entry->gid = frame_u32(bytes + 8);
	entry->mtime = (int64_t)get_u64(bytes + 12);
	if (entry->mode > 07777 && entry->mode != FILES_UNSET)
		return -EPROTO;
	reader->crc = 0;
	return take_name(reader, frame_u16(bytes + 20), top, entry);
}

static int check_crc(struct files_reader *reader)
{
	const uint8_t *bytes = take(reader, 4);

	if (bytes == NULL)
		return reader->error;
	return frame_u32(bytes) == reader->crc ? 0 : -EBADMSG;
}

int files_next_piece(struct files_reader *reader, const uint8_t **bytes)
{
	uint32_t len;

	*bytes = take(reader, 4);
	if (*bytes == NULL)
		return reader->error;
	len = frame_u32(*bytes);
	if (len == 0)
		return check_crc(reader);
	if (len > FILES_PIECE_MAX)
		return -EPROTO;
	*bytes = take(reader, len);
	if (*bytes == NULL)
		return reader->error;
	reader->crc = libdeflate_crc32(reader->crc, *bytes, len);
	return (int)len;
}

int files_next_target(struct files_reader *reader, char target[static FILES_TARGET_MAX + 1])
{
	const uint8_t *bytes;
	size_t len;

	bytes = take(reader, 2);
	if (bytes == NULL)
		return reader->error;
	len = frame_u16(bytes);
	if (len == 0)
		return -EPROTO;
	if (len > FILES_TARGET_MAX)
		return -ENAMETOOLONG;
	bytes = take(reader, len);
	if (bytes == NULL)
		return reader->error;
	if (memchr(bytes, '\0', len) != NULL)
		return -EPROTO;
	memcpy(target, bytes, len);
	target[len] = '\0';
	return 0;
}

/* --- writing --------------------------------------------------------------- */

void files_write(struct files_writer *writer, int fd)
{
	writer->fd = fd;
	writer->crc = 0;
	writer->used = 0;
	(void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
}

static int flush(struct files_writer *writer)
{
	size_t done = 0;
	ssize_t put;

	while (done < writer->used) {
		put = write(writer->fd, writer->bytes + done, writer->used - done);
		if (put >= 0)
			done += (size_t)put;
		else if (errno != EINTR)
			return -errno;
	}
	writer->used = 0;
	return 0;
}

static int reserve(struct files_writer *writer, size_t len)
{
	return sizeof(writer->bytes) - writer->used < len ? flush(writer) : 0;
}

static void add(struct files_writer *writer, const void *bytes, size_t len)
{
	memcpy(writer->bytes + writer->used, bytes, len);
	writer->used += len;
}

static void add_u32(struct files_writer *writer, uint32_t value)
{
	frame_put_u32(writer->bytes + writer->used, value);
	writer->used += 4;
}

/* A length of two bytes, and the text. */
static void add_text(struct files_writer *writer, const char *text, size_t len)
{
	add(writer, &(uint8_t){(uint8_t)len}, 1);
	add(writer, &(uint8_t){(uint8_t)(len >> 8)}, 1);
	add(writer, text, len);
}

int files_put_entry(struct files_writer *writer, const struct files_entry *entry)
{
	size_t len = strlen(entry->name);
	int result = reserve(writer, 1 + HEADER + len);

	if (result < 0)
		return result;
	add(writer, &entry->type, 1);
	add_u32(writer, entry->mode);
	add_u32(writer, entry->uid);
	add_u32(writer, entry->gid);
	add_u32(writer, (uint32_t)entry->mtime);
	add_u32(writer, (uint32_t)((uint64_t)entry->mtime >> 32));
	add_text(writer, entry->name, len);
	writer->crc = 0;
	return 0;
}

int files_piece_room(struct files_writer *writer, uint8_t **room)
{
	/* Room for the checksum too: the piece may be the last. */
	int result = reserve(writer, 4 + FILES_PIECE_MAX + 4);

	*room = writer->bytes + writer->used + 4;
	return result;
}

void files_put_piece(struct files_writer *writer, size_t len)
{
	add_u32(writer, (uint32_t)len);
	if (len == 0) {
		add_u32(writer, writer->crc);
		return;
	}
	writer->crc = libdeflate_crc32(writer->crc, writer->bytes + writer->used, len);
	writer->used += len;
}

int files_put_target(struct files_writer *writer, const char *target)
{
	size_t len = strlen(target);
	int result = reserve(writer, 2 + len);

	if (result == 0)
		add_text(writer, target, len);
	return result;
}

static int put_byte(struct files_writer *writer, uint8_t byte)
{
	int result = reserve(writer, 1);

	if (result == 0)
		add(writer, &byte, 1);
	return result;
}

int files_put_up(struct files_writer *writer)
{
	return put_byte(writer, FILES_UP);
}

int files_put_end(struct files_writer *writer)
{
	int result = put_byte(writer, FILES_END);

	return result < 0 ? result : flush(writer);
}
