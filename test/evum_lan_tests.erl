%% SPDX-License-Identifier: Apache-2.0
%% A batch's way through the tables, without a switch and without machines
-module(evum_lan_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../src/evum_lan.hrl").

-define(GATEWAY, 16#52550a4d0001).
-define(A, 16#026576000002).
-define(B, 16#026576000003).
-define(C, 16#026576000004).
-define(ALL, 16#ffffffffffff).

%% Three machines that are this process, the gateway, and an uplink that doesn't flood.
lan() ->
    Ports = ets:new(ports, [public, {keypos, #port.no}, {read_concurrency, true}]),
    Fdb = ets:new(fdb, [public, {read_concurrency, true}]),
    Lan = #lan{switch = self(), name = test, ports = Ports, fdb = Fdb, flows = evum_flow:new()},
    true = ets:insert(Ports, [port(0, gateway), (port(1, uplink))#port{flood = false}, port(2, machine), port(3, machine),
                              (port(4, foreign))#port{max_frame = 100}]),
    true = ets:insert(Fdb, [{?GATEWAY, 0, static, 0}, {?A, 2, static, 0}, {?B, 3, static, 0}]),
    Lan.

port(No, Kind) -> port(No, Kind, 1000000).

port(No, Kind, Max) ->
    #port{no = No, kind = Kind, out = {inbox, inbox(Max)}, max_frame = 2000, counters = evum_lan:counters(), label = No, owner = self()}.

inbox(Max) -> evum_inbox:new(self(), Max).

counts(#lan{ports = Ports}, No) ->
    [#port{counters = Counters}] = ets:lookup(Ports, No),
    evum_lan:counts(Counters).

count(Lan, No, What) -> maps:get(What, counts(Lan, No)).

body(Dst, Src) -> body(Dst, Src, 50).

body(Dst, Src, Size) -> <<(Size + 14):16, Dst:48, Src:48, 16#88b5:16, 0:Size/unit:8>>.

%% To whom the frames went, and from which port.
out() ->
    receive
        {evum_lan, What, From, Count, _Body} -> [{What, From, Count} | out()]
    after 0 -> []
    end.

a_known_address_gets_its_frames_and_nobody_else_test() ->
    Lan = lan(),
    Body = body(?B, ?A),
    ok = evum_lan:input(Lan, 2, 1, Body),
    ?assertEqual([{output, 2, 1}], out()),
    ?assertMatch(#{rx_frames := 1, rx_bytes := 64, tx_frames := 0}, counts(Lan, 2)),
    ?assertMatch(#{tx_frames := 1, tx_bytes := 64, rx_frames := 0}, counts(Lan, 3)),
    ?assertEqual(0, count(Lan, 4, tx_frames)).

a_broadcast_and_an_unknown_address_flood_but_never_back_test() ->
    Lan = lan(),
    _ = [begin
        ok = evum_lan:input(Lan, 2, 1, body(Dst, ?A)),
        ?assertEqual(3, length(out()))
    end || Dst <- [?ALL, 16#01005e000001, ?C]],
    ?assertEqual([0, 3], [count(Lan, No, tx_frames) || No <- [2, 3]]),
    ?assertEqual(0, count(Lan, 1, tx_frames)).

a_frame_for_its_own_port_goes_nowhere_test() ->
    Lan = lan(),
    ok = evum_lan:input(Lan, 2, 1, body(?A, ?A)),
    ?assertEqual([], out()).

ipv6_reaches_an_uplink_that_floods_for_it_test() ->
    #lan{ports = Ports} = Lan = lan(),
    true = ets:update_element(Ports, 1, {#port.flood, ipv6}),
    ok = evum_lan:input(Lan, 2, 1, body(?ALL, ?A)),
    ?assertEqual(0, count(Lan, 1, tx_frames)),
    ok = evum_lan:input(Lan, 2, 1, <<14:16, 16#333300000001:48, ?A:48, 16#86dd:16>>),
    ?assertEqual(1, count(Lan, 1, tx_frames)),
    _ = out().

a_source_is_learned_and_moves_test() ->
    #lan{fdb = Fdb} = Lan = lan(),
    ok = evum_lan:input(Lan, 4, 1, body(?A, ?C)),
    ?assertMatch([{?C, 4, dynamic, _}], ets:lookup(Fdb, ?C)),
    ?assertEqual(1, count(Lan, 4, learned)),
    ok = evum_lan:input(Lan, 3, 1, body(?A, ?C)),
    ?assertMatch([{?C, 3, dynamic, _}], ets:lookup(Fdb, ?C)),
    ?assertEqual({0, 1}, {count(Lan, 4, learned), count(Lan, 3, learned)}),
    _ = out().

an_old_time_is_refreshed_test() ->
    #lan{fdb = Fdb} = Lan = lan(),
    true = ets:insert(Fdb, {?C, 4, dynamic, -1000000000}),
    ok = evum_lan:input(Lan, 4, 1, body(?A, ?C)),
    [{?C, 4, dynamic, Seen}] = ets:lookup(Fdb, ?C),
    ?assert(Seen > -1000000000),
    _ = out().

an_assigned_address_cannot_be_taken_test() ->
    #lan{fdb = Fdb} = Lan = lan(),
    Before = lists:sort(ets:tab2list(Fdb)),
    _ = [ok = evum_lan:input(Lan, 4, 2, body(?A, Src)) || Src <- [?GATEWAY, ?A, ?B, ?ALL]],
    ?assertEqual([], out()),
    ?assertEqual(8, count(Lan, 4, spoofed)),
    ?assertEqual(Before, lists:sort(ets:tab2list(Fdb))).

the_gateway_speaks_from_both_its_ports_test() ->
    Lan = lan(),
    _ = [ok = evum_lan:input(Lan, No, 1, body(?A, ?GATEWAY)) || No <- [0, 1]],
    ?assertEqual([{output, 0, 1}, {output, 1, 1}], out()).

a_port_learns_so_many_and_no_more_test() ->
    #lan{fdb = Fdb} = Lan = lan(),
    _ = [ok = evum_lan:input(Lan, 4, 1, body(?A, 16#020000000000 + N)) || N <- lists:seq(1, 3000)],
    ?assertEqual(3 + ?LAN_LEARN_MAX, ets:info(Fdb, size)),
    ?assertEqual(3000 - ?LAN_LEARN_MAX, count(Lan, 4, unlearned)),
    ?assertEqual(3000, length(out())).

what_a_foreign_port_cannot_take_is_dropped_test() ->
    Lan = lan(),
    true = ets:insert(Lan#lan.fdb, {?C, 4, dynamic, 0}),
    Long = body(?C, ?A, 200),
    Short = body(?C, ?A, 20),
    ok = evum_lan:input(Lan, 2, 3, <<Short/binary, Long/binary, Short/binary>>),
    ?assertEqual([{output, 2, 2}], out()),
    ?assertMatch(#{dropped := 1, tx_frames := 2, tx_bytes := 68}, counts(Lan, 4)).

who_does_not_keep_up_costs_counted_drops_test() ->
    #lan{ports = Ports} = Lan = lan(),
    Inbox = inbox(2000),
    true = ets:update_element(Ports, 3, {#port.out, {inbox, Inbox}}),
    _ = [ok = evum_lan:input(Lan, 2, 1, body(?B, ?A)) || _ <- lists:seq(1, 100)],
    Taken = length(out()),
    ?assertEqual({Taken, 100 - Taken}, {count(Lan, 3, tx_frames), count(Lan, 3, dropped)}),
    ?assert(Taken > 0 andalso Taken < 10),
    ok = evum_inbox:took(Inbox, byte_size(body(?B, ?A))),
    ok = evum_lan:input(Lan, 2, 1, body(?B, ?A)),
    ?assertEqual([{output, 2, 1}], out()).

a_port_with_rules_has_its_link_asked_both_ways_test() ->
    #lan{ports = Ports} = Lan = lan(),
    true = ets:update_element(Ports, 3, {#port.via, inbox(1000000)}),
    ok = evum_lan:input(Lan, 3, 1, body(?A, ?B)),
    ?assertEqual([{input, 3, 1}], out()),
    ok = evum_lan:switch(Lan, 3, 1, body(?A, ?B)),
    ?assertEqual([{output, 3, 1}], out()),
    ok = evum_lan:input(Lan, 2, 1, body(?B, ?A)),
    ?assertEqual([{output, 2, 1}], out()),
    ?assertEqual(0, count(Lan, 3, tx_frames)),
    ok = evum_lan:emit(Lan, 3, 2, 1, body(?B, ?A)),
    ?assertEqual(1, count(Lan, 3, tx_frames)),
    ?assertEqual([{output, 2, 1}], out()).

a_port_program_gets_the_batch_as_it_came_test() ->
    #lan{ports = Ports} = Lan = lan(),
    Port = open_port({spawn_executable, "/bin/cat"}, [{packet, 4}, binary]),
    true = ets:update_element(Ports, 3, {#port.out, {port, Port, 5}}),
    Body = body(?B, ?A),
    ok = evum_lan:input(Lan, 2, 1, Body),
    receive {Port, {data, Frame}} -> ?assertEqual({frames, 5, 1, Body}, evum_proto:decode(Frame)) after 5000 -> error(missing) end,
    true = port_close(Port),
    ok = evum_lan:input(Lan, 2, 1, Body),
    ?assertMatch(#{tx_frames := 1, dropped := 1}, counts(Lan, 3)).

no_frame_at_all_is_a_counted_drop_test() ->
    Lan = lan(),
    ok = evum_lan:input(Lan, 2, 1, <<5:16, "short">>),
    ?assertEqual(1, count(Lan, 2, dropped)).

without_its_switch_a_sender_loses_frames_and_nothing_else_test() ->
    #lan{ports = Ports, fdb = Fdb} = Lan = lan(),
    [Port] = ets:lookup(Ports, 3),
    true = ets:delete(Fdb),
    ok = evum_lan:input(Lan, 4, 1, body(?B, ?C)),
    true = ets:delete(Ports),
    ok = evum_lan:input(Lan, 2, 1, body(?B, ?A)),
    ok = evum_lan:switch(Lan, 2, 1, body(?B, ?A)),
    ok = evum_lan:output(Lan, 3, 2, 1, body(?B, ?A)),
    ok = evum_lan:emit(Lan, 3, 1, body(?B, ?A)),
    ok = evum_lan:output(Lan, Port, 2, 1, body(?B, ?A)),
    _ = out().

%% --- frames ------------------------------------------------------------------------

frames_that_are_none_are_left_out_test() ->
    ?assertEqual([], evum_frame:batches([<<>>, <<"13 bytes long">>, <<0:65536/unit:8>>])).

a_header_is_taken_apart_test() ->
    ?assertEqual({ok, ?B, ?A, 16#88b5, <<"x">>}, evum_frame:ethernet(<<?B:48, ?A:48, 16#88b5:16, "x">>)),
    ?assertEqual({error, short}, evum_frame:ethernet(<<"13 bytes long">>)).

a_mac_is_a_number_bytes_or_text_test_() ->
    [?_assertEqual({ok, ?A}, evum_frame:mac(M)) || M <- [?A, <<?A:48>>, "02:65:76:00:00:02", <<"02:65:76:00:00:02">>]] ++
    [?_assertEqual(error, evum_frame:mac(M)) || M <- [-1, 1 bsl 48, <<>>, "2:65:76:0:0:2", "02:65:76:00:00", "02-65-76-00-00-02",
                                                     "02:65:76:00:00:0x", "02:65:76:00:00:-1", "02:65:76:00:00:02:03", foo, [foo]]].
