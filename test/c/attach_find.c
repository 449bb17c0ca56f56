/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines are found by name, and nobody else's sockets are
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "find.h"

#define LISTENER "0000000000000000: 00000002 00000000 00010000 0001 01 4711 "
#define CONNECTED "0000000000000000: 00000003 00000000 00000000 0001 03 4712 "

static void a_listener_is_a_machine(void)
{
	struct machine machine;

	CHECK(find_parse(LISTENER "@evum/1000/test1/4242\n", &machine) == 0);
	CHECK(machine.uid == 1000 && machine.pid == 4242);
	CHECK(strcmp(machine.label, "test1") == 0);
}

static void what_is_no_machine_is_passed_over(void)
{
	static const char *const lines[] = {
		"Num       RefCount Protocol Flags    Type St Inode Path\n",
		CONNECTED "@evum/1000/test1/4242\n",
		LISTENER "@evum/1000/test1/\n",
		LISTENER "@evum/1000//4242\n",
		LISTENER "@evum/-1/test1/4242\n",
		LISTENER "@evum/1000/test1/4242/5\n",
		LISTENER "@evum/99999999999999999999/test1/1\n",
		LISTENER
		"@evum/1000/a234567890123456789012345678901234567890123456789012345678901234/1\n",
		LISTENER "/run/evum/1000/test1/4242\n",
		"@evum/\n",
		"",
	};
	struct machine machine;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		CHECK(find_parse(lines[i], &machine) == -EINVAL);
}

static void a_user_sees_its_own_and_root_all(void)
{
	char table[] = LISTENER "@evum/1000/a/1\n" LISTENER "@evum/1001/b/2\n";
	struct machine machines[4];
	FILE *file = fmemopen(table, strlen(table), "r");

	CHECK(file && find_list(file, 1001, machines, 4) == 1);
	CHECK(strcmp(machines[0].label, "b") == 0);
	rewind(file);
	CHECK(find_list(file, 0, machines, 4) == 2);
	rewind(file);
	CHECK(find_list(file, 0, machines, 1) == 1);
	fclose(file);
}

static void a_name_finds_the_one_machine(void)
{
	static const struct machine machines[] = {
		{0, 10, "a"}, {1000, 20, "a"}, {1000, 30, "b"}, {1000, 31, "b"}};

	CHECK(find_machine(machines, 4, 0, "a") == 0);
	CHECK(find_machine(machines, 4, 1000, "a") == 1);
	CHECK(find_machine(machines, 4, 0, "a/20") == 1);
	CHECK(find_machine(machines, 4, 1000, "b") == -ENOTUNIQ);
	CHECK(find_machine(machines, 4, 1000, "b/31") == 3);
	CHECK(find_machine(machines, 4, 1000, "c") == -ENOENT);
	CHECK(find_machine(machines, 4, 1000, "") == -ENOENT);
}

int main(void)
{
	a_listener_is_a_machine();
	what_is_no_machine_is_passed_over();
	a_user_sees_its_own_and_root_all();
	a_name_finds_the_one_machine();
	return 0;
}
