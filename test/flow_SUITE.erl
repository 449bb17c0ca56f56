%% SPDX-License-Identifier: Apache-2.0
%% Frames that go from one machine's port program to the other's: none is missed by who wants to see it
-module(flow_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [stop/1, until/1, until/2, parallel/1]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        erlang_has_no_part_in_them, counts_are_whole, who_subscribes_sees_every_frame, a_partition_holds_at_once,
        frames_keep_their_order, one_that_stands_still_holds_up_nobody, a_reboot_and_a_new_plug_are_followed,
        one_that_is_killed_harms_nobody, without_a_switch_nothing_passes, what_is_forged_has_no_flow
    ].

%% --- helpers ---------------------------------------------------------------------

switch() ->
    {ok, Sw} = evum_switch:start([{mtu, 1500}]),
    Sw.

vms(Labels, Sw) -> parallel([fun() -> {ok, V} = evm:create([{label, L}, {net, Sw}, {owner, none}]), V end || L <- Labels]).

stop_all(Vms) -> parallel([fun() -> stop(V) end || V <- Vms]).

%% How many of `Count' pings, 20 ms apart, are answered.
pings(Vm, Name, Count) ->
    Command = io_lib:format("ping -q -c ~b -i 0.02 -W 1 -w ~b ~s", [Count, Count div 50 + 2, Name]),
    {ok, #{stdout := Out}} = evum:exec(Vm, lists:flatten(Command)),
    {match, [N]} = re:run(Out, "([0-9]+) (?:packets )?received", [{capture, all_but_first, list}]),
    list_to_integer(N).

%% Two machines between which all goes by flows, in both directions.
pair() ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    flow(Sw, A, "b"),
    {Sw, A, B}.

flow(Sw, Vm, Name) ->
    until(fun() -> pings(Vm, Name, 3) =:= 3 andalso flows(Sw) >= 2 end),
    %% the answers to both questions have come: what was asked for is open
    3 = pings(Vm, Name, 3),
    ok.

ip(Sw, Label) -> inet:ntoa(maps:get(ip, counts(Sw, Label))).

flows(Sw) -> maps:get(flows, evum_switch:info(Sw)).

counts(Sw, Label) -> hd([P || #{label := L} = P <- evum_switch:ports(Sw), L =:= Label]).

%% The batches of frames that reach a machine's process during `Fun', but for those that its
%% kernel sends of its own accord to all.
batches(Vm, Fun) ->
    1 = erlang:trace(Vm, true, ['receive']),
    Fun(),
    1 = erlang:trace(Vm, false, ['receive']),
    Ref = erlang:trace_delivered(Vm),
    receive {trace_delivered, Vm, Ref} -> ok end,
    traced(Vm).

traced(Vm) ->
    receive
        {trace, Vm, 'receive', {_Port, {data, <<2, _Nic, Count:16, _:16, 0:1, _:6, 0:1, _/binary>>}}} -> [Count | traced(Vm)];
        {trace, Vm, 'receive', _} -> traced(Vm)
    after 0 -> []
    end.

%% --- what they are ------------------------------------------------------------------

erlang_has_no_part_in_them(_) ->
    {Sw, A, B} = pair(),
    Ip = ip(Sw, b),
    %% the kernels look for each other's addresses now and then
    true = length(batches(A, fun() -> 50 = pings(A, Ip, 50) end)) =< 2,
    %% with a rule all of them come
    {ok, Ref} = evum_switch:fault(Sw, B, [{delay, 1}]),
    Seen = batches(A, fun() -> 50 = pings(A, Ip, 50) end),
    true = lists:sum(Seen) >= 50,
    ok = evum_switch:heal(Sw, Ref),
    stop_all([A, B]).

counts_are_whole(_) ->
    {Sw, A, B} = pair(),
    #{rx_frames := RxA, rx_bytes := RxBytesA} = counts(Sw, a),
    #{tx_frames := TxB} = counts(Sw, b),
    #{nics := [#{tx_frames := TxNic}]} = evum:info(B),
    100 = pings(A, "b", 100),
    #{rx_frames := RxA1, rx_bytes := RxBytesA1} = counts(Sw, a),
    #{tx_frames := TxB1} = counts(Sw, b),
    %% the kernels look for each other's addresses now and then
    true = RxA1 - RxA >= 100 andalso RxA1 - RxA =< 110,
    true = RxBytesA1 - RxBytesA >= 100 * 98,
    true = TxB1 - TxB >= 100 andalso TxB1 - TxB =< 110,
    #{nics := [#{tx_frames := TxNic1}]} = evum:info(B),
    true = TxNic1 - TxNic >= 100,
    stop_all([A, B]).

