/* SPDX-License-Identifier: Apache-2.0 */
/* Packet sockets and taps: the program on its descriptors, the cable's other end here */
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "check.h"
#include "own_namespaces.h"
#include "uplink_guest.h"

#define ALL_PROTOCOLS 0x0003
#define VLAN_TAG 4u
#define JOINED_PAYLOAD 20000u
#define SEGMENT 1400u

static struct peer peer;
static struct guest guest = {&peer, {2, 'e', 'v', 'u', 1, 0}, 0x0a000002};
static struct guest other = {&peer, {2, 'o', 't', 'h', 'e', 'r'}, 0x0a000001};

/* --- the host ------------------------------------------------------------------ */

/* May we open it? Not where only root of the host may. */
static bool has_taps(void)
{
	return access("/dev/net/tun", R_OK | W_OK) == 0;
}

static void host_runs(const char *command)
{
	/* NOLINTNEXTLINE(cert-env33-c): ip(8) is what there is for it */
	CHECK(system(command) == 0);
}

/* Until an interface that has come up has its queue, some time later, it drops what is sent. */
static void await_queue(const char *interface)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "while ip link show dev %s | grep -q 'qdisc noop '; do :; done", interface);
	host_runs(command);
}

/* A socket that has the interface's frames; joined: with a virtio header before each. */
static int cable_open(const char *interface, bool joined)
{
	const int on = joined;
	struct sockaddr_ll name = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ALL_PROTOCOLS),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && name.sll_ifindex > 0);
	CHECK(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0);
	CHECK(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	await_queue(interface);
	return fd;
}

/* Is that frame among what the interface sees within a second? */
static bool cable_hears(int fd, const uint8_t *frame, size_t len)
{
	uint8_t bytes[2048];
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (poll(&wait, 1, 1000) == 1) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n == (ssize_t)len && memcmp(bytes, frame, len) == 0)
			return true;
	}
	return false;
}

/* --- the program ----------------------------------------------------------------- */

static void start(const char *call, const char *reply)
{
	guest_inbox.left = 0;
	peer_start(&peer);
	peer_expect(&peer, "{event,hello,#{version=>2,os_pid=>...");
	peer_call(&peer, "{call,1,%s}", call);
	peer_expect(&peer, reply);
}

static void stop(void)
{
	close(peer.in);
	peer.in = -1;
	peer_expect_exit(&peer, 0);
}

/* A datagram from one to the other, as a frame between their addresses. */
static size_t make_datagram(struct guest *from, const struct guest *to, uint8_t *frame,
			    const char *text)
{
	size_t len = guest_make_udp(from, frame, 1000, to->ip, 2000, text, strlen(text));

	memcpy(frame, to->mac, sizeof(to->mac));
	return len;
}

/* The next datagram of ours: the host's own chatter (IPv6) is passed over. */
static struct guest_packet receive_datagram(void)
{
	struct guest_packet packet;

	do
		packet = guest_receive(&peer);
	while (packet.type != 0x0800);
	return packet;
}

static bool hears_no_datagram(int ms)
{
	while (!guest_hears_nothing(&peer, ms))
		if (guest_receive(&peer).type == 0x0800)
			return false;
	return true;
}

/* --- claims ---------------------------------------------------------------------- */

static void frames_go_both_ways(const char *cable)
{
	int fd = cable_open(cable, false);
	uint8_t frame[2048];
	size_t len = make_datagram(&other, &guest, frame, "in");
	struct guest_packet packet;

	CHECK(write(fd, frame, len) == (ssize_t)len);
	packet = receive_datagram();
	CHECK(packet.nic == 0 && packet.len == 2 && memcmp(packet.data, "in", 2) == 0);
	len = make_datagram(&guest, &other, frame, "out");
	guest_send_frame(&guest, frame, len);
	CHECK(cable_hears(fd, frame, len));
	/* Our own doesn't come back. */
	CHECK(hears_no_datagram(50));
	close(fd);
}

/* What is counted, as text, which the caller frees. */
static char *counters(void)
{
	int channel;

	peer_call(&peer, "{call,2,info,[]}");
	/* The host's own chatter may come between. */
	do
		channel = peer_recv(&peer);
	while (channel == 2);
	CHECK(channel == 0);
	return text_of_term((char *)peer.frame + 1, (int)peer.len - 1);
}

static void too_long_a_frame_stays_here(void)
{
	static uint8_t frame[1600];
	char *text;

	guest_send_frame(&guest, frame, sizeof(frame));
	text = counters();
	CHECK(strstr(text, "tx_dropped=>1,"));
	free(text);
}

static void a_tap_is_made(void)
{
	start("tap,[\"tap0\"]", "{reply,1,{ok,1500}}");
	CHECK(if_nametoindex("tap0") > 0);
	stop();
	CHECK(if_nametoindex("tap0") == 0);
}

static void a_tap_of_before_is_taken(void)
{
	host_runs("ip tuntap add tap1 mode tap && ip link set tap1 mtu 1400 up");
	start("tap,[\"tap1\"]", "{reply,1,{ok,1400}}");
	frames_go_both_ways("tap1");
	too_long_a_frame_stays_here();
	stop();
}

