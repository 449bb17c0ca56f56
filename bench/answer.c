/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte there and a byte back: answer PORT serves, answer ADDRESS PORT COUNT asks
 *
 * over one connection, and prints the median time in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 10000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int serve(struct sockaddr_in *address)
{
	int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);
	char byte;

	address->sin_addr.s_addr = INADDR_ANY;
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, (struct sockaddr *)address, sizeof(*address)) < 0 || listen(s, 16) < 0)
		return 1;
	for (;;) {
		int c = accept(s, NULL, NULL);

		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while (read(c, &byte, 1) == 1 && write(c, &byte, 1) == 1)
			continue;
		close(c);
	}
}

static int ask(const struct sockaddr_in *address, int count)
{
	static double took[COUNT_MAX];
	int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 0;

	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (count < 1 || count > COUNT_MAX ||
	    connect(s, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return 1;
	for (int i = 0; i < count; i++) {
		double start = now();

		if (write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1)
			return 1;
		took[i] = now() - start;
	}
	qsort(took, (size_t)count, sizeof(*took), compare);
	printf("%.1f us\n", took[count / 2]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	if (argc < 2)
		return 2;
	address.sin_port = htons((uint16_t)atoi(argv[argc > 2 ? 2 : 1]));
	if (argc == 2)
		return serve(&address);
	if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
		return 2;
	return ask(&address, atoi(argv[3]));
}
