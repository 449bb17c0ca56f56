%% SPDX-License-Identifier: Apache-2.0
%% Claims about the console's pure half
-module(evum_console_tests).
-include_lib("eunit/include/eunit.hrl").

-define(C, evum_console).

items(C) ->
    case ?C:take(C) of
        {Item, C1} -> [Item | items(C1)];
        empty -> []
    end.

lines(C) -> [Line || {line, Line} <- items(C)].

feed(Chunks, C) -> lists:foldl(fun(B, A) -> {_, A1} = ?C:input(B, A), A1 end, C, Chunks).

a_line_is_whole_however_it_is_cut_test() ->
    Text = <<"one\r\ntwo\r\n\r\nthree\r\n">>,
    [begin
         <<A:N/binary, B/binary>> = Text,
         ?assertEqual([<<"one">>, <<"two">>, <<>>, <<"three">>], lines(feed([A, B], ?C:new(line))))
     end || N <- lists:seq(0, byte_size(Text))].

a_partial_line_is_not_shown_before_its_end_test() ->
    C = feed([<<"login: ">>], ?C:new(line)),
    ?assertEqual([], lines(C)),
    ?assertEqual(<<"login: ">>, ?C:text(C)),
    ?assertEqual([<<"login: ">>], lines(?C:flush(C))).

a_long_line_comes_in_pieces_of_2048_test() ->
    Long = binary:copy(<<"x">>, 5000),
    [A, B, D] = lines(feed([Long, <<"\r\n">>], ?C:new(line))),
    ?assertEqual([2048, 2048, 904], [byte_size(P) || P <- [A, B, D]]),
    ?assertEqual([2048, 2048, 904], [byte_size(P) || P <- lines(feed([<<Long/binary, "\r\n">>], ?C:new(line)))]).

a_long_line_is_not_cut_inside_a_control_sequence_test() ->
    Text = [binary:copy(<<"x">>, 2046), <<"\e[31mred\r\n">>],
    ?assertEqual([binary:copy(<<"x">>, 2046), <<"\e[31mred">>], lines(feed(Text, ?C:new(line)))).

terminal_queries_are_never_shown_test() ->
    Text = <<"\e[6n\r\n", "a\e[Jb\r\n", "\e[?2004h~ # \r\n", "\e]0;title\x07after\r\n", "\e7\e(B\e=x\r\n">>,
    ?assertEqual([<<>>, <<"ab">>, <<"~ # ">>, <<"after">>, <<"x">>], lines(feed([Text], ?C:new(line)))).

colours_stay_test() ->
    ?assertEqual([<<"\e[1;34mbin\e[m">>], lines(feed([<<"\e[1;34mbin\e[m\r\n">>], ?C:new(line)))).

an_echo_is_taken_out_and_keeps_its_prompt_test() ->
    Ref = make_ref(),
    C0 = feed([<<"booted\r\n~ # \e[6n">>], ?C:new(line)),
    C1 = ?C:expect(Ref, <<"hostname">>, C0),
    {[], C2} = ?C:input(<<"hostn">>, C1),
    {Echoes, C3} = ?C:input(<<"ame\r\ntest1\r\n~ # ">>, C2),
    ?assertEqual([{Ref, <<"~ # hostname">>}], Echoes),
    ?assertEqual([<<"booted">>, <<"test1">>], lines(C3)),
    ?assertEqual(<<"test1\n~ # ">>, ?C:text(C3)).

echoes_are_matched_in_order_test() ->
    [A, B] = [make_ref(), make_ref()],
    C = ?C:expect(B, <<"ls">>, ?C:expect(A, <<"ls">>, ?C:new(line))),
    {Echoes, C1} = ?C:input(<<"~ # ls\r\nx\r\n~ # ls\r\n">>, C),
    ?assertEqual([{A, <<"~ # ls">>}, {B, <<"~ # ls">>}], Echoes),
    ?assertEqual([<<"x">>], lines(C1)).

a_forgotten_echo_is_an_ordinary_line_test() ->
    Ref = make_ref(),
    C = ?C:forget(Ref, ?C:expect(Ref, <<"ls">>, ?C:new(line))),
    {[], C1} = ?C:input(<<"~ # ls\r\n">>, C),
    ?assertEqual([<<"~ # ls">>], lines(C1)).

an_echo_longer_than_a_line_is_found_test() ->
    Ref = make_ref(),
    Long = binary:copy(<<"y">>, 4000),
    {Echoes, C} = ?C:input(<<"~ # ", Long/binary, "\r\nok\r\n">>, ?C:expect(Ref, Long, ?C:new(line))),
    ?assertEqual([{Ref, <<"~ # ", Long/binary>>}], Echoes),
    ?assertEqual([<<"ok">>], lines(C)).

an_echo_is_found_in_tagged_and_in_none_mode_test() ->
    Ref = make_ref(),
    [begin
         C0 = feed([<<"~ # ">>], ?C:new(Mode)),
         {Echoes, C} = ?C:input(<<"id\r\nuid=0\r\n# ">>, ?C:expect(Ref, <<"id">>, C0)),
         ?assertEqual([{Ref, <<"~ # id">>}], Echoes),
         ?assertEqual(Items, iolist_to_binary([B || {bytes, B} <- items(C)]))
     end || {Mode, Items} <- [{tagged, <<"~ # uid=0\r\n# ">>}, {none, <<>>}]].

