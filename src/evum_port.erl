%% SPDX-License-Identifier: Apache-2.0
%% Opens, commands and ends the port programs: a machine's, an uplink's and the one for files
%%
%% command/2 never suspends the caller: one port that doesn't read must not
%% freeze its machine's process, and with it every other machine's network.
-module(evum_port).

-export([program/1, open/1, command/2, insist/2, close/2, close/3]).
-export_type([program/0]).

-type program() :: evum_port | evum_uplink | evum_file.

%% Enough for a window of each direction and then some.
-define(BUSY, {524288, 1048576}).
-define(GONE_MS, 1000).

%% @doc Where a port program is.
-spec program(program()) -> {ok, file:filename()} | {error, {not_built, file:filename()}}.
program(Name) ->
    File = filename:join(evm_cfg:priv_dir(), atom_to_list(Name)),
    case filelib:is_regular(File) of
        true -> {ok, File};
        false -> {error, {not_built, File}}
    end.

%% @doc Starts a port program; the caller owns the port and is sent
%% `{Port, {data, Frame}}' and, once it has ended, `{Port, {exit_status, N}}'.
-spec open(program()) -> {ok, port(), OsPid :: pos_integer()} | {error, term()}.
open(Name) ->
    case program(Name) of
        {ok, File} -> open_file(File);
        {error, _} = Error -> Error
    end.

open_file(File) ->
    try
        Port = open_port({spawn_executable, File}, [
            {packet, 4}, nouse_stdio, binary, exit_status, {args, []}, {busy_limits_port, ?BUSY}
        ]),
        case erlang:port_info(Port, os_pid) of
            {os_pid, OsPid} -> {ok, Port, OsPid};
            undefined -> {error, port_died}
        end
    catch
        error:Reason -> {error, Reason}
    end.

%% @doc Sends one frame; any process may. `busy': nothing was sent, try later.
-spec command(port(), iodata()) -> ok | busy | closed.
command(Port, Frame) ->
    try erlang:port_command(Port, Frame, [nosuspend]) of
        true -> ok;
        false -> busy
    catch
        error:badarg -> closed
    end.

%% @doc {@link command/2} of what must not be lost: where the port is busy a process waits
%% in the caller's place, and behind what the port has to take first.
-spec insist(port(), iodata()) -> ok.
insist(Port, Frame) ->
    case command(Port, Frame) of
        busy ->
            _ = spawn(fun() -> catch erlang:port_command(Port, Frame) end),
            ok;
        _OkOrClosed -> ok
    end.

%% @doc Ends a port program that doesn't end by itself: end of file, then
%% SIGKILL. Returns once it is gone, within about a second.
-spec close(port(), OsPid :: pos_integer()) -> ok.
close(Port, OsPid) -> close(Port, OsPid, ?GONE_MS).

%% @doc {@link close/2}, within so many ms.
-spec close(port(), OsPid :: pos_integer(), Ms :: pos_integer()) -> ok.
close(Port, OsPid, Ms) ->
    try
        true = port_close(Port),
        ok
    catch
        error:badarg -> ok
    end,
    gone(OsPid, Ms).

%% A program that was closed can't be awaited: the BEAM tells nobody of its end.
gone(OsPid, Left) when Left > 0 ->
    case running(OsPid) of
        true ->
            receive after 10 -> ok end,
            gone(OsPid, Left - 10);
        false ->
            ok
    end;
gone(OsPid, _Left) ->
    _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid)),
    ok.

%% The name tells our child from a stranger that got its number later.
running(OsPid) ->
    case file:read_file(["/proc/", integer_to_list(OsPid), "/stat"]) of
        {ok, Stat} -> re:run(Stat, <<"\\((evum_port|evum_uplink|evum_file)\\) [^ZX]">>, [{capture, none}]) =:= match;
        {error, _} -> false
    end.
