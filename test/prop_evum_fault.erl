%% SPDX-License-Identifier: Apache-2.0
%% Faults: nothing is invented, order is kept, and the same seed has the same fate
-module(prop_evum_fault).
-include_lib("proper/include/proper.hrl").

-export([prop_order_is_kept/0, prop_nothing_is_invented/0, prop_a_seed_repeats/0, prop_places_differ/0,
         prop_loss_is_as_asked/0, prop_delay_is_within_its_jitter/0, prop_a_line_is_never_faster/0,
         prop_a_lines_queue_is_bounded/0]).

%% what may wait for a line, in us: 200 ms or 128 KiB, whichever is more, after a frame that always may
-define(LINE_US(Rate), max(200000, 131072 * 8 * 1000000 div Rate)).

prop_order_is_kept() ->
    ?FORALL({Spec, Gaps}, {spec([loss, duplicate, corrupt, delay, jitter, rate]), gaps()},
        begin
            Sent = sent(run(Spec, Gaps)),
            Sent =:= lists:sort(fun({A, _}, {B, _}) -> A =< B end, Sent) andalso
                is_ascending([N || {_, <<_:112, N:32, _/binary>>} <- Sent], maps:is_key(corrupt, Spec))
        end).

%% What was corrupted may bear any number.
is_ascending(_Numbers, true) -> true;
is_ascending(Numbers, false) -> Numbers =:= lists:sort(Numbers).

prop_nothing_is_invented() ->
    ?FORALL({Spec, Gaps}, {spec(all()), gaps()},
        lists:all(fun({Now, Frame, Fate}) -> is_fate(Spec, Now, Frame, Fate) end, run(Spec, Gaps))).

is_fate(Spec, _Now, _Frame, lost) -> maps:get(loss, Spec, 0) > 0;
is_fate(Spec, _Now, _Frame, full) -> maps:is_key(rate, Spec);
is_fate(Spec, Now, Frame, Copies) ->
    (length(Copies) =:= 1 orelse (length(Copies) =:= 2 andalso maps:get(duplicate, Spec, 0) > 0)) andalso
        lists:all(fun({At, Copy}) -> At >= Now andalso is_copy(Spec, Frame, Copy) end, Copies).

is_copy(_Spec, Frame, Frame) -> true;
is_copy(Spec, <<Header:14/binary, _/binary>> = Frame, <<Header:14/binary, _/binary>> = Copy) ->
    %% as one number, a power of two: as a list of bits a long frame took a second
    Flipped = binary:decode_unsigned(crypto:exor(Frame, Copy)),
    maps:get(corrupt, Spec, 0) > 0 andalso Flipped band (Flipped - 1) =:= 0;
is_copy(_Spec, _Frame, _Copy) -> false.

prop_a_seed_repeats() ->
    ?FORALL({Spec, Gaps}, {spec(all()), gaps()}, equals(run(Spec, Gaps), run(Spec, Gaps))).

prop_places_differ() ->
    ?FORALL(Seed, integer(),
        begin
            Gaps = lists:duplicate(64, {0, 60}),
            run(#{loss => 0.5, seed => Seed}, Gaps, here) =/= run(#{loss => 0.5, seed => Seed}, Gaps, there)
        end).

%% 2000 frames: six standard deviations
prop_loss_is_as_asked() ->
    ?FORALL({Loss, Seed}, {float(0.0, 1.0), integer()},
        begin
            Lost = length([lost || {_, _, lost} <- run(#{loss => Loss, seed => Seed}, lists:duplicate(2000, {1, 60}))]),
            abs(Lost - 2000 * Loss) =< 6 * math:sqrt(2000 * Loss * (1 - Loss)) + 1
        end).

prop_delay_is_within_its_jitter() ->
    ?FORALL({Delay, Jitter, Seed, Gaps}, {float(0.0, 1000.0), float(0.0, 100.0), integer(), gaps()},
        lists:all(
            %% the order may make a frame wait for the one before it, not longer than that one had
            fun({Now, _, [{At, _}]}) -> At - Now >= 1000 * (Delay - Jitter) - 1 andalso At - Now =< 1000 * (Delay + Jitter) + 1 end,
            run(#{delay => Delay, jitter => Jitter, seed => Seed}, Gaps))).

prop_a_line_is_never_faster() ->
    ?FORALL({Rate, Gaps}, {rate(), gaps()},
        begin
            Sent = sent(run(#{rate => Rate}, Gaps)),
            Pairs = case Sent of [] -> []; _ -> lists:zip(lists:droplast(Sent), tl(Sent)) end,
            lists:all(fun({{A, _}, {B, Frame}}) -> B - A + 1 >= byte_size(Frame) * 8 * 1000000 div Rate end, Pairs)
        end).

prop_a_lines_queue_is_bounded() ->
    ?FORALL({Rate, Gaps}, {rate(), gaps()},
        lists:all(
            fun({_, _, full}) -> true;
               ({Now, Frame, [{At, _}]}) -> At - Now =< max(?LINE_US(Rate), byte_size(Frame) * 8 * 1000000 div Rate) + 2 end,
            run(#{rate => Rate}, Gaps))).

%% --- generators ------------------------------------------------------------------

all() -> [loss, duplicate, corrupt, delay, jitter, rate, reorder].

spec(Keys) ->
    ?LET({Pairs, Seed}, {[{Key, oneof([none, value(Key)])} || Key <- Keys], integer()},
        maps:from_list([{seed, Seed} | [Pair || {_, Value} = Pair <- Pairs, Value =/= none]])).

value(delay) -> float(0.0, 1000.0);
value(jitter) -> float(0.0, 1000.0);
value(rate) -> rate();
value(_Probability) -> oneof([0, 1, float(0.0, 1.0)]).

rate() -> ?LET({Exponent, Digit}, {range(3, 9), range(1, 9)}, Digit * round(math:pow(10, Exponent))).

%% us since the frame before, and the frame's length
gaps() -> resize(60, list({oneof([0, range(0, 100), range(0, 100000)]), oneof([18, range(60, 1514), 65000])})).

%% --- running ---------------------------------------------------------------------

run(Spec, Gaps) -> run(Spec, Gaps, here).

%% [{Now, Frame, Fate}]; each frame bears its number
run(Spec, Gaps, Place) ->
    {ok, Checked} = check(Spec),
    {Run, _} = lists:mapfoldl(
        fun({Gap, Length}, {N, Now0, Fault0}) ->
            Now = Now0 + Gap,
            Frame = <<1:112, N:32, 0:((Length - 18) * 8)>>,
            {Fate, Fault} = evum_fault:frame(Now, Frame, Fault0),
            {{Now, Frame, Fate}, {N + 1, Now, Fault}}
        end,
        {0, -1000000, evum_fault:new(Checked, Place)}, Gaps),
    Run.

sent(Run) -> lists:append([Copies || {_, _, Copies} <- Run, is_list(Copies)]).

check(Spec) -> evum_opts:check(Spec, fun evum_fault:value/2, evum_fault:defaults()).
