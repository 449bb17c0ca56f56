%% SPDX-License-Identifier: Apache-2.0
%% Three machines under a supervisor: the one that leads is crashed, another
%% leads, and it comes back
%%
%% In an Erlang shell with evum and this directory's ebin: cluster:demo().
-module(cluster).
-behaviour(supervisor).

-export([start_link/0, demo/0, init/1]).

-define(NAMES, [red, green, blue]).
-define(WAIT_MS, 30000).

%% @doc Three machines, a node with a member each. It returns when all are up; one
%% that crashes is booted again.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link(?MODULE, ?NAMES).

init(Names) ->
    Ebin = filename:dirname(code:which(?MODULE)),
    Start = {cluster_member, start, [length(Names)]},
    {ok, {#{strategy => one_for_one}, [evum_node:child_spec(#{name => Name, paths => [Ebin], start => Start}) || Name <- Names]}}.

%% @doc Tells what it does. The node that led, and the one that leads after it.
-spec demo() -> {node(), node()}.
demo() ->
    {ok, Sup} = start_link(),
    unlink(Sup),
    try play() after gen_server:stop(Sup, shutdown, infinity) end.

play() ->
    ok = cluster_member:watch(),
    Up = await("all see each other", fun(Seen) -> all_see(Seen, length(?NAMES)) end, #{}),
    First = leader(Up),
    io:format("~s leads; its machine's power is cut~n", [First]),
    ok = evum:crash(label(First)),
    Others = await("the others have seen it go, and one of them leads", fun(Seen) ->
        Left = maps:remove(First, Seen),
        lists:all(fun(#{gone := Gone}) -> lists:member(First, Gone) end, maps:values(Left)) andalso leader(Left) =/= none
    end, maps:remove(First, Up)),
    Second = leader(maps:remove(First, Others)),
    _ = await("it is back", fun(Seen) -> all_see(Seen, length(?NAMES)) end, Others),
    io:format("~s leads~n", [Second]),
    {First, Second}.

all_see(Seen, All) ->
    map_size(Seen) =:= All andalso leader(Seen) =/= none
        andalso lists:all(fun(#{sees := Nodes}) -> length(Nodes) =:= All end, maps:values(Seen)).

leader(Seen) ->
    case [Node || {Node, #{leads := true}} <- maps:to_list(Seen)] of
        [Node] -> Node;
        [] -> none
    end.

label(Node) ->
    [Name, _Host] = string:split(atom_to_list(Node), "@"),
    list_to_existing_atom(Name).

%% What the members say, each its last word, until it is so.
await(What, Condition, Seen) ->
    case Condition(Seen) of
        true ->
            io:format("~s~n", [What]),
            Seen;
        false ->
            receive
                {cluster, Node, Status} -> await(What, Condition, Seen#{Node => Status})
            after ?WAIT_MS -> error({never, What, Seen})
            end
    end.
