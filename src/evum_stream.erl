%% SPDX-License-Identifier: Apache-2.0
%% Codec of the stream that carries a file or a tree of files; pure
%%
%% Theory of operation.  The stream is written and read by the agent's built-in
%% commands put and get, and here. Numbers are little-endian:
%%
%%   entry  u8 type, u32 mode, u32 uid, u32 gid, i64 mtime, u16 length, name; then of
%%          f  pieces: u32 length (at most 131072), bytes; a piece of none ends
%%             them; u32 CRC-32 of all the bytes
%%          d  the entries inside, then a byte u
%%          l  u16 length, target
%%   after the one top entry a byte e
%%
%% The top entry is a file or a directory and has no name; a name inside is 1 to 255 bytes, without slash or
%% NUL, and neither "." nor "..". Directories nest 128 deep at most. Mode, uid and
%% gid of all ones are not given. An input that ends before e is one that was given up.
%%
%% The decoder takes the stream in any pieces and holds no more than an unfinished
%% head: bytes of a file are handed on as they come. What a guest sends is not to be
%% believed: what isn't in the format is an error, for good.
-module(evum_stream).

-export([piece_max/0, depth_max/0]).
-export([file/2, directory/2, link/3, piece/1, file_end/1, directory_end/0, stream_end/0]).
-export([new/0, decode/2, is_complete/1]).
-export_type([attributes/0, event/0, decoder/0]).

