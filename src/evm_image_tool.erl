%% SPDX-License-Identifier: Apache-2.0
%% Programs of this host that make images: bounded, and gone with who runs them
%%
%% Each runs under evum_file, which kills all that a program has started when it ends,
%% when the process that runs it does (its port is closed then) and when the BEAM does.
%% No shell is involved: a name is never read as anything else.
-module(evm_image_tool).

-export([run/3, find/1]).
-export_type([options/0]).

-type options() :: #{
    cd => file:filename(),
    env => [{string(), string()}],
    %% bytes that a file it writes may have
    file_max => pos_integer(),
    %% ms
    time := pos_integer(),
    %% bytes of what it prints that are returned, the last ones
    keep => pos_integer(),
    %% is told what it prints
    on_text => fun((binary()) -> term())
}.
-type error() :: {not_built, file:filename()} | {no_program, string()} | {program_failed, string(), term(), binary()} | file_too_big | {timeout, string()}.

%% of what is printed, for the error's last line
-define(TEXT_MAX, 2000).
%% evum_file has 5 s to kill a program
-define(KILL_MS, 6000).
%% 128 + SIGXFSZ
-define(TOO_BIG, 153).

%% @doc Where a program is; system programs lie beside an ordinary user's path.
-spec find(string()) -> {ok, file:filename()} | {error, {no_program, string()}}.
find(Name) ->
    case os:find_executable(Name, path()) of
        false -> {error, {no_program, Name}};
        File -> {ok, File}
    end.

path() -> os:getenv("PATH", "") ++ ":/usr/bin:/bin:/usr/sbin:/sbin".

%% @doc Runs a program to its end, and ends what it leaves; what it printed, the last 2000
%% bytes of it or as many as `keep' says.
-spec run(string(), [string()], options()) -> {ok, binary()} | {error, error()}.
run(Name, Args, Options) ->
    case {evum_port:program(evum_file), find(Name), find("prlimit")} of
        {{ok, Runner}, {ok, File}, {ok, Prlimit}} ->
            Limit = ["--core=0" | ["--fsize=" ++ integer_to_list(N) || {ok, N} <- [maps:find(file_max, Options)]]],
            result(ran(Runner, ["run", Prlimit] ++ Limit ++ [File | Args], Options), Name);
        Found ->
            hd([Error || {error, _} = Error <- tuple_to_list(Found)])
    end.

ran(Runner, Args, #{time := Ms} = Options) ->
    Port = open_port({spawn_executable, Runner}, [
        {args, Args}, {env, [{"LC_ALL", "C"}, {"PATH", path()} | maps:get(env, Options, [])]}, exit_status, binary, stderr_to_stdout, hide
        | [{cd, Dir} || {ok, Dir} <- [maps:find(cd, Options)]]
    ]),
    OsPid = erlang:port_info(Port, os_pid),
    collect(Port, OsPid, <<>>, erlang:monotonic_time(millisecond) + Ms, Options).

collect(Port, OsPid, Text, Deadline, Options) ->
    receive
        {Port, {data, Bytes}} ->
            _ = (maps:get(on_text, Options, fun(_) -> ok end))(Bytes),
            collect(Port, OsPid, last(<<Text/binary, Bytes/binary>>, maps:get(keep, Options, ?TEXT_MAX)), Deadline, Options);
        {Port, {exit_status, Status}} ->
            {Status, Text}
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        ended(Port, OsPid)
    end.

%% Its time is up.
ended(Port, {os_pid, OsPid}) ->
    ok = evum_port:close(Port, OsPid, ?KILL_MS),
    flush(Port);
ended(Port, undefined) ->
    flush(Port).

flush(Port) -> receive {Port, _} -> flush(Port) after 0 -> timeout end.

last(Text, Max) when byte_size(Text) > Max -> binary:part(Text, byte_size(Text), -Max);
last(Text, _Max) -> Text.

result(timeout, Name) -> {error, {timeout, Name}};
result({0, Text}, _Name) -> {ok, Text};
result({?TOO_BIG, _Text}, _Name) -> {error, file_too_big};
result({Status, Text}, Name) ->
    {error, {program_failed, Name, Status, telling(string:lexemes(Text, "\r\n"))}}.

%% What went wrong first, where a program marks its errors; else what it said last.
telling([]) -> <<>>;
telling(Lines) -> hd([L || <<"E: ", _/binary>> = L <- Lines] ++ [lists:last(Lines)]).
