%% SPDX-License-Identifier: Apache-2.0
%% Ways out of a network and ways in, with real machines
%%
%% What makes interfaces and addresses runs in a BEAM in network namespaces of its own,
%% in which everything ends with it. There the host has the addresses 192.0.2.1 and
%% 2001:db8::1; another host is a process in one more namespace, at a cable's end.
-module(uplink_SUITE).

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2,
         init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, out/2, sh/1, until/2, sentence/1, parallel/1]).

-define(HOST, "192.0.2.1").
-define(PATIENCE, 110000).

-include_lib("kernel/include/file.hrl").

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        {group, own_host},
        what_cannot_be_had_is_an_error, an_ordinary_user_has_no_packets_and_no_low_ports, options_are_checked,
        a_way_in_needs_its_machine
    ].

groups() ->
    [{own_host, [], [
        a_guest_downloads_a_hundred_megabytes, a_guest_pings_outside_and_sends_datagrams, ipv6_when_asked_for,
        loopback_is_reached_by_the_ports_asked_for, one_port_of_the_host_is_opened_later, a_page_of_the_guest_is_shown, a_thousand_connections_complete,
        datagrams_come_in, a_dead_machines_connections_end_at_once, a_machine_that_comes_back_has_its_way_in,
        a_way_in_without_a_way_out, a_killed_uplink_costs_connections_only, a_taken_port_is_an_error,
        a_frame_for_loopback_reaches_nobody,
        the_seeds_session_on_a_packet_socket, a_machine_behind_a_tap, long_segments_come_through_a_packet_socket
    ]}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).

%% The cases of the group run in a BEAM of their own.
init_per_group(own_host, Config) ->
    case evum_test_host:possible() of
        ok -> Config;
        Skip -> Skip
    end.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

%% --- hosts ------------------------------------------------------------------------------

%% Runs a claim of this module, `Case' with _claim, in a BEAM of its own host.
own_host(Case) -> ok = evum_test_host:run(?MODULE, claim, [list_to_existing_atom(atom_to_list(Case) ++ "_claim")]).

claim(Claim) ->
    prepare_host(),
    _ = ?MODULE:Claim(),
    ok.

prepare_host() ->
    run(["ip addr add ", ?HOST, "/32 dev lo; ip addr add 2001:db8::1/128 dev lo"]),
    %% an ordinary user's namespace has one group, its root's
    run("cd /proc/sys/net/ipv4; echo 0 2147483647 >ping_group_range || echo 0 0 >ping_group_range"),
    {ok, _} = application:ensure_all_started(evum).

run(Command) ->
    case sh(Command) of
        {0, Out, _} -> Out;
        Failed -> error({Command, Failed})
    end.

%% --- servers and clients ------------------------------------------------------------------

%% Answers each connection with `Bytes' and ends it.
serve(Ip, Bytes) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, Ip}, {active, false}, {reuseaddr, true}, {backlog, 100}]
        ++ [inet6 || tuple_size(Ip) =:= 8]),
    {ok, Port} = inet:port(Listener),
    spawn_link(fun() -> serve_each(Listener, Bytes) end),
    Port.

serve_each(Listener, Bytes) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Server = spawn(fun() ->
        receive go -> ok end,
        _ = gen_tcp:recv(Socket, 0, 5000),
        _ = gen_tcp:send(Socket, [io_lib:format("HTTP/1.0 200 OK\r\nContent-Length: ~b\r\n\r\n", [byte_size(Bytes)]), Bytes]),
        gen_tcp:close(Socket)
    end),
    ok = gen_tcp:controlling_process(Socket, Server),
    Server ! go,
    serve_each(Listener, Bytes).

f(Format, Args) -> lists:flatten(io_lib:format(Format, Args)).

network(Opts) ->
    {ok, Sw} = evum_switch:start(Opts),
    Sw.

%% A network by libslirp and a machine on it.
slirp_machine() ->
    Sw = network([{uplink, slirp}]),
    {Sw, vm([{label, a}, {net, Sw}])}.

%% The machine shows a page on port 80.
show_page(Vm) ->
    out(Vm, "mkdir -p /tmp/www && hostname >/tmp/www/index.html && httpd -p 80 -h /tmp/www").

page(Port) -> run(["curl -s -m 20 http://127.0.0.1:", integer_to_list(Port), "/"]).

connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], 5000),
    Socket.

