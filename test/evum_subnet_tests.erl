%% SPDX-License-Identifier: Apache-2.0
%% Claims about subnets, addresses and a network's options
-module(evum_subnet_tests).
-include_lib("eunit/include/eunit.hrl").

subnet(Text) ->
    {ok, Subnet} = evum_subnet:parse(Text),
    Subnet.

a_subnet_is_read_test() ->
    Subnet = subnet("10.77.0.0/24"),
    ?assertEqual({{10,77,0,1}, 24, {10,77,0,255}, {10,77,0,0}, "10.77.0.0/24"},
                 {evum_subnet:gateway(Subnet), evum_subnet:prefix(Subnet), evum_subnet:broadcast(Subnet),
                  evum_subnet:network(Subnet), evum_subnet:text(Subnet)}),
    ?assertEqual(<<"10.77.0.2/24">>, evum_subnet:address({10,77,0,2}, Subnet)).

what_is_no_subnet_is_refused_test_() ->
    [?_assertEqual(error, evum_subnet:parse(T)) || T <-
        ["10.77.0.0", "10.77.0.1/24", "10.77.0.0/31", "10.0.0.0/7", "10.77.0/24", "10.77.0.256/24", "/24", "", foo, {10,77,0,0}, "10.77.0.0/24/3"]].

machines_count_from_the_first_address_test() ->
    Subnet = subnet(<<"10.77.0.0/30">>),
    ?assertEqual({ok, {10,77,0,2}}, evum_subnet:free([], Subnet)),
    ?assertEqual(full, evum_subnet:free([{10,77,0,2}], Subnet)),
    {ok, Moved} = evum_subnet:with_gateway("10.77.0.2", Subnet),
    ?assertEqual({ok, {10,77,0,1}}, evum_subnet:free([], Moved)),
    ?assertEqual(error, evum_subnet:with_gateway({10,77,0,3}, Subnet)).

a_hole_is_filled_test() ->
    ?assertEqual({ok, {10,77,0,3}}, evum_subnet:free([{10,77,0,2}, {10,77,0,4}, {1,2,3,4}], subnet("10.77.0.0/24"))).

the_seed_s_format_counts_from_its_base_test() ->
    {ok, Subnet} = evum_subnet:from_base(#{base_ip => "192.168.213.", first_ip => 92, netmask => "255.255.255.0", gw => "192.168.213.1"}),
    ?assertEqual({ok, {192,168,213,93}}, evum_subnet:free([{192,168,213,92}], Subnet)),
    {ok, Wide} = evum_subnet:from_base(#{base_ip => "10.1.2.", first_ip => 300, netmask => "255.255.0.0", gw => {10,1,0,254}}),
    ?assertEqual({"10.1.0.0/16", {ok, {10,1,3,44}}}, {evum_subnet:text(Wide), evum_subnet:free([], Wide)}).

a_default_subnet_overlaps_no_other_test() ->
    Default = fun(N, InUse) -> evum_subnet:text(evum_subnet:default(N, [subnet(T) || T <- InUse])) end,
    ?assertEqual("10.77.0.0/24", Default(1, [])),
    ?assertEqual("10.77.1.0/24", Default(2, [])),
    ?assertEqual("10.77.4.0/24", Default(1, ["10.77.0.0/22"])),
    ?assertEqual("10.77.0.0/24", Default(1, ["10.0.0.0/8"])).

an_address_is_text_or_a_tuple_test_() ->
    [?_assertEqual({ok, {10,0,0,1}}, evum_subnet:ip(Ip)) || Ip <- ["10.0.0.1", <<"10.0.0.1">>, {10,0,0,1}]] ++
    [?_assertEqual(error, evum_subnet:ip(Ip)) || Ip <- ["10.1", "10.0.0.256", "", <<>>, {10,0,0,256}, {10,0,0}, {a,0,0,1}, foo, "fe80::1", [a], <<255>>]].

a_netmask_is_ones_then_zeros_test_() ->
    [?_assertEqual(Prefix, evum_subnet:netmask_prefix(Mask)) || {Mask, Prefix} <-
        [{"255.255.255.0", {ok, 24}}, {"255.255.255.255", {ok, 32}}, {"0.0.0.0", {ok, 0}}, {{255,255,240,0}, {ok, 20}}, {"255.0.255.0", error}, {"1.1.1.1", error}]].

a_network_s_options_are_checked_key_by_key_test_() ->
    [?_assertEqual({error, {bad_option, Key}}, evum_net_opts:check([{Key, Value}])) || {Key, Values} <- [
        {name, ["home", true, undefined]}, {subnet, ["10.77.0.0", 5]}, {gateway, ["10.77.0.1", foo]}, {mtu, [575, 65151, "1500"]},
        {uplink, [modem, {slirp, []}, {packet, ""}, {tap, "a name that is too long"}, {packet, eth0, 1}]},
        {forward, [{tcp, 80}, [{{sctp, 1}, {a, 80}}], [{{tcp, 70000}, {a, 80}}], [{{tcp, 80}, {a, 0}}], [{{tcp, 80}, {"a", 80}}], [a | b]]},
        {domain, ["", "a..b", "a b", "-a"]}, {nameserver, ["dns"]}, {ping, ["x", ["x"], {1,2,3}]}, {colour, [blue]}
    ], Value <- Values].

a_network_s_options_are_a_list_or_a_map_test() ->
    Expected = #{uplink => {slirp, #{}}, forward => [{{tcp, {127,0,0,1}, 8080}, {a, 80}}, {{udp, {0,0,0,0}, 0}, {self(), 53}}],
                 domain => <<"evum">>, ping => [{10,0,0,7}], name => lab},
    Opts = [{uplink, slirp}, {forward, [{{tcp, 8080}, {a, 80}}, {{udp, "0.0.0.0", 0}, {self(), 53}}]}, {ping, "10.0.0.7"}, {name, lab}],
    ?assertEqual({ok, Expected}, evum_net_opts:check(Opts)),
    ?assertEqual({ok, Expected}, evum_net_opts:check(maps:from_list(Opts))),
    ?assertEqual({ok, Expected}, evum_net_opts:check(Expected)).

an_mtu_is_what_was_asked_for_or_what_the_way_out_takes_test_() ->
    [?_assertEqual(Mtu, evum_net_opts:mtu(element(2, evum_net_opts:check(Opts)))) || {Opts, Mtu} <-
        [{[], 32000}, {[{uplink, slirp}], 32000}, {[{uplink, {tap, "t0"}}], 1500}, {[{uplink, {packet, "e0"}}, {mtu, 9000}], 9000}]].
