/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's NICs: who opens them is told where to read and write frames
 *
 * Theory of operation.  UML's driver connects to a socket of the run directory
 * each time the guest sets the NIC up, and closes that connection when it sets it
 * down.  The frames are none of this library's business: the caller gets the
 * socket.  Here it is only watched for its end.
 *
 * A guest can open and close as fast as it likes.  One that does is made to wait,
 * in its own connect(), for NIC_PAUSE_MS: link changes cost the caller an event
 * each.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <string.h>

#include "util.h"
#include "vm.h"

/* No NIC of a machine is accepted so long after another was. */
#define NIC_PAUSE_MS 5

/*
 * Bytes of frames that either end can have sent before the other has read them:
 * one hundred and some of 1500 by default, which is a wake-up for each hundred.
 * The host's net.core.wmem_max may allow less.
 */
#define NIC_BUFFER (4 << 20)

/* The guest's descriptors that are looked at for the other end of a NIC. */
#define NIC_SEARCH_MAX 4096

int vm_nic_init(struct evum_vm *vm, const struct evum_config *config)
{
	for (unsigned int i = 0; i < config->nic_count; i++) {
		struct vm_nic *nic = &vm->nics[vm->nic_count++];

		nic->fd = -1;
		nic->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (nic->listener < 0)
			return -errno;
	}
	return 0;
}

static void watch_listeners(struct evum_vm *vm, uint32_t events)
{
	for (unsigned int i = 0; i < vm->nic_count; i++)
		vm_watch(vm, VM_NIC, vm->nics[i].listener, events, NULL);
}

void vm_nic_watch(struct evum_vm *vm)
{
	vm->nic_deadline = 0;
	watch_listeners(vm, EPOLLIN);
}

/* Root's machines may have more than net.core.wmem_max. */
static void raise_buffer(int fd)
{
	const int bytes = NIC_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* Is it connected to the listener whose address is own? */
static bool is_connected_to(int fd, const struct sockaddr_un *own, socklen_t own_len)
{
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == own_len &&
	       memcmp(&peer, own, len) == 0;
}

/*
 * The driver leaves its socket the default buffer, which at an MTU of 1500 costs
 * half the throughput.  Where its descriptor can't be had, that is what it costs.
 */
static void raise_guest_buffer(const struct evum_vm *vm, int fd)
{
	struct sockaddr_un own;
	socklen_t len = sizeof(own);

	if (vm->child.kernel_pidfd < 0 || getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		return;
	for (int number = 0; number < NIC_SEARCH_MAX; number++) {
		cleanup_fd int guests =
			(int)syscall(SYS_pidfd_getfd, vm->child.kernel_pidfd, number, 0);

		/* A number that is free is EBADF; anything else is true of all of them. */
		if (guests < 0 && errno != EBADF)
			return;
		if (guests >= 0 && is_connected_to(guests, &own, len)) {
			raise_buffer(guests);
			return;
		}
	}
}

static void emit_link(struct evum_vm *vm, unsigned int number)
{
	struct evum_event event = {.type = EVUM_NIC, .id = number, .fd = vm->nics[number].fd};

	vm_emit(vm, &event);
}

static void close_nic(struct evum_vm *vm, unsigned int number)
{
	struct vm_nic *nic = &vm->nics[number];
	int fd = nic->fd;

	nic->fd = -1;
	emit_link(vm, number);
	/* Not left to close(): a child that has a copy would keep it in epoll. */
	epoll_ctl(vm->epoll, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

static bool has_ended(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) > 0;
}

/* Takes a connection that waits; true where there was one. */
static bool accept_nic(struct evum_vm *vm, unsigned int number)
{
	struct vm_nic *nic = &vm->nics[number];
	int fd = accept4(nic->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return false;
	if (nic->fd >= 0)
		close_nic(vm, number);
	raise_buffer(fd);
	raise_guest_buffer(vm, fd);
	nic->fd = fd;
	vm_watch(vm, VM_NIC, fd, EPOLLRDHUP, NULL);
	emit_link(vm, number);
	return true;
}

/* Something has happened to one of them: there are few, and it happens seldom. */
void vm_nic_handler(struct evum_vm *vm, uint32_t events)
{
	bool accepted = false;

	(void)events;
	for (unsigned int i = 0; i < vm->nic_count; i++) {
		if (vm->nics[i].fd >= 0 && has_ended(vm->nics[i].fd))
			close_nic(vm, i);
		accepted |= !vm->nic_deadline && accept_nic(vm, i);
	}
	if (!accepted)
		return;
	watch_listeners(vm, 0);
	vm->nic_deadline = vm_now() + NIC_PAUSE_MS;
	vm_timer_arm(vm);
}

void vm_nic_free(struct evum_vm *vm)
{
	for (unsigned int i = 0; i < vm->nic_count; i++) {
		fd_close(&vm->nics[i].listener);
		fd_close(&vm->nics[i].fd);
	}
}
