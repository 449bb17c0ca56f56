/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module: modules of the running kernel, from the folder that the jail shows
 */
#ifndef EVUM_INIT_MODULE_H
#define EVUM_INIT_MODULE_H

/*
 * Loads the module of that name below kernel/, such as "fs/overlayfs/overlay.ko".
 * The host's folder is seen at where, a directory, for that time.  Returns 0, also
 * where it is loaded already, -ENODEV where the folder can't be seen, or the -errno
 * of the file or the kernel.
 */
int module_load(const char *where, const char *name);

/*
 * The same in a process that shares the machine's view of its files, which must
 * see none of it and may have no directory to spare.  names ends with NULL; all but
 * the last are needed by those after them, and the kernel may have them built in.
 */
int module_load_unseen(const char *const names[]);

#endif
