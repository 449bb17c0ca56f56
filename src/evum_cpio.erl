%% SPDX-License-Identifier: Apache-2.0
%% An initramfs as the kernel unpacks it: newc cpio archives; pure
%%
%% What is written depends on the entries alone: owner 0:0, no times, numbers in the
%% order of the entries.
-module(evum_cpio).

-export([entry/2, trailer/0, entries/1]).
-export_type([entry/0, kind/0]).

-type mode() :: 0..8#7777.
-type kind() :: {directory, mode()} | {file, mode(), Bytes :: iodata()} | {link, Target :: binary()}.
%% the name relative to the root, without a slash before it
-type entry() :: {Name :: binary(), kind()}.

-define(MAGIC, "070701").
-define(HEADER, 110).
-define(TRAILER, <<"TRAILER!!!">>).
-define(S_IFMT, 8#170000).
-define(S_IFDIR, 8#040000).
-define(S_IFREG, 8#100000).
-define(S_IFLNK, 8#120000).
%% what the kernel takes for a name, with its NUL
-define(NAME_MAX, 4096).

%% @doc The bytes of one entry; `Number' is one that no other of the archive has.
-spec entry(pos_integer(), entry()) -> iodata().
entry(Number, {Name, {directory, Mode}}) -> member(Number, Name, ?S_IFDIR bor Mode, 2, []);
entry(Number, {Name, {file, Mode, Bytes}}) -> member(Number, Name, ?S_IFREG bor Mode, 1, Bytes);
entry(Number, {Name, {link, Target}}) -> member(Number, Name, ?S_IFLNK bor 8#777, 1, Target).

%% @doc The end of an archive; another may follow.
-spec trailer() -> iodata().
trailer() -> member(0, ?TRAILER, 0, 1, []).

member(Number, Name, Mode, Links, Bytes) when byte_size(Name) < ?NAME_MAX ->
    Size = iolist_size(Bytes),
    NameSize = byte_size(Name) + 1,
    Fields = [Number, Mode, 0, 0, Links, 0, Size, 0, 0, 0, 0, NameSize, 0],
    [?MAGIC, [hex(Field) || Field <- Fields], Name, 0, pad(?HEADER + NameSize), Bytes, pad(Size)].

hex(Number) when Number < 16#100000000 -> string:right(integer_to_list(Number, 16), 8, $0).

pad(Size) -> binary:copy(<<0>>, -Size band 3).

%% @doc What an archive holds, but for devices and the like. Of several names of a file
%% the last one has its bytes, as in the archive.
-spec entries(binary()) -> {ok, [entry()]} | {error, bad_archive}.
entries(Bytes) ->
    try
        {ok, members(Bytes)}
    catch
        error:_ -> {error, bad_archive}
    end.

members(<<?MAGIC, Fields:104/binary, Rest/binary>>) ->
    [_, Mode, _, _, _, _, Size, _, _, _, _, NameSize, _] = [binary_to_integer(F, 16) || <<F:8/binary>> <= Fields],
    NameLength = NameSize - 1,
    <<Name:NameLength/binary, 0, AfterName/binary>> = Rest,
    Data = skip(pad(?HEADER + NameSize), AfterName),
    <<Content:Size/binary, AfterData/binary>> = Data,
    case Name of
        ?TRAILER -> [];
        _ -> member(plain(Name), Mode band ?S_IFMT, Mode band 8#7777, Content) ++ members(skip(pad(Size), AfterData))
    end.

skip(Padding, Bytes) ->
    Length = byte_size(Padding),
    <<_:Length/binary, Rest/binary>> = Bytes,
    Rest.

plain(<<"./", Name/binary>>) -> Name;
plain(Name) -> Name.

member(Name, ?S_IFDIR, Mode, _Content) -> [{Name, {directory, Mode}}];
member(Name, ?S_IFREG, Mode, Content) -> [{Name, {file, Mode, Content}}];
member(Name, ?S_IFLNK, _Mode, Content) -> [{Name, {link, Content}}];
member(_Name, _Type, _Mode, _Content) -> [].
