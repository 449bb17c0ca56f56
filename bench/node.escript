#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% How fast a machine is an Erlang node, beside the boot of a machine without one and OTP's
%% peer on the host; what its image and its memory are; and what messages and calls
%% between nodes cost, beside two nodes of the host's.
-mode(compile).
-include("bench.hrl").
-include("memory.hrl").

-define(ROUNDS, 11).
-define(TALKS, 5).
-define(TRIPS, 1000).
-define(CALLS, 100).
-define(BOOT, "evm:create, without a node").
-define(HOSTS, "host → host's peer").

main(Args) ->
    ok = io:setopts([{encoding, unicode}]),
    {ok, _} = application:ensure_all_started(evum),
    ok = logger:set_application_level(evum, error),
    {ok, Host} = evum_dist:start(),
    with_directory(fun(Dir) -> bench(Dir, Host, Args) end).

bench(Dir, Host, Args) ->
    {ok, _} = compile:file(filename:join(here(), "node_bench"), [{outdir, Dir}]),
    true = code:add_patha(Dir),
    {Image, Made, Found} = image(Dir),
    stop(machine([Dir])),
    Starts = rounds(?ROUNDS, [
        {?BOOT, fun create/0},
        {"peer:start on the host", fun() -> ms_of(fun() -> peer(Dir, Host) end, fun({Peer, _}) -> peer:stop(Peer) end) end},
        {"evum_node:start, its node answers", fun() -> ms_of(fun() -> machine([Dir]) end, fun stop/1) end}
    ]),
    report("node", Args, [table(?BOOT, "ms", Starts), "\n", Image, times(Made, Found), "\n", memory(), "\n", talk(Dir, Host)]).

here() -> filename:dirname(filename:absname(escript:script_name())).

%% Milliseconds until Start has returned; Stop gets what it returned.
ms_of(Start, Stop) ->
    {Time, Started} = timer:tc(Start),
    Stop(Started),
    Time / 1000.

create() ->
    ms_of(fun() -> {ok, Vm} = evm:create(#{console => none}), Vm end, fun(Vm) -> ok = evm:stop(Vm), flush() end).

machine(Paths) ->
    {ok, Vm, Node} = evum_node:start(#{paths => Paths, console => none}),
    pong = net_adm:ping(Node),
    {Vm, Node}.

stop({Vm, _Node}) ->
    ok = evum:stop(Vm),
    flush().

flush() ->
    receive _ -> flush() after 0 -> ok end.

%% Hidden: the others of a cluster would have to reach the machines too.
peer(Dir, #{host := Name, domain := Domain}) ->
    Args = ["-hidden", "-setcookie", atom_to_list(erlang:get_cookie()), "-pa", Dir],
    {ok, Peer, Node} = peer:start(#{name => peer:random_name(), host => Name, longnames => Domain =:= long, args => Args}),
    pong = net_adm:ping(Node),
    {Peer, Node}.

%% --- the image ----------------------------------------------------------------------

%% What the first bake takes, and one that finds the image in the cache.
image(Dir) ->
    Opts = #{paths => [filename:join([here(), "..", "examples", "echoserver", "ebin"])]},
    Packed = filename:join(Dir, "image"),
    true = os:putenv("XDG_CACHE_HOME", Dir),
    Made = ms(fun() -> {ok, _} = evum_release:bake(Opts) end),
    Found = ms(fun() -> {ok, _} = evum_release:bake(Opts) end),
    true = os:unsetenv("XDG_CACHE_HOME"),
    {ok, #{bytes := Bytes, unpacked := Unpacked}} = evum_release:bake(Opts#{output => Packed}),
    {[
        "| image of kernel, stdlib and echoserver | MB |\n|---|---|\n",
        [io_lib:format("| ~s | ~.2f |~n", [What, Size / 1.0e6]) || {What, Size} <- [{"as transported, gzip", Bytes}, {"unpacked", Unpacked}]]
    ], Made, Found}.

times(Made, Found) ->
    io_lib:format("~nBaked in ~b ms, found in the cache in ~b ms.~n", [round(Made), round(Found)]).

%% --- memory ---------------------------------------------------------------------------

%% What the guest has used, a second after the start; the image is a part of it.
memory() ->
    Rows = [at_rest(Name, Opts) || {Name, Opts} <- [
        {"kernel and stdlib", #{}},
        {"crypto and ssl besides", #{apps => [ssl]}}
    ]],
    [
        "| memory of a node at rest | of the image MiB | guest used MiB | erlang:memory(total) MiB | host's MiB | least mem | default mem | free then MiB |\n"
        "|---|---|---|---|---|---|---|---|\n",
        Rows
    ].

at_rest(Name, Opts) ->
    {ok, #{least := Least, mem := Mem, unpacked := Unpacked}} = evum_release:bake(Opts),
    {ok, Vm, Node} = evum_node:start(Opts#{console => none}),
    timer:sleep(1000),
    {ok, Text} = erpc:call(Node, file, read_file, ["/proc/meminfo"]),
    [Total, Free] = [kib(Key, Text) / 1024 || Key <- ["MemTotal", "MemAvailable"]],
    Erlang = erpc:call(Node, erlang, memory, [total]) / 1048576,
    #{os_pids := Pids} = evum:info(Vm),
    Host = lists:sum([pss_of(Pid) || Pid <- descendants(Pids)]) / 1024,
    stop({Vm, Node}),
    io_lib:format("| ~s | ~.1f | ~.1f | ~.1f | ~.1f | ~b | ~b | ~.1f |~n", [Name, Unpacked / 1048576, Total - Free, Erlang, Host, Least, Mem, Free]).

kib(Key, Text) ->
    {match, [Kib]} = re:run(Text, "^" ++ Key ++ ": *([0-9]+)", [multiline, {capture, all_but_first, binary}]),
    binary_to_integer(Kib).

%% --- messages and calls -----------------------------------------------------------------

talk(Dir, Host) ->
    {Peer, Local} = peer(Dir, Host),
    {_, A} = First = machine([Dir]),
    {_, B} = Second = machine([Dir]),
    Pairs = [
        {?HOSTS, node(), Local}, {"host → machine", node(), A}, {"machine → host", A, node()}, {"machine → machine", A, B}
    ],
    Both = [{Function, rounds(?TALKS, [{Name, fun() -> erpc:call(From, node_bench, Function, [To, N]) end} || {Name, From, To} <- Pairs])}
            || {Function, N} <- [{round_trip, ?TRIPS}, {calls, ?CALLS}]],
    peer:stop(Peer),
    [stop(Node) || Node <- [First, Second]],
    [
        "A message there and one back:\n\n", table(?HOSTS, "µs", proplists:get_value(round_trip, Both)),
        "\nrpc:call/4 by 8 processes:\n\n", table(?HOSTS, "calls/s", proplists:get_value(calls, Both))
    ].
