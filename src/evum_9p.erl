%% SPDX-License-Identifier: Apache-2.0
%% 9P2000.L, the file protocol that Linux mounts: its messages; pure
%%
%% A message is its length (4 bytes, these included), a type, a tag by which its
%% answer is known, and fields; numbers are little-endian, a string has its length
%% (2 bytes) before it. A message whose length can't be ends the connection; whatever
%% is wrong inside one is that message's error.
-module(evum_9p).

-export([next/2, parse/2, message/2, errno/1, qid/2, entry/4]).
-export_type([tag/0, fid/0, qid/0, request/0, reply/0]).

%% length, type, tag
-define(HEADER, 7).
%% names of a walk; the protocol's bound
-define(WALK_MAX, 16).

-define(RLERROR, 7).

-type tag() :: 0..65535.
-type fid() :: 0..16#ffffffff.
-opaque qid() :: binary().
-type request() ::
    {version, Max :: non_neg_integer(), binary()}
    | {attach, fid(), Uid :: non_neg_integer()}
    | {flush, tag()}
    | {walk, fid(), fid(), [binary()]}
    | {read | readdir, fid(), Offset :: non_neg_integer(), Count :: non_neg_integer()}
    | {write, fid(), Offset :: non_neg_integer(), binary()}
    | {clunk | remove | statfs | readlink | getattr | fsync | lock, fid()}
    | {open, fid(), Flags :: non_neg_integer()}
    | {create, fid(), binary(), Flags :: non_neg_integer(), Mode :: non_neg_integer(), Gid :: non_neg_integer()}
    | {symlink, fid(), binary(), Target :: binary(), Gid :: non_neg_integer()}
    | {mkdir, fid(), binary(), Mode :: non_neg_integer(), Gid :: non_neg_integer()}
    | {mknod, fid(), binary(), Mode :: non_neg_integer(), Gid :: non_neg_integer()}
    | {rename, fid(), fid(), binary()}
    | {renameat, fid(), binary(), fid(), binary()}
    | {unlinkat, fid(), binary(), Flags :: non_neg_integer()}
    %% seconds since 1970; `now' is the server's
    | {setattr, fid(), #{mode | uid | gid | size => non_neg_integer(), mtime => now | integer()}}
    | {getlock, fid(), Same :: binary(), Client :: binary()}
    | unsupported.
-type reply() ::
    {version, pos_integer(), binary()}
    | {qid, attach | symlink | mkdir | mknod, qid()}
    | {opened, open | create, qid()}
    | {walk, [qid()]}
    | {data, read | readdir, iodata()}
    | {write, non_neg_integer()}
    | {done, flush | clunk | remove | rename | renameat | unlinkat | setattr | fsync}
    | {statfs, Blocks :: non_neg_integer(), Free :: non_neg_integer(), BlockSize :: pos_integer()}
    | {readlink, binary()}
    | {getattr, qid(), map()}
    | lock
    | {getlock, Same :: binary(), Client :: binary()}
    | {error, atom()}.

%% @doc Cuts the first message, of at most `Max' bytes, off what came. `more': it isn't
%% all there.
-spec next(binary(), pos_integer()) ->
    {ok, {Type :: byte(), tag(), Body :: binary()}, Rest :: binary()} | more | {error, bad_length}.
next(<<Size:32/little, _/binary>>, Max) when Size < ?HEADER; Size > Max -> {error, bad_length};
next(<<Size:32/little, Type, Tag:16/little, More/binary>>, _Max) ->
    Length = Size - ?HEADER,
    case More of
        <<Body:Length/binary, Rest/binary>> -> {ok, {Type, Tag, Body}, Rest};
        _ -> more
    end;
next(_Bytes, _Max) -> more.

