%% SPDX-License-Identifier: Apache-2.0
%% Rules on the ports of a network that has no machines: each port is an inbox of the test's
-module(evum_rules_tests).
-include_lib("eunit/include/eunit.hrl").
-import(evum_test_lib, [until/1]).
-include("../src/evum_lan.hrl").

-define(MS, 2000).

%% --- a network -------------------------------------------------------------------

%% The switch: tables, and a process that does what evum_switch does for rules. Port
%% 2 is a's, 3 is b's, 4 is c's; what leaves by them comes here, as {evum_lan, output, ..}.
with(Name, Test) ->
    {atom_to_list(Name), {timeout, 20, fun() ->
        Parent = self(),
        Vms = maps:from_list([{Label, spawn(fun() -> receive stop -> ok end end)} || Label <- [a, b, c]]),
        Switch = spawn_link(fun() ->
            process_flag(trap_exit, true),
            Lan = lan(Vms, Parent),
            Parent ! {lan, Lan},
            switch(Lan, evum_rules:new(Lan))
        end),
        Lan = receive {lan, L} -> L end,
        try Test(#{sw => Switch, lan => Lan, vms => Vms})
        after
            unlink(Switch),
            Monitor = monitor(process, Switch),
            Switch ! stop,
            receive {'DOWN', Monitor, process, Switch, _} -> ok end,
            [Vm ! stop || Vm <- maps:values(Vms)],
            flush()
        end
    end}}.

lan(Vms, Owner) ->
    Lan = #lan{switch = self(), name = test, ports = ets:new(ports, [public, {keypos, #port.no}]), fdb = ets:new(fdb, [public]), flows = evum_flow:new()},
    [plug(Lan, No, Label, maps:get(Label, Vms), Owner) || {No, Label} <- [{2, a}, {3, b}, {4, c}]],
    Lan.

plug(#lan{ports = Ports, fdb = Fdb}, No, Label, Vm, Owner) ->
    true = ets:insert(Ports, #port{
        no = No, kind = machine, out = {inbox, evum_inbox:new(Owner, 1 bsl 30)}, max_frame = 32018,
        counters = evum_lan:counters(), label = Label, owner = Vm, mac = mac(No)
    }),
    true = ets:insert(Fdb, {mac(No), No, static, 0}).

mac(No) -> 16#026576000000 + No.

switch(Lan, Rules) ->
    receive
        {'$gen_call', From, {rule, Request}} ->
            {Reply, Rules1} = evum_rules:request(Request, Rules),
            gen_server:reply(From, Reply),
            switch(Lan, Rules1);
        {'$gen_call', From, list} ->
            gen_server:reply(From, evum_rules:list(Rules)),
            switch(Lan, Rules);
        {'$gen_call', From, {unplug, No}} ->
            Rules1 = evum_rules:unplugged(No, Rules),
            true = ets:delete(Lan#lan.ports, No),
            gen_server:reply(From, ok),
            switch(Lan, Rules1);
        {'$gen_call', From, {plug, No, Label, Vm, Owner}} ->
            plug(Lan, No, Label, Vm, Owner),
            Rules1 = evum_rules:plugged(Rules),
            gen_server:reply(From, ok),
            switch(Lan, Rules1);
        stop ->
            evum_rules:stop(Rules);
        Message ->
            {ok, Rules1} = evum_rules:info(Message, Rules),
            switch(Lan, Rules1)
    end.

rule(#{sw := Sw}, {ok, Request}) -> gen_server:call(Sw, {rule, Request}).

heal(#{sw := Sw}, Ref) ->
    {ok, Pids} = gen_server:call(Sw, {rule, {heal, Ref}}),
    [begin
         Monitor = monitor(process, Pid),
         receive {'DOWN', Monitor, process, Pid, _} -> ok end
     end || Pid <- Pids],
    ok.

fault(Net, On, Spec) ->
    {ok, Ref} = rule(Net, evum_rule:fault(On, Spec)),
    Ref.

filter(Net, On, Fun, St) ->
    {ok, Ref} = rule(Net, evum_rule:filter(On, Fun, St, #{})),
    Ref.

%% Frames from one port to another, each a number.
send(#{lan := Lan}, From, To, Numbers) ->
    Frames = [frame(From, To, N) || N <- Numbers],
    [ok = evum_lan:input(Lan, From, Count, Body) || {Count, Body} <- evum_frame:batches(Frames)],
    ok.

frame(From, To, N) ->
    Dst = case To of all -> 16#ffffffffffff; _ -> mac(To) end,
    <<Dst:48, (mac(From)):48, 16#88b5:16, N:32, 0:320>>.

%% The numbers that come until none does for so long.
numbers() -> numbers(100).

numbers(Ms) ->
    receive
        {evum_lan, output, _From, _Count, Body} -> [N || <<_:112, N:32, _/binary>> <- evum_frame:frames(Body)] ++ numbers(Ms)
    after Ms -> []
    end.

numbers_first(Count) -> numbers_first(Count, []).

numbers_first(Count, Got) when length(Got) >= Count -> Got;
numbers_first(Count, Got) ->
    receive
        {evum_lan, output, _From, _Count, Body} -> numbers_first(Count, Got ++ [N || <<_:112, N:32, _/binary>> <- evum_frame:frames(Body)])
    after ?MS -> error({missing, Count, Got})
    end.

flush() -> receive _ -> flush() after 0 -> ok end.

vias(#{lan := #lan{ports = Ports}}) -> lists:sort([No || #port{no = No, via = Via} <- ets:tab2list(Ports), Via =/= none]).

list(#{sw := Sw}) -> gen_server:call(Sw, list).

ended(#{sw := Sw}, Ref) ->
    receive {evum, Sw, {rule_ended, Ref, Reason}} -> Reason
    after ?MS -> error({not_ended, Ref})
    end.

%% --- faults ----------------------------------------------------------------------

without_rules_there_are_no_links_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    send(Net, 2, 3, [1, 2]),
    ?assertEqual([1, 2], numbers()),
    ?assertEqual([], vias(Net))
end).

a_fault_is_on_its_port_alone_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Ref = fault(Net, a, #{loss => 1}),
    ?assertEqual([2], vias(Net)),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    send(Net, 3, 4, [3]),
    ?assertEqual([3], numbers()),
    ?assertMatch([#{kind := fault, frames := 2, dropped := 2, full := 0, spec := #{loss := 1, seed := _}}], list(Net)),
    ok = heal(Net, Ref),
    ?assertEqual([], vias(Net)),
    send(Net, 2, 3, [4]),
    ?assertEqual([4], numbers())
end).

directions_are_seen_from_the_machine_test_() -> [with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, a, #{loss => 1, direction => Direction}),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    ?assertEqual(Left, numbers())
end) || {Direction, Left} <- [{from, [2]}, {to, [1]}]].

a_pairs_fault_spares_others_test_() -> [with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, {a, b}, #{loss => 1, direction => Direction}),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    send(Net, 2, 4, [3]),
    send(Net, 4, 3, [4]),
    ?assertEqual(Left, lists:sort(numbers()))
end) || {Direction, Left} <- [{from, [2, 3, 4]}, {to, [1, 3, 4]}, {both, [3, 4]}]].

a_pairs_fault_meets_broadcasts_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, {a, b}, #{loss => 1}),
    send(Net, 2, all, [1]),
    %% c's alone
    ?assertEqual([1], numbers())
end).

all_meet_a_frame_once_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, all, #{duplicate => 1}),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    ?assertEqual([1, 1, 2, 2], lists:sort(numbers())),
    ?assertMatch([#{frames := 2}], list(Net))
end).

delayed_frames_are_on_time_and_in_order_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, a, #{delay => 50, direction => from}),
    Times = [delayed(Net) || _ <- lists:seq(1, 5)],
    %% never early; a busy host makes some of them late, and never all
    ?assertMatch({Least, _} when Least >= 50 andalso Least =< 55, {lists:min(Times), Times})
end).

delayed(Net) ->
    Start = erlang:monotonic_time(millisecond),
    send(Net, 2, 3, lists:seq(1, 10)),
    ?assertEqual(lists:seq(1, 10), numbers_first(10)),
    erlang:monotonic_time(millisecond) - Start.

what_is_delayed_goes_on_when_its_rule_ends_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Ref = fault(Net, a, #{delay => 60000}),
    send(Net, 2, 3, lists:seq(1, 500)),
    ?assertEqual([], numbers()),
    Link = link_of(Net, 2),
    Monitor = monitor(process, Link),
    ok = heal(Net, Ref),
    ?assertEqual(lists:seq(1, 500), numbers()),
    receive {'DOWN', Monitor, process, Link, Reason} -> ?assertEqual(normal, Reason) after ?MS -> error(link_stays) end
end).

link_of(#{lan := #lan{ports = Ports}}, No) ->
    [#port{via = Via}] = ets:lookup(Ports, No),
    evum_inbox:pid(Via).

rules_apply_in_their_order_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    First = fault(Net, a, #{duplicate => 1, direction => from}),
    _ = fault(Net, a, #{loss => 1, direction => from}),
    send(Net, 2, 3, [1]),
    ?assertEqual([], numbers()),
    ?assertEqual([{1, 0}, {2, 2}], [{F, D} || #{frames := F, dropped := D} <- list(Net)]),
    ok = heal(Net, First),
    ?assertEqual([2], vias(Net))
end).

what_is_delayed_is_bounded_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, a, #{delay => 60000}),
    Frame = <<(frame(2, 3, 1))/binary, 0:(8 * 30000)>>,
    [{Count, Body}] = evum_frame:batches(lists:duplicate(6, Frame)),
    Offered = 400,
    offer(Offered, Count, Body, Net),
    [#{full := Full, dropped := 0}] = list(Net),
    Kept = Offered * Count - Full,
    ?assert(Kept * 30000 =< 33554432),
    ?assert(Kept * 30200 >= 33000000)
end).

%% As many batches as the link's inbox holds at a time.
offer(Batches, Count, Body, #{lan := Lan} = Net) ->
    [begin
         [ok = evum_lan:input(Lan, 2, Count, Body) || _ <- lists:seq(1, 20)],
         until(fun() -> [#{frames := Frames}] = list(Net), Frames =:= N * Count end)
     end || N <- lists:seq(20, Batches, 20)].

%% --- partitions --------------------------------------------------------------------

a_partition_cuts_between_groups_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    {ok, Ref} = rule(Net, evum_rule:partition([[a], [b]], #{})),
    ?assertEqual([2, 3], vias(Net)),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    send(Net, 2, 4, [3]),
    send(Net, 4, 3, [4]),
    send(Net, 2, all, [5]),
    ?assertEqual([3, 4, 5], lists:sort(numbers())),
    ok = heal(Net, Ref),
    send(Net, 2, 3, [6]),
    ?assertEqual([6], numbers())
end).

a_partition_ends_with_its_last_but_one_group_test_() -> with(?FUNCTION_NAME, fun(#{vms := #{a := A, b := B}} = Net) ->
    {ok, Ref} = rule(Net, evum_rule:partition([[a], [b], [c]], #{})),
    exit(A, kill),
    until(fun() -> [#{on := {groups, Groups}}] = list(Net), length(Groups) =:= 2 end),
    exit(B, kill),
    ?assertEqual({vm_down, killed}, ended(Net, Ref)),
    ?assertEqual([], vias(Net))
end).

%% --- filters -----------------------------------------------------------------------

number(<<_:112, N:32, _/binary>>) -> N.

verdicts_are_followed_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Ref = filter(Net, a, fun(Frame, from, Seen) ->
        Verdict = case number(Frame) of
            1 -> forward;
            2 -> drop;
            3 -> {replace, frame(2, 3, 33)};
            4 -> {also, [frame(2, 3, 44), frame(2, 3, 444)]};
            5 -> {hold, later};
            6 -> {hold, later};
            7 -> {hold, Seen};
            8 -> {hold, Seen}
        end,
        {Verdict, Seen + 1}
    end, 0),
    send(Net, 2, 3, lists:seq(1, 8)),
    ?assertEqual([1, 33, 4, 44, 444], numbers()),
    ok = gen_server:call(maps:get(sw, Net), {rule, {release, Ref, later}}),
    ?assertEqual([5, 6], numbers()),
    ok = gen_server:call(maps:get(sw, Net), {rule, {release, Ref, never}}),
    ok = heal(Net, Ref),
    ?assertEqual([7, 8], numbers()),
    ?assertEqual({error, {no_rule, Ref}}, gen_server:call(maps:get(sw, Net), {rule, {release, Ref, later}}))
end).

both_directions_share_a_state_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = filter(Net, a, fun(_, Direction, 2) -> {{replace, frame(9, 9, 100)}, {2, Direction}};
                          (_, _, N) -> {forward, N + 1} end, 0),
    send(Net, 2, 3, [1]),
    ?assertEqual([1], numbers_first(1)),
    send(Net, 3, 2, [2]),
    ?assertEqual([2], numbers_first(1)),
    send(Net, 3, 2, [3]),
    ?assertEqual([100], numbers_first(1))
end).

a_bad_fun_ends_its_rule_alone_test_() -> [with(?FUNCTION_NAME, fun(Net) ->
    Other = fault(Net, a, #{}),
    Ref = filter(Net, a, fun(Frame, _, St) -> case number(Frame) of 3 -> Fun(); 2 -> {{hold, x}, St}; _ -> {forward, St} end end, 0),
    send(Net, 2, 3, lists:seq(1, 9)),
    Reason = ended(Net, Ref),
    ?assert(Matches(Reason)),
    %% what it held goes on, in order
    ?assertEqual(lists:seq(1, 9), numbers()),
    ?assertMatch([#{ref := Other}], list(Net)),
    send(Net, 2, 3, [10]),
    ?assertEqual([10], numbers())
end) || {Fun, Matches} <- [
    {fun() -> error(oops) end, fun({filter_crashed, {error, oops, [_ | _]}}) -> true end},
    {fun() -> throw(oops) end, fun({filter_crashed, {throw, oops, _}}) -> true end},
    {fun() -> exit(normal) end, fun({filter_crashed, {exit, normal, _}}) -> true end},
    {fun() -> exit(self(), kill) end, fun(killed) -> true end},
    {fun() -> rubbish end, fun({bad_verdict, rubbish}) -> true end},
    {fun() -> {rubbish, 0} end, fun({bad_verdict, rubbish}) -> true end},
    {fun() -> {{replace, <<1>>}, 0} end, fun({bad_verdict, {replace, <<1>>}}) -> true end},
    {fun() -> {{also, [x]}, 0} end, fun({bad_verdict, {also, [x]}}) -> true end},
    {fun() -> {{also, [x | y]}, 0} end, fun({bad_verdict, {also, [x | y]}}) -> true end},
    {fun() -> process_flag(trap_exit, true), loop() end, fun({timeout, filter}) -> true end},
    %% on a busy host it may be late before it is too big
    {fun() -> lists:seq(1, 100000000) end, fun(killed) -> true; ({timeout, filter}) -> true end}
]].

loop() -> loop().

what_a_filter_holds_is_bounded_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Ref = filter(Net, a, fun(_, _, St) -> {{hold, x}, St} end, 0),
    [{Count, Body}] = evum_frame:batches(lists:duplicate(6, <<(frame(2, 3, 1))/binary, 0:(8 * 30000)>>)),
    offer(100, Count, Body, Net),
    ok = heal(Net, Ref),
    Released = length(numbers()),
    ?assert(Released * 30000 =< 2 * 4194304)
end).

%% --- captures and subscriptions ----------------------------------------------------

file() -> filename:join("/tmp", "evum_rules_tests." ++ os:getpid()).

a_capture_has_each_frame_once_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    File = file(),
    {ok, Ref} = rule(Net, evum_rule:capture(all, File, #{})),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    _ = numbers_first(2),
    ok = heal(Net, Ref),
    ?assertEqual(["a,0x00000002", "b,0x00000002"], tshark(File, "frame.interface_name frame.packet_flags")),
    ok = file:delete(File)
end).

a_machines_capture_has_both_directions_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    File = file(),
    {ok, _} = rule(Net, evum_rule:capture(a, File, #{snaplen => 20})),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    send(Net, 3, 4, [3]),
    _ = numbers_first(3),
    %% live
    until(fun() -> length(tshark(File, "frame.number")) =:= 2 end),
    ?assertEqual(["a,0x00000002,20,58", "a,0x00000001,20,58"], tshark(File, "frame.interface_name frame.packet_flags frame.cap_len frame.len")),
    ok = file:delete(File)
end).

tshark(File, Fields) ->
    Options = [[" -e ", Field] || Field <- string:lexemes(Fields, " ")],
    string:lexemes(os:cmd(lists:flatten(["tshark -r ", File, " -T fields -E separator=, ", Options, " 2>/dev/null"])), "\n").

a_file_that_cant_be_written_is_told_before_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    ?assertEqual({error, {local, eisdir, <<"/tmp">>}}, evum_rule:capture(all, "/tmp", #{})),
    ?assertEqual({error, {local, enotdir, <<"/etc/passwd/x">>}}, evum_rule:capture(all, "/etc/passwd/x", #{})),
    ?assertEqual({error, {local, enoent, <<"/nosuch/x">>}}, rule(Net, evum_rule:capture(all, "/nosuch/x", #{}))),
    %% the section doesn't fit
    ?assertEqual({error, {local, enospc, <<"/dev/full">>}}, rule(Net, evum_rule:capture(all, "/dev/full", #{}))),
    ?assertEqual([], list(Net)),
    ?assertEqual([], vias(Net))
end).

a_full_file_ends_its_rule_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    File = file(),
    {ok, Ref} = rule(Net, evum_rule:capture(all, File, #{max_size => 1000})),
    send(Net, 2, 3, lists:seq(1, 100)),
    ?assertEqual({max_size, 1000}, ended(Net, Ref)),
    ?assert(filelib:file_size(File) =< 1000),
    ?assert(length(tshark(File, "frame.number")) > 5),
    ?assertEqual(100, length(numbers())),
    ok = file:delete(File)
end).

a_subscriber_is_sent_frames_test_() -> with(?FUNCTION_NAME, fun(#{sw := Sw, vms := #{a := A, b := B}} = Net) ->
    {ok, Ref} = rule(Net, evum_rule:subscribe(a, #{})),
    send(Net, 2, 3, [1]),
    send(Net, 3, 2, [2]),
    receive {evum, Sw, {frame, A, from, From}} -> ?assertEqual(frame(2, 3, 1), From) after ?MS -> error(missing) end,
    receive {evum, Sw, {frame, A, to, To}} -> ?assertEqual(frame(3, 2, 2), To) after ?MS -> error(missing) end,
    ok = heal(Net, Ref),
    {ok, _} = rule(Net, evum_rule:subscribe(all, #{})),
    send(Net, 3, 2, [3]),
    receive {evum, Sw, {frame, B, from, Both}} -> ?assertEqual(frame(3, 2, 3), Both) after ?MS -> error(missing) end
end).

a_subscriber_who_doesnt_receive_is_bounded_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Parent = self(),
    Pid = spawn_link(fun() ->
        {ok, _} = rule(Net, evum_rule:subscribe(a, #{})),
        Parent ! ready,
        receive stop -> ok end
    end),
    receive ready -> ok end,
    send(Net, 2, 3, lists:seq(1, 3000)),
    _ = numbers_first(3000),
    ?assertEqual({message_queue_len, 1000}, process_info(Pid, message_queue_len)),
    ?assertMatch([#{frames := 3000, full := 2000}], list(Net)),
    Pid ! stop,
    until(fun() -> list(Net) =:= [] end)
end).

%% --- whose life --------------------------------------------------------------------

a_rule_ends_with_the_process_that_asked_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Parent = self(),
    Pid = spawn(fun() -> Parent ! {ref, fault(Net, a, #{loss => 1})}, receive stop -> ok end end),
    receive {ref, _} -> ok end,
    exit(Pid, kill),
    until(fun() -> vias(Net) =:= [] end),
    ?assertEqual([], list(Net))
end).

life_may_be_anothers_or_the_switchs_test_() -> with(?FUNCTION_NAME, fun(#{vms := #{c := C}} = Net) ->
    Parent = self(),
    spawn(fun() -> Parent ! {refs, [fault(Net, a, #{loss => 1, life => Life}) || Life <- [C, switch]]} end),
    [Ref, Stays] = receive {refs, Refs} -> Refs end,
    ?assertMatch([#{ref := Ref}, #{ref := Stays}], list(Net)),
    exit(C, kill),
    until(fun() -> length(list(Net)) =:= 1 end),
    ?assertMatch([#{ref := Stays}], list(Net))
end).

another_life_that_ends_is_told_test_() -> with(?FUNCTION_NAME, fun(#{vms := #{c := C}} = Net) ->
    Ref = fault(Net, a, #{loss => 1, life => C}),
    exit(C, kill),
    ?assertEqual({shutdown, {life, killed}}, ended(Net, Ref))
end).

a_machine_takes_its_rules_along_test_() -> with(?FUNCTION_NAME, fun(#{vms := #{a := A}} = Net) ->
    One = fault(Net, a, #{}),
    Pair = fault(Net, {b, A}, #{}),
    All = fault(Net, all, #{}),
    exit(A, kill),
    ?assertEqual({vm_down, killed}, ended(Net, One)),
    ?assertEqual({vm_down, killed}, ended(Net, Pair)),
    ?assertMatch([#{ref := All}], list(Net))
end).

a_rule_holds_for_a_machine_that_is_plugged_again_test_() -> with(?FUNCTION_NAME, fun(#{sw := Sw, vms := #{a := A}} = Net) ->
    _ = fault(Net, a, #{loss => 1}),
    _ = fault(Net, {b, c}, #{loss => 1}),
    ok = gen_server:call(Sw, {unplug, 2}),
    ?assertEqual([3, 4], vias(Net)),
    ?assertEqual({error, {not_plugged, a}}, rule(Net, evum_rule:fault(a, #{}))),
    ok = gen_server:call(Sw, {plug, 7, a, A, self()}),
    ?assertEqual([3, 4, 7], vias(Net)),
    send(Net, 7, 3, [1]),
    ?assertEqual([], numbers())
end).

a_rule_is_on_all_nics_of_a_machine_test_() -> with(?FUNCTION_NAME, fun(#{sw := Sw, vms := #{a := A}} = Net) ->
    ok = gen_server:call(Sw, {plug, 7, a, A, self()}),
    _ = fault(Net, a, #{loss => 1, direction => from}),
    {ok, _} = rule(Net, evum_rule:partition([[a], [b]], #{})),
    ?assertEqual([2, 3, 7], vias(Net)),
    send(Net, 7, 4, [1]),
    send(Net, 3, 7, [2]),
    send(Net, 4, 7, [3]),
    ?assertEqual([3], numbers())
end).

a_port_without_a_machine_goes_by_its_label_test_() -> with(?FUNCTION_NAME, fun(#{sw := Sw, lan := #lan{ports = Ports}} = Net) ->
    ok = gen_server:call(Sw, {plug, 1, uplink, self(), self()}),
    true = ets:update_element(Ports, 1, {#port.kind, uplink}),
    Ref = fault(Net, {uplink, b}, #{loss => 1}),
    send(Net, 1, 3, [1]),
    send(Net, 1, 4, [2]),
    ?assertEqual([2], numbers()),
    %% one that goes is gone for good
    ok = gen_server:call(Sw, {unplug, 1}),
    ?assertEqual({not_plugged, uplink}, ended(Net, Ref))
end).

what_all_means_grows_test_() -> with(?FUNCTION_NAME, fun(#{sw := Sw} = Net) ->
    _ = fault(Net, all, #{loss => 1}),
    ok = gen_server:call(Sw, {plug, 7, d, self(), self()}),
    send(Net, 7, 3, [1]),
    ?assertEqual([], numbers())
end).

a_dead_link_takes_its_rules_and_the_network_goes_on_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    One = fault(Net, a, #{delay => 60000}),
    Other = fault(Net, b, #{}),
    exit(link_of(Net, 2), kill),
    ?assertEqual({link_died, killed}, ended(Net, One)),
    ?assertMatch([#{ref := Other}], list(Net)),
    send(Net, 2, 3, [1]),
    ?assertEqual([1], numbers_first(1))
end).

a_dead_switch_leaves_no_process_test() ->
    {_, {timeout, 20, Test}} = with(?FUNCTION_NAME, fun(#{sw := Sw} = Net) ->
        File = file(),
        _ = fault(Net, a, #{delay => 60000}),
        _ = filter(Net, b, fun(_, _, St) -> process_flag(trap_exit, true), {forward, St} end, 0),
        {ok, _} = rule(Net, evum_rule:capture(all, File, #{})),
        send(Net, 2, 3, [1]),
        {links, Links} = process_info(Sw, links),
        Children = [Pid || Pid <- Links, Pid =/= self()],
        5 = length(Children),
        unlink(Sw),
        exit(Sw, kill),
        until(fun() -> not lists:any(fun is_process_alive/1, Children) end),
        ok = file:delete(File)
    end),
    Test().

%% --- what is asked for -------------------------------------------------------------

requests_are_checked_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    Nop = fun(_, _, St) -> {forward, St} end,
    [?assertEqual({Key, {error, {bad_option, Key}}}, {Key, Was}) || {Key, Was} <- [
        {loss, evum_rule:fault(a, #{loss => 2})}, {life, evum_rule:fault(a, #{life => a})}, {direction, evum_rule:fault(all, #{direction => to})},
        {groups, evum_rule:partition([a, b], #{})}, {groups, evum_rule:partition(a, #{})}, {groups, evum_rule:partition([[a | b]], #{})},
        {loss, evum_rule:partition([[a], [b]], #{loss => 1})}, {filter, evum_rule:filter(a, fun() -> ok end, 0, #{})},
        {capture, evum_rule:capture(a, "", #{})}, {capture, evum_rule:capture(a, 5, #{})}, {max_size, evum_rule:capture(a, "f", #{max_size => 0})},
        {snaplen, evum_rule:capture(a, "f", [{snaplen, x}])}, {life, evum_rule:subscribe(a, #{life => 5})}, {x, evum_rule:subscribe(a, [x])},
        {groups, rule(Net, evum_rule:partition([[a], [b, a]], #{}))}, {pair, rule(Net, evum_rule:fault({a, a}, #{}))}
    ]],
    [?assertEqual({error, {not_plugged, d}}, Was) || Was <- [
        rule(Net, evum_rule:fault(d, #{})), rule(Net, evum_rule:fault({a, d}, #{})), rule(Net, evum_rule:partition([[a], [d]], #{})),
        rule(Net, evum_rule:filter(d, Nop, 0, #{})), rule(Net, evum_rule:capture(d, file(), #{})), rule(Net, evum_rule:subscribe(d, #{}))
    ]],
    %% pairs and groups are shapes of our own: a switch that met one where none is meant would crash
    [?assertEqual({error, {not_plugged, On}}, Ask(On)) || On <- [{pair, a, b}, {groups, [[a], [b]]}, {groups, a}, {a, b}],
        Ask <- [fun(It) -> evum_rule:filter(It, Nop, 0, []) end, fun(It) -> evum_rule:capture(It, file(), []) end, fun(It) -> evum_rule:subscribe(It, []) end]],
    ?assertEqual([], list(Net)),
    ?assertEqual(false, filelib:is_file(file()))
end).

heal_all_ends_all_test_() -> with(?FUNCTION_NAME, fun(Net) ->
    _ = fault(Net, all, #{loss => 1}),
    _ = filter(Net, a, fun(_, _, St) -> {drop, St} end, 0),
    ok = heal(Net, all),
    ?assertEqual([], vias(Net)),
    ok = heal(Net, {maps:get(sw, Net), make_ref()})
end).
