/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oom: who is killed when memory ends
 */
#ifndef EVUM_INIT_OOM_H
#define EVUM_INIT_OOM_H

#define OOM_NEVER "-1000"
#define OOM_NORMAL "0"

/* For the calling process, through proc, a descriptor of a /proc. */
void oom_score(int proc, const char *score);

#endif
