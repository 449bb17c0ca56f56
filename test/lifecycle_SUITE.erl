%% SPDX-License-Identifier: Apache-2.0
%% A machine is paused, resized, asked and looked at
-module(lifecycle_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, vm/1, stop/1, down/1, out/2, until/1, monitored/2, sentence/1]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_paused_guest_stands_still, a_paused_machine_ends_as_any, a_paused_machine_dies_with_its_caller,
        memory_goes_and_comes_back, resizes_wait_for_each_other, info_is_complete, the_table_has_a_row_each, the_mcons_answers, a_machine_has_one_cpu,
        machines_are_spread, the_doctor_is_content, a_silent_guest_is_stopped_in_time, a_machine_is_confined
    ].

a_paused_guest_stands_still(_) ->
    V = vm(),
    ok = evum:pause(V),
    ok = evum:pause(V),
    #{state := paused} = evum:info(V),
    [#{state := paused}] = evm:list(),
    timeout = evum:send(V, "hostname", 200),
    {error, {timeout, _}} = evum:exec(V, "true", [{timeout, 200}]),
    {error, paused} = evum:memory(V, 40),
    ok = evum:resume(V),
    ok = evum:resume(V),
    #{state := up} = evum:info(V),
    <<"hi">> = out(V, "echo hi"),
    stop(V).

a_paused_machine_ends_as_any(_) ->
    [begin
         V = vm(),
         ok = evum:pause(V),
         Monitor = monitor(process, V),
         ok = End(V),
         Reason = monitored(Monitor, V)
     end || {End, Reason} <- [{fun evum:stop/1, normal}, {fun evum:crash/1, crashed},
                              {fun(V) -> exit(V, shutdown), ok end, shutdown}]].

a_paused_machine_dies_with_its_caller(_) ->
    Self = self(),
    Caller = spawn(fun() ->
        {ok, V} = evum:start_link([{wait_boot, 10000}]),
        ok = evum:pause(V),
        Self ! {paused, V},
        receive die -> exit(oops) end
    end),
    V = receive {paused, P} -> P after 10000 -> error(stuck) end,
    Pids = evum_test_lib:pids(V),
    Monitor = monitor(process, V),
    Caller ! die,
    oops = monitored(Monitor, V),
    ok = evum_test_lib:gone(Pids, 1000).

memory_goes_and_comes_back(_) ->
    V = vm([{mem, 128}]),
    Free = fun() -> binary_to_integer(out(V, "awk '/MemFree/ {print $2}' /proc/meminfo")) div 1024 end,
    Before = Free(),
    ok = evum:memory(V, 64),
    #{mem := 64} = evum:info(V),
    Less = Free(),
    true = Before - Less > 50,
    ok = evum:memory(V, 128),
    #{mem := 128} = evum:info(V),
    true = Free() - Less > 50,
    [{error, {mem_range, 32, 128}} = evum:memory(V, M) || M <- [129, 4096]],
    [{error, {bad_option, mem}} = evum:memory(V, M) || M <- [31, 0, -1, foo]],
    sentence({mem_range, 32, 128}),
    stop(V).

resizes_wait_for_each_other(_) ->
    V = vm([{mem, 256}]),
    Total = fun() -> binary_to_integer(out(V, "awk '/MemFree/ {print $2}' /proc/meminfo")) div 1024 end,
    Before = Total(),
    ok = evum:pause(V),
    ok = evum:resume(V),
    Sizes = [128, 200, 96, 160, 64, 128, 128, 96],
    [ok = R || R <- evum_test_lib:parallel([fun() -> evum:memory(V, M) end || M <- Sizes])],
    #{mem := Now} = evum:info(V),
    true = lists:member(Now, Sizes),
    %% what it says is what the guest has lost
    true = abs((Before - Total()) - (256 - Now)) < 24,
    ok = evum:memory(V, 256),
    true = abs(Before - Total()) < 24,
    stop(V).

info_is_complete(_) ->
    V = vm([{label, told}, {mem, 48}, {console, tagged}]),
    Self = self(),
    #{label := told, pid := V, dist := busybox, state := up, mem := 48, console := tagged, owner := Self, active := true,
      os_pids := [_, _, _] = Pids, confined := true, kernel_release := <<_, _/binary>> = Release, uptime := Up, reboots := 0,
      programs := 0, attached := false, messages_dropped := 0, console_held := _} = evum:info(told),
    true = is_integer(Up),
    true = lists:all(fun evum_test_lib:alive/1, Pids),
    Release = out(V, "uname -r"),
    {error, noproc} = evum:info(nosuch),
    stop(V).

the_table_has_a_row_each(_) ->
    Vms = [vm([{label, L}]) || L <- [row1, row2]],
    ct:capture_start(),
    ok = evum:i(),
    ct:capture_stop(),
    Text = lists:flatten(ct:capture_get()),
    [{match, _} = re:run(Text, Word) || Word <- ["label", "row1", "row2", "up"]],
    [stop(V) || V <- Vms].

