%% SPDX-License-Identifier: Apache-2.0
%% The process of a port that has rules
%%
%% Theory of operation.  While a port has rules, its row in the switch's table names
%% its link's inbox, and what comes from the port and what goes to it takes a way
%% round by the link: input to its rules and then into the switch, output to its
%% rules and then out for good. Other ports know nothing of it.
%%
%% Taps sit at the machine's end: they see what it sent before any rule, and what it
%% gets after all. With taps alone a batch passes as it is.
%%
%% The link is a child of the switch, which starts it, gives it its rules, and
%% makes it finish when it has none; frames that were sent to it meanwhile still
%% pass. Its inbox is bounded, and so is what its rules keep (evum_chain).
-module(evum_link).
-behaviour(gen_server).

-export([start_link/2, set/2, release/3, finish/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([plan/0]).

-include("evum_rules.hrl").

%% frames that wait for the link, bytes
-define(INBOX, 8388608).
%% a sender may still hold the row that named the inbox
-define(LINGER_MS, 100).
%% messages that a subscriber hasn't received
-define(SUBSCRIBER_QUEUE, 1000).

-type plan() :: #{input := {[#tap{}], [#stage{}]}, output := {[#tap{}], [#stage{}]}}.
-type way() :: input | output.

-record(link, {
    lan :: evum_lan:lan(),
    no :: evum_lan:port_no(),
    switch :: pid(),
    inbox :: evum_inbox:inbox(),
    taps = #{input => [], output => []} :: #{way() => [#tap{}]},
    chains = #{input => evum_chain:new(), output => evum_chain:new()} :: #{way() => evum_chain:chain()},
    %% for what is due next
    timer :: undefined | {At :: integer(), reference()}
}).

%% @doc Starts the link of a port, without rules, as a child of the caller.
-spec start_link(evum_lan:lan(), evum_lan:port_no()) -> {ok, pid()}.
start_link(Lan, No) ->
    Gc = [{fullsweep_after, 20}, {message_queue_data, off_heap}],
    gen_server:start_link(?MODULE, {Lan, No, self()}, [{spawn_opt, Gc}]).

%% @doc Sets a link's rules, and says where its frames are to be sent. What was sent
%% before has passed the rules that were; what ended rules keep has gone on.
-spec set(pid(), plan()) -> evum_inbox:inbox().
set(Link, Plan) -> gen_server:call(Link, {set, Plan}).

%% @doc The frames that a filter holds under a tag go on.
-spec release(pid(), evum_rules:ref(), Tag :: term()) -> ok.
release(Link, Ref, Tag) -> gen_server:cast(Link, {release, Ref, Tag}).

%% @doc Ends a link that has no rules any more and isn't named by its port's row.
-spec finish(pid()) -> ok.
finish(Link) -> gen_server:cast(Link, finish).

%% --- the process -------------------------------------------------------------------

%% @private
-spec init({evum_lan:lan(), evum_lan:port_no(), Switch :: pid()}) -> {ok, #link{}}.
init({Lan, No, Switch}) -> {ok, #link{lan = Lan, no = No, switch = Switch, inbox = evum_inbox:new(self(), ?INBOX)}}.

%% @private
-spec handle_call({set, plan()}, gen_server:from(), #link{}) -> {reply, evum_inbox:inbox(), #link{}}.
handle_call({set, Plan}, _From, #link{inbox = Inbox} = Link) ->
    {reply, Inbox, maps:fold(fun set_way/3, Link, Plan)}.

set_way(Way, {Taps, Stages}, #link{taps = Had} = Link) ->
    Kept = [keep_tap(Tap, maps:get(Way, Had)) || Tap <- Taps],
    chain(Way, fun(Now, Chain) -> evum_chain:set(Now, Stages, Chain) end, Link#link{taps = Had#{Way := Kept}}).

keep_tap(#tap{ref = Ref} = Tap, Had) ->
    case lists:keyfind(Ref, #tap.ref, Had) of
        #tap{} = Same -> Same;
        false -> Tap
    end.

%% @private
-spec handle_cast({release, evum_rules:ref(), term()} | finish, #link{}) -> {noreply, #link{}}.
handle_cast({release, Ref, Tag}, Link) ->
    Release = fun(Now, Chain) -> evum_chain:release(Now, Ref, Tag, Chain) end,
    {noreply, chain(output, Release, chain(input, Release, Link))};
handle_cast(finish, Link) ->
    _ = erlang:send_after(?LINGER_MS, self(), finished),
    {noreply, Link}.

%% @private
-spec handle_info(term(), #link{}) -> {noreply, #link{}} | {stop, normal, #link{}}.
handle_info({evum_lan, input, _No, Count, Body}, #link{inbox = Inbox, no = No, chains = #{input := Chain}} = Link) ->
    ok = evum_inbox:took(Inbox, byte_size(Body)),
    {noreply, enter(evum_chain:is_empty(Chain), input, No, Count, Body, show(input, Count, Body, Link))};
handle_info({evum_lan, output, From, Count, Body}, #link{inbox = Inbox, chains = #{output := Chain}} = Link) ->
    ok = evum_inbox:took(Inbox, byte_size(Body)),
    {noreply, enter(evum_chain:is_empty(Chain), output, From, Count, Body, Link)};
handle_info({evum_filter, Ref, Direction, Verdict}, Link) ->
    Decide = fun(Now, Chain) -> evum_chain:verdict(Now, Ref, Verdict, Chain) end,
    {noreply, chain(way(Direction), Decide, Link)};
handle_info({timeout, Timer, due}, #link{timer = {_, Timer}} = Link) ->
    Due = fun evum_chain:due/2,
    {noreply, chain(output, Due, chain(input, Due, Link#link{timer = undefined}))};
handle_info(finished, Link) -> {stop, normal, Link};
handle_info(_Other, Link) -> {noreply, Link}.

way(from) -> input;
way(to) -> output.

direction(input) -> from;
direction(output) -> to.

%% --- frames ------------------------------------------------------------------------

enter(true, Way, From, Count, Body, Link) -> leave_batch(Way, From, Count, Body, Link);
enter(false, Way, From, _Count, Body, Link) ->
    case evum_frame:frames(Body) of
        {error, truncated} -> Link;
        Frames ->
            Items = [{From, Frame} || Frame <- Frames],
            chain(Way, fun(Now, Chain) -> evum_chain:frames(Now, Items, Chain) end, Link)
    end.

%% Does something with a chain, does what it asks for, and sees when it is due next.
chain(Way, Fun, #link{chains = Chains} = Link) ->
    {Effects, Chain} = Fun(erlang:monotonic_time(microsecond), maps:get(Way, Chains)),
    schedule(lists:foldl(fun(Effect, Acc) -> perform(Way, Effect, Acc) end, Link#link{chains = Chains#{Way := Chain}}, Effects)).

perform(Way, {out, Items}, Link) -> leave(Way, Items, Link);
perform(Way, {ask, Filter, Ref, Frame}, Link) ->
    ok = evum_filter:ask(Filter, Ref, direction(Way), Frame),
    Link;
perform(_Way, {count, Counters, Counter, N}, Link) ->
    ok = counters:add(Counters, Counter, N),
    Link.

leave(_Way, [], Link) -> Link;
leave(Way, [{From, _} | _] = Items, Link) ->
    {Same, Rest} = lists:splitwith(fun({No, _}) -> No =:= From end, Items),
    Batches = evum_frame:batches([Frame || {_, Frame} <- Same]),
    leave(Way, Rest, lists:foldl(fun({Count, Body}, Acc) -> leave_batch(Way, From, Count, Body, Acc) end, Link, Batches)).

leave_batch(input, _From, Count, Body, #link{lan = Lan, no = No} = Link) ->
    ok = evum_lan:switch(Lan, No, Count, Body),
    Link;
leave_batch(output, From, Count, Body, #link{lan = Lan, no = No} = Link) ->
    ok = evum_lan:emit(Lan, No, From, Count, Body),
    show(output, Count, Body, Link).

%% The clock of timers is the same, in ms: up to one late, never early.
schedule(#link{chains = #{input := Input, output := Output}, timer = Timer} = Link) ->
    case {min(evum_chain:next(Input), evum_chain:next(Output)), Timer} of
        {infinity, undefined} -> Link;
        {At, {At, _}} -> Link;
        {At, _} -> Link#link{timer = arm(At, Timer)}
    end.

arm(At, {_, Timer}) ->
    _ = erlang:cancel_timer(Timer),
    arm(At, undefined);
arm(infinity, undefined) -> undefined;
arm(At, undefined) ->
    Ms = erlang:convert_time_unit(At, microsecond, millisecond) + 1,
    {At, erlang:start_timer(Ms, self(), due, [{abs, true}])}.

%% --- taps --------------------------------------------------------------------------

show(Way, Count, Body, #link{taps = Taps} = Link) ->
    case Taps of
        #{Way := []} -> Link;
        #{Way := Some} -> Link#link{taps = Taps#{Way := [tap(Tap, Count, Body, Link) || Tap <- Some]}}
    end.

tap(#tap{counters = Counters} = Tap, Count, Body, Link) ->
    ok = counters:add(Counters, ?RULE_FRAMES, Count),
    case show_tap(Tap, Count, Body, Link) of
        Count -> Tap#tap{missed = 0};
        Shown ->
            ok = counters:add(Counters, ?RULE_FULL, Count - Shown),
            Tap#tap{missed = Tap#tap.missed + Count - Shown}
    end.

%% How many of the frames were shown?
show_tap(#tap{to = {capture, Inbox, Interface}, direction = Direction, missed = Missed}, Count, Body, _Link) ->
    case evum_capture:frames(Inbox, Interface, seen(Direction), Body, Missed) of
        ok -> Count;
        full -> 0
    end;
show_tap(#tap{to = {subscriber, Asker, Who}, direction = Direction}, Count, Body, #link{switch = Switch}) ->
    Pid = evum_asker:pid(Asker),
    Shown = lists:sublist(frames(Body), min(Count, room(Pid))),
    %% copies: one frame is no reason to keep its batch
    length([ok || Frame <- Shown, send(Pid, {evum, Switch, {frame, Who, Direction, binary:copy(Frame)}}) =:= ok]).

%% The machine's interface: what it sends goes out of it.
seen(from) -> outbound;
seen(to) -> inbound.

frames(Body) ->
    case evum_frame:frames(Body) of
        {error, truncated} -> [];
        Frames -> Frames
    end.

room(Pid) when node(Pid) =:= node() ->
    case process_info(Pid, message_queue_len) of
        {_, Length} -> max(0, ?SUBSCRIBER_QUEUE - Length);
        undefined -> 0
    end;
%% the connection to its node is what bounds it
room(_Pid) -> ?SUBSCRIBER_QUEUE.

send(Pid, Message) -> erlang:send(Pid, Message, [nosuspend, noconnect]).
