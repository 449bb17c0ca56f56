/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One claim of a test: what isn't true is said and ends it
 */
#ifndef EVUM_TEST_CHECK_H
#define EVUM_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK_SKIP 77 /* CTest's word for "the host lacks what this needs" */

#define CHECK(claim)                                                                             \
	do {                                                                                     \
		if (!(claim)) {                                                                  \
			fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, \
				#claim);                                                         \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

#endif
