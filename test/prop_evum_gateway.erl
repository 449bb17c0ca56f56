%% SPDX-License-Identifier: Apache-2.0
%% The gateway takes any frames: it never crashes, and what it sends is well-formed
%%
%% EVUM_FUZZ=N in the environment: N times as many cases.
-module(prop_evum_gateway).
-include_lib("proper/include/proper.hrl").

-export([prop_any_frames_get_well_formed_replies/0, prop_any_dns_message_is_answered_forwarded_or_ignored/0,
         prop_any_dhcp_messages_get_bounded_leases/0, prop_what_is_built_is_parsed/0, prop_checksums_verify/0]).

-define(MAC, 16#52550a4d0001).
-define(GATEWAY, {10, 77, 0, 1}).
-define(MTU, 576).

cases(Property) -> proper:numtests(3000 * list_to_integer(os:getenv("EVUM_FUZZ", "1")), Property).

hosts() -> [{16#026576000002, "test2", {10, 77, 0, 2}}, {undefined, "test1", {10, 77, 0, 3}}].

new(Uplink) ->
    evum_gateway:new(#{mac => ?MAC, ip => ?GATEWAY, prefix => 24, mtu => ?MTU, domain => "evum", uplink => Uplink}).

prop_any_frames_get_well_formed_replies() ->
    cases(?FORALL({Frames, Uplink}, {list(frame()), boolean()},
        begin
            {Effects, _} = lists:mapfoldl(
                fun(Frame, G) ->
                    {Verdict, Effects, G1} = evum_gateway:frame(Frame, fun hosts/0, 7, G),
                    true = is_atom(Verdict) andalso length(Effects) =< 1,
                    {Effects, G1}
                end, new(Uplink), Frames),
            lists:all(fun well_formed/1, lists:append(Effects))
        end)).

prop_any_dns_message_is_answered_forwarded_or_ignored() ->
    cases(?FORALL({Message, Uplink}, {mutated(payloads(53)), boolean()},
        begin
            Zone = #{domain => "evum", gateway => ?GATEWAY, prefix => 24, uplink => Uplink, hosts => [{"test1", {10, 77, 0, 3}}]},
            case evum_dns:answer(Message, Zone) of
                {reply, Reply} -> is_reply(Reply, Message) andalso is_reply(evum_dns:failed(Message), Message);
                forward -> Uplink andalso is_reply(evum_dns:failed(Message), Message)
                    andalso is_boolean(evum_dns:same_question(Message, Message));
                ignore -> true
            end
        end)).

is_reply(<<Id:16, 1:1, _/bitstring>> = Reply, <<Id:16, _/binary>>) ->
    {ok, _} = inet_dns:decode(Reply),
    byte_size(Reply) =< 512;
is_reply(_, _) -> false.

prop_any_dhcp_messages_get_bounded_leases() ->
    cases(?FORALL(Messages, list(mutated(payloads(67))),
        begin
            Net = #{gateway => ?GATEWAY, prefix => 24, mtu => 1500, domain => "evum",
                    hosts => [{16#026576000002, "test2", {10, 77, 0, 2}}]},
            Leases = lists:foldl(
                fun(<<_:28/binary, Mac:48, _/binary>> = Message, Leases) ->
                        {_, Leases1} = evum_dhcp:answer(Message, Mac, Net, {7, Leases}),
                        Leases1;
                   (Message, Leases) ->
                        {{error, short}, Leases} = evum_dhcp:answer(Message, 2, Net, {7, Leases}),
                        Leases
                end, evum_dhcp:new(), Messages),
            map_size(Leases) =< length(Messages)
                andalso length(lists:usort([Ip || {Ip, _} <- maps:values(Leases)])) =:= map_size(Leases)
        end)).

prop_what_is_built_is_parsed() ->
    ?FORALL({Src, Dst, Ip, To, Sport, Dport, Payload}, {mac(), mac(), ip(), ip(), port(), port(), binary()},
        begin
            Packet = evum_packet:ipv4(Ip, To, udp, evum_packet:udp(Ip, Sport, To, Dport, Payload)),
            {ok, #{src := Src, dst := Dst, content := {ipv4, #{src := Ip, dst := To} = Parsed}}} =
                evum_packet:parse(<<(evum_packet:ethernet(Dst, Src, ipv4, Packet))/binary, 0:160>>),
            equals({ok, {udp, Sport, Dport, Payload}}, evum_packet:transport(Parsed))
        end).

prop_checksums_verify() ->
    ?FORALL(Bytes, binary(),
        begin
            Sum = evum_packet:checksum([<<0:16>>, Bytes]),
            equals({0, Sum}, {evum_packet:checksum([<<Sum:16>>, Bytes]), sum(Bytes)})
        end).

%% As RFC 1071 has it, in words.
sum(Bytes) ->
    Even = case byte_size(Bytes) rem 2 of 0 -> Bytes; 1 -> <<Bytes/binary, 0>> end,
    lists:foldl(fun(Word, Sum) -> once(Sum + Word) end, 0, [W || <<W:16>> <= Even]) bxor 16#ffff.

once(Sum) -> (Sum band 16#ffff) + (Sum bsr 16).

%% --- replies -----------------------------------------------------------------

well_formed({resolve, {Mac, {_, _, _, _}, Port}, Query}) ->
    is_integer(Mac) andalso is_integer(Port) andalso is_binary(Query);
well_formed({reply, <<_:48, ?MAC:48, 16#0806:16, Arp/binary>>}) -> byte_size(Arp) =:= 28;
well_formed({reply, <<_:48, ?MAC:48, 16#0800:16, Packet/binary>>}) ->
    <<4:4, 5:4, _, Size:16, _:32, _Ttl, Protocol, _:16, Src:4/binary, Dst:4/binary, Payload/binary>> = Packet,
    <<Header:20/binary, _/binary>> = Packet,
    Size =:= byte_size(Packet) andalso Size =< ?MTU andalso sum(Header) =:= 0 andalso Src =:= <<10, 77, 0, 1>>
        andalso protocol(Protocol, <<Src/binary, Dst/binary, 0, Protocol, (byte_size(Payload)):16>>, Payload);
well_formed(_) -> false.

protocol(1, _, Payload) -> sum(Payload) =:= 0;
protocol(6, Pseudo, Payload) -> sum(<<Pseudo/binary, Payload/binary>>) =:= 0 andalso byte_size(Payload) =:= 20;
protocol(17, Pseudo, <<_:32, Length:16, _/binary>> = Payload) ->
    sum(<<Pseudo/binary, Payload/binary>>) =:= 0 andalso Length =:= byte_size(Payload).

%% --- frames ------------------------------------------------------------------

%% Real ones, what was done to them, and noise; some with their checksums put right again.
frame() ->
    frequency([
        {5, oneof(gateway_frames:all())},
        {5, mutated(gateway_frames:all())},
        {5, ?LET(Frame, mutated(gateway_frames:all()), repaired(Frame))},
        {5, ?LET({Port, Message}, oneof([{53, mutated(payloads(53))}, {67, mutated(payloads(67))}]), datagram(Port, Message))},
        {1, ?LET(Bytes, binary(), <<?MAC:48, 2:48, 16#0800:16, Bytes/binary>>)},
        {1, binary()}
    ]).

%% A byte changed, a piece cut out or doubled.
mutated(Originals) ->
    ?LET({Original, Changes}, {oneof(Originals), list({oneof([set, cut, double]), non_neg_integer(), byte()})},
        lists:foldl(fun change/2, Original, Changes)).

change({_, _, _}, <<>>) -> <<>>;
change({How, At, Byte}, Bytes) ->
    %% all over, though generated numbers are small
    Where = (At * 7919 + Byte) rem byte_size(Bytes),
    <<Before:Where/binary, Old, After/binary>> = Bytes,
    case How of
        set -> <<Before/binary, Byte, After/binary>>;
        cut -> binary:part(Bytes, 0, Where);
        double -> <<Before/binary, Old, Old, After/binary>>
    end.

%% So that mutations get past the checksums.
repaired(<<Ethernet:12/binary, 16#0800:16, 4:4, 5:4, Tos, Size:16, Rest:6/binary, _:16, Addresses:8/binary, Payload/binary>>)
  when byte_size(Payload) + 20 >= Size ->
    <<_:5/binary, Protocol>> = Rest,
    Sum = evum_packet:checksum([<<4:4, 5:4, Tos, Size:16, Rest/binary>>, Addresses]),
    <<Ethernet/binary, 16#0800:16, 4:4, 5:4, Tos, Size:16, Rest/binary, Sum:16, Addresses/binary,
      (repaired(Protocol, Addresses, Payload))/binary>>;
repaired(Frame) -> Frame.

repaired(17, _, <<Ports:32, Length:16, _:16, Rest/binary>>) -> <<Ports:32, Length:16, 0:16, Rest/binary>>;
repaired(1, _, <<Type:16, _:16, Rest/binary>>) -> <<Type:16, (evum_packet:checksum([<<Type:16>>, Rest])):16, Rest/binary>>;
repaired(6, Addresses, <<Head:16/binary, _:16, Rest/binary>> = All) ->
    Sum = evum_packet:checksum([Addresses, <<0, 6, (byte_size(All)):16>>, <<Head/binary, 0:16>>, Rest]),
    <<Head/binary, Sum:16, Rest/binary>>;
repaired(_, _, Payload) -> Payload.

datagram(Port, Message) ->
    Src = {10, 77, 0, 2},
    Udp = evum_packet:udp(Src, Port + 1, ?GATEWAY, Port, Message),
    evum_packet:ethernet(?MAC, 16#026576000002, ipv4, evum_packet:ipv4(Src, ?GATEWAY, udp, Udp)).

%% What the captured datagrams to a port say.
payloads(Port) ->
    [Payload || <<_:23/binary, 17, _:12/binary, To:16, _:32, Payload/binary>> <- gateway_frames:all(), To =:= Port].

mac() -> range(0, 16#ffffffffffff).
ip() -> {byte(), byte(), byte(), byte()}.
port() -> range(0, 65535).