%% Of this BEAM's own.
uplink_pid() ->
    [Pid] = [Pid || Port <- erlang:ports(), {name, Name} <- [erlang:port_info(Port, name)],
                    string:find(Name, "evum_uplink") =/= nomatch, {os_pid, Pid} <- [erlang:port_info(Port, os_pid)]],
    Pid.

way(Sw) -> maps:get(way, evum_switch:info(Sw)).

%% --- the way out ------------------------------------------------------------------------

a_guest_downloads_a_hundred_megabytes(_) -> own_host(?FUNCTION_NAME).

a_guest_downloads_a_hundred_megabytes_claim() ->
    Bytes = binary:copy(crypto:strong_rand_bytes(1 bsl 20), 100),
    Port = serve({192, 0, 2, 1}, Bytes),
    {_, Vm} = slirp_machine(),
    Sum = binary:encode_hex(crypto:hash(md5, Bytes)),
    <<Got:32/binary, _/binary>> = out(Vm, f("wget -q -O - http://~s:~b/ | md5sum", [?HOST, Port])),
    Sum = string:uppercase(Got),
    stop(Vm).

a_guest_pings_outside_and_sends_datagrams(_) -> own_host(?FUNCTION_NAME).

a_guest_pings_outside_and_sends_datagrams_claim() ->
    Sw = network([{uplink, slirp}]),
    {ok, Vm} = evum:start([{net, Sw}]),
    out(Vm, "ping -c 2 -W 2 " ++ ?HOST),
    {ok, Socket} = gen_udp:open(0, [binary, {ip, {192, 0, 2, 1}}]),
    {ok, Port} = inet:port(Socket),
    Test = self(),
    spawn_link(fun() -> Test ! {answer, out(Vm, f("echo ping | socat -t 5 - udp:~s:~b", [?HOST, Port]))} end),
    receive {udp, Socket, From, FromPort, <<"ping\n">>} -> ok = gen_udp:send(Socket, From, FromPort, <<"pong\n">>) end,
    receive {answer, Answer} -> <<"pong">> = Answer end,
    #{uplink := up, counters := #{tx_blocked := 0}} = way(Sw),
    ok = evum:stop(Vm).

ipv6_when_asked_for(_) -> own_host(?FUNCTION_NAME).

