/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: only the machine's init is heard, and only when it is ready
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"
#include "notify.h"
#include "own_namespaces.h"

static struct boot boot = {.notify = -1};

static int say(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0" NOTIFY_ADDRESS};
	const socklen_t len = offsetof(struct sockaddr_un, sun_path) + strlen(NOTIFY_ADDRESS) + 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int result;

	CHECK(fd >= 0);
	result = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, len) < 0
			 ? -errno
			 : 0;
	close(fd);
	return result;
}

static void other_words_are_read_and_forgotten(void)
{
	static const char *const words[] = {"", "STATUS=READY=1", "READY=10\n", "XREADY=1",
					    "READY=0\nSTATUS=x\n"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		CHECK(say(words[i]) == 0);
		CHECK(!notify_read(&boot) && *boot.ready == 0);
	}
}

static void others_are_not_heard(void)
{
	pid_t other = fork();

	if (other == 0)
		_exit(say("READY=1\n") == 0 ? 0 : 1);
	int status;
	CHECK(waitpid(other, &status, 0) == other && status == 0);
	CHECK(!notify_read(&boot) && *boot.ready == 0);
}

static void a_flood_is_read_a_little_at_a_time(void)
{
	int sent = 0;

	while (say("STATUS=busy") == 0)
		sent++;
	CHECK(sent > 0);
	for (int i = 0; i < sent; i++)
		CHECK(!notify_read(&boot));
	CHECK(say("") == 0);
	CHECK(!notify_read(&boot));
}

static void init_is_heard_once_and_nobody_after_it(void)
{
	CHECK(say("STATUS=up\nREADY=1\n") == 0);
	CHECK(notify_read(&boot) && *boot.ready == 1);
	CHECK(say("STATUS=more") == -EPIPE);
}

int main(void)
{
	if (!own_namespaces(CLONE_NEWNET))
		return CHECK_SKIP;
	boot.init = getpid();
	notify_open(&boot);
	CHECK(boot.notify >= 0 && boot.ready != NULL);
	other_words_are_read_and_forgotten();
	others_are_not_heard();
	a_flood_is_read_a_little_at_a_time();
	init_is_heard_once_and_nobody_after_it();
	return 0;
}
