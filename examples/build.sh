#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the examples that are Erlang, DIR/src to DIR/ebin, where they changed;
# one that is a project of rebar3 is left to rebar3
set -eu
cd "$(dirname "$0")"
for source in */src/*.app.src; do
	src=${source%/*}
	dir=${src%/src}
	[ ! -e "$dir/rebar.config" ] || continue
	app=$dir/ebin/$(basename "$source" .src)
	[ ! -e "$app" ] || [ -n "$(find "$src" -newer "$app")" ] || continue
	mkdir -p "$dir/ebin"
	rm -f "$dir"/ebin/*
	erlc -Wall -Werror +debug_info -o "$dir/ebin" "$src"/*.erl
	# the last one: that it is there says that all is
	cp "$source" "$app"
done
