%% SPDX-License-Identifier: Apache-2.0
%% What the gateway answers to frames that Linux and its tools sent
-module(evum_gateway_tests).
-include_lib("eunit/include/eunit.hrl").

-define(MAC, 16#52550a4d0001).
-define(GUEST, 16#026576000002).
-define(GATEWAY, {10, 77, 0, 1}).
-define(ANY, {255, 255, 255, 255}).
-define(ANY_MAC, 16#ffffffffffff).

options() -> #{mac => ?MAC, ip => ?GATEWAY, prefix => 24, mtu => 1500, domain => "evum", uplink => false}.

hosts() -> [{?GUEST, "test2", {10, 77, 0, 2}}, {16#026576000003, "Test1", {10, 77, 0, 3}}].

new() -> evum_gateway:new(options()).

to(Frame, Options) ->
    {Verdict, Effects, _} = evum_gateway:frame(Frame, fun hosts/0, 0, evum_gateway:new(maps:merge(options(), Options))),
    {Verdict, Effects}.

to(Frame) -> to(Frame, #{}).

frame(Name) -> gateway_frames:frame(Name).

%% A datagram from a guest.
udp(Sport, Dport, Payload) -> udp({?GUEST, {10, 77, 0, 2}}, ?GATEWAY, Sport, Dport, Payload).

udp({Mac, Src}, Dst, Sport, Dport, Payload) ->
    Datagram = evum_packet:udp(Src, Sport, Dst, Dport, Payload),
    evum_packet:ethernet(?MAC, Mac, ipv4, evum_packet:ipv4(Src, Dst, udp, Datagram)).

%% What the one reply says, which is checked for its form as it is parsed.
reply({_, [{reply, Frame}]}) ->
    {ok, #{content := {ipv4, Ip}} = Packet} = evum_packet:parse(Frame),
    {ok, Transport} = evum_packet:transport(Ip),
    {maps:with([dst, src], Packet), maps:with([src, dst], Ip), Transport}.

%% --- ARP, ping, and what is refused: as Linux does it ------------------------

arp_is_answered_as_linux_does_test() ->
    <<Reply:42/binary, _/binary>> = frame(arp_reply),
    ?assertEqual({arp, [{reply, Reply}]}, to(frame(arp_request))).

arp_for_others_isnt_answered_test() ->
    <<Head:38/binary, _:4/binary>> = frame(arp_request),
    ?assertEqual({ignored, []}, to(<<Head/binary, 10, 77, 0, 9>>)),
    ?assertEqual({ignored, []}, to(frame(arp_request), #{ip => {10, 77, 0, 5}})).

arp_that_claims_the_gateway_is_spoofed_test() ->
    <<Head:28/binary, _:14/binary>> = frame(arp_request),
    Claim = <<Head/binary, 10, 77, 0, 1, 0:48, 10, 77, 0, 9>>,
    ?assertEqual({spoofed, []}, to(Claim)),
    <<Ethernet:22/binary, _:6/binary, Rest/binary>> = frame(arp_request),
    ?assertEqual({spoofed, []}, to(<<Ethernet/binary, 2, 0, 0, 0, 0, 9, Rest/binary>>)).

ping_is_answered_as_linux_does_test() ->
    {ping, [{reply, Pong}]} = to(frame(ping)),
    ?assertEqual(content(frame(pong)), content(Pong)).

%% A frame but for the IPv4 identification and its checksum.
content(<<Head:18/binary, _Id:16, _Flags:16, Ttl, Protocol, _Sum:16, Rest/binary>>) -> {Head, Ttl, Protocol, Rest}.

a_closed_port_is_reset_as_linux_does_test() ->
    ?assertEqual({refused, [{reply, frame(reset)}]}, to(frame(syn))).

a_reset_isnt_answered_test() ->
    <<Ethernet:14/binary, _/binary>> = frame(syn),
    {ok, #{content := {ipv4, #{payload := <<Ports:13/binary, _Flags, Rest/binary>>}}}} = evum_packet:parse(frame(syn)),
    Packet = evum_packet:ipv4({10, 77, 0, 2}, ?GATEWAY, tcp, with_sum({10, 77, 0, 2}, <<Ports/binary, 4, Rest/binary>>)),
    ?assertEqual({ignored, []}, to(<<Ethernet/binary, Packet/binary>>)).

with_sum({A, B, C, D}, <<Before:16/binary, _:16, After/binary>>) ->
    Length = 18 + byte_size(After),
    Sum = evum_packet:checksum([<<A, B, C, D, 10, 77, 0, 1, 0, 6, Length:16>>, <<Before/binary, 0:16, After/binary>>]),
    <<Before/binary, Sum:16, After/binary>>.

a_closed_udp_port_is_unreachable_as_linux_has_it_test() ->
    {refused, [{reply, Frame}]} = to(frame(udp)),
    {ok, #{content := {ipv4, #{payload := Ours}}}} = evum_packet:parse(Frame),
    {ok, #{content := {ipv4, #{payload := Linux}}}} = evum_packet:parse(frame(unreachable)),
    ?assertEqual(Linux, Ours).

the_world_is_unreachable_without_an_uplink_test_() ->
    [?_assertMatch({_, #{src := ?GATEWAY}, {icmp, 3}}, reply(to(frame(Name)))) || Name <- [world_syn, world_ping]].

the_world_is_the_uplinks_where_there_is_one_test() ->
    ?assertEqual({ignored, []}, to(frame(world_syn), #{uplink => true})).

lies_are_counted_test() ->
    ?assertEqual({malformed, []}, to(<<>>)),
    ?assertEqual({malformed, []}, to(binary:part(frame(ping), 0, 30))),
    ?assertEqual({malformed, []}, to(binary:part(frame(ping), 0, 60))),
    ?assertEqual({malformed, []}, to(<<(frame(ping))/binary, 0:(1500 * 8)>>)),
    <<Most:90/binary, Byte, Rest/binary>> = frame(ping),
    ?assertEqual({malformed, []}, to(<<Most/binary, (Byte bxor 1), Rest/binary>>)),
    <<Dst:48, _Src:48, Content/binary>> = frame(ping),
    ?assertEqual({spoofed, []}, to(<<Dst:48, ?MAC:48, Content/binary>>)),
    ?assertEqual({ignored, []}, to(<<1:48, ?GUEST:48, Content/binary>>)),
    ?assertEqual({ignored, []}, to(<<?MAC:48, ?GUEST:48, 16#86dd:16, 0:320>>)).

an_impossible_source_is_spoofed_test_() ->
    [?_assertEqual({spoofed, []}, to(udp({?GUEST, Src}, ?GATEWAY, 1, 2, <<>>)))
     || Src <- [?GATEWAY, {127, 0, 0, 1}, {224, 0, 0, 1}, ?ANY, {0, 1, 2, 3}]].

what_goes_to_all_isnt_refused_test_() ->
    [?_assertEqual({ignored, []}, to(udp({?GUEST, {10, 77, 0, 2}}, Dst, 1, 2, <<>>)))
     || Dst <- [?ANY, {10, 77, 0, 255}, {224, 0, 0, 251}, {10, 77, 0, 3}]].

%% --- DNS ---------------------------------------------------------------------

query(Name, Type) -> query(Name, Type, in).

query(Name, Type, Class) ->
    inet_dns:encode(inet_dns:make_msg([
        {header, inet_dns:make_header([{id, 4711}, {opcode, 'query'}, {rd, true}, {qr, false}])},
        {qdlist, [inet_dns:make_dns_query([{domain, Name}, {type, Type}, {class, Class}])]}
    ])).

ask(Name, Type) -> ask(Name, Type, #{}).

ask(Name, Type, Options) -> asked(to(udp(1053, 53, query(Name, Type)), Options)).

%% {Code, what is answered}
asked({dns, [{resolve, {?GUEST, {10, 77, 0, 2}, 1053}, _}]}) -> resolve;
asked({dns, [{reply, _}]} = Outcome) ->
    {#{dst := ?GUEST, src := ?MAC}, #{src := ?GATEWAY, dst := {10, 77, 0, 2}}, {udp, 53, _, Reply}} = reply(Outcome),
    {ok, Message} = inet_dns:decode(Reply),
    true = inet_dns:header(inet_dns:msg(Message, header), qr),
    {inet_dns:header(inet_dns:msg(Message, header), rcode),
     [inet_dns:rr(Rr, data) || Rr <- inet_dns:msg(Message, anlist)]}.

machines_are_known_by_label_test() ->
    ?assertEqual({0, [{10, 77, 0, 3}]}, asked(to(frame(dns_plain)))),
    ?assertEqual({0, [{10, 77, 0, 3}]}, asked(to(frame(dns_full)))),
    ?assertEqual({0, ["Test1.evum"]}, asked(to(frame(dns_reverse)))),
    ?assertEqual({0, [{10, 77, 0, 3}]}, ask("TeSt1.EVUM", a)),
    ?assertEqual({0, [{10, 77, 0, 3}]}, ask("test1", any)),
    ?assertEqual({0, [?GATEWAY]}, ask("gateway", a)),
    ?assertEqual({0, ["gateway.evum"]}, ask("1.0.77.10.in-addr.arpa", ptr)).

the_question_comes_back_as_it_was_put_test() ->
    {_, _, {udp, _, 1053, <<4711:16, _/binary>> = Reply}} = reply(to(udp(1053, 53, query("TeSt1.evum", a)))),
    ?assertMatch({_, _}, binary:match(Reply, <<5, "TeSt1", 4, "evum", 0, 1:16, 1:16>>)).

other_types_of_known_names_are_empty_test_() ->
    [?_assertEqual({0, []}, ask(Name, Type, #{uplink => Uplink}))
     || Name <- ["test1", "test1.evum", "evum", "3.0.77.10.in-addr.arpa"], Type <- [aaaa, mx, txt, srv], Uplink <- [true, false]].

unknown_names_of_the_domain_dont_exist_test_() ->
    [?_assertEqual({3, []}, ask(Name, Type, #{uplink => Uplink}))
     || {Name, Type} <- [{"nobody", a}, {"nobody", aaaa}, {"nobody.evum", a}, {"a.test1.evum", a}, {"9.0.77.10.in-addr.arpa", ptr}],
        Uplink <- [true, false]].

other_names_are_for_the_hosts_resolvers_test_() ->
    [?_assertEqual({Uplink, case Uplink of true -> resolve; false -> {3, []} end}, {Uplink, ask(Name, Type, #{uplink => Uplink})})
     || Uplink <- [true, false],
        {Name, Type} <- [{"example.org", a}, {"test1.evum.org", aaaa}, {"notevum", ns}, {"a.xevum", a}, {"8.8.8.8.in-addr.arpa", ptr},
                         {"77.10.in-addr.arpa", ptr}, {"org", ns}]]
        ++ [?_assertEqual(resolve, asked_with(frame(dns_example)))].

asked_with(Frame) ->
    case to(Frame, #{uplink => true}) of {dns, [{resolve, _, _}]} -> resolve; Other -> Other end.

queries_that_are_none_get_an_error_test() ->
    ?assertEqual({malformed, []}, to(udp(1, 53, <<>>))),
    ?assertEqual({malformed, []}, to(udp(1, 53, <<7:16, 1:1, 0:79>>))),
    ?assertMatch({_, _, {udp, 53, 1, <<7:16, 1:1, _:11, 1:4, 0:64>>}}, reply(to(udp(1, 53, <<7:16, 0:80>>)))),
    ?assertMatch({_, _, {udp, 53, 1, <<7:16, 1:1, _:11, 4:4, _/binary>>}},
                 reply(to(udp(1, 53, <<7:16, 0:1, 2:4, 0:11, 1:16, 0:48, 0, 1:16, 1:16>>)))),
    ?assertEqual(5, begin
                        {_, _, {udp, _, _, <<_:16, _:12, Code:4, _/binary>>}} = reply(to(udp(1, 53, query("test1", a, chaos)))),
                        Code
                    end).

an_edns_query_is_answered_test() ->
    <<Id:16, Flags:16, 1:16, 0:48, Question/binary>> = query("test1", a),
    Query = <<Id:16, Flags:16, 1:16, 0:32, 1:16, Question/binary, 0, 41:16, 1232:16, 0:32, 0:16>>,
    ?assertEqual({0, [{10, 77, 0, 3}]}, asked(to(udp(1053, 53, Query)))).

a_resolvers_reply_reaches_the_asker_test() ->
    Asker = {?GUEST, {10, 77, 0, 2}, 1053},
    ?assertMatch({#{dst := ?GUEST}, #{dst := {10, 77, 0, 2}}, {udp, 53, 1053, <<"reply">>}},
                 reply({dns, [{reply, evum_gateway:resolved(Asker, <<"reply">>, new())}]})),
    Long = <<(query("example.org", a))/binary, 0:(1500 * 8)>>,
    {_, _, {udp, _, _, Cut}} = reply({dns, [{reply, evum_gateway:resolved(Asker, Long, new())}]}),
    ?assertMatch(<<4711:16, _:6, 1:1, _:9, 0:64>>, Cut).

a_reply_is_known_by_its_question_test() ->
    Query = query("example.org", a),
    <<Head:16, Flags:16, Rest/binary>> = query("EXAMPLE.org", a),
    ?assert(evum_dns:same_question(<<Head:16, (Flags bor 16#8000):16, Rest/binary>>, Query)),
    ?assertNot(evum_dns:same_question(<<Head:16, Flags:16, Rest/binary>>, Query)),
    ?assertNot(evum_dns:same_question(<<Head:16, (Flags bor 16#8000):16, (binary:part(Rest, 0, 12))/binary>>, Query)),
    ?assertNot(evum_dns:same_question(<<>>, Query)).

%% --- DHCP --------------------------------------------------------------------

%% A client's message, as a frame to all.
dhcp(Mac, Type, Options) -> dhcp(Mac, Type, Options, {0, 0, 0, 0}).

dhcp(Mac, Type, Options, {A, B, C, D}) ->
    Message = <<1, 1, 6, 0, 77:32, 0:32, A, B, C, D, 0:96, Mac:48, 0:80, 0:(192 * 8), 16#63825363:32,
                53, 1, Type, (list_to_binary(Options))/binary, 255>>,
    <<_:48, Frame/binary>> = udp({Mac, {A, B, C, D}}, ?ANY, 68, 67, Message),
    <<?ANY_MAC:48, Frame/binary>>.

%% {Type, address, options}, where it goes, and the gateway after it.
lease(Frame, Now, Gateway) ->
    case evum_gateway:frame(Frame, fun hosts/0, Now, Gateway) of
        {dhcp, [{reply, _}] = Effects, Gateway1} ->
            {To, #{dst := Ip}, {udp, 67, 68, Reply}} = reply({dhcp, Effects}),
            <<2, _:15/binary, A, B, C, D, _:216/binary, 16#63825363:32, Options/binary>> = Reply,
            #{53 := <<Type>>} = Map = dhcp_options(Options),
            {{Type, {A, B, C, D}, Map}, {Ip, maps:get(dst, To)}, Gateway1};
        {Verdict, [], Gateway1} -> {Verdict, none, Gateway1}
    end.

dhcp_options(<<255, _/binary>>) -> #{};
dhcp_options(<<Code, N, Value:N/binary, Rest/binary>>) -> maps:put(Code, Value, dhcp_options(Rest)).

a_machine_gets_the_address_of_its_switch_test() ->
    {{2, {10, 77, 0, 2}, Options}, _, G} = lease(frame(dhcp_discover), 0, new()),
    ?assertMatch(#{1 := <<255, 255, 255, 0>>, 3 := <<10, 77, 0, 1>>, 6 := <<10, 77, 0, 1>>, 12 := <<"test2">>,
                   15 := <<"evum">>, 26 := <<1500:16>>, 28 := <<10, 77, 0, 255>>, 51 := <<_:32>>, 54 := <<10, 77, 0, 1>>}, Options),
    Request = dhcp(?GUEST, 3, [50, 4, 10, 77, 0, 2, 54, 4, 10, 77, 0, 1]),
    {{5, {10, 77, 0, 2}, _}, To, _} = lease(Request, 0, G),
    ?assertEqual({{10, 77, 0, 2}, ?GUEST}, To).

the_network_s_nameserver_is_dhcp_s_too_test() ->
    Other = evum_gateway:new((options())#{nameserver => {9, 9, 9, 9}}),
    {{2, _, #{3 := <<10, 77, 0, 1>>, 6 := <<9, 9, 9, 9>>}}, _, _} = lease(frame(dhcp_discover), 0, Other).

another_address_is_refused_test() ->
    {{6, {0, 0, 0, 0}, _}, {?ANY, ?ANY_MAC}, _} = lease(frame(dhcp_request), 0, new()),
    {{6, _, _}, _, _} = lease(dhcp(?GUEST, 3, [50, 4, 10, 77, 0, 3]), 0, new()),
    {{6, _, _}, _, _} = lease(dhcp(2, 3, [50, 4, 10, 77, 0, 3]), 0, new()),
    {{6, _, _}, _, _} = lease(dhcp(2, 3, [50, 4, 10, 77, 0, 1]), 0, new()),
    {{6, _, _}, _, _} = lease(dhcp(2, 3, [50, 4, 10, 78, 0, 9]), 0, new()).

a_stranger_gets_one_of_the_last_test() ->
    {{2, {10, 77, 0, 254}, Options}, _, G1} = lease(dhcp(2, 1, []), 0, new()),
    ?assertNot(maps:is_key(12, Options)),
    {{2, {10, 77, 0, 253}, _}, _, G2} = lease(dhcp(4, 1, []), 0, G1),
    {{5, {10, 77, 0, 254}, _}, _, G3} = lease(dhcp(2, 3, [50, 4, 10, 77, 0, 254]), 1, G2),
    %% what he asks for is his, where it is free
    {{2, {10, 77, 0, 100}, _}, _, G4} = lease(dhcp(6, 1, [50, 4, 10, 77, 0, 100]), 1, G3),
    {{2, {10, 77, 0, 252}, _}, _, _} = lease(dhcp(8, 1, [50, 4, 10, 77, 0, 254]), 1, G4),
    %% who renews keeps it
    {{5, {10, 77, 0, 254}, _}, {{10, 77, 0, 254}, 2}, _} = lease(dhcp(2, 3, [], {10, 77, 0, 254}), 3000, G4).

a_foreign_port_is_told_ethernets_mtu_test() ->
    Big = evum_gateway:new((options())#{mtu => 32000}),
    {{2, _, #{26 := <<1500:16>>}}, _, _} = lease(dhcp(2, 1, []), 0, Big),
    {{2, _, #{26 := <<32000:16>>}}, _, _} = lease(frame(dhcp_discover), 0, Big).

leases_are_bounded_and_end_test() ->
    Net = evum_gateway:new((options())#{prefix => 16}),
    {Outcomes, Full} = lists:mapfoldl(
        fun(N, G) ->
            {Outcome, _, G1} = lease(dhcp(N * 2, 1, []), 0, G),
            {Outcome, G1}
        end, Net, lists:seq(1, 257)),
    Ips = [Ip || {2, Ip, _} <- Outcomes],
    ?assertEqual({256, 256}, {length(Ips), length(lists:usort(Ips))}),
    ?assertEqual(exhausted, lists:last(Outcomes)),
    {{2, _, _}, _, _} = lease(dhcp(1000, 1, []), 31, Full).

a_storm_of_clients_grows_nothing_test() ->
    Net = #{gateway => ?GATEWAY, prefix => 16, mtu => 1500, domain => "evum", hosts => []},
    Message = fun(Mac) -> <<1, 1, 6, 0, 77:32, 0:160, Mac:48, 0:80, 0:(192 * 8), 16#63825363:32, 53, 1, 1, 255>> end,
    Leases = lists:foldl(
        fun(N, L) ->
            %% some come back after their offers have ended
            Mac = 2 * (N rem 700),
            {_, L1} = evum_dhcp:answer(Message(Mac), Mac, Net, {N div 20, L}),
            ?assert(map_size(L1) =< 256),
            L1
        end, evum_dhcp:new(), lists:seq(1, 5000)),
    ?assert(map_size(Leases) > 200).

a_released_or_declined_address_is_free_or_not_test() ->
    {{2, Ip, _}, _, G1} = lease(dhcp(2, 1, []), 0, new()),
    {{5, Ip, _}, _, G2} = lease(dhcp(2, 3, [50, 4 | tuple_to_list(Ip)]), 0, G1),
    {dhcp, none, Released} = lease(dhcp(2, 7, [], Ip), 0, G2),
    {{2, Ip, _}, _, _} = lease(dhcp(4, 1, []), 0, Released),
    {dhcp, none, Declined} = lease(dhcp(2, 4, [50, 4 | tuple_to_list(Ip)]), 0, G2),
    {{2, Other, _}, _, _} = lease(dhcp(2, 1, []), 0, Declined),
    ?assertNotEqual(Ip, Other),
    %% nobody's but his own
    {dhcp, none, G3} = lease(dhcp(4, 4, [50, 4 | tuple_to_list(Ip)]), 0, G2),
    {{5, Ip, _}, _, _} = lease(dhcp(2, 3, [50, 4 | tuple_to_list(Ip)]), 0, G3).

messages_that_lie_are_counted_test() ->
    <<Head:14/binary, _/binary>> = Discover = dhcp(2, 1, []),
    ?assertEqual(14, byte_size(Head)),
    <<To:48, _:48, Rest/binary>> = Discover,
    ?assertEqual({spoofed, []}, to(<<To:48, 4:48, Rest/binary>>)),
    ?assertEqual({malformed, []}, to(udp({2, {0, 0, 0, 0}}, ?ANY, 68, 67, <<1, 1, 6, 0>>))),
    ?assertEqual({malformed, []}, to(udp({2, {0, 0, 0, 0}}, ?ANY, 68, 67, <<0:2400>>))),
    ?assertEqual({dhcp, []}, to(dhcp(2, 99, []))),
    %% an option that claims more than there is ends the list
    ?assertMatch({dhcp, [{reply, _}]}, to(dhcp(2, 1, [50, 200, 1]))),
    %% another server was chosen
    ?assertEqual({dhcp, []}, to(dhcp(2, 3, [50, 4, 10, 77, 0, 254, 54, 4, 10, 77, 0, 9]))).

who_has_an_address_is_told_the_rest_test() ->
    {{5, {0, 0, 0, 0}, Options}, {{10, 77, 0, 9}, 2}, _} = lease(dhcp(2, 8, [], {10, 77, 0, 9}), 0, new()),
    ?assertMatch(#{6 := <<10, 77, 0, 1>>}, Options),
    ?assertNot(maps:is_key(51, Options)).
