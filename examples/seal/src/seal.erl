%% SPDX-License-Identifier: Apache-2.0
%% Seals bytes, here or on another node
-module(seal).

-export([checksum/1, seal/1, ask/2]).
-on_load(load/0).

load() -> erlang:load_nif(filename:join(code:priv_dir(seal), "seal_nif"), 0).

%% The CRC-32, of libdeflate.
checksum(_Bytes) -> erlang:nif_error(not_loaded).

%% {CRC-32, SHA-256}
seal(Bytes) -> {checksum(Bytes), crypto:hash(sha256, Bytes)}.

%% The seal that the node makes, asked for over TLS, and TLS's version. Whom to
%% trust it tells by the cluster.
ask(Node, Bytes) ->
    #{name := Name, port := Port, cacerts := CaCerts} = gen_server:call({seal_server, Node}, how),
    [Label | _] = string:split(atom_to_list(Node), "@"),
    {ok, Socket} = ssl:connect(Label, Port, [
        binary, {packet, 4}, {active, false}, {verify, verify_peer}, {cacerts, CaCerts}, {server_name_indication, Name}
    ], 10000),
    ok = ssl:send(Socket, Bytes),
    {ok, Answer} = ssl:recv(Socket, 0, 10000),
    {ok, [{protocol, Version}]} = ssl:connection_information(Socket, [protocol]),
    ok = ssl:close(Socket),
    {Version, binary_to_term(Answer, [safe])}.
