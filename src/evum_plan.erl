%% SPDX-License-Identifier: Apache-2.0
%% Which rules apply at which port; pure
%%
%% What is seen from a machine sits on its own port: `from' on the input, `to' on the
%% output. What is between machines sits on the output of the receiver and looks at
%% where a frame came from, so that a broadcast is lost to one and reaches others.
%% What holds for all sits on every input: each frame meets it once, where it enters
%% the switch.
-module(evum_plan).

-export([plan/3, none/0, is_none/1, who/1]).

-include("evum_lan.hrl").
-include("evum_rules.hrl").

%% @doc What a port's link is to do; `Rules' in the order in which they were asked for.
-spec plan(#port{}, Ports :: [#port{}], [#rule{}]) -> evum_link:plan().
plan(Port, Ports, Rules) ->
    Parts = [{Way, part(Way, From, Rule, Port)} || Rule <- Rules, {Way, From} <- parts(Rule, Port, Ports), From =/= []],
    #{input => of_way(input, Parts), output => of_way(output, Parts)}.

of_way(Way, Parts) ->
    {[Tap || {W, #tap{} = Tap} <- Parts, W =:= Way], [Stage || {W, #stage{} = Stage} <- Parts, W =:= Way]}.

%% @doc Nothing to do.
-spec none() -> evum_link:plan().
none() -> #{input => {[], []}, output => {[], []}}.

%% @doc Is there nothing to do?
-spec is_none(evum_link:plan()) -> boolean().
is_none(Plan) -> Plan =:= none().

%% @doc Whose port it is: a machine's process, or the label of what is none.
-spec who(#port{}) -> evum_rules:who().
who(#port{kind = machine, owner = Vm}) -> Vm;
who(#port{label = Label}) -> Label.

parts(#rule{on = all}, _Port, _Ports) -> [{input, any}];
parts(#rule{on = {pair, A, B}, spec = #{direction := Direction}}, Port, Ports) ->
    Who = who(Port),
    [{output, nos([A], Ports)} || Who =:= B, Direction =/= to]
        ++ [{output, nos([B], Ports)} || Who =:= A, Direction =/= from];
parts(#rule{on = {groups, Groups}}, Port, Ports) ->
    Who = who(Port),
    case lists:partition(fun(Group) -> lists:member(Who, Group) end, Groups) of
        {[_], Others} -> [{output, nos(lists:append(Others), Ports)}];
        {[], _} -> []
    end;
parts(#rule{on = {one, Vm}, spec = Spec}, Port, _Ports) ->
    [{Way, any} || who(Port) =:= Vm, Way <- ways(Spec)].

ways(#{direction := from}) -> [input];
ways(#{direction := to}) -> [output];
ways(_Both) -> [input, output].

nos(Whos, Ports) -> lists:sort([No || #port{no = No} = Port <- Ports, lists:member(who(Port), Whos)]).

part(Way, _From, #rule{kind = capture, inbox = Inbox} = Rule, Port) -> tap(Way, {capture, Inbox, interface(Port)}, Rule);
part(Way, _From, #rule{kind = subscribe, asker = Asker} = Rule, Port) -> tap(Way, {subscriber, Asker, who(Port)}, Rule);
part(Way, From, #rule{ref = Ref, counters = Counters} = Rule, Port) ->
    #stage{ref = Ref, counters = Counters, from = From, what = what(Way, Rule, Port)}.

tap(Way, To, #rule{ref = Ref, counters = Counters}) ->
    #tap{ref = Ref, counters = Counters, direction = case Way of input -> from; output -> to end, to = To}.

what(_Way, #rule{kind = partition}, _Port) -> block;
what(_Way, #rule{kind = filter, helper = Filter}, _Port) -> {filter, Filter};
%% by what doesn't change from run to run
what(Way, #rule{kind = fault, spec = Spec}, #port{label = Label, nic = Nic}) -> {fault, Spec, {Way, Label, Nic}}.

interface(#port{label = Label, nic = 0}) -> name(Label);
interface(#port{label = Label, nic = Nic}) -> <<(name(Label))/binary, ":eth", (integer_to_binary(Nic))/binary>>.

name(Label) when is_atom(Label) -> atom_to_binary(Label);
name(Label) -> Label.
