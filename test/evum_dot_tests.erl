%% SPDX-License-Identifier: Apache-2.0
%% Pictures of networks, read back by a parser of what Graphviz's language is used of
-module(evum_dot_tests).
-include_lib("eunit/include/eunit.hrl").

pids() -> [list_to_pid("<0." ++ integer_to_list(N) ++ ".0>") || N <- [1, 2, 3]].

info() ->
    #{name => net1, subnet => "10.77.0.0/24", gateway => {10, 77, 0, 1}, mtu => 32000, uplink => none, rules => []}.

gateway() -> #{kind => gateway, label => gateway, no => 0, nic => 0, vm => self(), ip => {10, 77, 0, 1}}.

machine(Vm, Label, N) -> #{kind => machine, label => Label, no => N, nic => 0, vm => Vm, ip => {10, 77, 0, N}}.

network(Changes) ->
    [A, B, C] = pids(),
    {maps:merge(info(), Changes), [gateway(), machine(A, a, 2), machine(B, b, 3), machine(C, 'c"d', 4)]}.

graph(Changes) -> parse(evum_dot:graph([network(Changes)], maps:from_list([{Vm, up} || Vm <- pids()]))).

label(Id, Graph) -> maps:get(label, maps:get(Id, all_nodes(Graph))).

all_nodes({Nodes, _}) -> maps:from_list(Nodes).

edge(From, To, {_, Edges}) -> [Attributes || {F, T, Attributes} <- Edges, {F, T} =:= {From, To}].

