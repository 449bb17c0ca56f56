#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%%! -hidden
%% A program in a machine, there and back, beside fork and exec in the guest itself
%% (the limit), ssh to localhost over a kept connection, and a port of the host's;
%% many at once beside one after the other; and how fast bytes and files move.
-mode(compile).
-include("bench.hrl").
-include("process.hrl").

-define(ROUNDS, 15).
%% programs a round: their median is the round's figure
-define(EACH, 10).
-define(AT_ONCE, 100).
-define(BULK_ROUNDS, 5).
-define(BULK, 256000000).
-define(LIMIT, "fork and exec in the guest").
-define(PIPE, "a pipe between two programs in the guest (the limit)").

main(Args) ->
    %% the escript's own output is Latin-1 else
    ok = io:setopts([{encoding, unicode}]),
    {ok, _} = application:ensure_all_started(evum),
    with_directory(fun(Dir) -> with_sshd(Dir, fun(Ssh) -> bench(Dir, Ssh, Args) end) end).

bench(Dir, Ssh, Args) ->
    {ok, Vm} = evm:create(#{console => none, mem => 1024}),
    ok = evum:put(Vm, {file, compile(Dir)}, "/root/spawn"),
    Text = [round_trips(Vm, Ssh), "\n", at_once(Vm), "\n", bulk(Vm, Dir, Ssh)],
    ok = evm:stop(Vm),
    report("exec", Args, Text).

compile(Dir) ->
    Program = filename:join(Dir, "spawn"),
    Source = filename:join(filename:dirname(escript:script_name()), "spawn.c"),
    "" = os:cmd(lists:flatten(["cc -static -O2 -s -o ", Program, " ", Source])),
    Program.

%% --- there and back ------------------------------------------------------------

round_trips(Vm, Ssh) ->
    Cases = [
        {?LIMIT, fun() -> in_guest(Vm) end},
        {"evum:exec(Vm, [\"/bin/true\"])", each(fun() -> {ok, #{status := 0}} = evum:exec(Vm, ["/bin/true"]) end)},
        {"open_port of /bin/true on the host", each(fun() -> 0 = run("/bin/true", []) end)}
        | [{"ssh to localhost, connection kept", each(fun() -> 0 = Ssh("true", none) end)} || Ssh =/= none]
    ],
    _ = [Fun() || {_, Fun} <- Cases],
    table(?LIMIT, "ms", rounds(?ROUNDS, Cases)).

each(Fun) -> fun() -> median([ms(Fun) || _ <- lists:seq(1, ?EACH)]) end.

in_guest(Vm) ->
    {ok, #{status := 0, stdout := Micros}} =
        evum:exec(Vm, ["/root/spawn", integer_to_list(?EACH), "/bin/true"]),
    binary_to_integer(string:trim(Micros)) / 1000.

%% --- at once ---------------------------------------------------------------------

at_once(Vm) ->
    Exec = fun() -> {ok, #{status := 0}} = evum:exec(Vm, ["/bin/true"]) end,
    Base = io_lib:format("~b one after the other", [?AT_ONCE]),
    table(Base, "ms", rounds(?BULK_ROUNDS, [
        {Base, fun() -> ms(fun() -> [Exec() || _ <- lists:seq(1, ?AT_ONCE)] end) end},
        {io_lib:format("~b at once", [?AT_ONCE]), fun() -> ms(fun() -> parallel(Exec) end) end}
    ])).

parallel(Fun) ->
    Monitors = [spawn_monitor(Fun) || _ <- lists:seq(1, ?AT_ONCE)],
    [receive {'DOWN', Ref, _, _, normal} -> ok end || {_, Ref} <- Monitors].

%% --- bytes and files ----------------------------------------------------------------

bulk(Vm, Dir, Ssh) ->
    Bytes = rand:bytes(?BULK),
    Local = filename:join(Dir, "bulk"),
    Back = filename:join(Dir, "back"),
    ok = file:write_file(Local, Bytes),
    ok = evum:put(Vm, Bytes, "/tmp/bulk"),
    {ok, Bytes} = evum:get(Vm, "/tmp/bulk"),
    Rows = rounds(?BULK_ROUNDS, [
        {?PIPE, rate(fun() -> {ok, #{status := 0}} = evum:exec(Vm, "cat /tmp/bulk | cat > /dev/null") end)},
        {"evum:put of a binary", rate(fun() -> ok = evum:put(Vm, Bytes, "/tmp/bulk") end)},
        {"evum:put of a file", rate(fun() -> ok = evum:put(Vm, {file, Local}, "/tmp/bulk") end)},
        {"evum:get of a binary", rate(fun() -> {ok, _} = evum:get(Vm, "/tmp/bulk") end)},
        {"evum:get of a file", rate(fun() -> ok = evum:get(Vm, "/tmp/bulk", {file, Back}) end)},
        {"a program's stdin (cat > /dev/null)", rate(fun() -> stdin(Vm, Bytes) end)},
        {"a program's stdout (cat FILE)", rate(fun() -> stdout(Vm) end)}
        | [{["ssh to localhost, ", Command, "FILE"], rate(fun() -> 0 = Ssh([Command, File], Input) end)}
            || {Command, File, Input} <- [{"cat > ", Back, Local}, {"cat ", Local, none}], Ssh =/= none]
    ]),
    table(?PIPE, "MB/s", Rows).

rate(Fun) -> fun() -> ?BULK / 1000 / ms(Fun) end.

stdin(Vm, Bytes) ->
    {ok, Proc} = evum:spawn(Vm, "cat > /dev/null", #{}),
    ok = evum:write(Proc, Bytes, 60000),
    ok = evum:write(Proc, eof, 60000),
    0 = drain(Proc).

stdout(Vm) ->
    {ok, Proc} = evum:spawn(Vm, ["/bin/cat", "/tmp/bulk"], #{}),
    0 = drain(Proc).

drain(Proc) ->
    receive
        {evum, Proc, {exit, Status}} -> Status;
        {evum, Proc, _} -> drain(Proc)
    after 60000 -> error(timeout)
    end.

%% --- the host's side -----------------------------------------------------------------

%% Runs a program of the host's; what it prints is read and dropped.
run(Program, Args) ->
    wait_port(open_port({spawn_executable, Program}, [{args, Args}, binary, exit_status, stderr_to_stdout])).

%% A dropbear of our own on a loopback port, with keys of its own under a root's home
%% that only it sees, and one connection of OpenSSH's client that is kept. The fun
%% runs a command over it. Only root can log in without a password of his own.
with_sshd(Dir, Fun) ->
    case string:trim(os:cmd("id -u")) of
        "0" -> with_dropbear(Dir, Fun);
        _ -> Fun(none)
    end.

with_dropbear(Dir, Fun) ->
    File = fun(Name) -> filename:join(Dir, Name) end,
    Number = integer_to_list(free_port()),
    "" = os:cmd(["ssh-keygen -q -t ed25519 -N '' -f ", File("user")]),
    _ = os:cmd(["dropbearkey -t ed25519 -f ", File("host")]),
    ok = file:make_dir(File(".ssh")),
    {ok, _} = file:copy(File("user.pub"), File(".ssh/authorized_keys")),
    ok = file:write_file(File("ssh"), [
        "Host localhost\nUser root\nPort ", Number, "\nHostName 127.0.0.1\nIdentityFile ", File("user"),
        "\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
        "ControlPath ", File("control"), "\nBatchMode yes\n"
    ]),
    Daemon = background("/usr/bin/unshare", ["-m", "sh", "-c",
        "mount --bind \"$0\" /root && exec dropbear -F -s -P /root/pid -p \"127.0.0.1:$1\" -r \"/root/host\"", Dir, Number]),
    try
        await(fun() -> listens(Number) end),
        Master = background("/usr/bin/ssh", ["-F", File("ssh"), "-M", "-N", "localhost"]),
        try
            await(fun() -> file:read_link_info(File("control")) =/= {error, enoent} end),
            Fun(fun(Command, Input) -> over_ssh(["-F", File("ssh"), "localhost", lists:flatten(Command)], Input) end)
        after
            end_process(Master)
        end
    after
        end_process(Daemon)
    end.

over_ssh(Args, none) -> run("/usr/bin/ssh", Args);
over_ssh(Args, Input) -> run("/bin/sh", ["-c", "exec ssh \"$@\" < \"$0\"", Input | Args]).

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Number} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Number.

listens(Number) ->
    case gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Number), [], 1000) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.
