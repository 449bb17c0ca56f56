%% SPDX-License-Identifier: Apache-2.0
%% The names of a network: what the gateway answers to a DNS query; pure
%%
%% A machine has the names LABEL and LABEL.DOMAIN, and its address has the latter;
%% the gateway is called gateway. Of names that are there only addresses (A) are
%% known: other types have an empty answer. What is neither a name of the domain
%% nor an address of the subnet is for the host's resolvers, where there is a way
%% out, and doesn't exist where there is none: a guest is told at once.
%%
%% Messages are OTP's inet_dns; its records are its own and it may raise: both are
%% kept inside this module.
-module(evum_dns).

-export([answer/2, failed/1, fit/2, renumber/2, same_question/2]).
-export_type([zone/0]).

-define(NOERROR, 0).
-define(FORMERR, 1).
-define(SERVFAIL, 2).
-define(NXDOMAIN, 3).
-define(NOTIMP, 4).
-define(REFUSED, 5).

%% hosts: labels and addresses of the machines
-type zone() :: #{
    domain := string(), gateway := inet:ip4_address(), prefix := 0..32, uplink := boolean(),
    hosts := [{Label :: string(), inet:ip4_address()}]
}.

%% @doc The reply to a query; `forward': the host's resolvers know; `ignore': it is no query.
-spec answer(Query :: binary(), zone()) -> {reply, binary()} | forward | ignore.
answer(<<_Id:16, 0:1, _/bitstring>> = Query, Zone) when byte_size(Query) >= 12 ->
    case question(Query) of
        {ok, Question} -> respond(Question, Query, Zone);
        {error, Rcode} -> {reply, header_only(Query, Rcode)}
    end;
answer(_, _Zone) -> ignore.

%% @doc The reply to a query that couldn't be answered (SERVFAIL).
-spec failed(Query :: binary()) -> binary().
failed(Query) ->
    case question(Query) of
        {ok, _} -> reply(Query, ?SERVFAIL, []);
        {error, Rcode} -> header_only(Query, Rcode)
    end.

