%% SPDX-License-Identifier: Apache-2.0
%% What a guest writes to /proc/mconsole reaches its owner, within bounds
-module(message_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, out/2, expect/2]).

suite() -> [{timetrap, {seconds, 60}}].

%% the kernel's own bound
-define(MESSAGE_MAX, 512).
%% what may be on its way to an owner who doesn't receive
-define(WINDOW, 256).
%% a mailbox this long gets no more
-define(QUEUE_MAX, 1000).

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_message_is_bytes, what_is_too_long_is_cut, one_write_is_one_message, a_huge_write_harms_nobody,
        only_root_may_unless_it_says_otherwise, a_flood_is_bounded_and_counted, messages_wait_for_an_owner
    ].

vm() -> vm([{console, none}]).

%% One write of all the bytes, which the shell wouldn't do.
tell(Vm, Bytes) -> evum:exec(Vm, ["dd", "bs=1M", "of=/proc/mconsole"], #{stdin => Bytes}).

%% Writes the numbers from 0, a message each.
count(Vm, N) ->
    {ok, #{status := 0}} = evum:exec(Vm, io_lib:format("i=0; while [ $i -lt ~b ]; do echo $i; i=$((i+1)); done >/proc/mconsole", [N])),
    ok.

%% So many were written, and each is in the mailbox, held or counted as dropped.
accounted(Vm, N) ->
    evum_test_lib:until(fun() ->
        #{messages_held := Held, messages_dropped := Dropped} = evum:info(Vm),
        {message_queue_len, Len} = process_info(self(), message_queue_len),
        Len + Held + Dropped =:= N
    end).

numbers(Vm) ->
    receive
        {evum, Vm, {message, Bytes}} -> [binary_to_integer(string:trim(Bytes)) | numbers(Vm)]
    after 0 -> []
    end.

a_message_is_bytes(_) ->
    Vm = vm(),
    [begin
         {ok, #{status := 0}} = tell(Vm, Bytes),
         expect(Vm, {message, Bytes})
     end || Bytes <- [<<0>>, <<"one\ntwo\n">>, <<255, 0, 254, 195>>, list_to_binary(lists:seq(0, 255)),
                      crypto:strong_rand_bytes(?MESSAGE_MAX)]],
    stop(Vm).

what_is_too_long_is_cut(_) ->
    Vm = vm(),
    [begin
         Bytes = crypto:strong_rand_bytes(Size),
         {ok, #{status := 0}} = tell(Vm, Bytes),
         expect(Vm, {message, binary:part(Bytes, 0, ?MESSAGE_MAX)})
     end || Size <- [?MESSAGE_MAX + 1, 4096, 60000]],
    stop(Vm).

one_write_is_one_message(_) ->
    Vm = vm(),
    <<>> = out(Vm, "{ printf one; printf two; echo three; } >/proc/mconsole"),
    [expect(Vm, {message, Bytes}) || Bytes <- [<<"one">>, <<"two">>, <<"three\n">>]],
    %% as for any file, a program that buffers puts its writes together
    <<>> = out(Vm, "seq 3 | cat >/proc/mconsole"),
    expect(Vm, {message, <<"1\n2\n3\n">>}),
    stop(Vm).

a_huge_write_harms_nobody(_) ->
    Vm = vm(),
    {ok, #{status := _}} = evum:exec(Vm, "dd if=/dev/zero bs=8M count=1 of=/proc/mconsole"),
    <<>> = out(Vm, "echo there >/proc/mconsole"),
    receive {evum, Vm, {message, <<0:?MESSAGE_MAX/unit:8>>}} -> ok after 0 -> ok end,
    expect(Vm, {message, <<"there\n">>}),
    stop(Vm).

only_root_may_unless_it_says_otherwise(_) ->
    Vm = vm(),
    AsNobody = fun() -> evum:exec(Vm, "echo hello >/proc/mconsole", #{user => "nobody"}) end,
    {ok, #{status := 1, stderr := Said}} = AsNobody(),
    {match, _} = re:run(Said, "/proc/mconsole: Permission denied"),
    <<>> = out(Vm, "chmod o+w /proc/mconsole"),
    {ok, #{status := 0}} = AsNobody(),
    expect(Vm, {message, <<"hello\n">>}),
    stop(Vm).

a_flood_is_bounded_and_counted(_) ->
    Vm = vm(),
    Most = ?QUEUE_MAX + ?WINDOW,
    ok = count(Vm, 2 * Most),
    ok = accounted(Vm, 2 * Most),
    #{messages_held := Held, messages_dropped := Dropped} = evum:info(Vm),
    true = Held =< ?WINDOW,
    true = 2 * Most - Dropped =< Most,
    %% the first ones come, in order
    First = numbers(Vm),
    ok = evum_test_lib:until(fun() -> maps:get(messages_held, evum:info(Vm)) =:= 0 end),
    All = First ++ numbers(Vm),
    All = lists:seq(0, 2 * Most - Dropped - 1),
    ok = count(Vm, 1),
    expect(Vm, {message, <<"0\n">>}),
    stop(Vm).

messages_wait_for_an_owner(_) ->
    Vm = vm([{console, none}, {owner, none}]),
    ok = count(Vm, ?WINDOW + 10),
    ok = accounted(Vm, ?WINDOW + 10),
    #{messages_held := ?WINDOW, messages_dropped := 10} = evum:info(Vm),
    ok = evum:give_away(Vm, self()),
    [expect(Vm, {message, <<(integer_to_binary(N))/binary, "\n">>}) || N <- lists:seq(0, ?WINDOW - 1)],
    #{messages_held := 0} = evum:info(Vm),
    stop(Vm).
