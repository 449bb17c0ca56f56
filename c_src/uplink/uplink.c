/* SPDX-License-Identifier: Apache-2.0 */
/* What the ways out call of the program */
#include "uplink.h"

#include <errno.h>
#include "nat.h"

void uplink_deliver(struct uplink *uplink, uint8_t nic, const uint8_t *ether, const void *bytes,
		    size_t len)
{
	struct uplink_counters *counters = &uplink->counters;
	int err = gather_add(&uplink->gathers[nic], &uplink->wire, ether, bytes, len);

	if (err == -ENOBUFS) {
		counters->rx_dropped++;
	} else if (err) {
		uplink->failed = err;
	} else if (nic == UPLINK_NET) {
		counters->rx_frames++;
		counters->rx_bytes += BATCH_FLOW + len;
	}
}

struct uplink_counters uplink_count(const struct uplink *uplink)
{
	struct uplink_counters counters = uplink->counters;
	const struct nat *nat = uplink->nat;

	if (!nat)
		return counters;
	counters.machines = nat->machine_count;
	counters.forwards = nat->forward_count;
	counters.sockets = nat->sockets;
	return counters;
}
