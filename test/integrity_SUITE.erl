%% SPDX-License-Identifier: Apache-2.0
%% No byte of a disk is ever wrong: written anywhere in any size, and after power cuts
%%
%% EVUM_DISK_SECONDS=600 writes for that long in all, in place of a few seconds.
-module(integrity_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1]).

%% of the file that is written to, which nobody fills first
-define(MIB, "32").
-define(TARGET, "/data/anywhere").
%% between two cuts
-define(CUT_MS, 5000).

suite() -> [{timetrap, {seconds, 120 + 2 * seconds()}}].

init_per_suite(Config0) ->
    Config = evum_test_disk:init_suite(Config0),
    Program = filename:join(?config(dir, Config), "init"),
    Source = filename:join([evum_test_lib:tree(), "test", "fixture", "writes_anywhere.c"]),
    {0, _, _} = sh(["cc -std=gnu11 -static -O2 -o ", Program, " ", Source]),
    Image = ?config(image, Config),
    {0, _, _} = sh(["cp ", Image, " ", Image, ".rw; chmod 666 ", Image, ".rw"]),
    [{program, Program} | Config].

end_per_suite(Config) -> evum_test_disk:end_suite(Config).

init_per_testcase(Case, Config) ->
    Image = ?config(image, Config),
    evum_test_disk:dists([{layered, [{file, Image}]}, {written, [{file, Image ++ ".rw"}, {access, rw}]}]),
    evum_test_lib:begin_case(Case, Config).

end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() -> [a_layer_is_right, a_durable_layer_is_right, a_written_image_is_right, guest_memory_is_right, umls_own_layers_are_wrong].

seconds() -> list_to_integer(os:getenv("EVUM_DISK_SECONDS", "8")).

seed() ->
    Seed = rand:uniform(1 bsl 60),
    ct:pal("seed ~b", [Seed]),
    integer_to_list(Seed).

a_layer_is_right(Config) ->
    Layer = filename:join(?config(dir, Config), "kept"),
    cut_again_and_again([{dist, layered}, {disk, Layer}], Config),
    ok = file:delete(Layer).

a_durable_layer_is_right(Config) ->
    Layer = filename:join(?config(dir, Config), "durable"),
    cut_again_and_again([{dist, layered}, {disk, Layer}, {durable, true}], Config),
    ok = file:delete(Layer).

a_written_image_is_right(Config) -> cut_again_and_again([{dist, written}], Config).

%% Nothing survives there to be looked at after a cut.
guest_memory_is_right(Config) ->
    V = start([{dist, layered}, {disk, memory}, {mem, 192}], Config),
    {right, _, _} = write(V, seed(), 0, [], 1000 * seconds() div 4),
    ok = evum:crash(V).

