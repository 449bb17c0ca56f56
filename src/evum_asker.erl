%% SPDX-License-Identifier: Apache-2.0
%% The process that asked for something
%%
%% In the erl shell that is an evaluator, which any error replaces by another one.
%% What lives with it would end with a typo, so it lives with the shell, and what it
%% is to be sent goes to the evaluator of the moment.
-module(evum_asker).

-export([self/0, life/1, pid/1]).
-export_type([asker/0]).
-compile({no_auto_import, [self/0]}).

-record(asker, {pid :: pid(), shell :: pid() | undefined}).
-opaque asker() :: #asker{}.

%% @doc The caller.
-spec self() -> asker().
self() ->
    Pid = erlang:self(),
    case process_info(Pid, parent) of
        {parent, Parent} when is_pid(Parent), node(Parent) =:= node() ->
            #asker{pid = Pid, shell = case shell:whereis_evaluator(Parent) of Pid -> Parent; _ -> undefined end};
        {parent, _} ->
            #asker{pid = Pid}
    end.

%% @doc The process whose life counts: the asker's, or his shell's.
-spec life(asker()) -> pid().
life(#asker{pid = Pid, shell = undefined}) -> Pid;
life(#asker{shell = Shell}) -> Shell.

%% @doc The process that messages go to now.
-spec pid(asker()) -> pid().
pid(#asker{pid = Pid, shell = Shell}) when is_pid(Shell), node(Shell) =:= node() ->
    case is_process_alive(Pid) of
        true -> Pid;
        false -> evaluator(shell:whereis_evaluator(Shell), Pid)
    end;
pid(#asker{pid = Pid}) -> Pid.

evaluator(undefined, Pid) -> Pid;
evaluator(Evaluator, _Pid) -> Evaluator.
