%% SPDX-License-Identifier: Apache-2.0
%% Waiting for what the guest itself watches: files, ports, networks, its init
-module(await_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, stop/1, flush/0, until/1, sentence/1, out/2]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_file_is_awaited, a_port_is_awaited, a_network_is_awaited, an_init_is_awaited, a_boot_is_waited_for,
        a_reboot_is_waited_for, a_pause_is_told, what_is_killed_starts_again, the_machines_end_is_told, nothing_is_left,
        a_guests_lie_is_no_port, options_are_checked
    ].

with(Fun) ->
    V = vm(),
    _ = Fun(V),
    [] = evum_test_lib:notices(),
    stop(V).

%% Awaits beside the caller, who gets the result as {awaited, Result}.
beside(V, What, Ms) ->
    Parent = self(),
    _ = spawn_link(fun() -> Parent ! {awaited, evum:await(V, What, Ms)} end),
    until(fun() -> maps:get(programs, evum:info(V)) > 0 end).

awaited() ->
    receive {awaited, Result} -> Result after 10000 -> error(not_awaited) end.

a_file_is_awaited(_) ->
    with(fun(V) ->
        ok = evum:await(V, {file, "/etc"}, 20000),
        ok = evum:await(V, {file, <<"/etc/passwd">>}, 20000),
        beside(V, {file, "/tmp/a/b/c"}, 20000),
        <<>> = out(V, "mkdir /tmp/a"),
        <<>> = out(V, "mkdir /tmp/a/b"),
        receive {awaited, Early} -> error(Early) after 0 -> ok end,
        <<>> = out(V, "echo x > /tmp/a/b/c"),
        ok = awaited(),
        {error, {timeout, {file, "/tmp/a/x/y"}, Seen} = Reason} = evum:await(V, {file, "/tmp/a/x/y"}, 300),
        {match, _} = re:run(Seen, "/tmp/a is there"),
        sentence(Reason)
    end).

a_port_is_awaited(_) ->
    with(fun(V) ->
        {error, {timeout, {port, 8080}, []} = None} = evum:await(V, {port, 8080}, 300),
        sentence(None),
        <<>> = out(V, "ifconfig lo 127.0.0.1 up; httpd -p 127.0.0.1:8081"),
        {error, {timeout, {port, 8080}, [8081]} = Other} = evum:await(V, {port, 8080}, 300),
        sentence(Other),
        beside(V, {port, 8080}, 20000),
        <<>> = out(V, "httpd -p 8080"),
        ok = awaited()
    end).

a_network_is_awaited(_) ->
    with(fun(V) ->
        {error, {timeout, net, Seen} = Reason} = evum:await(V, net, 300),
        true = is_binary(Seen) andalso Seen =/= <<>>,
        sentence(Reason)
    end).

an_init_is_awaited(_) ->
    with(fun(V) -> ok = evum:await(V, init, 20000) end).

a_boot_is_waited_for(_) ->
    {ok, V} = evm:create([{wait_boot, false}, {owner, none}]),
    ok = evum:await(V, {file, "/proc/version"}, 20000),
    ok = evum:await(V, init, 20000),
    stop(V),
    {ok, W} = evm:create([{wait_boot, false}, {owner, none}]),
    {error, {timeout, net, booting} = Reason} = evum:await(W, net, 1),
    sentence(Reason),
    stop(W).

a_reboot_is_waited_for(_) ->
    V = vm(),
    beside(V, {file, "/tmp/after"}, 30000),
    ok = evum:reboot(V),
    <<>> = out(V, "touch /tmp/after"),
    ok = awaited(),
    %% and one that the guest makes itself
    beside(V, {file, "/tmp/after2"}, 30000),
    _ = flush(),
    _ = evum:exec(V, "reboot -f"),
    receive {evum, V, up} -> ok end,
    <<>> = out(V, "touch /tmp/after2"),
    ok = awaited(),
    stop(V).

a_pause_is_told(_) ->
    V = vm(),
    ok = evum:pause(V),
    {error, {timeout, {file, "/etc"}, paused} = Reason} = evum:await(V, {file, "/etc"}, 200),
    sentence(Reason),
    ok = evum:resume(V),
    stop(V).

what_is_killed_starts_again(_) ->
    with(fun(V) ->
        beside(V, {file, "/tmp/f"}, 20000),
        _ = evum:exec(V, "kill -9 -1"),
        <<>> = out(V, "touch /tmp/f"),
        ok = awaited()
    end).

the_machines_end_is_told(_) ->
    V = vm(),
    beside(V, {file, "/tmp/f"}, 20000),
    ok = evum:crash(V),
    {error, {vm_down, crashed}} = awaited(),
    {error, noproc} = evum:await(V, net, 100).

nothing_is_left(_) ->
    with(fun(V) ->
        {error, {timeout, _, _}} = evum:await(V, {file, "/tmp/f"}, 100),
        {Pid, M} = spawn_monitor(fun() -> evum:await(V, {port, 1}, 60000) end),
        until(fun() -> maps:get(programs, evum:info(V)) =:= 1 end),
        exit(Pid, kill),
        receive {'DOWN', M, process, Pid, _} -> ok end,
        until(fun() -> maps:get(programs, evum:info(V)) =:= 0 end)
    end).

%% What the guest's root writes on the agent's line is the output of the first program.
a_guests_lie_is_no_port(_) ->
    with(fun(V) ->
        beside(V, {port, 8080}, 2000),
        Lie = <<"0 80 65536 x 123456789012\n">>,
        Output = <<"um", 36, 1, 1:32/little, (byte_size(Lie)):32/little, Lie/binary>>,
        {ok, #{status := 0}} = evum:exec(V, "cat > /dev/tty15", [{stdin, Output}]),
        {error, {timeout, {port, 8080}, [80]}} = awaited()
    end).

options_are_checked(_) ->
    with(fun(V) ->
        [begin {error, {bad_option, What}} = evum:await(V, What, 100), sentence({bad_option, What}) end
            || What <- [{port, 0}, {port, 65536}, {port, "80"}, {file, ""}, {file, foo}, {file, "a\0b"}, {net, 1}, dinner]],
        [{error, {bad_option, timeout}} = evum:await(V, net, Ms) || Ms <- [0, -1, infinity, 1.5]]
    end).
