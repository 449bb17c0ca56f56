%% SPDX-License-Identifier: Apache-2.0
%% The application's top supervisor
-module(evum_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private one_for_one: what evum starts beside the machines is no reason to end them.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Children = [
        %% before the machines: what is theirs is gone last
        #{id => evum_dist, start => {evum_dist, start_link, []}, shutdown => 10000},
        #{id => evum_store_sup, start => {evum_store_sup, start_link, []}, type => supervisor, shutdown => infinity},
        #{id => evum_node_names, start => {evum_node_names, start_link, []}, shutdown => 5000},
        #{id => evum_net_sup, start => {evum_net_sup, start_link, []}, type => supervisor, shutdown => infinity},
        #{id => evum_vm_sup, start => {evum_vm_sup, start_link, []}, type => supervisor, shutdown => infinity},
        #{id => evum_ctl_sup, start => {evum_ctl_sup, start_link, []}, type => supervisor, shutdown => infinity}
    ],
    {ok, {#{strategy => one_for_one, intensity => 5, period => 60}, Children}}.
