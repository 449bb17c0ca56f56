%% SPDX-License-Identifier: Apache-2.0
%% What the gateway's address answers; pure
%%
%% ARP and ping; DNS (evum_dns) and DHCP (evum_dhcp); anything else that is
%% addressed to it is refused at once: a reset for TCP, an ICMP error for the rest.
%% So is, on a network without a way out, what is addressed to the world. What
%% asks for nothing (a fragment, a broadcast, an error) gets nothing.
%%
%% A frame comes from a guest: it can be any bytes, and costs at most one frame.
-module(evum_gateway).

-export([new/1, set_mtu/2, frame/4, resolved/3]).
-export_type([gateway/0, options/0, host/0, effect/0, verdict/0, asker/0]).

-define(BROADCAST_MAC, 16#ffffffffffff).
-define(BROADCAST, {255, 255, 255, 255}).
-define(ARP_REQUEST, 1).
-define(DNS, 53).
-define(DHCP_SERVER, 67).
-define(DHCP_CLIENT, 68).
%% a frame's header with a VLAN's tag
-define(FRAME_HEADER, 18).
-define(UDP_HEADERS, 28).

-record(gateway, {
    mac :: evum_frame:mac(),
    ip :: inet:ip4_address(),
    prefix :: 0..32,
    mtu :: pos_integer(),
    domain :: string(),
    uplink :: boolean(),
    nameserver :: inet:ip4_address(),
    leases = evum_dhcp:new() :: evum_dhcp:leases()
}).
-opaque gateway() :: #gateway{}.

%% uplink: is there a way out, and so a resolver for all names? nameserver: what DHCP's
%% clients are told of, the gateway where it is missing
-type options() :: #{
    mac := evum_frame:mac(), ip := inet:ip4_address(), prefix := 0..32, mtu := pos_integer(), domain := string(),
    uplink := boolean(), nameserver => inet:ip4_address()
}.
-type host() :: {evum_frame:mac() | undefined, Label :: string(), inet:ip4_address()}.
%% where a reply to a query goes
-type asker() :: {evum_frame:mac(), inet:ip4_address(), Port :: 0..65535}.
-type effect() :: {reply, evum_frame:frame()} | {resolve, asker(), Query :: binary()}.
%% what the frame was, for the counters
-type verdict() :: arp | ping | dns | dhcp | refused | ignored | malformed | spoofed | exhausted.

