%% SPDX-License-Identifier: Apache-2.0
%% A process's mailbox with a bound in bytes
%%
%% Whoever sends counts up, whoever takes counts down: a process that doesn't
%% keep up costs its senders their messages and the node no memory.
-module(evum_inbox).

-export([new/2, send/3, took/2, pid/1]).
-export_type([inbox/0]).

%% what a message costs beside its bytes, so that many short ones count too
-define(OVERHEAD, 256).

-record(inbox, {pid :: pid(), used :: atomics:atomics_ref(), max :: pos_integer()}).
-opaque inbox() :: #inbox{}.

%% @doc An inbox of `Pid', for `MaxBytes' that are sent and not taken.
-spec new(pid(), MaxBytes :: pos_integer()) -> inbox().
new(Pid, MaxBytes) -> #inbox{pid = Pid, used = atomics:new(1, [{signed, true}]), max = MaxBytes}.

%% @doc Sends a message that holds `Bytes', where there is room.
-spec send(inbox(), Message :: term(), Bytes :: non_neg_integer()) -> ok | full.
send(#inbox{pid = Pid, used = Used, max = Max}, Message, Bytes) ->
    case atomics:add_get(Used, 1, Bytes + ?OVERHEAD) =< Max of
        true ->
            Pid ! Message,
            ok;
        false ->
            ok = atomics:sub(Used, 1, Bytes + ?OVERHEAD),
            full
    end.

%% @doc The process took a message of `Bytes' out: as many as it was sent with.
-spec took(inbox(), Bytes :: non_neg_integer()) -> ok.
took(#inbox{used = Used}, Bytes) -> atomics:sub(Used, 1, Bytes + ?OVERHEAD).

%% @doc Whose it is.
-spec pid(inbox()) -> pid().
pid(#inbox{pid = Pid}) -> Pid.
