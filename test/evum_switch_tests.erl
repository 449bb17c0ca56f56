%% SPDX-License-Identifier: Apache-2.0
%% A switch and its ports, with processes in place of machines
-module(evum_switch_tests).
-compile(export_all).
-include_lib("eunit/include/eunit.hrl").
-include("../src/evum_lan.hrl").

switch_test_() ->
    {foreach,
        fun() ->
            {ok, Sup} = evum_net_sup:start_link(),
            unlink(Sup),
            #{level := Level} = logger:get_primary_config(),
            ok = logger:set_primary_config(level, none),
            {Sup, Level}
        end,
        fun({Sup, Level}) ->
            ok = logger:set_primary_config(level, Level),
            Ref = monitor(process, Sup),
            exit(Sup, shutdown),
            receive {'DOWN', Ref, process, _, _} -> ok end
        end,
        [{atom_to_list(Name), fun() -> ?MODULE:Name() end} || {Name, 0} <- ?MODULE:module_info(exports), is_claim(atom_to_list(Name))]}.

is_claim(Name) -> lists:suffix("_claim", Name).

%% A machine's stand-in: a process that lives until it is told otherwise.
vm() -> spawn(fun() -> receive stop -> ok end end).

port() -> open_port({spawn_executable, "/bin/cat"}, [{packet, 4}, binary]).

spec(Vm, Label) -> #{vm => Vm, label => Label, nic => 0, port => port()}.

