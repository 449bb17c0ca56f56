%% SPDX-License-Identifier: Apache-2.0
%% The host's epmd: which names it knows, names that are no node's here, and one of our own
%%
%% A name is registered as long as the socket of its registration is open; so it is held
%% by a process, and goes with it. Where no epmd runs one is started under evum_file, which
%% ends it with the process that has started it, and when the BEAM is killed.
-module(evum_epmd).

-export([port/0, names/0, register/2, unregister/1, start/0, stop/1, program/0]).
-export_type([own/0, name/0]).

%% the part of a node's name before the @
-type name() :: atom() | string().
%% sends `{Port, {exit_status, N}}' when it ends
-type own() :: {port(), OsPid :: pos_integer()}.
-type error() :: {no_epmd, {no_program, string()} | {exit_status, integer()} | epmd | timeout | file:posix() | {not_built, file:filename()}}.

-define(LOCALHOST, {127, 0, 0, 1}).
-define(PORT, 4369).
-define(CALL_MS, 5000).
%% evum_file has 5 s to kill a program
-define(KILL_MS, 6000).
-define(POLL_MS, 10).
%% bytes of a name, and of all names
-define(NAME_MAX, 255).
-define(LIST_MAX, 1048576).

%% the protocol's numbers
-define(NAMES_REQ, 110).
-define(ALIVE2_REQ, 120).
-define(ALIVE2_RESP, 121).
-define(ALIVE2_X_RESP, 118).
-define(NORMAL_NODE, 77).
-define(TCP, 0).
-define(VERSION_MAX, 6).
-define(VERSION_MIN, 5).

%% @doc The port on which this node looks for its host's epmd (ERL_EPMD_PORT).
-spec port() -> inet:port_number().
port() ->
    case init:get_argument(epmd_port) of
        {ok, [[Text | _] | _]} -> list_to_integer(Text);
        _ -> ?PORT
    end.

%% @doc The names that the host's epmd knows, with their ports.
-spec names() -> {ok, [{string(), inet:port_number()}]} | {error, error()}.
names() ->
    case connect() of
        {ok, Socket} ->
            Answer = listed(gen_tcp:send(Socket, <<1:16, ?NAMES_REQ>>), Socket, <<>>),
            ok = gen_tcp:close(Socket),
            Answer;
        {error, _} = Error -> Error
    end.

connect() ->
    case gen_tcp:connect(?LOCALHOST, port(), [binary, {active, false}], ?CALL_MS) of
        {ok, Socket} -> {ok, Socket};
        {error, Reason} -> {error, {no_epmd, Reason}}
    end.

%% The epmd's port, and a line a name; then it closes.
listed(_Sent, _Socket, Bytes) when byte_size(Bytes) > ?LIST_MAX -> {error, {no_epmd, epmd}};
listed(ok, Socket, Bytes) ->
    case {gen_tcp:recv(Socket, 0, ?CALL_MS), Bytes} of
        {{ok, More}, _} -> listed(ok, Socket, <<Bytes/binary, More/binary>>);
        {{error, closed}, <<_Port:32, Lines/binary>>} -> {ok, lists:append([listed(L) || L <- string:lexemes(Lines, "\n")])};
        {{error, closed}, _} -> {error, {no_epmd, epmd}};
        {{error, Reason}, _} -> {error, {no_epmd, Reason}}
    end;
listed({error, Reason}, _Socket, _Bytes) -> {error, {no_epmd, Reason}}.

listed(Line) ->
    case re:run(Line, "^name (.+) at port ([0-9]+)$", [{capture, all_but_first, binary}]) of
        {match, [Name, Port]} -> [{unicode:characters_to_list(Name), binary_to_integer(Port)}];
        nomatch -> []
    end.

%% @doc Makes a name known as a node's that listens on a port of 127.0.0.1. The caller owns
%% the registration: with its end the name is free, and where the epmd ends first the
%% caller is sent `{tcp_closed, Registration}'.
-spec register(name(), inet:port_number()) -> {ok, gen_tcp:socket()} | {error, {name_taken, name()} | error()}.
register(Name, Port) ->
    Bytes = unicode:characters_to_binary(if is_atom(Name) -> atom_to_list(Name); true -> Name end),
    true = byte_size(Bytes) =< ?NAME_MAX,
    Request = <<?ALIVE2_REQ, Port:16, ?NORMAL_NODE, ?TCP, ?VERSION_MAX:16, ?VERSION_MIN:16, (byte_size(Bytes)):16, Bytes/binary, 0:16>>,
    case connect() of
        {ok, Socket} -> registered(ask(Socket, Request), Name, Socket);
        {error, _} = Error -> Error
    end.

