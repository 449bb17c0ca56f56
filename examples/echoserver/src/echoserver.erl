%% SPDX-License-Identifier: Apache-2.0
%% Sends back what it gets: TCP port 8080, a process a connection
-module(echoserver).

-export([start/0, init/0]).

-define(PORT, 8080).

%% @doc Returns when it listens. It lives as long as its node.
-spec start() -> {ok, pid()} | {error, inet:posix()}.
start() -> proc_lib:start(?MODULE, init, []).

%% @private
-spec init() -> ok.
init() ->
    case gen_tcp:listen(?PORT, [binary, {active, false}, {reuseaddr, true}, {backlog, 128}]) of
        {ok, Listener} ->
            io:format("Echo server started~n"),
            proc_lib:init_ack({ok, self()}),
            accept(Listener);
        {error, Reason} ->
            proc_lib:init_ack({error, Reason})
    end.

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Echo = spawn(fun() -> echo(Socket) end),
    %% one that is through already has closed it
    _ = gen_tcp:controlling_process(Socket, Echo),
    accept(Listener).

echo(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Bytes} -> sent(gen_tcp:send(Socket, Bytes), Socket);
        {error, _} -> gen_tcp:close(Socket)
    end.

sent(ok, Socket) -> echo(Socket);
sent({error, _}, Socket) -> gen_tcp:close(Socket).