the_mcons_answers(_) ->
    V = vm(),
    {ok, Version} = evum_mcons:version(V),
    {match, _} = re:run(Version, "Linux"),
    {ok, Help} = evum_mcons:help(V),
    {match, _} = re:run(Help, "sysrq"),
    {ok, <<"fd:3", _/binary>>} = evum_mcons:config(V, "con0"),
    {ok, Proc} = evum_mcons:proc(V, "version"),
    {match, _} = re:run(Proc, "Linux version"),
    {error, {refused, _}} = evum_mcons:proc(V, "nosuch"),
    {ok, _} = evum_mcons:log(V, "seen by the kernel"),
    %% the kernel adds no line's end: the next message makes this one readable
    {ok, _} = evum_mcons:sysrq(V, $h),
    <<"1">> = out(V, "dmesg | grep -c 'seen by the kernel'"),
    {ok, _} = evum_mcons:stack(V, 1),
    {error, {refused, _} = Refused} = evum:system(V, "nonsense"),
    sentence(Refused),
    {error, {refused, _}} = evum_mcons:remove(V, "nosuch"),
    {ok, _} = evum_mcons:stop(V),
    #{state := paused} = evum:info(V),
    {ok, _} = evum_mcons:go(V),
    #{state := up} = evum:info(V),
    [{error, _} = evum:system(V, Bad) || Bad <- ["a\nb", foo, lists:duplicate(501, $a), [0]]],
    Monitor = monitor(process, V),
    {ok, _} = evum_mcons:cad(V),
    true = lists:member(rebooted_or_down(V, Monitor), [rebooting, {shutdown, rebooted}]),
    ok = evum:await(V, up, 10000),
    stop(V).

rebooted_or_down(V, Monitor) ->
    receive
        {evum, V, rebooting} -> rebooting;
        {'DOWN', Monitor, process, V, Reason} -> Reason
    after 10000 -> error(nothing)
    end.

cpus(V) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(evum_test_lib:kernel_pid(V)) ++ "/status"),
    {match, [List]} = re:run(Status, "Cpus_allowed_list:\t(.*)\n", [{capture, all_but_first, list}]),
    List.

ours() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [List]} = re:run(Status, "Cpus_allowed_list:\t(.*)\n", [{capture, all_but_first, list}]),
    List.

a_machine_has_one_cpu(_) ->
    V = vm(),
    {match, _} = re:run(cpus(V), "^[0-9]+$"),
    true = integer_to_list(maps:get(cpu, evum:info(V))) =:= cpus(V),
    stop(V),
    Any = vm([{cpu, any}]),
    true = cpus(Any) =:= ours(),
    stop(Any),
    [First | _] = re:split(ours(), "[-,]", [{return, list}]),
    Given = vm([{cpu, list_to_integer(First)}]),
    First = cpus(Given),
    stop(Given),
    {error, {bad_option, cpu} = Reason} = evm:create([{cpu, 4095}]),
    sentence(Reason).

machines_are_spread(_) ->
    Vms = [vm([{console, none}]) || _ <- lists:seq(1, 4)],
    Used = lists:usort([cpus(V) || V <- Vms]),
    Online = erlang:system_info(logical_processors_available),
    true = length(Used) =:= min(4, Online),
    [stop(V) || V <- Vms].

the_doctor_is_content(_) ->
    Report = evum_doctor:report(),
    [] = [C || #{stage := S, ok := false} = C <- Report, lists:member(S, [kernel, initramfs, port])],
    [true = is_binary(T) andalso T =/= <<>> || #{text := T} <- Report],
    [[_] = [C || #{stage := S} = C <- Report, S =:= Stage] || Stage <- [uplink, ping, packet, tap, erlang, epmd, cookie]],
    [true] = [Ok || #{stage := uplink, ok := Ok} <- Report],
    true = length(Report) > 6.

a_silent_guest_is_stopped_in_time(_) ->
    %% neither a guest whose kernel answers nothing nor one whose init powers nothing off
    [begin
         V = vm(Opts),
         Deafen(V),
         Pids = evum_test_lib:pids(V),
         Then = erlang:monotonic_time(millisecond),
         ok = evum:stop(V, 500),
         true = erlang:monotonic_time(millisecond) - Then < 8000,
         ok = evum_test_lib:gone(Pids, 1000)
     end || {Opts, Deafen} <- [
         {[], fun(V) -> evum_test_lib:kill(evum_test_lib:kernel_pid(V), "STOP") end},
         {[], fun evum:pause/1},
         {[{args, ["init=/bin/sh"]}], fun(V) -> evum:puts(V, "trap '' USR1 USR2 TERM INT HUP PWR; cat > /dev/null\n") end}]].

a_machine_is_confined(_) ->
    V = vm(),
    #{confined := true} = evum:info(V),
    Kernel = "/proc/" ++ integer_to_list(evum_test_lib:kernel_pid(V)),
    [{N, true} = {N, file:read_link(Kernel ++ "/ns/" ++ N) =/= file:read_link("/proc/self/ns/" ++ N)}
        || N <- ["user", "pid", "mnt", "net", "ipc", "uts"]],
    {ok, Status} = file:read_file(Kernel ++ "/status"),
    {match, _} = re:run(Status, "NoNewPrivs:\t1"),
    {match, _} = re:run(Status, "CapEff:\t0000000000000000"),
    %% root in the guest sees nothing of the host
    {ok, #{stdout := <<>>}} = evum:exec(V, "mkdir -p /mnt/h; mount -t hostfs none /mnt/h -o /etc; cat /mnt/h/passwd /mnt/h/../etc/passwd 2>/dev/null | grep -v -x -f /etc/passwd"),
    stop(V).