start(Opts, Config) ->
    {ok, V} = evm:create([{console, none} | Opts]),
    ok = evum:put(V, {file, ?config(program, Config)}, "/run/writes_anywhere", [{mode, 8#755}]),
    V.

%% Every other life ends by a power cut in the midst of it, the kernel killed or its guest crashed.
cut_again_and_again(Opts, Config) ->
    Deadline = erlang:monotonic_time(millisecond) + 1000 * seconds() div 4,
    lives(Opts, seed(), 0, [], Deadline, Config).

lives(Opts, Seed, From, Cuts, Deadline, Config) ->
    Left = Deadline - erlang:monotonic_time(millisecond),
    V = start(Opts, Config),
    Ms = min(?CUT_MS, max(1000, Left)),
    Last = Left =< ?CUT_MS andalso Cuts =/= [],
    case Last of
        true ->
            {right, Writes, _} = write(V, Seed, From, Cuts, Ms),
            ct:pal("~b writes, ~b cuts: right", [From + Writes, length(Cuts)]),
            ok = evum:crash(V);
        false ->
            {cut, Synced, Lease} = cut(V, Seed, From, Cuts, rand:uniform(Ms)),
            lives(Opts, Seed, Lease, Cuts ++ [{Synced, Lease}], Deadline, Config)
    end.

arguments(Seed, Seconds, From, Cuts) ->
    ["/run/writes_anywhere", ?TARGET, ?MIB, Seed, float_to_list(Seconds, [{decimals, 3}]), integer_to_list(From)
     | [lists:concat([Synced, "-", Lease]) || {Synced, Lease} <- Cuts]].

write(V, Seed, From, Cuts, Ms) ->
    {ok, #{status := Status, stdout := Out}} = evum:exec(V, arguments(Seed, Ms / 1000, From, Cuts), [{timeout, Ms + 60000}]),
    result(Status, Out).

result(0, Out) ->
    {match, [Writes, Reads]} = re:run(Out, "right ([0-9]+) writes, ([0-9]+) reads", [{capture, all_but_first, list}]),
    {right, list_to_integer(Writes), list_to_integer(Reads)};
result(1, Out) ->
    {match, [What]} = re:run(Out, "wrong sector.*", [{capture, first, binary}]),
    {wrong, What}.

%% Lets it write for a while from its first lease on, and cuts the power. A lease that
%% wasn't heard of isn't used.
cut(V, Seed, From, Cuts, Ms) ->
    {ok, Proc} = evum:spawn(V, arguments(Seed, 1000.0, From, Cuts), []),
    {Synced, Lease} = follow(V, Proc, Ms, <<>>, {From, From}),
    {cut, Synced, Lease}.

follow(V, Proc, Ms, Part, {_, Lease0} = Told0) ->
    receive
        {evum, Proc, {stdout, Bytes}} ->
            Lines = binary:split(<<Part/binary, Bytes/binary>>, <<"\n">>, [global]),
            {_, Lease} = Told = lists:foldl(fun told/2, Told0, lists:droplast(Lines)),
            Lease > Lease0 andalso (ok = evum:write(Proc, ".")),
            Lease > Lease0 andalso Ms > 0 andalso erlang:send_after(Ms, self(), {cut, Proc}),
            follow(V, Proc, case Lease > Lease0 of true -> 0; false -> Ms end, lists:last(Lines), Told);
        {evum, Proc, {exit, Status}} -> error({ended, Status, Part});
        {cut, Proc} ->
            Monitor = monitor(process, V),
            case rand:uniform(2) of
                1 -> ok = evum:crash(V);
                2 -> ok = evum_test_lib:kill(evum_test_lib:kernel_pid(V), "KILL")
            end,
            _ = evum_test_lib:monitored(Monitor, V, 10000),
            _ = evum_test_lib:flush(),
            Told0
    after 60000 -> error({silent, Part})
    end.

told(<<"synced ", N/binary>>, {_, Lease}) -> {binary_to_integer(N), Lease};
told(<<"lease ", N/binary>>, {Synced, _}) -> {Synced, binary_to_integer(N)};
told(Other, _) -> error({said, Other}).

%% The same program finds what is wrong with a kernel's own copy-on-write, and nothing with its plain disk.
umls_own_layers_are_wrong(Config) ->
    {wrong, What} = bare("ubd0=cow,base", Config),
    ct:pal("~ts", [What]),
    {right, _, _} = bare("ubd0d=base", Config).

bare(Disk, Config) ->
    Dir = filename:join(?config(dir, Config), "bare"),
    ok = filelib:ensure_path(Dir),
    Line = ["mem=64M initrd=init.cpio rdinit=/init con0=fd:0,fd:1 con=null ssl=null noreboot quiet loglevel=3 lpj=40000000 "
            "pty.legacy_count=0 initcall_blacklist=raid6_select_algo,ssl_init uml_dir=", Dir, "/ ", Disk, " -- /dev/ubda ", ?MIB, " ", seed(), " 1 0"],
    {0, Out, _} = sh(["cd ", Dir, " && rm -f * && cp ../init . && echo init | cpio --quiet -o -H newc >init.cpio && truncate -s ", ?MIB, "M base && "
                      "exec setarch -R ", evum_config:kernel(), " ", Line]),
    case string:find(Out, "wrong sector") of
        nomatch -> result(0, Out);
        _ -> result(1, Out)
    end.