static void an_interface_s_frames_come(void)
{
	host_runs(
		"ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	await_queue("v0");
	start("packet,[\"v0\"]", "{reply,1,{ok,1500}}");
	frames_go_both_ways("v1");
	too_long_a_frame_stays_here();
}

/* The host has the interface's own address; machines have others. */
static void what_is_the_host_s_own_does_not_come(void)
{
	struct guest host = guest;
	struct ifreq request = {.ifr_name = "v0"};
	int out = cable_open("v0", false);
	int fd = cable_open("v1", false);
	uint8_t frame[2048];
	size_t len;

	CHECK(ioctl(fd, SIOCGIFHWADDR, &request) == 0);
	memcpy(host.mac, request.ifr_hwaddr.sa_data, sizeof(host.mac));
	len = make_datagram(&other, &host, frame, "to the host");
	CHECK(write(fd, frame, len) == (ssize_t)len);
	len = make_datagram(&host, &other, frame, "from the host");
	CHECK(write(out, frame, len) == (ssize_t)len);
	CHECK(hears_no_datagram(50));
	close(out);
	close(fd);
}

static void a_tag_is_still_there(void)
{
	int fd = cable_open("v1", false);
	uint8_t frame[2048];
	size_t len = make_datagram(&other, &guest, frame + VLAN_TAG, "tagged") + VLAN_TAG;
	struct guest_packet packet;

	memmove(frame, frame + VLAN_TAG, 12);
	put16(frame + 12, 0x8100);
	put16(frame + 14, 42);
	CHECK(write(fd, frame, len) == (ssize_t)len);
	do
		packet = guest_receive(&peer);
	while (packet.type != 0x8100);
	CHECK(packet.len == len - GUEST_ETHER && memcmp(packet.data, frame + 14, packet.len) == 0);
	close(fd);
}

/* As programs of the host send: joined, and with a checksum that is begun. */
static void joined_segments_come_one_by_one(void)
{
	static uint8_t bytes[sizeof(struct virtio_net_hdr) + 54 + JOINED_PAYLOAD];
	static uint8_t payload[JOINED_PAYLOAD];
	struct virtio_net_hdr head = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = SEGMENT,
				      .csum_start = 34,
				      .csum_offset = 16};
	struct guest_tcp tcp = {.guest = &other, .ip = guest.ip, .port = 1, .other_port = 2};
	uint8_t *frame = bytes + sizeof(head);
	int fd = cable_open("v1", true);
	size_t got = 0;

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i % 251);
	guest_make_tcp(&tcp, frame, TH_ACK, payload, sizeof(payload));
	memcpy(frame, guest.mac, sizeof(guest.mac));
	put16(frame + 50, guest_add(IPPROTO_TCP + 20 + JOINED_PAYLOAD, frame + 26, 8));
	memcpy(bytes, &head, sizeof(head));
	CHECK(write(fd, bytes, sizeof(bytes)) == sizeof(bytes));
	while (got < sizeof(payload)) {
		/* guest_parse() has found the checksums right. */
		struct guest_packet packet = receive_datagram();

		CHECK(packet.protocol == IPPROTO_TCP && packet.len <= SEGMENT);
		CHECK(packet.sequence == got);
		CHECK(memcmp(packet.data, payload + got, packet.len) == 0);
		got += packet.len;
	}
	close(fd);
}

static void an_interface_that_goes_is_told(void)
{
	host_runs("ip link del v0");
	peer_expect_exit(&peer, 3);
}

/* The socket hears of the first only. */
static void an_interface_that_goes_down_and_away_is_told(void)
{
	host_runs(
		"ip link add v4 type veth peer name v5 && ip link set v4 up && ip link set v5 up");
	start("packet,[\"v4\"]", "{reply,1,{ok,1500}}");
	host_runs("ip link set v4 down && ip link set v4 up");
	frames_go_both_ways("v5");
	host_runs("ip link set v4 down");
	/* It has seen that. */
	free(counters());
	host_runs("ip link del v4");
	peer_expect_exit(&peer, 3);
}

static void what_cannot_be_had_is_said(void)
{
	host_runs("ip link add v2 type veth peer name v3");
	start("packet,[\"nix\"]", "{reply,1,{error,enodev}}");
	stop();
	start("packet,[\"v2\"]", "{reply,1,{error,enetdown}}");
	stop();
	start("packet,[\"a-name-that-is-too-long\"]", "{reply,1,{error,enametoolong}}");
	stop();
	start("tap,[\"v2\"]", has_taps() ? "{reply,1,{error,einval}}" : "{reply,1,{error,eperm}}");
	stop();
}

/* Before the test has namespaces of its own, in which it has privileges. */
static void an_ordinary_user_is_refused(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
		start("packet,[\"lo\"]", "{reply,1,{error,eperm}}");
		stop();
		start("tap,[\"tap0\"]", "{reply,1,{error,eperm}}");
		stop();
		exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
	static char program[4096];

	snprintf(program, sizeof(program), "%s/evum_uplink", getenv("EVUM_BINARY_DIR"));
	peer_program = program;
	/* A confined program can't be looked through for leaks. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	an_ordinary_user_is_refused();
	if (!own_namespaces(CLONE_NEWNET))
		return CHECK_SKIP;
	what_cannot_be_had_is_said();
	if (has_taps()) {
		a_tap_is_made();
		a_tap_of_before_is_taken();
	}
	an_interface_s_frames_come();
	what_is_the_host_s_own_does_not_come();
	a_tag_is_still_there();
	joined_segments_come_one_by_one();
	an_interface_that_goes_is_told();
	an_interface_that_goes_down_and_away_is_told();
	return 0;
}
