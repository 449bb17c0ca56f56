%% SPDX-License-Identifier: Apache-2.0
%% Answers over TLS, with a certificate made at each start
-module(seal_server).
-behaviour(gen_server).

-export([start_link/0, init/1, handle_call/3, handle_cast/2]).

start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

init([]) ->
    #{server_config := Server, client_config := Client} =
        public_key:pkix_test_data(#{server_chain => chain(), client_chain => chain()}),
    {ok, Port} = application:get_env(seal, port),
    {ok, Listener} = ssl:listen(Port, [binary, {packet, 4}, {active, false}, {reuseaddr, true} | Server]),
    _ = spawn_link(fun() -> accept(Listener) end),
    {ok, {_, Bound}} = ssl:sockname(Listener),
    {ok, #{name => net_adm:localhost(), port => Bound, cacerts => proplists:get_value(cacerts, Client)}}.

%% a root that signs its peer
chain() -> #{root => key(), intermediates => [], peer => key()}.

key() -> [{key, {namedCurve, secp256r1}}, {digest, sha256}].

handle_call(how, _, St) -> {reply, St, St}.

handle_cast(_, St) -> {noreply, St}.

accept(Listener) ->
    {ok, Transport} = ssl:transport_accept(Listener),
    Answerer = spawn(fun() -> receive go -> answer(ssl:handshake(Transport, 10000)) end end),
    ok = ssl:controlling_process(Transport, Answerer),
    Answerer ! go,
    accept(Listener).

answer({ok, Socket}) ->
    {ok, Bytes} = ssl:recv(Socket, 0, 10000),
    ok = ssl:send(Socket, term_to_binary(seal:seal(Bytes))),
    ssl:close(Socket);
answer({error, _}) -> ok.
