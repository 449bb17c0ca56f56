%% SPDX-License-Identifier: Apache-2.0
%% The rules of a switch: who asked for them, what they are on, and the links that apply them
%%
%% Theory of operation.  All of this runs in the switch's process. What each port's
%% link has to do follows from the rules and the ports (evum_plan); whenever either
%% changes, links whose plan changed are told, and started or finished where a port
%% gets its first rule or loses its last. So a port without rules has no process,
%% and its frames take no way round.
%%
%% A rule ends when it is healed, when the process whose life it shares ends, when a
%% machine that it names ends (a partition: when fewer than two groups are left), or
%% when what applies it fails. It holds for a machine whatever NICs of it are plugged.
%%
%% Links, filters and captures are children of the switch. A link that fails takes the
%% rules with it that it applied: the network goes on without them.
-module(evum_rules).

-export([new/1, stop/1, request/2, info/2, plugged/1, unplugged/2, list/1]).
-export_type([rules/0, ref/0, direction/0, who/0, on/0]).

-include("evum_lan.hrl").
-include("evum_rules.hrl").

-define(END_MS, 2000).

-type ref() :: {Switch :: pid(), reference()}.
%% seen from the machine
-type direction() :: from | to.
%% a machine, or the label of another port
-type who() :: pid() | atom() | binary().
-type on() :: all | {one, who()} | {pair, who(), who()} | {groups, [[who()]]}.

