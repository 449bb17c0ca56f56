%% SPDX-License-Identifier: Apache-2.0
%% What the suites with real machines share: cases that leave nothing behind
%%
%% Whatever this BEAM starts carries a mark in its environment, so that other
%% machines on the host don't count. The kernels themselves have an environment
%% of their own: they count as descendants of what is marked, and as orphans.
-module(evum_test_lib).

-export([init_suite/1, end_suite/1, begin_case/2, end_case/2]).
-export([vm/0, vm/1, stop/1, down/1, down/2, monitored/2, monitored/3, expect/2, expect/3, flush/0, notices/0, lines/1]).
-export([pids/1, port_pid/1, init_pid/1, kernel_pid/1, kill/2, alive/1, gone/2, until/1, until/2]).
-export([tree/0, evum/0, sh/1, sh/2, second_beam/1, peer/0, rounds/1, parallel/1, marked/0, sentence/1, out/2, held/0]).

-define(MARK, "EVUM_TEST_BEAM").
%% ms that what must come may take on a host that has other work
-define(PATIENCE, 20000).

%% --- around suites and cases ---------------------------------------------------

init_suite(Config) ->
    true = os:putenv(?MARK, os:getpid()),
    %% what a machine's end writes into the log is not what is tested
    {ok, _} = application:ensure_all_started(evum),
    ok = logger:set_application_level(evum, critical),
    Config.

end_suite(_Config) ->
    _ = application:stop(evum),
    ok.

begin_case(_Case, Config) ->
    {ok, _} = application:ensure_all_started(evum),
    [{before, left()} | Config].

