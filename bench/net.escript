#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%%! -hidden
%% Two machines through a network of evum's, beside their kernels on one bare
%% socketpair (the limit) and through vde_switch and uml_switch: throughput at each
%% MTU, ping, request and response; then many machines, a rule on another's link, and
%% the way out beside slirp4netns and passt.
%%
%% A pair stays up all the time and idles while others are measured. Needs root, whose
%% files the bare kernels boot.
-mode(compile).
-compile({nowarn_unused_function, [{ms, 1}]}).
-include("bench.hrl").
-include("process.hrl").

-define(ROUNDS, 5).
-define(SECONDS, "3").
-define(MEM, 256).
-define(PORT, "5300").
-define(LIMIT, "bare socketpair (the limit)").
-define(PAIRS, [1, 4, 16]).
%% of the host's iperf3, which is reached through the ways out
-define(HOST_PORT, "5399").

main(Args) ->
    ok = io:setopts([{encoding, unicode}]),
    {ok, _} = application:ensure_all_started(evum),
    with_directory(fun(Dir) -> bench(Dir, Args) end).

bench(Dir, Args) ->
    lists:foreach(fun(Name) -> compile(Dir, Name) end, ["kernels", "answer"]),
    ok = init_script(Dir),
    Text = [pairs(Dir), "\n", others(Dir), "\n", many(Dir), "\n", way_out()],
    report("net", Args, Text).

compile(Dir, Name) ->
    Source = filename:join(filename:dirname(escript:script_name()), Name ++ ".c"),
    "" = os:cmd(lists:flatten(["cc -D_GNU_SOURCE -static -O2 -s -o ", filename:join(Dir, Name), " ", Source])).

%% --- two machines ----------------------------------------------------------------

pairs(Dir) ->
    Mtus = [{Mtu, [{?LIMIT, bare(Dir, Mtu)}, {"evum", evum(Dir, Mtu)}]} || Mtu <- [1500, 9000, 32000]],
    Switches = [{Name, switched(Dir, Name)} || Name <- ["vde_switch", "uml_switch"]],
    [{_, Small} | Large] = Mtus,
    All = Small ++ Switches,
    Text = [
        [[throughput(Mtu, Pairs), "\n"] || {Mtu, Pairs} <- [{1500, All} | Large]],
        "Ping, MTU 1500, 20 of them 50 ms apart, their mean:\n\n",
        table(?LIMIT, "ms", rounds(?ROUNDS, [{Name, fun() -> ping(Pair) end} || {Name, Pair} <- All])), "\n",
        "TCP, MTU 1500, a byte there and a byte back, 2000 times, their median:\n\n",
        table(?LIMIT, "µs", rounds(?ROUNDS, [{Name, fun() -> answer(Pair) end} || {Name, Pair} <- All]))
    ],
    [(maps:get(stop, Pair))() || {_, Pair} <- All ++ lists:append([P || {_, P} <- Large])],
    Text.

throughput(Mtu, Pairs) ->
    [
        io_lib:format("iperf3, MTU ~b, one stream, ~s s, ~b MiB of memory each:~n~n", [Mtu, ?SECONDS, ?MEM]),
        table(?LIMIT, "Gbit/s", rounds(?ROUNDS, [{Name, fun() -> iperf(Pair) end} || {Name, Pair} <- Pairs]))
    ].

