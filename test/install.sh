#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs a build, and builds and runs examples/boot.c against what was installed.
#
# usage: install.sh BUILD_DIRECTORY
set -eu
build=$1
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$build" --prefix "$prefix" >/dev/null
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name evum.pc)")
export PKG_CONFIG_PATH
[ -n "$(find "$prefix" -name evum.3)" ]

# pkg-config's own idea of the prefix: this one is temporary
pc() { pkg-config --define-variable=prefix="$prefix" "$@" evum; }

# only evum_* is to be seen
library=$(pc --variable=libdir)
if nm -D --defined-only "$library/libevum.so" | awk '$2 != "A" {print $3}' | grep -v '^evum_'; then
	echo "libevum.so shows more than evum_*" >&2
	exit 1
fi
lines=$(wc -l <examples/boot.c)
[ "$lines" -le 40 ] || { echo "examples/boot.c has $lines lines" >&2; exit 1; }
# shellcheck disable=SC2046 # flags
cc -std=c11 -Wall -Wextra -Werror -o "$prefix/boot" examples/boot.c $(pc --cflags --libs)
LD_LIBRARY_PATH=$library "$prefix/boot" "$(pc --variable=initramfs)" >"$prefix/out"
cat "$prefix/out"
grep -q '[0-9]\.[0-9]' "$prefix/out"
