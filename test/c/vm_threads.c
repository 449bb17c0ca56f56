/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines start from a program whose other threads hold whatever locks they like
 */
#include <pthread.h>
#include <stdatomic.h>

#include "machine.h"

#define THREADS 3
#define STARTS 20

static atomic_bool done;

static void *hold_locks(void *unused)
{
	(void)unused;
	while (!atomic_load(&done)) {
		FILE *file = fopen("/dev/null", "r");

		CHECK(file != NULL);
		fclose(file);
		free(malloc(100000));
	}
	return NULL;
}

int main(void)
{
	static struct machine machine;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, hold_locks, NULL) == 0);
	for (int i = 0; i < STARTS; i++) {
		machine_boot(&machine);
		evum_vm_free(machine.vm);
	}
	atomic_store(&done, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
