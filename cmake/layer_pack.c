/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs an image: its 4 KiB blocks that aren't zeros, each after its number
 *
 * usage: layer_pack IMAGE >PACK
 */
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "evum-pack 1\n"
#define BLOCK 4096

int main(int argc, char **argv)
{
	static const char zeros[BLOCK];
	FILE *image = argc == 2 ? fopen(argv[1], "r") : NULL;
	struct {
		uint32_t number;
		char bytes[BLOCK];
	} block;

	if (!image || fputs(MAGIC, stdout) == EOF)
		return 1;
	for (uint32_t i = 0; fread(block.bytes, BLOCK, 1, image) == 1; i++) {
		block.number = htole32(i);
		if (memcmp(block.bytes, zeros, BLOCK) != 0 &&
		    fwrite(&block, sizeof(block), 1, stdout) != 1)
			return 1;
	}
	return ferror(image) || fflush(stdout) == EOF;
}
