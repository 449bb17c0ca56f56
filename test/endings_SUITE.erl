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
        two_stops_are_one, whoever_waits_is_told, all_ends_are_told_apart
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
    %% a shell script as init: only a dist of its own could bring one, so init= names a program of the initramfs
    case evm:create([{args, ["init=/bin/true"]}, {wait_boot, 5000}, {on_reboot, stop}]) of
        {ok, V} -> {exit_status, 0} = evum_test_lib:down(V);
        {error, {boot_failed, _, _}} -> ok
    end.

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
    ok = evum:puts(V, "cat > /dev/null\n"),
    ok = evum:pause(V),
    Self = self(),
    Monitor = monitor(process, V),
    spawn_link(fun() -> Self ! {stopped, evum:stop(V, 60000)} end),
    evum_test_lib:until(fun() -> case evum:info(V) of #{state := stopping} -> true; {error, _} -> true; _ -> false end end),
    _ = evum:crash(V),
    true = lists:member(monitored(Monitor, V), [crashed, normal]),
    receive {stopped, ok} -> ok after 5000 -> error(still_stopping) end.

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
    receive {3, Echo} when is_binary(Echo) -> ok after 5000 -> error(no_echo) end,
    evum_test_lib:until(fun() -> maps:get(programs, evum:info(V)) =:= 1 end),
    ok = evum:crash(V),
    [receive {N, {error, {vm_down, crashed}}} -> ok after 5000 -> error({not_told, N}) end || N <- [1, 2]],
    {error, noproc} = evum:exec(V, "true"),
    {error, noproc} = evum:info(V).

all_ends_are_told_apart(_) ->
    Ends = [
        {{shutdown, halted}, guest("poweroff -f")}, {{shutdown, rebooted}, guest("reboot -f")},
        {panic, guest("echo c > /proc/sysrq-trigger")}, {{signal, 9}, fun(V) -> kill(evum_test_lib:kernel_pid(V), "KILL") end},
        {crashed, fun evum:crash/1}
    ],
    Results = [{Wanted, kind(ending(vm([{on_reboot, stop}, {console, tagged}]), Fun))}
               || _ <- lists:seq(1, evum_test_lib:rounds(10)), {Wanted, Fun} <- Ends],
    [] = [Result || {Wanted, Got} = Result <- Results, Wanted =/= Got].

kind({panic, <<_, _/binary>>}) -> panic;
kind(Reason) -> Reason.
