/* SPDX-License-Identifier: Apache-2.0 */
/* Is a machine's configuration one that can be started? */
#ifndef EVUM_CONFIG_H
#define EVUM_CONFIG_H

#include "evum.h"

/* 0, or -errno with *error (may be NULL) filled in. */
int config_check(const struct evum_config *config, struct evum_error *error);

#endif
