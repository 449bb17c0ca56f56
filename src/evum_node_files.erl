%% SPDX-License-Identifier: Apache-2.0
%% The directory by which a machine's node is told how to start, and says that it is up
%%
%% All files are there to be read, but for one: what the guest writes into `said' is
%% sent to a process of the host as `{evum_node, said, Bytes}'.
-module(evum_node_files).
-behaviour(evum_dir).

-export([init/1, lookup/2, list/2, read/4, write/4, change/3]).

-define(SAID, <<"said">>).

-type state() :: #{files := #{binary() => binary()}, tell := pid()}.

%% @private
-spec init(state()) -> {ok, state()}.
init(State) -> {ok, State}.

%% @private
-spec lookup(evum_dir:path(), state()) -> {ok, evum_dir:attributes()} | {error, enoent}.
lookup([], _State) -> {ok, #{type => directory, mode => 8#500}};
lookup([?SAID], _State) -> {ok, #{type => file, mode => 8#200, size => 0}};
lookup([Name], #{files := Files}) when is_map_key(Name, Files) ->
    {ok, #{type => file, mode => 8#400, size => byte_size(maps:get(Name, Files))}};
lookup(_Path, _State) -> {error, enoent}.

%% @private
-spec list(evum_dir:path(), state()) -> {ok, [evum_dir:name()]} | {error, enotdir}.
list([], #{files := Files}) -> {ok, [?SAID | maps:keys(Files)]};
list(_Path, _State) -> {error, enotdir}.

%% @private
-spec read(evum_dir:path(), non_neg_integer(), pos_integer(), state()) -> {ok, binary()} | {error, eisdir | eperm}.
read([Name], Offset, Count, #{files := Files}) when is_map_key(Name, Files) ->
    Bytes = maps:get(Name, Files),
    At = min(Offset, byte_size(Bytes)),
    {ok, binary:part(Bytes, At, min(Count, byte_size(Bytes) - At))};
read([], _Offset, _Count, _State) -> {error, eisdir};
read(_Path, _Offset, _Count, _State) -> {error, eperm}.

%% @private
-spec write(evum_dir:path(), non_neg_integer(), binary(), state()) -> {ok, state()} | {error, eperm}.
write([?SAID], _Offset, Bytes, #{tell := Pid} = State) ->
    Pid ! {evum_node, said, Bytes},
    {ok, State};
write(_Path, _Offset, _Bytes, _State) -> {error, eperm}.

%% @private Who opens a file to write it first cuts it.
-spec change(evum_dir:path(), evum_dir:attributes(), state()) -> {ok, state()} | {error, eperm}.
change([?SAID], _Changes, State) -> {ok, State};
change(_Path, _Changes, _State) -> {error, eperm}.
