%% SPDX-License-Identifier: Apache-2.0
%% Rules on a network, as its machines feel them: faults, partitions, filters, captures
-module(rules_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-include("../src/evum_lan.hrl").

-import(evum_test_lib, [out/2, parallel/1, until/1, until/2, sentence/1]).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_capture_shows_request_and_reply, a_capture_can_be_read_while_it_grows, a_full_disk_ends_a_capture,
        a_subscriber_sees_a_ping,
        loss_is_as_asked, delay_adds_to_a_ping, duplicates_are_seen, corruption_is_found_by_checksums,
        reordering_is_seen, a_rate_is_kept, a_pairs_fault_spares_others, all_is_every_machine,
        a_partition_ends_with_its_owner, heal_ends_a_partition, an_error_in_the_shell_ends_no_rule,
        two_syns_are_dropped_and_the_third_connects, a_frame_is_held_until_it_is_released,
        a_bad_filter_ends_and_the_ping_goes_on, a_rule_is_on_no_other_link, a_rule_holds_over_a_reboot,
        a_machine_takes_its_rules_along, a_flood_through_a_delay_is_bounded, a_flood_to_a_filter_is_bounded,
        a_dead_link_is_no_dead_network, errors_are_sentences
    ].

%% --- machines and pings ------------------------------------------------------------

%% A network of its own, with a machine for each label.
with(Labels, Test) -> with(Labels, fun create/2, [], Test).

with(Labels, Create, Opts, Test) ->
    {ok, Sw} = evum_switch:start(Opts),
    Vms = parallel([fun() -> Create(Sw, Label) end || Label <- Labels]),
    try
        Test(Sw, Vms)
    after
        parallel([fun() -> evum:crash(Vm) end || Vm <- Vms]),
        ok = evum_switch:stop(Sw)
    end.

create(Sw, Label) ->
    {ok, Vm} = evm:create([{label, Label}, {net, Sw}, {console, none}, {owner, none}]),
    Vm.

%% With this host's programs, iperf3 among them.
create_host(Sw, Label) ->
    {ok, Vm} = evum:start([{label, Label}, {net, Sw}, {console, none}, {owner, none}, {mem, 128}]),
    Vm.

