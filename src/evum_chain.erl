%% SPDX-License-Identifier: Apache-2.0
%% The rules that frames of one direction pass on a link, in their order; pure
%%
%% Theory of operation.  A frame goes from stage to stage. A stage lets it pass, takes
%% it away, or keeps it: a fault until its time has come, a filter until its process
%% has said what becomes of it or until it is released. What leaves a stage goes on
%% at the next. A stage whose rule has ended lets all that it keeps go on at once,
%% in the order in which it came: so nothing that is newer overtakes it.
%%
%% What a stage keeps is bounded in bytes. A frame that is kept is a copy where it
%% would otherwise hold a whole batch in memory.
%%
%% What is to be done comes back as effects, in their order.
-module(evum_chain).

-export([new/0, is_empty/1, set/3, frames/3, due/2, next/1, verdict/4, release/4]).
-export_type([chain/0, item/0, effect/0, verdict/0]).

-include("evum_rules.hrl").

%% of delayed frames, of those that a filter has to look at, and of those that it holds
-define(DELAYED_MAX, 33554432).
-define(ASKED_MAX, 4194304).
-define(HELD_MAX, 4194304).
%% what keeping a frame costs besides its bytes
-define(OVERHEAD, 128).

%% a frame, and the port that it came from
-type item() :: {From :: evum_lan:port_no(), binary()}.
-type verdict() :: forward | drop | {hold, Tag :: term()} | {replace, binary()} | {also, [binary()]}.
-type effect() ::
    {out, [item()]}
    %% a filter's process is to be asked for its verdict
    | {ask, pid(), evum_rules:ref(), binary()}
    | {count, counters:counters_ref(), Counter :: pos_integer(), pos_integer()}.