-define(PIECE_MAX, 131072).
-define(DEPTH_MAX, 128).
-define(NAME_MAX, 255).
%% PATH_MAX less its NUL
-define(TARGET_MAX, 4095).
%% bytes of an entry before its name
-define(HEAD, 23).
-define(NOT_GIVEN, 16#ffffffff).
-define(MODE_MAX, 8#7777).

%% mtime in seconds
-type attributes() :: #{
    mode := non_neg_integer() | undefined,
    uid := non_neg_integer() | undefined,
    gid := non_neg_integer() | undefined,
    mtime := integer()
}.
-type event() ::
    {file | directory, Name :: binary(), attributes()}
    | {link, Name :: binary(), attributes(), Target :: binary()}
    %% of the file that was told last, whose bytes are right at file_end
    | {bytes, binary()}
    | file_end
    %% of the directory that is open
    | directory_end
    | stream_end.

-record(decoder, {
    buffer = <<>> :: binary(),
    %% what comes next
    next = entry :: entry | {piece, Crc :: non_neg_integer()} | {bytes, Left :: pos_integer(), Crc :: non_neg_integer()}
        | {crc, non_neg_integer()} | the_end | nothing,
    depth = 0 :: non_neg_integer()
}).
-opaque decoder() :: #decoder{}.

%% @doc Bytes of a file in one piece.
-spec piece_max() -> pos_integer().
piece_max() -> ?PIECE_MAX.

%% @doc Directories in one another.
-spec depth_max() -> pos_integer().
depth_max() -> ?DEPTH_MAX.

%% --- encoding ------------------------------------------------------------------

%% @doc A file's head. Its pieces and {@link file_end/1} follow.
-spec file(Name :: binary(), attributes()) -> iodata().
file(Name, Attributes) -> entry($f, Name, Attributes).

%% @doc A directory's head. What is in it and {@link directory_end/0} follow.
-spec directory(Name :: binary(), attributes()) -> iodata().
directory(Name, Attributes) -> entry($d, Name, Attributes).

%% @doc A symbolic link.
-spec link(Name :: binary(), attributes(), Target :: binary()) -> iodata().
link(Name, Attributes, Target) -> [entry($l, Name, Attributes), <<(byte_size(Target)):16/little>>, Target].

entry(Type, Name, #{mode := Mode, uid := Uid, gid := Gid, mtime := Mtime}) ->
    [<<Type, (given(Mode)):32/little, (given(Uid)):32/little, (given(Gid)):32/little, Mtime:64/signed-little,
       (byte_size(Name)):16/little>>, Name].

given(undefined) -> ?NOT_GIVEN;
given(Number) -> Number.

%% @doc Bytes of a file, 1 to {@link piece_max/0}.
-spec piece(binary()) -> iodata().
piece(Bytes) when byte_size(Bytes) > 0, byte_size(Bytes) =< ?PIECE_MAX -> [<<(byte_size(Bytes)):32/little>>, Bytes].

%% @doc The end of a file; the CRC-32 of all its bytes.
-spec file_end(non_neg_integer()) -> binary().
file_end(Crc) -> <<0:32, Crc:32/little>>.

%% @doc The end of a directory.
-spec directory_end() -> binary().
directory_end() -> <<$u>>.

%% @doc The end of the stream.
-spec stream_end() -> binary().
stream_end() -> <<$e>>.

%% --- decoding ------------------------------------------------------------------

%% @doc The decoder of a new stream.
-spec new() -> decoder().
new() -> #decoder{}.

%% @doc Was the stream read to its end?
-spec is_complete(decoder()) -> boolean().
is_complete(#decoder{next = Next}) -> Next =:= nothing.

%% @doc Takes more of the stream; what it says, in order. `ebadmsg': bytes don't
%% have their sum; `eloop': too deep; `eproto': it isn't such a stream.
-spec decode(binary(), decoder()) -> {ok, [event()], decoder()} | {error, eproto | ebadmsg | eloop}.
decode(Bytes, #decoder{buffer = <<>>} = D) -> decode(Bytes, D, []);
decode(Bytes, #decoder{buffer = Buffer} = D) -> decode(<<Buffer/binary, Bytes/binary>>, D#decoder{buffer = <<>>}, []).

decode(Bytes, #decoder{next = Next} = D, Events) ->
    case step(Next, Bytes, D) of
        more -> {ok, lists:reverse(Events), D#decoder{buffer = binary:copy(Bytes)}};
        {error, _} = Error -> Error;
        {Event, Rest, D1} -> decode(Rest, D1, [Event | Events]);
        {Rest, D1} -> decode(Rest, D1, Events)
    end.

step(nothing, <<>>, _D) -> more;
step(nothing, _, _D) -> {error, eproto};
step({bytes, _, _}, <<>>, _D) -> more;
step({bytes, Left, Crc}, Bytes, D) when byte_size(Bytes) < Left ->
    {{bytes, Bytes}, <<>>, D#decoder{next = {bytes, Left - byte_size(Bytes), erlang:crc32(Crc, Bytes)}}};
step({bytes, Left, Crc}, Bytes, D) ->
    <<Now:Left/binary, Rest/binary>> = Bytes,
    {{bytes, Now}, Rest, D#decoder{next = {piece, erlang:crc32(Crc, Now)}}};
step({piece, Crc}, <<0:32, Rest/binary>>, D) -> {Rest, D#decoder{next = {crc, Crc}}};
step({piece, Crc}, <<Left:32/little, Rest/binary>>, D) when Left =< ?PIECE_MAX ->
    {Rest, D#decoder{next = {bytes, Left, Crc}}};
step({piece, _}, <<_:32, _/binary>>, _D) -> {error, eproto};
step({crc, Crc}, <<Crc:32/little, Rest/binary>>, D) -> {file_end, Rest, ended(D)};
step({crc, _}, <<_:32, _/binary>>, _D) -> {error, ebadmsg};
step(the_end, <<$e, Rest/binary>>, D) -> {stream_end, Rest, D#decoder{next = nothing}};
step(entry, <<$u, Rest/binary>>, #decoder{depth = Depth} = D) when Depth > 0 ->
    {directory_end, Rest, ended(D#decoder{depth = Depth - 1})};
step(entry, <<Type, Mode:32/little, Uid:32/little, Gid:32/little, Mtime:64/signed-little, Length:16/little, Rest/binary>>,
     #decoder{depth = Depth} = D) when Length =< ?NAME_MAX, Mode =< ?MODE_MAX orelse Mode =:= ?NOT_GIVEN ->
    case Rest of
        <<Name:Length/binary, Inside/binary>> ->
            Attributes = #{mode => number(Mode), uid => number(Uid), gid => number(Gid), mtime => Mtime},
            case is_name(Name, Depth) of
                true -> entry(Type, binary:copy(Name), Attributes, Inside, D);
                false -> {error, eproto}
            end;
        _ -> more
    end;
step(entry, <<_:?HEAD/binary, _/binary>>, _D) -> {error, eproto};
step(entry, <<Type, _/binary>>, _D) when Type =/= $f, Type =/= $d, Type =/= $l -> {error, eproto};
step(the_end, <<_, _/binary>>, _D) -> {error, eproto};
step(_Next, _Bytes, _D) -> more.

entry($f, Name, Attributes, Rest, D) ->
    {{file, Name, Attributes}, Rest, D#decoder{next = {piece, erlang:crc32(<<>>)}}};
entry($d, _Name, _Attributes, _Rest, #decoder{depth = ?DEPTH_MAX}) -> {error, eloop};
entry($d, Name, Attributes, Rest, #decoder{depth = Depth} = D) ->
    {{directory, Name, Attributes}, Rest, D#decoder{depth = Depth + 1}};
entry($l, Name, Attributes, <<Length:16/little, Rest/binary>>, #decoder{depth = Depth} = D) when
    Depth > 0, Length > 0, Length =< ?TARGET_MAX
->
    case Rest of
        <<Target:Length/binary, More/binary>> ->
            case binary:match(Target, <<0>>) of
                nomatch -> {{link, Name, Attributes, binary:copy(Target)}, More, D};
                _ -> {error, eproto}
            end;
        _ -> more
    end;
entry($l, _Name, _Attributes, <<_:16, _/binary>>, _D) -> {error, eproto};
entry($l, _Name, _Attributes, _Rest, _D) -> more;
entry(_Type, _Name, _Attributes, _Rest, _D) -> {error, eproto}.

ended(#decoder{depth = 0} = D) -> D#decoder{next = the_end};
ended(D) -> D#decoder{next = entry}.

number(?NOT_GIVEN) -> undefined;
number(Number) -> Number.

is_name(Name, 0) -> Name =:= <<>>;
is_name(Name, _Depth) ->
    Name =/= <<>> andalso Name =/= <<".">> andalso Name =/= <<"..">>
        andalso binary:match(Name, [<<0>>, <<$/>>]) =:= nomatch.
