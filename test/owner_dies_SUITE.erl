%% SPDX-License-Identifier: Apache-2.0
%% Whoever dies, a machine's process, its owner, the BEAM: nothing is left that shouldn't be
-module(owner_dies_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, vm/1, stop/1, down/1, monitored/2, expect/2, flush/0, out/2, until/1, gone/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_linked_machine_dies_with_its_caller, a_linked_machine_dies_with_a_normal_end_too,
        a_linked_caller_dies_with_its_machine, a_machine_lives_as_long_as_its_life, a_dead_life_ends_it_at_once,
        the_next_to_type_adopts, start_link_has_no_owner, only_the_owner_gives_away, a_typo_costs_nothing,
        an_owner_on_another_node, a_busy_connection_loses_no_notice, a_killed_beam_leaves_nothing, whatever_is_killed_nothing_is_left
    ].

%% A process that runs Fun, sends its result and waits to be told how to end.
other(Fun) ->
    Self = self(),
    Pid = spawn(fun() ->
        Self ! {self(), Fun()},
        receive {exit, Reason} -> exit(Reason) end
    end),
    receive {Pid, Result} -> {Pid, Result} after 20000 -> error(stuck) end.

linked(Opts) ->
    {Caller, {ok, Vm}} = other(fun() -> evum:start_link([{wait_boot, 10000} | Opts]) end),
    {Caller, Vm}.

a_linked_machine_dies_with_its_caller(_) ->
    {Caller, V} = linked([{label, linked}]),
    Pids = evum_test_lib:pids(V),
    Monitor = monitor(process, V),
    Caller ! {exit, oops},
    oops = monitored(Monitor, V),
    ok = gone(Pids, 1000),
    undefined = whereis(linked).

a_linked_machine_dies_with_a_normal_end_too(_) ->
    [begin
         {Caller, V} = linked([]),
         Monitor = monitor(process, V),
         Caller ! {exit, Reason},
         Reason = monitored(Monitor, V)
     end || Reason <- [normal, shutdown]],
    %% before the boot is through
    {Caller, {ok, V}} = other(fun() -> evum:start_link([]) end),
    Monitor = monitor(process, V),
    Caller ! {exit, oops},
    oops = monitored(Monitor, V).

a_linked_caller_dies_with_its_machine(_) ->
    {Caller, V} = linked([]),
    Monitor = monitor(process, Caller),
    ok = evum_test_lib:kill(evum_test_lib:kernel_pid(V), "KILL"),
    {signal, 9} = monitored(Monitor, Caller).

a_machine_lives_as_long_as_its_life(_) ->
    {Life, ok} = other(fun() -> ok end),
    V = vm([{life, Life}]),
    Monitor = monitor(process, V),
    Life ! {exit, bye},
    {shutdown, {life, bye}} = monitored(Monitor, V),
    expect(V, {down, {shutdown, {life, bye}}}).

a_dead_life_ends_it_at_once(_) ->
    {Life, ok} = other(fun() -> ok end),
    Monitor = monitor(process, Life),
    Life ! {exit, bye},
    bye = monitored(Monitor, Life),
    {error, {shutdown, {life, noproc}}} = evm:create([{life, Life}]).

the_next_to_type_adopts(_) ->
    {Owner, {ok, V}} = other(fun() -> evm:create([{label, orphan}]) end),
    Owner = maps:get(owner, evum:info(V)),
    Owner ! {exit, oops},
    until(fun() -> maps:get(owner, evum:info(V)) =:= none end),
    %% printed while nobody listens: held, not lost
    {ok, _} = evum:exec(V, "echo while-alone > /dev/console"),
    {error, {bad_option, owner}} = evum:give_away(V, nobody),
    Echo = evum:send(orphan, "echo to-me"),
    true = is_binary(Echo),
    Lines = evum_test_lib:lines(<<"to-me">>),
    true = lists:member(<<"while-alone">>, [lists:last(binary:split(L, <<"# ">>)) || L <- Lines]),
    Self = self(),
    Self = maps:get(owner, evum:info(V)),
    stop(V),
    expect(V, {down, normal}).

