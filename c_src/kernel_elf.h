/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel binary needs to run, read from its ELF headers */
#ifndef EVUM_KERNEL_ELF_H
#define EVUM_KERNEL_ELF_H

#define ELF_NEEDED_MAX 4
#define ELF_PATH_MAX 256

struct elf_needs {
	char loader[ELF_PATH_MAX]; /* "" where the binary is static */
	char library[ELF_NEEDED_MAX][ELF_PATH_MAX];
	unsigned int library_count;
};

/*
 * Reads what the UML kernel at path needs.
 * Returns 0; -ENOEXEC when it is no x86-64 UML kernel; -ELIBACC when a shared
 * library it names isn't on this host; another negative errno of open(2).
 */
int elf_kernel_needs(const char *path, struct elf_needs *needs);

#endif