%% Its answer has a byte that says how it went, and a creation of 2 or 4 bytes.
ask(Socket, Request) ->
    case gen_tcp:send(Socket, [<<(byte_size(Request)):16>>, Request]) of
        ok ->
            case gen_tcp:recv(Socket, 2, ?CALL_MS) of
                {ok, <<?ALIVE2_X_RESP, 0>>} -> created(gen_tcp:recv(Socket, 4, ?CALL_MS));
                {ok, <<?ALIVE2_RESP, 0>>} -> created(gen_tcp:recv(Socket, 2, ?CALL_MS));
                {ok, <<Response, _>>} when Response =:= ?ALIVE2_X_RESP; Response =:= ?ALIVE2_RESP -> taken;
                {ok, _} -> other;
                {error, _} = Error -> Error
            end;
        {error, _} = Error -> Error
    end.

created({ok, _Creation}) -> ok;
created({error, _} = Error) -> Error.

registered(ok, _Name, Socket) ->
    _ = inet:setopts(Socket, [{active, true}]),
    {ok, Socket};
registered(Failed, Name, Socket) ->
    ok = gen_tcp:close(Socket),
    case Failed of
        taken -> {error, {name_taken, Name}};
        Other when Other =:= other; Other =:= {error, closed} -> {error, {no_epmd, epmd}};
        {error, Reason} -> {error, {no_epmd, Reason}}
    end.

%% @doc Ends a registration; the owner calls it. The epmd has forgotten the name when it
%% returns, within 5 s.
-spec unregister(gen_tcp:socket()) -> ok.
unregister(Socket) ->
    _ = inet:setopts(Socket, [{active, false}]),
    _ = gen_tcp:shutdown(Socket, write),
    %% it closes its end once the name is gone
    _ = gen_tcp:recv(Socket, 0, ?CALL_MS),
    ok = gen_tcp:close(Socket),
    receive {tcp_closed, Socket} -> ok after 0 -> ok end.

%% @doc Starts an epmd on the host's loopback, where none answers, and returns once it does.
%% The caller owns it, and is sent `{Port, {exit_status, N}}' when it ends.
-spec start() -> {ok, own()} | running | {error, error()}.
start() ->
    case names() of
        {ok, _} -> running;
        {error, _} -> start_own()
    end.

start_own() ->
    case {evum_port:program(evum_file), program()} of
        {{ok, Runner}, {ok, File}} ->
            Port = open_port({spawn_executable, Runner}, [
                {args, ["run", File, "-address", "127.0.0.1", "-port", integer_to_list(port())]},
                binary, exit_status, stderr_to_stdout, hide
            ]),
            await(Port, erlang:port_info(Port, os_pid), erlang:monotonic_time(millisecond) + ?CALL_MS);
        {{error, Reason}, _} -> {error, {no_epmd, Reason}};
        {_, {error, Reason}} -> {error, {no_epmd, Reason}}
    end.

%% @doc The program: that of the running system; one with a part of OTP may have none.
-spec program() -> {ok, file:filename()} | {error, {no_program, string()}}.
program() ->
    Root = code:root_dir(),
    Own = filename:join([Root, "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
    case [File || File <- [Own, filename:join([Root, "bin", "epmd"])], filelib:is_regular(File)] of
        [File | _] -> {ok, File};
        [] -> evm_image_tool:find("epmd")
    end.

await(Port, {os_pid, OsPid} = Pid, Deadline) ->
    case {names(), erlang:monotonic_time(millisecond) < Deadline} of
        {{ok, _}, _} -> {ok, {Port, OsPid}};
        {{error, _}, true} ->
            receive
                {Port, {exit_status, Status}} -> ended(Status)
            after ?POLL_MS -> await(Port, Pid, Deadline)
            end;
        {{error, _} = Error, false} ->
            ok = stop({Port, OsPid}),
            Error
    end;
await(Port, undefined, _Deadline) -> receive {Port, {exit_status, Status}} -> ended(Status) end.

%% Another one may have been faster.
ended(Status) ->
    case names() of
        {ok, _} -> running;
        {error, _} -> {error, {no_epmd, {exit_status, Status}}}
    end.

%% @doc Ends an epmd of our own; returns once it is gone.
-spec stop(own()) -> ok.
stop({Port, OsPid}) ->
    ok = evum_port:close(Port, OsPid, ?KILL_MS),
    flush(Port).

flush(Port) -> receive {Port, _} -> flush(Port) after 0 -> ok end.
