%% SPDX-License-Identifier: Apache-2.0
%% Supervises the networks that live until they are stopped
-module(evum_net_sup).
-behaviour(supervisor).

-export([start_link/0, start_child/1, init/1]).

%% A switch's helpers end with it, at once.
-define(SHUTDOWN_MS, 5000).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Starts a network.
-spec start_child(evum_net_opts:net()) -> {ok, pid()} | {error, term()}.
start_child(Net) ->
    try
        supervisor:start_child(?MODULE, [Net])
    catch
        exit:_ -> {error, not_started}
    end.

%% @private transient: a network that was stopped stays so, and one that crashed comes
%% back under its name, where its machines find it.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Network = #{
        id => network, start => {evum_switch_server, start_link, []}, restart => transient,
        shutdown => ?SHUTDOWN_MS, modules => [evum_switch_server]
    },
    {ok, {#{strategy => simple_one_for_one, intensity => 10, period => 10}, [Network]}}.
