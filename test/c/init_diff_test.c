/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: what an overlay wrote is told as what was added, changed and removed
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "builtin_child.h"
#include "diff.h"
#include "own_namespaces.h"
#include "temporary.h"

static char home[] = "/tmp/init_diff_XXXXXX";

static void make_directory(const char *path)
{
	CHECK(mkdir(path, 0755) == 0);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Both trees, empty but for a directory that both have. */
static void begin(void)
{
	CHECK(chdir("/") == 0);
	temporary_remove(AT_FDCWD, home);
	make_directory(home);
	CHECK(chdir(home) == 0);
	make_directory("upper");
	make_directory("lower");
	make_directory("upper/d");
	make_directory("lower/d");
}

/* The records, with a newline for each zero byte; freed by the caller. */
static char *told(int *status)
{
	int out = child_file("", 0);
	uint8_t *bytes;
	size_t len;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		_exit(diff_write("upper", "lower"));
	}
	*status = child_status(pid);
	bytes = child_bytes(out, &len);
	close(out);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == '\0')
			bytes[i] = '\n';
	return (char *)bytes;
}

/* Is just this told? */
static bool is_told(const char *text)
{
	int status;
	char *found = told(&status);
	bool same = status == 0 && strcmp(found, text) == 0;

	if (!same)
		fprintf(stderr, "%d: %s\n", status, found);
	free(found);
	return same;
}

static void nothing_was_changed(void)
{
	begin();
	CHECK(is_told(""));
	/* only touched, or copied up by an open */
	write_text("lower/d/f", "same");
	write_text("upper/d/f", "same");
	CHECK(symlink("t", "lower/d/l") == 0 && symlink("t", "upper/d/l") == 0);
	CHECK(is_told(""));
}

static void what_is_new_was_added(void)
{
	begin();
	write_text("upper/d/f", "");
	CHECK(is_told("A/d/f\n"));
	make_directory("upper/d/e");
	make_directory("upper/d/e/n");
	CHECK(unlink("upper/d/f") == 0);
	CHECK(is_told("A/d/e\nA/d/e/n\n"));
}

static void what_differs_was_changed(void)
{
	static char bytes[100000];

	begin();
	memset(bytes, 'x', sizeof(bytes) - 1);
	write_text("lower/d/f", bytes);
	write_text("upper/d/f", bytes);
	CHECK(is_told(""));
	bytes[sizeof(bytes) - 2] = 'y';
	write_text("upper/d/f", bytes);
	CHECK(is_told("C/d/f\n"));
	write_text("upper/d/f", "shorter");
	CHECK(is_told("C/d/f\n"));
	write_text("lower/d/f", "shorter");
	CHECK(chmod("upper/d/f", 0600) == 0);
	CHECK(is_told("C/d/f\n"));
	CHECK(unlink("upper/d/f") == 0 && symlink("t", "upper/d/f") == 0);
	CHECK(is_told("C/d/f\n"));
	CHECK(unlink("lower/d/f") == 0 && symlink("u", "lower/d/f") == 0);
	CHECK(is_told("C/d/f\n"));
	CHECK(unlink("upper/d/f") == 0);
	CHECK(chmod("upper/d", 0700) == 0);
	CHECK(is_told("C/d\n"));
}

static void what_was_a_file_is_a_directory(void)
{
	begin();
	write_text("lower/d/f", "");
	make_directory("upper/d/f");
	write_text("upper/d/f/g", "");
	CHECK(is_told("C/d/f\nA/d/f/g\n"));
}

static void what_is_hidden_was_removed(void)
{
	begin();
	write_text("lower/d/f", "");
	if (mknod("upper/d/f", S_IFCHR | 0600, makedev(0, 0)) < 0)
		return;
	CHECK(is_told("R/d/f\n"));
	/* there never was one */
	CHECK(unlink("lower/d/f") == 0);
	CHECK(is_told(""));
}

static void an_opaque_directory_hides_all(void)
{
	begin();
	if (setxattr("upper/d", "trusted.overlay.opaque", "y", 1, 0) < 0)
		return;
	make_directory("lower/d/e");
	make_directory("upper/d/e");
	write_text("lower/d/e/f", "");
	write_text("lower/d/e/g", "");
	write_text("upper/d/e/g", "");
	CHECK(is_told("R/d/e/f\n"));
	CHECK(rmdir("upper/d/e") < 0 && unlink("upper/d/e/g") == 0 && rmdir("upper/d/e") == 0);
	CHECK(is_told("R/d/e\n"));
}

static void names_may_be_anything(void)
{
	begin();
	write_text("upper/d/a\nb \xff", "");
	CHECK(is_told("A/d/a\nb \xff\n"));
}

static void errors_name_what_they_are_about(void)
{
	int status;
	char *found;

	begin();
	CHECK(rmdir("lower/d") == 0 && rmdir("lower") == 0);
	found = told(&status);
	CHECK(status == ENOENT && strcmp(found, "") == 0);
	free(found);
	/* deeper than is walked */
	begin();
	CHECK(chdir("upper") == 0);
	for (int i = 0; i < 140; i++)
		CHECK(mkdir("d2", 0755) == 0 && chdir("d2") == 0);
	CHECK(chdir(home) == 0);
	found = told(&status);
	CHECK(status == ELOOP);
	free(found);
}

int main(void)
{
	if (!own_namespaces(0)) {
		fprintf(stderr, "no namespaces for an ordinary user here\n");
		return CHECK_SKIP;
	}
	CHECK(mkdtemp(home) != NULL);
	nothing_was_changed();
	what_is_new_was_added();
	what_differs_was_changed();
	what_was_a_file_is_a_directory();
	what_is_hidden_was_removed();
	an_opaque_directory_hides_all();
	names_may_be_anything();
	errors_name_what_they_are_about();
	CHECK(chdir("/") == 0);
	temporary_remove(AT_FDCWD, home);
	return 0;
}
