/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file system does in a second, on four lines: MB/s written and synced, MB/s
 * read, reads of 4 KiB at random, ms to unpack an archive.
 *
 * usage: files DIRECTORY ARCHIVE TAR...
 *
 * TAR... is a command that reads the archive on its stdin and unpacks it where it is
 * run.  Where drop_caches can be written to, nothing is read from this kernel's own
 * cache.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 1048576u
#define BLOCKS 128u
#define SMALL 4096u
#define READS 10000u

static char buffer[BLOCK];

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	/* On the host this is root's, and everybody's cache. */
	if (fd >= 0 && getenv("DROP"))
		check(write(fd, "3", 1) == 1, "drop_caches");
	close(fd);
}

static void write_file(int fd)
{
	double start = now();

	for (unsigned int i = 0; i < BLOCKS; i++)
		check(write(fd, buffer, BLOCK) == BLOCK, "write");
	check(fsync(fd) == 0, "fsync");
	printf("write %.1f\n", BLOCKS * (BLOCK / 1e6) / (now() - start));
}

static void read_file(int fd)
{
	double start = now();

	check(lseek(fd, 0, SEEK_SET) == 0, "lseek");
	for (unsigned int i = 0; i < BLOCKS; i++)
		check(read(fd, buffer, BLOCK) == BLOCK, "read");
	printf("read %.1f\n", BLOCKS * (BLOCK / 1e6) / (now() - start));
}

static void read_random(int fd)
{
	double start = now();
	uint64_t seed = 1;

	check(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0, "fadvise");
	for (unsigned int i = 0; i < READS; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		check(pread(fd, buffer, SMALL,
			    (off_t)((seed >> 33) % (BLOCKS * (BLOCK / SMALL))) * SMALL) == SMALL,
		      "pread");
	}
	printf("random %.1f\n", READS / (now() - start));
}

static void unpack(const char *archive, char **tar)
{
	double start = now();
	int status = 1;

	if (fork() == 0) {
		dup2(open(archive, O_RDONLY), STDIN_FILENO);
		execv(tar[0], tar);
		_exit(127);
	}
	check(wait(&status) > 0 && status == 0, "tar");
	sync();
	printf("tar %.1f\n", (now() - start) * 1000);
}

int main(int argc, char **argv)
{
	int fd;

	check(argc > 3 && chdir(argv[1]) == 0, "files DIRECTORY ARCHIVE TAR...");
	memset(buffer, 'x', sizeof(buffer));
	fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	check(fd >= 0, "file");
	write_file(fd);
	drop_caches();
	read_file(fd);
	drop_caches();
	read_random(fd);
	close(fd);
	check(unlink("file") == 0, "unlink");
	unpack(argv[2], argv + 3);
	return 0;
}