who_subscribes_sees_every_frame(_) ->
    {Sw, A, B} = pair(),
    {ok, Ref} = evum_switch:subscribe(Sw, A),
    20 = pings(A, "b", 20),
    ok = evum_switch:heal(Sw, Ref),
    Frames = seen(Sw),
    [20, 20] = [length([F || {Dir, <<_:96, 16#0800:16, _:72, 1, _/binary>> = F} <- Frames, Dir =:= D]) || D <- [from, to]],
    flow(Sw, A, "b"),
    [] = seen(Sw),
    stop_all([A, B]).

seen(Sw) ->
    receive {evum, Sw, {frame, _Vm, Dir, Frame}} -> [{Dir, Frame} | seen(Sw)]
    after 0 -> []
    end.

a_partition_holds_at_once(_) ->
    {Sw, A, B} = pair(),
    lists:foreach(
        fun(_) ->
            {ok, Ref} = evum_switch:partition(Sw, [[A], [B]]),
            0 = pings(A, "b", 1),
            0 = flows(Sw),
            ok = evum_switch:heal(Sw, Ref),
            flow(Sw, A, "b")
        end,
        lists:seq(1, 3)
    ),
    stop_all([A, B]).

%% From the first datagram on, while both ways are in use.
frames_keep_their_order(_) ->
    Sw = switch(),
    [A, B] = parallel([fun() -> {ok, V} = evum:start([{label, L}, {net, Sw}, {owner, none}]), V end || L <- [a, b]]),
    {ok, #{status := 0}} = evum:exec(B, "iperf3 -s -D"),
    ok = evum:await(B, {port, 5201}, 20000),
    {ok, #{stdout := Json}} = evum:exec(A, "iperf3 -J -u -l 200 -b 20M -t 2 -c b", #{timeout => 30000}),
    {match, Sums} = re:run(Json, "\"out_of_order\":\\s*([0-9]+)", [global, {capture, all_but_first, list}]),
    ["0"] = lists:usort(lists:append(Sums)),
    true = flows(Sw) >= 2,
    stop_all([A, B]).

%% --- what ends them -------------------------------------------------------------------

one_that_stands_still_holds_up_nobody(_) ->
    Sw = switch(),
    {ok, A} = evum:start([{label, a}, {net, Sw}, {owner, none}]),
    [B, C] = Vms = vms([b, c], Sw),
    flow(Sw, B, "a"),
    ok = evum:pause(B),
    #{mac := Mac} = counts(Sw, b),
    Flood = ["ip neigh replace ", ip(Sw, b), " lladdr ", Mac, " dev eth0; "
             "exec socat -b 1400 -u OPEN:/dev/zero UDP-SENDTO:", ip(Sw, b), ":9"],
    {ok, Socat} = evum:spawn(A, iolist_to_binary(Flood)),
    until(fun() -> #{nics := [#{tx_dropped := N}]} = evum:info(B), N > 1000 end, 20000),
    %% the flooder itself still talks to the third one
    true = pings(C, "a", 20) >= 15,
    exit(Socat, kill),
    ok = evum:resume(B),
    until(fun() -> pings(A, "b", 1) =:= 1 end),
    stop_all([A | Vms]).

a_reboot_and_a_new_plug_are_followed(_) ->
    {Sw, A, B} = pair(),
    ok = evum:reboot(B),
    flow(Sw, A, "b"),
    Ip = ip(Sw, b),
    ok = evum:unplug(B, 0),
    0 = pings(A, Ip, 1),
    0 = flows(Sw),
    {ok, _} = evum:plug(B, 0, Sw),
    flow(Sw, A, "b"),
    %% the guest sets its NIC down and up by itself
    {ok, #{status := 0}} = evum:exec(B, "ip link set eth0 down; ip link set eth0 up"),
    flow(Sw, A, "b"),
    stop_all([A, B]).

one_that_is_killed_harms_nobody(_) ->
    Sw = switch(),
    [A, B, C] = vms([a, b, c], Sw),
    flow(Sw, A, "b"),
    flow(Sw, C, "b"),
    Ip = ip(Sw, b),
    Monitor = monitor(process, B),
    ok = evum_test_lib:kill(evum_test_lib:port_pid(B), "KILL"),
    receive {'DOWN', Monitor, process, B, _} -> ok end,
    0 = pings(A, Ip, 1),
    until(fun() -> flows(Sw) =:= 0 end),
    flow(Sw, A, "c"),
    stop_all([A, C]).

without_a_switch_nothing_passes(_) ->
    {Sw, A, B} = pair(),
    Ip = ip(Sw, b),
    ok = evum_switch:stop(Sw),
    until(fun() -> not lists:any(fun(V) -> #{nics := [#{plugged := P}]} = evum:info(V), P end, [A, B]) end),
    0 = pings(A, Ip, 1),
    stop_all([A, B]).

%% A guest that uses another's address has its frames looked at, as ever.
what_is_forged_has_no_flow(_) ->
    {Sw, A, B} = pair(),
    #{mac := Mac, spoofed := 0} = counts(Sw, a),
    #{mac := MacB} = counts(Sw, b),
    {ok, #{status := 0}} = evum:exec(A, address(MacB)),
    0 = pings(A, ip(Sw, b), 1),
    #{spoofed := N} = counts(Sw, a),
    true = N > 0,
    {ok, #{status := 0}} = evum:exec(A, address(Mac)),
    flow(Sw, B, "a"),
    stop_all([A, B]).

address(Mac) -> lists:flatten(io_lib:format("ip link set eth0 down; ip link set eth0 address ~s; ip link set eth0 up", [Mac])).
