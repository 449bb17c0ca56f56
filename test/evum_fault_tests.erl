%% SPDX-License-Identifier: Apache-2.0
%% What a fault takes, and what it does to single frames
-module(evum_fault_tests).
-include_lib("eunit/include/eunit.hrl").

-define(FRAME, <<0:(14 * 8), 1:(86 * 8)>>).

each_key_is_checked_test_() ->
    [?_assertEqual({Given, {error, {bad_option, Key}}}, {Given, check(Given)}) || {Key, Given} <- [
        {loss, #{loss => 1.01}}, {loss, #{loss => -0.1}}, {loss, #{loss => "30%"}}, {duplicate, #{duplicate => 2}},
        {reorder, [{reorder, x}]}, {corrupt, #{corrupt => -1}}, {delay, #{delay => -1}}, {delay, #{delay => 3600001}},
        {jitter, #{jitter => infinity}}, {rate, #{rate => 0}}, {rate, #{rate => 1.5}}, {direction, #{direction => in}},
        {seed, #{seed => 1.0}}, {colour, #{colour => red}}, {5, 5}, {loss, [loss]}
    ]].

what_is_right_is_taken_test_() ->
    [?_assertMatch({ok, #{direction := both, seed := _}}, check(Given))
     || Given <- [#{}, [], #{loss => 0}, #{loss => 1.0}, #{delay => 0.5, jitter => 3}, [{rate, 1000000}], #{seed => -5}]].

fate(Spec, Now) -> fate(Spec, Now, ?FRAME).

fate(Spec, Now, Frame) ->
    {ok, Checked} = check(Spec),
    element(1, evum_fault:frame(Now, Frame, evum_fault:new(Checked, here))).

no_fault_is_none_test() -> ?assertEqual([{7, ?FRAME}], fate(#{}, 7)).

delay_is_in_ms_test() -> ?assertEqual([{-1000 + 1500, ?FRAME}], fate(#{delay => 1.5}, -1000)).

all_can_be_lost_test() -> ?assertEqual(lost, fate(#{loss => 1}, 0)).

all_can_be_sent_twice_test() -> ?assertEqual([{0, ?FRAME}, {0, ?FRAME}], fate(#{duplicate => 1}, 0)).

one_bit_behind_the_header_is_flipped_test_() ->
    [begin
         Frame = <<16#aa:(14 * 8), 0:(Length * 8)>>,
         [{0, <<16#aa:(14 * 8), Payload/binary>>}] = fate(#{corrupt => 1, seed => Seed}, 0, Frame),
         ?_assertEqual(1, lists:sum([Bit || <<Bit:1>> <= Payload]))
     end || Length <- [1, 2, 100], Seed <- lists:seq(1, 20)].

what_has_no_payload_is_corrupted_too_test() ->
    [{0, Frame}] = fate(#{corrupt => 1}, 0, <<0:(14 * 8)>>),
    ?assertEqual(1, lists:sum([Bit || <<Bit:1>> <= Frame])).

a_reordered_frame_overtakes_the_delayed_test() -> ?assertEqual([{5, ?FRAME}], fate(#{delay => 50, reorder => 1}, 5)).

a_reordered_frame_is_late_without_delay_test() -> ?assertEqual([{10005, ?FRAME}], fate(#{reorder => 1}, 5)).

%% 100 bytes at 1 Mbit/s take 800 us each, one after the other.
a_line_takes_its_time_test() ->
    {ok, Spec} = check(#{rate => 1000000}),
    {At, _} = lists:mapfoldl(fun(Now, St) -> {[{T, _}], St1} = evum_fault:frame(Now, ?FRAME, St), {T, St1} end,
                             evum_fault:new(Spec, here), [0, 0, 100, 10000]),
    ?assertEqual([800, 1600, 2400, 10800], At).

a_slow_line_takes_a_long_frame_test() ->
    Long = binary:copy(<<0>>, 65000),
    ?assertEqual([{520000000, Long}], fate(#{rate => 1000}, 0, Long)).

%% Copies that find no place on the line aren't chance's.
a_full_line_is_told_test() ->
    {ok, Spec} = check(#{rate => 1000}),
    {[{_, _}], St} = evum_fault:frame(0, binary:copy(<<0>>, 140000), evum_fault:new(Spec, here)),
    ?assertMatch({full, _}, evum_fault:frame(0, ?FRAME, St)).

check(Spec) -> evum_opts:check(Spec, fun evum_fault:value/2, evum_fault:defaults()).
