/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: files and trees arrive whole and right, or not at all
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "builtin_child.h"
#include "files_stream.h"
#include "own_namespaces.h"
#include "files.h"
#include "temporary.h"

#define BIG (20u << 20)

static char home[] = "/tmp/init_files_XXXXXX"; /* where every case begins, empty */

/* --- what there is --------------------------------------------------------- */

static int count_names(const char *directory)
{
	DIR *opened = opendir(directory);
	int count = 0;

	CHECK(opened != NULL);
	while (readdir(opened) != NULL)
		count++;
	closedir(opened);
	return count - 2;
}

static void empty_home(void)
{
	CHECK(chdir("/") == 0);
	temporary_remove(AT_FDCWD, home);
	CHECK(mkdir(home, 0700) == 0);
	CHECK(chdir(home) == 0);
}

static void write_file(const char *name, const void *bytes, size_t len, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0);
	CHECK(write(fd, bytes, len) == (ssize_t)len);
	CHECK(fchmod(fd, mode) == 0);
	close(fd);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text), 0644);
}

static uint8_t *read_all(int fd, size_t *len)
{
	uint8_t *bytes;

	CHECK(fd >= 0);
	bytes = child_bytes(fd, len);
	close(fd);
	return bytes;
}

static int holds(const char *name, const char *text)
{
	size_t len;
	uint8_t *bytes = read_all(open(name, O_RDONLY), &len);
	int same = len == strlen(text) && memcmp(bytes, text, len) == 0;

	free(bytes);
	return same;
}

static mode_t mode_of(const char *name)
{
	struct stat file;

	CHECK(lstat(name, &file) == 0);
	return file.st_mode;
}