start_link_has_no_owner(_) ->
    {Caller, V} = linked([]),
    none = maps:get(owner, evum:info(V)),
    _ = evum:send(V, "echo quiet"),
    none = maps:get(owner, evum:info(V)),
    [] = flush(),
    stop(V),
    false = is_process_alive(Caller) andalso Caller =:= none.

only_the_owner_gives_away(_) ->
    V = vm([{console, tagged}]),
    {Other, {error, not_owner}} = other(fun() -> evum:give_away(V, self()) end),
    Self = self(),
    Listener = spawn_link(fun() -> receive {evum, V, {console, _}} = M -> Self ! {heard, M} end end),
    ok = evum:give_away(V, Listener),
    {error, not_owner} = evum:give_away(V, self()),
    ok = evum:puts(V, "echo given\n"),
    receive {heard, _} -> ok after 20000 -> error(not_heard) end,
    until(fun() -> maps:get(owner, evum:info(V)) =:= none end),
    ok = evum:give_away(V, self()),
    _ = flush(),
    _ = evum:send(V, "echo mine"),
    receive {evum, V, {console, _}} -> ok after 20000 -> error(not_heard) end,
    Other ! {exit, normal},
    stop(V).

%% As the erl shell does: an error ends the evaluator, another takes its place.
a_typo_costs_nothing(_) ->
    {Evaluator, {ok, V}} = other(fun() -> evm:create([{label, test1}]) end),
    Monitor = monitor(process, Evaluator),
    Evaluator ! {exit, {badarith, []}},
    {badarith, []} = monitored(Monitor, Evaluator),
    {Next, Lines} = other(fun() ->
        <<_, _/binary>> = evum:send(test1, "uname"),
        evum_test_lib:lines(<<"Linux">>)
    end),
    [_ | _] = Lines,
    Next ! {exit, normal},
    stop(V).

an_owner_on_another_node(_) ->
    {ok, Peer, Node} = evum_test_lib:peer(),
    V = vm([{label, here}]),
    Self = self(),
    {Owner, ok} = {spawn(Node, ?MODULE, collect, [Self]), ok},
    ok = evum:give_away(V, Owner),
    {ok, #{stdout := <<"hi\n">>}} = erpc:call(Node, evum, exec, [V, "echo hi"]),
    <<_, _/binary>> = erpc:call(Node, evum, send, [V, "echo far"]),
    receive {collected, <<"far">>} -> ok after 20000 -> error(not_heard) end,
    peer:stop(Peer),
    until(fun() -> maps:get(owner, evum:info(V)) =:= none end),
    <<_, _/binary>> = evum:send(V, "echo near"),
    _ = evum_test_lib:lines(<<"near">>),
    stop(V),
    ok = net_kernel:stop().

%% The other node stands still, so nothing gets through to it; the machine goes
%% on, and what the owner was to hear he hears.
a_busy_connection_loses_no_notice(_) ->
    {ok, Peer, Node} = evum_test_lib:peer(),
    V = vm([{label, here}]),
    Owner = spawn(Node, ?MODULE, collect, [self()]),
    ok = evum:give_away(V, Owner),
    Beam = list_to_integer(erpc:call(Node, os, getpid, [])),
    ok = evum_test_lib:kill(Beam, "STOP"),
    Sink = {nobody, Node},
    Junk = binary:copy(<<0>>, 1000000),
    until(fun() -> erlang:send(Sink, Junk, [nosuspend]) =:= nosuspend end),
    ok = evum:reboot(V),
    {ok, #{status := 0}} = evum:exec(V, "printf last > /proc/mconsole"),
    stop(V),
    ok = evum_test_lib:kill(Beam, "CONT"),
    [receive {collected, {evum, V, Notice}} -> ok after 20000 -> error({missing, Notice, flush()}) end
     || Notice <- [rebooting, up, {message, <<"last">>}, {down, normal}]],
    peer:stop(Peer),
    ok = net_kernel:stop().

collect(To) ->
    receive Message -> To ! {collected, Message}, collect(To) end.

%% --- kill -9 -------------------------------------------------------------------

%% Five machines in a second BEAM, which prints their processes.
five_machines() ->
    evum_test_lib:second_beam(
        "application:ensure_all_started(evum),"
        "Vms = [element(2, evm:create([{owner, none}, {console, none}, {mem, 48}])) || _ <- lists:seq(1, 5)],"
        "{ok, _} = evum:start_link([{label, linked}]),"
        "io:format(\"~w.~n\", [lists:append([maps:get(os_pids, evum:info(V)) || V <- Vms])]), receive never -> ok end.").

a_killed_beam_leaves_nothing(_) ->
    {Port, Beam} = five_machines(),
    Pids = receive {Port, {data, {eol, Line}}} -> term(Line) after 20000 -> error(no_machines) end,
    15 = length(Pids),
    [] = [P || P <- Pids, not evum_test_lib:alive(P)],
    ok = evum_test_lib:kill(Beam, "KILL"),
    ok = gone(Pids, 1000),
    until(fun() -> [B || {B, <<"beam", _/binary>>} <- evum_test_lib:marked()] =:= [] end),
    receive {Port, {exit_status, _}} -> ok after 20000 -> error(alive) end.

term(Line) ->
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Line)),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