-record(rules, {
    lan :: evum_lan:lan(),
    %% in the order in which they were asked for
    rules = [] :: [#rule{}],
    links = #{} :: #{evum_lan:port_no() => {pid(), evum_link:plan()}},
    %% children that are about to end
    ending = [] :: [pid()]
}).
-opaque rules() :: #rules{}.

%% @doc The rules of a new switch.
-spec new(evum_lan:lan()) -> rules().
new(Lan) -> #rules{lan = Lan}.

%% @doc Ends all rules and their processes; captures are complete then.
-spec stop(rules()) -> ok.
stop(#rules{rules = Rules} = State) ->
    #rules{ending = Ending} = remove(Rules, State),
    lists:foreach(fun await_end/1, Ending).

await_end(Pid) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after ?END_MS -> exit(Pid, kill)
    end.

%% --- what is asked for -------------------------------------------------------------

%% @doc A new rule; the frames that a filter holds under a tag; an end of rules, after
%% which the processes that are returned complete their files.
-spec request(evum_rule:request() | {release, ref(), Tag :: term()} | {heal, ref() | all}, rules()) ->
    {{ok, ref()} | ok | {ok, [pid()]} | {error, term()}, rules()}.
request({release, Ref, Tag}, #rules{rules = Rules, links = Links} = State) ->
    case lists:keyfind(Ref, #rule.ref, Rules) of
        #rule{kind = filter} ->
            _ = [evum_link:release(Link, Ref, Tag) || {Link, _Plan} <- maps:values(Links)],
            {ok, State};
        _ ->
            {{error, {no_rule, Ref}}, State}
    end;
request({heal, all}, #rules{rules = Rules} = State) -> healed(Rules, State);
request({heal, Ref}, #rules{rules = Rules} = State) -> healed([R || #rule{ref = Ref1} = R <- Rules, Ref1 =:= Ref], State);
request(#{on := On} = Request, #rules{} = State) ->
    case resolve(On, ports(State)) of
        {ok, Resolved} -> start(Request#{on := Resolved}, State);
        {error, _} = Error -> {Error, State}
    end.

healed(Rules, State) -> {{ok, [Pid || #rule{kind = capture, helper = Pid} <- Rules]}, remove(Rules, State)}.

start(#{kind := Kind, on := On, spec := Spec, asker := Asker, life := Life}, State) ->
    Ref = {self(), make_ref()},
    case helper(Ref, Spec) of
        {ok, Pid, Inbox} ->
            Rule = #rule{
                ref = Ref, kind = Kind, on = On, spec = Spec, asker = Asker, monitors = monitors(On, Life),
                counters = counters:new(?RULE_COUNTERS, []), helper = Pid, inbox = Inbox
            },
            {{ok, Ref}, sync(State#rules{rules = State#rules.rules ++ [Rule]})};
        {error, Pid, Reason} ->
            {{error, Reason}, State#rules{ending = [Pid | State#rules.ending]}}
    end.

helper(Ref, {filter, Fun, FunState}) -> {ok, evum_filter:start_link(Ref, Fun, FunState), undefined};
helper(_Ref, {capture, File, Opts}) ->
    {ok, Pid} = evum_capture:start_link(),
    case evum_capture:open(Pid, File, Opts) of
        {ok, Inbox} -> {ok, Pid, Inbox};
        {error, Reason} -> {error, Pid, Reason}
    end;
helper(_Ref, _Spec) -> {ok, undefined, undefined}.

monitors(On, Life) ->
    maps:from_list([{monitor(process, Life), life} || is_pid(Life)] ++ [{monitor(process, Vm), {vm, Vm}} || Vm <- named(On), is_pid(Vm)]).

named(all) -> [];
named({one, Who}) -> [Who];
named({pair, A, B}) -> [A, B];
named({groups, Groups}) -> lists:append(Groups).

%% --- whose ports -------------------------------------------------------------------

ports(#rules{lan = #lan{ports = Ports}}) -> ets:tab2list(Ports).

resolve(all, _Ports) -> {ok, all};
resolve({pair, A, B}, Ports) ->
    case resolve_all([A, B], Ports) of
        {ok, [Who, Who]} -> {error, {bad_option, pair}};
        {ok, [WhoA, WhoB]} -> {ok, {pair, WhoA, WhoB}};
        {error, _} = Error -> Error
    end;
resolve({groups, Groups}, Ports) ->
    case resolve_groups(Groups, Ports) of
        {ok, Whos} ->
            All = lists:append(Whos),
            case length(lists:usort(All)) =:= length(All) of
                true -> {ok, {groups, Whos}};
                false -> {error, {bad_option, groups}}
            end;
        {error, _} = Error ->
            Error
    end;
resolve(Vm, Ports) ->
    case resolve_all([Vm], Ports) of
        {ok, [Who]} -> {ok, {one, Who}};
        {error, _} = Error -> Error
    end.

resolve_groups(Groups, Ports) ->
    Resolved = [resolve_all(Group, Ports) || Group <- Groups],
    case lists:keyfind(error, 1, Resolved) of
        false -> {ok, [Whos || {ok, Whos} <- Resolved]};
        Error -> Error
    end.

resolve_all(Vms, Ports) ->
    Found = [{Vm, [evum_plan:who(Port) || Port <- Ports, is_vm(Vm, Port)]} || Vm <- Vms],
    case lists:keyfind([], 2, Found) of
        {Vm, []} -> {error, {not_plugged, Vm}};
        false -> {ok, [Who || {_Vm, [Who | _]} <- Found]}
    end.

is_vm(Vm, #port{kind = machine, owner = Vm}) when is_pid(Vm) -> true;
is_vm(Vm, #port{label = Label}) -> Vm =:= Label.

%% --- what happens ------------------------------------------------------------------

%% @doc A message to the switch that may be about rules.
-spec info(Message :: term(), rules()) -> {ok, rules()} | ignore.
info({'DOWN', Monitor, process, _Pid, Reason}, #rules{rules = Rules} = State) ->
    case [Rule || #rule{monitors = Monitors} = Rule <- Rules, is_map_key(Monitor, Monitors)] of
        [#rule{monitors = Monitors} = Rule] -> {ok, down(maps:get(Monitor, Monitors), Reason, Rule, State)};
        [] -> ignore
    end;
info({'EXIT', Pid, Reason}, #rules{ending = Ending} = State) ->
    case lists:member(Pid, Ending) of
        true -> {ok, State#rules{ending = lists:delete(Pid, Ending)}};
        false -> exited(Pid, Reason, State)
    end;
info({timeout, _Timer, {evum_filter, Ref}}, #rules{rules = Rules} = State) ->
    case lists:keyfind(Ref, #rule.ref, Rules) of
        #rule{} = Rule -> {ok, ended([Rule], {timeout, filter}, State)};
        %% it has ended meanwhile
        false -> {ok, State}
    end;
info(_Message, _State) -> ignore.

down(life, Reason, Rule, State) -> ended([Rule], {shutdown, {life, Reason}}, State);
down({vm, Vm}, Reason, Rule, State) -> left(Vm, {vm_down, Reason}, Rule, State).

%% One that a rule names is gone for good.
left(Who, Reason, #rule{on = {groups, Groups}} = Rule, #rules{rules = Rules} = State) ->
    case [Group1 || Group <- Groups, Group1 <- [lists:delete(Who, Group)], Group1 =/= []] of
        [_, _ | _] = Left ->
            Rule1 = Rule#rule{on = {groups, Left}},
            sync(State#rules{rules = lists:keyreplace(Rule#rule.ref, #rule.ref, Rules, Rule1)});
        _ ->
            ended([Rule], Reason, State)
    end;
left(_Who, Reason, Rule, State) -> ended([Rule], Reason, State).

exited(Pid, Reason, #rules{rules = Rules, links = Links} = State) ->
    case lists:keyfind(Pid, #rule.helper, Rules) of
        #rule{} = Rule ->
            {ok, ended([Rule#rule{helper = undefined}], reason(Reason), State)};
        false ->
            case [{No, Plan} || {No, {Link, Plan}} <- maps:to_list(Links), Link =:= Pid] of
                [{No, Plan}] -> {ok, link_died(No, Plan, Reason, State)};
                [] -> ignore
            end
    end.

reason({shutdown, Reason}) -> Reason;
reason(Reason) -> Reason.

link_died(No, Plan, Reason, #rules{rules = Rules, links = Links} = State) ->
    set_via(No, none, State),
    Refs = [Ref || {Taps, Stages} <- maps:values(Plan), Ref <- [R || #tap{ref = R} <- Taps] ++ [R || #stage{ref = R} <- Stages]],
    Applied = [Rule || #rule{ref = Ref} = Rule <- Rules, lists:member(Ref, Refs)],
    ended(Applied, {link_died, Reason}, State#rules{links = maps:remove(No, Links)}).

%% Rules end by themselves.
ended(Gone, Reason, State) ->
    State1 = remove(Gone, State),
    _ = [erlang:send(evum_asker:pid(Asker), {evum, self(), {rule_ended, Ref, Reason}}, [nosuspend, noconnect])
         || #rule{ref = Ref, asker = Asker} <- Gone],
    State1.

%% First nothing is sent to its process any more, then that ends.
remove(Gone, #rules{rules = Rules} = State) ->
    Refs = [Ref || #rule{ref = Ref} <- Gone],
    State1 = sync(State#rules{rules = [Rule || #rule{ref = Ref} = Rule <- Rules, not lists:member(Ref, Refs)]}),
    lists:foldl(fun end_rule/2, State1, Gone).

end_rule(#rule{monitors = Monitors, helper = Helper, kind = Kind}, #rules{ending = Ending} = State) ->
    _ = [demonitor(Monitor, [flush]) || Monitor <- maps:keys(Monitors)],
    case Helper of
        undefined -> State;
        _ ->
            end_helper(Kind, Helper),
            State#rules{ending = [Helper | Ending]}
    end.

end_helper(filter, Pid) -> exit(Pid, kill);
end_helper(capture, Pid) -> evum_capture:stop(Pid).

%% --- links -------------------------------------------------------------------------

%% @doc A port was put into the table.
-spec plugged(rules()) -> rules().
plugged(State) -> sync(State).

%% @doc A port is about to be taken out of the table.
-spec unplugged(evum_lan:port_no(), rules()) -> rules().
unplugged(No, #rules{rules = Rules} = State) ->
    {[Port], Others} = lists:partition(fun(#port{no = N}) -> N =:= No end, ports(State)),
    State1 = sync_port(Port, evum_plan:none(), State),
    State2 = sync(Others, State1),
    Who = evum_plan:who(Port),
    %% a machine may be plugged again; who isn't one is gone
    Named = [Rule || not is_pid(Who), #rule{on = On} = Rule <- Rules, lists:member(Who, named(On))],
    lists:foldl(fun(Rule, Acc) -> left(Who, {not_plugged, Who}, Rule, Acc) end, State2, Named).

sync(State) -> sync(ports(State), State).

sync(Ports, #rules{rules = Rules} = State) ->
    lists:foldl(fun(Port, Acc) -> sync_port(Port, evum_plan:plan(Port, Ports, Rules), Acc) end, State, Ports).

sync_port(#port{no = No}, Plan, #rules{links = Links} = State) ->
    case {Links, evum_plan:is_none(Plan)} of
        {#{No := {_, Plan}}, _} -> State;
        {#{No := {Link, _}}, true} -> detach(No, Link, State);
        {#{No := {Link, _}}, false} ->
            _ = set(Link, Plan),
            State#rules{links = Links#{No := {Link, Plan}}};
        {#{}, true} -> State;
        {#{}, false} -> attach(No, Plan, State)
    end.

attach(No, Plan, #rules{lan = Lan, links = Links} = State) ->
    {ok, Link} = evum_link:start_link(Lan, No),
    set_via(No, set(Link, Plan), State),
    ok = evum_flow:revoke(Lan, No),
    State#rules{links = Links#{No => {Link, Plan}}}.

detach(No, Link, #rules{links = Links, ending = Ending} = State) ->
    %% what it delays leaves first, and what comes meanwhile behind it
    _ = set(Link, evum_plan:none()),
    set_via(No, none, State),
    ok = evum_link:finish(Link),
    State#rules{links = maps:remove(No, Links), ending = [Link | Ending]}.

%% A link that has just died is no reason to: its end is on the way.
set(Link, Plan) ->
    try
        evum_link:set(Link, Plan)
    catch
        exit:_ -> none
    end.

set_via(No, Via, #rules{lan = #lan{ports = Ports}}) -> ets:update_element(Ports, No, {#port.via, Via}).

%% --- telling -----------------------------------------------------------------------

%% @doc The rules, as they are shown: what they are on, what they do, and what they have
%% done: frames that they were applied to, those that they took away, and those that
%% were lost for lack of room.
-spec list(rules()) -> [#{ref := ref(), kind := evum_rule:kind(), on := on(), atom() => term()}].
list(#rules{rules = Rules}) ->
    [(shown(Rule))#{
        ref => Ref, kind => Kind, on => On, frames => counters:get(Counters, ?RULE_FRAMES),
        dropped => counters:get(Counters, ?RULE_DROPPED), full => counters:get(Counters, ?RULE_FULL)
    } || #rule{ref = Ref, kind = Kind, on = On, counters = Counters} = Rule <- Rules].

shown(#rule{spec = #{} = Spec}) -> #{spec => Spec};
shown(#rule{spec = {capture, File, _Opts}}) -> #{file => File};
shown(#rule{}) -> #{}.
