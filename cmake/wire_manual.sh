#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the manual page of the wire from the one list of it.
#
# usage: wire_manual.sh EVUM_PROTO_DEF VERSION OUTPUT
set -eu
def=$1 version=$2 output=$3
separator=$(printf "\037")

# entries MACRO: its lines of the list, three fields each
entries() {
	sed -n "s/^PROTO_$1(\\(.*\\))\$/\\1/p" "$def" | sed 's/\\/\\e/g; s/-/\\-/g
		s/^\([^,]*\), *"\([^"]*\)", *"\(.*\)"$/\1\x1f\2\x1f\3/
		s/^\([^,]*\), *\([0-9]*\), *"\([^"]*\)", *"\(.*\)"$/\1\x1f\2, \3\x1f\4/
		s/^\([^,]*\), *\([0-9]*\), *"\(.*\)"$/\1\x1f\2\x1f\3/'
}

# section MACRO TITLE
section() {
	printf '.SH %s\n' "$2"
	entries "$1" | while IFS=$separator read -r name what text; do
		printf '.TP\n.B %s\n' "$name"
		[ -z "$what" ] || printf '(%s)\n' "$what"
		printf '%s\n' "$text"
	done
}

{
	cat <<END
.\\" SPDX-License-Identifier: Apache-2.0
.TH EVUM-WIRE 7 "" "evum $version" "evum"
.SH NAME
evum\\-wire \\- what an Erlang machine and its port program say to each other
.SH DESCRIPTION
Frames with a 32\\-bit big\\-endian length before them
.RI ( "{packet, 4}" ),
on descriptors 3 and 4 of the port program.
The first byte is the channel.
Control is an external term:
.I {call, Seq, Name, [Arg]}
is answered by
.I {reply, Seq, ok | {ok, Term} | {error, Reason}}
and events are
.IR "{event, Name, #{Property => Value}}" .
Bulk is raw, within windows: a sender stops when its window is spent and goes on
when credit comes back.
The end of the port program's input is the end of its machine.
A frame that breaks these rules is a bug of its sender: the port program says so
on standard error, ends its machine and exits with status 2.
END
	section CHANNEL CHANNELS
	section CALL CALLS
	section EVENT EVENTS
	section NUMBER NUMBERS
	printf '.SH SEE ALSO\n.BR evum (3)\n'
} >"$output.new"
mv "$output.new" "$output"
