%% SPDX-License-Identifier: Apache-2.0
%% What is inside a frame: ARP, IPv4, ICMP, UDP and TCP, parsed and built; pure
%%
%% What a guest sends is not to be believed: lengths are checked against the
%% bytes that are there, checksums are verified, and any bytes at all give a
%% packet or an error, never an exception. What is built is well-formed.
-module(evum_packet).

-export([parse/1, transport/1, checksum/1]).
-export([ethernet/4, arp_reply/3, arp_request/3, ipv4/4, udp/5, echo_reply/3, unreachable/2, tcp_reset/1]).
-export_type([packet/0, arp/0, ip/0, tcp/0, transport/0, error/0]).

-define(ETHER_IPV4, 16#0800).
-define(ETHER_ARP, 16#0806).
-define(ICMP, 1).
-define(TCP, 6).
-define(UDP, 17).
-define(IP_HEADER, 20).
-define(TTL, 64).
%% RFC 1812: an ICMP error quotes as much as fits into 576 bytes, headers included
-define(QUOTE_MAX, 548).

-type packet() :: #{dst := evum_frame:mac(), src := evum_frame:mac(), content := {arp, arp()} | {ipv4, ip()} | {other, Ethertype :: 0..65535}}.
-type arp() :: #{operation := 0..65535, sender := {evum_frame:mac(), inet:ip4_address()}, target := {evum_frame:mac(), inet:ip4_address()}}.
%% bytes: the whole packet without the frame's padding; fragment: a part of one, but for the first
-type ip() :: #{
    src := inet:ip4_address(), dst := inet:ip4_address(), protocol := byte(), fragment := no | first | later,
    payload := binary(), bytes := binary()
}.
-type tcp() :: #{
    sport := 0..65535, dport := 0..65535, seq := non_neg_integer(), ack := non_neg_integer(),
    flags := byte(), payload := non_neg_integer()
}.
-type transport() ::
    {echo_request, Rest :: binary()}
    | {icmp, Type :: byte()}
    | {udp, Sport :: 0..65535, Dport :: 0..65535, Payload :: binary()}
    | {tcp, tcp()}
    | {other, Protocol :: byte()}.
-type error() :: short | bad_length | bad_checksum | bad_header.

%% --- parsing ---------------------------------------------------------------

