/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs an image: its 4 KiB blocks that aren't zeros, each after its number
 *
 * usage: layer_pack IMAGE >PACK
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "evum-pack 1\n"
#define BLOCK 4096

int main(int argc, char **argv)
{
	static const char zeros[BLOCK];
	int image = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	struct {
		uint32_t number;
		char bytes[BLOCK];
	} block;

	if (image < 0 || fputs(MAGIC, stdout) == EOF)
		return 1;
	for (off_t at = 0; (at = lseek(image, at, SEEK_DATA)) >= 0; at += BLOCK) {
		at -= at % BLOCK;
		if (pread(image, block.bytes, BLOCK, at) != BLOCK)
			return 1;
		block.number = htole32((uint32_t)(at / BLOCK));
		if (memcmp(block.bytes, zeros, BLOCK) != 0 &&
		    fwrite(&block, sizeof(block), 1, stdout) != 1)
			return 1;
	}
	return errno != ENXIO || fflush(stdout) == EOF;
}
