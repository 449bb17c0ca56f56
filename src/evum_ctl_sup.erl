%% SPDX-License-Identifier: Apache-2.0
%% Supervises the control sockets of evum_ctl:start/1
-module(evum_ctl_sup).
-behaviour(supervisor).

-export([start_link/0, start_child/1, stop_child/1, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private simple_one_for_one, temporary: a control socket has another path when it is
%% started anew, which its clients can't know.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Ctl = #{id => evum_ctl, start => {evum_ctl, start_link, []}, restart => temporary},
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Ctl]}}.

%% @doc Starts the control socket of a switch.
-spec start_child(pid()) -> {ok, pid()} | {error, term()}.
start_child(Switch) ->
    try supervisor:start_child(?MODULE, [Switch]) of
        {ok, Pid} -> {ok, Pid};
        {error, {shutdown, Reason}} -> {error, Reason};
        {error, _} = Error -> Error
    catch
        exit:{noproc, _} -> {error, not_started}
    end.

%% @doc Ends a control socket, if it is there.
-spec stop_child(pid()) -> ok.
stop_child(Ctl) ->
    try supervisor:terminate_child(?MODULE, Ctl) of
        _EndedOrGone -> ok
    catch
        exit:{noproc, _} -> ok
    end.