%% @doc A frame and what is in it.
-spec parse(binary()) -> {ok, packet()} | {error, error()}.
parse(<<Dst:48, Src:48, Ethertype:16, Bytes/binary>>) ->
    case content(Ethertype, Bytes) of
        {error, _} = Error -> Error;
        Content -> {ok, #{dst => Dst, src => Src, content => Content}}
    end;
parse(_) ->
    {error, short}.

content(?ETHER_ARP, <<1:16, ?ETHER_IPV4:16, 6, 4, Op:16, Sha:48, Spa:4/binary, Tha:48, Tpa:4/binary, _/binary>>) ->
    {arp, #{operation => Op, sender => {Sha, ip(Spa)}, target => {Tha, ip(Tpa)}}};
content(?ETHER_ARP, Bytes) when byte_size(Bytes) < 28 -> {error, short};
content(?ETHER_ARP, _) -> {error, bad_header};
content(?ETHER_IPV4, <<4:4, Words:4, _Tos, Total:16, _/binary>> = Bytes) when Words >= 5 ->
    if
        Total < Words * 4 -> {error, bad_length};
        Total > byte_size(Bytes) -> {error, bad_length};
        true -> ipv4(Words * 4, binary:part(Bytes, 0, Total))
    end;
content(?ETHER_IPV4, Bytes) when byte_size(Bytes) < ?IP_HEADER -> {error, short};
content(?ETHER_IPV4, _) -> {error, bad_header};
content(Ethertype, _) -> {other, Ethertype}.

ipv4(HeaderSize, Bytes) ->
    <<Header:HeaderSize/binary, Payload/binary>> = Bytes,
    <<_:6/binary, _:2, More:1, Offset:13, _Ttl, Protocol, _Sum:16, Src:4/binary, Dst:4/binary, _Options/binary>> = Header,
    case checksum(Header) of
        0 ->
            {ipv4, #{src => ip(Src), dst => ip(Dst), protocol => Protocol, fragment => fragment(More, Offset),
                     payload => Payload, bytes => Bytes}};
        _ -> {error, bad_checksum}
    end.

fragment(0, 0) -> no;
fragment(1, 0) -> first;
fragment(_, _) -> later.

%% @doc The transport's header of a packet that isn't a fragment.
-spec transport(ip()) -> {ok, transport()} | {error, error()}.
transport(#{protocol := ?ICMP, payload := <<Type, Code, _Sum:16, Rest/binary>> = Bytes}) ->
    case checksum(Bytes) of
        0 when Type =:= 8, Code =:= 0 -> {ok, {echo_request, Rest}};
        0 -> {ok, {icmp, Type}};
        _ -> {error, bad_checksum}
    end;
transport(#{protocol := ?UDP, payload := <<_:4/binary, Length:16, _/binary>> = Bytes} = Ip)
  when Length >= 8, Length =< byte_size(Bytes) ->
    udp_datagram(Ip, binary:part(Bytes, 0, Length));
transport(#{protocol := ?TCP, payload := <<Sport:16, Dport:16, Seq:32, Ack:32, Words:4, _:4, Flags, _/binary>> = Bytes} = Ip)
  when Words >= 5, Words * 4 =< byte_size(Bytes) ->
    case checksum([pseudo_header(Ip, byte_size(Bytes)), Bytes]) of
        0 ->
            {ok, {tcp, #{sport => Sport, dport => Dport, seq => Seq, ack => Ack, flags => Flags,
                         payload => byte_size(Bytes) - Words * 4}}};
        _ -> {error, bad_checksum}
    end;
transport(#{protocol := Protocol, payload := Bytes}) when Protocol =:= ?ICMP; Protocol =:= ?UDP; Protocol =:= ?TCP ->
    case byte_size(Bytes) < transport_header(Protocol) of
        true -> {error, short};
        false -> {error, bad_length}
    end;
transport(#{protocol := Protocol}) ->
    {ok, {other, Protocol}}.

transport_header(?ICMP) -> 4;
transport_header(?UDP) -> 8;
transport_header(?TCP) -> 20.

%% A checksum of 0 says that there is none.
udp_datagram(Ip, <<Sport:16, Dport:16, _Length:16, Sum:16, Payload/binary>> = Bytes) ->
    case Sum =:= 0 orelse checksum([pseudo_header(Ip, byte_size(Bytes)), Bytes]) =:= 0 of
        true -> {ok, {udp, Sport, Dport, Payload}};
        false -> {error, bad_checksum}
    end.

%% @doc The Internet checksum (RFC 1071). Over bytes that contain a right one it is 0.
%% Of a list each part but the last has an even size.
-spec checksum(binary() | [binary()]) -> 0..65535.
checksum(Bytes) when is_binary(Bytes) -> fold(sum(Bytes, 0));
checksum(Parts) -> fold(lists:foldl(fun sum/2, 0, Parts)).

sum(<<A:16, B:16, C:16, D:16, Rest/binary>>, Sum) -> sum(Rest, Sum + A + B + C + D);
sum(<<A:16, Rest/binary>>, Sum) -> sum(Rest, Sum + A);
sum(<<A>>, Sum) -> Sum + (A bsl 8);
sum(<<>>, Sum) -> Sum.

fold(Sum) when Sum > 16#ffff -> fold((Sum band 16#ffff) + (Sum bsr 16));
fold(Sum) -> 16#ffff - Sum.

pseudo_header(#{src := Src, dst := Dst, protocol := Protocol}, Length) ->
    <<(bytes(Src))/binary, (bytes(Dst))/binary, 0, Protocol, Length:16>>.

%% --- building --------------------------------------------------------------

%% @doc A frame; `Type' says what `Content' is.
-spec ethernet(Dst :: evum_frame:mac(), Src :: evum_frame:mac(), Type :: arp | ipv4, Content :: binary()) -> binary().
ethernet(Dst, Src, Type, Content) ->
    <<Dst:48, Src:48, (ethertype(Type)):16, Content/binary>>.

ethertype(arp) -> ?ETHER_ARP;
ethertype(ipv4) -> ?ETHER_IPV4.

%% @doc An ARP reply to `To': `Ip' is at `Mac'.
-spec arp_reply(evum_frame:mac(), inet:ip4_address(), To :: {evum_frame:mac(), inet:ip4_address()}) -> binary().
arp_reply(Mac, Ip, {ToMac, ToIp}) ->
    <<1:16, ?ETHER_IPV4:16, 6, 4, 2:16, Mac:48, (bytes(Ip))/binary, ToMac:48, (bytes(ToIp))/binary>>.

%% @doc An ARP request: who at `Mac' with `Ip' asks for `Wanted'. For his own address it
%% tells everybody where that is.
-spec arp_request(evum_frame:mac(), inet:ip4_address(), Wanted :: inet:ip4_address()) -> binary().
arp_request(Mac, Ip, Wanted) ->
    <<1:16, ?ETHER_IPV4:16, 6, 4, 1:16, Mac:48, (bytes(Ip))/binary, 0:48, (bytes(Wanted))/binary>>.

%% @doc An IPv4 packet, not to be fragmented. The payload is one of the functions below.
-spec ipv4(Src :: inet:ip4_address(), Dst :: inet:ip4_address(), icmp | udp | tcp, Payload :: binary()) -> binary().
ipv4(Src, Dst, Protocol, Payload) ->
    Total = ?IP_HEADER + byte_size(Payload),
    Before = <<4:4, 5:4, 0, Total:16, 0:16, 0:1, 1:1, 0:14, ?TTL, (protocol(Protocol))>>,
    After = <<(bytes(Src))/binary, (bytes(Dst))/binary>>,
    <<Before/binary, (checksum([Before, After])):16, After/binary, Payload/binary>>.

protocol(icmp) -> ?ICMP;
protocol(udp) -> ?UDP;
protocol(tcp) -> ?TCP.

%% @doc A UDP datagram between `Src' and `Dst'; the payload must fit into one IPv4 packet.
-spec udp(Src :: inet:ip4_address(), Sport :: 0..65535, Dst :: inet:ip4_address(), Dport :: 0..65535, binary()) -> binary().
udp(Src, Sport, Dst, Dport, Payload) ->
    Length = 8 + byte_size(Payload),
    Header = <<Sport:16, Dport:16, Length:16>>,
    Pseudo = pseudo_header(#{src => Src, dst => Dst, protocol => ?UDP}, Length),
    %% 0 would say that there is none
    Sum = case checksum([Pseudo, Header, Payload]) of 0 -> 16#ffff; N -> N end,
    <<Header/binary, Sum:16, Payload/binary>>.

%% @doc The reply to an echo request, as a packet from `Src' to `Dst'. `Rest' is that of
%% {@link transport/1}: identifier, sequence number and data.
-spec echo_reply(Src :: inet:ip4_address(), Dst :: inet:ip4_address(), Rest :: binary()) -> binary().
echo_reply(Src, Dst, Rest) -> icmp(Src, Dst, 0, 0, Rest).

icmp(Src, Dst, Type, Code, Rest) ->
    Sum = checksum([<<Type, Code>>, Rest]),
    ipv4(Src, Dst, icmp, <<Type, Code, Sum:16, Rest/binary>>).

%% @doc An ICMP error in answer to a packet, from the address it was sent to or, where that is
%% not ours, from `{net, Gateway}'.
-spec unreachable(port | protocol | {net, inet:ip4_address()}, ip()) -> binary().
unreachable({net, Gateway}, Ip) -> unreachable(Gateway, 0, Ip);
unreachable(protocol, #{dst := Dst} = Ip) -> unreachable(Dst, 2, Ip);
unreachable(port, #{dst := Dst} = Ip) -> unreachable(Dst, 3, Ip).

unreachable(From, Code, #{src := Src, bytes := Bytes}) ->
    Quote = binary:part(Bytes, 0, min(byte_size(Bytes), ?QUOTE_MAX)),
    icmp(From, Src, 3, Code, <<0:32, Quote/binary>>).

%% @doc The reset that answers a segment to a closed port; none answers a reset. RFC 9293, 3.5.2
-spec tcp_reset({ip(), tcp()}) -> {ok, binary()} | none.
tcp_reset({_, #{flags := Flags}}) when Flags band 16#04 =/= 0 -> none;
tcp_reset({Ip, #{flags := Flags, ack := Ack} = Tcp}) when Flags band 16#10 =/= 0 -> {ok, reset(Ip, Tcp, Ack, 0, 16#04)};
tcp_reset({Ip, #{seq := Seq} = Tcp}) -> {ok, reset(Ip, Tcp, 0, Seq + segment_length(Tcp), 16#14)}.

%% SYN and FIN take a number each
segment_length(#{flags := Flags, payload := Payload}) ->
    Payload + (Flags band 16#01) + ((Flags bsr 1) band 16#01).

reset(#{src := To, dst := From}, #{sport := Sport, dport := Dport}, Seq, Ack, Flags) ->
    Before = <<Dport:16, Sport:16, Seq:32, Ack:32, 5:4, 0:4, Flags, 0:16>>,
    Sum = checksum([pseudo_header(#{src => From, dst => To, protocol => ?TCP}, 20), Before]),
    ipv4(From, To, tcp, <<Before/binary, Sum:16, 0:16>>).

ip(<<A, B, C, D>>) -> {A, B, C, D}.

bytes({A, B, C, D}) -> <<A, B, C, D>>.
