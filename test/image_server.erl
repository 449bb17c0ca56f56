%% SPDX-License-Identifier: Apache-2.0
%% A web server of the suite's own, with every vice a server may have
%%
%% A path's behaviour is a fun of its request's headers that sends by the fun it is given.
-module(image_server).

-export([start/1, stop/1, url/2, url/3, behave/3, requests/1]).
-export([file/1, file/2, cut/3, status/2, send/2, tunnel/0]).

-include_lib("public_key/include/public_key.hrl").

-record(server, {pid, port, scheme}).

%% Of a certificate for localhost, which the authorities in the file `cacertfile' signed.
start({https, Dir}) ->
    San = #'Extension'{extnID = ?'id-ce-subjectAltName', extnValue = [{dNSName, "localhost"}], critical = false},
    Peer = [{digest, sha256}, {key, {namedCurve, secp256r1}}],
    #{server_config := Server, client_config := Client} = public_key:pkix_test_data(#{
        server_chain => #{root => Peer, intermediates => [], peer => [{extensions, [San]} | Peer]},
        client_chain => #{root => Peer, intermediates => [], peer => Peer}
    }),
    Pem = public_key:pem_encode([{'Certificate', Der, not_encrypted} || Der <- proplists:get_value(cacerts, Client)]),
    ok = file:write_file(filename:join(Dir, "ca.pem"), Pem),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Listen} = ssl:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}, binary, {packet, http_bin}, {reuseaddr, true}, {log_level, none} | Server]),
    {ok, {_, Port}} = ssl:sockname(Listen),
    run(https, Port, fun() ->
        {ok, T} = ssl:transport_accept(Listen),
        fun() -> {ok, S} = ssl:handshake(T, 5000), {ssl, S} end
    end);
start(http) -> start({http, {127, 0, 0, 1}});
start({http, Ip}) ->
    {ok, Listen} = gen_tcp:listen(0, [case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end, {ip, Ip}, {active, false}, binary, {packet, http_bin}]),
    {ok, Port} = inet:port(Listen),
    run(http, Port, fun() ->
        {ok, S} = gen_tcp:accept(Listen),
        fun() -> {gen_tcp, S} end
    end).

run(Scheme, Port, Accept) ->
    Table = ets:new(?MODULE, [public, bag]),
    true = ets:insert(Table, {requests, none}),
    Pid = spawn_link(fun() -> accept(Accept, Table) end),
    true = ets:give_away(Table, Pid, server),
    #server{pid = {Pid, Table}, port = Port, scheme = atom_to_list(Scheme)}.

stop(#server{pid = {Pid, _}}) ->
    unlink(Pid),
    exit(Pid, kill),
    ok.

url(Server, Path) -> url(Server, "localhost", Path).

url(#server{port = Port, scheme = Scheme}, Host, Path) -> Scheme ++ "://" ++ Host ++ ":" ++ integer_to_list(Port) ++ Path.

%% What a path does from now on; forgets what was asked for.
behave(#server{pid = {_, Table}}, Path, Fun) ->
    true = ets:delete(Table, {path, Path}),
    true = ets:match_delete(Table, {request, '_', '_'}),
    true = ets:insert(Table, {{path, Path}, Fun}),
    ok.

%% The headers of each request, in order.
requests(#server{pid = {_, Table}}) -> [H || {_, _, H} <- lists:keysort(2, ets:lookup(Table, request))].

accept(Accept, Table) ->
    Handshake = Accept(),
    spawn(fun() -> catch serve(Handshake(), Table) end),
    accept(Accept, Table).

serve(Socket, Table) ->
    {Path, Headers} = request(Socket, none, #{}),
    true = ets:insert(Table, {request, erlang:unique_integer([monotonic]), Headers}),
    [{_, Fun}] = ets:lookup(Table, {path, Path}),
    Fun(Headers, Socket),
    close(Socket).

request({Module, S} = Socket, Path, Headers) ->
    case Module:recv(S, 0, 5000) of
        {ok, {http_request, _, {abs_path, P}, _}} -> request(Socket, binary_to_list(P), Headers);
        %% as a proxy
        {ok, {http_request, _, {absoluteURI, _, Host, _, P}, _}} -> request(Socket, binary_to_list(P), Headers#{"proxied" => binary_to_list(Host)});
        {ok, {http_request, <<"CONNECT">>, {scheme, Host, Port}, _}} ->
            request(Socket, "CONNECT", Headers#{"proxied" => binary_to_list(<<Host/binary, $:, Port/binary>>)});
        {ok, {http_header, _, Name, _, Value}} ->
            request(Socket, Path, Headers#{string:lowercase(to_list(Name)) => binary_to_list(Value)});
        {ok, http_eoh} -> {Path, Headers}
    end.

to_list(A) when is_atom(A) -> atom_to_list(A);
to_list(B) -> binary_to_list(B).

send({Module, S}, Data) -> ok = Module:send(S, Data).

close({Module, S}) -> Module:close(S).

status(Line, Headers) ->
    fun(_, Socket) -> send(Socket, ["HTTP/1.1 ", Line, "\r\n", [[N, ": ", V, "\r\n"] || {N, V} <- Headers], "Content-Length: 0\r\n\r\n"]) end.

%% What a proxy does with https, at the path CONNECT.
tunnel() ->
    fun(#{"proxied" := Address}, {gen_tcp, S} = Socket) ->
        [Host, Port] = string:lexemes(Address, ":"),
        {ok, There} = gen_tcp:connect(Host, list_to_integer(Port), [binary, {active, false}]),
        send(Socket, "HTTP/1.1 200 Connected\r\n\r\n"),
        ok = inet:setopts(S, [{packet, raw}]),
        spawn_link(fun() -> relay(There, S) end),
        relay(S, There)
    end.

relay(From, To) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            ok = gen_tcp:send(To, Bytes),
            relay(From, To);
        {error, closed} -> gen_tcp:close(To)
    end.

%% The whole file, or what a range asks for while the version is the same.
file(Bytes) -> file(Bytes, "\"v1\"").
file(Bytes, Etag) -> cut({Bytes, Etag}, infinity, fun(_Size) -> ok end).

%% As file/2, but the connection ends after so many bytes of the body, once `Kept' has
%% returned: what a client has read and not taken is lost to it with the connection.
cut({Bytes, Etag}, Max, Kept) ->
    fun(Headers, Socket) ->
        {Status, From} = case Headers of
            #{"range" := "bytes=" ++ Range, "if-range" := Etag} -> {"206 Partial Content", list_to_integer(lists:droplast(Range))};
            _ -> {"200 OK", 0}
        end,
        Size = byte_size(Bytes),
        Body = binary:part(Bytes, From, Size - From),
        Out = case Max of infinity -> Body; _ -> binary:part(Body, 0, min(Max, byte_size(Body))) end,
        Content = [io_lib:format("Content-Range: bytes ~b-~b/~b\r\n", [From, Size - 1, Size]) || From > 0],
        send(Socket, ["HTTP/1.1 ", Status, "\r\nETag: ", Etag, "\r\n", Content, "Content-Length: ", integer_to_list(Size - From), "\r\n\r\n"]),
        send(Socket, Out),
        byte_size(Out) < byte_size(Body) andalso Kept(From + byte_size(Out))
    end.
