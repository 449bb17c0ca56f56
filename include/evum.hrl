%% SPDX-License-Identifier: Apache-2.0
%% What users of evum match on: the owner's messages
-ifndef(EVUM_HRL).
-define(EVUM_HRL, true).

%% With {console, line}, the default, a console line is the bare binary; all else has one shape.
-define(EVUM_CONSOLE(Vm, Bytes), {evum, Vm, {console, Bytes}}).
-define(EVUM_UP(Vm), {evum, Vm, up}).
-define(EVUM_MESSAGE(Vm, Bytes), {evum, Vm, {message, Bytes}}).
-define(EVUM_PANIC(Vm, Text), {evum, Vm, {panic, Text}}).
-define(EVUM_REBOOTING(Vm), {evum, Vm, rebooting}).
-define(EVUM_PASSIVE(Vm), {evum, Vm, passive}).
-define(EVUM_DOWN(Vm, Reason), {evum, Vm, {down, Reason}}).

%% A program in the guest; Ending is the last that comes of it.
-define(EVUM_STDOUT(Proc, Bytes), {evum, Proc, {stdout, Bytes}}).
-define(EVUM_STDERR(Proc, Bytes), {evum, Proc, {stderr, Bytes}}).
-define(EVUM_STDIN_READY(Proc), {evum, Proc, stdin_ready}).
-define(EVUM_EXIT(Proc, Ending), {evum, Proc, {exit, Ending}}).

-endif.
