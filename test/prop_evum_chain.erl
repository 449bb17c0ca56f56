%% SPDX-License-Identifier: Apache-2.0
%% Chains of rules: each frame leaves once or is counted, in order, whatever rules come and go
-module(prop_evum_chain).
-include_lib("proper/include/proper.hrl").
-include("../src/evum_rules.hrl").

-export([prop_each_frame_leaves_or_is_counted/0, prop_order_is_kept/0, prop_what_is_kept_is_bounded/0]).

%% what one stage keeps at most, bytes, with what keeping costs
-define(KEPT_MAX, 33554432).

%% A run of a chain: frames bear numbers from 1 on, and come from port 1 or 2.
-record(run, {
    chain = evum_chain:new(), now = 0, next = 1, out = [], counted = 0, in = 0,
    %% verdicts that filters owe, by rule: how many
    asked = #{}
}).

prop_each_frame_leaves_or_is_counted() ->
    ?FORALL(Steps, steps([forward, drop, {hold, x}]),
        begin
            #run{in = In, out = Out, counted = Counted} = finish(lists:foldl(fun step/2, #run{}, Steps)),
            Numbers = [N || {_, N} <- Out],
            equals({In, length(Out)}, {length(Out) + Counted, length(lists:usort(Numbers))})
        end).

prop_order_is_kept() ->
    ?FORALL(Steps, steps([forward, drop]),
        begin
            #run{out = Out} = finish(lists:foldl(fun step/2, #run{}, Steps)),
            lists:all(fun(From) -> Of = [N || {F, N} <- Out, F =:= From], Of =:= lists:sort(Of) end, [1, 2])
        end).

prop_what_is_kept_is_bounded() ->
    ?FORALL(What, oneof([{fault, fault(), here}, {filter, self()}]),
        begin
            Long = binary:copy(<<0>>, 60000),
            {Effects, Chain} = evum_chain:frames(0, [{1, Long} || _ <- lists:seq(1, 1000)], element(2, evum_chain:set(0, [stage(1, any, What)], evum_chain:new()))),
            {Left, _} = evum_chain:set(0, [], Chain),
            Outs = [length(Items) || {out, Items} <- Left],
            Gone = lists:sum([length(Items) || {out, Items} <- Effects] ++ [N || {count, _, C, N} <- Effects, C =/= ?RULE_FRAMES]),
            lists:sum(Outs) * 60000 =< ?KEPT_MAX andalso lists:sum(Outs) + Gone =:= 1000
        end).

%% --- generators ------------------------------------------------------------------

steps(Verdicts) ->
    resize(40, list(frequency([
        {5, {frames, range(1, 2), range(1, 20)}},
        {4, {wait, range(0, 50000)}},
        {3, {verdicts, oneof(Verdicts), range(1, 10)}},
        {1, {release, x}},
        {2, {rules, resize(4, list(range(1, 6)))}}
    ]))).

%% Each rule is the same whenever it is there; a number that comes again after it ended is a new rule of its kind.
what(1) -> {any, {fault, spec(#{delay => 10}), here}};
what(2) -> {any, {fault, spec(#{delay => 20, jitter => 15}), here}};
what(3) -> {[1], {fault, spec(#{loss => 0.5}), here}};
what(4) -> {[2], block};
what(5) -> {any, {filter, self()}};
what(6) -> {[1], {filter, self()}}.

fault() -> ?LET(Delay, range(1, 1000), spec(#{delay => Delay})).

spec(Spec) -> maps:merge(#{direction => both, seed => 1}, Spec).

stage(Ref, From, What) -> #stage{ref = {self(), Ref}, counters = counters:new(?RULE_COUNTERS, []), from = From, what = What}.

%% --- running ---------------------------------------------------------------------

step({frames, From, N}, #run{now = Now, next = Next, chain = Chain, in = In} = Run) ->
    Items = [{From, <<0:112, I:32>>} || I <- lists:seq(Next, Next + N - 1)],
    did(evum_chain:frames(Now, Items, Chain), Run#run{next = Next + N, in = In + N});
step({wait, Us}, #run{now = Now, chain = Chain} = Run) ->
    did(evum_chain:due(Now + Us, Chain), Run#run{now = Now + Us});
step({verdicts, Verdict, N}, Run) -> lists:foldl(fun(_, Acc) -> answer(Verdict, Acc) end, Run, lists:seq(1, N));
step({release, Tag}, #run{now = Now, chain = Chain, asked = Asked} = Run) ->
    lists:foldl(fun(Ref, Acc) -> did(evum_chain:release(Now, Ref, Tag, Acc#run.chain), Acc) end, Run#run{chain = Chain}, maps:keys(Asked));
step({rules, Numbers}, #run{now = Now, chain = Chain, asked = Asked} = Run) ->
    Stages = [stage(N, From, What) || N <- lists:usort(Numbers), {From, What} <- [what(N)]],
    Refs = [Ref || #stage{ref = Ref} <- Stages],
    did(evum_chain:set(Now, Stages, Chain), Run#run{asked = maps:with(Refs, Asked)}).

%% A filter that was asked answers; of two, the one that comes first.
answer(Verdict, #run{now = Now, chain = Chain, asked = Asked} = Run) ->
    case [Ref || {Ref, N} <- lists:sort(maps:to_list(Asked)), N > 0] of
        [Ref | _] ->
            #{Ref := N} = Asked,
            did(evum_chain:verdict(Now, Ref, Verdict, Chain), Run#run{asked = Asked#{Ref := N - 1}});
        [] -> Run
    end.

did({Effects, Chain}, Run) -> lists:foldl(fun effect/2, Run#run{chain = Chain}, Effects).

effect({out, Items}, #run{out = Out} = Run) -> Run#run{out = Out ++ [{From, N} || {From, <<_:112, N:32>>} <- Items]};
effect({ask, _, Ref, _}, #run{asked = Asked} = Run) -> Run#run{asked = maps:update_with(Ref, fun(N) -> N + 1 end, 1, Asked)};
effect({count, _, ?RULE_FRAMES, _}, Run) -> Run;
effect({count, _, _, N}, #run{counted = Counted} = Run) -> Run#run{counted = Counted + N}.

%% All rules end: what they keep leaves.
finish(Run) -> step({rules, []}, Run).
