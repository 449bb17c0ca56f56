%% SPDX-License-Identifier: Apache-2.0
%% Several machines of one state or dist, side by side: all, or none
-module(evm_fork).

-export([fork/3]).

-define(MAX, 1000).
-define(BOOT_MS, 60000).

%% @doc See {@link evm:fork/3}.
-spec fork(atom(), pos_integer(), proplists:proplist() | map()) -> {ok, [pid()]} | {error, term()}.
fork(Name, N, Opts) when is_map(Opts) -> fork(Name, N, maps:to_list(Opts));
fork(Name, N, Opts) when is_atom(Name), is_integer(N), N > 0, N =< ?MAX, is_list(Opts) ->
    case lists:any(fun(Key) -> lists:keymember(Key, 1, Opts) end, [dist, label]) of
        true -> {error, {bad_option, fork}};
        false -> create(N, [{dist, Name} | lists:keydelete(wait_boot, 1, Opts)], proplists:get_value(wait_boot, Opts, ?BOOT_MS), [])
    end;
fork(_Name, _N, _Opts) -> {error, {bad_option, fork}}.

create(0, _Opts, Wait, Vms) -> await(lists:reverse(Vms), Wait);
create(N, Opts, Wait, Vms) ->
    case evm:create(Opts ++ [{wait_boot, false}]) of
        {ok, Vm} -> create(N - 1, Opts, Wait, [Vm | Vms]);
        {error, _} = Error -> none(Vms, Error)
    end.

await(Vms, false) -> {ok, Vms};
await(Vms, Ms) ->
    case lists:filter(fun(Result) -> Result =/= ok end, [up(Vm, Ms) || Vm <- Vms]) of
        [] -> {ok, Vms};
        [Error | _] -> none(Vms, Error)
    end.

up(Vm, Ms) ->
    case evum:await(Vm, up, Ms) of
        {error, {vm_down, Reason}} -> {error, Reason};
        Result -> Result
    end.

none(Vms, Error) ->
    lists:foreach(fun evum:crash/1, Vms),
    Error.
