/* SPDX-License-Identifier: Apache-2.0 */
/* Boots a machine from C and prints its kernel's version: boot INITRAMFS */
#include <evum.h>
#include <stdio.h>

static void handler(void *ctx, const struct evum_event *event)
{
	(void)ctx;
	if (event->type == EVUM_OUTPUT && event->fd == 1)
		fwrite(event->data, 1, event->len, stdout);
}

int main(int argc, char **argv)
{
	const char *const uname[] = {"uname", "-r", NULL};
	const struct evum_program program = {.argv = uname, .window = 4096};
	struct evum_config config;
	struct evum_error error;
	struct evum_vm *vm;
	int err;

	evum_config_init(&config);
	config.initramfs = argc > 1 ? argv[1] : NULL;
	if (evum_vm_start(&config, handler, NULL, &vm, &error) < 0) {
		fprintf(stderr, "%s: %s\n", error.stage, error.text);
		return 1;
	}
	err = evum_vm_wait(vm, EVUM_UP, 10000);
	if (!err)
		err = evum_program_start(vm, 1, &program);
	if (!err)
		err = evum_vm_wait(vm, EVUM_EXIT, 5000);
	if (!err && evum_vm_stop(vm, 3000) == 0)
		err = evum_vm_wait(vm, EVUM_DOWN, 10000);
	evum_vm_free(vm);
	return err != 0;
}