machines_switch_and_gateway_are_there_test() ->
    Graph = graph(#{}),
    ?assertEqual("net1\n10.77.0.0/24\nMTU 32000", label("net1", Graph)),
    ?assertEqual("gateway\n10.77.0.1", label("net1gw", Graph)),
    ?assertEqual(["a\n10.77.0.2\nup", "b\n10.77.0.3\nup", "c\"d\n10.77.0.4\nup"], [label(Id, Graph) || Id <- ["vm1", "vm2", "vm3"]]),
    ?assertEqual([[#{}], [#{}], [#{}]], [edge("net1", Id, Graph) || Id <- ["vm1", "vm2", "vm3"]]),
    ?assertEqual(5, map_size(all_nodes(Graph))).

the_way_out_and_in_test() ->
    [A | _] = pids(),
    Way = #{uplink => {down, oops}, forwards => [
        #{proto => tcp, host => {127, 0, 0, 1}, port => 8080, vm => A, guest_port => 80, state => open},
        #{proto => udp, host => {127, 0, 0, 1}, port => 53, vm => b, guest_port => 53, state => waiting},
        #{proto => udp, host => {127, 0, 0, 1}, port => 54, vm => nobody, guest_port => 53, state => waiting}]},
    Graph = graph(#{uplink => {slirp, #{}}, way => Way}),
    ?assertEqual("slirp\ndown", label("net1up", Graph)),
    ?assertMatch([#{label := "tcp 127.0.0.1:8080 to 80"}], edge("net1host", "vm1", Graph)),
    ?assertMatch([#{label := "udp 127.0.0.1:53 to 53"}], edge("net1host", "vm2", Graph)),
    ?assertEqual("packet eth0", label("net1up", graph(#{uplink => {packet, "eth0"}}))).

rules_stand_at_their_edges_test() ->
    [A, B, C] = pids(),
    Rule = fun(Kind, On, More) -> maps:merge(#{kind => Kind, on => On, ref => make_ref()}, More) end,
    Graph = graph(#{rules => [
        Rule(fault, {one, A}, #{spec => #{loss => 0.3, delay => 50, direction => to, seed => 7}}),
        Rule(fault, {pair, A, B}, #{spec => #{corrupt => 1, direction => both, seed => 7}}),
        Rule(partition, {groups, [[B], [C]]}, #{}),
        Rule(capture, all, #{file => "/tmp/a \"b\\n\n.pcapng"}),
        Rule(filter, {one, C}, #{}), Rule(fault, {one, gateway}, #{spec => #{rate => 1000, direction => from, seed => 7}})
    ]}),
    ?assertMatch([#{label := "fault: loss 0.3, delay 50 ms, to", color := "red"}], edge("net1", "vm1", Graph)),
    ?assertMatch([#{label := "fault: corrupt 1", constraint := "false"}], edge("vm1", "vm2", Graph)),
    ?assertMatch([#{label := "partition, side 1", color := "red"}], edge("net1", "vm2", Graph)),
    ?assertMatch([#{label := "filter\npartition, side 2"}], edge("net1", "vm3", Graph)),
    ?assertMatch([#{label := "fault: rate 1000 bit/s, from"}], edge("net1gw", "net1", Graph)),
    ?assertEqual("net1\n10.77.0.0/24\nMTU 32000\ncapture: /tmp/a \"b\\n?.pcapng", label("net1", Graph)).

a_machine_of_two_networks_is_one_test() ->
    [A | _] = pids(),
    Other = {(info())#{name => net2, subnet => "10.77.1.0/24"},
             [(machine(A, a, 9))#{nic => 1, ip => {10, 77, 1, 9}}, #{kind => foreign, label => <<"ctl1">>, no => 3, nic => 0, vm => self()}]},
    Graph = parse(evum_dot:graph([network(#{}), Other], #{A => paused})),
    ?assertEqual("a\n10.77.0.2\n10.77.1.9\npaused", label("vm1", Graph)),
    ?assertMatch([#{label := "eth1"}], edge("net2", "vm1", Graph)),
    ?assertMatch([#{style := "dashed"}], edge("net2", "net2port3", Graph)),
    ?assertEqual("ctl1", label("net2port3", Graph)),
    ?assertEqual("b\n10.77.0.3", label("vm2", Graph)).

names_that_are_no_text_are_shown_test() ->
    {Info, [Gateway | _]} = network(#{}),
    [A | _] = pids(),
    Graph = parse(evum_dot:graph([{Info, [Gateway, machine(A, <<"x", 255, "\\\"]">>, 2), machine(self(), 'ü€', 3)]}], #{})),
    ?assertEqual(["<<\"x\xff\\\\\\\"]\">>\n10.77.0.2", [$ü, $€ | "\n10.77.0.3"]], lists:sort([label(Id, Graph) || Id <- ["vm1", "vm2"]])).

nothing_is_a_graph_too_test() -> ?assertEqual({[], []}, parse(evum_dot:graph([], #{}))).

%% Where it is installed, the real one has the last word.
graphviz_reads_it_test_() ->
    case os:find_executable("dot") of
        false -> [];
        Dot -> {timeout, 30, fun() ->
            [A, B | _] = pids(),
            Rules = [#{kind => capture, on => all, file => "a\"\\\n<b>"}, #{kind => fault, on => {pair, A, B}, spec => #{loss => 1.0e-3, direction => to}}],
            File = filename:join("/tmp", "evum-dot-" ++ os:getpid()),
            ok = file:write_file(File, evum_dot:graph([network(#{rules => Rules, uplink => slirp})], #{})),
            Port = open_port({spawn_executable, Dot}, [{args, ["-Tsvg", File]}, exit_status, stderr_to_stdout, binary]),
            Svg = collect(Port, <<>>),
            ok = file:delete(File),
            ?assertMatch({_, _}, binary:match(Svg, <<"</svg>">>)),
            ?assertEqual(nomatch, binary:match(Svg, [<<"Warning">>, <<"Error">>]))
        end}
    end.

collect(Port, Text) ->
    receive
        {Port, {data, More}} -> collect(Port, <<Text/binary, More/binary>>);
        {Port, {exit_status, 0}} -> Text
    end.

%% --- a parser: graph NAME { (ID [-- ID] [attributes];)* } ----------------------

parse(Text) ->
    [id, {id, "evum"}, '{' | Rest] = tokens(unicode:characters_to_list(Text), []),
    statements(Rest, [], []).

statements(['}'], Nodes, Edges) -> {lists:reverse(Nodes), lists:reverse(Edges)};
statements([{id, From}, '--', {id, To} | Rest], Nodes, Edges) ->
    {Attributes, More} = attributes(Rest),
    statements(More, Nodes, [{From, To, Attributes} | Edges]);
statements([{id, Id} | Rest], Nodes, Edges) ->
    {Attributes, More} = attributes(Rest),
    case lists:member(Id, ["node", "edge"]) orelse lists:keymember(Id, 1, Nodes) of
        true -> statements(More, Nodes, Edges);
        false -> statements(More, [{Id, Attributes} | Nodes], Edges)
    end;
statements([id | Rest], Nodes, Edges) ->
    {_, More} = attributes(Rest),
    statements(More, Nodes, Edges).

attributes([';' | Rest]) -> {#{}, Rest};
attributes(['[' | Rest]) -> attributes(Rest, #{}).

attributes([{id, Key}, '=', {_, Value}, ',' | Rest], Map) -> attributes(Rest, Map#{list_to_atom(Key) => Value});
attributes([{id, Key}, '=', {_, Value}, ']', ';' | Rest], Map) -> {Map#{list_to_atom(Key) => Value}, Rest}.

tokens([], Tokens) -> lists:reverse(Tokens);
tokens([C | Rest], Tokens) when C =:= $\s; C =:= $\n -> tokens(Rest, Tokens);
tokens("--" ++ Rest, Tokens) -> tokens(Rest, ['--' | Tokens]);
tokens([C | Rest], Tokens) when C =:= ${; C =:= $}; C =:= $[; C =:= $]; C =:= $=; C =:= $,; C =:= $; ->
    tokens(Rest, [list_to_atom([C]) | Tokens]);
tokens([$" | Rest], Tokens) ->
    {String, More} = string(Rest, []),
    tokens(More, [{string, String} | Tokens]);
tokens(Text, Tokens) ->
    {Word, Rest} = lists:splitwith(fun(C) -> C >= $a andalso C =< $z orelse C >= $A andalso C =< $Z orelse C >= $0 andalso C =< $9 end, Text),
    ?assertNotEqual([], Word),
    tokens(Rest, [case Word of "graph" -> id; _ -> {id, Word} end | Tokens]).

string([$" | Rest], String) -> {lists:reverse(String), Rest};
string([$\\, $n | Rest], String) -> string(Rest, [$\n | String]);
string([$\\, C | Rest], String) when C =:= $"; C =:= $\\ -> string(Rest, [C | String]);
string([C | Rest], String) when C >= 32, C =/= $\\ -> string(Rest, [C | String]).
