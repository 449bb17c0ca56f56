%% SPDX-License-Identifier: Apache-2.0
%% Every end of a machine is told apart, in its exit reason and its last message
-module(endings_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, vm/1, stop/1, monitored/2, expect/2, flush/0, out/2, kill/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        stop_is_normal, crash_is_crashed, a_halt_is_a_shutdown, a_reboot_may_be_an_end, a_killed_kernel_is_a_signal,
        a_killed_port_is_port_died, a_killed_jail_is_told, shutdown_is_honoured, kill_leaves_nothing,
        any_other_exit_cuts_the_power, the_mcons_halts_and_reboots, a_panic_is_told_within_a_second,
        the_end_of_a_custom_init_is_a_status, a_reboot_keeps_the_process, a_reboot_ends_the_programs,
        evum_reboot_returns_when_it_is_up, a_guest_that_reboots_for_ever_is_stopped, a_crash_overtakes_a_stop,
        an_order_to_end_in_a_reboot_is_obeyed, a_port_killed_in_a_reboot_is_port_died, a_paused_guest_reboots_as_up,
        a_parents_exit_is_no_crash, a_bug_of_ours_is_told, two_stops_are_one, whoever_waits_is_told, all_ends_are_told_apart
    ].

%% Ends a machine by Fun; the reason, which the last message tells too.
ending(V, Fun) ->
    Monitor = monitor(process, V),
    Fun(V),
    Reason = monitored(Monitor, V, 15000),
    Notices = [M || {evum, Vm, M} <- flush(), Vm =:= V],
    {Reason, {down, Reason}} = {Reason, lists:last([nothing | Notices])},
    ok = evum_test_lib:gone([], 0),
    Reason.

monitored(Monitor, V, Ms) -> evum_test_lib:monitored(Monitor, V, Ms).

guest(Command) ->
    fun(V) -> spawn(fun() -> evum:exec(V, Command) end) end.

stop_is_normal(_) ->
    normal = ending(vm(), fun evum:stop/1),
    normal = ending(vm(), fun evm:stop/1),
    normal = ending(vm(), fun(V) -> evum:stop(V, 0) end).

crash_is_crashed(_) -> crashed = ending(vm(), fun evum:crash/1).

a_halt_is_a_shutdown(_) ->
    [{C, {shutdown, halted}} = {C, ending(vm(), guest(C))} || C <- ["poweroff", "halt", "poweroff -f", "halt -f", "kill -USR2 1"]],
    {shutdown, halted} = ending(vm(), fun(V) -> evum:send(V, "poweroff") end).

a_reboot_may_be_an_end(_) ->
    [{C, {shutdown, rebooted}} = {C, ending(vm([{on_reboot, stop}]), guest(C))} || C <- ["reboot", "reboot -f"]],
    {shutdown, rebooted} = ending(vm([{on_reboot, stop}]), fun evum_mcons:cad/1).

a_killed_kernel_is_a_signal(_) ->
    %% UML ends in an orderly way at SIGTERM
    [{S, Reason} = {S, ending(vm(), fun(V) -> kill(evum_test_lib:kernel_pid(V), S) end)}
        || {S, Reason} <- [{"KILL", {signal, 9}}, {"TERM", {exit_status, 1}}]].

a_killed_port_is_port_died(_) ->
    V = vm(),
    Pids = evum_test_lib:pids(V),
    port_died = ending(V, fun(_) -> kill(hd(Pids), "KILL") end),
    ok = evum_test_lib:gone(Pids, 1000).

a_killed_jail_is_told(_) ->
    {signal, 9} = ending(vm(), fun(V) -> kill(evum_test_lib:init_pid(V), "KILL") end).

shutdown_is_honoured(_) ->
    shutdown = ending(vm(), fun(V) -> exit(V, shutdown) end),
    {shutdown, mine} = ending(vm(), fun(V) -> exit(V, {shutdown, mine}) end).

%% Nobody can send a last message after that.
kill_leaves_nothing(_) ->
    V = vm(),
    Pids = evum_test_lib:pids(V),
    Monitor = monitor(process, V),
    exit(V, kill),
    killed = monitored(Monitor, V),
    ok = evum_test_lib:gone(Pids, 1000).

any_other_exit_cuts_the_power(_) ->
    foo = ending(vm(), fun(V) -> exit(V, foo) end).

the_mcons_halts_and_reboots(_) ->
    {shutdown, halted} = ending(vm(), fun evum_mcons:halt/1),
    {shutdown, rebooted} = ending(vm([{on_reboot, stop}]), fun evum_mcons:reboot/1).

a_panic_is_told_within_a_second(_) ->
    V = vm(),
    Monitor = monitor(process, V),
    ok = evum:puts(V, "echo c > /proc/sysrq-trigger\n"),
    Text = receive {evum, V, {panic, T}} -> T after 1000 -> error(no_panic) end,
    {match, _} = re:run(Text, "sysrq"),
    {panic, Text} = monitored(Monitor, V, 1000),
    expect(V, {down, {panic, Text}}),
    "the guest's kernel panicked: " ++ _ = evum:format_error({panic, Text}).