%% Fails the case that leaves something behind, and clears up for the next one.
end_case(_Case, Config) ->
    Before = proplists:get_value(before, Config),
    %% a network lives until it is stopped
    _ = [evum_switch:stop(Sw) || #{pid := Sw} <- evum_switch:list()],
    Left = settle(Before, 250),
    _ = [evum:crash(Vm) || #{pid := Vm} <- machines()],
    case proplists:get_value(tc_status, Config, ok) of
        ok when Left =/= [] -> {fail, {left_behind, Left}};
        _ -> ok
    end.

settle(Before, Tries) ->
    case left() -- Before of
        Left when Left =:= []; Tries =:= 0 -> Left;
        _ ->
            timer:sleep(20),
            settle(Before, Tries - 1)
    end.

machines() ->
    case whereis(evum_vm_sup) of
        undefined -> [];
        _ -> evm:list()
    end.

%% All of ours that there is: machines, port programs, processes, sockets, directories.
left() ->
    [{machine, Label} || #{label := Label} <- machines()]
        ++ [{port, P} || P <- erlang:ports(), {name, Name} <- [erlang:port_info(P, name)], string:find(Name, "priv/evum_") =/= nomatch]
        ++ [{process, Pid, Name} || {Pid, Name} <- marked()]
        ++ sockets()
        ++ [{directory, D} || D <- filelib:wildcard("/tmp/evum-??????") ++ filelib:wildcard("/dev/shm/evum-*"), not is_held(D)]
        ++ [{directory, D} || D <- filelib:wildcard("/tmp/evum-ctl-" ++ os:getpid() ++ "-*")].

%% One whose lock is held is some process's, which is looked for itself, or another BEAM's.
is_held(Dir) ->
    Lock = filename:join(Dir, "lock"),
    filelib:is_regular(Lock) andalso element(1, sh(["flock -n ", Lock, " true"])) =/= 0.

sockets() ->
    {ok, Table} = file:read_file("/proc/net/unix"),
    Pattern = "@evum/[0-9]+/[^/\n]+/" ++ os:getpid() ++ "\n",
    case re:run(Table, Pattern, [global, {capture, first, binary}]) of
        {match, Found} -> [{socket, S} || [S] <- Found];
        nomatch -> []
    end.

%% Processes that this BEAM started, and theirs. What looks up hosts' names stays as long as it likes.
marked() ->
    Table = [P || {ok, P} <- [process(Dir) || Dir <- filelib:wildcard("/proc/[0-9]*")]],
    Roots = [Pid || {Pid, _, _, Dir} <- Table, is_marked(Dir)],
    Ours = descendants(Roots, Table),
    Known = [Pid || {Pid, _, _, _} <- Table],
    [{Pid, Name} || {Pid, Parent, Name, _} <- Table, Name =/= <<"inet_gethost">>,
        lists:member(Pid, Ours) orelse (Name =:= <<"kernel">> andalso (Parent =< 1 orelse not lists:member(Parent, Known)))].

process(Dir) ->
    case file:read_file(Dir ++ "/stat") of
        {ok, Stat} ->
            case re:run(Stat, "^([0-9]+) \\((.*)\\) ([A-Z]) ([0-9]+) ", [{capture, all_but_first, binary}]) of
                {match, [_, _, State, _]} when State =:= <<"Z">>; State =:= <<"X">> -> gone;
                {match, [Pid, Name, _, Parent]} -> {ok, {binary_to_integer(Pid), binary_to_integer(Parent), Name, Dir}};
                nomatch -> gone
            end;
        {error, _} -> gone
    end.

is_marked(Dir) ->
    case file:read_file(Dir ++ "/environ") of
        {ok, Environ} -> lists:member(list_to_binary(?MARK ++ "=" ++ os:getpid()), binary:split(Environ, <<0>>, [global]));
        {error, _} -> false
    end.

descendants(Pids, Table) ->
    case lists:usort(Pids ++ [Pid || {Pid, Parent, _, _} <- Table, lists:member(Parent, Pids)]) of
        Pids -> Pids;
        More -> descendants(More, Table)
    end.

%% --- machines ---------------------------------------------------------------------

vm() -> vm([]).

%% A machine that is up, with the boot's messages out of the way.
vm(Opts) ->
    {ok, Vm} = evm:create(Opts),
    receive {evum, Vm, up} -> flush() after 0 -> ok end,
    Vm.

stop(Vm) -> ok = evm:stop(Vm).

down(Vm) -> down(Vm, ?PATIENCE).

down(Pid, Ms) -> monitored(monitor(process, Pid), Pid, Ms).

monitored(Monitor, Pid) -> monitored(Monitor, Pid, ?PATIENCE).

monitored(Monitor, Pid, Ms) ->
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after Ms -> error({still_alive, Pid})
    end.

expect(Vm, Message) -> expect(Vm, Message, ?PATIENCE).

%% Awaits a notice of a machine or program.
expect(Vm, Message, Ms) ->
    receive
        {evum, Vm, Message} -> ok
    after Ms -> error({missing, Message, process_info(self(), messages)})
    end.

%% All messages that are there.
flush() ->
    receive Message -> [Message | flush()] after 0 -> [] end.

%% All messages that are there but lines of a console, which may come late.
notices() -> [Message || Message <- flush(), not is_binary(Message)].

%% Console lines up to the one that is given, this one included.
lines(Last) ->
    receive
        Last -> [Last];
        Line when is_binary(Line) -> [Line | lines(Last)]
    after ?PATIENCE -> error({missing, Last})
    end.

pids(Vm) -> maps:get(os_pids, evum:info(Vm)).
port_pid(Vm) -> lists:nth(1, pids(Vm)).
init_pid(Vm) -> lists:nth(2, pids(Vm)).
kernel_pid(Vm) -> lists:nth(3, pids(Vm)).

%% What a program in the guest prints.
out(Vm, Command) ->
    {ok, #{status := 0, stdout := Out}} = evum:exec(Vm, Command),
    string:trim(Out).

%% The bytes that somebody still holds: when a process last collected its garbage says nothing.
held() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    erlang:memory(total).

%% A sentence for a person: no term dump of a tuple.
sentence(Reason) ->
    Text = evum:format_error(Reason),
    true = length(Text) > 5,
    nomatch = re:run(Text, "^[{\\[#]"),
    Text.

%% --- the host ------------------------------------------------------------------------

kill(Pid, Signal) ->
    {0, _, _} = sh(io_lib:format("kill -~s ~b", [Signal, Pid])),
    ok.

alive(Pid) ->
    case process("/proc/" ++ integer_to_list(Pid)) of
        {ok, _} -> true;
        gone -> false
    end.

%% The end of a process that isn't our child can't be awaited, only looked for.
gone(Pids, Ms) -> until(fun() -> not lists:any(fun alive/1, Pids) end, Ms).

until(Condition) -> until(Condition, ?PATIENCE).

until(Condition, Ms) -> until_then(Condition, erlang:monotonic_time(millisecond) + Ms).

until_then(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Condition}),
            timer:sleep(5),
            until_then(Condition, Deadline)
    end.

%% Where the sources are: the folder with the front door.
tree() -> tree(filename:absname(code:lib_dir(evum))).

tree("/") -> error(no_tree);
tree(Dir) ->
    case filelib:is_regular(filename:join(Dir, "evum")) andalso filelib:is_regular(filename:join(Dir, "rebar.config")) of
        true -> Dir;
        false -> tree(filename:dirname(Dir))
    end.

evum() -> filename:join(tree(), "evum").

%% Runs a shell command: {Status, Stdout, Stderr}.
sh(Command) -> sh(Command, 60000).

sh(Command, Ms) ->
    Errors = filename:join("/tmp", "ct-stderr-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive]))),
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", ["exec 2>", Errors, " </dev/null; ", Command]]}, exit_status, binary, hide]),
    {Status, Out} = collect(Port, <<>>, Ms),
    {ok, Err} = file:read_file(Errors),
    ok = file:delete(Errors),
    {Status, Out, Err}.

collect(Port, Out, Ms) ->
    receive
        {Port, {data, Bytes}} -> collect(Port, <<Out/binary, Bytes/binary>>, Ms);
        {Port, {exit_status, Status}} -> {Status, Out}
    after Ms ->
        catch port_close(Port),
        error({no_end, Out})
    end.

%% Another BEAM that evaluates the text and then waits; its port and its
%% process's number. It prints, and whoever called gets {Port, {data, _}}.
second_beam(Text) ->
    Ebin = filename:dirname(code:which(evum)),
    Port = open_port({spawn_executable, os:find_executable("erl")}, [
        {args, ["-noinput", "-boot", "no_dot_erlang", "-pa", Ebin, "-eval", Text]}, exit_status, binary, {line, 4096}
    ]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    {Port, Pid}.

%% Another node that evum and the suites are loaded from, and distribution here:
%% net_kernel:stop/0 when the peer is stopped.
peer() ->
    %% epmd stays, so it isn't one of ours
    {_, _, _} = sh("env -u EVUM_TEST_BEAM epmd -daemon"),
    %% of a case that failed
    _ = net_kernel:stop(),
    {ok, _} = net_kernel:start(list_to_atom("evumct" ++ os:getpid()), #{name_domain => shortnames}),
    Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [evum, ?MODULE]]),
    peer:start_link(#{name => peer:random_name(), args => Paths}).

rounds(Default) -> number("EVUM_ROUNDS", Default).

number(Name, Default) ->
    case os:getenv(Name) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.

%% Runs functions side by side; their results in order.
parallel(Funs) ->
    Workers = [spawn_monitor(fun() -> exit({result, Fun()}) end) || Fun <- Funs],
    [receive {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
             {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
     end || {Pid, Monitor} <- Workers].
