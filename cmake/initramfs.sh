#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Packs evum-init and busybox into the initramfs of every machine, with no
# privileges and the same bytes from the same input.
#
# usage: initramfs.sh EVUM_INIT BUSYBOX OUTPUT
set -eu
init=$1 busybox=$2 output=$3

# cpio runs inside the tree, so its output needs an absolute name
case $output in /*) ;; *) output=$PWD/$output ;; esac
tree=$(mktemp -d "$output.XXXXXX")
trap 'rm -rf "$tree"' EXIT
umask 022

for dir in bin sbin usr/bin usr/sbin dev etc mnt proc root run sys tmp var host modules; do
	mkdir -p "$tree/$dir"
done
chmod 1777 "$tree/tmp"
chmod 700 "$tree/root"
install -m 755 "$init" "$tree/init"
install -m 755 "$busybox" "$tree/bin/busybox"
# linuxrc is busybox's name for an initrd's init: nothing calls it here.
# Hard links: a symbolic one costs a small guest a page, and there are 400.
"$busybox" --list-full | grep -vx -e linuxrc -e bin/busybox | while read -r applet; do
	mkdir -p "$tree/${applet%/*}"
	ln "$tree/bin/busybox" "$tree/$applet"
done

cat >"$tree/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
nobody:x:65534:65534:nobody:/:/bin/false
END
cat >"$tree/etc/group" <<'END'
root:x:0:
daemon:x:1:
tty:x:5:
nogroup:x:65534:
END
cat >"$tree/etc/profile" <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END

find "$tree" -exec touch -h -d @0 {} +
(cd "$tree" && find . -mindepth 1 | LC_ALL=C sort |
	cpio --quiet -o -H newc --reproducible -R 0:0 >"$output.new")
mv "$output.new" "$output"