tagged_bytes_are_all_there_in_order_test() ->
    Chunks = [integer_to_binary(N rem 97) || N <- lists:seq(1, 3000)],
    Got = iolist_to_binary([B || {bytes, B} <- items(feed(Chunks, ?C:new(tagged)))]),
    ?assertEqual(iolist_to_binary(Chunks), Got).

every_byte_is_given_back_once_test() ->
    C0 = feed([<<"one\r\n\e[Jtwo\r\npart">>], ?C:new(line)),
    {Stripped, C1} = ?C:credit(0, C0),
    ?assertEqual(byte_size(<<"\r\e[J\r">>), Stripped),
    {{line, <<"one">>}, C2} = ?C:take(C1),
    ?assertMatch({4, _}, ?C:credit(0, C2)),
    {{line, <<"two">>}, C3} = ?C:take(C2),
    {8, C4} = ?C:credit(0, C3),
    ?assertEqual(4, ?C:unacknowledged(C4)),
    {[], C5} = ?C:input(<<"\n">>, C4),
    {_, C6} = ?C:take(C5),
    {5, C7} = ?C:credit(0, C6),
    ?assertEqual(0, ?C:unacknowledged(C7)).

nothing_is_held_in_none_mode_test() ->
    C = feed([binary:copy(<<"line\r\n">>, 100)], ?C:new(none)),
    ?assertEqual(0, ?C:held(C)),
    ?assertEqual([], items(C)),
    ?assertMatch({600, _}, ?C:credit(0, C)).

the_ring_keeps_the_last_64_kb_test() ->
    C = feed([binary:copy(<<"x">>, 30000) || _ <- lists:seq(1, 10)] ++ [<<"END">>], ?C:new(none)),
    Text = ?C:text(C),
    ?assert(byte_size(Text) =< 65536),
    ?assert(byte_size(Text) > 60000),
    ?assertEqual(<<"END">>, binary:part(Text, byte_size(Text), -3)).

a_mark_hides_what_came_before_test() ->
    C0 = feed([<<"a\r\n\e[Jlogin: ">>], ?C:new(line)),
    ?assertEqual(<<"a\nlogin: ">>, ?C:text(C0)),
    C1 = ?C:mark(4, C0),
    ?assertEqual(<<"gin: ">>, ?C:text(C1)),
    ?assertEqual(<<>>, ?C:text(?C:mark('end', C1))).

recent_is_the_last_50_lines_test() ->
    C = feed([<<(integer_to_binary(N))/binary, "\r\n">> || N <- lists:seq(1, 80)] , ?C:new(line)),
    Recent = ?C:recent(C),
    ?assertEqual(50, length(Recent)),
    ?assertEqual(<<"80">>, lists:last(Recent)).

any_bytes_are_fine_test() ->
    rand:seed(exsss, {1, 2, 3}),
    [begin
         Bytes = list_to_binary([lists:nth(rand:uniform(8), [27, $[, $], $m, $\n, $\r, $6, 255]) || _ <- lists:seq(1, 300)]),
         At = rand:uniform(300) - 1,
         <<A:At/binary, B/binary>> = Bytes,
         C = feed([A, B], ?C:new(line)),
         _ = ?C:recent(C),
         Text = ?C:text(C),
         _ = [?C:mark(N, C) || N <- lists:seq(0, byte_size(Text), 7)],
         ?assertEqual(<<>>, ?C:text(?C:mark(byte_size(Text), C))),
         ?assertEqual([], [L || L <- lines(C), binary:match(L, <<"\e[6n">>) =/= nomatch])
     end || _ <- lists:seq(1, 500)].

a_forgotten_echo_gives_its_room_back_test() ->
    [begin
         Ref = make_ref(),
         C0 = ?C:expect(Ref, binary:copy(<<"x">>, 4095), ?C:new(Mode)),
         C1 = feed([binary:copy(<<"a">>, 500) || _ <- lists:seq(1, 11)], C0),
         ?assertEqual(5500, ?C:unacknowledged(C1)),
         C2 = ?C:forget(Ref, C1),
         _ = items(C2),
         {_, C3} = ?C:credit(0, lists:foldl(fun(_, C) -> element(2, ?C:take(C)) end, C2, items(C2))),
         ?assert(?C:unacknowledged(C3) =< 2048)
     end || Mode <- [line, tagged, none]].

the_current_line_is_the_rings_last_test() ->
    C = feed([<<"one\r\n">>] ++ [<<"abcdefghi ">> || _ <- lists:seq(1, 150)], ?C:new(none)),
    ?assertEqual(binary:copy(<<"abcdefghi ">>, 150), ?C:partial(C)),
    ?assertEqual(<<>>, ?C:partial(feed([<<"\r\n">>], C))),
    ?assertEqual(<<>>, ?C:partial(?C:new(none))).