%% Five machines, one of them linked; something is killed, each kind once a round
%% in random order; the machine it belonged to ends with the reason that is due,
%% the others stay.
whatever_is_killed_nothing_is_left() -> [{timetrap, {seconds, 60 + 10 * evum_test_lib:rounds(1)}}].

whatever_is_killed_nothing_is_left(_) ->
    Seed = rand:seed(exsss),
    ct:pal("seed ~p", [rand:export_seed_s(Seed)]),
    Opts = [{owner, none}, {console, none}, {mem, 48}],
    [begin
         {Caller, Linked} = linked([{mem, 48}]),
         Vms = [vm(Opts) || _ <- [1, 2, 3, 4]] ++ [Linked],
         All = [{V, monitor(process, V), evum_test_lib:pids(V)} || V <- Vms],
         {Victim, Wanted} = strike(Kill, lists:nth(rand:uniform(4), All), Caller, All),
         {Round, Kill, ok} = {Round, Kill, fate(Victim, Wanted, All)},
         _ = [evum:crash(V) || {V, _, _} <- All],
         Caller ! {exit, normal},
         ok = gone(lists:append([Pids || {_, _, Pids} <- All]), 1000)
     end || Round <- lists:seq(1, evum_test_lib:rounds(1)), Kill <- shuffled([beam, port, jail, kernel, caller])].

shuffled(List) -> [Item || {_, Item} <- lists:sort([{rand:uniform(), Item} || Item <- List])].

strike(port, {V, _, [Port, _, _]}, _, _) -> kill(Port), {V, port_died};
strike(jail, {V, _, [_, Init, _]}, _, _) -> kill(Init), {V, {signal, 9}};
strike(kernel, {V, _, [_, _, Kernel]}, _, _) -> kill(Kernel), {V, {signal, 9}};
strike(caller, _, Caller, All) ->
    exit(Caller, kill),
    {element(1, lists:last(All)), killed};
strike(beam, _, _, _) ->
    a_killed_beam_leaves_nothing([]),
    {none, none}.

kill(Pid) -> ok = evum_test_lib:kill(Pid, "KILL").

fate(none, _, _) -> ok;
fate(Victim, Wanted, All) ->
    {Victim, Monitor, Pids} = lists:keyfind(Victim, 1, All),
    Wanted = monitored(Monitor, Victim),
    ok = gone(Pids, 1000),
    [] = [V || {V, _, _} <- All, V =/= Victim, not is_process_alive(V)],
    ok.
