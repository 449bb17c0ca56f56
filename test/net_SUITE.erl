%% SPDX-License-Identifier: Apache-2.0
%% Machines on networks: set up before their first program runs, and changed while they run
-module(net_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, flush/0, until/1, sentence/1, out/2]).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) -> make_images(evum_test_lib:init_suite(Config)).

end_per_suite(Config) ->
    [ok = file:delete(?config(Key, Config)) || Key <- [image, bare]],
    ok = application:unset_env(evum, dist),
    evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) ->
    ok = application:set_env(evum, dist, [
        {overlaid, [{file, ?config(image, Config)}]}, {written, [{file, ?config(image, Config)}, {access, rw}]},
        {bare, [{file, ?config(bare, Config)}, {access, rw}]}
    ]),
    evum_test_lib:begin_case(Case, Config).

end_per_testcase(Case, Config) ->
    _ = [evum_switch:stop(Sw) || #{pid := Sw} <- evum_switch:list()],
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        addresses_and_names_work_at_once, the_network_is_there_at_once, the_seeds_session, every_root_has_its_names,
        a_disk_of_its_own_is_not_changed, a_disk_without_names_stays_so, ifconfig_replaces_what_there_was,
        ifconfig_is_checked, down_and_up_keeps_the_network, a_router_between_two_networks, plugged_while_it_runs,
        plugged_where_it_cannot_be, a_paused_machine_is_left_alone, changes_at_a_time_are_one_by_one, a_larger_mtu_is_lowered,
        a_restarted_switch_costs_no_network, eight_interfaces, a_reboot_keeps_address_and_mac, who_asks_by_dhcp_gets_his_own,
        ipv6_between_two, a_dists_own_programs_leave_it, a_machines_frames_are_sniffed, pings_are_typed
    ].

%% Two roots of busybox: one with names of its own, one with none.
make_images(Config) ->
    [Image, Bare] = ["/tmp/ct-net-" ++ Name ++ os:getpid() ++ ".img" || Name <- ["named-", "bare-"]],
    Script = ["set -e; cd ", ?config(priv_dir, Config), "; PATH=$PATH:/usr/sbin:/sbin;"
              "mkdir -p r/bin r/sbin r/etc r/dev r/proc r/sys r/tmp r/root r/run; cp $(command -v busybox) r/bin/busybox;"
              "for a in $(r/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox r/bin/$a; done;"
              "for a in init poweroff reboot; do ln -sf /bin/busybox r/sbin/$a; done; printf '::sysinit:/bin/true\\n' >r/etc/inittab;"
              "echo root:x:0:0:root:/root:/bin/sh >r/etc/passwd;"
              "mkfs.ext4 -q -F -d r ", Bare, " 16M; echo 10.9.9.9 of-the-image >r/etc/hosts;"
              "echo nameserver 10.9.9.9 >r/etc/resolv.conf; mkfs.ext4 -q -F -d r ", Image, " 16M; chmod 666 ", Image, " ", Bare],
    {0, _, _} = evum_test_lib:sh(Script),
    [{image, Image}, {bare, Bare} | Config].

net(Opts) ->
    {ok, Sw} = evum_switch:start(Opts),
    Sw.

%% A file as it is on the disk.
on_disk(Image, File) ->
    {0, Text, _} = evum_test_lib:sh(["PATH=$PATH:/usr/sbin:/sbin; debugfs -R 'cat ", File, "' ", Image]),
    Text.

%% Does it answer? busybox's ping has room for one large frame, so that one may get lost.
pings(Vm, Target) -> lists:any(fun(_) -> ping(Vm, Target) end, [1, 2, 3]).

silent(Vm, Target) -> not ping(Vm, Target).

