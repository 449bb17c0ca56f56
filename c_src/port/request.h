/* SPDX-License-Identifier: Apache-2.0 */
/* The maps of start and run */
#ifndef EVUM_PORT_REQUEST_H
#define EVUM_PORT_REQUEST_H

#include <evum.h>
#include "term.h"

/*
 * Strings are taken from the term's arena.  0, or -EINVAL or -E2BIG where
 * error (request_config) says in a sentence what is wrong.
 */
int request_config(struct term *term, struct evum_config *config, struct evum_error *error);
int request_program(struct term *term, struct evum_program *program);

#endif
