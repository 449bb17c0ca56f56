%% SPDX-License-Identifier: Apache-2.0
%% Supervises the machines of evm:create/1 and evum:start/1
-module(evum_vm_sup).
-behaviour(supervisor).

-export([start_link/0, create/2, boot/1, init/1, shutdown/0]).

%% Longer than the sum of a machine's stop ladder.
-define(SHUTDOWN_MS, 15000).
%% What a failed boot may take to be cleaned up.
-define(CLEAN_MS, 10000).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private simple_one_for_one, temporary: a machine is started by who wants
%% it, and one that ended stays ended: its owner was told and knows better.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Machine = #{
        id => machine, start => {evum_vm, start_link, []}, restart => temporary,
        shutdown => ?SHUTDOWN_MS, modules => [evum_vm]
    },
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Machine]}}.

%% @doc How long a supervisor should let a machine shut down, in ms.
-spec shutdown() -> pos_integer().
shutdown() -> ?SHUTDOWN_MS.

%% @doc Starts a machine and, but for `wait_boot' false, waits until it is up.
-spec create(evum_opts:kind(), term()) -> {ok, pid()} | {error, term()}.
create(Kind, Opts) ->
    case evum_config:machine(Kind, Opts) of
        {ok, Machine} -> boot(Machine);
        {error, _} = Error -> Error
    end.

%% @doc The same with a machine whose options are checked.
-spec boot(evum_vm:machine()) -> {ok, pid()} | {error, term()}.
boot(#{wait_boot := Wait} = Machine) ->
    Creator = case Wait of false -> none; _ -> self() end,
    created(start_child(Machine#{supervised => true, creator => Creator}), Machine).

start_child(Machine) ->
    try
        supervisor:start_child(?MODULE, [Machine])
    catch
        %% the application stops
        exit:_ -> {error, not_started}
    end.

created({ok, Vm}, #{wait_boot := false}) when is_pid(Vm) -> {ok, Vm};
created({ok, Vm}, #{wait_boot := Ms}) when is_pid(Vm) -> await_up(Vm, Ms);
created({ok, undefined}, #{label := Label}) -> {error, {label_in_use, Label}};
created({error, Reason}, _Machine) -> {error, Reason}.

%% The error is returned once the machine is gone: its label is free then.
await_up(Vm, Ms) ->
    Monitor = monitor(process, Vm),
    case evum_vm:call(Vm, await_up, Ms + ?CLEAN_MS) of
        ok ->
            true = demonitor(Monitor, [flush]),
            {ok, Vm};
        {error, Reason} ->
            receive
                {'DOWN', Monitor, process, _, End} -> {error, why(Reason, End)}
            after ?CLEAN_MS ->
                exit(Vm, kill),
                {error, Reason}
            end
    end.

why({vm_down, Reason}, _End) -> Reason;
why(noproc, End) -> End;
why(Reason, _End) -> Reason.