ip(Sw, Label) ->
    [Ip] = [inet:ntoa(Ip) || #{label := L, ip := Ip} <- evum_switch:ports(Sw), L =:= Label],
    Ip.

run(Vm, Command) -> run(Vm, Command, 60000).

run(Vm, Command, Ms) -> evum:exec(Vm, lists:flatten(Command), #{timeout => Ms}).

%% The times of the replies, in ms, by their numbers as they came.
ping(Sw, From, To, Options) ->
    {ok, #{stdout := Out}} = run(From, ["ping ", Options, " ", ip(Sw, To)]),
    case re:run(Out, "seq=([0-9]+) ttl=[0-9]+ time=([0-9.]+) ms", [global, {capture, all_but_first, list}]) of
        {match, Replies} -> [{list_to_integer(Seq), to_float(Ms)} || [Seq, Ms] <- Replies];
        nomatch -> []
    end.

to_float(Text) ->
    case string:to_float(Text) of
        {error, no_float} -> float(list_to_integer(Text));
        {N, _} -> N
    end.

reaches(Sw, From, To) -> ping(Sw, From, To, "-c 1 -W 1") =/= [].

%% What a busy host adds to some is left out.
quickest(Replies) -> lists:min([Ms || {_, Ms} <- Replies]).

rule(Sw, Ref) ->
    #{rules := Rules} = evum_switch:info(Sw),
    case [Rule || #{ref := R} = Rule <- Rules, R =:= Ref] of
        [Rule] -> Rule;
        [] -> none
    end.

ended(Sw, Ref) ->
    receive
        {evum, Sw, {rule_ended, Ref, Reason}} ->
            sentence(Reason),
            Reason
    after 10000 -> error({not_ended, rule(Sw, Ref)})
    end.

file(Config, Name) -> filename:join(proplists:get_value(priv_dir, Config), Name).

tshark(File, Filter, Fields) ->
    {0, Out, _} = evum_test_lib:sh(["tshark -r ", File, " -Y '", Filter, "' -T fields -E separator=, ", [[" -e ", F] || F <- Fields]]),
    [string:split(Line, ",", all) || Line <- string:lexemes(binary_to_list(Out), "\n")].

%% --- captures ------------------------------------------------------------------------

a_capture_shows_request_and_reply(Config) ->
    with([a, b], fun(Sw, [A, _]) ->
        File = file(Config, "all.pcapng"),
        FileA = file(Config, "a.pcapng"),
        {ok, All} = evum_switch:capture(Sw, all, File),
        {ok, OfA} = evum_switch:capture(Sw, a, FileA),
        Before = erlang:system_time(nanosecond),
        [{_, Ms}] = ping(Sw, A, b, "-c 1"),
        After = erlang:system_time(nanosecond),
        ok = evum_switch:heal(Sw, All),
        ok = evum_switch:heal(Sw, OfA),
        Fields = ["icmp.type", "frame.interface_name", "frame.time_epoch", "frame.packet_flags"],
        [["8", "a", T1, "0x00000002"], ["0", "b", T2, "0x00000002"]] = tshark(File, "icmp", Fields),
        [["8", "a", T3, "0x00000002"], ["0", "a", T4, "0x00000001"]] = tshark(FileA, "icmp", Fields),
        Times = [Before, ns(T1), ns(T2), After],
        Times = lists:sort(Times),
        true = ns(T4) - ns(T3) =< Ms * 1000000,
        true = ns(T2) >= ns(T3) andalso ns(T2) =< ns(T4)
    end).

ns(Text) ->
    [Seconds, Fraction] = string:split(Text, "."),
    9 = length(Fraction),
    list_to_integer(Seconds) * 1000000000 + list_to_integer(Fraction).

a_capture_can_be_read_while_it_grows(Config) ->
    with([a, b], fun(Sw, [A, _]) ->
        File = file(Config, "live.pcapng"),
        {ok, _} = evum_switch:capture(Sw, a, File),
        true = reaches(Sw, A, b),
        until(fun() -> length(tshark(File, "icmp", ["icmp.type"])) =:= 2 end, 10000),
        Tail = open_port({spawn_executable, "/usr/bin/tail"}, [{args, ["-c", "+1", "-f", File]}, binary]),
        true = reaches(Sw, A, b),
        Seen = collect(Tail, filelib:file_size(File), <<>>),
        true = port_close(Tail),
        {ok, Seen} = file:read_file(File)
    end).

collect(_Port, Size, Bytes) when byte_size(Bytes) >= Size -> Bytes;
collect(Port, Size, Bytes) ->
    receive
        {Port, {data, More}} -> collect(Port, Size, <<Bytes/binary, More/binary>>)
    after 20000 -> error({missing, Size - byte_size(Bytes)})
    end.

%% The device that is always full takes the first block no more than any.
a_full_disk_ends_a_capture(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        {error, {local, enospc, <<"/dev/full">>} = Full} = evum_switch:capture(Sw, all, "/dev/full"),
        sentence(Full),
        with_small_disk(fun(Dir) ->
            {ok, Ref} = evum_switch:capture(Sw, all, filename:join(Dir, "f")),
            _ = ping(Sw, A, b, "-c 60 -i 0.01"),
            {local, enospc, _} = ended(Sw, Ref),
            true = reaches(Sw, A, b)
        end)
    end).

%% A page of disk, in a mount namespace of its own, which its process lends out.
with_small_disk(Test) ->
    Mount = "mount -t tmpfs -o size=4k none /mnt && echo $$ && exec cat",
    Port = open_port({spawn_executable, "/usr/bin/unshare"}, [{args, ["-Urm", "sh", "-c", Mount]}, {line, 100}]),
    Pid = receive {Port, {data, {eol, Line}}} -> Line after 20000 -> error(no_mount) end,
    try
        Test("/proc/" ++ Pid ++ "/root/mnt")
    after
        true = port_close(Port)
    end.

a_subscriber_sees_a_ping(_) ->
    with([a, b], fun(Sw, [A, B]) ->
        {ok, Ref} = evum_switch:subscribe(Sw, b),
        true = reaches(Sw, A, b),
        receive {evum, Sw, {frame, B, to, <<_:96, 16#0800:16, 16#45, _:64, 1, _/binary>>}} -> ok after 20000 -> error(no_request) end,
        receive {evum, Sw, {frame, B, from, <<_:96, 16#0800:16, 16#45, _:64, 1, _/binary>>}} -> ok after 20000 -> error(no_reply) end,
        ok = evum_switch:heal(Sw, Ref)
    end).

%% --- faults ----------------------------------------------------------------------------

%% By the guest's kernel: its ping has no room for the next reply while one waits unread.
loss_is_as_asked(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        {ok, Ref} = evum_switch:fault(Sw, a, #{loss => 0.3, direction => from}),
        Before = counted(A, "Icmp", "InEchoReps"),
        _ = ping(Sw, A, b, "-c 1000 -i 0.003 -W 1"),
        Replies = counted(A, "Icmp", "InEchoReps") - Before,
        ct:pal("~b of 1000 pings came back; ~p", [Replies, rule(Sw, Ref)]),
        true = Replies >= 650 andalso Replies =< 750
    end).

delay_adds_to_a_ping(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        Usual = quickest(ping(Sw, A, b, "-c 20 -i 0.02")),
        [begin
             {ok, Ref} = evum_switch:fault(Sw, a, Spec),
             Added = quickest(ping(Sw, A, b, "-c 20 -i 0.02")) - Usual,
             ct:pal("~p adds ~.3f ms", [Spec, Added]),
             true = abs(Added - Expected) =< Tolerance,
             ok = evum_switch:heal(Sw, Ref)
         end || {Spec, Expected, Tolerance} <- [
             {#{delay => 50, direction => from}, 50, 5}, {#{delay => 50, direction => to}, 50, 5}, {#{delay => 50}, 100, 10}
         ]],
        true = quickest(ping(Sw, A, b, "-c 20 -i 0.02")) - Usual < 5
    end).

duplicates_are_seen(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        {ok, Ref} = evum_switch:fault(Sw, b, #{duplicate => 1, direction => from}),
        _ = ping(Sw, A, b, "-c 3 -i 0.1"),
        until(fun() -> counted(A, "Icmp", "InEchoReps") =:= 6 end),
        ok = evum_switch:heal(Sw, Ref),
        _ = ping(Sw, A, b, "-c 3 -i 0.1"),
        until(fun() -> counted(A, "Icmp", "InEchoReps") =:= 9 end)
    end).

corruption_is_found_by_checksums(_) ->
    with([a, b], fun(Sw, [A, B]) ->
        true = reaches(Sw, A, b),
        {ok, _} = evum_switch:fault(Sw, a, #{corrupt => 1, direction => from}),
        [] = ping(Sw, A, b, "-c 50 -i 0.01 -W 1"),
        true = counted(B, "Ip", "InHdrErrors") + counted(B, "Icmp", "InCsumErrors") >= 45
    end).

%% A counter of the guest's kernel.
counted(Vm, Protocol, Name) ->
    Lines = string:lexemes(out(Vm, "grep ^" ++ Protocol ++ ": /proc/net/snmp"), "\n"),
    [Names, Values] = [string:lexemes(binary_to_list(Line), " ") || Line <- Lines],
    {_, Value} = lists:keyfind(Name, 1, lists:zip(Names, Values)),
    list_to_integer(Value).

reordering_is_seen(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        {ok, _} = evum_switch:subscribe(Sw, b),
        [begin
             {ok, Ref} = evum_switch:fault(Sw, a, Spec#{direction => from, seed => 1}),
             _ = ping(Sw, A, b, "-c 100 -i 0.005 -W 1"),
             ok = evum_switch:heal(Sw, Ref),
             Seqs = requests(),
             true = lists:sort(Seqs) =:= lists:seq(0, 99),
             IsOrdered = Seqs =:= lists:seq(0, 99)
         end || {Spec, IsOrdered} <- [
             {#{delay => 30, reorder => 0.3}, false}, {#{reorder => 0.3}, false}, {#{delay => 30, jitter => 25}, true}
         ]]
    end).

%% The numbers of a hundred pings, as they reached the machine that is watched.
requests() -> [request() || _ <- lists:seq(1, 100)].

request() ->
    receive
        {evum, _, {frame, _, to, <<_:96, 16#0800:16, 16#45, _:64, 1, _:80, 8, _:40, Seq:16, _/binary>>}} -> Seq
    after 20000 -> error(missing)
    end.

a_rate_is_kept(_) ->
    %% many small frames tell a rate better than a few long ones
    with([a, b], fun create_host/2, [{mtu, 1500}], fun(Sw, [A, B]) ->
        {ok, _} = evum_switch:fault(Sw, A, #{rate => 10000000, direction => from}),
        {ok, _} = evum:spawn(B, "exec iperf3 -s -1 >/dev/null"),
        ok = evum:await(B, {port, 5201}, 10000),
        {ok, #{status := 0, stdout := Out}} = run(A, ["iperf3 -J -t 3 -O 1 -c ", ip(Sw, b)]),
        Rate = received(Out),
        Best = lists:max(seconds(Out)),
        ct:pal("~.2f Mbit/s, in its best second ~.2f", [Rate / 1.0e6, Best / 1.0e6]),
        %% a host that stands still for a moment makes it slower, never faster
        true = Best >= 8500000 andalso Rate =< 11500000
    end).

%% iperf3's report: what the other end got, bit/s.
received(Json) ->
    {match, [Rate]} = re:run(Json, "\"sum_received\":.*?\"bits_per_second\":\\s*([0-9.e+]+)", [dotall, {capture, all_but_first, list}]),
    to_float(Rate).

%% And what was sent in each second.
seconds(Json) ->
    {match, Rates} = re:run(Json, "\"sum\":.*?\"bits_per_second\":\\s*([0-9.e+]+)", [dotall, global, {capture, all_but_first, list}]),
    [to_float(Rate) || [Rate] <- Rates].

a_pairs_fault_spares_others(_) ->
    with([a, b, c], fun(Sw, [A, B, C]) ->
        {ok, _} = evum_switch:fault(Sw, {a, B}, #{loss => 1}),
        false = reaches(Sw, A, b),
        false = reaches(Sw, B, a),
        true = reaches(Sw, A, c),
        true = reaches(Sw, C, b),
        true = reaches(Sw, B, gateway)
    end).

all_is_every_machine(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        {ok, Ref} = evum_switch:fault(Sw, all, #{delay => 30}),
        D = create(Sw, d),
        %% there and back, each way once
        [begin
             Ms = quickest(ping(Sw, From, To, "-c 10 -i 0.1")),
             true = Ms >= 60 andalso Ms =< 75
         end || {From, To} <- [{A, b}, {D, a}, {A, gateway}]],
        ok = evum_switch:heal(Sw, Ref),
        ok = evum:crash(D)
    end).

%% --- partitions and lives ----------------------------------------------------------------

a_partition_ends_with_its_owner(_) ->
    with([a, b, c], fun(Sw, [A, B, C]) ->
        %% or the guest would wait for a second before it asked again who b is
        true = reaches(Sw, A, b),
        Parent = self(),
        Owner = spawn(fun() ->
            {ok, Ref} = evum_switch:partition(Sw, [[a], [b]]),
            Parent ! {cut, Ref},
            receive stop -> ok end
        end),
        Ref = receive {cut, R} -> R end,
        [false = reaches(Sw, From, To) || {From, To} <- [{A, b}, {B, a}]],
        [true = reaches(Sw, From, To) || {From, To} <- [{A, c}, {C, b}, {A, gateway}, {B, gateway}]],
        exit(Owner, kill),
        Killed = erlang:monotonic_time(millisecond),
        until(fun() -> rule(Sw, Ref) =:= none end, 1000),
        true = reaches(Sw, A, b),
        Took = erlang:monotonic_time(millisecond) - Killed,
        ct:pal("a ping came back ~b ms after the owner was killed", [Took]),
        true = Took =< 1000
    end).

heal_ends_a_partition(_) ->
    with([a, b], fun(Sw, [A, B]) ->
        true = reaches(Sw, A, b),
        {ok, Ref} = evum_switch:partition(Sw, [[A], [B]], [{life, switch}]),
        false = reaches(Sw, A, b),
        ok = evum_switch:heal(Sw, Ref),
        true = reaches(Sw, A, b),
        ok = evum_switch:heal(Sw, Ref),
        {ok, _} = evum_switch:partition(Sw, [[a], [b]]),
        {ok, _} = evum_switch:fault(Sw, all, #{loss => 1}),
        ok = evum_switch:heal(Sw, all),
        true = reaches(Sw, A, b)
    end).

%% A shell of another BEAM: an error replaces its evaluator.
an_error_in_the_shell_ends_no_rule(_) ->
    Typed = "{ok, _} = application:ensure_all_started(evum), {ok, Sw} = evum_switch:start(), {ok, A} = evm:create([{label, s1}, {net, Sw}, {console, none}]).\n"
        "{ok, _} = evum_switch:fault(Sw, A, #{loss => 0}), {ok, _} = evum_switch:subscribe(Sw, A).\n"
        "1 + a.\n"
        "_ = evum:exec(A, \"ping -c 1 10.77.0.1\").\n"
        "io:format(\"~b rules~n\", [length(maps:get(rules, evum_switch:info(Sw)))]).\n"
        "receive {evum, Sw, {frame, A, _, _}} -> io:format(\"a frame~n\") after 2000 -> ok end.\n"
        "exit(normal).\n"
        "io:format(\"~b rules~n\", [length(maps:get(rules, evum_switch:info(Sw)))]).\n"
        "ok = evum:crash(A), halt().\n",
    Ebin = filename:dirname(code:which(evum)),
    {0, Out, _} = evum_test_lib:sh(["printf '%s' '", Typed, "' | erl -pa ", Ebin]),
    {match, [[<<"2 rules">>], [<<"a frame">>], [<<"2 rules">>]]} =
        re:run(Out, "^(?:[0-9]+> )?([0-9]+ rules|a frame)", [global, multiline, {capture, all_but_first, binary}]).

%% --- filters -----------------------------------------------------------------------------

two_syns_are_dropped_and_the_third_connects(Config) ->
    with([a, b], fun(Sw, [A, B]) ->
        File = file(Config, "syn.pcapng"),
        {ok, _} = evum:spawn(B, "echo hello | nc -l -p 80"),
        ok = evum:await(B, {port, 80}, 20000),
        Drop = fun(<<_:96, 16#0800:16, 16#45, _:64, 6, _:80, _:104, 2, _/binary>>, from, N) when N < 2 -> {drop, N + 1};
                  (_, _, N) -> {forward, N} end,
        {ok, Ref} = evum_switch:filter(Sw, a, Drop, 0),
        {ok, Capture} = evum_switch:capture(Sw, a, File),
        <<"hello">> = out(A, "nc " ++ ip(Sw, b) ++ " 80 < /dev/null"),
        #{dropped := 2} = rule(Sw, Ref),
        ok = evum_switch:heal(Sw, Capture),
        [T1, T2, T3] = [ns(T) / 1.0e9 || [T] <- tshark(File, "tcp.flags.syn == 1 && tcp.flags.ack == 0", ["frame.time_epoch"])],
        ct:pal("SYNs after ~.2f and ~.2f s", [T2 - T1, T3 - T2]),
        %% the guest's kernel waits 1 s, then 2
        true = abs(T2 - T1 - 1) < 0.5 andalso abs(T3 - T2 - 2) < 0.8
    end).

a_frame_is_held_until_it_is_released(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        Parent = self(),
        Hold = fun(<<_:96, 16#0800:16, 16#45, _:64, 1, _/binary>>, from, held) -> Parent ! passed, {forward, held};
                  (<<_:96, 16#0800:16, 16#45, _:64, 1, _/binary>>, from, none) -> Parent ! held, {{hold, first}, held};
                  (_, _, St) -> {forward, St} end,
        {ok, Ref} = evum_switch:filter(Sw, a, Hold, none),
        {ok, _} = evum_switch:subscribe(Sw, b),
        Ping = spawn_monitor(fun() -> ping(Sw, A, b, "-c 2 -i 1 -W 3") end),
        [receive What -> ok after 20000 -> error({'not', What}) end || What <- [held, passed]],
        1 = request(),
        {error, {no_rule, _}} = evum_switch:release({Sw, make_ref()}, first),
        ok = evum_switch:release(Ref, first),
        0 = request(),
        receive {'DOWN', _, process, P, normal} when P =:= element(1, Ping) -> ok after 20000 -> error(no_end) end
    end).

a_bad_filter_ends_and_the_ping_goes_on(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        [begin
             Before = counted(A, "Icmp", "InEchoReps"),
             {ok, Ref} = evum_switch:filter(Sw, a, Fun, 0),
             _ = ping(Sw, A, b, "-c 3 -i 0.1 -W 1"),
             Reason = ended(Sw, Ref),
             true = Expected(Reason),
             until(fun() -> counted(A, "Icmp", "InEchoReps") =:= Before + 3 end)
         end || {Fun, Expected} <- [
             {fun(_, _, _) -> error(oops) end, fun({filter_crashed, {error, oops, _}}) -> true end},
             {fun(_, _, _) -> rubbish end, fun({bad_verdict, rubbish}) -> true end},
             {fun(_, _, _) -> receive never -> ok end end, fun({timeout, filter}) -> true end},
             {fun(_, _, _) -> loop() end, fun({timeout, filter}) -> true end}
         ]]
    end).

loop() -> loop().

%% --- links -------------------------------------------------------------------------------

%% The processes that a rule takes: those of the links.
links(Sw) ->
    {links, Links} = process_info(Sw, links),
    [Pid || Pid <- Links, is_pid(Pid), proc_lib:translate_initial_call(Pid) =:= {evum_link, init, 1}].

a_rule_is_on_no_other_link(_) ->
    with([a, b, c], fun(Sw, [A, B, _]) ->
        true = reaches(Sw, A, b),
        true = reaches(Sw, B, a),
        {[], []} = {links(Sw), ways_round(Sw)},
        {ok, Ref} = evum_switch:fault(Sw, c, #{delay => 1000}),
        {[Link], [c]} = {links(Sw), ways_round(Sw)},
        true = reaches(Sw, A, b),
        true = reaches(Sw, B, a),
        #{frames := 0} = rule(Sw, Ref),
        Monitor = monitor(process, Link),
        ok = evum_switch:heal(Sw, Ref),
        receive {'DOWN', Monitor, process, Link, normal} -> ok after 20000 -> error(link_stays) end,
        {[], []} = {links(Sw), ways_round(Sw)}
    end).

%% Whose frames take the way by a process.
ways_round(Sw) ->
    #lan{ports = Ports} = evum_switch:lan(Sw),
    [Label || #port{label = Label, via = Via} <- ets:tab2list(Ports), Via =/= none].

a_rule_holds_over_a_reboot(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        {ok, Ref} = evum_switch:fault(Sw, a, #{loss => 1}),
        ok = evum:reboot(A),
        ok = evum:await(A, up, 20000),
        false = reaches(Sw, A, b),
        ok = evum_switch:heal(Sw, Ref),
        %% it asks once a second who b is
        until(fun() -> reaches(Sw, A, b) end, 9000)
    end).

a_machine_takes_its_rules_along(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        {ok, Ref} = evum_switch:fault(Sw, a, #{delay => 10}),
        {ok, Pair} = evum_switch:fault(Sw, {b, a}, #{delay => 10}),
        ok = evum:crash(A),
        {vm_down, crashed} = ended(Sw, Ref),
        {vm_down, crashed} = ended(Sw, Pair),
        [] = maps:get(rules, evum_switch:info(Sw)),
        {error, {not_plugged, a}} = evum_switch:fault(Sw, a, #{}),
        until(fun() -> links(Sw) =:= [] end)
    end).

%% 46 MB of pings within the time that the first of them takes.
a_flood_through_a_delay_is_bounded(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        Flood = fun() -> ping(Sw, A, b, "-s 31000 -c 1500 -i 0.001 -W 1") end,
        #{full := Full} = flooded(Sw, evum_switch:fault(Sw, a, #{delay => 20000, direction => from}), Flood),
        true = Full > 0,
        %% once the guests are through with the flood
        until(fun() -> reaches(Sw, A, b) end, 15000)
    end).

a_flood_to_a_filter_is_bounded(_) ->
    with([a, b], fun(Sw, [A, _]) ->
        true = reaches(Sw, A, b),
        Slow = fun(_, from, St) -> receive after 20 -> {forward, St} end; (_, _, St) -> {forward, St} end,
        Flood = fun() -> ping(Sw, A, b, "-s 31000 -c 400 -i 0.001 -W 1") end,
        #{full := Full} = flooded(Sw, evum_switch:filter(Sw, a, Slow, 0), Flood),
        true = Full > 0,
        %% once the guests are through with the flood
        until(fun() -> reaches(Sw, A, b) end, 15000)
    end).

%% What a rule has counted after a flood, when it has ended.
flooded(Sw, {ok, Ref}, Flood) ->
    [Link] = links(Sw),
    Before = erlang:memory(binary),
    Watch = watch(Link),
    _ = Flood(),
    {Memory, Binaries} = most(Watch),
    Rule = rule(Sw, Ref),
    ct:pal("the link took ~b bytes at most, binaries grew by ~b; ~p", [Memory, Binaries - Before, Rule]),
    true = Memory < 64000000,
    true = Binaries - Before < 128000000,
    ok = evum_switch:heal(Sw, Ref),
    Rule.

%% The most that a process and all binaries took.
watch(Pid) -> spawn_link(fun() -> watch(Pid, {0, 0}) end).

watch(Pid, {Memory, Binaries} = Most) ->
    receive
        {tell, Who} -> Who ! {most, Most}
    after 10 ->
        {memory, Now} = process_info(Pid, memory),
        watch(Pid, {max(Memory, Now), max(Binaries, erlang:memory(binary))})
    end.

most(Watch) ->
    Watch ! {tell, self()},
    receive {most, Most} -> Most end.

a_dead_link_is_no_dead_network(_) ->
    with([a, b], fun(Sw, [A, B]) ->
        {ok, Ref} = evum_switch:fault(Sw, a, #{delay => 10}),
        [Link] = links(Sw),
        {ok, Other} = evum_switch:capture(Sw, b, "/dev/null"),
        exit(Link, kill),
        {link_died, killed} = ended(Sw, Ref),
        true = reaches(Sw, A, b),
        true = reaches(Sw, B, a),
        #{kind := capture} = rule(Sw, Other)
    end).

errors_are_sentences(_) ->
    with([a, b], fun(Sw, _) ->
        Nop = fun(_, _, St) -> {forward, St} end,
        Reasons = [Reason || {error, Reason} <- [
            evum_switch:fault(Sw, nosuch, #{}), evum_switch:fault(Sw, a, #{loss => 2}), evum_switch:fault(nosuch, a, #{}),
            evum_switch:partition(Sw, [[a], [nosuch]]), evum_switch:partition(Sw, a), evum_switch:filter(Sw, a, x, 0),
            evum_switch:filter(Sw, nosuch, Nop, 0), evum_switch:capture(Sw, a, ""), evum_switch:capture(Sw, a, "/nosuch/f"),
            evum_switch:subscribe(Sw, nosuch), evum_switch:subscribe(Sw, a, [{life, x}]), evum_switch:heal(nosuch, all)
        ]],
        12 = length(Reasons),
        [sentence(Reason) || Reason <- Reasons],
        [] = links(Sw)
    end).
