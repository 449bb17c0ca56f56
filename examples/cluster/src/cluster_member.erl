%% SPDX-License-Identifier: Apache-2.0
%% In each machine: who holds the lock leads
%%
%% Members find each other by pg and agree by a lock of global, which is free
%% again when its holder's node is gone. Where the network is cut, only who sees
%% more than half of all may lead: of two majorities one member is in both, and
%% it knows the lock.
-module(cluster_member).
-behaviour(gen_server).

-export([start/1, watch/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([status/0]).

-define(MEMBERS, {?MODULE, members}).
-define(WATCHERS, {?MODULE, watchers}).
%% two that look at the same moments take the lock from each other each time
-define(LOOK_MS, 50 + rand:uniform(100)).
%% who has come just now lets the others try first
-define(SETTLE_MS, 2000).

%% Which members it sees, which nodes it saw go, and whether it leads.
-type status() :: #{sees := [node()], gone := [node()], leads := boolean()}.

%% @doc The member of this node, one of `All'.
-spec start(pos_integer()) -> {ok, pid()} | {error, term()}.
start(All) -> gen_server:start({local, ?MODULE}, ?MODULE, All, []).

%% @doc From now on the caller, on any node of the cluster, gets
%% `{cluster, Node, status()}' of each member, and again whenever it changes.
-spec watch() -> ok.
watch() ->
    groups(),
    pg:join(?WATCHERS, self()).

groups() ->
    case pg:start(pg) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> ok
    end.

init(All) ->
    groups(),
    ok = net_kernel:monitor_nodes(true),
    ok = pg:join(?MEMBERS, self()),
    self() ! look,
    _ = erlang:send_after(?SETTLE_MS, self(), settled),
    {ok, #{all => All, settled => false, status => #{sees => [], gone => [], leads => false}, told => []}}.

handle_info(look, St) ->
    _ = erlang:send_after(?LOOK_MS, self(), look),
    {noreply, look([], St)};
handle_info(settled, St) -> {noreply, St#{settled := true}};
handle_info({nodedown, Node}, St) -> {noreply, look([Node], St)};
handle_info({nodeup, _}, St) -> {noreply, St}.

handle_call(_, _, St) -> {reply, ok, St}.

handle_cast(_, St) -> {noreply, St}.

look(Down, #{all := All, settled := Settled, status := #{gone := Gone, leads := Leads} = Before, told := Told} = St) ->
    Sees = lists:usort([node(P) || P <- pg:get_members(?MEMBERS), not lists:member(node(P), Down)]),
    Status = #{sees => Sees, gone => lists:usort(Down ++ Gone), leads => leads(Leads, Settled andalso 2 * length(Sees) > All, Sees)},
    Watchers = pg:get_members(?WATCHERS),
    case Status of
        Before -> tell(Watchers -- Told, Status);
        _ -> tell(Watchers, Status)
    end,
    St#{status := Status, told := Watchers}.

leads(true, true, _Sees) -> true;
leads(false, true, Sees) -> global:set_lock(lock(), Sees, 0);
leads(true, false, _Sees) -> not global:del_lock(lock());
leads(false, false, _Sees) -> false.

lock() -> {?MODULE, self()}.

tell(Watchers, Status) -> lists:foreach(fun(P) -> P ! {cluster, node(), Status} end, Watchers).