ping(Vm, Target) ->
    {ok, #{status := Status}} = evum:exec(Vm, ["ping", "-c", "1", "-W", "1" | target(Target)]),
    Status =:= 0.

target([[_ | _] | _] = Words) -> Words;
target(Name) -> [Name].

nic(Vm, No) ->
    #{nics := Nics} = evum:info(Vm),
    lists:nth(No + 1, Nics).

%% --- at once ---------------------------------------------------------------------

addresses_and_names_work_at_once(_) ->
    Sw = net([{subnet, "10.20.0.0/24"}]),
    A = vm([{label, neta}, {net, Sw}]),
    B = vm([{label, netb}, {net, Sw}]),
    true = pings(A, "netb"),
    [true = pings(B, T) || T <- ["neta", "neta.evum", "10.20.0.1", "localhost", "netb"]],
    {ok, Ip} = maps:find(ip, nic(A, 0)),
    true = pings(B, inet:ntoa(Ip)),
    true = silent(B, "netc"),
    [stop(V) || V <- [A, B]].

the_network_is_there_at_once(_) ->
    Sw = net([]),
    V = vm([{net, [Sw, Sw]}]),
    ok = evum:await(V, net, 1000),
    <<"2">> = out(V, "ip -o link | grep -c 'eth[01].*LOWER_UP'"),
    stop(V),
    W = vm([{net, [false, Sw]}]),
    <<"1">> = out(W, "ip -o link | grep -c 'eth1.*LOWER_UP'"),
    <<"1">> = out(W, "ip -o link show eth0 | grep -vc UP"),
    stop(W).

%% "Using the Host OS", as far as one host goes.
the_seeds_session(_) ->
    {ok, Switch} = evum_switch:start(),
    {ok, Ctl} = evum_ctl:start(Switch),
    [R, R1, R2] = [begin {ok, V} = evum:start(), V end || _ <- [1, 2, 3]],
    _ = flush(),
    ok = evum:ifconfig(R, {"192.168.213.92", "255.255.255.0", "192.168.213.1"}),
    ok = evum:ifconfig(R1, {"192.168.213.93", "255.255.255.0", "192.168.213.1"}),
    ok = evum:ifconfig(R2, {"192.168.213.94", "255.255.255.0", "192.168.213.1"}),
    Echo = evum:send(R, "ifconfig -a"),
    {match, _} = re:run(Echo, "# ifconfig -a$"),
    ok = evum:await(R, {text, "inet (addr:)?192\\.168\\.213\\.92 .*255\\.255\\.255\\.0"}, 20000),
    [begin
        {match, _} = re:run(evum:ping(X, {192, 168, 213, 94}), "ping -c 1 192\\.168\\.213\\.94$"),
        ok = evum:await(X, {text, "1 (packets )?received, 0% packet loss"}, 20000)
     end || X <- [R, R1]],
    %% names are found from another subnet, too
    #{label := Name} = evum:info(R1),
    true = pings(R, atom_to_list(Name)),
    [stop(V) || V <- [R, R1, R2]],
    ok = evum_ctl:stop(Ctl),
    ok = evum_switch:stop(Switch).

%% --- names and roots ---------------------------------------------------------------

every_root_has_its_names(Config) ->
    Before = crypto:hash(sha256, element(2, file:read_file(?config(image, Config)))),
    Sw = net([{domain, "lab"}]),
    Other = vm([{label, other}, {net, Sw}]),
    [begin
        V = vm([{label, own}, {net, Sw} | Opts]),
        true = pings(V, "other"),
        true = pings(V, "own"),
        #{ip := Ip} = nic(V, 0),
        Line = iolist_to_binary([inet:ntoa(Ip), "\town.lab\town"]),
        Line = out(V, "grep own /etc/hosts"),
        <<"search lab">> = out(V, "tail -n 1 /etc/resolv.conf"),
        ok = evum:ifconfig(V, {"10.77.0.99", {255, 255, 255, 0}, <<"10.77.0.1">>}),
        <<"10.77.0.99\town.lab\town">> = out(V, "grep own /etc/hosts"),
        true = pings(Other, "own"),
        true = pings(V, "other"),
        stop(V)
     end || Opts <- [[], [{dist, overlaid}], [{dist, host}]]],
    Before = crypto:hash(sha256, element(2, file:read_file(?config(image, Config)))),
    stop(Other).

a_disk_of_its_own_is_not_changed(Config) ->
    Sw = net([]),
    Other = vm([{label, other}, {net, Sw}]),
    V = vm([{label, own}, {net, Sw}, {dist, written}]),
    true = pings(V, "other"),
    <<"10.9.9.9 of-the-image">> = out(V, "grep image /etc/hosts"),
    ok = evum:ifconfig(V, {"10.77.0.99", "255.255.255.0", "10.77.0.1"}),
    <<"10.77.0.99\town.evum\town">> = out(V, "grep own /etc/hosts"),
    %% one mount over each, whatever was set since
    <<"2">> = out(V, "grep -c ' /etc/' /proc/mounts"),
    true = pings(V, "other"),
    [stop(X) || X <- [V, Other]],
    <<"10.9.9.9 of-the-image\n">> = on_disk(?config(image, Config), "/etc/hosts"),
    <<"nameserver 10.9.9.9\n">> = on_disk(?config(image, Config), "/etc/resolv.conf"),
    Alone = vm([{dist, written}]),
    <<"10.9.9.9 of-the-image">> = out(Alone, "cat /etc/hosts"),
    stop(Alone).

a_disk_without_names_stays_so(Config) ->
    V = vm([{net, net([])}, {dist, bare}]),
    true = pings(V, "10.77.0.1"),
    <<"inittab\npasswd">> = out(V, "ls /etc"),
    stop(V),
    <<>> = on_disk(?config(bare, Config), "/etc/hosts").

%% --- changes ---------------------------------------------------------------------------

ifconfig_replaces_what_there_was(_) ->
    Sw = net([]),
    V = vm([{label, own}, {net, Sw}]),
    W = vm([{label, other}, {net, Sw}]),
    [begin
        ok = evum:ifconfig(V, {Ip, Mask, Gw}),
        Expected = iolist_to_binary([Ip, "/", Prefix]),
        Expected = out(V, "ip -4 -o addr show eth0 | awk '{print $4}'"),
        Route = iolist_to_binary(["default via ", Gw, " dev eth0"]),
        Route = out(V, "ip route | grep ^default | sed 's/ *$//'"),
        {ok, Address} = inet:parse_address(Ip),
        #{ip := Address} = nic(V, 0)
     end || {Ip, Mask, Gw, Prefix} <- [
        {"10.77.0.9", "255.255.255.0", "10.77.0.1", "24"}, {"10.77.0.9", "255.255.0.0", "10.77.0.1", "16"},
        {"192.168.1.5", "255.255.255.0", "192.168.1.1", "24"}, {"10.77.0.8", "255.255.255.0", "10.77.0.7", "24"}
    ]],
    true = pings(W, "10.77.0.8"),
    true = pings(W, "own"),
    %% another machine's
    #{ip := Taken} = nic(W, 0),
    {error, {address_in_use, Taken} = InUse} = evum:ifconfig(V, {Taken, "255.255.255.0", "10.77.0.1"}),
    sentence(InUse),
    <<"10.77.0.8/24">> = out(V, "ip -4 -o addr show eth0 | awk '{print $4}'"),
    [stop(X) || X <- [V, W]],
    {error, noproc} = evum:ifconfig(own, {"10.0.0.2", "255.255.255.0", "10.0.0.1"}).

ifconfig_is_checked(_) ->
    V = vm([]),
    Mask = "255.255.255.0",
    [begin {error, {bad_option, Key}} = evum:ifconfig(V, What), sentence({bad_option, Key}) end || {Key, What} <- [
        {ip, {"10.0.0", Mask, "10.0.0.1"}}, {ip, {"10.0.0.256", Mask, "10.0.0.1"}}, {ip, {{10, 0, 0}, Mask, "10.0.0.1"}},
        {ip, {"127.0.0.1", Mask, "127.0.0.2"}}, {ip, {"224.0.0.1", Mask, "224.0.0.2"}}, {ip, {"10.0.0.0", Mask, "10.0.0.1"}},
        {ip, {"10.0.0.255", Mask, "10.0.0.1"}}, {ip, {"10.0.0.2 ; reboot", Mask, "10.0.0.1"}}, {ip, nothing}, {ip, {x, Mask}},
        {netmask, {"10.0.0.2", "255.0.255.0", "10.0.0.1"}}, {netmask, {"10.0.0.2", "0.0.0.0", "10.0.0.1"}},
        {netmask, {"10.0.0.2", "255.255.255.255", "10.0.0.1"}}, {netmask, {"10.0.0.2", 24, "10.0.0.1"}},
        {gateway, {"10.0.0.2", Mask, "10.0.1.1"}}, {gateway, {"10.0.0.2", Mask, none}}, {gateway, {"10.0.0.2", Mask, "10.0.0.0"}}
    ]],
    %% a machine on no network may have an address all the same
    ok = evum:ifconfig(V, {"10.0.0.2", Mask, "10.0.0.1"}),
    <<"10.0.0.2/24">> = out(V, "ip -4 -o addr show eth0 | awk '{print $4}'"),
    stop(V).

down_and_up_keeps_the_network(_) ->
    Sw = net([]),
    V = vm([{label, own}, {net, Sw}]),
    W = vm([{label, other}, {net, Sw}]),
    [begin
        <<>> = out(V, "ip link set eth0 down"),
        until(fun() -> maps:get(link, nic(V, 0)) =:= down end),
        true = silent(W, "own"),
        <<>> = out(V, "ip link set eth0 up"),
        until(fun() -> maps:get(link, nic(V, 0)) =:= up end),
        %% W's question for the address may have to end first
        until(fun() -> pings(W, "own") end)
     end || _ <- [1, 2, 3]],
    <<"default via 10.77.0.1 dev eth0">> = out(V, "ip route | grep ^default | sed 's/ *$//'"),
    true = pings(V, "other"),
    [stop(X) || X <- [V, W]].

a_router_between_two_networks(_) ->
    Left = net([{name, left}, {subnet, "10.1.0.0/24"}]),
    Right = net([{name, right}, {subnet, "10.2.0.0/24"}]),
    R = vm([{label, router}, {net, [Left, right]}]),
    A = vm([{label, neta}, {net, left}]),
    B = vm([{label, netb}, {net, Right}]),
    <<>> = out(R, "echo 1 >/proc/sys/net/ipv4/ip_forward"),
    [#{ip := RLeft}, #{ip := RRight}] = [nic(R, N) || N <- [0, 1]],
    [#{ip := IpA}, #{ip := IpB}] = [nic(X, 0) || X <- [A, B]],
    true = silent(A, inet:ntoa(IpB)),
    ok = evum:ifconfig(A, {IpA, "255.255.255.0", RLeft}),
    ok = evum:ifconfig(B, {IpB, "255.255.255.0", RRight}),
    true = pings(A, inet:ntoa(IpB)),
    true = pings(B, inet:ntoa(IpA)),
    %% the router finds names of both networks, its own on each
    [true = pings(R, Name) || Name <- ["neta", "router"]],
    <<"2">> = out(R, "grep -c router /etc/hosts"),
    [stop(V) || V <- [A, B, R]].

plugged_while_it_runs(_) ->
    One = net([{name, one}, {subnet, "10.1.0.0/24"}]),
    Two = net([{name, two}, {subnet, "10.2.0.0/24"}]),
    V = vm([{label, own}]),
    [A, B] = [vm([{label, Label}, {net, Net}]) || {Label, Net} <- [{neta, One}, {netb, Two}]],
    {ok, #{ip := Ip, name := one}} = evum:plug(V, 0, One),
    ok = evum:await(V, net, 1000),
    true = pings(V, "neta"),
    true = pings(A, "own"),
    %% from one into the other
    {ok, #{ip := Ip2, name := two}} = evum:plug(V, 0, two),
    true = Ip =/= Ip2,
    true = pings(V, "netb"),
    true = silent(V, "10.1.0.1"),
    ok = evum:unplug(V, 0),
    true = silent(V, "10.2.0.1"),
    true = silent(B, inet:ntoa(Ip2)),
    <<>> = out(V, "ip -4 -o addr show eth0"),
    #{plugged := false, link := down} = nic(V, 0),
    ok = evum:unplug(V, 0),
    [begin
        {ok, _} = evum:plug(V, 0, Net),
        true = pings(V, Name),
        ok = evum:unplug(V, 0)
     end || {Net, Name} <- [{One, "neta"}, {Two, "netb"}, {One, "neta"}]],
    [stop(X) || X <- [V, A, B]].

plugged_where_it_cannot_be(_) ->
    Sw = net([{subnet, "10.1.0.0/30"}]),
    V = vm([{label, own}]),
    [begin {error, {no_nic, Nic} = Reason} = evum:plug(V, Nic, Sw), sentence(Reason) end || Nic <- [1, 7, 8, -1, x, 0.0]],
    [begin {error, {no_nic, Nic}} = evum:unplug(V, Nic) end || Nic <- [1, 8, x]],
    {error, Unknown} = evum:plug(V, 0, nosuchnet),
    sentence(Unknown),
    W = vm([{net, Sw}]),
    {error, Full} = evum:plug(V, 0, Sw),
    sentence(Full),
    stop(W),
    {ok, _} = evum:plug(V, 0, Sw),
    true = pings(V, "10.1.0.1"),
    stop(V),
    {error, noproc} = evum:plug(V, 0, Sw).

a_paused_machine_is_left_alone(_) ->
    Sw = net([]),
    V = vm([{net, Sw}]),
    ok = evum:pause(V),
    {error, paused} = evum:ifconfig(V, {"10.77.0.9", "255.255.255.0", "10.77.0.1"}),
    {error, paused} = evum:plug(V, 0, Sw),
    {error, paused} = evum:unplug(V, 0),
    #{plugged := true} = nic(V, 0),
    ok = evum:resume(V),
    true = pings(V, "10.77.0.1"),
    stop(V).

%% The network knows what the guest has, whoever was last.
changes_at_a_time_are_one_by_one(_) ->
    Sw = net([]),
    V = vm([{net, Sw}]),
    Set = fun(N) -> fun() -> evum:ifconfig(V, {{10, 77, 0, N}, "255.255.255.0", "10.77.0.1"}) end end,
    [ok] = lists:usort(evum_test_lib:parallel([Set(N) || N <- lists:seq(20, 25)])),
    #{ip := Ip} = nic(V, 0),
    Address = list_to_binary(inet:ntoa(Ip) ++ "/24"),
    Address = out(V, "ip -4 -o addr show eth0 | awk '{print $4}'"),
    _ = evum_test_lib:parallel([fun() -> evum:plug(V, 0, Sw) end, fun() -> evum:unplug(V, 0) end, Set(30), fun() -> evum:plug(V, 0, Sw) end]),
    {ok, _} = evum:plug(V, 0, Sw),
    true = pings(V, "10.77.0.1"),
    stop(V).

a_restarted_switch_costs_no_network(_) ->
    Sw = net([{name, again}]),
    [V, W] = [vm([{label, Label}, {net, again}]) || Label <- [own, other]],
    #{ip := Ip, mac := Mac} = nic(V, 0),
    exit(Sw, kill),
    until(fun() -> is_pid(whereis(again)) andalso whereis(again) =/= Sw andalso maps:get(plugged, nic(V, 0)) andalso maps:get(plugged, nic(W, 0)) end),
    #{ip := Ip, mac := Mac} = nic(V, 0),
    true = pings(V, "other"),
    true = pings(W, "own"),
    [stop(X) || X <- [V, W]].

eight_interfaces(_) ->
    Sw = net([{mtu, 1500}]),
    V = vm([{net, lists:duplicate(8, Sw)}]),
    <<"8">> = out(V, "ip -4 -o addr | grep -c 'eth[0-7] *inet 10.77'"),
    <<"8">> = out(V, "ip route | grep -c ^default"),
    [true = pings(V, ["-I", "eth" ++ integer_to_list(N), "10.77.0.1"]) || N <- [0, 7]],
    stop(V).

%% A guest's device can be lowered to 1500 or less, and not be raised.
a_larger_mtu_is_lowered(_) ->
    [Small, Large] = [net([{name, Name}, {subnet, Subnet}, {mtu, Mtu}])
                      || {Name, Subnet, Mtu} <- [{small, "10.1.0.0/24", 1400}, {large, "10.2.0.0/24", 65150}]],
    V = vm([{label, own}, {net, Large}]),
    <<"65150">> = out(V, "cat /sys/class/net/eth0/mtu"),
    {ok, #{mtu := 1400}} = evum:plug(V, 0, Small),
    <<"1400">> = out(V, "cat /sys/class/net/eth0/mtu"),
    {ok, #{status := Refused}} = evum:exec(V, "ip link set eth0 mtu 9000"),
    true = Refused > 0,
    stop(V).

a_reboot_keeps_address_and_mac(_) ->
    Sw = net([]),
    V = vm([{label, own}, {net, Sw}]),
    W = vm([{label, other}, {net, Sw}]),
    #{ip := Ip, mac := Mac} = nic(V, 0),
    Address = out(V, "ip -4 -o addr show eth0"),
    ok = evum:reboot(V),
    #{ip := Ip, mac := Mac} = nic(V, 0),
    Address = out(V, "ip -4 -o addr show eth0"),
    Mac = out(V, "cat /sys/class/net/eth0/address"),
    true = pings(W, "own"),
    %% what was set meanwhile is the old life's
    ok = evum:ifconfig(V, {"10.77.0.99", "255.255.255.0", "10.77.0.1"}),
    ok = evum:reboot(V),
    Address = out(V, "ip -4 -o addr show eth0"),
    true = pings(W, "own"),
    [stop(X) || X <- [V, W]].

who_asks_by_dhcp_gets_his_own(_) ->
    Sw = net([{domain, "lab"}]),
    V = vm([{label, own}, {net, [Sw, Sw]}]),
    Script = "#!/bin/sh\nenv | grep -E '^(ip|mask|router|dns|domain)=' | sort >/tmp/$interface.$1\n",
    ok = evum:put(V, Script, "/tmp/script", [{mode, 8#755}]),
    [begin
        #{ip := Ip} = nic(V, N),
        Eth = "eth" ++ integer_to_list(N),
        {ok, #{status := 0}} = evum:exec(V, "udhcpc -n -q -t 3 -i " ++ Eth ++ " -s /tmp/script"),
        Expected = iolist_to_binary(["dns=10.77.0.1\ndomain=lab\nip=", inet:ntoa(Ip), "\nmask=24\nrouter=10.77.0.1"]),
        Expected = out(V, "cat /tmp/" ++ Eth ++ ".bound")
     end || N <- [0, 1]],
    stop(V).

%% Where the kernel's module is there. Their addresses need no time.
ipv6_between_two(_) ->
    case filelib:wildcard("/usr/lib/uml/modules/*/kernel/net/ipv6/ipv6.ko") of
        [] -> {skip, "no module ipv6"};
        _ ->
            Sw = net([{uplink, {slirp, #{ipv6 => true}}}]),
            [A, B] = [vm([{label, Label}, {net, Sw}]) || Label <- [neta, netb]],
            <<"fe80:", _/binary>> = Ip = out(A, "ip -6 -o addr show eth0 scope link | awk '{print $4}' | cut -d/ -f1"),
            true = pings(B, <<Ip/binary, "%eth0">>),
            %% what the router advertises
            until(fun() -> <<>> =/= out(A, "ip -6 -o addr show eth0 scope global") end),
            %% and without, it is off
            {ok, _} = evum:plug(A, 0, net([{name, plain}])),
            <<>> = out(A, "ip -6 -o addr show eth0"),
            [stop(V) || V <- [A, B]]
    end.

%% systemd-networkd is told to ask for other addresses, and doesn't.
a_dists_own_programs_leave_it(_) ->
    %% the first time the image is made
    ct:timetrap({minutes, 10}),
    {0, Out, _} = evum_test_lib:sh([filename:join(evum_test_lib:tree(), "test/images.sh"), " systemd"], 600000),
    ok = application:set_env(evum, dist, [{sd, [{file, string:trim(binary_to_list(Out))}, {mem, 192}]}]),
    Sw = net([]),
    V = vm([{label, own}, {dist, sd}, {net, Sw}]),
    Address = fun() -> out(V, "grep -A 1 ' 10\\.77' /proc/net/fib_trie | grep -o '10\\.77\\.0\\.[0-9]*' | sort -u") end,
    Before = Address(),
    ok = evum:await(V, init, 60000),
    <<>> = out(V, "mkdir -p /etc/systemd/network; printf '[Match]\\nName=eth*\\n[Network]\\nAddress=10.66.0.2/24\\n' "
                  ">/etc/systemd/network/10-other.network; systemctl start systemd-networkd"),
    <<"active">> = out(V, "systemctl is-active systemd-networkd"),
    Before = Address(),
    <<>> = out(V, "grep 10.66 /proc/net/fib_trie || true"),
    {match, _} = re:run(out(V, "getent hosts own"), "10\\.77\\.0\\.[0-9]+ +own"),
    stop(V).

%% --- what is seen of it -----------------------------------------------------------------

a_machines_frames_are_sniffed(_) ->
    [One, Two] = [net([{name, Name}, {subnet, Subnet}]) || {Name, Subnet} <- [{one, "10.1.0.0/24"}, {two, "10.2.0.0/24"}]],
    V = vm([{label, own}, {net, [One, Two]}]),
    W = vm([{label, other}, {net, One}]),
    {ok, [_, _]} = evum:sniff(V),
    true = pings(V, "10.1.0.1"),
    true = pings(V, "10.2.0.1"),
    Seen = lists:usort([{Sw, Vm, Dir} || {evum, Sw, {frame, Vm, Dir, <<_:14/binary, _/binary>>}} <- flush()]),
    Seen = lists:sort([{Sw, V, Dir} || Sw <- [One, Two], Dir <- [from, to]]),
    _ = evum_switch:heal(One, all),
    {ok, Rule} = evum:sniff(W),
    false = is_list(Rule),
    ok = evum_switch:heal(One, Rule),
    {error, noproc} = evum:sniff(nobody),
    Off = vm([]),
    {error, not_plugged} = evum:sniff(Off),
    sentence(not_plugged),
    [stop(X) || X <- [V, W, Off]].

pings_are_typed(_) ->
    Sw = net([]),
    V = vm([{label, own}, {net, Sw}]),
    [begin
        Echo = evum:ping(V, Target),
        {match, _} = re:run(Echo, ["# ping -c 1 ", Text, "$"]),
        ok = evum:await(V, {text, "1 packets received"}, 20000)
     end || {Target, Text} <- [{own, "own"}, {"own", "own"}, {<<"own.evum">>, "own\\.evum"}, {{10, 77, 0, 1}, "10\\.77\\.0\\.1"},
                               {"10.77.0.1", "10\\.77\\.0\\.1"}]],
    _ = flush(),
    [begin {error, {bad_option, target}} = evum:ping(V, Bad), sentence({bad_option, target}) end
     || Bad <- ["", "-f", "a b", "a;reboot", "a\nreboot", "a\n", "$(reboot)", "`reboot`", "a&", "a|b", [300], {10, 77, 0, 256}, {1, 2},
                undefined, '', 'a b', 7, lists:duplicate(300, $a)]],
    [] = evum_test_lib:notices(),
    {error, noproc} = evum:ping(nobody, "a"),
    stop(V).
