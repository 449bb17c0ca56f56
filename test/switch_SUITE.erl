%% SPDX-License-Identifier: Apache-2.0
%% Machines on a network: who gets which frame, and what one can do to another
-module(switch_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, out/2, until/1, until/2, sentence/1, parallel/1]).

-define(GATEWAY, "52:55:0a:4d:00:01").
-define(ALL, 16#ffffffffffff).
-define(TYPE, 16#88b5).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        machines_reach_each_other_by_name_at_once, twenty_machines_reach_each_other, a_machine_on_no_network_reaches_nobody,
        a_network_of_the_configuration_is_started_when_it_is_used, the_host_s_own_machine_is_on_the_default_network,
        addresses_can_be_asked_for, a_wrong_network_is_an_error_before_a_machine_is_there,
        a_frame_goes_where_its_address_was_seen, nothing_comes_back_to_its_sender, any_ethertype_passes,
        counters_tell_what_passed, a_large_frame_passes, the_gateway_s_address_cannot_be_taken, a_storm_of_addresses_is_bounded,
        two_networks_are_separate, a_router_has_a_nic_on_each, a_nic_is_plugged_and_unplugged,
        a_rebooted_machine_is_where_it_was, a_way_in_follows_a_label_and_ends_with_a_process, one_that_has_gone_is_forgotten_at_once,
        a_killed_switch_comes_back_with_its_machines, a_stopped_switch_leaves_its_machines_alone,
        a_flood_costs_a_third_pair_nothing
    ].

%% --- helpers ---------------------------------------------------------------------

switch() -> switch([]).

switch(Opts) ->
    {ok, Sw} = evum_switch:start(Opts),
    Sw.

vms(Labels, Net) -> parallel([fun() -> {ok, V} = evm:create([{label, L}, {net, Net}, {owner, none}]), V end || L <- Labels]).

stop_all(Vms) -> parallel([fun() -> ok = evm:stop(V) end || V <- Vms]).

%% busybox's ping has room for one large buffer: while a packet waits there, the next one,
%% which its kernel has counted, is lost to it. So one at a time.
reaches(Vm, Ip) ->
    {ok, #{status := Status}} = evum:exec(Vm, "for i in 1 2 3; do ping -q -c 1 -W 1 " ++ Ip ++ " && exit 0; done; exit 1"),
    Status =:= 0.

%% How many of `Count' pings, 50 ms apart, are answered.
pings(Vm, Ip, Count) ->
    Command = io_lib:format("ping -q -c ~b -i 0.05 -W 1 -w ~b ~s", [Count, Count div 20 + 2, Ip]),
    {ok, #{stdout := Out}} = evum:exec(Vm, lists:flatten(Command)),
    case re:run(Out, "([0-9]+) (?:packets )?received", [{capture, all_but_first, list}]) of
        {match, [N]} -> list_to_integer(N);
        nomatch -> 0
    end.

ip(Sw, Label) -> binary_to_list(evum_subnet:ip_text(maps:get(ip, port_of(Sw, Label)))).

port_of(Sw, Label) -> hd([P || #{label := L} = P <- evum_switch:ports(Sw), L =:= Label]).

count(Sw, Label, What) -> maps:get(What, port_of(Sw, Label)).

%% Also of a network that is gone for a moment.
ports(Sw) ->
    case evum_switch:ports(Sw) of
        {error, {no_network, Sw}} -> [];
        Ports -> Ports
    end.

%% A port of a process of its own that tells us of each frame, by label.
foreign(Sw, Label) ->
    Self = self(),
    Pid = spawn_link(fun() -> receive {inbox, Inbox} -> foreign_loop(Label, Inbox, Self) end end),
    Inbox = evum_inbox:new(Pid, 1000000),
    Pid ! {inbox, Inbox},
    {ok, Port} = evum_switch:join(Sw, #{label => Label, inbox => Inbox}),
    Port.

foreign_loop(Label, Inbox, Owner) ->
    receive
        {evum_lan, output, _From, _Count, Body} ->
            ok = evum_inbox:took(Inbox, byte_size(Body)),
            [Owner ! {frame, Label, Frame} || Frame <- evum_frame:frames(Body)],
            foreign_loop(Label, Inbox, Owner)
    end.

send(#{no := No, lan := Lan}, Frame) ->
    [{1, Body}] = evum_frame:batches([Frame]),
    ok = evum_lan:input(Lan, No, 1, Body).

frame(Dst, Src) -> frame(Dst, Src, ?TYPE).
frame(Dst, Src, Type) -> <<Dst:48, Src:48, Type:16, 0:46/unit:8>>.

%% The frames with that destination that came within 300 ms, by label.
frames(Dst) ->
    receive
        {frame, Label, <<Dst:48, _/binary>>} -> [Label | frames(Dst)];
        {frame, _, _} -> frames(Dst)
    after 300 -> []
    end.

mac(Sw, Label) ->
    {ok, Mac} = evum_frame:mac(maps:get(mac, port_of(Sw, Label))),
    Mac.

memory(Pids) -> lists:sum([M || P <- Pids, {memory, M} <- [process_info(P, memory)]]).

%% --- who reaches whom ---------------------------------------------------------------

machines_reach_each_other_by_name_at_once(_) ->
    Sw = switch(),
    A = vm([{label, test1}, {net, Sw}]),
    B = vm([{label, test2}, {net, net1}]),
    true = reaches(A, "test2"),
    true = reaches(B, "test1.evum"),
    1 = pings(A, "10.77.0.1", 1),
    [#{label := test1, ip := {10,77,0,2}}, #{label := test2, ip := {10,77,0,3}}] = evm:list(),
    #{nics := [#{nic := 0, ip := {10,77,0,2}, net := net1, plugged := true, mtu := 32000, link := up, rx_frames := N}]} = evum:info(A),
    true = N > 0,
    stop(A), stop(B).

twenty_machines_reach_each_other(_) ->
    %% at 32000 a burst of pings leaves busybox no room for the replies
    Sw = switch([{mtu, 1500}]),
    Vms = vms([list_to_atom("n" ++ integer_to_list(N)) || N <- lists:seq(1, 20)], Sw),
    Ips = [evum_subnet:ip_text(Ip) || #{ip := Ip} <- evm:list()],
    20 = length(lists:usort(Ips)),
    %% twenty kernels that all begin to talk on two CPUs: one may have given up asking who
    %% another is, with the pings that waited for that, before it has had its turn
    Command = ["for ip in ", lists:join($\s, Ips), "; do for try in 1 2 3 4 5; do "
               "ping -q -c 1 -W 5 $ip >/dev/null && continue 2; done; echo $ip; done"],
    Missing = parallel([fun() -> out(V, lists:flatten(io_lib:format("~s", [Command]))) end || V <- Vms]),
    [<<>>] = lists:usort(Missing),
    21 = length(evum_switch:fdb(Sw)),
    stop_all(Vms).

a_machine_on_no_network_reaches_nobody(_) ->
    Sw = switch(),
    A = vm([{label, a}, {net, Sw}]),
    B = vm([{label, b}]),
    #{nics := [#{plugged := false, net := none}]} = evum:info(B),
    #{ip := undefined} = hd([M || #{label := b} = M <- evm:list()]),
    <<"down">> = out(B, "cat /sys/class/net/eth0/operstate"),
    0 = pings(B, "10.77.0.2", 1),
    stop(A), stop(B).

a_network_of_the_configuration_is_started_when_it_is_used(_) ->
    ok = application:set_env(evum, network, [{lab, [{base_ip, "192.168.213."}, {first_ip, 92}, {netmask, "255.255.255.0"},
                                                     {gw, "192.168.213.1"}, {ping, "192.168.213.7"}]}]),
    A = vm([{label, a}, {net, lab}]),
    _ = foreign(lab, outside),
    [B] = vms([b], [lab]),
    [#{ip := {192,168,213,92}}, #{ip := {192,168,213,93}}] = evm:list(),
    true = reaches(A, "192.168.213.93"),
    1 = pings(B, "192.168.213.1", 1),
    %% who is up asks for the address of `ping'
    <<_:28/binary, 192,168,213,93, _:48, 192,168,213,7, _/binary>> = asked({192,168,213,7}),
    ok = application:unset_env(evum, network),
    stop(A), stop(B).

asked({A, B, C, D} = Ip) ->
    receive
        {frame, outside, <<_:96, 16#806:16, _:24/binary, A, B, C, D, _/binary>> = Frame} -> Frame
    after 20000 -> error({never_asked, Ip})
    end.

the_host_s_own_machine_is_on_the_default_network(_) ->
    {ok, Alone} = evum:start([{owner, none}]),
    #{nics := [#{plugged := false}]} = evum:info(Alone),
    _ = switch(),
    {ok, A} = evum:start([{owner, none}]),
    #{nics := [#{net := net1, ip := {10,77,0,2}}]} = evum:info(A),
    {ok, B} = evum:start([{owner, none}, {net, false}]),
    #{nics := [#{plugged := false}]} = evum:info(B),
    1 = pings(A, "10.77.0.1", 1),
    stop_all([Alone, A, B]).

addresses_can_be_asked_for(_) ->
    Sw = switch([{subnet, "10.9.0.0/16"}, {gateway, "10.9.0.254"}, {mtu, 9000}, {domain, "lab"}]),
    A = vm([{label, a}, {net, [{Sw, #{ip => "10.9.200.7", mac => "02:00:00:00:00:07"}}]}]),
    <<"02:00:00:00:00:07">> = out(A, "cat /sys/class/net/eth0/address"),
    <<"9000">> = out(A, "cat /sys/class/net/eth0/mtu"),
    <<"10.9.200.7/16">> = out(A, "ip addr show eth0 | sed -n 's/.*inet \\([^ ]*\\) .*/\\1/p'"),
    <<"10.9.0.254">> = out(A, "ip route | sed -n 's/default via \\([^ ]*\\) .*/\\1/p'"),
    <<"a.lab">> = out(A, "hostname -f"),
    1 = pings(A, "10.9.0.254", 1),
    stop(A).

a_wrong_network_is_an_error_before_a_machine_is_there(_) ->
    Sw = switch([{subnet, "10.77.0.0/30"}]),
    A = vm([{label, a}, {net, Sw}]),
    [begin
         {error, Reason} = evm:create([{label, b}, {net, Net}]),
         Expected = Reason,
         _ = sentence(Reason),
         undefined = whereis(b)
     end || {Net, Expected} <- [
         {nowhere, {unknown_net, nowhere}}, {self(), {no_network, self()}}, {Sw, {no_address, "10.77.0.0/30"}},
         {[{Sw, #{ip => {10,77,0,2}}}], {address_in_use, {10,77,0,2}}},
         {[{Sw, [{ip, "10.78.0.2"}]}], {not_in_subnet, {10,78,0,2}, "10.77.0.0/30"}},
         {"net1", {bad_option, net}}
     ]],
    {error, {bad_option, colour}} = evum_switch:start([{colour, blue}]),
    {error, {name_in_use, net1}} = evum_switch:start([{name, net1}]),
    stop(A).

%% --- which frame goes where -----------------------------------------------------------

a_frame_goes_where_its_address_was_seen(_) ->
    Sw = switch(),
    A = vm([{label, a}, {net, Sw}]),
    [X, Y, _Z] = [foreign(Sw, L) || L <- [x, y, z]],
    [Mx, My] = [16#020000000011, 16#020000000012],
    %% unknown: to all
    send(X, frame(My, Mx)),
    [y, z] = lists:sort(frames(My)),
    %% x was learned by that
    send(Y, frame(Mx, My)),
    [x] = frames(Mx),
    send(X, frame(My, Mx)),
    [y] = frames(My),
    %% the machine's frames find it too
    _ = out(A, "arp -s 10.77.0.99 02:00:00:00:00:11; ping -c 1 -W 1 10.77.0.99; true"),
    [x] = frames(Mx),
    %% it moves
    send(Y, frame(?ALL, Mx)),
    _ = frames(?ALL),
    send(X, frame(Mx, My)),
    [y] = frames(Mx),
    [#{port := _, type := dynamic} | _] = [R || #{mac := <<"02:00:00:00:00:11">>} = R <- evum_switch:fdb(Sw)],
    stop(A).

nothing_comes_back_to_its_sender(_) ->
    Sw = switch(),
    A = vm([{label, a}, {net, Sw}]),
    X = foreign(Sw, x),
    #{tx_frames := Before} = port_of(Sw, a),
    %% nobody has that address: only requests go out
    _ = out(A, "ping -c 1 -W 1 10.77.0.200; true"),
    true = length(frames(?ALL)) > 0,
    #{tx_frames := Before} = port_of(Sw, a),
    send(X, frame(?ALL, 16#020000000011)),
    [] = frames(?ALL),
    until(fun() -> count(Sw, a, tx_frames) =:= Before + 1 end),
    stop(A).

any_ethertype_passes(_) ->
    Sw = switch(),
    A = vm([{label, a}, {net, Sw}]),
    X = foreign(Sw, x),
    _ = foreign(Sw, y),
    Mac = mac(Sw, a),
    #{tx_frames := Before} = port_of(Sw, a),
    Types = [0, 60, 16#88b5, 16#86dd, 16#8100, 16#88f7, 16#ffff],
    _ = [begin send(X, frame(Mac, 16#020000000011, T)), send(X, frame(?ALL, 16#020000000011, T)) end || T <- Types],
    N = Before + 2 * length(Types),
    #{tx_frames := N, dropped := 0} = port_of(Sw, a),
    7 = length(frames(?ALL)),
    <<"0">> = out(A, "dmesg | grep -ci 'oops\\|panic'; true"),
    stop(A).

counters_tell_what_passed(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    1 = pings(A, "b", 1),
    Before = port_of(Sw, b),
    {ok, _} = evum:exec(A, "ping -q -c 20 -i 0.05 -s 1000 b"),
    After = port_of(Sw, b),
    [Rx, RxBytes, Tx, TxBytes, Dropped] =
        [maps:get(K, After) - maps:get(K, Before) || K <- [rx_frames, rx_bytes, tx_frames, tx_bytes, dropped]],
    %% twenty of 1042 bytes each way, and perhaps an ARP
    {true, true, 0} = {Rx >= 20 andalso Rx =< 23, Tx >= 20 andalso Tx =< 23, Dropped},
    {true, true} = {RxBytes - 20 * 1042 < 3 * 64, TxBytes - 20 * 1042 < 3 * 64},
    %% the guest counts the same
    #{nics := [#{rx_frames := Guest}]} = evum:info(B),
    #{rx_frames := Port} = port_of(Sw, b),
    %% but for what its process said in its name
    true = Port - Guest =:= 1,
    stop_all([A, B]).

a_large_frame_passes(_) ->
    Sw = switch([{mtu, 65150}]),
    %% its buffers alone take 8 MB
    [A, B] = [vm([{label, L}, {net, Sw}]) || L <- [a, b]],
    <<"65150">> = out(A, "cat /sys/class/net/eth0/mtu"),
    {ok, #{stdout := Out}} = evum:exec(A, "ping -q -c 5 -i 0.2 -s 65000 b"),
    {match, _} = re:run(Out, "5 packets received"),
    X = foreign(Sw, x),
    _ = out(A, "arp -s 10.77.0.99 02:00:00:00:00:11"),
    send(X, frame(?ALL, 16#020000000011)),
    _ = out(A, "ping -q -c 1 -W 1 -s 3000 10.77.0.99; true"),
    [] = frames(16#020000000011),
    true = count(Sw, x, dropped) > 0,
    stop_all([A, B]).

%% --- who does what he mustn't -----------------------------------------------------------

the_gateway_s_address_cannot_be_taken(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    _ = foreign(Sw, x),
    _ = out(A, "ip link set eth0 down; ip link set eth0 address " ?GATEWAY "; ip link set eth0 up"),
    0 = pings(A, ip(Sw, b), 2),
    [] = frames(?ALL),
    true = count(Sw, a, spoofed) > 0,
    %% the others' gateway is where it was
    1 = pings(B, "10.77.0.1", 1),
    [#{port := 0, type := static}] = [R || #{mac := <<?GATEWAY>>} = R <- evum_switch:fdb(Sw)],
    stop_all([A, B]).

a_storm_of_addresses_is_bounded(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    X = foreign(Sw, x),
    Processes = [Sw, A, B],
    Before = memory(Processes),
    #{lan := Lan, no := No} = X,
    {Us, ok} = timer:tc(fun() -> storm(Lan, No, mac(Sw, a), 200000) end),
    ct:pal("200000 source addresses: ~b ms", [Us div 1000]),
    true = length(evum_switch:fdb(Sw)) < 1100,
    true = count(Sw, x, unlearned) > 198000,
    true = count(Sw, x, rx_frames) =:= 200000,
    true = reaches(B, "a"),
    true = memory(Processes) < Before + 10000000,
    stop_all([A, B]).

storm(_Lan, _No, _To, 0) -> ok;
storm(Lan, No, To, N) ->
    ok = evum_lan:input(Lan, No, 1, <<60:16, (frame(To, 16#021100000000 + N))/binary>>),
    storm(Lan, No, To, N - 1).

%% --- several networks --------------------------------------------------------------------

two_networks_are_separate(_) ->
    {Sw1, Sw2} = {switch([{name, left}, {subnet, "10.5.0.0/24"}]), switch([{name, right}, {subnet, "10.5.0.0/24"}])},
    [A] = vms([a], Sw1),
    [B] = vms([b], Sw2),
    #{nics := [#{ip := {10,5,0,2}}]} = evum:info(A),
    #{nics := [#{ip := {10,5,0,2}}]} = evum:info(B),
    _ = foreign(Sw2, x),
    0 = pings(A, "10.5.0.3", 1),
    [] = frames(?ALL),
    {ok, #{status := 1}} = evum:exec(A, "nslookup b.evum 10.5.0.1 2>&1 || exit 1"),
    stop_all([A, B]).

a_router_has_a_nic_on_each(_) ->
    _ = [switch([{name, left}, {subnet, "10.5.0.0/24"}]), switch([{name, right}, {subnet, "10.6.0.0/24"}])],
    R = vm([{label, r}, {net, [left, {right, #{ip => "10.6.0.200"}}, false]}]),
    [A] = vms([a], left),
    [B] = vms([b], right),
    #{nics := [#{net := left, ip := {10,5,0,2}}, #{net := right, ip := {10,6,0,200}}, #{net := none}]} = evum:info(R),
    _ = out(R, "echo 1 > /proc/sys/net/ipv4/ip_forward"),
    _ = out(A, "ip route add 10.6.0.0/24 via 10.5.0.2"),
    _ = out(B, "ip route add 10.5.0.0/24 via 10.6.0.200"),
    true = reaches(A, "10.6.0.2"),
    stop_all([R, A, B]).

a_nic_is_plugged_and_unplugged(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    Ip = ip(Sw, b),
    true = reaches(A, Ip),
    ok = evum_vm:call(B, {unplug, 0, 1000}, 2000),
    [] = [R || #{label := b} = R <- evum_switch:ports(Sw)],
    [] = [R || #{mac := Mac} = R <- evum_switch:fdb(Sw), Mac =:= evum_frame:mac_text(evum_switch_ports:mac(b, 0, 0))],
    0 = pings(A, Ip, 1),
    Address = list_to_binary(Ip ++ "/24"),
    {ok, #{address := Address, mtu := 32000}} = evum_vm:call(B, {plug, 0, Sw, 1000}, 2000),
    true = reaches(A, Ip),
    {error, {no_nic, 7}} = evum_vm:call(B, {plug, 7, Sw, 1000}, 2000),
    {error, {no_nic, 7}} = evum_vm:call(B, {unplug, 7, 1000}, 2000),
    %% what fails leaves it where it is
    {error, {no_network, _}} = evum_vm:call(B, {plug, 0, self(), 1000}, 2000),
    {ok, #{address := Address}} = evum_vm:call(B, {plug, 0, Sw, 1000}, 2000),
    true = reaches(A, Ip),
    {ok, #{address := <<"10.8.0.2/24">>}} = evum_vm:call(B, {plug, 0, switch([{subnet, "10.8.0.0/24"}]), 1000}, 2000),
    [] = [P || #{label := b} = P <- evum_switch:ports(Sw)],
    stop_all([A, B]).

%% --- who comes and goes ----------------------------------------------------------------------

a_rebooted_machine_is_where_it_was(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    Before = maps:with([no, mac, ip], port_of(Sw, a)),
    ok = evum:reboot(A),
    true = reaches(B, "a"),
    true = reaches(A, "b"),
    Before = maps:with([no, mac, ip], port_of(Sw, a)),
    stop_all([A, B]).

a_way_in_follows_a_label_and_ends_with_a_process(_) ->
    Sw = switch(),
    Serve = "mkdir /w; hostname > /w/index.html; httpd -p 80 -h /w",
    [A] = vms([a], Sw),
    {ok, ByLabel} = evum_switch:forward(Sw, {tcp, 0}, {a, 80}),
    {ok, ByPid} = evum_switch:forward(Sw, {tcp, 0}, {A, 80}),
    {error, {not_plugged, b}} = evum_switch:forward(Sw, {tcp, 0}, {b, 80}),
    _ = out(A, Serve),
    [<<"a">>, <<"a">>] = [page(P) || P <- [ByLabel, ByPid]],
    ok = evum:reboot(A),
    _ = out(A, Serve),
    [<<"a">>, <<"a">>] = [page(P) || P <- [ByLabel, ByPid]],
    stop(A),
    [#{vm := a, port := ByLabel, state := waiting}] = forwards(Sw),
    [B] = vms([a], Sw),
    _ = out(B, Serve),
    <<"a">> = page(ByLabel),
    ok = evum_switch:unforward(Sw, ByLabel),
    {error, {no_forward, ByPid}} = evum_switch:unforward(Sw, ByPid),
    [] = forwards(Sw),
    stop(B).

forwards(Sw) ->
    #{way := #{forwards := Forwards}} = evum_switch:info(Sw),
    Forwards.

page(Port) ->
    {0, Page, _} = evum_test_lib:sh("curl -s -m 5 http://127.0.0.1:" ++ integer_to_list(Port)),
    string:trim(Page).

one_that_has_gone_is_forgotten_at_once(_) ->
    Sw = switch(),
    [A, B] = vms([a, b], Sw),
    stop(A),
    [gateway, b] = [L || #{label := L} <- evum_switch:ports(Sw)],
    2 = length(evum_switch:fdb(Sw)),
    ok = evum:crash(B),
    [gateway] = [L || #{label := L} <- evum_switch:ports(Sw)],
    [C] = vms([c], Sw),
    exit(C, kill),
    until(fun() -> length(evum_switch:ports(Sw)) =:= 1 end).

a_killed_switch_comes_back_with_its_machines(_) ->
    Sw = switch([{name, lab}, {subnet, "10.5.0.0/24"}]),
    [A, B] = vms([a, b], Sw),
    Before = [maps:with([label, mac, ip], P) || #{kind := machine} = P <- evum_switch:ports(lab)],
    exit(Sw, kill),
    until(fun() -> [a, b] =:= lists:sort([L || #{label := L, kind := machine} <- ports(lab)]) end),
    true = reaches(A, ip(lab, b)),
    1 = pings(B, "a", 1),
    After = [maps:with([label, mac, ip], P) || #{kind := machine} = P <- evum_switch:ports(lab)],
    true = lists:sort(Before) =:= lists:sort(After),
    stop_all([A, B]).

a_stopped_switch_leaves_its_machines_alone(_) ->
    Sw = switch([{name, lab}]),
    [A, B] = vms([a, b], Sw),
    Ip = ip(Sw, b),
    ok = evum_switch:stop(lab),
    until(fun() -> #{nics := [#{plugged := P}]} = evum:info(A), not P end),
    %% by address: there is nobody to ask for a name, and that takes its time
    0 = pings(A, Ip, 1),
    <<"still">> = out(A, "echo still"),
    #{nics := [#{net := lab}]} = evum:info(A),
    %% what it was told of its network its next life is told as well
    ok = evum:reboot(B),
    %% one of that name again
    _ = switch([{name, lab}]),
    [until(fun() -> #{nics := [#{plugged := P}]} = evum:info(V), P end) || V <- [A, B]],
    %% it asks once a second who that is, since it got no answer
    until(fun() -> reaches(A, "b") end),
    stop_all([A, B]).

%% --- one that floods -------------------------------------------------------------------------

%% The flooded machine's kernel doesn't run, and then not even its port program.
a_flood_costs_a_third_pair_nothing(_) ->
    Sw = switch(),
    {ok, A} = evum:start([{label, a}, {net, Sw}, {owner, none}]),
    [B, C, D] = Vms = vms([b, c, d], Sw),
    Processes = [Sw, A | Vms],
    {Calm, Before} = {latency(C, "d"), memory(Processes)},
    Ip = ip(Sw, b),
    Flood = ["ip neigh replace ", Ip, " lladdr ", maps:get(mac, port_of(Sw, b)), " dev eth0; "
             "exec socat -b 1400 -u OPEN:/dev/zero UDP-SENDTO:", Ip, ":9"],
    ok = evum:pause(B),
    {ok, Socat} = evum:spawn(A, iolist_to_binary(Flood)),
    until(fun() -> #{nics := [#{tx_dropped := N}]} = evum:info(B), N > 1000 end, 20000),
    Paused = latency(C, "d"),
    PortPid = evum_test_lib:port_pid(B),
    ok = evum_test_lib:kill(PortPid, "STOP"),
    until(fun() -> count(Sw, b, dropped) > 1000 end, 20000),
    Stopped = latency(C, "d"),
    true = memory(Processes) < Before + 20000000,
    ok = evum_test_lib:kill(PortPid, "CONT"),
    ct:pal("ping of a third pair, median ms: ~p calm, ~p while one is paused, ~p while its port program stands", [Calm, Paused, Stopped]),
    exit(Socat, kill),
    ok = evum:resume(B),
    <<"alive">> = out(B, "echo alive"),
    %% the two CPUs are the flooder's too; who waited for the flooded one would wait for seconds
    {true, true} = {Paused < Calm + 50, Stopped < Calm + 50},
    stop_all([A, B, C, D]).

%% The median of 20 pings, most of them answered.
latency(Vm, Name) ->
    {ok, #{stdout := Out}} = evum:exec(Vm, "ping -c 20 -i 0.05 " ++ Name),
    {match, Times} = re:run(Out, "time=([0-9.]+) ms", [global, {capture, all_but_first, list}]),
    true = length(Times) >= 15,
    lists:nth(length(Times) div 2, lists:sort([number(T) || [T] <- Times])).

number(Text) -> try list_to_float(Text) catch error:badarg -> float(list_to_integer(Text)) end.
