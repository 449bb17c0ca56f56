%% SPDX-License-Identifier: Apache-2.0
%% Any term may come as options: it is taken or refused, and the refusal has a sentence
-module(prop_evum_opts).
-include_lib("proper/include/proper.hrl").

-export([prop_any_machine_options_are_taken_or_refused/0, prop_any_program_is_taken_or_refused/0,
         prop_any_transfer_is_taken_or_refused/0, prop_anything_awaited_is_taken_or_refused/0,
         prop_what_is_taken_is_complete/0, prop_every_refusal_has_a_sentence/0]).

prop_any_machine_options_are_taken_or_refused() ->
    ?FORALL({Kind, Opts}, {kind(), options(machine_key())}, answered(fun() -> evum_opts:machine(Kind, Opts) end)).

prop_any_program_is_taken_or_refused() ->
    ?FORALL({Kind, Cmd, Opts}, {oneof([exec, spawn]), command(), options(program_key())},
        answered(fun() -> evum_opts:program(Kind, Cmd, Opts) end)).

prop_any_transfer_is_taken_or_refused() ->
    ?FORALL({What, Opts}, {oneof([put, get, get_file]), options(oneof([mode, owner, timeout, max_size]))},
        answered(fun() -> evum_opts:transfer(What, Opts) end)).

prop_anything_awaited_is_taken_or_refused() ->
    ?FORALL(What, oneof([any(), net, init, {file, value()}, {port, value()}]),
        case evum_await:check(What) of
            {ok, Argv} -> lists:all(fun is_binary/1, Argv);
            error -> true
        end).

%% evum_vm reads these keys without asking whether they are there.
prop_what_is_taken_is_complete() ->
    ?FORALL({Kind, Opts}, {kind(), list(good_option())},
        begin
            {ok, Machine} = evum_opts:machine(Kind, Opts),
            [] =:= [label, dist, net, args, cpu, console, owner, life, wait_boot, on_reboot, verbose] -- maps:keys(Machine)
        end).

prop_every_refusal_has_a_sentence() ->
    ?FORALL(Reason, oneof([any(), {bad_option, any()}, {bad_option, machine_key()}, {boot_failed, any(), any()},
                           {panic, any()}, {timeout, any(), any()}, {bad_config, any(), any(), any()}]),
        begin
            Text = evum_error:format(Reason),
            is_list(Text) andalso (Text =/= "" orelse Reason =:= '') andalso lists:all(fun is_integer/1, Text)
        end).

%% Debian's PropEr can't show what a property raises: so it raises nothing.
answered(Check) ->
    try Check() of
        Answer -> answer(Answer)
    catch
        Class:Reason:Stack ->
            io:format("~p: ~p~n~P~n", [Class, Reason, Stack, 20]),
            false
    end.

answer({ok, Map}) -> is_map(Map);
answer({error, {bad_option, _}}) -> true;
answer({error, {bad_command, _}}) -> true;
answer({error, e2big}) -> true;
answer(_) -> false.

kind() -> oneof([create, start, start_link]).

options(Key) ->
    frequency([{1, any()}, {1, improper(Key)}, {4, list(option(Key))},
               {4, ?LET(L, list({oneof([Key, any()]), value()}), maps:from_list(L))}]).

improper(Key) -> ?LET({L, T}, {list(option(Key)), oneof([foo, <<"x">>, {a, 1}])}, L ++ T).

option(Key) -> oneof([Key, {Key, value()}, {any(), any()}, any()]).

machine_key() ->
    oneof([label, dist, net, mem, kernel, args, cpu, console, owner, life, wait_boot, timeout, on_reboot, verbose]).

program_key() -> oneof([timeout, max_output, stdin, env, cd, user, pty, max_procs, max_mem]).

%% Terms that are nearly right.
value() ->
    oneof([any(), integer(), true, false, none, undefined, '', 'a b', "text", <<0>>, <<255>>, "", [16#110000], [-1], [16#d800], [$a | b],
           [[]], ["a" | b], [<<"a">>, 1], #{}, #{"A" => 1}, [{"A", "b"}], [{"A=", "b"}], -1, 1.0, 1 bsl 70, self()]).

command() ->
    oneof([any(), list(value()), "true", <<"true">>, ["true" | x], [], <<>>, [<<>>], [""],
           ?LET(N, range(1, 200000), binary:copy(<<"x">>, N))]).

good_option() ->
    oneof([{label, oneof([test1, 'a-b', 'X'])}, {dist, oneof([atom(), {initramfs, "image.cpio"}])}, {net, false}, {mem, range(32, 4096)},
           {kernel, "linux.uml"}, {args, list(oneof(["quiet", <<"a=b">>]))}, {cpu, oneof([any, range(0, 63)])},
           {console, oneof([line, tagged, none])}, {owner, none}, {wait_boot, oneof([false, range(1, 60000)])},
           {timeout, range(1, 60000)}, {on_reboot, oneof([reboot, stop])}, verbose, {verbose, boolean()}]).
