%% SPDX-License-Identifier: Apache-2.0
%% An image's file system is booted; what is written to it is kept or discarded, as asked
-module(disk_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, down/1, out/2, sentence/1]).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) -> evum_test_disk:init_suite(Config).
end_per_suite(Config) -> evum_test_disk:end_suite(Config).

init_per_testcase(Case, Config) ->
    Image = ?config(image, Config),
    Bad = filename:join(?config(priv_dir, Config), "bad.img"),
    evum_test_disk:dists([
        {overlaid, [{file, Image}]}, {written, [{file, Image}, {access, rw}, {mem, 48}]},
        {bad, [{file, Bad}, {access, rw}]}, {badoverlay, [{file, Bad}]}, {missing, [{file, "/nosuch.img"}]}
    ]),
    evum_test_lib:begin_case(Case, [{bad, Bad} | Config]).

end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        an_overlay_leaves_the_image_as_it_is, what_is_written_is_kept, a_second_writer_is_refused, readers_share,
        what_is_no_file_system_is_told, what_cannot_be_read_is_told, its_own_init_ends_the_machine
    ].

an_overlay_leaves_the_image_as_it_is(Config) ->
    Before = evum_test_disk:sum(?config(image, Config)),
    V = vm([{dist, overlaid}]),
    <<"base">> = out(V, "cat /etc/mark"),
    <<"changed">> = out(V, "echo changed > /etc/mark; sync; cat /etc/mark"),
    {match, _} = re:run(out(V, "mount"), " / "),
    Echo = evum:send(V, "hostname"),
    true = is_binary(Echo),
    ok = evum:crash(V),
    W = vm([{dist, overlaid}]),
    <<"base">> = out(W, "cat /etc/mark"),
    stop(W),
    Before = evum_test_disk:sum(?config(image, Config)).

what_is_written_is_kept(_) ->
    V = vm([{dist, written}]),
    <<"kept">> = out(V, "echo kept > /etc/kept; cat /etc/kept"),
    stop(V),
    W = vm([{dist, written}]),
    <<"kept">> = out(W, "cat /etc/kept"),
    {ok, _} = evum:exec(W, "echo synced > /etc/synced; sync"),
    ok = evum:crash(W),
    %% what a power cut leaves can't be repaired by a machine that mustn't write
    {error, {boot_failed, root, _} = Reason} = evm:create([{dist, overlaid}]),
    {match, _} = re:run(sentence(Reason), "access, rw"),
    X = vm([{dist, written}]),
    <<"synced">> = out(X, "cat /etc/synced"),
    stop(X).

a_second_writer_is_refused(_) ->
    V = vm([{dist, written}]),
    [begin
         {error, Reason} = evm:create([{dist, Dist}]),
         ct:pal("~p~n~ts", [Reason, sentence(Reason)]),
         {match, _} = re:run(evum:format_error(Reason), "use|lock|another", [caseless])
     end || Dist <- [written]],
    stop(V),
    stop(vm([{dist, written}])).

readers_share(_) ->
    Vms = [vm([{dist, overlaid}, {console, none}]) || _ <- [1, 2]],
    [<<"base">> = out(V, "cat /etc/mark") || V <- Vms],
    [stop(V) || V <- Vms].

what_is_no_file_system_is_told(Config) ->
    Bad = ?config(bad, Config),
    [begin
         ok = file:write_file(Bad, Bytes),
         ok = file:change_mode(Bad, 8#666),
         {error, {boot_failed, Stage, [_ | _] = Lines} = Reason} = evm:create([{dist, Dist}, {wait_boot, 15000}]),
         ct:pal("~p~n~ts", [lists:last(Lines), sentence(Reason)]),
         true = lists:member(Stage, [root, disk])
     end || Dist <- [bad, badoverlay], Bytes <- [crypto:strong_rand_bytes(1 bsl 20), binary:copy(<<0>>, 1 bsl 20)]],
    ok = file:delete(Bad).

what_cannot_be_read_is_told(_) ->
    {error, {bad_image, "/nosuch.img", enoent} = Reason} = evm:create([{dist, missing}]),
    sentence(Reason),
    [#{present := false}] = [D || #{dist := missing} = D <- evm:dists()].

its_own_init_ends_the_machine(_) ->
    V = vm([{dist, overlaid}]),
    Monitor = monitor(process, V),
    spawn(fun() -> evum:exec(V, "poweroff") end),
    {shutdown, halted} = evum_test_lib:monitored(Monitor, V, 15000).