iperf(#{run := Run, peer := Peer}) ->
    number(Run(["iperf3 -f m -c ", Peer, " -t ", ?SECONDS]), "([0-9.]+) Mbits/sec +receiver") / 1000.

ping(#{run := Run, peer := Peer}) -> number(Run(["ping -q -c 20 -i 0.05 ", Peer]), "= [0-9.]+/([0-9.]+)/").

answer(#{run := Run, peer := Peer, answer := Answer}) ->
    number(Run([Answer, " ", Peer, " ", ?PORT, " 2000"]), "([0-9.]+) us").

number(Text, Re) ->
    case re:run(Text, Re, [{capture, all_but_first, list}]) of
        {match, [Number]} -> try list_to_float(Number) catch error:badarg -> float(list_to_integer(Number)) end;
        nomatch -> error({unexpected, Text})
    end.

%% --- kernels without evum ------------------------------------------------------------

%% What they boot: the servers, and the first one's console runs what is written to it.
init_script(Dir) ->
    File = filename:join(Dir, "init"),
    ok = file:write_file(File, [
        "#!/bin/sh\n"
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run\n"
        "mount -t proc proc /proc; mount -t tmpfs tmpfs /run\n"
        "ip link set vec0 name eth0 2> /dev/null\n"
        "ip addr add 10.0.0.$me/24 dev eth0; ip link set eth0 up; ip link set lo up\n"
        "iperf3 -s -D > /dev/null; ", Dir, "/answer ", ?PORT, " &\n"
        "[ $me = 2 ] && exec sleep infinity\n"
        "stty -echo\n"
        "until ping -c 1 -W 1 10.0.0.2 > /dev/null 2>&1; do :; done; echo ==0\n"
        "while read -r line; do sh -c \"$line\" < /dev/null 2>&1; echo ==$?; done\n"
    ]),
    file:change_mode(File, 8#755).

bare(Dir, Mtu) ->
    Nic = fun(N) -> io_lib:format("vec0:transport=fd,fd=3,mac=02:00:00:00:00:0~b,mtu=~b", [N, Mtu]) end,
    kernels(Dir, Nic, fun() -> ok end).

switched(Dir, "vde_switch") ->
    Socket = filename:join(Dir, "vde"),
    Switch = background("/usr/bin/vde_switch", ["-x", "-s", Socket]),
    daemons(Dir, Switch, filename:join(Socket, "ctl"));
switched(Dir, "uml_switch") ->
    Socket = filename:join(Dir, "uml"),
    Switch = background("/usr/bin/uml_switch", ["-unix", Socket]),
    daemons(Dir, Switch, Socket).

daemons(Dir, Switch, Socket) ->
    await(fun() -> file:read_link_info(Socket) =/= {error, enoent} end),
    Nic = fun(N) -> io_lib:format("eth0=daemon,02:00:00:00:00:0~b,unix,~s", [N, Socket]) end,
    kernels(Dir, Nic, fun() -> end_process(Switch) end).

kernels(Dir, Nic, Stop) ->
    Args = [filename:join(Dir, "init"), integer_to_list(?MEM), lists:flatten(Nic(1)), lists:flatten(Nic(2))],
    Port = open_port({spawn_executable, filename:join(Dir, "kernels")}, [{args, Args}, exit_status, binary]),
    _ = said(Port, <<>>),
    #{
        run => fun(Command) ->
            true = port_command(Port, [Command, "\n"]),
            said(Port, <<>>)
        end,
        peer => "10.0.0.2",
        answer => filename:join(Dir, "answer"),
        stop => fun() -> end_process(Port), Stop() end
    }.

%% What a command has printed.
said(Port, Text) ->
    case re:run(Text, "(.*)==[0-9]+\r?\n$", [dotall, {capture, all_but_first, binary}]) of
        {match, [Said]} -> Said;
        nomatch ->
            receive
                {Port, {data, More}} -> said(Port, <<Text/binary, More/binary>>)
            after 60000 -> error({silent, Text})
            end
    end.

%% --- evum's machines ------------------------------------------------------------------

evum(Dir, Mtu) ->
    {ok, Net} = evum_switch:start([{mtu, Mtu}]),
    Pair = pair(Dir, Net, ?MEM),
    Pair#{stop := fun() -> (maps:get(stop, Pair))(), ok = evum_switch:stop(Net) end}.

pair(Dir, Net, Mem) ->
    [Client, Server] = [machine(Net, Mem, Cpu) || Cpu <- [0, 1]],
    lists:foreach(fun(Vm) -> ok = evum:put(Vm, {file, filename:join(Dir, "answer")}, "/root/answer") end, [Client, Server]),
    {ok, #{status := 0}} = evum:exec(Server, "iperf3 -s -D; /root/answer " ?PORT " < /dev/null > /dev/null 2>&1 &"),
    #{ip := Ip} = evum:info(Server),
    #{
        run => fun(Command) -> exec(Client, Command) end,
        peer => inet:ntoa(Ip),
        answer => "/root/answer",
        server => Server,
        stop => fun() -> [ok = evum:stop(Vm, 0) || Vm <- [Client, Server]] end
    }.

machine(Net, Mem, Cpu) ->
    {ok, Vm} = evum:start(#{net => Net, mem => Mem, cpu => Cpu, console => none}),
    Vm.

exec(Vm, Command) ->
    {ok, #{stdout := Text}} = evum:exec(Vm, lists:flatten(Command), #{timeout => 60000}),
    Text.

%% --- what others do --------------------------------------------------------------------

%% One pair, while a third machine's link has a rule and while it has none.
others(Dir) ->
    {ok, Net} = evum_switch:start([]),
    Pair = #{stop := Stop} = pair(Dir, Net, ?MEM),
    Third = machine(Net, 64, 0),
    Base = "no rule",
    Rows = rounds(?ROUNDS, [
        {Base, fun() -> iperf(Pair) end},
        {"a delay on a third machine's link", fun() -> with_fault(Net, Third, fun() -> iperf(Pair) end) end}
    ]),
    Stop(),
    ok = evum:stop(Third, 0),
    ok = evum_switch:stop(Net),
    ["iperf3 through evum, MTU 32000:\n\n", table(Base, "Gbit/s", Rows)].

with_fault(Net, Vm, Fun) ->
    {ok, Rule} = evum_switch:fault(Net, Vm, [{delay, 10}]),
    Result = Fun(),
    ok = evum_switch:heal(Net, Rule),
    Result.

%% Pairs that all send at once, on one network.
many(Dir) ->
    Rows = [many(Dir, N) || N <- ?PAIRS],
    [
        "iperf3 through evum, MTU 32000, machines two and two, all at once:\n\n",
        "| machines | sum Gbit/s | least of a pair | most |\n|---|---|---|---|\n",
        [io_lib:format("| ~b | ~.2f | ~.2f | ~.2f |~n", [2 * N, lists:sum(Rs), lists:min(Rs), lists:max(Rs)]) || {N, Rs} <- Rows]
    ].

many(Dir, N) ->
    {ok, Net} = evum_switch:start([]),
    Pairs = [pair(Dir, Net, 64) || _ <- lists:seq(1, N)],
    Tasks = [spawn_monitor(fun() -> exit({rate, iperf(Pair)}) end) || Pair <- Pairs],
    Rates = [receive {'DOWN', Ref, process, _, {rate, Rate}} -> Rate end || {_, Ref} <- Tasks],
    [Stop() || #{stop := Stop} <- Pairs],
    ok = evum_switch:stop(Net),
    {N, Rates}.

%% --- the way out --------------------------------------------------------------------------

%% To an iperf3 of the host's: evum's machines don't reach its loopback, the other two
%% have it behind an address of theirs.
way_out() ->
    Server = background("/usr/bin/iperf3", ["-s", "-p", ?HOST_PORT]),
    {ok, Net} = evum_switch:start([{uplink, slirp}]),
    Vm = machine(Net, ?MEM, 0),
    {Slirp, Programs} = slirp4netns(),
    Base = "slirp4netns, a namespace",
    Rows = rounds(?ROUNDS, [
        {Base, fun() -> iperf(Slirp) end},
        {"pasta (passt), a namespace", fun() -> iperf(pasta()) end},
        {"evum, a machine", fun() -> iperf(#{run => fun(C) -> exec(Vm, C) end, peer => host_port(own_address())}) end}
    ]),
    ok = evum:stop(Vm, 0),
    ok = evum_switch:stop(Net),
    [end_process(Program) || Program <- Programs ++ [Server]],
    ["iperf3 to the host, through the way out of a network (slirp, MTU 32000):\n\n", table(Base, "Gbit/s", Rows)].

host_port(Address) -> [Address, " -p ", ?HOST_PORT].

own_address() ->
    {ok, Interfaces} = inet:getifaddrs(),
    hd([inet:ntoa(Ip) || {_, Opts} <- Interfaces, {addr, {A, _, _, _} = Ip} <- Opts, A =/= 127]).

slirp4netns() ->
    Holder = background("/usr/bin/unshare", ["-n", "sleep", "infinity"]),
    {os_pid, Pid} = erlang:port_info(Holder, os_pid),
    Enter = ["nsenter -t ", integer_to_list(Pid), " -n "],
    await(fun() -> os:cmd(lists:flatten([Enter, "ip -br link 2> /dev/null | grep -c UP"])) =:= "0\n" end),
    Slirp = background("/usr/bin/slirp4netns", ["-c", "--mtu=65520", integer_to_list(Pid), "tap0"]),
    await(fun() -> os:cmd(lists:flatten([Enter, "ip -br addr show tap0 2> /dev/null | grep -c /24"])) =:= "1\n" end),
    {#{run => fun(C) -> os:cmd(lists:flatten([Enter, C])) end, peer => host_port("10.0.2.2")}, [Slirp, Holder]}.

%% It refuses the signals that the BEAM ignores.
pasta() ->
    [Gateway | _] = string:lexemes(os:cmd("ip route show default | cut -d ' ' -f 3"), "\n"),
    #{run => fun(C) -> os:cmd(lists:flatten(["env --default-signal pasta --config-net --runas 0 -- ", C])) end, peer => host_port(Gateway)}.
