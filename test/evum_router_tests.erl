%% SPDX-License-Identifier: Apache-2.0
%% The gateway's process between a switch's tables and a resolver that are played
-module(evum_router_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../src/evum_lan.hrl").

-export([a_batch_of_pings_is_answered/1, a_machine_is_known_as_soon_as_it_is_plugged/1, lies_are_counted/1,
         a_name_is_asked_of_the_resolver/1, a_forged_reply_is_ignored/1, the_next_resolver_is_tried/1,
         without_resolvers_it_fails_at_once/1, queries_are_bounded_and_dont_block/1, the_mtu_can_change/1,
         it_ends_with_its_switch/1]).

-define(MAC, 16#52550a4d0001).
-define(GUEST, 16#026576000002).
-define(WAIT, 2000).

router_test_() ->
    [{atom_to_list(Claim), {timeout, 30, fun() -> with_router(fun ?MODULE:Claim/1) end}}
     || Claim <- [a_batch_of_pings_is_answered, a_machine_is_known_as_soon_as_it_is_plugged, lies_are_counted,
                  a_name_is_asked_of_the_resolver, a_forged_reply_is_ignored, the_next_resolver_is_tried,
                  without_resolvers_it_fails_at_once, queries_are_bounded_and_dont_block, the_mtu_can_change,
                  it_ends_with_its_switch]].

%% The test's process plays the switch and the machine at port 2.
with_router(Claim) ->
    process_flag(trap_exit, true),
    Lan = #lan{switch = self(), name = test, ports = ets:new(ports, [public, {keypos, #port.no}]), fdb = ets:new(fdb, [public]), flows = evum_flow:new()},
    {ok, Server} = gen_udp:open(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Server),
    Options = #{gateway => {10, 77, 0, 1}, mac => ?MAC, prefix => 24, mtu => 1500, domain => "evum", uplink => true,
                resolvers => [{{127, 0, 0, 1}, Port}]},
    plug(Lan, machine(2, test2, {10, 77, 0, 2}, ?GUEST)),
    try Claim(#{lan => Lan, server => Server, options => Options})
    after gen_udp:close(Server)
    end.

start(#{lan := Lan, options := Options}) -> start(Lan, Options).

start(Lan, Options) ->
    {ok, Router, Inbox} = evum_router:start_link(Lan, Options),
    plug(Lan, #port{no = 0, kind = gateway, out = {inbox, Inbox}, max_frame = 1518, counters = evum_lan:counters(),
                    label = gateway, owner = Router, mac = ?MAC, ip = {10, 77, 0, 1}}),
    Router.

machine(No, Label, Ip, Mac) ->
    #port{no = No, kind = machine, out = {inbox, evum_inbox:new(self(), 1000000)}, max_frame = 65535,
          counters = evum_lan:counters(), label = Label, owner = self(), mac = Mac, ip = Ip}.

plug(#lan{ports = Ports, fdb = Fdb}, #port{no = No, mac = Mac} = Port) ->
    ets:insert(Ports, Port),
    ets:insert(Fdb, {Mac, No, static, 0}).

input(Lan, Frames) -> input(Lan, 2, Frames).

input(Lan, No, Frames) ->
    [ok = evum_lan:input(Lan, No, Count, Body) || {Count, Body} <- evum_frame:batches(Frames)].

replies() -> replies(?WAIT).

replies(Ms) ->
    receive {evum_lan, output, 0, Count, Body} ->
        Frames = evum_frame:frames(Body),
        Count = length(Frames),
        Frames
    after Ms -> none
    end.

ask(Lan, Name, Id) -> input(Lan, [udp(?GUEST, {10, 77, 0, 2}, 53, query(Name, Id))]).

udp(Mac, Ip, Port, Payload) ->
    Udp = evum_packet:udp(Ip, 1053, {10, 77, 0, 1}, Port, Payload),
    evum_packet:ethernet(?MAC, Mac, ipv4, evum_packet:ipv4(Ip, {10, 77, 0, 1}, udp, Udp)).

query(Name, Id) ->
    inet_dns:encode(inet_dns:make_msg([{header, inet_dns:make_header([{id, Id}, {rd, true}, {opcode, 'query'}, {qr, false}])},
                                       {qdlist, [inet_dns:make_dns_query([{domain, Name}, {type, a}, {class, in}])]}])).

%% {Id, code, addresses} of the one reply.
answered() ->
    [Frame] = replies(),
    {ok, #{content := {ipv4, Ip}}} = evum_packet:parse(Frame),
    {ok, {udp, 53, 1053, Reply}} = evum_packet:transport(Ip),
    {ok, Message} = inet_dns:decode(Reply),
    Header = inet_dns:msg(Message, header),
    {inet_dns:header(Header, id), inet_dns:header(Header, rcode), [inet_dns:rr(R, data) || R <- inet_dns:msg(Message, anlist)]}.

%% What a resolver would send back.
resolve(<<Id:16, _:16, Counts:16, _:48, Question/binary>>) ->
    <<Id:16, 16#8180:16, Counts:16, 1:16, 0:32, Question/binary, 16#c00c:16, 1:16, 1:16, 60:32, 4:16, 192, 0, 2, 7>>.

a_batch_of_pings_is_answered(#{lan := Lan} = Setup) ->
    Router = start(Setup),
    input(Lan, lists:duplicate(5, gateway_frames:frame(ping))),
    ?assertEqual(5, length(replies())),
    ?assertMatch(#{ping := 5, resolving := 0}, evum_router:info(Router)).

a_machine_is_known_as_soon_as_it_is_plugged(#{lan := Lan} = Setup) ->
    _ = start(Setup),
    ask(Lan, "new", 1),
    ?assertEqual({1, 3, []}, answered()),
    plug(Lan, machine(3, <<"new">>, {10, 77, 0, 7}, 5)),
    ask(Lan, "new.evum", 2),
    ?assertEqual({2, 0, [{10, 77, 0, 7}]}, answered()).

lies_are_counted(#{lan := Lan} = Setup) ->
    Router = start(Setup),
    <<Head:22/binary, _:6/binary, Rest/binary>> = gateway_frames:frame(arp_request),
    input(Lan, [<<Head/binary, 0, 0, 0, 0, 0, 9, Rest/binary>>]),
    input(Lan, [<<?MAC:48, ?GUEST:48, 16#0800:16, 1, 2, 3>>]),
    Router ! {evum_lan, output, 2, 1, <<1000:16, 1>>},
    Router ! unexpected,
    ?assertMatch(#{spoofed := 1, malformed := 2}, evum_router:info(Router)),
    [#port{counters = Counters}] = ets:lookup(Lan#lan.ports, 2),
    ?assertMatch(#{spoofed := 1}, evum_lan:counts(Counters)).

a_name_is_asked_of_the_resolver(#{lan := Lan, server := Server} = Setup) ->
    Router = start(Setup),
    ask(Lan, "example.org", 4711),
    {ok, {Ip, Port, Query}} = gen_udp:recv(Server, 0, ?WAIT),
    ?assertMatch(#{resolving := 1}, evum_router:info(Router)),
    ok = gen_udp:send(Server, Ip, Port, resolve(Query)),
    ?assertEqual({4711, 0, [{192, 0, 2, 7}]}, answered()),
    ?assertMatch(#{resolving := 0}, evum_router:info(Router)).

a_forged_reply_is_ignored(#{lan := Lan, server := Server} = Setup) ->
    _ = start(Setup),
    ask(Lan, "example.org", 1),
    {ok, {Ip, Port, <<Id:16, Rest/binary>> = Query}} = gen_udp:recv(Server, 0, ?WAIT),
    {ok, Other} = gen_udp:open(0, [binary, {ip, {127, 0, 0, 1}}]),
    ok = gen_udp:send(Other, Ip, Port, resolve(Query)),
    <<Other0:16, _/binary>> = query("other.org", 1),
    [ok = gen_udp:send(Server, Ip, Port, Forged)
     || Forged <- [<<>>, <<Id:16>>, Query, resolve(<<(Id bxor 1):16, Rest/binary>>),
                   resolve(<<Id:16, (binary:part(query("other.org", Other0), 2, 25))/binary>>)]],
    ?assertEqual(none, replies(100)),
    ok = gen_udp:send(Server, Ip, Port, resolve(Query)),
    ?assertEqual({1, 0, [{192, 0, 2, 7}]}, answered()),
    ok = gen_udp:close(Other).

%% The first refuses: nothing is bound there.
the_next_resolver_is_tried(#{lan := Lan, server := Server, options := #{resolvers := [Working]} = Options}) ->
    {ok, Gone} = gen_udp:open(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Gone),
    ok = gen_udp:close(Gone),
    _ = start(Lan, Options#{resolvers => [{{127, 0, 0, 1}, Port}, Working]}),
    ask(Lan, "example.org", 1),
    {ok, {Ip, From, Query}} = gen_udp:recv(Server, 0, ?WAIT),
    ok = gen_udp:send(Server, Ip, From, resolve(Query)),
    ?assertEqual({1, 0, [{192, 0, 2, 7}]}, answered()).

without_resolvers_it_fails_at_once(#{lan := Lan, options := Options}) ->
    _ = start(Lan, Options#{resolvers => []}),
    ask(Lan, "example.org", 1),
    ?assertEqual({1, 2, []}, answered()).

%% A resolver that says nothing: a guest's 16 wait, more fail at once, another's are asked
%% all the same, and all fail in 5 s.
queries_are_bounded_and_dont_block(#{lan := Lan} = Setup) ->
    Router = start(Setup),
    [ask(Lan, "n" ++ integer_to_list(N) ++ ".org", N) || N <- lists:seq(1, 20)],
    ask(Lan, "n1.org", 1),
    ?assertMatch(#{resolving := 16}, evum_router:info(Router)),
    ?assertEqual([{N, 2, []} || N <- lists:seq(17, 20)], [answered() || _ <- lists:seq(1, 4)]),
    plug(Lan, machine(3, <<"other">>, {10, 77, 0, 7}, 5)),
    input(Lan, 3, [udp(5, {10, 77, 0, 7}, 53, query("n1.org", 1))]),
    ?assertMatch(#{resolving := 17}, evum_router:info(Router)),
    input(Lan, [gateway_frames:frame(ping)]),
    ?assertMatch([_], replies()),
    Late = [begin [F] = replies(7000), F end || _ <- lists:seq(1, 17)],
    ?assertEqual(17, length(Late)),
    ?assertMatch(#{resolving := 0}, evum_router:info(Router)).

the_mtu_can_change(#{lan := Lan} = Setup) ->
    Router = start(Setup),
    ok = evum_router:set_mtu(Router, 576),
    <<_:14/binary, Packet/binary>> = gateway_frames:frame(ping),
    Giant = evum_packet:ethernet(?MAC, ?GUEST, ipv4, <<Packet/binary, 0:(500 * 8)>>),
    input(Lan, [Giant]),
    ?assertMatch(#{malformed := 1}, evum_router:info(Router)).

it_ends_with_its_switch(#{options := Options}) ->
    Self = self(),
    Switch = spawn(fun() ->
        Lan = #lan{switch = self(), name = test, ports = ets:new(ports, [public, {keypos, 2}]), fdb = ets:new(fdb, [public]), flows = evum_flow:new()},
        {ok, Router, _} = evum_router:start_link(Lan, Options),
        Self ! {router, Router, Lan},
        receive stop -> exit(crashed) end
    end),
    {Router, Lan} = receive {router, R, L} -> {R, L} end,
    Monitor = monitor(process, Router),
    Switch ! stop,
    receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(crashed, Reason) end,
    ?assertEqual(ok, evum_lan:input(Lan, 0, 1, <<14:16, 0:112>>)).
