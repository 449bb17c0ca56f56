/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files: files and trees as bytes, as put reads and get writes them
 *
 * Theory of operation.  One entry, depth first, then 'e'.  Little-endian:
 *
 *   entry   u8 type, u32 mode (permission bits, 07777), u32 uid, u32 gid,
 *           i64 mtime in seconds, u16 length of the name, name; then of
 *   'f'     pieces of u32 length and as many bytes; one of length 0 ends them,
 *           and the u32 CRC-32 of all of them follows
 *   'd'     the entries inside; the single byte 'u' ends them
 *   'l'     u16 length of the target, target
 *
 * The top entry has no name; one inside has a name of 1 to 255 bytes with no
 * '/' and no NUL in it, other than "." and "..".  A mode, uid or gid of
 * FILES_UNSET is for the receiver to choose.  A stream that ends before its
 * 'e' was given up by its sender.
 *
 * A system call costs 12 us in a guest, so both directions go through a buffer
 * that takes a whole piece, and small files share a write.
 */
#ifndef EVUM_INIT_FILES_H
#define EVUM_INIT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILES_PIECE_MAX 131072u
#define FILES_NAME_MAX 255u
#define FILES_TARGET_MAX 4095u /* the kernel's bound of a link; a longer one is ENAMETOOLONG */
#define FILES_DEPTH_MAX 128    /* directories within each other, the top one counted; ELOOP */
#define FILES_UNSET 0xffffffffu
#define FILES_BUFFER (2 * (FILES_PIECE_MAX + 4))

enum files_type {
	FILES_FILE = 'f',
	FILES_DIRECTORY = 'd',
	FILES_LINK = 'l',
	FILES_UP = 'u',
	FILES_END = 'e',
};

struct files_entry {
	uint8_t type; /* of UP and END nothing else is set */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	int64_t mtime;
	char name[FILES_NAME_MAX + 1];
};

struct files_reader {
	int fd;
	int error;
	uint32_t crc; /* of the file's pieces so far */
	size_t start;
	size_t end;
	uint8_t bytes[FILES_BUFFER];
};

struct files_writer {
	int fd;
	uint32_t crc;
	size_t used;
	uint8_t bytes[FILES_BUFFER];
};

/*
 * All return 0 or more, or -errno: of the descriptor, and from the reader
 * ECANCELED where the stream ends, EPROTO where it isn't one, EBADMSG for a
 * wrong checksum.
 */

void files_read(struct files_reader *reader, int fd);
/* The next entry, UP or END.  top: it is the one without a name. */
int files_next(struct files_reader *reader, bool top, struct files_entry *entry);
/*
 * The next piece of a file, valid until the next call.  Returns its length; 0
 * at the file's end, when its checksum was right.
 */
int files_next_piece(struct files_reader *reader, const uint8_t **bytes);
/* The target of a link, as a string. */
int files_next_target(struct files_reader *reader, char target[static FILES_TARGET_MAX + 1]);

void files_write(struct files_writer *writer, int fd);
int files_put_entry(struct files_writer *writer, const struct files_entry *entry);
/* Sets *room to where the next FILES_PIECE_MAX bytes of a file shall be put. */
int files_piece_room(struct files_writer *writer, uint8_t **room);
/* len bytes were put there; none ends the file. */
void files_put_piece(struct files_writer *writer, size_t len);
int files_put_target(struct files_writer *writer, const char *target);
int files_put_up(struct files_writer *writer);
/* Ends the stream and sends what is left of it. */
int files_put_end(struct files_writer *writer);

#endif
