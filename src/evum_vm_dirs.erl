%% SPDX-License-Identifier: Apache-2.0
%% A machine's served directories: a listening socket and a process each
%%
%% The machine's process keeps this, and owns the sockets: they close with it, and then
%% the processes end.
-module(evum_vm_dirs).

-export([new/0, open/2, addresses/1, down/2, info/1]).
-export_type([dirs/0]).

-record(dir, {
    state :: evum_mount:state(),
    listen :: gen_tcp:socket(),
    address :: binary(),
    pid :: pid(),
    monitor :: reference(),
    counters :: counters:counters_ref()
}).
-opaque dirs() :: [#dir{}].

%% @doc None yet.
-spec new() -> dirs().
new() -> [].

%% @doc Starts a process for each, at the first boot; callbacks are initialised while the
%% guest boots. Where one has no socket, those of the others close with the caller.
-spec open([evum_mount:state()], dirs()) -> {ok, dirs()} | {error, inet:posix() | system_limit}.
open(States, []) -> open_each(States, []);
open(_States, Dirs) -> {ok, Dirs}.

open_each([], Dirs) -> {ok, lists:reverse(Dirs)};
open_each([State | Rest], Dirs) ->
    Address = iolist_to_binary(["evum-dir/", os:getpid(), $/, integer_to_list(erlang:unique_integer([positive]))]),
    case gen_tcp:listen(0, [{ifaddr, {local, <<0, Address/binary>>}}, binary, {active, false}]) of
        {ok, Listen} ->
            Dir = #dir{state = State, listen = Listen, address = Address, counters = counters:new(2, []), pid = self(), monitor = make_ref()},
            open_each(Rest, [serve(Dir) | Dirs]);
        {error, _} = Error -> Error
    end.

serve(#dir{state = State, listen = Listen, counters = Counters} = Dir) ->
    {Pid, Monitor} = evum_dir_server:start(State, Listen, Counters),
    Dir#dir{pid = Pid, monitor = Monitor}.

%% @doc What the port program is to connect to, for which directory.
-spec addresses(dirs()) -> [{Address :: binary(), GuestDir :: binary()}].
addresses(Dirs) -> [{Address, Path} || #dir{address = Address, state = {_Module, _Args, Path}} <- Dirs].

%% @doc A monitor's process is gone: was it one of ours? Then there is another one, which
%% serves the machine's next life.
-spec down(reference(), dirs()) -> {true, dirs()} | false.
down(Ref, Dirs) ->
    case lists:keymember(Ref, #dir.monitor, Dirs) of
        true -> {true, [case Dir of #dir{monitor = Ref} -> serve(Dir); _ -> Dir end || Dir <- Dirs]};
        false -> false
    end.

%% @doc What evum:info/1 tells.
-spec info(dirs()) -> [map()].
info(Dirs) ->
    [#{dir => Path, module => Module, pid => Pid, requests => counters:get(Counters, 1), malformed => counters:get(Counters, 2)}
     || #dir{state = {Module, _Args, Path}, pid = Pid, counters = Counters} <- Dirs].