%% frames by the time at which they leave, and a number that keeps their order
-record(delaying, {
    fault :: evum_fault:state(),
    queue = gb_trees:empty() :: gb_trees:tree({At :: integer(), pos_integer()}, item()),
    number = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer()
}).
%% frames in the order in which they came
-record(asking, {
    pid :: pid(),
    asked = queue:new() :: queue:queue(item()),
    asked_bytes = 0 :: non_neg_integer(),
    held = queue:new() :: queue:queue({Tag :: term(), item()}),
    held_bytes = 0 :: non_neg_integer()
}).
-record(step, {stage :: #stage{}, state :: block | #delaying{} | #asking{}}).

-opaque chain() :: [#step{}].

%% @doc A chain without stages.
-spec new() -> chain().
new() -> [].

%% @doc Has it no stages?
-spec is_empty(chain()) -> boolean().
is_empty(Chain) -> Chain =:= [].

%% @doc Gives a chain its stages. Those that it had already go on as they are; what
%% others keep goes on; new ones come last.
-spec set(Now :: integer(), [#stage{}], chain()) -> {[effect()], chain()}.
set(Now, Stages, Chain) ->
    Had = [Ref || #step{stage = #stage{ref = Ref}} <- Chain],
    New = [step(Stage) || #stage{ref = Ref} = Stage <- Stages, not lists:member(Ref, Had)],
    done(replace(Now, [], Chain, Stages, New, [])).

step(#stage{what = block} = Stage) -> #step{stage = Stage, state = block};
step(#stage{what = {fault, Spec, Place}} = Stage) -> #step{stage = Stage, state = #delaying{fault = evum_fault:new(Spec, Place)}};
step(#stage{what = {filter, Pid}} = Stage) -> #step{stage = Stage, state = #asking{pid = Pid}}.

replace(Now, Items, [], _Stages, New, Effects) -> pass(Now, Items, New, Effects);
replace(Now, Items, [#step{stage = #stage{ref = Ref}} = Step | Rest], Stages, New, Effects) ->
    case lists:keyfind(Ref, #stage.ref, Stages) of
        #stage{} = Stage ->
            {Through, Step1, Effects1} = apply_step(Now, Items, Step#step{stage = Stage}, Effects),
            {Rest1, Effects2} = replace(Now, Through, Rest, Stages, New, Effects1),
            {[Step1 | Rest1], Effects2};
        false ->
            replace(Now, kept(Step) ++ Items, Rest, Stages, New, Effects)
    end.

kept(#step{state = block}) -> [];
kept(#step{state = #delaying{queue = Queue}}) -> gb_trees:values(Queue);
kept(#step{state = #asking{held = Held, asked = Asked}}) -> [Item || {_Tag, Item} <- queue:to_list(Held)] ++ queue:to_list(Asked).

%% @doc Frames come.
-spec frames(Now :: integer(), [item()], chain()) -> {[effect()], chain()}.
frames(Now, Items, Chain) -> done(pass(Now, Items, Chain, [])).

%% @doc Lets go on what is due.
-spec due(Now :: integer(), chain()) -> {[effect()], chain()}.
due(Now, Chain) -> frames(Now, [], Chain).

%% @doc When something is due next.
-spec next(chain()) -> At :: integer() | infinity.
next(Chain) ->
    %% any number is less than an atom
    lists:min([infinity | [element(1, element(1, gb_trees:smallest(Queue)))
                           || #step{state = #delaying{queue = Queue}} <- Chain, not gb_trees:is_empty(Queue)]]).

%% @doc A filter's process says what becomes of the first frame that it was asked about.
-spec verdict(Now :: integer(), evum_rules:ref(), verdict(), chain()) -> {[effect()], chain()}.
verdict(Now, Ref, Verdict, Chain) ->
    done(resume(Now, Ref, fun(Step, Effects) -> decide(Verdict, Step, Effects) end, Chain, [])).

%% @doc The frames that a filter holds under a tag go on.
-spec release(Now :: integer(), evum_rules:ref(), Tag :: term(), chain()) -> {[effect()], chain()}.
release(Now, Ref, Tag, Chain) ->
    done(resume(Now, Ref, fun(Step, Effects) -> let_go(Tag, Step, Effects) end, Chain, [])).

%% --- from stage to stage ---------------------------------------------------------

done({Chain, Effects}) -> {lists:reverse(Effects), Chain}.

pass(_Now, [], [], Effects) -> {[], Effects};
pass(_Now, Items, [], Effects) -> {[], [{out, Items} | Effects]};
pass(Now, Items, [Step | Rest], Effects) ->
    {Through, Step1, Effects1} = apply_step(Now, Items, Step, Effects),
    {Rest1, Effects2} = pass(Now, Through, Rest, Effects1),
    {[Step1 | Rest1], Effects2}.

%% What one stage lets go outside its turn goes on at the next.
resume(_Now, _Ref, _Fun, [], Effects) -> {[], Effects};
resume(Now, Ref, Fun, [#step{stage = #stage{ref = Ref}} = Step | Rest], Effects) ->
    {Through, Step1, Effects1} = Fun(Step, Effects),
    {Rest1, Effects2} = pass(Now, Through, Rest, Effects1),
    {[Step1 | Rest1], Effects2};
resume(Now, Ref, Fun, [Step | Rest], Effects) ->
    {Rest1, Effects1} = resume(Now, Ref, Fun, Rest, Effects),
    {[Step | Rest1], Effects1}.

apply_step(Now, Items, #step{stage = #stage{from = any}} = Step, Effects) ->
    take(Now, Items, Step, count(?RULE_FRAMES, length(Items), Step, Effects));
apply_step(Now, Items, #step{stage = #stage{from = From}} = Step, Effects) ->
    {Mine, Others} = lists:partition(fun({No, _}) -> lists:member(No, From) end, Items),
    {Through, Step1, Effects1} = take(Now, Mine, Step, count(?RULE_FRAMES, length(Mine), Step, Effects)),
    {Through ++ Others, Step1, Effects1}.

take(_Now, Items, #step{state = block} = Step, Effects) ->
    {[], Step, count(?RULE_DROPPED, length(Items), Step, Effects)};
take(Now, Items, #step{state = #delaying{} = State} = Step, Effects) ->
    {AtOnce, State1, {Lost, Full}} = lists:foldl(fun(Item, Acc) -> delay(Now, Item, Acc) end, {[], State, {0, 0}}, Items),
    {Due, State2} = take_due(Now, State1, []),
    Effects1 = count(?RULE_FULL, Full, Step, count(?RULE_DROPPED, Lost, Step, Effects)),
    {lists:reverse(AtOnce, Due), Step#step{state = State2}, Effects1};
take(_Now, Items, #step{} = Step, Effects) ->
    {Step1, Effects1} = lists:foldl(fun ask/2, {Step, Effects}, Items),
    {[], Step1, Effects1}.

count(_Counter, 0, _Step, Effects) -> Effects;
count(Counter, N, #step{stage = #stage{counters = Counters}}, Effects) -> [{count, Counters, Counter, N} | Effects].

%% --- faults ------------------------------------------------------------------------

delay(Now, {From, Frame}, {AtOnce, #delaying{fault = Fault} = State, {Lost, Full} = Dropped}) ->
    case evum_fault:frame(Now, Frame, Fault) of
        {lost, Fault1} -> {AtOnce, State#delaying{fault = Fault1}, {Lost + 1, Full}};
        {full, Fault1} -> {AtOnce, State#delaying{fault = Fault1}, {Lost, Full + 1}};
        {Copies, Fault1} ->
            lists:foldl(fun({At, Copy}, Acc) -> delay_copy(Now, At, {From, Copy}, Acc) end,
                        {AtOnce, State#delaying{fault = Fault1}, Dropped}, Copies)
    end.

delay_copy(Now, At, Item, {AtOnce, #delaying{bytes = Bytes, queue = Queue} = State, {Lost, Full} = Dropped}) ->
    case At =< Now andalso gb_trees:is_empty(Queue) of
        true -> {[Item | AtOnce], State, Dropped};
        false ->
            case Bytes + cost(Item) =< ?DELAYED_MAX of
                true -> {AtOnce, put_delayed(At, Item, State), Dropped};
                false -> {AtOnce, State, {Lost, Full + 1}}
            end
    end.

put_delayed(At, Item, #delaying{bytes = Bytes, queue = Queue, number = N} = State) ->
    State#delaying{bytes = Bytes + cost(Item), number = N + 1, queue = gb_trees:insert({At, N + 1}, own(Item), Queue)}.

take_due(Now, #delaying{bytes = Bytes, queue = Queue} = State, Due) ->
    case not gb_trees:is_empty(Queue) andalso gb_trees:take_smallest(Queue) of
        {{At, _}, Item, Queue1} when At =< Now ->
            take_due(Now, State#delaying{queue = Queue1, bytes = Bytes - cost(Item)}, [Item | Due]);
        _ ->
            {lists:reverse(Due), State}
    end.

%% --- filters -----------------------------------------------------------------------

ask({_From, Frame} = Item, {#step{stage = #stage{ref = Ref}, state = #asking{asked_bytes = Bytes} = State} = Step, Effects}) ->
    case Bytes + cost(Item) =< ?ASKED_MAX of
        true ->
            State1 = State#asking{asked = queue:in(Item, State#asking.asked), asked_bytes = Bytes + cost(Item)},
            {Step#step{state = State1}, [{ask, State#asking.pid, Ref, Frame} | Effects]};
        false ->
            {Step, count(?RULE_FULL, 1, Step, Effects)}
    end.

decide(Verdict, #step{state = #asking{asked = Asked, asked_bytes = Bytes} = State} = Step, Effects) ->
    {{value, Item}, Asked1} = queue:out(Asked),
    decide(Verdict, Item, Step#step{state = State#asking{asked = Asked1, asked_bytes = Bytes - cost(Item)}}, Effects).

decide(forward, Item, Step, Effects) -> {[Item], Step, Effects};
decide(drop, _Item, Step, Effects) -> {[], Step, count(?RULE_DROPPED, 1, Step, Effects)};
decide({replace, Frame}, {From, _}, Step, Effects) -> {[{From, Frame}], Step, Effects};
decide({also, Frames}, {From, _} = Item, Step, Effects) -> {[Item | [{From, Frame} || Frame <- Frames]], Step, Effects};
decide({hold, Tag}, Item, #step{state = #asking{held = Held, held_bytes = Bytes} = State} = Step, Effects) ->
    case Bytes + cost(Item) =< ?HELD_MAX of
        true ->
            State1 = State#asking{held = queue:in({Tag, own(Item)}, Held), held_bytes = Bytes + cost(Item)},
            {[], Step#step{state = State1}, Effects};
        false ->
            {[], Step, count(?RULE_FULL, 1, Step, Effects)}
    end.

let_go(Tag, #step{state = #asking{held = Held, held_bytes = Bytes} = State} = Step, Effects) ->
    {Go, Stay} = lists:partition(fun({T, _}) -> T =:= Tag end, queue:to_list(Held)),
    Items = [Item || {_, Item} <- Go],
    Left = Bytes - lists:sum([cost(Item) || Item <- Items]),
    {Items, Step#step{state = State#asking{held = queue:from_list(Stay), held_bytes = Left}}, Effects}.

%% --- memory ------------------------------------------------------------------------

cost({_From, Frame}) -> byte_size(Frame) + ?OVERHEAD.

%% A frame is part of its batch's binary: most of that may be gone.
own({From, Frame} = Item) ->
    case binary:referenced_byte_size(Frame) > 2 * byte_size(Frame) of
        true -> {From, binary:copy(Frame)};
        false -> Item
    end.
