%% SPDX-License-Identifier: Apache-2.0
%% Others join a network by its control socket: Debian's User Mode Linux, VDE's programs
-module(ctl_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, until/1]).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) ->
    Config1 = evum_test_lib:init_suite(Config),
    [{initrd, initrd(proplists:get_value(priv_dir, Config))} | Config1].
end_per_suite(Config) -> evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) ->
    Config1 = evum_test_lib:begin_case(Case, Config),
    {ok, Switch} = evum_switch:start(),
    {ok, Ctl} = evum_ctl:start(Switch),
    [{switch, Switch}, {ctl, Ctl} | Config1].

end_per_testcase(Case, Config) ->
    %% a kernel of a case that failed doesn't end with its console
    [evum_test_lib:kill(Pid, "KILL") || {Pid, <<"linux", _/binary>>} <- foreign()],
    [_ = evum_switch:stop(Sw) || #{pid := Sw} <- evum_switch:list()],
    evum_test_lib:end_case(Case, Config).

%% The kernels that no port program is above.
foreign() ->
    Machines = lists:append([maps:get(os_pids, evum:info(Vm), []) || #{pid := Vm} <- evm:list()]),
    [P || {Pid, _} = P <- evum_test_lib:marked(), not lists:member(Pid, Machines)].

all() ->
    [
        a_uml_that_somebody_started_joins, a_uml_gets_its_address_and_names_from_the_gateway,
        vde_plug_carries_frames, two_networks_are_one_through_vde, who_is_killed_is_unplugged,
        long_frames_are_dropped_for_foreign_ports, a_picture_shows_all_of_it, a_killed_beam_leaves_nothing
    ].

machine(Config, Label) -> machine(Config, Label, []).

machine(Config, Label, Opts) ->
    evum_test_lib:vm([{label, Label}, {net, proplists:get_value(switch, Config)} | Opts]).

ip(Vm) ->
    [Ip] = [maps:get(ip, Info) || #{pid := Pid} = Info <- evm:list(), Pid =:= Vm],
    inet:ntoa(Ip).

out(Vm, Command) -> evum_test_lib:out(Vm, lists:flatten(Command)).

ping(Vm, To) -> <<"received">> = out(Vm, ["ping -c 3 -i 0.2 -W 2 ", To, " >&2 && echo received"]).

%% --- a User Mode Linux -------------------------------------------------------------

%% A shell on the console of a kernel that boots in a moment.
initrd(Dir) ->
    Tree = filename:join(Dir, "initrd"),
    Init = ["#!/bin/busybox sh\n/bin/busybox --install -s /bin\nmount -t proc proc /proc\nip link set lo up\n",
            "ip link set eth0 up\nstty -echo\necho booted\nexec sh\n"],
    %% what busybox's DHCP client has learned
    Learned = ["#!/bin/busybox sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev eth0\nip link set eth0 mtu $mtu\n",
               "ip route add default via $router\necho nameserver $dns >/etc/resolv.conf\necho search $domain >>/etc/resolv.conf\n"],
    [ok = filelib:ensure_dir(filename:join([Tree, Sub, "x"])) || Sub <- ["bin", "proc", "dev", "etc"]],
    {ok, _} = file:copy("/bin/busybox", filename:join(Tree, "bin/busybox")),
    [begin ok = file:write_file(filename:join(Tree, Name), Text), ok = file:change_mode(filename:join(Tree, Name), 8#755) end
     || {Name, Text} <- [{"init", Init}, {"learned", Learned}]],
    ok = file:change_mode(filename:join(Tree, "bin/busybox"), 8#755),
    {0, _, _} = sh(["cd ", Tree, " && find . | cpio -o -H newc -R 0:0 > ../initrd.cpio"]),
    filename:join(Dir, "initrd.cpio").

%% As anybody would start it, who wants it to boot each time.
uml(Config) ->
    Socket = evum_ctl:socket(proplists:get_value(ctl, Config)),
    Port = open_port({spawn_executable, "/usr/bin/linux.uml"},
                     [{args, ["mem=64M", "initrd=" ++ proplists:get_value(initrd, Config), "eth0=daemon,,unix," ++ Socket,
                              "con=null", "con0=fd:0,fd:1", "quiet",
                              %% without it the first fork may fail: a helper runs for each of 512 terminals
                              "pty.legacy_count=0"]},
                      {cd, proplists:get_value(priv_dir, Config)}, binary, exit_status]),
    _ = said(Port, <<"booted\r\n">>, <<>>),
    Port.

%% What a command prints there; it must succeed.
uml(Port, Command) ->
    true = port_command(Port, [Command, " && echo do\"\"ne || echo fai\"\"led\n"]),
    said(Port, <<"done\r\n">>, <<>>).

said(Port, Mark, Text) ->
    case binary:split(Text, Mark) of
        [Said, _] -> Said;
        [_] ->
            nomatch = binary:match(Text, <<"failed\r\n">>),
            receive
                {Port, {data, More}} -> said(Port, Mark, <<Text/binary, More/binary>>);
                {Port, {exit_status, Status}} -> error({ended, Status, Text})
            after 15000 -> error({silent, Text})
            end
    end.

poweroff(Port) ->
    true = port_command(Port, "poweroff -f\n"),
    receive {Port, {exit_status, 0}} -> ok after 10000 -> error(alive) end.

a_uml_that_somebody_started_joins(Config) ->
    Vm = machine(Config, test1),
    Uml = uml(Config),
    _ = uml(Uml, "ip addr add 10.77.0.200/24 dev eth0"),
    _ = uml(Uml, ["ping -c 3 -i 0.2 -W 2 ", ip(Vm)]),
    ping(Vm, "10.77.0.200"),
    [#{kind := foreign, spoofed := 0, dropped := 0}] = foreign_ports(Config),
    ok = poweroff(Uml),
    until(fun() -> foreign_ports(Config) =:= [] end),
    evum_test_lib:stop(Vm).

a_uml_gets_its_address_and_names_from_the_gateway(Config) ->
    Vm = machine(Config, test1),
    Uml = uml(Config),
    _ = uml(Uml, "udhcpc -i eth0 -n -q -f -s /learned"),
    {match, _} = re:run(uml(Uml, "ip addr show eth0"), "mtu 1500 .*inet 10.77.0.254/24 ", [dotall]),
    _ = uml(Uml, "ping -c 3 -i 0.2 -W 2 test1"),
    _ = uml(Uml, "ping -c 1 -W 2 test1.evum"),
    _ = uml(Uml, "ping -c 1 -W 2 gateway"),
    ping(Vm, "10.77.0.254"),
    ok = poweroff(Uml),
    evum_test_lib:stop(Vm).

foreign_ports(Config) ->
    [P || #{kind := foreign} = P <- evum_switch:ports(proplists:get_value(switch, Config))].

%% --- VDE -----------------------------------------------------------------------------

%% On its standard input and output a frame has its length before it, in two bytes.
vde_plug(Config) ->
    Port = open_port({spawn_executable, os:find_executable("vde_plug")},
                     [{args, [vde(Config)]}, {packet, 2}, binary, exit_status]),
    until(fun() -> foreign_ports(Config) =/= [] end),
    Port.

vde(Config) -> "vde://" ++ filename:dirname(evum_ctl:socket(proplists:get_value(ctl, Config))).

arp(Mac, {A, B, C, D}, {E, F, G, H}) ->
    <<16#ffffffffffff:48, Mac:48, 16#0806:16, 1:16, 16#0800:16, 6, 4, 1:16, Mac:48, A, B, C, D, 0:48, E, F, G, H>>.

frame(Port) -> receive {Port, {data, Frame}} -> Frame after 20000 -> error(no_frame) end.

close(Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    true = port_close(Port),
    ok = evum_test_lib:gone([Pid], 5000).

vde_plug_carries_frames(Config) ->
    Plug = vde_plug(Config),
    true = port_command(Plug, arp(16#020000000099, {10, 77, 0, 99}, {10, 77, 0, 1})),
    <<16#020000000099:48, Mac:48, 16#0806:16, _:6/binary, 2:16, Mac:48, 10, 77, 0, 1, 16#020000000099:48, 10, 77, 0, 99>> =
        frame(Plug),
    close(Plug),
    until(fun() -> foreign_ports(Config) =:= [] end).

two_networks_are_one_through_vde(Config) ->
    Near = machine(Config, near),
    {ok, Other} = evum_switch:start([{subnet, "10.77.0.0/24"}]),
    {ok, OtherCtl} = evum_ctl:start(Other),
    Far = evum_test_lib:vm([{label, far}, {net, {Other, #{ip => "10.77.0.77"}}}]),
    Cable = open_port({spawn_executable, os:find_executable("vde_plug")}, [{args, [vde(Config), vde([{ctl, OtherCtl}])]}]),
    until(fun() -> foreign_ports(Config) =/= [] andalso foreign_ports([{switch, Other}]) =/= [] end),
    ping(Near, "10.77.0.77"),
    ping(Far, ip(Near)),
    {os_pid, Pid} = erlang:port_info(Cable, os_pid),
    ok = evum_test_lib:kill(Pid, "TERM"),
    until(fun() -> foreign_ports(Config) =:= [] end),
    [evum_test_lib:stop(Vm) || Vm <- [Near, Far]].

who_is_killed_is_unplugged(Config) ->
    Plug = vde_plug(Config),
    {os_pid, Pid} = erlang:port_info(Plug, os_pid),
    ok = evum_test_lib:kill(Pid, "KILL"),
    until(fun() -> foreign_ports(Config) =:= [] end),
    #{clients := 0} = evum_ctl:info(proplists:get_value(ctl, Config)).

%% A machine was there first, so the network has its large MTU; Ethernet's frames pass.
long_frames_are_dropped_for_foreign_ports(_Config) ->
    {ok, Switch} = evum_switch:start(),
    Vm = machine([{switch, Switch}], big),
    {ok, Ctl} = evum_ctl:start(Switch),
    #{mtu := 32000} = evum_switch:info(Switch),
    Plug = vde_plug([{ctl, Ctl}, {switch, Switch}]),
    [#{mac := Mac, ip := {A, B, C, _} = Ip}] = [P || #{kind := machine} = P <- evum_switch:ports(Switch)],
    {ok, VmMac} = evum_frame:mac(Mac),
    %% makes himself known, and doesn't answer
    true = port_command(Plug, <<(arp(16#020000000099, {A, B, C, 200}, Ip))/binary, 0:144>>),
    <<16#020000000099:48, VmMac:48, _/binary>> = frame(Plug),
    [_ = evum:exec(Vm, "ping -c 1 -W 1 -s " ++ Size ++ " " ++ inet:ntoa({A, B, C, 200})) || Size <- ["3000", "1472"]],
    1514 = next_ping(Plug),
    [#{dropped := Dropped}] = foreign_ports([{switch, Switch}]),
    true = Dropped >= 1,
    close(Plug),
    evum_test_lib:stop(Vm).

%% The size of the next frame that is a ping.
next_ping(Plug) ->
    case frame(Plug) of
        <<_:12/binary, 16#0800:16, _:9/binary, 1, _/binary>> = Frame -> byte_size(Frame);
        _ -> next_ping(Plug)
    end.

a_picture_shows_all_of_it(Config) ->
    Switch = proplists:get_value(switch, Config),
    Vm = machine(Config, seen, [{mem, 64}]),
    Plug = vde_plug(Config),
    {ok, _} = evum_switch:fault(Switch, Vm, #{loss => 0.5}),
    ok = evum:pause(Vm),
    Picture = evum_switch:dot(Switch),
    [{Text, {_, _}} = {Text, binary:match(Picture, Text)}
     || Text <- [<<"graph evum {">>, <<"net1\\n10.77.0.0/24\\nMTU 1500">>, <<"seen\\n10.77.0.2\\npaused">>, <<"\"ctl1\"">>, <<"fault: loss 0.5">>]],
    Picture = evum_switch:dot(all),
    ok = evum:resume(Vm),
    close(Plug),
    evum_test_lib:stop(Vm),
    {error, {no_network, nowhere}} = evum_switch:dot(nowhere).

%% --- the end ---------------------------------------------------------------------------

a_killed_beam_leaves_nothing(_) ->
    {Port, Pid} = evum_test_lib:second_beam(
        "{ok, _} = application:ensure_all_started(evum), {ok, S} = evum_switch:start(), {ok, C} = evum_ctl:start(S),"
        "io:format(\"~s~n\", [evum_ctl:socket(C)])."),
    Socket = receive {Port, {data, {eol, Line}}} -> Line after 10000 -> error(no_socket) end,
    {ok, _} = file:read_file_info(Socket),
    ok = evum_test_lib:kill(Pid, "KILL"),
    receive {Port, {exit_status, _}} -> ok after 20000 -> error(alive) end,
    ok = evum_test_lib:until(fun() -> file:read_file_info(filename:dirname(Socket)) =:= {error, enoent} end).