%% @doc The gateway of a network.
-spec new(options()) -> gateway().
new(#{mac := Mac, ip := Ip, prefix := Prefix, mtu := Mtu, domain := Domain, uplink := Uplink} = Options) ->
    #gateway{nameserver = maps:get(nameserver, Options, Ip), mac = Mac, ip = Ip, prefix = Prefix, mtu = Mtu, domain = Domain, uplink = Uplink}.

%% @doc The gateway with another MTU.
-spec set_mtu(pos_integer(), gateway()) -> gateway().
set_mtu(Mtu, G) -> G#gateway{mtu = Mtu}.

%% @doc A frame came to the gateway at second `Now'. `Hosts' is called where the
%% network's machines matter. A query to be resolved is answered by {@link resolved/3}.
-spec frame(evum_frame:frame(), Hosts :: fun(() -> [host()]), Now :: integer(), gateway()) ->
    {verdict(), [effect()], gateway()}.
frame(Frame, _Hosts, _Now, #gateway{mtu = Mtu} = G) when byte_size(Frame) > Mtu + ?FRAME_HEADER ->
    {malformed, [], G};
frame(Frame, Hosts, Now, #gateway{mac = Mac} = G) ->
    case evum_packet:parse(Frame) of
        {error, _} -> {malformed, [], G};
        {ok, #{src := Mac}} -> {spoofed, [], G};
        {ok, #{dst := Dst} = Packet} when Dst =:= Mac; Dst =:= ?BROADCAST_MAC -> packet(Packet, Hosts, Now, G);
        {ok, _} -> {ignored, [], G}
    end.

%% @doc The frame that brings a resolver's reply to the asker.
-spec resolved(asker(), Reply :: binary(), gateway()) -> evum_frame:frame().
resolved(Asker, Reply, #gateway{mtu = Mtu} = G) ->
    datagram(?DNS, Asker, evum_dns:fit(Reply, Mtu - ?UDP_HEADERS), G).

packet(#{content := {arp, Arp}, src := Src}, _Hosts, _Now, G) -> arp(Arp, Src, G);
packet(#{content := {ipv4, Ip}, src := Src, dst := Dst}, Hosts, Now, G) ->
    case source(Ip, G) of
        spoofed -> {spoofed, [], G};
        none -> unaddressed(Ip, Src, Hosts, Now, G);
        ok -> addressed(Ip, {Src, Dst}, Hosts, Now, G)
    end;
packet(_, _Hosts, _Now, G) -> {ignored, [], G}.

%% Who asks is who is answered: a sender that names another is a liar. A probe
%% (of 0.0.0.0) asks whether the address is taken; a claim of ours is answered too.
arp(#{sender := {Src, From}, operation := ?ARP_REQUEST, target := {_, Ip}}, Src, #gateway{ip = Ip, mac = Mac} = G) ->
    Reply = evum_packet:arp_reply(Mac, Ip, {Src, From}),
    {arp, [{reply, evum_packet:ethernet(Src, Mac, arp, Reply)}], G};
arp(#{sender := {Src, Ip}}, Src, #gateway{ip = Ip} = G) -> {spoofed, [], G};
arp(#{sender := {Src, _}}, Src, G) -> {ignored, [], G};
arp(_, _Src, G) -> {spoofed, [], G}.

%% --- IPv4 ------------------------------------------------------------------

source(#{src := {0, 0, 0, 0}}, _G) -> none;
source(#{src := Ip}, #gateway{ip = Ip}) -> spoofed;
source(#{src := {A, _, _, _}}, _G) when A =:= 0; A =:= 127; A >= 224 -> spoofed;
source(_, _G) -> ok.

%% A host without an address asks for one.
unaddressed(Ip, Src, Hosts, Now, G) ->
    case transport(Ip) of
        {ok, {udp, ?DHCP_CLIENT, ?DHCP_SERVER, Message}} -> dhcp(Message, Src, Hosts, Now, G);
        {ok, _} -> {ignored, [], G};
        {error, _} -> {malformed, [], G}
    end.

addressed(#{dst := Dst} = Ip, {Src, To}, Hosts, Now, G) ->
    case whom(Dst, G) of
        gateway -> transport(transport(Ip), Ip, Src, Hosts, Now, G);
        broadcast -> unaddressed(Ip, Src, Hosts, Now, G);
        world when To =/= ?BROADCAST_MAC -> world(Ip, Src, G);
        _ -> {ignored, [], G}
    end.

whom(Ip, #gateway{ip = Ip}) -> gateway;
whom(?BROADCAST, _G) -> broadcast;
whom({A, _, _, _}, _G) when A >= 224; A =:= 127; A =:= 0 -> nobody;
whom({A, B, C, D}, #gateway{ip = Ip, prefix = Prefix}) ->
    {E, F, G, H} = Ip,
    Host = 32 - Prefix,
    <<Net:Prefix, Local:Host>> = <<A, B, C, D>>,
    case <<E, F, G, H>> of
        <<Net:Prefix, _:Host>> when Local =:= (1 bsl Host) - 1 -> broadcast;
        <<Net:Prefix, _:Host>> -> neighbour;
        _ -> world
    end.

transport(#{fragment := no} = Ip) -> evum_packet:transport(Ip);
transport(_) -> {ok, fragment}.

transport({ok, {echo_request, Rest}}, #{src := To}, Src, _Hosts, _Now, #gateway{ip = Ip} = G) ->
    {ping, ip(Src, evum_packet:echo_reply(Ip, To, Rest), G), G};
transport({ok, {udp, Sport, ?DNS, Query}}, #{src := From}, Src, Hosts, _Now, G) ->
    dns(Query, {Src, From, Sport}, Hosts, G);
transport({ok, {udp, ?DHCP_CLIENT, ?DHCP_SERVER, Message}}, _Ip, Src, Hosts, Now, G) ->
    dhcp(Message, Src, Hosts, Now, G);
transport({ok, {udp, _, _, _}}, Ip, Src, _Hosts, _Now, G) ->
    {refused, ip(Src, evum_packet:unreachable(port, Ip), G), G};
transport({ok, {tcp, Tcp}}, Ip, Src, _Hosts, _Now, G) ->
    case evum_packet:tcp_reset({Ip, Tcp}) of
        {ok, Reset} -> {refused, ip(Src, Reset, G), G};
        none -> {ignored, [], G}
    end;
transport({ok, {other, _}}, Ip, Src, _Hosts, _Now, G) ->
    {refused, ip(Src, evum_packet:unreachable(protocol, Ip), G), G};
transport({ok, _}, _Ip, _Src, _Hosts, _Now, G) -> {ignored, [], G};
transport({error, _}, _Ip, _Src, _Hosts, _Now, G) -> {malformed, [], G}.

%% Where there is no way out the sender is told: else its programs would wait.
%% An error is never sent about an error, nor about a part.
world(_Ip, _Src, #gateway{uplink = true} = G) -> {ignored, [], G};
world(Ip, Src, #gateway{ip = Gateway} = G) ->
    case transport(Ip) of
        {ok, Unanswered} when Unanswered =:= fragment; element(1, Unanswered) =:= icmp -> {ignored, [], G};
        {ok, _} -> {refused, ip(Src, evum_packet:unreachable({net, Gateway}, Ip), G), G};
        {error, _} -> {malformed, [], G}
    end.

%% --- names and addresses ---------------------------------------------------

dns(Query, Asker, Hosts, #gateway{ip = Ip, prefix = Prefix, domain = Domain, uplink = Uplink} = G) ->
    Names = [{Label, Address} || {_, Label, Address} <- Hosts()],
    case evum_dns:answer(Query, #{domain => Domain, gateway => Ip, prefix => Prefix, uplink => Uplink, hosts => Names}) of
        {reply, Reply} -> {dns, [{reply, resolved(Asker, Reply, G)}], G};
        forward -> {dns, [{resolve, Asker, Query}], G};
        ignore -> {malformed, [], G}
    end.

dhcp(Message, Src, Hosts, Now, #gateway{ip = Ip, nameserver = Nameserver, prefix = Prefix, mtu = Mtu, domain = Domain, leases = Leases} = G) ->
    Net = #{gateway => Ip, nameserver => Nameserver, prefix => Prefix, mtu => Mtu, domain => Domain, hosts => Hosts()},
    {Outcome, Leases1} = evum_dhcp:answer(Message, Src, Net, {Now, Leases}),
    G1 = G#gateway{leases = Leases1},
    case Outcome of
        {reply, ToIp, ToMac, Reply} when byte_size(Reply) =< Mtu - ?UDP_HEADERS ->
            {dhcp, [{reply, datagram(?DHCP_SERVER, {ToMac, ToIp, ?DHCP_CLIENT}, Reply, G)}], G1};
        {reply, _, _, _} -> {ignored, [], G1};
        ignore -> {dhcp, [], G1};
        exhausted -> {exhausted, [], G1};
        {error, spoofed} -> {spoofed, [], G1};
        {error, _} -> {malformed, [], G1}
    end.

%% --- replies ---------------------------------------------------------------

datagram(Sport, {ToMac, ToIp, Dport}, Payload, #gateway{ip = Ip, mac = Mac}) ->
    Udp = evum_packet:udp(Ip, Sport, ToIp, Dport, Payload),
    evum_packet:ethernet(ToMac, Mac, ipv4, evum_packet:ipv4(Ip, ToIp, udp, Udp)).

%% No reply is longer than what may be sent.
ip(To, Packet, #gateway{mac = Mac, mtu = Mtu}) when byte_size(Packet) =< Mtu ->
    [{reply, evum_packet:ethernet(To, Mac, ipv4, Packet)}];
ip(_To, _Packet, _G) -> [].
