/* SPDX-License-Identifier: Apache-2.0 */
/* The way out by libslirp, and the way in: the program on its descriptors */
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "check.h"
#include "own_namespaces.h"
#include "segments.h"
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

static bool was_root;
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

/* Or -1. */
static int host_try(uint32_t ip, uint16_t port)
{
	struct sockaddr_in name = name_of(ip, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int host_connect_to(uint32_t ip, uint16_t port)
{
	int fd = host_try(ip, port);

	CHECK(fd >= 0);
	return fd;
}

static int host_connect(uint16_t port)
{
	return host_connect_to(INADDR_LOOPBACK, port);
}

static bool host_may_connect(uint16_t port)
{
	int fd = host_try(INADDR_LOOPBACK, port);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool host_hears_room(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLOUT};

	return poll(&wait, 1, 0) == 1;
}

/* Within ms, there is something to read or accept. */
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
	guest_withholds = false;
	guest_owed = 0;
	peer_start(&peer);
	peer_expect(&peer, "{event,hello,#{version=>2,os_pid=>...");
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

/* Of segments that come ahead of a missing one libslirp answers each that it has got. */
static void what_comes_ahead_has_a_bound(void)
{
	uint16_t port = 0;
	int listener = host_open(SOCK_STREAM, HOST_IP, &port);
	struct guest_tcp tcp = guest_tcp_to(&guest, HOST_IP, port);
	unsigned int answers = 0;
	uint32_t missing;
	int fd;

	start("false", "");
	CHECK(guest_connect(&tcp));
	fd = accept(listener, NULL, NULL);
	missing = tcp.next;
	for (unsigned int i = 0; i < 1000; i++) {
		tcp.next++;
		guest_send_tcp(&tcp, TH_ACK | TH_PSH, "x", 1);
	}
	while (!guest_hears_nothing(&peer, 300)) {
		CHECK(guest_receive(&peer).acknowledged == missing);
		answers++;
	}
	CHECK(answers == STREAM_AHEAD_MAX);
	tcp.next = missing;
	guest_send_tcp(&tcp, TH_ACK | TH_PSH, "ab", 2);
	host_reads(fd, "ab");
	close(fd);
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

/* The host's loopback is the gateway's address, by the ports that were asked for. */
static void loopback_is_reached_by_the_ports_asked_for(void)
{
	uint16_t port = 0;
	int listener = host_open(SOCK_STREAM, INADDR_LOOPBACK, &port);
	struct guest_tcp tcp = guest_tcp_to(&guest, GATEWAY_IP, port);
	struct guest_packet packet;
	char ports[8];

	start("false", "");
	guest_send_tcp(&tcp, TH_SYN, NULL, 0);
	packet = guest_receive(&peer);
	CHECK(packet.nic == 1 && packet.flags == TH_SYN && packet.target_port == port);
	CHECK(!host_hears(listener, 0));
	stop();
	snprintf(ports, sizeof(ports), "%u", port);
	tcp = guest_tcp_to(&guest, GATEWAY_IP, port);
	start("false", ports);
	CHECK(guest_connect(&tcp));
	CHECK(host_hears(listener, PEER_PATIENCE_MS));
	close(listener);
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

static void ping_pong(int fd, struct guest_tcp *tcp)
{
	struct guest_packet packet;

	CHECK(write(fd, "ping", 4) == 4);
	do
		packet = guest_receive_tcp(tcp);
	while (!packet.len);
	CHECK(packet.len == 4 && memcmp(packet.data, "ping", 4) == 0);
	guest_send_tcp(tcp, TH_ACK | TH_PSH, "pong", 4);
	host_reads(fd, "pong");
}

/* Of a restricted network too; what was opened last is open, and nothing else. */
static void one_port_of_the_host_is_reached_when_told(void)
{
	uint16_t port = 0;
	uint16_t other_port = 0;
	int listener = host_open(SOCK_STREAM, INADDR_LOOPBACK, &port);
	int other = host_open(SOCK_STREAM, INADDR_LOOPBACK, &other_port);
	struct guest_tcp tcp = guest_tcp_to(&guest, GATEWAY_IP, port);
	struct guest_tcp again = guest_tcp_to(&guest, GATEWAY_IP, port);
	struct guest_tcp refused = guest_tcp_to(&guest, GATEWAY_IP, other_port);
	struct guest_packet packet;
	int fd;

	start("true", "");
	peer_call(&peer, "{call,3,host_port,[%d]}", port);
	peer_expect(&peer, "{reply,3,ok}");
	CHECK(guest_connect(&tcp));
	fd = accept(listener, NULL, NULL);
	guest_send_tcp(&refused, TH_SYN, NULL, 0);
	packet = guest_receive(&peer);
	CHECK(packet.nic == 1 && packet.flags == TH_SYN && packet.target_port == other_port);
	peer_call(&peer, "{call,4,host_port,[0]}");
	peer_expect(&peer, "{reply,4,ok}");
	guest_send_tcp(&again, TH_SYN, NULL, 0);
	packet = guest_receive(&peer);
	CHECK(packet.nic == 1 && packet.flags == TH_SYN && packet.target_port == port);
	CHECK(!host_hears(other, 0) && !host_hears(listener, 0));
	/* A connection that is there stays. */
	ping_pong(fd, &tcp);
	close(fd);
	close(listener);
	close(other);
	stop();
}

static void a_dead_machine_s_connections_end(void)
{
	struct guest_tcp tcp;
	uint16_t port;
	int fd;

	start("false", "");
	port = forward("tcp", LOOPBACK, 80);
	fd = host_connect(port);
	tcp = accept_forwarded(80);
	CHECK(tcp.ip == GATEWAY_IP);
	ping_pong(fd, &tcp);
	peer_call(&peer, "{call,4,machine_gone,[" MAC1 "]}");
	host_reads(fd, "");
	close(fd);
	/* One is closed after the other: only the answer says that all are. */
	while (peer_recv(&peer) != 0)
		;
	CHECK(!host_may_connect(port));
	stop();
}

/* libslirp itself would have room for one. */
static void a_way_in_has_room_for_many(void)
{
	static int fds[1000];
	uint16_t port;

	start("false", "");
	port = forward("tcp", LOOPBACK, 80);
	/* Nothing is taken from the way in. */
	CHECK(kill(peer.pid, SIGSTOP) == 0);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fds[i] = host_connect(port);
	CHECK(kill(peer.pid, SIGCONT) == 0);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		struct guest_packet syn;

		do
			syn = guest_receive(&peer);
		while (syn.flags != TH_SYN);
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	stop();
}

static void a_restricted_network_has_ways_in_only(void)
{
	uint16_t outside = 0;
	int listener = host_open(SOCK_STREAM, HOST_IP, &outside);
	struct guest_tcp out = guest_tcp_to(&guest, HOST_IP, outside);
	struct guest_tcp in;
	uint16_t port;
	int fd;

	start("true", "");
	guest_send_tcp(&out, TH_SYN, NULL, 0);
	guest_send_udp(&guest, 1234, HOST_IP, outside, "x");
	/* From anywhere, not only from the host's loopback. */
	port = forward("tcp", ANY, 80);
	fd = host_connect_to(HOST_IP, port);
	in = accept_forwarded(80);
	CHECK(in.ip == HOST_IP);
	ping_pong(fd, &in);
	CHECK(!host_hears(listener, 0));
	close(fd);
	close(listener);
	stop();
}

static void datagrams_come_in_and_are_answered(void)
{
	struct sockaddr_in name = name_of(INADDR_LOOPBACK, 0);
	uint16_t client_port = 0;
	int client = host_open(SOCK_DGRAM, INADDR_LOOPBACK, &client_port);
	uint16_t other_port = 0;
	int other = host_open(SOCK_DGRAM, INADDR_LOOPBACK, &other_port);
	struct guest_packet packet;

	start("false", "");
	name.sin_port = htons(forward("udp", LOOPBACK, 5000));
	CHECK(sendto(client, "ping", 4, 0, (struct sockaddr *)&name, sizeof(name)) == 4);
	packet = guest_receive(&peer);
	CHECK(packet.protocol == IPPROTO_UDP && packet.source == GATEWAY_IP && packet.len == 4 &&
	      packet.source_port == client_port && packet.target_port == 5000);
	/* Who sent nothing gets nothing, though libslirp's socket could reach him. */
	guest_send_udp(&guest, 5000, GATEWAY_IP, other_port, "boo");
	guest_send_udp(&guest, 5000, GATEWAY_IP, client_port, "pong");
	host_reads(client, "pong");
	CHECK(!host_hears(other, 0));
	packet = guest_receive(&peer);
	CHECK(packet.nic == 1 && packet.target_port == other_port);
	close(client);
	close(other);
	stop();
}

static void a_port_is_one_s_at_a_time(void)
{
	uint16_t port;

	start("false", "");
	port = forward("tcp", LOOPBACK, 80);
	peer_call(&peer, "{call,5,forward_add,[tcp," LOOPBACK ",%d," MAC1 "," MAC1_IP ",81]}",
		  port);
	peer_expect(&peer, "{reply,5,{error,eaddrinuse}}");
	peer_call(&peer, "{call,6,forward_remove,[udp,%d]}", port);
	peer_expect(&peer, "{reply,6,{error,enoent}}");
	peer_call(&peer, "{call,7,forward_remove,[tcp,%d]}", port);
	peer_expect(&peer, "{reply,7,ok}");
	CHECK(!host_may_connect(port));
	peer_call(&peer, "{call,8,forward_add,[tcp," LOOPBACK ",%d," MAC1 "," MAC1_IP ",81]}",
		  port);
	peer_call(&peer, "{call,9,forward_add,[tcp,\"\xc0^\x02\x63\",0," MAC1 "," MAC1_IP ",81]}");
	CHECK(peer_recv(&peer) == 0);
	peer_expect(&peer, "{reply,9,{error,eaddrnotavail}}");
	stop();
}

/* Without credit the host's socket isn't read: what is under way waits there, and nothing is lost. */
static void without_credit_the_host_waits(void)
{
	static char bytes[4 << 20];
	uint16_t port = 0;
	int listener = host_open(SOCK_STREAM, HOST_IP, &port);
	struct guest_tcp tcp = guest_tcp_to(&guest, HOST_IP, port);
	struct guest_packet packet;
	size_t got = 0;
	ssize_t sent;
	int fd;

	start("false", "");
	CHECK(guest_connect(&tcp));
	fd = accept(listener, NULL, NULL);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	guest_withholds = true;
	sent = write(fd, bytes, sizeof(bytes));
	CHECK(sent > 0);
	while (guest_owed + 2 * GUEST_MTU < 1048576 - 262144) {
		packet = guest_receive_tcp(&tcp);
		got += packet.len;
		if (!host_hears_room(fd))
			continue;
		sent += write(fd, bytes, 100000);
	}
	while (!guest_hears_nothing(&peer, 300))
		got += guest_receive_tcp(&tcp).len;
	CHECK(guest_owed <= 1048576 && got < (size_t)sent);
	guest_pays(&peer);
	while (got < (size_t)sent)
		got += guest_receive_tcp(&tcp).len;
	close(fd);
	close(listener);
	stop();
}

/* A line of /proc/PID/status, without its name. */
static unsigned long long status_of(const char *name, int base)
{
	char path[64];
	char line[256];
	unsigned long long value = ~0ull;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)peer.pid);
	file = fopen(path, "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, base);
	fclose(file);
	return value;
}

static void the_program_gives_up_what_it_can(void)
{
	start("false", "");
	CHECK(status_of("NoNewPrivs:", 10) == 1 && status_of("Seccomp:", 10) == 2);
	CHECK(status_of("CapEff:", 16) == 1u << 10 && status_of("CapPrm:", 16) == 1u << 10);
	CHECK(!was_root || status_of("Uid:", 10) == 65534);
	stop();
}

static void a_peer_that_lies_is_the_end(void)
{
	static const struct {
		int channel;
		const char *bytes;
		size_t len;
	} lies[] = {
		{0, "x", 1},			/* no term */
		{1, "x", 1},			/* a channel of machines */
		{2, "\0\0\2\0\1x", 6},		/* a count that isn't so */
		{2, "\0\0\1\0\2x", 6},		/* a length that isn't so */
		{2, "\1\0\0", 3},		/* a NIC that is one way */
		{3, "\0\0\0\0\x10\0\0\0\1", 9}, /* credit for nothing */
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		start("false", "");
		peer_send(&peer, lies[i].channel, lies[i].bytes, lies[i].len);
		peer_expect_exit(&peer, 2);
	}
}

static void calls_are_checked(void)
{
	static const struct {
		const char *call, *reply;
	} calls[] = {
		{"slirp,[" GATEWAY ",24,1500,false,false,[]]", "eisconn"},
		{"packet,[\"lo\"]", "eisconn"},
		{"machine_add,[" MAC1 "," MAC1_IP "]", "eexist"},
		{"machine_add,[\"x\"," MAC1_IP "]", "einval"},
		{"machine_gone,[\"123456\"]", "enoent"},
		{"forward_add,[sctp," LOOPBACK ",0," MAC1 "," MAC1_IP ",81]", "einval"},
		{"forward_add,[tcp," LOOPBACK ",65536," MAC1 "," MAC1_IP ",81]", "einval"},
		{"forward_add,[tcp," LOOPBACK ",0," MAC1 "," MAC1_IP ",0]", "einval"},
		{"host_port,[65536]", "einval"},
		{"host_port,[]", "einval"},
		{"nonsense,[]", "enosys"},
	};
	char expected[64];

	start("false", "");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		peer_call(&peer, "{call,%d,%s}", (int)i, calls[i].call);
		snprintf(expected, sizeof(expected), "{reply,%d,{error,%s}}", (int)i,
			 calls[i].reply);
		peer_expect(&peer, expected);
	}
	stop();
}

/* Before the test has namespaces of its own, in which it has privileges again. */
static void an_ordinary_user_s_ports_are_high(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
		start("false", "");
		peer_call(&peer,
			  "{call,3,forward_add,[tcp," LOOPBACK ",1," MAC1 "," MAC1_IP ",81]}");
		peer_expect(&peer, "{reply,3,{error,eacces}}");
		CHECK(status_of("CapPrm:", 16) == 0);
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
	was_root = geteuid() == 0;
	an_ordinary_user_s_ports_are_high();
	if (!own_namespaces(CLONE_NEWNET))
		return CHECK_SKIP;
	host_set_address("lo", INADDR_LOOPBACK, 0xff000000);
	host_set_address("lo:1", HOST_IP, UINT32_MAX);
	a_connection_goes_out_and_ends();
	what_comes_ahead_has_a_bound();
	what_nobody_may_reach_is_blocked();
	loopback_is_reached_by_the_ports_asked_for();
	one_port_of_the_host_is_reached_when_told();
	a_dead_machine_s_connections_end();
	a_way_in_has_room_for_many();
	a_restricted_network_has_ways_in_only();
	datagrams_come_in_and_are_answered();
	a_port_is_one_s_at_a_time();
	without_credit_the_host_waits();
	the_program_gives_up_what_it_can();
	a_peer_that_lies_is_the_end();
	calls_are_checked();
	return 0;
}