the_end_of_a_custom_init_is_a_status(_) ->
    [begin
         V = vm([{args, ["init=/bin/sh"]}, {on_reboot, stop}]),
         {exit_status, N} = ending(V, fun(_) -> ok = evum:puts(V, "exit " ++ integer_to_list(N) ++ "\n") end)
     end || N <- [0, 7, 200]].

a_reboot_keeps_the_process(_) ->
    V = vm([{label, again}]),
    Old = evum_test_lib:pids(V),
    Echo = evum:send(V, "reboot"),
    true = is_binary(Echo),
    expect(V, rebooting),
    expect(V, up),
    V = whereis(again),
    <<"again">> = out(V, "hostname"),
    ok = evum_test_lib:gone(Old, 1000),
    #{reboots := 1} = evum:info(V),
    normal = ending(V, fun evum:stop/1).

a_reboot_ends_the_programs(_) ->
    V = vm(),
    {ok, P} = evum:spawn(V, "echo ready; sleep 1000", []),
    expect(P, {stdout, <<"ready\n">>}),
    Monitor = monitor(process, P),
    {ok, _} = evum_mcons:reboot(V),
    {shutdown, rebooted} = monitored(Monitor, P),
    expect(V, up),
    stop(V).

evum_reboot_returns_when_it_is_up(_) ->
    V = vm(),
    ok = evum:reboot(V),
    expect(V, rebooting, 0),
    expect(V, up, 0),
    {ok, #{status := 0}} = evum:exec(V, "true"),
    ok = evum:pause(V),
    ok = evum:reboot(V),
    #{reboots := 2, state := up} = evum:info(V),
    stop(V).

expect(V, M, Ms) -> evum_test_lib:expect(V, M, Ms).

a_guest_that_reboots_for_ever_is_stopped(_) ->
    V = vm([{console, none}]),
    Monitor = monitor(process, V),
    {error, {vm_down, {shutdown, rebooting_too_often} = Reason}} = reboots(V, 0),
    Reason = monitored(Monitor, V),
    evum_test_lib:sentence(Reason).

reboots(V, N) when N < 12 ->
    case evum:reboot(V) of
        ok -> reboots(V, N + 1);
        Error ->
            {10, _} = {N, Error},
            Error
    end.

a_crash_overtakes_a_stop(_) ->
    V = vm(),
    %% nothing in there can answer any more
    ok = kill(evum_test_lib:kernel_pid(V), "STOP"),
    %% it says what it was told when it is asked: not before all notices have been looked through
    Stopper = spawn_link(fun() ->
        Told = evum:stop(V, 60000),
        receive {tell, Who} -> Who ! {stopped, Told} end
    end),
    crashed = ending(V, fun(_) ->
        evum_test_lib:until(fun() -> maps:get(state, evum:info(V)) =:= stopping end),
        ok = evum:crash(V)
    end),
    Stopper ! {tell, self()},
    receive {stopped, ok} -> ok after 20000 -> error(still_stopping) end.

%% The order comes between the last word of the old life and the end of its port
%% program, or as near to that as can be.
an_order_to_end_in_a_reboot_is_obeyed(_) ->
    Life = spawn(fun() -> receive Reason -> exit(Reason) end end),
    [begin
         V = vm([{life, Life}]),
         Pids = evum_test_lib:pids(V),
         at_the_end_of_a_life(V, fun() -> Order(V) end),
         {Wanted, Reason} = {Wanted, ending(V, fun(_) -> {ok, _} = evum_mcons:reboot(V) end)},
         ok = evum_test_lib:gone(Pids, 1000),
         [] = evm:list(),
         Reason
     end || {Wanted, Order} <- [
         {normal, fun(V) -> gen_statem:cast(V, {stop, 5000}) end}, {crashed, fun(V) -> gen_statem:cast(V, crash) end},
         {shutdown, fun(V) -> exit(V, shutdown) end}, {foo, fun(V) -> exit(V, foo) end},
         {{shutdown, {life, bye}}, fun(_) -> Life ! bye end}]].

at_the_end_of_a_life(V, Fun) ->
    ok = sys:install(V, {fun
        (armed, {in, {info, {_, {data, Frame}}}, _}, _) -> last_word(evum_proto:decode(Frame), Fun);
        (State, _Event, _) -> State
    end, armed}).

last_word({event, down, _}, Fun) ->
    _ = Fun(),
    done;
last_word(_, _Fun) -> armed.

a_port_killed_in_a_reboot_is_port_died(_) ->
    V = vm(),
    [Port | _] = Pids = evum_test_lib:pids(V),
    ok = kill(evum_test_lib:kernel_pid(V), "STOP"),
    Told = asked_to_reboot(V, {error, {vm_down, port_died}}),
    port_died = ending(V, fun(_) -> kill(Port, "KILL") end),
    Told(),
    ok = evum_test_lib:gone(Pids, 1000).

%% Another process waits in evum:reboot/1, and the machine has heard of it; a
%% fun that waits for its answer.
asked_to_reboot(V, Answer) ->
    Pid = spawn_link(fun() -> Answer = evum:reboot(V) end),
    evum_test_lib:until(fun() -> process_info(Pid, current_function) =:= {current_function, {gen, do_call, 4}} end),
    fun() -> evum_test_lib:until(fun() -> not is_process_alive(Pid) end, 10000) end.

a_paused_guest_reboots_as_up(_) ->
    V = vm(),
    ok = evum:pause(V),
    Rebooted = asked_to_reboot(V, ok),
    #{state := State} = evum:info(V),
    true = State =/= paused,
    Rebooted(),
    stop(V).

%% Whoever linked it may end it with any reason: it ends with that, and nothing is reported.
a_parents_exit_is_no_crash(_) ->
    [begin
         Self = self(),
         Reports = reports(),
         Parent = spawn(fun() ->
             process_flag(trap_exit, true),
             {ok, V} = evum:start_link([{owner, Self}, {wait_boot, 10000}]),
             Self ! {linked, V},
             receive die -> exit(V, Reason) end,
             receive {'EXIT', V, R} -> receive tell -> Self ! {saw, R} end end
         end),
         V = receive {linked, P} -> P after 10000 -> error(stuck) end,
         Reason = ending(V, fun(_) -> Parent ! die end),
         Parent ! tell,
         receive {saw, Reason} -> ok after 20000 -> error(not_linked) end,
         0 = Reports()
     end || Reason <- [foo, {badarith, []}, shutdown]].

%% A fun that says how many errors were logged since.
reports() ->
    Count = counters:new(1, []),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => Count, level => error}),
    fun() ->
        ok = logger:remove_handler(?MODULE),
        counters:get(Count, 1)
    end.

