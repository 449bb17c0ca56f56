%% SPDX-License-Identifier: Apache-2.0
%% Supervises the networks that live until they are stopped
%%
%% Each has a supervisor of its own: one that crashes again and again ends alone.
-module(evum_net_sup).
-behaviour(supervisor).

-export([start_link/0, start_child/1, start_network/1, init/1]).

%% A switch's helpers end with it, at once.
-define(SHUTDOWN_MS, 5000).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, networks).

%% @doc Starts a network.
-spec start_child(evum_net_opts:net()) -> {ok, pid()} | {error, term()}.
start_child(Net) ->
    try supervisor:start_child(?MODULE, [Net]) of
        {ok, _Sup, Switch} -> {ok, Switch};
        {error, _} = Error -> Error
    catch
        exit:_ -> {error, not_started}
    end.

%% @private The supervisor of one network, and its switch.
-spec start_network(evum_net_opts:net()) -> {ok, pid(), Switch :: pid()} | {error, term()}.
start_network(Net) ->
    {ok, Sup} = supervisor:start_link(?MODULE, network),
    case supervisor:start_child(Sup, switch(Net)) of
        {ok, Switch} when is_pid(Switch) -> {ok, Sup, Switch};
        {error, Reason} ->
            unlink(Sup),
            exit(Sup, shutdown),
            {error, reason(Reason)}
    end.

reason({Reason, Child}) when is_tuple(Child), element(1, Child) =:= child -> Reason;
reason(Reason) -> Reason.

%% transient: a network that was stopped stays so, and its supervisor goes with it; one that
%% crashed comes back under its name, where its machines find it.
switch(Net) ->
    #{
        id => network, start => {evum_switch_server, start_link, [Net]}, restart => transient, significant => true,
        shutdown => ?SHUTDOWN_MS, modules => [evum_switch_server]
    }.

%% @private temporary: what a network's own supervisor gives up is given up.
-spec init(networks | network) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(networks) ->
    Network = #{id => network, start => {?MODULE, start_network, []}, restart => temporary, type => supervisor},
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Network]}};
init(network) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10, auto_shutdown => any_significant}, []}}.
