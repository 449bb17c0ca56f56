#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/.."
include=$(erl -noinput -eval 'io:put_chars(filename:join([code:root_dir(), "usr", "include"])), halt().')
mkdir -p priv
cc -shared -fPIC -O2 -Wall -Wextra -Werror -I "$include" -o priv/seal_nif.so c_src/seal_nif.c -ldeflate