%% A logger handler.
log(_Event, #{config := Count}) -> counters:add(Count, 1, 1).

a_bug_of_ours_is_told(_) ->
    V = vm(),
    Self = self(),
    Pids = evum_test_lib:pids(V),
    spawn_link(fun() -> Self ! {waited, evum:await(V, {text, "never"}, 60000)} end),
    Reports = reports(),
    Monitor = monitor(process, V),
    gen_statem:cast(V, {attach_input, self(), no_bytes}),
    {badarg, [_ | _]} = evum_test_lib:monitored(Monitor, V),
    ok = evum_test_lib:gone(Pids, 1500),
    receive {evum, V, {down, badarg}} -> ok after 20000 -> error(not_told) end,
    receive {waited, {error, {vm_down, _}}} -> ok after 20000 -> error(still_waiting) end,
    true = Reports() > 0.

two_stops_are_one(_) ->
    V = vm(),
    [ok, ok, ok] = [case R of {error, noproc} -> ok; _ -> R end || R <- evum_test_lib:parallel([fun() -> evm:stop(V) end || _ <- [1, 2, 3]])].

whoever_waits_is_told(_) ->
    V = vm(),
    Waits = [
        fun() -> evum:exec(V, "sleep 1000") end, fun() -> evum:await(V, {text, "never"}, 60000) end,
        fun() -> evum:send(V, "cat", 60000) end
    ],
    Self = self(),
    [spawn_link(fun() -> Self ! {N, W()} end) || {N, W} <- lists:zip([1, 2, 3], Waits)],
    receive {3, Echo} when is_binary(Echo) -> ok after 20000 -> error(no_echo) end,
    evum_test_lib:until(fun() -> maps:get(programs, evum:info(V)) =:= 1 end),
    ok = evum:crash(V),
    [receive {N, {error, {vm_down, crashed}}} -> ok after 20000 -> error({not_told, N}) end || N <- [1, 2]],
    {error, noproc} = evum:exec(V, "true"),
    {error, noproc} = evum:info(V).

all_ends_are_told_apart(_) ->
    Ends = [
        {{shutdown, halted}, guest("poweroff -f")}, {{shutdown, rebooted}, guest("reboot -f")},
        {panic, guest("echo c > /proc/sysrq-trigger")}, {{signal, 9}, fun(V) -> kill(evum_test_lib:kernel_pid(V), "KILL") end},
        {crashed, fun evum:crash/1}
    ],
    Results = [{Wanted, kind(ending(vm([{on_reboot, stop}, {console, tagged}]), Fun))}
               || _ <- lists:seq(1, evum_test_lib:rounds(5)), {Wanted, Fun} <- Ends],
    [] = [Result || {Wanted, Got} = Result <- Results, Wanted =/= Got].

kind({panic, <<_, _/binary>>}) -> panic;
kind(Reason) -> Reason.
