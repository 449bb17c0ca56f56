/* SPDX-License-Identifier: Apache-2.0 */
/* The way out by libslirp, and the way in: the program on its descriptors */
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "check.h"
#include "own_namespaces.h"
#include "uplink_guest.h"

#define GATEWAY_IP 0x0a4d0001u
#define GUEST_IP 0x0a4d0002u
#define HOST_IP 0xc0000201u /* 192.0.2.1, which the test's own host has */
#define GATEWAY "\"\nM^\x01\""
#define LOOPBACK "\"\x7f^^\x01\""
#define ANY "\"^^^^\""
#define MAC1     \
	"\"\x02" \
	"evu\x01^\""
#define MAC1_IP "\"\nM^\x02\""

static struct peer peer;
static struct guest guest = {&peer, {2, 'e', 'v', 'u', 1}, GUEST_IP};

/* --- the host ----------------------------------------------------------------- */

static void host_set_address(const char *name, uint32_t ip, uint32_t mask)
{
	struct ifreq request = {0};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	CHECK(ioctl(fd, SIOCSIFADDR, &request) == 0);
	address.sin_addr.s_addr = htonl(mask);
	memcpy(&request.ifr_netmask, &address, sizeof(address));
	CHECK(ioctl(fd, SIOCSIFNETMASK, &request) == 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	close(fd);
}

static struct sockaddr_in name_of(uint32_t ip, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons(port)};
}

/* A socket of the host that is bound, and listens where it is TCP's; *port: what it got. */
static int host_open(int type, uint32_t ip, uint16_t *port)
{
	struct sockaddr_in name = name_of(ip, *port);
	socklen_t size = sizeof(name);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	CHECK(type != SOCK_STREAM || listen(fd, 100) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&name, &size) == 0);
	*port = ntohs(name.sin_port);
	return fd;
}

static int host_connect(uint16_t port)
{
	struct sockaddr_in name = name_of(INADDR_LOOPBACK, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	return fd;
}

/* Within a second, there is something to read or accept. */
static bool host_hears(int fd, int ms)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, ms) == 1;
}

static void host_reads(int fd, const char *text)
{
	char bytes[256];

	CHECK(host_hears(fd, PEER_PATIENCE_MS));
	CHECK(read(fd, bytes, sizeof(bytes)) == (ssize_t)strlen(text));
	CHECK(memcmp(bytes, text, strlen(text)) == 0);
}

/* --- the program ---------------------------------------------------------------- */

static void start(const char *restricted, const char *host_ports)
{
	guest_inbox.left = 0;
	peer_start(&peer);
	peer_expect(&peer, "{event,hello,#{version=>1,os_pid=>...");
	peer_call(&peer, "{call,1,slirp,[" GATEWAY ",24,%d,%s,false,[%s]]}", GUEST_MTU, restricted,
		  host_ports);
	peer_expect(&peer, "{reply,1,ok}");
	peer_call(&peer, "{call,2,machine_add,[" MAC1 "," MAC1_IP "]}");
	peer_expect(&peer, "{reply,2,ok}");
}

static void stop(void)
{
	close(peer.in);
	peer.in = -1;
	peer_expect_exit(&peer, 0);
}

static uint16_t forward(const char *proto, const char *host, uint16_t guest_port)
{
	long port;
	char *text;

	peer_call(&peer, "{call,3,forward_add,[%s,%s,0," MAC1 "," MAC1_IP ",%d]}", proto, host,
		  guest_port);
	text = peer_recv_text(&peer);
	CHECK(strncmp(text, "{reply,3,{ok,", 13) == 0);
	port = strtol(text + 13, NULL, 10);
	CHECK(port > 0);
	free(text);
	return (uint16_t)port;
}

/* --- claims --------------------------------------------------------------------- */