ipv6_when_asked_for_claim() ->
    Port = serve({16#2001, 16#db8, 0, 0, 0, 0, 0, 1}, <<"by IPv6">>),
    Sw = network([{uplink, {slirp, #{ipv6 => true}}}]),
    Vm = vm([{net, Sw}]),
    Get = f("timeout 5 wget -O - http://[2001:db8::1]:~b/ 2>/dev/null", [Port]),
    ok = until(fun() -> {ok, #{stdout := Out}} = evum:exec(Vm, Get), Out =:= <<"by IPv6">> end, 20000),
    %% not unless asked for
    Other = network([{uplink, slirp}]),
    Vm2 = vm([{net, Other}]),
    {ok, #{stdout := <<>>}} = evum:exec(Vm2, Get),
    stop(Vm),
    stop(Vm2).

loopback_is_reached_by_the_ports_asked_for(_) -> own_host(?FUNCTION_NAME).

loopback_is_reached_by_the_ports_asked_for_claim() ->
    Port = serve({127, 0, 0, 1}, <<"the host's own">>),
    Get = f("timeout 5 wget -q -O - http://10.77.0.1:~b/", [Port]),
    {Sw, Vm} = slirp_machine(),
    {ok, #{stdout := <<>>}} = evum:exec(Vm, Get),
    stop(Vm),
    ok = evum_switch:stop(Sw),
    Asked = network([{uplink, {slirp, #{host_ports => [Port]}}}]),
    Vm2 = vm([{net, Asked}]),
    <<"the host's own">> = out(Vm2, Get),
    %% and nothing else of the gateway's
    out(Vm2, "ping -c 1 -W 2 10.77.0.1"),
    {ok, #{status := 1}} = evum:exec(Vm2, f("nc -w 2 10.77.0.1 ~b </dev/null", [Port + 1])),
    stop(Vm2).

%% On a network without a way out too, which stays without one.
one_port_of_the_host_is_opened_later(_) -> own_host(?FUNCTION_NAME).

one_port_of_the_host_is_opened_later_claim() ->
    Port = serve({127, 0, 0, 1}, <<"the host's own">>),
    Other = serve({127, 0, 0, 1}, <<"another">>),
    Outside = serve({192, 0, 2, 1}, <<"out">>),
    [one_port_is_opened(Uplink, Port, Other, Outside) || Uplink <- [none, slirp]].

one_port_is_opened(Uplink, Port, Other, Outside) ->
    Sw = network([{uplink, Uplink}]),
    Vm = vm([{net, Sw}]),
    Get = fun(Ip, P) ->
        {ok, #{stdout := Out}} = evum:exec(Vm, f("timeout 5 wget -q -O - http://~s:~b/", [Ip, P])),
        Out
    end,
    ok = evum_switch:host_port(Sw, none),
    #{uplink := Before} = way(Sw),
    true = (Before =:= none) =:= (Uplink =:= none),
    <<>> = Get("10.77.0.1", Port),
    ok = evum_switch:host_port(Sw, Port),
    <<"the host's own">> = Get("10.77.0.1", Port),
    <<>> = Get("10.77.0.1", Other),
    true = (<<>> =:= Get(?HOST, Outside)) =:= (Uplink =:= none),
    %% it is open again when the uplink is another one
    run(io_lib:format("kill -9 ~b", [uplink_pid()])),
    ok = until(fun() -> #{uplink := State, restarts := N} = way(Sw), State =:= up andalso N =:= 1 end, 5000),
    <<"the host's own">> = Get("10.77.0.1", Port),
    <<>> = Get("10.77.0.1", Other),
    ok = evum_switch:host_port(Sw, Other),
    <<"another">> = Get("10.77.0.1", Other),
    <<>> = Get("10.77.0.1", Port),
    ok = evum_switch:host_port(Sw, none),
    <<>> = Get("10.77.0.1", Other),
    stop(Vm),
    ok = evum_switch:stop(Sw).

%% A guest's root makes any frame: here with the gateway's MAC and an address of the host's loopback.
a_frame_for_loopback_reaches_nobody(_) -> own_host(?FUNCTION_NAME).

a_frame_for_loopback_reaches_nobody_claim() ->
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Listener),
    {Sw, Vm} = slirp_machine(),
    %% its own loopback out of the way, 127.0.0.1 is another host's for the guest
    out(Vm, "ip addr del 127.0.0.1/8 dev lo; ip route del local 127.0.0.0/8 table local 2>/dev/null; "
            "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; "
            "ip route add 127.0.0.1/32 via 10.77.0.1"),
    {ok, #{status := 1}} = evum:exec(Vm, f("nc -w 2 127.0.0.1 ~b </dev/null", [Port])),
    {error, timeout} = gen_tcp:accept(Listener, 100),
    #{counters := #{tx_blocked := Blocked}} = way(Sw),
    true = Blocked > 0,
    stop(Vm).

%% --- the way in -------------------------------------------------------------------------

a_page_of_the_guest_is_shown(_) -> own_host(?FUNCTION_NAME).

a_page_of_the_guest_is_shown_claim() ->
    {Sw, Vm} = slirp_machine(),
    show_page(Vm),
    {ok, Port} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 80}),
    <<"a\n">> = page(Port),
    %% by another address of the host; by label
    {ok, Other} = evum_switch:forward(Sw, {tcp, ?HOST, 0}, {a, 80}),
    <<"a\n">> = run(["curl -s -m 20 http://", ?HOST, ":", integer_to_list(Other), "/"]),
    ok = evum_switch:unforward(Sw, Port),
    {error, econnrefused} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
    {error, {no_forward, Port}} = evum_switch:unforward(Sw, Port),
    sentence({error, {no_forward, Port}}),
    stop(Vm).

a_thousand_connections_complete(_) -> own_host(?FUNCTION_NAME).

a_thousand_connections_complete_claim() ->
    Sw = network([{uplink, slirp}]),
    {ok, Vm} = evum:start([{net, Sw}, {mem, 512}]),
    out(Vm, "echo 4096 >/proc/sys/net/core/somaxconn"),
    %% the guest's server has room for as many, too
    out(Vm, "HOME=/tmp erl -noinput -boot no_dot_erlang -eval '" ++ echo_server() ++ "' >/dev/null 2>&1 &"),
    ok = evum:await(Vm, {port, 7}, 30000),
    {ok, Port} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 7}),
    Sockets = [{N, connect(Port)} || N <- lists:seq(1, 1000)],
    [ok = gen_tcp:send(Socket, <<N:32>>) || {N, Socket} <- Sockets],
    %% all are open at a time, and each has its own answer
    [{N, {ok, <<N:32>>}} = {N, gen_tcp:recv(Socket, 4, 60000)} || {N, Socket} <- Sockets],
    #{counters := #{sockets := Open, tx_dropped := 0}} = way(Sw),
    true = Open > 1000,
    [gen_tcp:close(Socket) || {_, Socket} <- Sockets],
    ok = evum:stop(Vm).

echo_server() ->
    "{ok, L} = gen_tcp:listen(7, [binary, {reuseaddr, true}, {backlog, 1024}, {active, false}]), "
    "Echo = fun E(S) -> {ok, B} = gen_tcp:recv(S, 0), ok = gen_tcp:send(S, B), E(S) end, "
    "(fun A() -> {ok, S} = gen_tcp:accept(L), spawn(fun() -> catch Echo(S) end), A() end)().".

datagrams_come_in(_) -> own_host(?FUNCTION_NAME).

datagrams_come_in_claim() ->
    Sw = network([{uplink, slirp}]),
    {ok, Vm} = evum:start([{net, Sw}]),
    out(Vm, "socat udp-l:5000,fork exec:cat >/dev/null 2>&1 &"),
    {ok, Port} = evum_switch:forward(Sw, {udp, 0}, {Vm, 5000}),
    {ok, Socket} = gen_udp:open(0, [binary, {active, false}]),
    ok = until(fun() ->
        ok = gen_udp:send(Socket, {127, 0, 0, 1}, Port, <<"ping">>),
        case gen_udp:recv(Socket, 0, 200) of {ok, {_, Port, <<"ping">>}} -> true; {error, _} -> false end
    end, 10000),
    ok = evum:stop(Vm).

a_dead_machines_connections_end_at_once(_) -> own_host(?FUNCTION_NAME).

%% Of three that die one has no other work of the host's in its way.
a_dead_machines_connections_end_at_once_claim() ->
    Took = [connection_ends_after() || _ <- [1, 2, 3]],
    lists:min(Took) < 100 orelse error({took, Took}).

connection_ends_after() ->
    {Sw, Vm} = slirp_machine(),
    out(Vm, "(nc -ll -p 7 -e cat >/dev/null 2>&1 &)"),
    ok = evum:await(Vm, {port, 7}, 20000),
    {ok, Port} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 7}),
    Socket = connect(Port),
    ok = gen_tcp:send(Socket, <<"hello">>),
    {ok, <<"hello">>} = gen_tcp:recv(Socket, 0, 5000),
    Before = erlang:monotonic_time(millisecond),
    ok = evum:crash(Vm),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    Took = erlang:monotonic_time(millisecond) - Before,
    %% one that comes while the port closes is reset, or let in and closed
    until(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, []) =:= {error, econnrefused} end, 20000),
    ok = evum_switch:stop(Sw),
    Took.

a_machine_that_comes_back_has_its_way_in(_) -> own_host(?FUNCTION_NAME).

a_machine_that_comes_back_has_its_way_in_claim() ->
    %% it waits for its machine
    Sw = network([{uplink, slirp}, {forward, [{{tcp, 0}, {b, 80}}]}]),
    #{forwards := [#{state := waiting, port := 0}]} = way(Sw),
    Vm = vm([{label, b}, {net, Sw}]),
    #{forwards := [#{state := open, port := Port}]} = way(Sw),
    show_page(Vm),
    <<"b\n">> = page(Port),
    ok = evum:reboot(Vm),
    receive {evum, Vm, up} -> ok after 20000 -> error(no_reboot) end,
    show_page(Vm),
    <<"b\n">> = page(Port),
    stop(Vm),
    #{forwards := [#{state := waiting, port := Port}]} = way(Sw),
    Next = vm([{label, b}, {net, Sw}]),
    show_page(Next),
    <<"b\n">> = page(Port),
    stop(Next).

a_way_in_without_a_way_out(_) -> own_host(?FUNCTION_NAME).

a_way_in_without_a_way_out_claim() ->
    Sw = network([]),
    Vm = vm([{label, a}, {net, Sw}]),
    #{uplink := none} = way(Sw),
    show_page(Vm),
    {ok, Port} = evum_switch:forward(Sw, {tcp, ?HOST, 0}, {Vm, 80}),
    #{uplink := up} = way(Sw),
    <<"a\n">> = run(["curl -s -m 20 http://", ?HOST, ":", integer_to_list(Port), "/"]),
    Outside = serve({192, 0, 2, 1}, <<"out">>),
    {ok, #{status := 1}} = evum:exec(Vm, f("nc -w 1 ~s ~b </dev/null", [?HOST, Outside])),
    {ok, #{status := 1}} = evum:exec(Vm, "ping -c 1 -W 1 " ++ ?HOST),
    out(Vm, "ping -c 1 -W 1 10.77.0.1"),
    stop(Vm).

a_killed_uplink_costs_connections_only(_) -> own_host(?FUNCTION_NAME).

a_killed_uplink_costs_connections_only_claim() ->
    {Sw, Vm} = slirp_machine(),
    show_page(Vm),
    {ok, Port} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 80}),
    <<"a\n">> = page(Port),
    Socket = connect(Port),
    run(io_lib:format("kill -9 ~b", [uplink_pid()])),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    %% the gateway answers at once, and before long there is a way again
    out(Vm, "ping -c 1 -W 1 10.77.0.1"),
    ok = until(fun() -> maps:get(uplink, way(Sw)) =:= up end, 5000),
    <<"a\n">> = page(Port),
    #{restarts := 1} = way(Sw),
    stop(Vm).

a_taken_port_is_an_error(_) -> own_host(?FUNCTION_NAME).

a_taken_port_is_an_error_claim() ->
    Taken = serve({127, 0, 0, 1}, <<>>),
    {Sw, Vm} = slirp_machine(),
    {error, eaddrinuse} = Error = evum_switch:forward(Sw, {tcp, Taken}, {Vm, 80}),
    sentence(Error),
    {error, eaddrnotavail} = evum_switch:forward(Sw, {tcp, "192.0.2.99", 0}, {Vm, 80}),
    {ok, _} = evum_switch:forward(Sw, {udp, Taken}, {Vm, 80}),
    stop(Vm),
    ok = evum_switch:stop(Sw),
    %% one of the options waits until the port is free
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Waiting = network([{uplink, slirp}, {forward, [{{tcp, Port}, {w, 80}}]}]),
    Vm2 = vm([{label, w}, {net, Waiting}]),
    #{forwards := [#{state := {error, eaddrinuse}}]} = way(Waiting),
    ok = gen_tcp:close(Listener),
    ok = until(fun() -> #{forwards := [#{state := State}]} = way(Waiting), State =:= open end, 5000),
    stop(Vm2).

%% --- real interfaces ----------------------------------------------------------------------

the_seeds_session_on_a_packet_socket(_) -> own_host(?FUNCTION_NAME).

the_seeds_session_on_a_packet_socket_claim() ->
    Other = {_, There} = evum_test_host:other("lan0", "192.168.213.7/24"),
    Sw = network([{uplink, {packet, "lan0"}}]),
    {ok, R} = evum:start([{net, Sw}]),
    ok = evum:ifconfig(R, {"192.168.213.92", "255.255.255.0", "192.168.213.1"}),
    _ = evum:ping(R, {192, 168, 213, 7}),
    ok = evum:await(R, {text, "1 (packets )?received"}, 10000),
    _ = evum:send(R, "socat tcp-l:7777,reuseaddr,fork system:'/bin/bash',stderr &"),
    ok = evum:await(R, {port, 7777}, 10000),
    Cpu = run([There, "sh -c 'echo cat /proc/cpuinfo | timeout 20 nc -N 192.168.213.92 7777'"]),
    {match, _} = re:run(Cpu, "User Mode Linux"),
    ok = evum:stop(R),
    evum_test_host:end_other(Other).

a_machine_behind_a_tap(_) ->
    %% Debian's own hosts let all users open it
    case file:read_file_info("/dev/net/tun") of
        {ok, #file_info{access = read_write}} -> own_host(?FUNCTION_NAME);
        _ -> {skip, "/dev/net/tun isn't this user's to open"}
    end.

a_machine_behind_a_tap_claim() ->
    Sw = network([{uplink, {tap, "evt0"}}]),
    %% machines are on the host's own network there
    {error, {no_forward, tap}} = evum_switch:host_port(Sw, 4370),
    run("ip addr add 192.168.99.1/24 dev evt0"),
    Vm = vm([{label, a}, {net, Sw}]),
    ok = evum:ifconfig(Vm, {"192.168.99.2", "255.255.255.0", "192.168.99.1"}),
    show_page(Vm),
    <<"a\n">> = run("curl -s -m 20 http://192.168.99.2/"),
    out(Vm, "ping -c 1 -W 2 192.168.99.1"),
    stop(Vm).

%% The other host's kernel leaves segments joined and checksums undone.
long_segments_come_through_a_packet_socket(_) -> own_host(?FUNCTION_NAME).

long_segments_come_through_a_packet_socket_claim() ->
    Other = {_, There} = evum_test_host:other("lan0", "192.168.213.7/24"),
    Sw = network([{uplink, {packet, "lan0"}}]),
    Vm = vm([{net, Sw}]),
    ok = evum:ifconfig(Vm, {"192.168.213.92", "255.255.255.0", "192.168.213.7"}),
    out(Vm, "(nc -l -p 9 | md5sum >/tmp/sum; touch /tmp/done) >/dev/null 2>&1 &"),
    ok = evum:await(Vm, {port, 9}, 20000),
    run("head -c 20000000 /dev/urandom >/tmp/evum-ct-bytes"),
    <<Sum:32/binary, _/binary>> = run("md5sum </tmp/evum-ct-bytes"),
    run([There, "sh -c 'timeout 60 nc -N 192.168.213.92 9 </tmp/evum-ct-bytes'; rm /tmp/evum-ct-bytes"]),
    ok = evum:await(Vm, {file, "/tmp/done"}, 10000),
    <<Sum:32/binary, _/binary>> = out(Vm, "cat /tmp/sum"),
    #{counters := #{rx_dropped := 0}} = way(Sw),
    stop(Vm),
    evum_test_host:end_other(Other).

%% --- errors ---------------------------------------------------------------------------------

what_cannot_be_had_is_an_error(_) ->
    {error, {no_interface, "nix0"}} = Missing = evum_switch:start([{uplink, {packet, "nix0"}}]),
    sentence(Missing),
    {error, Tap} = evum_switch:start([{uplink, {tap, "lo"}}]),
    true = lists:member(Tap, [{no_tap, "lo"}, {no_permission, tap, "lo"}, {no_device, "/dev/net/tun"}]),
    sentence({error, Tap}),
    [] = evum_switch:list().

an_ordinary_user_has_no_packets_and_no_low_ports(_) ->
    Exec = case sh("id -u") of
        {0, <<"0\n">>, _} ->
            {os:find_executable("setpriv"), ["--reuid", "65534", "--regid", "65534", "--clear-groups", "erl"]};
        _ -> os:find_executable("erl")
    end,
    Beam = evum_test_host:beam(Exec, []),
    try
        ok = peer:call(Beam, ?MODULE, an_ordinary_user, [], ?PATIENCE)
    after
        peer:stop(Beam)
    end.

an_ordinary_user() ->
    {ok, _} = application:ensure_all_started(evum),
    {error, {no_permission, packet, "lo"}} = Packet = evum_switch:start([{uplink, {packet, "lo"}}]),
    sentence(Packet),
    {error, Reason} = evum_switch:start([{uplink, {tap, "evt1"}}]),
    true = lists:member(Reason, [{no_permission, tap, "evt1"}, {no_device, "/dev/net/tun"}]),
    sentence({error, Reason}),
    {Sw, Vm} = slirp_machine(),
    {ok, Low} = file:read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
    list_to_integer(string:trim(binary_to_list(Low))) =< 1
        orelse {error, eacces} =:= evum_switch:forward(Sw, {tcp, 1}, {Vm, 80})
        orelse error(port_1_was_had),
    {ok, _} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 80}),
    stop(Vm),
    ok.

options_are_checked(_) ->
    [{error, {bad_option, uplink}} = evum_switch:start([{uplink, Uplink}])
     || Uplink <- [x, {slirp, []}, {slirp, #{x => 1}}, {slirp, #{ipv6 => 1}}, {slirp, #{host_ports => 80}},
                   {slirp, #{host_ports => [0]}}, {packet, ""}, {tap, "a-name-that-is-too-long"}]],
    Sw = network([{uplink, slirp}]),
    [{error, {bad_option, forward}} = evum_switch:forward(Sw, Host, Guest)
     || {Host, Guest} <- [{{sctp, 0}, {a, 80}}, {{tcp, -1}, {a, 80}}, {{tcp, 0}, {a, 0}}, {{tcp, "x", 0}, {a, 80}}, {0, a}]],
    sentence({error, {bad_option, forward}}).

a_way_in_needs_its_machine(_) ->
    Sw = network([{uplink, slirp}]),
    {error, {not_plugged, a}} = Error = evum_switch:forward(Sw, {tcp, 0}, {a, 80}),
    sentence(Error),
    Vm = vm([{label, a}, {net, false}]),
    {error, {not_plugged, Vm}} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 80}),
    stop(Vm).
