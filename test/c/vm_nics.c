/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's NIC: it is opened and closed, carries frames both ways, and comes back
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "machine.h"

#define MTU 9000
#define ARP 42

static struct machine machine;

static const struct evum_nic first = {
	.mac = {2, 0x65, 0x76, 0, 0, 1},
	.mtu = MTU,
	.address = "10.0.0.2/24",
	.gateway = "10.0.0.1",
};
static const struct evum_nic second = {.mac = {2, 0x65, 0x76, 0, 0, 2}, .mtu = 1500};

static void start(void)
{
	struct evum_config config;

	evum_config_init(&config);
	config.nics[0] = first;
	config.nics[1] = second;
	config.nic_count = 2;
	machine_start(&machine, &config);
	CHECK(evum_vm_wait(machine.vm, EVUM_UP, 20000) == 0);
}

/* Asks who has 10.0.0.2. */
static void send_question(void)
{
	static const uint8_t question[ARP] = {
		/* to all, from 02:00:00:00:00:99, ARP */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x99, 8, 6,
		/* Ethernet, IPv4, a question */
		0, 1, 8, 0, 6, 4, 0, 1,
		/* 10.0.0.1 at our address asks for 10.0.0.2 */
		2, 0, 0, 0, 0, 0x99, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2};

	CHECK(send(machine.nic_fd, question, sizeof(question), 0) == sizeof(question));
}

/* The next frame that the guest sends to that address. */
static size_t next_frame(const uint8_t to[6], uint8_t *frame, size_t size)
{
	struct pollfd pfd = {.fd = machine.nic_fd, .events = POLLIN};
	ssize_t len;

	do {
		CHECK(poll(&pfd, 1, 10000) == 1);
		len = recv(machine.nic_fd, frame, size, 0);
		CHECK(len > 0);
	} while (memcmp(frame, to, 6) != 0);
	return (size_t)len;
}

static void a_guest_answers_a_question(void)
{
	static const uint8_t us[6] = {2, 0, 0, 0, 0, 0x99};
	uint8_t frame[MTU + 18];

	send_question();
	CHECK(next_frame(us, frame, sizeof(frame)) >= ARP);
	CHECK(memcmp(frame + 6, first.mac, 6) == 0);
	CHECK(frame[12] == 8 && frame[13] == 6 && frame[21] == 2);
	CHECK(memcmp(frame + 28, "\x0a\0\0\2", 4) == 0);
}

static void a_plugged_nic_is_up_with_the_machine(void)
{
	CHECK(machine.nic_fd >= 0 && machine.nic_ups == 1);
	a_guest_answers_a_question();
}

static void a_frame_is_as_long_as_the_mtu_allows(void)
{
	static const uint8_t us[6] = {2, 0, 0, 0, 0, 0x99};
	uint8_t frame[70000];

	CHECK(machine_sh(&machine, "ping -c 1 -W 1 -s 8972 10.0.0.1 >/dev/null & "
				   "sleep 0.1; cat /sys/class/net/eth0/mtu") == 0);
	CHECK(strcmp(machine.out, "9000\n") == 0);
	while (next_frame(us, frame, sizeof(frame)) != 14 + MTU)
		continue;
}

static void the_socket_is_neither_blocking_nor_the_default(void)
{
	int buffer = 0;
	socklen_t len = sizeof(buffer);
	char byte;

	while (recv(machine.nic_fd, &byte, 1, 0) > 0)
		continue;
	CHECK(errno == EAGAIN);
	CHECK(getsockopt(machine.nic_fd, SOL_SOCKET, SO_SNDBUF, &buffer, &len) == 0);
	CHECK(buffer > 212992);
}

static void a_nic_that_goes_down_and_up_is_another_socket(void)
{
	for (unsigned int i = 0; i < 3; i++) {
		CHECK(machine_sh(&machine, "ip link set eth0 down") == 0);
		while (machine.nic_fd >= 0)
			CHECK(evum_vm_wait(machine.vm, EVUM_NIC, 5000) == 0);
		CHECK(machine_sh(&machine, "ip link set eth0 up") == 0);
		while (machine.nic_fd < 0)
			CHECK(evum_vm_wait(machine.vm, EVUM_NIC, 5000) == 0);
		a_guest_answers_a_question();
	}
}

/* A storm of link changes waits in the guest, each of them for its turn. */
static void many_link_changes_leave_a_link(void)
{
	CHECK(machine_sh(&machine, "for i in 1 2 3 4 5 6 7 8 9 10; do "
				   "ip link set eth0 down; ip link set eth0 up; done") == 0);
	while (evum_vm_wait(machine.vm, EVUM_NIC, 200) == 0)
		continue;
	CHECK(machine.nic_fd >= 0);
	a_guest_answers_a_question();
}

static void every_nic_has_its_own_socket(void)
{
	unsigned int ups = machine.nic_ups;

	CHECK(machine_sh(&machine, "cat /sys/class/net/eth1/address") == 0);
	CHECK(strcmp(machine.out, "02:65:76:00:00:02\n") == 0);
	CHECK(machine_sh(&machine, "ip link set eth1 up") == 0);
	while (machine.nic_ups == ups)
		CHECK(evum_vm_wait(machine.vm, EVUM_NIC, 5000) == 0);
	a_guest_answers_a_question();
}

static void a_bad_nic_is_refused_with_a_sentence(void)
{
	static const struct {
		struct evum_nic nic;
		int err;
	} bad[] = {
		{{.mac = {2}, .mtu = 575}, -ERANGE},
		{{.mac = {2}, .mtu = 65151}, -ERANGE},
		{{.mac = {0}, .mtu = 1500}, -EINVAL},
		{{.mac = {3}, .mtu = 1500}, -EINVAL},
		{{.mac = {2}, .mtu = 1500, .domain = "a,b"}, -EINVAL},
		{{.mac = {2}, .mtu = 1500, .address = "10.0.0.1/8 init=/x"}, -EINVAL},
	};
	struct evum_config config;
	struct evum_error error;
	struct evum_vm *vm;

	evum_config_init(&config);
	config.initramfs = machine_initramfs();
	config.nic_count = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.nics[0] = bad[i].nic;
		CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) == bad[i].err);
		CHECK(strcmp(error.stage, "config") == 0 && error.text[0]);
	}
	config.nic_count = EVUM_NICS_MAX + 1;
	CHECK(evum_vm_start(&config, machine_handler, NULL, &vm, &error) == -E2BIG);
}

int main(void)
{
	a_bad_nic_is_refused_with_a_sentence();
	start();
	a_plugged_nic_is_up_with_the_machine();
	a_frame_is_as_long_as_the_mtu_allows();
	the_socket_is_neither_blocking_nor_the_default();
	a_nic_that_goes_down_and_up_is_another_socket();
	many_link_changes_leave_a_link();
	every_nic_has_its_own_socket();
	evum_vm_stop(machine.vm, 3000);
	machine_wait_down(&machine, EVUM_END_HALTED);
	return 0;
}