static void a_connection_goes_out_and_ends(void)
{
	static char bytes[100000];
	uint16_t port = 0;
	int listener = host_open(SOCK_STREAM, HOST_IP, &port);
	struct guest_tcp tcp = guest_tcp_to(&guest, HOST_IP, port);
	struct guest_packet packet;
	size_t got = 0;
	int fd;

	start("false", "");
	CHECK(guest_connect(&tcp));
	fd = accept(listener, NULL, NULL);
	guest_send_tcp(&tcp, TH_ACK | TH_PSH, "hello", 5);
	host_reads(fd, "hello");
	CHECK(write(fd, bytes, sizeof(bytes)) == sizeof(bytes));
	close(fd);
	do {
		packet = guest_receive_tcp(&tcp);
		got += packet.len;
	} while (!(packet.flags & TH_FIN));
	CHECK(got == sizeof(bytes));
	close(listener);
	stop();
}

static void what_nobody_may_reach_is_blocked(void)
{
	static const uint32_t targets[] = {0x7f000001, 0x7f010203, 0x00000000, 0x00000001,
					   0xe0000001, 0xf0000001, 0xffffffff, 0xa9fea9fe,
					   0x0a4d00ff, 0x0a4d0009};
	uint16_t port = 0;
	int tcp_listener = host_open(SOCK_STREAM, INADDR_ANY, &port);
	int udp_listener = host_open(SOCK_DGRAM, INADDR_ANY, &port);

	start("false", "");
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct guest_tcp tcp = guest_tcp_to(&guest, targets[i], port);

		guest_send_tcp(&tcp, TH_SYN, NULL, 0);
		guest_send_udp(&guest, 1234, targets[i], port, "x");
	}
	peer_call(&peer, "{call,9,info,[]}");
	{
		char *text = peer_recv_text(&peer);

		CHECK(strstr(text, "tx_blocked=>20,") && strstr(text, "sockets=>0,"));
		free(text);
	}
	CHECK(!host_hears(tcp_listener, 50) && !host_hears(udp_listener, 0));
	close(tcp_listener);
	close(udp_listener);
	stop();
}

/* A client's connection comes in, with the gateway's address where the client is on loopback. */
static struct guest_tcp accept_forwarded(uint16_t guest_port)
{
	struct guest_packet syn = guest_receive(&peer);
	struct guest_tcp tcp = {
		.guest = &guest, .ip = syn.source, .port = guest_port, .next = 5000};

	CHECK(syn.protocol == IPPROTO_TCP && syn.flags == TH_SYN && syn.target_port == guest_port);
	tcp.other_port = syn.source_port;
	tcp.seen = syn.sequence + 1;
	guest_send_tcp(&tcp, TH_SYN | TH_ACK, NULL, 0);
	return tcp;
}

static void a_way_in_has_room_and_its_port(void)
{
	uint16_t port;
	struct tcp_info info;
	socklen_t size = sizeof(info);
	struct guest_tcp tcp;
	int fd;

	start("false", "");
	port = forward("tcp", LOOPBACK, 80);
	fd = host_connect(port);
	tcp = accept_forwarded(80);
	CHECK(tcp.ip == GATEWAY_IP);
	CHECK(write(fd, "ping", 4) == 4);
	CHECK(memcmp(guest_receive_tcp(&tcp).data, "", 0) == 0);
	CHECK(guest_receive_tcp(&tcp).len == 4);
	guest_send_tcp(&tcp, TH_ACK | TH_PSH, "pong", 4);
	host_reads(fd, "pong");
	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
	peer_call(&peer, "{call,4,machine_gone,[" MAC1 "]}");
	host_reads(fd, "");
	close(fd);
	stop();
}

int main(void)
{
	static char program[4096];

	snprintf(program, sizeof(program), "%s/evum_uplink", getenv("EVUM_BINARY_DIR"));
	peer_program = program;
	/* A confined program can't be looked through for leaks. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (!own_namespaces(CLONE_NEWNET))
		return CHECK_SKIP;
	host_set_address("lo", INADDR_LOOPBACK, 0xff000000);
	host_set_address("lo:1", HOST_IP, UINT32_MAX);
	a_connection_goes_out_and_ends();
	what_nobody_may_reach_is_blocked();
	a_way_in_has_room_and_its_port();
	return 0;
}
