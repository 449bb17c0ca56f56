%% SPDX-License-Identifier: Apache-2.0
%% The console loses, invents and reorders nothing, however its bytes come
-module(prop_evum_console).
-include_lib("proper/include/proper.hrl").

-export([prop_lines_are_the_stream_without_control_sequences/0, prop_any_cut_gives_the_same_lines/0,
         prop_long_lines_lose_nothing/0, prop_tagged_is_the_identity/0,
         prop_a_forgotten_echo_costs_nothing/0, prop_a_guest_within_its_window_never_sticks/0,
         prop_the_ring_is_the_end_of_the_stream/0]).

-define(RING, 65536).
-define(LINE_MAX, 2048).

%% --- line mode ---------------------------------------------------------------

prop_lines_are_the_stream_without_control_sequences() ->
    ?FORALL(Chunks, list(chunk()),
        begin
            Stream = iolist_to_binary(Chunks),
            Lines = binary:split(Stream, <<"\n">>, [global]),
            Short = lists:all(fun(L) -> byte_size(L) =< ?LINE_MAX end, Lines),
            ?IMPLIES(Short, equals([shown(L) || L <- whole(Lines)], lines(Chunks)))
        end).

prop_any_cut_gives_the_same_lines() ->
    ?FORALL(Chunks, list(oneof([chunk(), long()])),
        equals(lines([iolist_to_binary(Chunks)]), lines(Chunks))).

%% A line that is too long comes in pieces, which are the line.
prop_long_lines_lose_nothing() ->
    ?FORALL(Chunks, list(oneof([text(), long(), <<"\n">>])),
        begin
            Stream = iolist_to_binary(Chunks),
            Lines = lines(Chunks),
            conjunction([{same, equals(binary:replace(Stream, <<"\n">>, <<>>, [global]), iolist_to_binary(Lines))},
                         {bounded, lists:all(fun(L) -> byte_size(L) =< ?LINE_MAX end, Lines)}])
        end).

%% --- tagged mode ---------------------------------------------------------------

prop_tagged_is_the_identity() ->
    ?FORALL(Chunks, list(oneof([chunk(), long()])),
        equals(iolist_to_binary(Chunks), bytes(feed(Chunks, evum_console:new(tagged))))).

prop_a_forgotten_echo_costs_nothing() ->
    ?FORALL({Before, Between, After}, {list(chunk()), list(chunk()), list(chunk())},
        begin
            Ref = make_ref(),
            C0 = evum_console:expect(Ref, <<"no such echo, ever">>, feed(Before, evum_console:new(tagged))),
            C1 = evum_console:forget(Ref, feed(Between, C0)),
            equals(iolist_to_binary([Before, Between, After]), bytes(feed(After, C1)))
        end).

%% --- windows and memory -----------------------------------------------------------

%% A guest that prints only what its window allows, and an owner that takes an
%% item now and then: every byte is given back, and never more is held than the window.
prop_a_guest_within_its_window_never_sticks() ->
    ?FORALL({Mode, Window, Chunks}, {oneof([line, tagged, none]), range(2 * ?LINE_MAX, ?RING), list(oneof([chunk(), long()]))},
        begin
            {C, Bounded} = print(iolist_to_binary(Chunks), Window, Window, evum_console:new(Mode), true),
            {_, C1} = evum_console:credit(0, drain(evum_console:flush(C))),
            conjunction([{bounded, Bounded}, {all_given_back, equals(0, evum_console:unacknowledged(C1))}])
        end).

prop_the_ring_is_the_end_of_the_stream() ->
    ?FORALL({Mode, Chunks}, {oneof([line, tagged, none]), resize(60, list(oneof([text(), long()])))},
        begin
            Stream = iolist_to_binary(Chunks),
            End = binary:part(Stream, byte_size(Stream), -min(?RING, byte_size(Stream))),
            equals(End, evum_console:text(feed(Chunks, evum_console:new(Mode))))
        end).

%% --- the model ----------------------------------------------------------------------

%% A last line without a newline is shown by flush/1, an empty one isn't.
whole(Lines) ->
    case lists:last(Lines) of
        <<>> -> lists:droplast(Lines);
        _ -> Lines
    end.

%% The documented control sequences are removed, but for colours; then carriage returns around the line.
shown(Line) ->
    Sequence = "(\\e\\[[ -?]*m)|\\e\\[[ -?]*[@-~]?|\\e\\][^\\x07\\x1b]*(?:\\x07|\\e\\\\)?|\\e[ -/].|\\e[0-~]|\\e",
    Clean = re:replace(Line, Sequence, "\\1", [global, dotall, {return, binary}]),
    re:replace(Clean, "^\\r+|\\r+$", "", [global, dollar_endonly, {return, binary}]).

lines(Chunks) ->
    [Line || {line, Line} <- items(evum_console:flush(feed(Chunks, evum_console:new(line))))].

bytes(C) -> iolist_to_binary([Bytes || {bytes, Bytes} <- items(evum_console:flush(C))]).

items(C) ->
    case evum_console:take(C) of
        {Item, C1} -> [Item | items(C1)];
        empty -> []
    end.

feed(Chunks, C) ->
    lists:foldl(fun(Chunk, Acc) -> {[], Acc1} = evum_console:input(Chunk, Acc), Acc1 end, C, Chunks).

drain(C) ->
    case evum_console:take(C) of
        {_, C1} -> drain(C1);
        empty -> C
    end.

print(<<>>, _Window, _Room, C, Bounded) -> {C, Bounded};
print(Stream, Window, 0, C, Bounded) ->
    %% the guest waits: with all items taken it must get room
    {N, C1} = evum_console:credit(0, drain(C)),
    N > 0 andalso print(Stream, Window, N, C1, Bounded);
print(Stream, Window, Room, C0, Bounded) ->
    N = lists:min([Room, byte_size(Stream), 1 + byte_size(Stream) rem 4096]),
    <<Now:N/binary, Later/binary>> = Stream,
    {[], C1} = evum_console:input(Now, C0),
    {Given, C2} = evum_console:credit(0, C1),
    print(Later, Window, Room - N + Given, C2,
          Bounded andalso evum_console:unacknowledged(C2) =< Window andalso evum_console:held(C2) =< Window + 1).

%% --- what guests print ------------------------------------------------------------------

chunk() ->
    ?LET(Parts, list(frequency([{6, text()}, {3, oneof([<<"\n">>, <<"\r\n">>, <<"\r">>])}, {3, sequence()},
                                {1, binary()}])),
         iolist_to_binary(Parts)).

text() -> ?LET(Text, list(frequency([{9, range($\s, $~)}, {1, range(128, 255)}])), list_to_binary(Text)).

long() -> ?LET({N, C}, {range(1, 3 * ?LINE_MAX), range($a, $z)}, binary:copy(<<C>>, N)).

sequence() ->
    oneof([<<"\e[6n">>, <<"\e[31;1m">>, <<"\e[m">>, <<"\e[J">>, <<"\e[?2004h">>, <<"\e]0;title\x07">>, <<"\e]2;t\e\\">>,
           <<"\e7">>, <<"\e(B">>, <<"\e">>, <<"\e[">>, <<"\e]">>, <<"\e(">>]).
