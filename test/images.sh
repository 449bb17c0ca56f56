#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the images of file systems that tests boot, and prints their files.
#
# usage: images.sh [systemd | openrc | busybox | program]...
#
#   systemd   Debian with systemd
#   openrc    Debian with OpenRC under sysvinit
#   busybox   busybox with its own init and an inittab
#   program   one static program as init, and nothing else
#
# Any user can make them: fakechroot and fakeroot stand in for root. Root has a
# real chroot, since what slips out of a faked one would change the host. Debian
# comes from where this system's own packages come from. An image is kept in the
# user's cache under the hash of what it is made of, and made again when that
# changes.
set -eu
here=$(dirname "$(readlink -f "$0")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/evum-test
mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$here/../_build/cache/evum-test
mkdir -p "$cache"
hash=$(cat "$0" "$here/fixture/bare_init.c" "$(command -v busybox)" | sha256sum | cut -c 1-16)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "${TMPDIR:-/tmp}/images-XXXXXX")
trap 'rm -rf "$work" "$cache/".new.*."$$"' EXIT
trap 'exit 1' HUP INT TERM

# --- what goes into a directory or a tar archive -----------------------------

# As one-line entries, whatever form the system's own are written in.
sources() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(ARCHITECTURE) $(REPO_URI) $(RELEASE) $(COMPONENT) $(CODENAME)' \
		'Created-By: Packages' | awk -v code="$1" '
		$1 == "amd64" && (index($3, code) == 1 || index($5, code) == 1) {
			print "deb [arch=amd64]", $2, $3, $4
		}'
}

# debian NAME PACKAGES: without manual pages and translations
debian() {
	# shellcheck source=/dev/null
	code=$(. /etc/os-release && echo "$VERSION_CODENAME")
	sources "$code" >"$work/$1.list"
	apt-config dump | grep -E '^Acquire::(Check-|Retries|http|https|ftp)' >"$work/$1.conf" || :
	mode=fakechroot
	[ "$(id -u)" != 0 ] || mode=root
	# shellcheck disable=SC2016 # the hook's own argument
	mmdebstrap --quiet --mode=$mode --variant=essential --include="$2" \
		--aptopt="$work/$1.conf" \
		--customize-hook='echo image >"$1/etc/hostname"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' "$code" "$work/$1.tar" - <"$work/$1.list"
}

busybox_root() {
	root=$work/busybox
	mkdir -p "$root/bin" "$root/sbin" "$root/etc" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/root" "$root/run"
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in $("$root/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	for applet in init poweroff reboot halt; do
		ln -s ../bin/busybox "$root/sbin/$applet"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	cat >"$root/etc/inittab" <<'END'
::sysinit:/bin/touch /run/sysinit
::wait:/bin/sh -c 'echo the console is mine'
::once:/bin/touch /run/once
::respawn:/bin/sh -c 'echo $$ >/run/respawned; exec sleep 1000000'
::shutdown:/bin/touch /etc/shut-down
END
}

program_root() {
	root=$work/program
	mkdir -p "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/run"
	cc -std=gnu11 -static -O2 -o "$root/sbin/init" "$here/fixture/bare_init.c"
}

# --- the image ---------------------------------------------------------------

# image NAME MiB: of the archive, or else the directory, of that name
image() {
	new=$cache/.new.$1.$$
	# shellcheck disable=SC2016 # the inner shell's
	fakeroot sh -eu -c '
		[ ! -e "$1.tar" ] || { mkdir "$1"; tar -C "$1" -xf "$1.tar"; rm "$1.tar"; }
		chmod -R u+r "$1" # or an ordinary user could not copy it
		truncate -s "$3M" "$2"
		mke2fs -q -F -t ext4 -b 4096 -m 0 -d "$1" "$2"' image "$work/$1" "$new" "$2"
	rm -rf "${work:?}/$1" "$cache/$1-"*.img
	# a machine that root starts runs as 65534
	chmod 644 "$new"
	mv "$new" "$cache/$1-$hash.img"
}

make_image() {
	case $1 in
	systemd)
		debian systemd systemd-sysv
		image systemd 320
		;;
	openrc)
		debian openrc openrc,sysvinit-core
		image openrc 256
		;;
	busybox)
		busybox_root
		image busybox 32
		;;
	program)
		program_root
		image program 16
		;;
	*)
		echo "images.sh: no image $1"
		return 2
		;;
	esac
}

# One after the other where several ask for them at once.
exec 9>"$cache/lock"
flock 9
pids=
for name; do
	if [ ! -r "$cache/$name-$hash.img" ]; then
		make_image "$name" 9>&- >&2 &
		pids="$pids $!"
	fi
done
failed=0
for pid in $pids; do
	wait "$pid" || failed=$?
done
[ "$failed" = 0 ] || exit "$failed"
for name; do
	echo "$cache/$name-$hash.img"
done
