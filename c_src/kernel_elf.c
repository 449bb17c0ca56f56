/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel binary needs to run, read from its ELF headers
 *
 * The jail holds only the files that the kernel needs: its binary, and the
 * loader and libraries of a dynamic one.  A UML kernel is told from any other
 * program by its sections named ".uml.…".  The file is the user's, not the
 * guest's, but it may be anything: every offset is checked against its size.
 */
#include "kernel_elf.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "evum.h"
#include "util.h"

struct image {
	uint8_t *bytes; /* mapped read-only */
	size_t size;
};

/* The only door to the file: count items of size bytes at an aligned offset, or NULL. */
static const void *image_at(const struct image *image, uint64_t offset, uint64_t size,
			    uint64_t count)
{
	uint64_t total;

	if (__builtin_mul_overflow(size, count, &total) || offset % 8 != 0 ||
	    offset > image->size || total > image->size - offset)
		return NULL;
	return image->bytes + offset;
}

static const char *image_string(const struct image *image, uint64_t offset)
{
	if (offset >= image->size ||
	    memchr(image->bytes + offset, '\0', image->size - offset) == NULL)
		return NULL;
	return (const char *)image->bytes + offset;
}

static int image_map(const char *path, struct image *image)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	void *bytes;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr))
		return -ENOEXEC;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	image->bytes = bytes;
	image->size = (size_t)st.st_size;
	return 0;
}

static const Elf64_Ehdr *image_header(const struct image *image)
{
	const Elf64_Ehdr *header = image_at(image, 0, sizeof(*header), 1);

	if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 ||
	    header->e_phentsize != sizeof(Elf64_Phdr) || header->e_shentsize != sizeof(Elf64_Shdr))
		return NULL;
	return header;
}

static bool image_is_uml(const struct image *image, const Elf64_Ehdr *header)
{
	const Elf64_Shdr *sections =
		image_at(image, header->e_shoff, sizeof(*sections), header->e_shnum);
	const char *name;

	if (!sections || header->e_shstrndx >= header->e_shnum)
		return false;
	for (unsigned int i = 0; i < header->e_shnum; i++) {
		name = image_string(image,
				    sections[header->e_shstrndx].sh_offset + sections[i].sh_name);
		if (name && strncmp(name, ".uml.", 5) == 0)
			return true;
	}
	return false;
}

/* Where the loader of this host finds a library: its usual directories, in its order. */
static int library_find(const char *name, char path[ELF_PATH_MAX])
{
	static const char *const directories[] = {
		"/lib/x86_64-linux-gnu",
		"/usr/lib/x86_64-linux-gnu",
		"/lib64",
		"/usr/lib64",
		"/lib",
		"/usr/lib",
	};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int length = snprintf(path, ELF_PATH_MAX, "%s/%s", directories[i], name);

		if (length > 0 && length < ELF_PATH_MAX && access(path, R_OK) == 0)
			return 0;
	}
	return -ELIBACC;
}

/* The file offset of a virtual address, by the loadable segments. */
static uint64_t image_offset(const Elf64_Phdr *segments, unsigned int count, uint64_t address)
{
	for (unsigned int i = 0; i < count; i++)
		if (segments[i].p_type == PT_LOAD && address >= segments[i].p_vaddr &&
		    address - segments[i].p_vaddr < segments[i].p_filesz)
			return address - segments[i].p_vaddr + segments[i].p_offset;
	return UINT64_MAX;
}

static int read_libraries(const struct image *image, const Elf64_Phdr *segments, unsigned int count,
			  const Elf64_Phdr *dynamic, struct elf_needs *needs)
{
	size_t entries = dynamic->p_filesz / sizeof(Elf64_Dyn);
	const Elf64_Dyn *table = image_at(image, dynamic->p_offset, sizeof(*table), entries);
	uint64_t strings = UINT64_MAX;
	const char *name;

	if (!table)
		return -ENOEXEC;
	for (size_t i = 0; i < entries; i++)
		if (table[i].d_tag == DT_STRTAB)
			strings = image_offset(segments, count, table[i].d_un.d_ptr);
	for (size_t i = 0; i < entries && table[i].d_tag != DT_NULL; i++) {
		if (table[i].d_tag != DT_NEEDED)
			continue;
		name = image_string(image, strings + table[i].d_un.d_val);
		if (!name || needs->library_count == ELF_NEEDED_MAX || strchr(name, '/'))
			return -ENOEXEC;
		if (library_find(name, needs->library[needs->library_count]) < 0)
			return -ELIBACC;
		needs->library_count++;
	}
	return 0;
}

static int read_needs(const struct image *image, struct elf_needs *needs)
{
	const Elf64_Ehdr *header = image_header(image);
	const Elf64_Phdr *segments;
	const char *loader;
	int err = 0;

	if (!header || !image_is_uml(image, header))
		return -ENOEXEC;
	segments = image_at(image, header->e_phoff, sizeof(*segments), header->e_phnum);
	if (!segments)
		return -ENOEXEC;
	for (unsigned int i = 0; i < header->e_phnum && !err; i++) {
		if (segments[i].p_type == PT_DYNAMIC)
			err = read_libraries(image, segments, header->e_phnum, &segments[i], needs);
		if (segments[i].p_type != PT_INTERP)
			continue;
		loader = image_string(image, segments[i].p_offset);
		if (!loader || loader[0] != '/' || strlen(loader) >= ELF_PATH_MAX)
			return -ENOEXEC;
		memcpy(needs->loader, loader, strlen(loader) + 1);
	}
	return err;
}

int elf_kernel_needs(const char *path, struct elf_needs *needs)
{
	struct image image = {NULL, 0};
	int err;

	memset(needs, 0, sizeof(*needs));
	err = image_map(path, &image);
	if (err)
		return err;
	err = read_needs(&image, needs);
	munmap(image.bytes, image.size);
	if (!err && access(path, X_OK) < 0)
		err = -errno;
	return err;
}

int evum_kernel_check(const char *path)
{
	struct elf_needs needs;

	return elf_kernel_needs(path, &needs);
}
