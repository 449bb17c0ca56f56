%% SPDX-License-Identifier: Apache-2.0
%% What a running machine has written: kept as a state, compared, taken back
%%
%% Theory of operation.  For a commit the agent freezes the file system of the
%% machine's layer: all that was written is on the host's file then, and its journal is
%% empty. The file is copied, its holes left out, and the machine goes on; only what
%% writes has waited. Hashing and syncing the copy come after that. Who holds the freeze
%% is told now and then that the copy goes on, and ends it where he isn't.
-module(evm_commit).

-export([commit/2, diff/1, revert/1]).
-export_type([change/0]).

-type change() :: {added | changed | removed, Path :: binary()}.

-define(CALL_MS, 5000).
-define(FREEZE_MS, 60000).
-define(TICK_MS, 10000).
%% a revert is a boot
-define(REVERT_MS, 90000).
%% of paths
-define(DIFF_MAX, 268435456).
-define(DIFF_MS, 600000).

%% @doc Keeps what a machine has written as a state.
-spec commit(pid(), atom()) -> ok | {error, term()}.
commit(Vm, Name) ->
    case {layer(Vm), free(Name)} of
        {{ok, Machine, #{base := Base, layers := Layers, top := Top}}, ok} ->
            evm_states:add(Name, Base, Layers, fun(To, Handle) -> frozen_copy(Vm, Machine, Top, To, Handle) end);
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

%% Machines are created of both by name.
free(Name) ->
    case evm_cfg:dists() of
        {ok, #{Name := _}} -> {error, {state_exists, Name}};
        {ok, _} -> evm_state:name(Name);
        {error, _} = Error -> Error
    end.

layer(Vm) when node(Vm) =/= node() -> {error, {other_node, node(Vm)}};
layer(Vm) ->
    case evum_vm:call(Vm, machine, ?CALL_MS) of
        {ok, #{config := Config} = Machine} ->
            case evm_disk:files(Config) of
                none -> {error, not_layered};
                Files -> {ok, Machine, Files}
            end;
        {error, _} = Error -> Error
    end.

frozen_copy(Vm, #{dist := Dist, mem := Mem, config := #{args := Args} = Config}, Top, To, Handle) ->
    case frozen(Vm, fun(Tick) -> copy(Top, To, Tick, Handle) end) of
        {ok, Bytes} -> {ok, (kernel(Config))#{dist => Dist, mem => Mem, args => Args, bytes => Bytes}};
        {error, _} = Error -> Error
    end.

kernel(#{kernel := Bytes}) ->
    Kernel = unicode:characters_to_list(Bytes),
    case Kernel =:= evum_config:kernel() of
        true -> #{};
        false -> #{kernel => Kernel}
    end.

%% The handle is this process's, and it is what calls; another one ticks.
copy(From, To, Tick, Handle) ->
    Ticker = spawn_link(fun() -> tick(Tick) end),
    Copied = evum_hostfile:copy(From, To, Handle),
    true = unlink(Ticker),
    true = exit(Ticker, kill),
    case Copied of
        {ok, _} = Ok -> Ok;
        {error, port_died} = Error -> Error;
        {error, Posix} -> {error, {local, Posix, unicode:characters_to_binary(To)}}
    end.

tick(Tick) ->
    receive after ?TICK_MS -> _ = Tick(), tick(Tick) end.

%% --- the freeze ------------------------------------------------------------------------

frozen(Vm, Fun) ->
    Program = #{argv => [<<"freeze">>], env => [], builtin => true, timeout => infinity, start => ?FREEZE_MS},
    case evum_proc:spawn(Vm, Program, monitor) of
        {ok, Proc, Monitor} ->
            try awaited(Proc, Monitor, Fun) of
                {ok, _} = Ok -> Ok;
                {error, _} = Error ->
                    thaw(Vm),
                    Error
            after
                exit(Proc, kill),
                forget(Proc, Monitor)
            end;
        {error, _} = Error -> Error
    end.

awaited(Proc, Monitor, Fun) ->
    case next(Proc, Monitor, ?FREEZE_MS) of
        {stdout, <<"frozen\n">>} ->
            Result = Fun(fun() -> evum_proc:write(Proc, <<"\n">>) end),
            thawed(evum_proc:write(Proc, eof), Result, Proc, Monitor);
        {exit, Ending} -> {error, ending(Ending)};
        timeout -> {error, {timeout, freeze, ?FREEZE_MS}};
        _ -> awaited(Proc, Monitor, Fun)
    end.

%% The copy counts only where all stood still to its end.
thawed(_Written, Result, Proc, Monitor) ->
    case next(Proc, Monitor, ?FREEZE_MS) of
        {exit, 0} -> Result;
        {exit, Ending} -> {error, ending(Ending)};
        timeout -> {error, {timeout, freeze, ?FREEZE_MS}};
        _ -> thawed(ok, Result, Proc, Monitor)
    end.

next(Proc, Monitor, Ms) ->
    receive
        {evum, Proc, Event} -> Event;
        {'DOWN', Monitor, process, _, Reason} -> {exit, Reason}
    after Ms -> timeout
    end.

ending({error, Posix}) -> {freeze_failed, Posix};
ending({vm_down, _} = Down) -> Down;
ending(Other) -> {freeze_failed, Other}.

forget(Proc, Monitor) ->
    true = demonitor(Monitor, [flush]),
    receive {evum, Proc, _} -> forget(Proc, Monitor) after 0 -> ok end.

%% Should who held it have been killed.
thaw(Vm) ->
    _ = evum_proc:exec(Vm, #{argv => [<<"thaw">>], env => [], builtin => true, timeout => ?CALL_MS, max_output => 4096}),
    ok.

%% --- what was changed --------------------------------------------------------------------

%% @doc What was changed of what the machine was created of, by path.
-spec diff(pid()) -> {ok, [change()]} | {error, term()}.
diff(Vm) ->
    Program = #{argv => [<<"diff">>], env => [], builtin => true, timeout => ?DIFF_MS, max_output => ?DIFF_MAX},
    case evum_proc:exec(Vm, Program) of
        {ok, #{status := 0, stdout := Out}} -> changes([change(Record) || Record <- binary:split(Out, <<0>>, [global, trim])]);
        {ok, #{status := _}} -> {error, eproto};
        {error, enoent} -> {error, not_layered};
        {error, {Why, #{}}} when Why =:= timeout; Why =:= max_output -> {error, {diff_too_large, Why}};
        {error, _} = Error -> Error
    end.

%% A guest's root may have had a hand in it.
changes(Changes) ->
    case lists:member(none, Changes) of
        true -> {error, eproto};
        false -> {ok, lists:keysort(2, Changes)}
    end.

change(<<$A, Path/binary>>) -> {added, Path};
change(<<$C, Path/binary>>) -> {changed, Path};
change(<<$R, Path/binary>>) -> {removed, Path};
change(_) -> none.

%% @doc Takes back all that the machine has written: its power is cut, and it boots from
%% what it was created of.
-spec revert(pid()) -> ok | {error, term()}.
revert(Vm) -> evum_vm:call(Vm, {revert, ?REVERT_MS}, ?REVERT_MS + ?CALL_MS).
