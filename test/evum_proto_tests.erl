%% SPDX-License-Identifier: Apache-2.0
%% Claims about the codec of the wire
-module(evum_proto_tests).
-include_lib("eunit/include/eunit.hrl").

call(Args) -> iolist_to_binary(evum_proto:call(7, run, Args)).

a_call_is_an_external_term_test_() ->
    [fun() ->
         <<0, Term/binary>> = call(Args),
         ?assertEqual({call, 7, run, Args}, binary_to_term(Term))
     end || Args <- [[], [1], [1, #{argv => [<<"a">>], window => 65536}], [<<>>, a, -1, 1 bsl 40]]].

small_integers_go_out_as_a_list_and_no_string_test() ->
    ?assertEqual(nomatch, binary:match(call([24, 80]), <<107, 0, 2>>)).

bulk_goes_out_raw_test() ->
    ?assertEqual(<<1, "abc">>, iolist_to_binary(evum_proto:console("abc"))),
    ?assertEqual(<<3, 0, 0, 0, 5, 1, 0, 1, 0, 0>>, evum_proto:credit(5, 1, 65536)),
    ?assertEqual(<<2, 3, 0, 2, "body">>, iolist_to_binary(evum_proto:frames(3, 2, <<"body">>))),
    ?assertEqual(<<3, 0:32, 19, 77:32>>, evum_proto:nic_credit(3, 77)),
    ?assertEqual(<<4, 0, 0, 0, 5, 0, "x">>, iolist_to_binary(evum_proto:stream(5, 0, <<"x">>))).

what_comes_in_is_taken_apart_test_() ->
    Control = fun(T) -> <<0, (term_to_binary(T))/binary>> end,
    [?_assertEqual(Message, evum_proto:decode(Frame)) || {Frame, Message} <- [
        {<<1, "abc">>, {console, <<"abc">>}}, {<<1>>, {console, <<>>}},
        {<<2, 1, 2:16, "abc">>, {frames, 1, 2, <<"abc">>}}, {<<3, 9:32, 0, 77:32>>, {credit, 9, 0, 77}},
        {<<4, 9:32, 1, "out">>, {stream, 9, 1, <<"out">>}}, {<<4, 9:32, 2>>, {stream, 9, 2, <<>>}},
        {Control({reply, 3, ok}), {reply, 3, ok}}, {Control({reply, 3, {ok, x}}), {reply, 3, {ok, x}}},
        {Control({reply, 3, {error, enoent}}), {reply, 3, {error, enoent}}},
        {Control({event, up, #{release => <<"6">>}}), {event, up, #{release => <<"6">>}}}
    ]].

what_is_not_in_the_list_is_an_error_test_() ->
    [?_assertMatch({error, {bad_frame, _}}, evum_proto:decode(Frame)) || Frame <- [
        <<>>, <<5, 1>>, <<255>>, <<2, 0, 1>>, <<0>>, <<0, 131>>, <<0, 131, 104, 255>>, <<3, 1, 2>>, <<4, 1>>, <<4, 9:32, 0, "in">>,
        <<4, 9:32, 3, "x">>, <<0, (term_to_binary({event, nonsense, #{}}))/binary>>,
        <<0, (term_to_binary({event, up, []}))/binary>>, <<0, (term_to_binary({reply, a, ok}))/binary>>,
        <<0, (term_to_binary(x))/binary>>]].

garbage_is_never_more_than_an_error_test() ->
    rand:seed(exsss, {1, 2, 3}),
    [begin
         Frame = <<(rand:uniform(6) - 1), (rand:bytes(rand:uniform(64)))/binary>>,
         ?assert(is_tuple(evum_proto:decode(Frame)))
     end || _ <- lists:seq(1, 5000)].
