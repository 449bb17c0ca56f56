%% SPDX-License-Identifier: Apache-2.0
%% Is an image as long as it says itself that it is?
%%
%% A download that was cut, and that nobody gave a checksum of, would only be found out
%% by the machine that reads what isn't there.
-module(evm_image_size).

-export([is_whole/2]).

-define(SECTOR, 512).
%% where each keeps what it says of itself, and how much of it is read
-define(EXT, 1024).
-define(BTRFS, 16#10000).
-define(HEAD, 512).

%% @doc Has the file all of an archive, or of a file system of this type? One of a type
%% that isn't known has.
-spec is_whole(tar | ext | squashfs | xfs | erofs | btrfs | atom(), file:filename()) -> boolean().
is_whole(Type, File) ->
    Bytes = filelib:file_size(File),
    Bytes rem ?SECTOR =:= 0 andalso is_whole(Type, Bytes, File).

%% The last block of an archive is of zeroes.
is_whole(tar, Bytes, File) -> read(File, Bytes - ?SECTOR) =:= <<0:(?SECTOR * 8)>>;
is_whole(Type, Bytes, File) -> Bytes >= said(Type, read(File, place(Type))).

read(File, From) ->
    {ok, Fd} = file:open(File, [read, raw, binary]),
    Read = file:pread(Fd, From, ?HEAD),
    ok = file:close(Fd),
    case Read of {ok, Head} -> Head; _ -> <<>> end.

place(Type) when Type =:= ext; Type =:= erofs -> ?EXT;
place(btrfs) -> ?BTRFS;
place(_) -> 0.

%% The bytes that a file system says it has.
said(ext, <<_:4/binary, Low:32/little, _:16/binary, Log:32/little, _:68/binary, Incompatible:32/little, _:236/binary, High:32/little, _/binary>>)
    when Log =< 6 -> (Low + high(Incompatible, High)) bsl (10 + Log);
said(squashfs, <<_:40/binary, Used:64/little, _/binary>>) -> Used;
said(xfs, <<_:4/binary, Size:32, Blocks:64, _/binary>>) -> Size * Blocks;
said(erofs, <<_:12/binary, Bits, _:23/binary, Blocks:32/little, _/binary>>) when Bits =< 16 -> Blocks bsl Bits;
said(btrfs, <<_:112/binary, Total:64/little, _:16/binary, 1:64/little, _/binary>>) -> Total;
said(_, _) -> 0.

%% The feature of 64-bit numbers of blocks.
high(Incompatible, High) when Incompatible band 16#80 =/= 0 -> High bsl 32;
high(_, _High) -> 0.
