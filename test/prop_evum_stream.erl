%% SPDX-License-Identifier: Apache-2.0
%% The stream of files: what was encoded is decoded, however it is cut, and nothing else is believed
-module(prop_evum_stream).
-include_lib("proper/include/proper.hrl").

-export([prop_any_cut_gives_the_same_tree/0, prop_half_a_stream_is_incomplete/0, prop_garbage_never_crashes/0,
         prop_damage_never_yields_a_bad_name/0, prop_a_wrong_byte_in_a_file_is_found/0]).

prop_any_cut_gives_the_same_tree() ->
    ?FORALL({Tree, Cuts}, {tree(), list(range(1, 50))},
        equals({ok, flat(Tree)}, decode(cut(encode(Tree), Cuts)))).

prop_half_a_stream_is_incomplete() ->
    ?FORALL({Tree, Cuts, At}, {tree(), list(range(1, 50)), non_neg_integer()},
        begin
            Stream = encode(Tree),
            Half = binary:part(Stream, 0, At rem byte_size(Stream)),
            equals(incomplete, decode(cut(Half, Cuts)))
        end).

prop_garbage_never_crashes() ->
    ?FORALL({Bytes, Cuts}, {oneof([binary(), ?LET(B, binary(), <<"d", B/binary>>), ?LET(B, binary(64), <<"f", 0:160, B/binary>>)]), list(range(1, 9))},
        is_answer(decode(cut(Bytes, Cuts)))).

prop_damage_never_yields_a_bad_name() ->
    ?FORALL({Tree, At, Byte, Cuts}, {tree(), non_neg_integer(), byte(), list(range(1, 50))},
        begin
            Stream = encode(Tree),
            Where = At rem byte_size(Stream),
            <<Before:Where/binary, _, After/binary>> = Stream,
            is_answer(decode(cut(<<Before/binary, Byte, After/binary>>, Cuts)))
        end).

prop_a_wrong_byte_in_a_file_is_found() ->
    ?FORALL({Bytes, At, Byte}, {?SUCHTHAT(B, binary(), B =/= <<>>), non_neg_integer(), range(1, 255)},
        begin
            Where = At rem byte_size(Bytes),
            <<Before:Where/binary, Was, After/binary>> = Bytes,
            Head = iolist_to_binary(evum_stream:file(<<>>, attributes())),
            Wrong = <<Before/binary, (Was bxor Byte), After/binary>>,
            Stream = [Head, evum_stream:piece(Wrong), evum_stream:file_end(erlang:crc32(Bytes)), evum_stream:stream_end()],
            equals({error, ebadmsg}, decode([iolist_to_binary(Stream)]))
        end).

%% --- trees -----------------------------------------------------------------------

tree() -> ?SIZED(Size, oneof([file(), directory(Size)])).

file() -> {file, list(?SUCHTHAT(B, binary(), B =/= <<>>)), attribute_map()}.

directory(Size) -> {directory, list_of(Size, {name(), inside(Size div 4)}), attribute_map()}.

inside(0) -> oneof([file(), {link, target(), attribute_map()}]);
inside(Size) -> frequency([{3, inside(0)}, {1, ?LAZY(directory(Size))}]).

list_of(Size, Type) -> resize(min(Size, 6), list(Type)).

name() ->
    ?SUCHTHAT(Name, ?LET(L, resize(300, non_empty(list(oneof([byte(), $a, $., 255])))), list_to_binary(L)), is_name(Name)).

target() -> ?SUCHTHAT(T, non_empty(binary()), binary:match(T, <<0>>) =:= nomatch).

attribute_map() ->
    ?LET({Mode, Uid, Gid, Mtime}, {oneof([undefined, range(0, 8#7777)]), id(), id(), integer(inf, inf)},
        #{mode => Mode, uid => Uid, gid => Gid, mtime => clamp(Mtime)}).

id() -> oneof([undefined, range(0, 16#fffffffe)]).

clamp(N) -> max(-(1 bsl 63), min((1 bsl 63) - 1, N)).

attributes() -> #{mode => 8#644, uid => 0, gid => 0, mtime => 0}.

%% --- both ways ---------------------------------------------------------------------

encode(Tree) -> iolist_to_binary([entry(<<>>, Tree), evum_stream:stream_end()]).

entry(Name, {file, Pieces, Attributes}) ->
    [evum_stream:file(Name, Attributes), [evum_stream:piece(P) || P <- Pieces], evum_stream:file_end(erlang:crc32(Pieces))];
entry(Name, {link, Target, Attributes}) -> evum_stream:link(Name, Attributes, Target);
entry(Name, {directory, Entries, Attributes}) ->
    [evum_stream:directory(Name, Attributes), [entry(N, E) || {N, E} <- Entries], evum_stream:directory_end()].

%% What the decoder is to tell, with a file's bytes in one.
flat(Tree) -> flat(<<>>, Tree) ++ [stream_end].

flat(Name, {file, Pieces, Attributes}) -> [{file, Name, Attributes}, {bytes, iolist_to_binary(Pieces)}, file_end];
flat(Name, {link, Target, Attributes}) -> [{link, Name, Attributes, Target}];
flat(Name, {directory, Entries, Attributes}) ->
    [{directory, Name, Attributes}] ++ lists:append([flat(N, E) || {N, E} <- Entries]) ++ [directory_end].

cut(<<>>, _Cuts) -> [];
cut(Bytes, []) -> [Bytes];
cut(Bytes, [N | _]) when byte_size(Bytes) =< N -> [Bytes];
cut(Bytes, [N | Cuts]) ->
    <<Now:N/binary, Rest/binary>> = Bytes,
    [Now | cut(Rest, Cuts)].

decode(Pieces) -> decode(Pieces, [], evum_stream:new()).

decode([], Events, Decoder) ->
    case evum_stream:is_complete(Decoder) of
        true -> {ok, joined(lists:append(lists:reverse(Events)))};
        false ->
            true = lists:all(fun is_good/1, lists:append(Events)),
            incomplete
    end;
decode([Bytes | Rest], Events, Decoder) ->
    case evum_stream:decode(Bytes, Decoder) of
        {ok, More, Decoder1} -> decode(Rest, [More | Events], Decoder1);
        {error, _} = Error ->
            true = lists:all(fun is_good/1, lists:append(Events)),
            Error
    end.

joined([{file, _, _} = File | Rest]) ->
    {Bytes, After} = lists:splitwith(fun(E) -> is_tuple(E) andalso element(1, E) =:= bytes end, Rest),
    [File, {bytes, << <<B/binary>> || {bytes, B} <- Bytes >>} | joined(After)];
joined([Event | Rest]) -> [Event | joined(Rest)];
joined([]) -> [].

is_answer({ok, Events}) -> lists:all(fun is_good/1, Events);
is_answer(incomplete) -> true;
is_answer({error, Reason}) -> lists:member(Reason, [eproto, ebadmsg, eloop]).

is_good({_, <<>>, #{}}) -> true;
is_good({_, Name, #{mode := Mode}}) -> is_name(Name) andalso (Mode =:= undefined orelse Mode =< 8#7777);
is_good({link, Name, #{}, Target}) -> is_name(Name) andalso Target =/= <<>> andalso binary:match(Target, <<0>>) =:= nomatch;
is_good(_) -> true.

is_name(Name) ->
    byte_size(Name) >= 1 andalso byte_size(Name) =< 255 andalso not lists:member(Name, [<<".">>, <<"..">>])
        andalso binary:match(Name, [<<0>>, <<"/">>]) =:= nomatch.