%% But for the gateway's.
ports(Sw) -> [P || #{kind := Kind} = P <- evum_switch:ports(Sw), Kind =/= gateway].
fdb(Sw) -> [Row || #{port := No} = Row <- evum_switch:fdb(Sw), No > 1].

plug(Sw, Label) ->
    {ok, Plugged} = evum_switch:plug(Sw, spec(vm(), Label)),
    Plugged.

gone(Pid) ->
    Ref = monitor(process, Pid),
    receive {'DOWN', Ref, process, _, _} -> ok after 5000 -> error({alive, Pid}) end.

names_are_the_lowest_free_and_subnets_differ_claim() ->
    {ok, A} = evum_switch:start(),
    {ok, B} = evum_switch:start(),
    ?assertMatch([#{name := net1, subnet := "10.77.0.0/24", pid := A}, #{name := net2, subnet := "10.77.1.0/24", pid := B}], evum_switch:list()),
    ?assertEqual({ok, A}, evum_switch:default()),
    ok = evum_switch:stop(A),
    ?assertEqual(none, evum_switch:default()),
    ?assertMatch({ok, _}, evum_switch:start()),
    ?assertMatch([#{name := net1, subnet := "10.77.0.0/24"}, #{name := net2}], evum_switch:list()).

a_name_is_taken_once_claim() ->
    {ok, _} = evum_switch:start([{name, lab}]),
    ?assertEqual({error, {name_in_use, lab}}, evum_switch:start([{name, lab}])),
    ?assertEqual({error, {name_in_use, init}}, evum_switch:start([{name, init}])).

what_is_no_network_is_an_error_claim() ->
    [?assertEqual({error, {no_network, Sw}}, F(Sw)) || Sw <- [nowhere, self(), vm(), init, "net1", undefined],
        F <- [fun evum_switch:stop/1, fun evum_switch:ports/1, fun evum_switch:fdb/1, fun evum_switch:info/1]],
    ?assertEqual({error, {unknown_net, nowhere}}, evum_switch:find(nowhere)),
    ?assertEqual({error, {no_network, self()}}, evum_switch:find(self())).

a_network_of_the_configuration_is_started_by_its_name_claim() ->
    ok = application:set_env(evum, network, [{eunit_net, [{base_ip, "10.50.60."}, {first_ip, 70}]}]),
    {ok, Sw} = evum_switch:find(eunit_net),
    ok = application:unset_env(evum, network),
    ?assertEqual({ok, Sw}, evum_switch:find(eunit_net)),
    ?assertMatch(#{ip := {10,50,60,70}, address := <<"10.50.60.70/24">>, gateway := <<"10.50.60.1">>}, plug(Sw, a)).

a_linked_network_ends_with_its_starter_claim() ->
    Self = self(),
    Starter = spawn(fun() -> Self ! {started, evum_switch:start_link([{name, linked}])}, receive stop -> ok end end),
    {ok, Sw} = receive {started, Started} -> Started end,
    exit(Starter, kill),
    ok = gone(Sw).

machines_get_addresses_of_their_own_claim() ->
    {ok, Sw} = evum_switch:start([{subnet, "10.1.0.0/29"}]),
    Plugged = [plug(Sw, Label) || Label <- [a, b, c, d, e]],
    ?assertEqual([{10,1,0,N} || N <- lists:seq(2, 6)], [Ip || #{ip := Ip} <- Plugged]),
    ?assertEqual(5, length(lists:usort([Mac || #{mac := Mac} <- Plugged]))),
    ?assert(lists:all(fun(#{mac := Mac}) -> Mac bsr 24 =:= 16#026576 end, Plugged)),
    ?assertEqual({error, {no_address, "10.1.0.0/29"}}, evum_switch:plug(Sw, spec(vm(), f))).

asked_for_addresses_are_checked_claim() ->
    {ok, Sw} = evum_switch:start([{subnet, "10.1.0.0/24"}]),
    Plug = fun(Extra) -> evum_switch:plug(Sw, maps:merge(spec(vm(), a), Extra)) end,
    ?assertMatch({ok, #{ip := {10,1,0,9}, mac := 16#020000000009}}, Plug(#{ip => {10,1,0,9}, mac => 16#020000000009})),
    ?assertEqual({error, {address_in_use, {10,1,0,9}}}, Plug(#{ip => {10,1,0,9}})),
    ?assertEqual({error, {address_in_use, {10,1,0,1}}}, Plug(#{ip => {10,1,0,1}})),
    ?assertEqual({error, {not_in_subnet, {10,1,1,9}, "10.1.0.0/24"}}, Plug(#{ip => {10,1,1,9}})),
    ?assertEqual({error, {not_in_subnet, {10,1,0,255}, "10.1.0.0/24"}}, Plug(#{ip => {10,1,0,255}})),
    ?assertEqual({error, {mac_in_use, <<"02:00:00:00:00:09">>}}, Plug(#{mac => 16#020000000009})).

a_machine_of_one_label_and_two_networks_of_one_hash_claim() ->
    {ok, Sw} = evum_switch:start(),
    #{mac := First} = plug(Sw, a),
    #{mac := Second} = plug(Sw, a),
    ?assertNotEqual(First, Second).

a_rebooted_machine_has_its_port_and_addresses_again_claim() ->
    {ok, Sw} = evum_switch:start(),
    Vm = vm(),
    {ok, #{no := No, ip := Ip, mac := Mac}} = evum_switch:plug(Sw, spec(Vm, a)),
    _ = plug(Sw, b),
    ok = evum_switch:address(Sw, No, {172,16,0,9}),
    New = port(),
    ?assertMatch({ok, #{no := No, ip := Ip, mac := Mac}}, evum_switch:plug(Sw, (spec(Vm, a))#{port := New, ip => Ip, mac => Mac})),
    #lan{ports = Ports} = evum_switch:lan(Sw),
    ?assertMatch([#port{out = {port, New, 0}, ip = Ip}], ets:lookup(Ports, No)).

what_a_port_was_is_forgotten_at_once_claim() ->
    {ok, Sw} = evum_switch:start(),
    #{no := No, lan := Lan, ip := Ip} = plug(Sw, a),
    ok = evum_lan:input(Lan, No, 1, <<14:16, 16#ffffffffffff:48, 5:48, 16#806:16>>),
    ?assertMatch([_, _], fdb(Sw)),
    ok = evum_switch:unplug(Sw, No),
    ?assertEqual({[], []}, {fdb(Sw), ports(Sw)}),
    ?assertMatch(#{ip := Ip}, plug(Sw, b)).

a_machine_that_is_killed_is_unplugged_claim() ->
    {ok, Sw} = evum_switch:start(),
    Vm = vm(),
    {ok, _} = evum_switch:plug(Sw, spec(Vm, a)),
    exit(Vm, kill),
    ok = gone(Vm),
    %% the switch has been told before it answers what is asked after that
    _ = evum_switch:info(Sw),
    ok = wait(fun() -> ports(Sw) =:= [] end).

wait(Done) -> wait(Done, 100).
wait(Done, Tries) when Tries > 0 ->
    case Done() of
        true -> ok;
        false -> receive after 10 -> wait(Done, Tries - 1) end
    end.

an_address_may_be_any_but_not_another_s_claim() ->
    {ok, Sw} = evum_switch:start(),
    #{no := A} = plug(Sw, a),
    #{ip := Ip} = plug(Sw, b),
    ?assertEqual({error, {address_in_use, Ip}}, evum_switch:address(Sw, A, Ip)),
    ok = evum_switch:address(Sw, A, {192,168,213,92}),
    ?assertMatch([#{ip := {192,168,213,92}}, #{ip := Ip}], ports(Sw)),
    ?assertEqual({error, no_port}, evum_switch:address(Sw, 99, {1,2,3,4})).

a_foreign_port_lowers_an_mtu_that_nobody_chose_claim() ->
    {ok, Free} = evum_switch:start(),
    ok = evum_switch:foreign(Free),
    ?assertMatch(#{mtu := 1500}, evum_switch:info(Free)),
    {ok, Chosen} = evum_switch:start([{mtu, 9000}]),
    ok = evum_switch:foreign(Chosen),
    ?assertMatch(#{mtu := 9000}, evum_switch:info(Chosen)),
    {ok, Inhabited} = evum_switch:start(),
    _ = plug(Inhabited, a),
    ok = evum_switch:foreign(Inhabited),
    ?assertMatch(#{mtu := 32000}, evum_switch:info(Inhabited)).

a_foreign_port_goes_with_its_process_claim() ->
    {ok, Sw} = evum_switch:start(),
    Pid = vm(),
    {ok, #{no := No, max_frame := 1518}} = evum_switch:join(Sw, #{label => <<"ctl-1">>, inbox => evum_inbox:new(Pid, 1000)}),
    ?assertMatch([#{no := No, kind := foreign, label := <<"ctl-1">>, vm := Pid}], ports(Sw)),
    exit(Pid, kill),
    ok = wait(fun() -> ports(Sw) =:= [] end).

old_addresses_are_forgotten_claim() ->
    {ok, Sw} = evum_switch:start(),
    #{no := No, lan := #lan{fdb = Fdb} = Lan} = plug(Sw, a),
    Now = erlang:monotonic_time(second),
    true = ets:insert(Fdb, [{5, No, dynamic, Now - 301}, {6, No, dynamic, Now - 299}]),
    ok = evum_switch_ports:sweep(Now, Lan),
    ?assertMatch([#{port := No, type := dynamic, age := _}, #{type := static}], fdb(Sw)),
    [_, #port{counters = Counters}] = evum_switch_ports:ports(Lan),
    ?assertMatch(#{learned := 1}, evum_lan:counts(Counters)).

a_switch_that_is_killed_comes_back_as_it_was_claim() ->
    {ok, Sw} = evum_switch:start([{subnet, "10.4.0.0/24"}]),
    exit(Sw, kill),
    ok = gone(Sw),
    ok = wait(fun() -> is_pid(whereis(net1)) end),
    ?assertMatch([#{name := net1, subnet := "10.4.0.0/24"}], evum_switch:list()).

the_gateway_answers_for_its_address_and_comes_back_claim() ->
    {ok, Sw} = evum_switch:start(),
    Pid = self(),
    {ok, #{no := No, lan := Lan}} = evum_switch:join(Sw, #{label => <<"test">>, inbox => evum_inbox:new(Pid, 100000)}),
    Request = evum_packet:ethernet(16#ffffffffffff, 16#020000000099, arp, evum_packet:arp_request(16#020000000099, {10,77,0,9}, {10,77,0,1})),
    [{1, Body}] = evum_frame:batches([Request]),
    Ask = fun() -> ok = evum_lan:input(Lan, No, 1, Body) end,
    Answered = fun() -> receive {evum_lan, output, 0, 1, <<_:16, 16#020000000099:48, 16#52550a4d0001:48, 16#806:16, _/binary>>} -> ok after 1000 -> error(no_answer) end end,
    Ask(),
    Answered(),
    [#{kind := gateway, vm := Router, ip := {10,77,0,1}, mac := <<"52:55:0a:4d:00:01">>} | _] = evum_switch:ports(Sw),
    exit(Router, kill),
    ok = wait(fun() -> [#{vm := New} | _] = evum_switch:ports(Sw), New =/= Router andalso New =/= Sw end),
    Ask(),
    Answered().

options_are_checked_claim() ->
    [?assertEqual({Key, {error, {bad_option, Key}}}, {Key, evum_switch:start(maps:merge(#{name => checked}, Opts))}) || {Key, Opts} <- [
        {name, #{name => none}}, {name, #{name => all}}, {name, #{name => "net1"}}, {subnet, #{subnet => #{}}},
        {subnet, #{subnet => #{network => 0, prefix => 24, gateway => 1, first => 1 bsl 40}}}, {subnet, #{subnet => "10.0.0.1/24"}},
        {gateway, #{gateway => "10.0.0.1"}}, {forward, #{uplink => {tap, "tap0"}, forward => [{{tcp, 0}, {a, 80}}]}}
    ]],
    ?assertEqual({error, {no_rule, rule}}, evum_switch:release(rule, tag)).

a_network_that_is_stopped_leaves_no_process_claim() ->
    {ok, Sw} = evum_switch:start(),
    {ok, _} = evum_switch:subscribe(Sw, all),
    {links, Links} = process_info(Sw, links),
    Helpers = [Pid || Pid <- Links, is_pid(Pid), Pid =/= whereis(evum_net_sup)],
    ?assertMatch([_ | _], Helpers),
    ok = evum_switch:stop(Sw),
    lists:foreach(fun gone/1, Helpers).

foreign_ports_have_labels_of_their_own_claim() ->
    {ok, Sw} = evum_switch:start(),
    Inbox = evum_inbox:new(self(), 1000),
    [{ok, _} = evum_switch:join(Sw, #{label => Label, inbox => Inbox}) || Label <- [<<"ctl1">>, <<"ctl1">>, ctl1, ctl1]],
    ?assertEqual([<<"ctl1">>, <<"ctl1-3">>, ctl1, <<"ctl1-5">>], [L || #{label := L} <- ports(Sw)]).

whose_a_frame_is_its_source_tells_claim() ->
    {ok, Sw} = evum_switch:start(),
    #{no := No, mac := Mac, lan := Lan} = plug(Sw, a),
    ?assertEqual(No, evum_lan:sender(Lan, <<14:16, 1:48, Mac:48, 16#806:16>>, 1)),
    ?assertEqual(1, evum_lan:sender(Lan, <<14:16, 1:48, 7:48, 16#806:16>>, 1)),
    ?assertEqual(1, evum_lan:sender(Lan, <<3:16, 1:24>>, 1)).

a_network_that_crashes_again_and_again_ends_alone_claim() ->
    {ok, Other} = evum_switch:start([{name, other}]),
    {ok, _} = evum_switch:start([{name, crashes}]),
    Kill = fun Kill() ->
        case whereis(crashes) of
            undefined -> ok;
            Pid -> exit(Pid, kill), timer:sleep(20), Kill()
        end
    end,
    Kill(),
    ?assertMatch([#{name := other, pid := Other}], evum_switch:list()),
    ?assertMatch({ok, _}, evum_switch:start([{name, crashes}])),
    ?assertMatch([_, _], supervisor:which_children(evum_net_sup)).
