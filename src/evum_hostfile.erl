%% SPDX-License-Identifier: Apache-2.0
%% What Erlang can't do with this host's files: locks, sparse copies, syncs
%%
%% Each handle is a port program (evum_file) of the process that opened it; with
%% either go the locks and a copy that is under way.
-module(evum_hostfile).

-export([open/0, close/1, with/1, copy/3, extents/2, sync/2, lock/3, idle/2, digest/2]).
-export_type([handle/0]).

-opaque handle() :: {port(), OsPid :: pos_integer()}.

%% What is hashed, and compared with zeros, at a time.
-define(BLOCK, 65536).
%% of a call but a lock, which has its own: a copy of what a disk holds
-define(CALL_MS, 3600000).

-spec open() -> {ok, handle()} | {error, term()}.
open() ->
    case evum_port:open(evum_file) of
        {ok, Port, OsPid} -> {ok, {Port, OsPid}};
        {error, _} = Error -> Error
    end.

%% @doc Returns once the program is gone, and with it its locks.
-spec close(handle()) -> ok.
close({Port, OsPid}) ->
    ok = evum_port:close(Port, OsPid),
    forget(Port).

forget(Port) ->
    receive
        {Port, _} -> forget(Port);
        {'EXIT', Port, _} -> forget(Port)
    after 0 -> ok
    end.

%% @doc Runs a function with a handle.
-spec with(fun((handle()) -> Result)) -> Result | {error, term()}.
with(Fun) ->
    case open() of
        {ok, Handle} ->
            try Fun(Handle) after close(Handle) end;
        {error, _} = Error -> Error
    end.

%% @doc Copies a file, its holes as holes; `To' is made, and mustn't be there. How many
%% bytes were no hole. Where it fails nothing is left of it.
-spec copy(file:filename_all(), file:filename_all(), handle()) -> {ok, non_neg_integer()} | {error, file:posix() | port_died}.
copy(From, To, Handle) -> call(copy, [bytes(From), bytes(To)], ?CALL_MS, Handle).

%% @doc Where the file's data is from an offset on: its size, and extents, in order; none: no more.
-spec extents(file:filename_all(), handle()) -> {ok, {Size :: non_neg_integer(), [{non_neg_integer(), pos_integer()}]}} | {error, term()}.
extents(File, Handle) -> extents(File, 0, [], Handle).

extents(File, From, Acc, Handle) ->
    case call(extents, [bytes(File), From], ?CALL_MS, Handle) of
        {ok, {Size, []}} -> {ok, {Size, lists:append(lists:reverse(Acc))}};
        {ok, {_, Extents}} ->
            {Offset, Length} = lists:last(Extents),
            extents(File, Offset + Length, [Extents | Acc], Handle);
        {error, _} = Error -> Error
    end.

%% @doc Puts a file's bytes, or a directory's names, on the disk.
-spec sync(file:filename_all(), handle()) -> ok | {error, file:posix() | port_died}.
sync(Path, Handle) -> call(sync, [bytes(Path)], ?CALL_MS, Handle).

%% @doc Makes the file, if it isn't there, and locks it for this handle against all others.
-spec lock(file:filename_all(), Seconds :: 1..600, handle()) -> ok | {error, file:posix() | port_died}.
lock(File, Seconds, Handle) -> call(lock, [bytes(File), Seconds], (Seconds + 5) * 1000, Handle).

%% @doc Does nobody hold a lock on the file?
-spec idle(file:filename_all(), handle()) -> {ok, boolean()} | {error, file:posix() | port_died}.
idle(File, Handle) -> call(idle, [bytes(File)], ?CALL_MS, Handle).

call(Op, Args, Ms, {Port, _}) ->
    case evum_port:command(Port, evum_proto:call(0, Op, Args)) of
        ok -> reply(Port, Ms);
        _ -> {error, port_died}
    end.

reply(Port, Ms) ->
    receive
        {Port, {data, Frame}} ->
            {reply, 0, Outcome} = evum_proto:decode(Frame),
            Outcome;
        {Port, {exit_status, _}} -> {error, port_died}
    after Ms -> {error, port_died}
    end.

bytes(Path) when is_binary(Path) -> Path;
bytes(Path) -> unicode:characters_to_binary(Path).

%% --- digests ---------------------------------------------------------------------

%% @doc A BLAKE2b hash (twice as fast as SHA-256 where a CPU has no instructions for that) of a sparse file: of its size and of each block of 64 KiB that isn't
%% all zeros, with its place; so it is the same for all copies, whatever is a hole in them.
-spec digest(file:filename_all(), handle()) -> {ok, binary()} | {error, term()}.
digest(File, Handle) ->
    case extents(File, Handle) of
        {ok, {Size, Extents}} -> read_open(File, blocks(Extents), crypto:hash_update(crypto:hash_init(blake2b), <<Size:64>>));
        {error, _} = Error -> Error
    end.

%% Ranges of whole blocks, apart from each other, in order: extents are the file system's to choose.
blocks(Extents) -> blocks(Extents, []).

blocks([], Acc) -> lists:reverse(Acc);
blocks([{Offset, Length} | Rest], Acc) ->
    First = Offset div ?BLOCK,
    End = (Offset + Length + ?BLOCK - 1) div ?BLOCK,
    case Acc of
        [{F, E} | Before] when First =< E -> blocks(Rest, [{F, max(E, End)} | Before]);
        _ -> blocks(Rest, [{First, End} | Acc])
    end.

read_open(File, Ranges, Hash) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Fd} ->
            try hash(Ranges, Fd, binary:copy(<<0>>, ?BLOCK), Hash) after file:close(Fd) end;
        {error, _} = Error -> Error
    end.

hash([], _Fd, _Zeros, Hash) -> {ok, crypto:hash_final(Hash)};
hash([{Block, Block} | Rest], Fd, Zeros, Hash) -> hash(Rest, Fd, Zeros, Hash);
hash([{Block, End} | Rest], Fd, Zeros, Hash) ->
    case file:pread(Fd, Block * ?BLOCK, ?BLOCK) of
        {ok, Bytes} -> hash([{Block + 1, End} | Rest], Fd, Zeros, hash_block(Block, Bytes, Zeros, Hash));
        eof -> hash(Rest, Fd, Zeros, Hash);
        {error, _} = Error -> Error
    end.

hash_block(_Block, Zeros, Zeros, Hash) -> Hash;
hash_block(Block, Bytes, Zeros, Hash) ->
    case binary:longest_common_prefix([Bytes, Zeros]) of
        %% the last of the file may be shorter
        N when N =:= byte_size(Bytes) -> Hash;
        _ -> crypto:hash_update(Hash, [<<Block:64>>, Bytes])
    end.
