%% SPDX-License-Identifier: Apache-2.0
%% What runs on the nodes of ./evum bench node
-module(node_bench).

-export([echo/0, round_trip/2, calls/2]).

-define(CALLERS, 8).

echo() ->
    receive
        {From, Message} ->
            From ! Message,
            echo();
        stop -> ok
    end.

%% Microseconds from a message to a process of the node to its answer, over N of them.
round_trip(Node, N) ->
    Echo = spawn_link(Node, ?MODULE, echo, []),
    Trips = fun(Count) -> [begin Echo ! {self(), I}, receive I -> ok end end || I <- lists:seq(1, Count)] end,
    _ = Trips(N div 10),
    {Time, _} = timer:tc(fun() -> Trips(N) end),
    unlink(Echo),
    Echo ! stop,
    Time / N.

%% Calls a second by rpc, of 8 processes that make N each.
calls(Node, N) ->
    Call = fun() -> [Node = rpc:call(Node, erlang, node, []) || _ <- lists:seq(1, N)] end,
    {Time, _} = timer:tc(fun() ->
        Callers = [spawn_monitor(Call) || _ <- lists:seq(1, ?CALLERS)],
        [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Callers]
    end),
    ?CALLERS * N * 1000000 / Time.
