#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%%! -hidden
%% How fast a machine comes up, beside the bare kernel (the limit), the kernel as
%% it is without evum's arguments, an Erlang node and OTP's peer; many machines at
%% once; a program in a machine; and what a machine costs in memory.
-mode(compile).
-include("bench.hrl").
-include("memory.hrl").

-define(ROUNDS, 15).
-define(KERNEL, "/usr/bin/linux.uml").
-define(TUNED, [
    "quiet", "loglevel=3", "lpj=40000000", "pty.legacy_count=0",
    "initcall_blacklist=raid6_select_algo,ssl_init"
]).

main(Args) ->
    %% the escript's own output is Latin-1 else
    ok = io:setopts([{encoding, unicode}]),
    {ok, _} = application:ensure_all_started(evum),
    with_directory(fun(Dir) -> bench(Dir, Args) end).

bench(Dir, Args) ->
    Initrd = make_initrd(Dir),
    Boots = rounds(?ROUNDS, [
        {"bare kernel, tuned and pinned, to /init", fun() -> bare(Dir, Initrd, ?TUNED) end},
        {"evm:create, agent up", fun() -> create(#{}) end},
        {"evm:create, console none", fun() -> create(#{console => none}) end},
        {"bare kernel, plain arguments, to /init", fun() -> bare(Dir, Initrd, []) end},
        {"erl -noshell -eval 'halt().'", fun() -> ms(fun() -> os:cmd("erl -noshell -eval 'halt().'") end) end},
        {"peer:start", fun peer/0}
    ]),
    report("boot", Args, [
        table("bare kernel, tuned and pinned, to /init", "ms", Boots), "\n",
        many(), "\n", programs(), "\n", memory()
    ]).

%% /init of the bare kernel: 12 bytes of output and a power-off.
make_initrd(Dir) ->
    Source = filename:join(filename:dirname(escript:script_name()), "init.c"),
    Command = io_lib:format(
        "cd ~s && cc -static -Os -s -o init ~s && echo init | cpio -o -H newc --quiet > initrd",
        [Dir, filename:absname(Source)]
    ),
    "" = os:cmd(lists:flatten(Command)),
    filename:join(Dir, "initrd").

bare(Dir, Initrd, Extra) ->
    Start = erlang:monotonic_time(microsecond),
    Port = open_port({spawn_executable, "/usr/bin/setarch"}, [
        {args, ["x86_64", "-R", "taskset", "-c", "0", ?KERNEL, "mem=64M", "initrd=" ++ Initrd, "rdinit=/init",
            "con0=fd:0,fd:1", "con=null", "ssl=null", "noreboot", "uml_dir=" ++ Dir ++ "/" | Extra]},
        binary, exit_status, stderr_to_stdout, {env, [{"TMPDIR", "/dev/shm"}]}
    ]),
    wait_init(Port, <<>>),
    Time = (erlang:monotonic_time(microsecond) - Start) / 1000,
    wait_exit(Port),
    Time.

wait_init(Port, Seen) ->
    receive
        {Port, {data, Bytes}} ->
            All = <<Seen/binary, Bytes/binary>>,
            binary:match(All, <<"bench: init">>) =/= nomatch orelse wait_init(Port, All)
    after 20000 -> error({no_init, Seen})
    end.

wait_exit(Port) ->
    receive
        {Port, {exit_status, _}} -> ok;
        {Port, {data, _}} -> wait_exit(Port)
    after 20000 -> error(no_exit)
    end.

create(Opts) ->
    Start = erlang:monotonic_time(microsecond),
    {ok, Vm} = evm:create(Opts),
    Time = (erlang:monotonic_time(microsecond) - Start) / 1000,
    ok = evm:stop(Vm),
    flush(),
    Time.

flush() ->
    receive _ -> flush() after 0 -> ok end.

peer() ->
    {Time, {ok, Peer, _Node}} = timer:tc(fun() -> peer:start(#{connection => standard_io}) end),
    peer:stop(Peer),
    Time / 1000.

%% Machines started side by side, from the first call to the last answer.
many() ->
    Rows = [{N, [at_once(N) || _ <- lists:seq(1, 3)]} || N <- [1, 20, 50]],
    [
        "| machines at once | all up after ms | ms a machine |\n|---|---|---|\n",
        [io_lib:format("| ~b | ~.1f | ~.1f |~n", [N, median(Ts), median(Ts) / N]) || {N, Ts} <- Rows]
    ].

at_once(N) ->
    Self = self(),
    Time = ms(fun() ->
        Pids = [spawn_link(fun() -> Self ! {self(), evm:create(#{console => none, owner => none})} end)
                || _ <- lists:seq(1, N)],
        put(vms, [receive {P, {ok, Vm}} -> Vm after 60000 -> error(timeout) end || P <- Pids])
    end),
    Stops = [spawn_monitor(fun() -> ok = evm:stop(Vm) end) || Vm <- erase(vms)],
    [receive {'DOWN', R, _, _, normal} -> ok end || {_, R} <- Stops],
    Time.

%% A program, beside the guest's own shell doing the same: fork, exec, wait.
programs() ->
    {ok, Vm} = evm:create(#{console => none}),
    Exec = fun() -> ms(fun() -> {ok, #{status := 0}} = evum:exec(Vm, ["/bin/true"]) end) end,
    _ = [Exec() || _ <- lists:seq(1, 20)],
    Rows = rounds(20, [
        {"fork and exec in the guest's shell", fun() -> in_guest(Vm) end},
        {"evum:exec(Vm, [\"/bin/true\"])", fun() -> median([Exec() || _ <- lists:seq(1, 10)]) end}
    ]),
    ok = evm:stop(Vm),
    table("fork and exec in the guest's shell", "ms", Rows).

in_guest(Vm) ->
    Loop = "read a b < /proc/uptime; i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done;"
           "read c d < /proc/uptime; echo $a $c",
    {ok, #{stdout := Out}} = evum:exec(Vm, Loop),
    {ok, [A, C], _} = io_lib:fread("~f ~f", binary_to_list(Out)),
    (C - A) * 1000 / 200.

%% Proportional set size of every host process of one idle machine.
memory() ->
    Sizes = [pss(Mem) || Mem <- [32, 64]],
    [
        "| memory of an idle machine | port MiB | jail and kernel MiB |\n|---|---|---|\n",
        [io_lib:format("| mem ~b | ~.1f | ~.1f |~n", [Mem, Port / 1024, Rest / 1024]) || {Mem, Port, Rest} <- Sizes]
    ].

pss(Mem) ->
    {ok, Vm} = evm:create(#{console => none, mem => Mem}),
    #{os_pids := [Port | Jail]} = evum:info(Vm),
    Row = {Mem, pss_of(Port), lists:sum([pss_of(P) || P <- descendants(Jail)])},
    ok = evm:stop(Vm),
    Row.
