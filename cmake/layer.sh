#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the empty layer that a layer of a disk begins as: an ext4 with 4 KiB blocks,
# which the guest grows. The same bytes from the same tools.
#
# usage: layer.sh LAYER_PACK MIB OUTPUT
set -eu
pack=$1 size=$2 output=$3
tree=$(mktemp -d "$output.XXXXXX")
trap 'rm -rf "$tree"' EXIT
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$tree/root/upper" "$tree/root/work"
chmod 755 "$tree/root" "$tree/root/upper" "$tree/root/work"
find "$tree/root" -exec touch -h -d @0 {} +
truncate -s "${size}M" "$tree/image"
# Without inodes reserved for growing the group table the kernel uses meta_bg.
E2FSPROGS_FAKE_TIME=1 mkfs.ext4 -q -F -b 4096 -m 0 -J size=16 -i 16384 \
	-U 6576756d-6c61-4179-a572-000000000001 -O ^resize_inode,meta_bg \
	-E lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,hash_seed=6576756d-6c61-4179-a572-000000000002 \
	-d "$tree/root" "$tree/image"
"$pack" "$tree/image" >"$output.new"
mv "$output.new" "$output"