%% @doc What a message asks for; `unsupported': something that exists, or may.
-spec parse(Type :: byte(), Body :: binary()) -> {ok, request()} | {error, malformed}.
parse(Type, Body) ->
    try {ok, request(Type, Body)}
    catch error:_ -> {error, malformed}
    end.

request(100, <<Max:32/little, N:16/little, Version:N/binary>>) -> {version, Max, Version};
request(104, <<Fid:32/little, _Afid:32, N:16/little, _User:N/binary, M:16/little, _Tree:M/binary, Uid:32/little>>) ->
    {attach, Fid, Uid};
request(108, <<Tag:16/little>>) -> {flush, Tag};
request(110, <<Fid:32/little, New:32/little, Count:16/little, Names/binary>>) when Count =< ?WALK_MAX ->
    {walk, Fid, New, names(Count, Names)};
request(116, <<Fid:32/little, Offset:64/little, Count:32/little>>) -> {read, Fid, Offset, Count};
request(40, <<Fid:32/little, Offset:64/little, Count:32/little>>) -> {readdir, Fid, Offset, Count};
request(118, <<Fid:32/little, Offset:64/little, Count:32/little, Bytes:Count/binary>>) -> {write, Fid, Offset, Bytes};
request(120, <<Fid:32/little>>) -> {clunk, Fid};
request(122, <<Fid:32/little>>) -> {remove, Fid};
request(8, <<Fid:32/little>>) -> {statfs, Fid};
request(22, <<Fid:32/little>>) -> {readlink, Fid};
request(24, <<Fid:32/little, _Mask:64>>) -> {getattr, Fid};
request(50, <<Fid:32/little, _DataOnly/binary>>) -> {fsync, Fid};
request(52, <<Fid:32/little, _/binary>>) -> {lock, Fid};
request(54, <<Fid:32/little, _Type, Same:20/binary, N:16/little, Client:N/binary>>) -> {getlock, Fid, Same, Client};
request(12, <<Fid:32/little, Flags:32/little>>) -> {open, Fid, Flags};
request(14, <<Fid:32/little, N:16/little, Name:N/binary, Flags:32/little, Mode:32/little, Gid:32/little>>) ->
    {create, Fid, Name, Flags, Mode, Gid};
request(16, <<Fid:32/little, N:16/little, Name:N/binary, M:16/little, Target:M/binary, Gid:32/little>>) ->
    {symlink, Fid, Name, Target, Gid};
request(72, <<Fid:32/little, N:16/little, Name:N/binary, Mode:32/little, Gid:32/little>>) ->
    {mkdir, Fid, Name, Mode, Gid};
request(18, <<Fid:32/little, N:16/little, Name:N/binary, Mode:32/little, _Device:64, Gid:32/little>>) ->
    {mknod, Fid, Name, Mode, Gid};
request(20, <<Fid:32/little, Directory:32/little, N:16/little, Name:N/binary>>) -> {rename, Fid, Directory, Name};
request(74, <<From:32/little, N:16/little, Name:N/binary, To:32/little, M:16/little, New:M/binary>>) ->
    {renameat, From, Name, To, New};
request(76, <<Fid:32/little, N:16/little, Name:N/binary, Flags:32/little>>) -> {unlinkat, Fid, Name, Flags};
request(26, <<Fid:32/little, Valid:32/little, Fields:52/binary>>) -> {setattr, Fid, changes(Valid, Fields)};
request(Type, _Body) ->
    %% the ones above with a body that isn't what it should be
    false = lists:member(Type, [8, 12, 14, 16, 18, 20, 22, 24, 26, 40, 50, 52, 54, 72, 74, 76, 100, 104, 108, 110, 116, 118, 120, 122]),
    unsupported.

names(0, <<>>) -> [];
names(Count, <<N:16/little, Name:N/binary, Rest/binary>>) -> [Name | names(Count - 1, Rest)].

%% Linux says what is valid by one bit each: mode, uid, gid, size, atime, mtime, ctime, and
%% whether the two times are given. Access times aren't kept, nor are changes'.
changes(Valid, <<Mode:32/little, Uid:32/little, Gid:32/little, Size:64/little, _Atime:128, Mtime:64/signed-little, _Nanoseconds:64>>) ->
    maps:from_list([{Key, Value} || {Bit, Key, Value} <- [
        {16#1, mode, Mode band 8#7777}, {16#2, uid, Uid}, {16#4, gid, Gid}, {16#8, size, Size},
        {16#20, mtime, case Valid band 16#100 of 0 -> now; _ -> Mtime end}
    ], Valid band Bit =/= 0]).

%% @doc A whole answer.
-spec message(tag(), reply()) -> iodata().
message(Tag, Reply) ->
    {Type, Body} = body(Reply),
    [<<(?HEADER + iolist_size(Body)):32/little, Type, Tag:16/little>> | Body].

body({error, Posix}) -> {?RLERROR, <<(errno(Posix)):32/little>>};
body({version, Max, Version}) -> {101, [<<Max:32/little>> | string(Version)]};
body({qid, What, Qid}) -> {case What of attach -> 105; symlink -> 17; mkdir -> 73; mknod -> 19 end, Qid};
body({opened, What, Qid}) -> {case What of open -> 13; create -> 15 end, [Qid, <<0:32>>]};
body({walk, Qids}) -> {111, [<<(length(Qids)):16/little>> | Qids]};
body({data, What, Data}) -> {case What of read -> 117; readdir -> 41 end, [<<(iolist_size(Data)):32/little>>, Data]};
body({write, Count}) -> {119, <<Count:32/little>>};
body({done, What}) ->
    {case What of
        flush -> 109; clunk -> 121; remove -> 123; rename -> 21; renameat -> 75; unlinkat -> 77; setattr -> 27; fsync -> 51
    end, <<>>};
body({statfs, Blocks, Free, Size}) ->
    %% the number of 9P itself, as the kernel knows it, and the longest name
    {9, <<16#01021997:32/little, Size:32/little, Blocks:64/little, Free:64/little, Free:64/little, 0:64, 0:64, 0:64, 255:32/little>>};
body({readlink, Target}) -> {23, string(Target)};
body({getattr, Qid, #{kind := Kind, mode := Mode, uid := Uid, gid := Gid, size := Size, mtime := Mtime}}) ->
    Time = <<Mtime:64/signed-little, 0:64>>,
    Blocks = (Size + 511) div 512,
    {25, [<<16#7ff:64/little>>, Qid, <<(Kind bor Mode):32/little, Uid:32/little, Gid:32/little, 1:64/little, 0:64,
        Size:64/little, 4096:64/little, Blocks:64/little>>, Time, Time, Time, <<0:256>>]};
body(lock) -> {53, <<0>>};
%% nobody holds one: the guest's kernel knows of its own programs' locks
body({getlock, Same, Client}) -> {55, [<<2>>, Same | string(Client)]}.

string(Bytes) -> [<<(byte_size(Bytes)):16/little>>, Bytes].

%% @doc What a file is known by: the kind, and a number that no other has.
-spec qid(file | directory | link, non_neg_integer()) -> qid().
qid(Type, Number) ->
    <<(case Type of file -> 0; link -> 16#02; directory -> 16#80 end), 0:32, Number:64/little>>.

%% @doc A name in a directory; `Next' is where the following one is read.
-spec entry(qid(), Next :: pos_integer(), file | directory | link | unknown, binary()) -> iodata().
entry(Qid, Next, Type, Name) ->
    Kind = case Type of unknown -> 0; directory -> 4; file -> 8; link -> 10 end,
    [Qid, <<Next:64/little, Kind>> | string(Name)].

%% @doc Linux's number of an error; of one that it hasn't, EIO's.
-spec errno(atom()) -> pos_integer().
errno(eperm) -> 1;
errno(enoent) -> 2;
errno(eagain) -> 11;
errno(enomem) -> 12;
errno(eacces) -> 13;
errno(ebusy) -> 16;
errno(eexist) -> 17;
errno(exdev) -> 18;
errno(enodev) -> 19;
errno(enotdir) -> 20;
errno(eisdir) -> 21;
errno(einval) -> 22;
errno(enfile) -> 23;
errno(emfile) -> 24;
errno(etxtbsy) -> 26;
errno(efbig) -> 27;
errno(enospc) -> 28;
errno(erofs) -> 30;
errno(emlink) -> 31;
errno(enametoolong) -> 36;
errno(enotempty) -> 39;
errno(eloop) -> 40;
errno(eproto) -> 71;
errno(ebadf) -> 9;
errno(eopnotsupp) -> 95;
errno(enotsup) -> 95;
errno(etimedout) -> 110;
errno(estale) -> 116;
errno(edquot) -> 122;
errno(_) -> 5.