static void set_time(int directory, const char *name, time_t seconds)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};

	CHECK(utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void same_entries(int a, int b, const char *name);

static void same_inside(int a, int b)
{
	DIR *opened = fdopendir(a);
	const struct dirent *found;

	CHECK(opened != NULL);
	while ((found = readdir(opened)) != NULL)
		if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
			same_entries(a, b, found->d_name);
	closedir(opened);
	close(b);
}

static void same_bytes(int a, int b)
{
	size_t a_len, b_len;
	uint8_t *a_bytes = read_all(a, &a_len), *b_bytes = read_all(b, &b_len);

	CHECK(a_len == b_len && memcmp(a_bytes, b_bytes, a_len) == 0);
	free(a_bytes);
	free(b_bytes);
}

static void same_links(int a, int b, const char *name)
{
	char a_text[PATH_MAX] = "", b_text[PATH_MAX] = "";

	CHECK(readlinkat(a, name, a_text, sizeof(a_text) - 1) > 0);
	CHECK(readlinkat(b, name, b_text, sizeof(b_text) - 1) > 0);
	CHECK(strcmp(a_text, b_text) == 0);
}

/* Checks that name is the same in directories a and b, with all below it. */
static void same_entries(int a, int b, const char *name)
{
	struct stat a_file, b_file;
	int a_fd, b_fd;

	CHECK(fstatat(a, name, &a_file, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK(fstatat(b, name, &b_file, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK(a_file.st_mode == b_file.st_mode);
	CHECK(a_file.st_uid == b_file.st_uid && a_file.st_gid == b_file.st_gid);
	CHECK(a_file.st_mtime == b_file.st_mtime);
	if (S_ISLNK(a_file.st_mode)) {
		same_links(a, b, name);
		return;
	}
	a_fd = openat(a, name, O_RDONLY);
	b_fd = openat(b, name, O_RDONLY);
	if (S_ISDIR(a_file.st_mode))
		same_inside(a_fd, b_fd);
	else
		same_bytes(a_fd, b_fd);
}

/* Checks that two directories hold the same. */
static void same_trees(const char *a, const char *b)
{
	CHECK(count_names(a) == count_names(b));
	same_inside(open(a, O_RDONLY), open(b, O_RDONLY));
}

/* --- the commands ---------------------------------------------------------- */

/* Runs "put path mode owner" on bytes; the text that it leaves goes to err, if that isn't NULL. */
static int put_with(const void *bytes, size_t len, const char *path, const char *mode,
		    const char *owner, char err[CHILD_TEXT_MAX])
{
	const char *args[] = {"put", path, mode, owner, NULL};
	int in = child_file(bytes, len), text = child_file("", 0), status;
	ssize_t got;

	status = child_status(child_start(args, in, text, text));
	if (err != NULL) {
		got = pread(text, err, CHILD_TEXT_MAX - 1, 0);
		CHECK(got >= 0);
		err[got] = '\0';
	}
	close(in);
	close(text);
	return status;
}

static int put_stream(const struct file_stream *stream, const char *path)
{
	return put_with(stream->bytes, stream->len, path, "", "", NULL);
}

static int put_text(const char *path, const char *text, const char *mode, const char *owner)
{
	static struct file_stream stream;

	stream.len = 0;
	add_file(&stream, "", text);
	add_text(&stream, "e");
	return put_with(stream.bytes, stream.len, path, mode, owner, NULL);
}

/* Runs "get path", with its output to out and its errors to err. */
static int get(const char *path, int out, int err)
{
	const char *args[] = {"get", path, NULL};
	int in = child_file("", 0), status;

	status = child_status(child_start(args, in, out, err));
	close(in);
	return status;
}

static int get_status(const char *path)
{
	int out = child_file("", 0), status = get(path, out, out);

	close(out);
	return status;
}

/* Pipes get into put, as two machines would. */
static void copy(const char *from, const char *to)
{
	const char *get_args[] = {"get", from, NULL}, *put_args[] = {"put", to, "", "", NULL};
	int ends[2];
	pid_t getter, putter;

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	getter = child_start(get_args, 0, ends[1], 2);
	putter = child_start(put_args, ends[0], 1, 2);
	close(ends[0]);
	close(ends[1]);
	CHECK(child_status(getter) == 0);
	CHECK(child_status(putter) == 0);
}

/* --- cases ----------------------------------------------------------------- */

static void files_of_all_sizes(void)
{
	static const size_t sizes[] = {0, 1, 131071, 131072, 131073, 262144, BIG};
	uint8_t *bytes = malloc(BIG);
	size_t i;

	CHECK(bytes != NULL);
	for (i = 0; i < BIG; i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		write_file("from", bytes, sizes[i], 0640);
		set_time(AT_FDCWD, "from", 1234567890);
		copy("from", "to");
		same_bytes(open("from", O_RDONLY), open("to", O_RDONLY));
		CHECK(mode_of("to") == (S_IFREG | 0640));
		CHECK(count_names(".") == 2);
	}
	free(bytes);
}

static void trees_with_odd_names(void)
{
	char longest[FILES_NAME_MAX + 1];
	int i;

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	CHECK(mkdir("from", 0755) == 0 && chdir("from") == 0);
	CHECK(mkdir("empty", 0700) == 0 && mkdir("full", 0755) == 0);
	write_text("full/a\nb", "newline");
	write_text("full/\xff\xfe", "no UTF-8");
	write_text("full/...", "dots");
	write_text(longest, "long");
	write_file("full/program", "x", 1, 04755);
	write_file("full/secret", "y", 1, 0);
	CHECK(symlink("full/../..", "link") == 0 && symlink("/nowhere", "full/dangling") == 0);
	for (i = 0; i < 300; i++) {
		snprintf(longest, sizeof(longest), "empty/%d", i);
		write_text(longest, longest);
	}
	set_time(AT_FDCWD, "link", -5);
	set_time(AT_FDCWD, "full/...", 5000000000);
	CHECK(chmod("full", 0555) == 0);
	set_time(AT_FDCWD, "full", 7);
	CHECK(chdir("..") == 0);
	if (geteuid() != 0)
		CHECK(chmod("from/full/secret", 0400) == 0);
	copy("from", "to");
	same_trees("from", "to");
}

static void files_of_proc(void)
{
	uint8_t limits[4096];
	ssize_t len;
	int fd = open("/proc/self/limits", O_RDONLY);
	size_t copied;
	uint8_t *bytes;

	copy("/proc/self/limits", "limits");
	len = read(fd, limits, sizeof(limits));
	close(fd);
	bytes = read_all(open("limits", O_RDONLY), &copied);
	CHECK(len > 0 && copied == (size_t)len && memcmp(bytes, limits, copied) == 0);
	free(bytes);
}

static void a_link_is_followed_at_the_top(void)
{
	write_text("real", "one");
	CHECK(symlink("real", "link") == 0 && symlink("link", "linklink") == 0);
	copy("linklink", "copy");
	CHECK(S_ISREG(mode_of("copy")) && holds("copy", "one"));
	CHECK(put_text("linklink", "two", "", "") == 0);
	CHECK(S_ISLNK(mode_of("link")) && S_ISLNK(mode_of("linklink")) && holds("real", "two"));
	CHECK(symlink("new", "dangling") == 0 && put_text("dangling", "three", "", "") == 0);
	CHECK(S_ISLNK(mode_of("dangling")) && holds("new", "three"));
	CHECK(symlink("loop", "loop") == 0 && put_text("loop", "x", "", "") == ELOOP);
	CHECK(mkdir("d", 0755) == 0 && symlink("../real", "d/up") == 0);
	CHECK(put_text("d/up", "four", "", "") == 0 && holds("real", "four"));
}

static void what_can_not_be_sent(void)
{
	int out = child_file("", 0), err = child_file("", 0);
	uint8_t *text;
	size_t len;

	CHECK(get_status("missing") == ENOENT && get_status("/dev/null") == EOPNOTSUPP);
	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0 && mkfifo("d/e/f", 0600) == 0);
	CHECK(get_status("d/e/f") == EOPNOTSUPP);
	CHECK(get("d", out, err) == EOPNOTSUPP);
	text = child_bytes(err, &len);
	CHECK(strcmp((char *)text, "d/e/f") == 0);
	free(text);
	close(out);
	close(err);
}

static void nobody_reads(void)
{
	int ends[2], err = child_file("", 0);

	write_text("file", "text");
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	close(ends[0]);
	CHECK(get("file", ends[1], err) == EPIPE);
	close(ends[1]);
	close(err);
}

static void mode_and_owner(void)
{
	struct stat file;

	write_file("old", "x", 1, 04711);
	CHECK(put_text("old", "y", "", "") == 0 && mode_of("old") == (S_IFREG | 0711));
	CHECK(put_text("new", "y", "", "") == 0 && mode_of("new") == (S_IFREG | 0644));
	CHECK(put_text("old", "y", "4755", "") == 0 && mode_of("old") == (S_IFREG | 04755));
	CHECK(put_text("old", "y", "8", "") == EINVAL &&
	      put_text("old", "y", "10000", "") == EINVAL);
	CHECK(put_text("old", "y", "-1", "") == EINVAL && put_text("old", "y", " 7", "") == EINVAL);
	CHECK(put_text("old", "y", "", "1:") == EINVAL && put_text("old", "y", "", ":1") == EINVAL);
	CHECK(put_text("old", "y", "", "4294967295:1") == EINVAL);
	CHECK(put_text("old", "y", "", "no such user") == ESRCH);
	CHECK(stat("old", &file) == 0 && file.st_uid == geteuid() && file.st_mtime == 1000000000);
	if (geteuid() != 0)
		return;
	CHECK(put_text("old", "y", "6755", "12:34") == 0 && mode_of("old") == (S_IFREG | 06755));
	CHECK(stat("old", &file) == 0 && file.st_uid == 12 && file.st_gid == 34);
	CHECK(put_text("old", "z", "", "") == 0);
	CHECK(stat("old", &file) == 0 && file.st_uid == 12 && file.st_gid == 34);
	CHECK(put_text("old", "z", "", "root") == 0);
	CHECK(stat("old", &file) == 0 && file.st_uid == 0 && file.st_gid == 0);
}

static void what_is_there_already(void)
{
	static struct file_stream tree;

	tree.len = 0;
	add_named(&tree, 'd', "");
	add_file(&tree, "f", "new");
	add_text(&tree, "ue");
	CHECK(mkdir("d", 0750) == 0 && put_text("d", "x", "", "") == EISDIR);
	CHECK(put_text("d/", "x", "", "") == EISDIR && put_text("new/", "x", "", "") == EISDIR);
	CHECK(put_text(".", "x", "", "") == EISDIR && put_text("/", "x", "", "") == EISDIR);
	CHECK(put_text("", "x", "", "") == ENOENT && put_text("no/file", "x", "", "") == ENOENT);
	write_text("file", "old");
	CHECK(put_text("file/x", "x", "", "") == ENOTDIR && put_stream(&tree, "file") == ENOTDIR);
	CHECK(put_stream(&tree, "no/tree") == ENOENT);
	CHECK(mkfifo("fifo", 0600) == 0 && put_text("fifo", "x", "", "") == EOPNOTSUPP);
	write_text("d/mine", "stays");
	CHECK(put_stream(&tree, "d") == 0 && holds("d/f", "new") && holds("d/mine", "stays"));
	CHECK(mode_of("d") == (S_IFDIR | 0750));
	CHECK(put_stream(&tree, "d/sub/") == 0 && holds("d/sub/f", "new"));
	CHECK(chdir("d/sub") == 0 && put_stream(&tree, "..") == 0 && put_stream(&tree, ".") == 0);
	CHECK(chdir("../..") == 0 && symlink("d", "link") == 0 && put_stream(&tree, "link") == 0);
	CHECK(count_names(".") == 4 && count_names("d") == 3);
}

/* A link in the tree may have been laid by somebody in the machine. */
static void links_below_the_top_are_replaced(void)
{
	static struct file_stream tree;
	char err[CHILD_TEXT_MAX];

	CHECK(mkdir("d", 0755) == 0 && mkdir("outside", 0755) == 0);
	write_text("victim", "safe");
	CHECK(symlink("../victim", "d/f") == 0 && symlink("../outside", "d/l") == 0);
	tree.len = 0;
	add_named(&tree, 'd', "");
	add_file(&tree, "f", "new");
	add_link(&tree, "l", "elsewhere");
	add_text(&tree, "ue");
	CHECK(put_stream(&tree, "d") == 0 && S_ISREG(mode_of("d/f")) && holds("victim", "safe"));
	CHECK(unlink("d/l") == 0 && symlink("../outside", "d/l") == 0);
	tree.len = 0;
	add_named(&tree, 'd', "");
	add_named(&tree, 'd', "l");
	add_file(&tree, "f", "new");
	add_text(&tree, "uue");
	CHECK(put_with(tree.bytes, tree.len, "d", "", "", err) == ENOTDIR);
	CHECK(strcmp(err, "d/l") == 0 && count_names("outside") == 0);
}

/* Everything that the grammar has; depth first. */
static void make_example(struct file_stream *stream)
{
	stream->len = 0;
	add_entry(stream, 'd', 0755, UNSET, "", 0);
	add_file(stream, "f", "some text");
	add_entry(stream, 'd', 0500, UNSET, "d", 1);
	add_link(stream, "l", "../f");
	add_file(stream, "e", "");
	add_text(stream, "uue");
}

static void a_stream_cut_off_leaves_nothing(void)
{
	static struct file_stream stream;
	size_t len;

	make_example(&stream);
	for (len = 0; len < stream.len; len++) {
		CHECK(put_with(stream.bytes, len, "t", "", "", NULL) == ECANCELED);
		CHECK(count_names(".") == 0);
	}
	CHECK(put_stream(&stream, "t") == 0 && count_names(".") == 1);
}

static void expect(const struct file_stream *stream, int status)
{
	int result = put_stream(stream, "t");

	if (result != status)
		fprintf(stderr, "status %d, not %d\n", result, status);
	CHECK(result == status);
	CHECK(count_names(".") == 0);
}

static void bad_names(void)
{
	static const struct {
		const char *name;
		size_t len;
	} names[] = {{"", 0}, {".", 1}, {"..", 2}, {"a/b", 3}, {"/", 1}, {"/etc", 4}, {"a\0b", 3}};
	static struct file_stream stream;
	char longer[FILES_NAME_MAX + 1];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		stream.len = 0;
		add_named(&stream, 'd', "");
		add_entry(&stream, 'f', UNSET, UNSET, names[i].name, names[i].len);
		add_content(&stream, "x");
		add_text(&stream, "ue");
		expect(&stream, EPROTO);
	}
	stream.len = 0;
	add_named(&stream, 'd', "");
	memset(longer, 'n', sizeof(longer));
	add_entry(&stream, 'f', UNSET, UNSET, longer, sizeof(longer));
	add_content(&stream, "x");
	add_text(&stream, "ue");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_named(&stream, 'f', "named");
	add_content(&stream, "x");
	add_text(&stream, "e");
	expect(&stream, EPROTO);
}

static void no_streams(void)
{
	static const char *const texts[] = {"e", "u", "x", "F", "GET / HTTP/1.0"};
	static struct file_stream stream;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		stream.len = 0;
		add_text(&stream, texts[i]);
		expect(&stream, EPROTO);
	}
	stream.len = 0;
	add_named(&stream, 'd', "");
	add_text(&stream, "e");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_file(&stream, "", "text");
	add_text(&stream, "u");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_file(&stream, "", "text");
	add_file(&stream, "", "text");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_entry(&stream, 'f', 010000, UNSET, "", 0);
	add_content(&stream, "x");
	add_text(&stream, "e");
	expect(&stream, EPROTO);
}

static void bad_contents(void)
{
	static struct file_stream stream;

	stream.len = 0;
	add_file(&stream, "", "text");
	stream.bytes[stream.len - 1] ^= 1;
	add_text(&stream, "e");
	expect(&stream, EBADMSG);
	stream.len = 0;
	add_named(&stream, 'f', "");
	add_number(&stream, FILES_PIECE_MAX + 1, 4);
	expect(&stream, EPROTO);
	stream.len = 0;
	add_link(&stream, "", "");
	add_text(&stream, "e");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_named(&stream, 'l', "");
	add_number(&stream, 3, 2);
	add_bytes(&stream, "a\0b", 3);
	add_text(&stream, "e");
	expect(&stream, EPROTO);
	stream.len = 0;
	add_named(&stream, 'l', "");
	add_number(&stream, FILES_TARGET_MAX + 1, 2);
	expect(&stream, ENAMETOOLONG);
	stream.len = 0;
	add_named(&stream, 'd', "");
	add_file(&stream, "twice", "1");
	add_file(&stream, "twice", "2");
	add_text(&stream, "ue");
	expect(&stream, EEXIST);
}

static void make_nested(struct file_stream *stream, int depth)
{
	int i;

	stream->len = 0;
	for (i = 0; i < depth; i++)
		add_named(stream, 'd', i == 0 ? "" : "d");
	for (i = 0; i < depth; i++)
		add_text(stream, "u");
	add_text(stream, "e");
}

static void depth_is_bounded(void)
{
	static struct file_stream stream;
	int fd, i;

	make_nested(&stream, FILES_DEPTH_MAX + 1);
	expect(&stream, ELOOP);
	make_nested(&stream, FILES_DEPTH_MAX);
	CHECK(put_stream(&stream, "t") == 0);
	CHECK(put_stream(&stream, "t") == 0);
	copy("t", "u");
	same_trees("t", "u");
	fd = open("t", O_RDONLY);
	for (i = 1; i < FILES_DEPTH_MAX; i++) {
		int next = openat(fd, "d", O_RDONLY);

		close(fd);
		fd = next;
	}
	CHECK(mkdirat(fd, "d", 0755) == 0);
	CHECK(get_status("t") == ELOOP);
	CHECK(unlinkat(fd, "d", AT_REMOVEDIR) == 0);
	close(fd);
}

/* Waits until something is made in the directory that is watched. */
static void wait_made(int watch)
{
	char event[4096];

	CHECK(read(watch, event, sizeof(event)) > 0);
}

/* Sends the first len bytes of a stream, then asks the receiver to go. */
static void stop_after(const struct file_stream *stream, size_t len, int signal)
{
	const char *args[] = {"put", "t", "", "", NULL};
	int ends[2], watch = inotify_init1(IN_CLOEXEC), err = child_file("", 0);
	pid_t pid;

	CHECK(inotify_add_watch(watch, ".", IN_CREATE) >= 0);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	pid = child_start(args, ends[0], err, err);
	CHECK(write(ends[1], stream->bytes, len) == (ssize_t)len);
	wait_made(watch);
	CHECK(count_names(".") == 1);
	CHECK(kill(pid, signal) == 0);
	CHECK(child_status(pid) == ECANCELED);
	CHECK(count_names(".") == 0);
	close(ends[0]);
	close(ends[1]);
	close(watch);
	close(err);
}

static void stopped_midway(void)
{
	static struct file_stream stream;

	make_example(&stream);
	stop_after(&stream, stream.len - 1, SIGTERM);
	stop_after(&stream, 40, SIGINT);
	stream.len = 0;
	add_file(&stream, "", "text");
	stop_after(&stream, stream.len, SIGTERM);
}

static void a_file_may_be_too_big(void)
{
	struct rlimit limit, old;
	static struct file_stream stream;
	static char text[100001];

	memset(text, 'x', sizeof(text) - 1);
	stream.len = 0;
	add_named(&stream, 'd', "");
	add_file(&stream, "f", text);
	add_text(&stream, "ue");
	CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
	limit = old;
	limit.rlim_cur = 50000;
	/* The stream lies in a file too, so it is made before. */
	{
		int in = child_file(stream.bytes, stream.len), err = child_file("", 0);
		const char *args[] = {"put", "t", "", "", NULL};

		CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		CHECK(child_status(child_start(args, in, err, err)) == EFBIG);
		CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
		close(in);
		close(err);
	}
	CHECK(count_names(".") == 0);
}

static void put_on_full_disk(void)
{
	static struct file_stream stream;
	static char text[100001];
	int i;

	memset(text, 'x', sizeof(text) - 1);
	stream.len = 0;
	add_named(&stream, 'd', "");
	add_file(&stream, "first", text);
	add_file(&stream, "second", text);
	add_text(&stream, "ue");
	for (i = 0; i < 3; i++)
		expect(&stream, ENOSPC);
	CHECK(put_text("t", "little", "", "") == 0);
}

static int may_mount(void)
{
	if (!own_namespaces(CLONE_NEWNS))
		return 0;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", home, "tmpfs", 0, "size=128k,mode=777") == 0;
}

/* In a child, whose mount goes with it. */
static void a_disk_may_be_full(void)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		if (!may_mount())
			_exit(CHECK_SKIP);
		CHECK(chdir(home) == 0);
		put_on_full_disk();
		_exit(0);
	}
	status = child_status(pid);
	CHECK(status == 0 || status == CHECK_SKIP);
	if (status == CHECK_SKIP)
		fputs("no disk to fill: nothing may be mounted here\n", stderr);
}

static void wrong_commands(void)
{
	static const char *const wrong[][CHILD_ARGS_MAX + 1] = {
		{NULL},
		{"no", NULL},
		{"get", NULL},
		{"get", "a", "b", NULL},
		{"put", "x", NULL},
		{"await", NULL},
	};
	int err = child_file("", 0);
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK(child_status(child_start(wrong[i], err, err, err)) == EINVAL);
	close(err);
}

int main(void)
{
	static void (*const cases[])(void) = {
		files_of_all_sizes,
		trees_with_odd_names,
		files_of_proc,
		a_link_is_followed_at_the_top,
		what_can_not_be_sent,
		nobody_reads,
		mode_and_owner,
		what_is_there_already,
		links_below_the_top_are_replaced,
		a_stream_cut_off_leaves_nothing,
		bad_names,
		no_streams,
		bad_contents,
		depth_is_bounded,
		stopped_midway,
		a_file_may_be_too_big,
		a_disk_may_be_full,
		wrong_commands,
	};
	size_t i;

	umask(022);
	CHECK(mkdtemp(home) != NULL);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		empty_home();
		cases[i]();
	}
	CHECK(chdir("/") == 0);
	temporary_remove(AT_FDCWD, home);
	return 0;
}