%% @doc A reply that is longer than `Max' bytes becomes one that says that it is truncated.
-spec fit(Reply :: binary(), Max :: pos_integer()) -> binary().
fit(Reply, Max) when byte_size(Reply) =< Max -> Reply;
fit(<<Id:16, Flags:6, _Tc:1, More:9, _Counts:64, _/binary>>, _Max) -> <<Id:16, Flags:6, 1:1, More:9, 0:64>>.

%% @doc A message with another number, which a reply repeats.
-spec renumber(Message :: binary(), 0..65535) -> binary().
renumber(<<_:16, Rest/binary>>, Id) -> <<Id:16, Rest/binary>>.

%% @doc Is it a reply, and to this question?
-spec same_question(Reply :: binary(), Query :: binary()) -> boolean().
same_question(<<_:16, 1:1, _/bitstring>> = Reply, Query) ->
    Question = question_bytes(Reply),
    Question =/= error andalso Question =:= question_bytes(Query);
same_question(_, _) -> false.

%% The bytes of the one question, as no compression touches the first name.
question_bytes(<<_:32, 1:16, _:48, Bytes/binary>>) -> question_bytes(Bytes, 0);
question_bytes(_) -> error.

question_bytes(Bytes, At) ->
    case Bytes of
        <<_:At/binary, 0, _:32, _/binary>> -> {ok, string:lowercase(binary_to_list(Bytes, 1, At + 5))};
        <<_:At/binary, Size, _:Size/binary, _/binary>> when Size > 0, Size < 64 -> question_bytes(Bytes, At + 1 + Size);
        _ -> error
    end.

%% --- what is asked ---------------------------------------------------------

%% {Name as the zone writes it, type, class}, or the code of the error.
question(Query) ->
    try inet_dns:decode(Query) of
        {ok, Message} -> asked(inet_dns:header(inet_dns:msg(Message, header), opcode), inet_dns:msg(Message, qdlist));
        {error, _} -> {error, ?FORMERR}
    catch
        %% it has no words for some lies
        _:_ -> {error, ?FORMERR}
    end.

asked('query', [Question]) ->
    Name = string:lowercase(inet_dns:dns_query(Question, domain)),
    {ok, {Name, inet_dns:dns_query(Question, type), inet_dns:dns_query(Question, class)}};
asked('query', _) -> {error, ?FORMERR};
asked(_, _) -> {error, ?NOTIMP}.

respond({Name, Type, Class}, Query, Zone) when Class =:= in; Class =:= any ->
    case known(Name, Type, Zone) of
        {known, Data} -> {reply, reply(Query, ?NOERROR, Data)};
        unknown -> {reply, reply(Query, ?NXDOMAIN, [])};
        other when map_get(uplink, Zone) -> forward;
        other -> {reply, reply(Query, ?NXDOMAIN, [])}
    end;
respond(_, Query, _Zone) -> {reply, reply(Query, ?REFUSED, [])}.

%% {known, [{Type, Data}]}; unknown: the name would be ours, and isn't there.
known(Name, Type, Zone) ->
    case whose(Name, Zone) of
        {name, Label} -> known_label(Label, Type, Zone);
        {address, Ip} -> known_address(Ip, Type, Zone);
        apex -> {known, []};
        %% a name without a dot is a machine's, or nobody's
        plain when Type =:= a; Type =:= aaaa; Type =:= any -> known_label(Name, Type, Zone);
        plain -> plain(known_label(Name, Type, Zone));
        other -> other
    end.

plain(unknown) -> other;
plain(Known) -> Known.

whose(Name, #{domain := Domain} = Zone) ->
    Apex = string:lowercase(Domain),
    case {lists:suffix("." ++ Apex, Name), lists:member($., Name)} of
        {true, _} -> {name, lists:sublist(Name, length(Name) - length(Apex) - 1)};
        {false, _} when Name =:= Apex -> apex;
        {false, false} -> plain;
        {false, true} -> reverse(address(Name), Zone)
    end.

reverse({ok, Ip}, Zone) ->
    case in_subnet(Ip, Zone) of
        true -> {address, Ip};
        false -> other
    end;
reverse(error, _Zone) -> other.

known_label(Label, Type, Zone) ->
    case [Ip || {Name, Ip} <- names(Zone), string:lowercase(Name) =:= Label] of
        [Ip | _] when Type =:= a; Type =:= any -> {known, [{a, Ip}]};
        [_ | _] -> {known, []};
        [] -> unknown
    end.

known_address(Ip, Type, #{domain := Domain} = Zone) ->
    case [Name || {Name, Address} <- names(Zone), Address =:= Ip] of
        [Name | _] when Type =:= ptr; Type =:= any -> {known, [{ptr, Name ++ "." ++ Domain}]};
        [_ | _] -> {known, []};
        [] -> unknown
    end.

names(#{gateway := Gateway, hosts := Hosts}) -> Hosts ++ [{"gateway", Gateway}].

%% "4.3.2.1.in-addr.arpa" is {1,2,3,4}.
address(Name) ->
    case string:split(Name, ".in-addr.arpa") of
        [Reversed, []] ->
            case inet:parse_ipv4strict_address(Reversed) of
                {ok, {D, C, B, A}} -> {ok, {A, B, C, D}};
                {error, _} -> error
            end;
        _ -> error
    end.

in_subnet(Ip, #{gateway := Gateway, prefix := Prefix}) ->
    network(Ip, Prefix) =:= network(Gateway, Prefix).

network({A, B, C, D}, Prefix) ->
    <<Network:Prefix/bitstring, _/bitstring>> = <<A, B, C, D>>,
    Network.

%% --- replies ---------------------------------------------------------------

%% Time to live 0: a machine may have another address at any moment.
reply(Query, Rcode, Data) ->
    {ok, Message} = inet_dns:decode(Query),
    [Question] = Questions = inet_dns:msg(Message, qdlist),
    Name = inet_dns:dns_query(Question, domain),
    Header = inet_dns:make_header(inet_dns:msg(Message, header),
                                  [{qr, true}, {aa, Rcode =/= ?SERVFAIL}, {tc, false}, {ra, true}, {rcode, Rcode}]),
    Answers = [inet_dns:make_rr([{domain, Name}, {type, Type}, {class, in}, {ttl, 0}, {data, Datum}]) || {Type, Datum} <- Data],
    try
        inet_dns:encode(inet_dns:make_msg([{header, Header}, {qdlist, Questions}, {anlist, Answers}]))
    catch
        %% a name that can be read and not be written
        _:_ -> header_only(Query, ?FORMERR)
    end.

header_only(<<Id:16, _Qr:1, Opcode:4, _:2, Rd:1, _/bitstring>>, Rcode) ->
    <<Id:16, 1:1, Opcode:4, 0:2, Rd:1, 1:1, 0:3, Rcode:4, 0:64>>.
