%% SPDX-License-Identifier: Apache-2.0
%% A picture of networks, as Graphviz text; pure
%%
%% A machine is one node, with an edge for each NIC that is plugged; what is on the
%% edge's way (a fault, a filter, a capture, a side of a partition) is written at it.
%% Red is what breaks, dashed what isn't a machine of ours. For instance
%%
%%   dot -Tsvg net.dot > net.svg
-module(evum_dot).

-export([graph/2]).
-export_type([network/0, states/0]).

%% What evum_switch:info/1 and ports/1 say of a network.
-type network() :: {Info :: #{atom() => term()}, Ports :: [#{atom() => term()}]}.
%% How machines are; of those that aren't named nothing is written.
-type states() :: #{pid() => atom()}.

-type id() :: binary().
-type attributes() :: [{atom(), unicode:chardata()}].

%% @doc The text of a graph, UTF-8.
-spec graph([network()], states()) -> binary().
graph(Networks, States) ->
    Numbered = lists:zip(lists:seq(1, length(Networks)), Networks),
    Names = names(Networks),
    unicode:characters_to_binary([
        "graph evum {\n",
        "  graph [rankdir=LR, fontname=\"sans-serif\"];\n",
        "  node [fontname=\"sans-serif\", shape=box];\n",
        "  edge [fontname=\"sans-serif\", fontsize=10];\n",
        machines(Networks, Names, States),
        [network(id("net", N), Network, Names) || {N, Network} <- Numbered],
        "}\n"
    ]).

%% --- machines ------------------------------------------------------------------

%% Machines by their process: one of several NICs is one node.
names(Networks) ->
    Pids = lists:usort([Vm || {_, Ports} <- Networks, #{kind := machine, vm := Vm} <- Ports]),
    maps:from_list([{Vm, id("vm", N)} || {N, Vm} <- lists:zip(lists:seq(1, length(Pids)), Pids)]).

machines(Networks, Names, States) ->
    Of = fun(Vm) -> [Port || {_, Ports} <- Networks, #{kind := machine, vm := V} = Port <- Ports, V =:= Vm] end,
    [machine(Id, Of(Vm), maps:get(Vm, States, unknown)) || {Vm, Id} <- lists:keysort(2, maps:to_list(Names))].

machine(Id, [#{label := Label} | _] = Ports, State) ->
    Lines = [text(Label) | [ip(Ip) || #{ip := Ip} <- Ports]] ++ [text(State) || State =/= unknown],
    Style = case State of up -> "rounded"; unknown -> "rounded"; _ -> "rounded,filled" end,
    node(Id, [{label, lines(Lines)}, {style, Style}]).

%% --- a network -------------------------------------------------------------------

network(Net, {#{name := Name, subnet := Subnet, mtu := Mtu} = Info, Ports}, Names) ->
    Rules = maps:get(rules, Info, []),
    Lines = [text(Name), Subnet, ["MTU ", integer_to_list(Mtu)] | of_all(Rules)],
    [
        node(Net, [{label, lines(Lines)}, {shape, "box3d"} | broken([R || #{on := all} = R <- Rules])]),
        gateway(Net, Info, Ports, Rules),
        uplink(Net, Info, Rules),
        [port(Net, Port, Names, Rules) || #{kind := Kind} = Port <- Ports, Kind =:= machine orelse Kind =:= foreign],
        [pair(Net, Rule, Ports, Names) || #{on := {pair, _, _}} = Rule <- Rules],
        [forward(Net, Forward, Ports, Names) || Forward <- forwards(Info)]
    ].

gateway(Net, #{gateway := Ip}, Ports, Rules) ->
    case [P || #{kind := gateway} = P <- Ports] of
        [] -> [];
        [_ | _] ->
            Id = [Net, "gw"],
            [node(Id, [{label, lines(["gateway", ip(Ip)])}, {shape, "house"}, {style, "dashed"}]),
             edge(Id, Net, link(gateway, Rules))]
    end.

uplink(_Net, #{uplink := none}, _Rules) -> [];
uplink(Net, #{uplink := Uplink} = Info, Rules) ->
    Id = [Net, "up"],
    State = case Info of #{way := #{uplink := S}} -> [way(S)]; #{} -> [] end,
    [node(Id, [{label, lines([uplink(Uplink) | State])}, {shape, "ellipse"}, {style, "dashed"}]),
     edge(Id, Net, link(uplink, Rules))].

uplink({slirp, _}) -> "slirp";
uplink({Kind, If}) -> [text(Kind), " ", text(If)];
uplink(Kind) -> text(Kind).

way({down, _Reason}) -> "down";
way(State) -> text(State).

port(Net, #{kind := machine, vm := Vm, nic := Nic}, Names, Rules) ->
    Eth = [["eth", integer_to_list(Nic)] || Nic > 0],
    edge(Net, maps:get(Vm, Names), link(Vm, Rules, Eth));
port(Net, #{kind := foreign, label := Label} = Port, _Names, Rules) ->
    Id = foreign(Net, Port),
    [node(Id, [{label, lines([text(Label)])}, {style, "dashed"}]),
     edge(Net, Id, [{style, "dashed"} | link(Label, Rules)])].

foreign(Net, #{no := No}) -> [Net, id("port", No)].

%% A rule between two is an edge of its own, past the switch.
pair(Net, #{on := {pair, A, B}} = Rule, Ports, Names) ->
    case {end_of(Net, A, Ports, Names), end_of(Net, B, Ports, Names)} of
        {{ok, From}, {ok, To}} ->
            edge(From, To, [{label, lines([rule(Rule)])}, {style, "dotted"}, {constraint, "false"} | broken([Rule])]);
        _ -> []
    end.

end_of(_Net, Vm, _Ports, Names) when is_map_key(Vm, Names) -> {ok, maps:get(Vm, Names)};
end_of(Net, Label, Ports, _Names) ->
    case [P || #{label := L} = P <- Ports, L =:= Label] of
        [#{kind := foreign} = Port | _] -> {ok, foreign(Net, Port)};
        [#{kind := gateway} | _] -> {ok, [Net, "gw"]};
        _ -> none
    end.

forwards(#{way := #{forwards := Forwards}}) -> Forwards;
forwards(_) -> [].

forward(Net, #{proto := Proto, host := Host, port := HostPort, vm := Vm, guest_port := GuestPort}, Ports, Names) ->
    case [Id || #{kind := machine, vm := Pid, label := Label} <- Ports, Pid =:= Vm orelse Label =:= Vm, #{Pid := Id} <- [Names]] of
        [] -> [];
        [Machine | _] ->
            Text = io_lib:format("~ts ~ts:~b to ~b", [text(Proto), ip(Host), HostPort, GuestPort]),
            [node([Net, "host"], [{label, lines(["this host"])}, {shape, "component"}]),
             edge([Net, "host"], Machine, [{label, lines([Text])}, {style, "dotted"}])]
    end.

%% --- rules -------------------------------------------------------------------------

of_all(Rules) -> [rule(Rule) || #{on := all} = Rule <- Rules].

link(Who, Rules) -> link(Who, Rules, []).

%% What an edge says, and whether it is broken.
link(Who, Rules, Lines) ->
    There = [Rule || #{on := {one, W}} = Rule <- Rules, W =:= Who],
    Sides = [{N, Rule} || #{on := {groups, Groups}} = Rule <- Rules, {N, Group} <- numbered(Groups), lists:member(Who, Group)],
    Said = Lines ++ [rule(Rule) || Rule <- There] ++ [["partition, side ", integer_to_list(N)] || {N, _} <- Sides],
    [{label, lines(Said)} || Said =/= []] ++ broken(There ++ [Rule || {_, Rule} <- Sides]).

numbered(List) -> lists:zip(lists:seq(1, length(List)), List).

broken(Rules) -> [{color, "red"} || lists:any(fun(#{kind := Kind}) -> Kind =:= fault orelse Kind =:= partition end, Rules)].

rule(#{kind := fault, spec := Spec}) -> ["fault: ", lists:join(", ", faults(Spec))];
rule(#{kind := capture, file := File}) -> ["capture: ", text(File)];
rule(#{kind := Kind}) -> text(Kind).

faults(Spec) ->
    [[text(Key), " ", number(maps:get(Key, Spec)), Unit]
     || {Key, Unit} <- [{loss, ""}, {duplicate, ""}, {reorder, ""}, {corrupt, ""}, {delay, " ms"}, {jitter, " ms"}, {rate, " bit/s"}],
        is_map_key(Key, Spec)]
        ++ [text(Direction) || #{direction := Direction} <- [Spec], Direction =/= both].

number(N) when is_integer(N) -> integer_to_list(N);
number(F) -> io_lib:format("~p", [F]).

%% --- Graphviz's language -------------------------------------------------------------

-spec id(string(), non_neg_integer()) -> id().
id(Kind, N) -> iolist_to_binary([Kind, integer_to_list(N)]).

-spec node(iodata(), attributes()) -> unicode:chardata().
node(Id, Attributes) -> ["  ", Id, attributes(Attributes), ";\n"].

-spec edge(iodata(), iodata(), attributes()) -> unicode:chardata().
edge(From, To, Attributes) -> ["  ", From, " -- ", To, attributes(Attributes), ";\n"].

attributes([]) -> [];
attributes(Attributes) ->
    [" [", lists:join(", ", [[atom_to_list(Key), "=\"", Value, "\""] || {Key, Value} <- Attributes]), "]"].

%% The lines of a label, as it stands between quotes.
lines(Lines) -> lists:join("\\n", [escape(unicode:characters_to_list(Line)) || Line <- Lines]).

%% A backslash begins Graphviz's own words, and control characters are none of a label's.
escape(Text) -> [escape_char(Char) || Char <- Text].

escape_char($") -> "\\\"";
escape_char($\\) -> "\\\\";
escape_char(Char) when Char < 32; Char =:= 127 -> $?;
escape_char(Char) -> Char.

%% Names are atoms, strings or bytes, which may be no text.
text(Atom) when is_atom(Atom) -> atom_to_list(Atom);
text(Name) ->
    case unicode:characters_to_list(Name) of
        Text when is_list(Text) -> Text;
        _ -> io_lib:format("~tp", [Name])
    end.

ip(Ip) -> inet:ntoa(Ip).
