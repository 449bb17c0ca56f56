%% SPDX-License-Identifier: Apache-2.0
%% DNS queries that the host's resolvers answer, without waiting for them
%%
%% No process of its own: whoever asks gets the sockets' messages and hands them
%% to info/2. A query goes out as it came, but for its number, from a port of its
%% own to one resolver; what comes back must be from there and repeat number and
%% question. The resolvers are read anew for each query: a host that moves to
%% another network has others. After 1.5, 3 and 5 seconds the next one is tried,
%% or it is given up. At most 64 queries are under way.
-module(evum_resolver).

-export([new/1, ask/3, info/2, pending/1]).
-export_type([resolver/0, server/0, asker/0]).

-define(PENDING_MAX, 64).
-define(GUEST_MAX, 16).
-define(ATTEMPTS, [1500, 1500, 2000]).
-define(RESOLV_CONF, "/etc/resolv.conf").
-define(PORT, 53).
%% as many as the C library uses
-define(SERVERS_MAX, 3).

-type server() :: {inet:ip_address(), inet:port_number()}.

%% the guest, and what else its reply needs
-type asker() :: {Guest :: term(), term(), term()}.

-record(query, {
    asker :: asker(),
    message :: binary(),
    id :: 0..65535,
    timer :: reference(),
    %% what is tried after this: how long, and whom
    next :: [{pos_integer(), server()}]
}).
-record(resolver, {servers :: host | [server()], pending = #{} :: #{gen_udp:socket() => #query{}}}).
-opaque resolver() :: #resolver{}.

%% @doc A resolver that asks the given servers, or the host's own.
-spec new(host | [server()]) -> resolver().
new(Servers) -> #resolver{servers = Servers}.

%% @doc How many queries are under way.
-spec pending(resolver()) -> non_neg_integer().
pending(#resolver{pending = Pending}) -> map_size(Pending).

%% @doc Sends a query; `Asker' comes back with the reply. One that repeats itself is asked
%% once. `failed': there is nobody to ask, or too much is asked already.
-spec ask(asker(), Query :: binary(), resolver()) -> {asked | failed, resolver()}.
ask({Guest, _, _} = Asker, Message, #resolver{pending = Pending, servers = Servers} = R) ->
    Own = [{A, M} || #query{asker = {G, _, _} = A, message = M} <- maps:values(Pending), G =:= Guest],
    IsAsked = lists:member({Asker, Message}, Own),
    if
        IsAsked -> {asked, R};
        map_size(Pending) >= ?PENDING_MAX; length(Own) >= ?GUEST_MAX -> {failed, R};
        true -> attempt(Asker, Message, attempts(servers(Servers)), R)
    end.

servers(host) ->
    case inet_parse:resolv(?RESOLV_CONF) of
        {ok, Options} -> lists:sublist([{Ip, ?PORT} || {nameserver, Ip} <- Options, is_tuple(Ip)], ?SERVERS_MAX);
        {error, _} -> []
    end;
servers(Servers) -> Servers.

%% One after the other, and around.
attempts([]) -> [];
attempts(Servers) ->
    Around = lists:append(lists:duplicate(length(?ATTEMPTS), Servers)),
    lists:zip(?ATTEMPTS, lists:sublist(Around, length(?ATTEMPTS))).

attempt(_Asker, _Message, [], R) -> {failed, R};
attempt(Asker, Message, [{Ms, Server} | Next], #resolver{pending = Pending} = R) ->
    Id = rand:uniform(65536) - 1,
    case send(Server, evum_dns:renumber(Message, Id)) of
        {ok, Socket} ->
            Timer = erlang:start_timer(Ms, self(), {?MODULE, Socket}),
            Query = #query{asker = Asker, message = Message, id = Id, timer = Timer, next = Next},
            {asked, R#resolver{pending = Pending#{Socket => Query}}};
        {error, _} ->
            attempt(Asker, Message, Next, R)
    end.

send({Ip, Port}, Message) ->
    Family = case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end,
    case gen_udp:open(0, [binary, Family, {active, once}]) of
        {ok, Socket} -> sent(connect_and_send(Socket, Ip, Port, Message), Socket);
        {error, _} = Error -> Error
    end.

connect_and_send(Socket, Ip, Port, Message) ->
    case gen_udp:connect(Socket, Ip, Port) of
        ok -> gen_udp:send(Socket, Message);
        {error, _} = Error -> Error
    end.

sent(ok, Socket) -> {ok, Socket};
sent({error, _} = Error, Socket) ->
    ok = gen_udp:close(Socket),
    Error.

%% @doc A message that the process got: a query's reply or failure, or nothing yet;
%% `ignore': it isn't the resolver's.
-spec info(term(), resolver()) ->
    {reply | failed, asker(), ReplyOrQuery :: binary(), resolver()} | {ok, resolver()} | ignore.
info({udp, Socket, _Ip, _Port, Reply}, #resolver{pending = Pending} = R) ->
    case Pending of
        #{Socket := Query} -> received(Reply, Socket, Query, R);
        #{} -> ignore
    end;
info({udp_error, Socket, _Reason}, R) -> next(Socket, R);
info({udp_closed, Socket}, R) -> next(Socket, R);
info({timeout, _Timer, {?MODULE, Socket}}, R) -> next(Socket, R);
info(_, _R) -> ignore.

received(<<Id:16, _/binary>> = Reply, Socket, #query{id = Id, message = <<Own:16, _/binary>> = Message, asker = Asker} = Query, R) ->
    case evum_dns:same_question(Reply, Message) of
        true -> {reply, Asker, evum_dns:renumber(Reply, Own), forget(Socket, Query, R)};
        false -> wait(Socket, R)
    end;
received(_, Socket, _Query, R) -> wait(Socket, R).

wait(Socket, R) ->
    _ = inet:setopts(Socket, [{active, once}]),
    {ok, R}.

%% This attempt is over.
next(Socket, #resolver{pending = Pending} = R) ->
    case Pending of
        #{Socket := #query{asker = Asker, message = Message, next = Next} = Query} ->
            case attempt(Asker, Message, Next, forget(Socket, Query, R)) of
                {asked, R1} -> {ok, R1};
                {failed, R1} -> {failed, Asker, Message, R1}
            end;
        #{} -> ignore
    end.

forget(Socket, #query{timer = Timer}, #resolver{pending = Pending} = R) ->
    _ = erlang:cancel_timer(Timer),
    ok = gen_udp:close(Socket),
    R#resolver{pending = maps:remove(Socket, Pending)}.
