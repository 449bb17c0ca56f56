%% SPDX-License-Identifier: Apache-2.0
%% The cache of images on this host's disk
%%
%%   images/SHA256.img   a read-only file system, named by the hash of its bytes
%%   refs/KEY            which of them a dist is; KEY is the hash of what it is made from
%%   locks/KEY           held by who makes it: flock(2), which ends with its holder
%%   tmp/KEY/            what is being made; whoever has the lock owns it
%%
%% An image gets its name last: complete, checked and on the disk. Every image has
%% the same time stamp, so that one that was written to shows by its own.
-module(evm_image_store).

-export([dir/0, lock/3, find/1, present/1, work/1, put/3, gc/2, usage/0, now_ms/0, hash/1, posix/2]).
-export_type([key/0, error/0]).

-include_lib("kernel/include/file.hrl").

%% hexadecimal
-type key() :: string().
-type error() :: no_home | {cache, file:filename(), atom()} | {cache_full, non_neg_integer(), pos_integer()} | term().

%% 2000-01-01
-define(MTIME, 946684800).
-define(CHUNK, 1048576).
%% a lock's holder is bound to be through by then: s
-define(LOCK_S, "10800").
%% how soon somebody who waits is told: ms
-define(SOON_MS, 200).
-define(REF_MAX, 1000).
%% the lock of the names of all: while an image gets its own, and while some go
-define(CACHE, "cache").
%% how long a cut download waits to be resumed: s
-define(STALE_S, 604800).

%% @doc The cache's directory. Without one ({@link evum_home:dir/1}) it is a place where
%% nothing is found; nothing is put there, since nobody gets a lock.
-spec dir() -> file:filename().
dir() ->
    case evum_home:dir(cache) of
        {ok, Dir} -> Dir;
        {error, no_home} -> "/nonexistent/evum"
    end.

path(Parts) -> filename:join([dir() | Parts]).

image(Hash) -> path(["images", Hash ++ ".img"]).
ref(Key) -> path(["refs", Key]).

%% @doc ms of the clock that never jumps.
-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).

%% @doc An error with a file: a full disk has a name of its own.
-spec posix(atom(), file:filename()) -> {no_space | cache, file:filename()} | {cache, file:filename(), atom()}.
posix(Full, _File) when Full =:= enospc; Full =:= edquot -> {no_space, dir()};
posix(Posix, File) -> {cache, File, Posix}.

%% --- locks -------------------------------------------------------------------------

%% @doc Runs a function with the lock of a key; `Wait' is called when somebody else
%% has it. The lock's holder is a program that ends when this process does.
-spec lock(key(), fun(() -> Result), fun(() -> term())) -> Result | {error, error()}.
lock(Key, Fun, Wait) ->
    case evum_home:dir(cache) of
        {ok, _} -> lock_file(Key, Fun, Wait);
        {error, _} = Error -> Error
    end.

lock_file(Key, Fun, Wait) ->
    File = path(["locks", Key]),
    case {filelib:ensure_dir(File), evm_image_tool:find("flock"), evm_image_tool:find("cat")} of
        {ok, {ok, Flock}, {ok, Cat}} -> locked(open_lock(Flock, ["-w", ?LOCK_S, File, Cat]), Fun, Wait);
        {{error, Posix}, _, _} -> {error, posix(Posix, dir())};
        {ok, {error, _} = Error, _} -> Error;
        {ok, _, Error} -> Error
    end.

open_lock(Flock, Args) ->
    Port = open_port({spawn_executable, Flock}, [{args, ["-F" | Args]}, exit_status, binary, hide, stderr_to_stdout]),
    %% cat's echo says that the lock is ours
    true = port_command(Port, <<0>>),
    Port.

locked(Port, Fun, Wait) ->
    try await_lock(Port, Wait) of
        ok -> Fun();
        {error, _} = Error -> Error
    after
        catch port_close(Port),
        receive {Port, {exit_status, _}} -> ok after 0 -> ok end
    end.

await_lock(Port, Wait) ->
    receive
        {Port, Got} -> got_lock(Got)
    after ?SOON_MS ->
        _ = Wait(),
        receive {Port, Got} -> got_lock(Got) end
    end.

got_lock({data, <<0>>}) -> ok;
got_lock({data, _Text}) -> {error, {cache, path(["locks"]), eacces}};
got_lock({exit_status, _}) -> {error, {cache, path(["locks"]), eagain}}.

%% Is it free now? Then it is removed with what it stands for, under the lock.
if_free(File, Fun) ->
    {ok, Flock} = evm_image_tool:find("flock"),
    {ok, Cat} = evm_image_tool:find("cat"),
    Port = open_lock(Flock, ["-n", File, Cat]),
    Got = receive {Port, {data, <<0>>}} -> Fun(), true; {Port, _} -> false end,
    catch port_close(Port),
    receive {Port, {exit_status, _}} -> ok after 0 -> ok end,
    Got.

%% --- images ------------------------------------------------------------------------

%% @doc The image of a key, where it is there and as it was stored.
-spec find(key()) -> {ok, file:filename()} | missing.
find(Key) ->
    case read_ref(Key) of
        {ok, Hash, Bytes} -> whole(Key, image(Hash), Bytes);
        missing -> missing
    end.

whole(Key, Image, Bytes) ->
    case file:read_file_info(Image, [raw, {time, posix}]) of
        {ok, #file_info{type = regular, size = Bytes, mtime = ?MTIME}} ->
            %% when it was last wanted: gc/2
            _ = file:change_time(ref(Key), calendar:local_time()),
            {ok, Image};
        _ ->
            missing
    end.

read_ref(Key) ->
    case filelib:file_size(ref(Key)) =< ?REF_MAX andalso file:consult(ref(Key)) of
        {ok, [{image, Hash, Bytes}]} -> {ok, Hash, Bytes};
        _ -> missing
    end.

%% @doc An empty directory to make a key's image in; what lies beside it stays from an
%% earlier try. What others left a week ago goes. For who has the lock.
-spec work(key()) -> {ok, file:filename()} | {error, error()}.
work(Key) ->
    Dir = path(["tmp", Key]),
    Work = filename:join(Dir, "work"),
    maybe_remove(Work),
    ok = sweep(?STALE_S),
    case filelib:ensure_dir(filename:join(Work, "x")) of
        ok ->
            ok = file:change_mode(Dir, 8#700),
            {ok, Work};
        {error, Posix} -> {error, posix(Posix, Dir)}
    end.

maybe_remove(Dir) ->
    _ = file:del_dir_r(Dir),
    ok.

%% @doc Takes a finished file in as the image of a key. `Room' makes room where the
%% cache is full. For who has the lock.
-spec put(key(), file:filename(), fun((pos_integer()) -> ok | {error, error()})) ->
    {ok, file:filename()} | {error, error()}.
put(Key, File, Room) ->
    try
        #file_info{size = Bytes} = check(file:read_file_info(File), File),
        done(Room(disk_bytes(File)), File),
        Hash = hash(File),
        seal(File),
        done(filelib:ensure_dir(image(Hash)), dir()),
        done(filelib:ensure_dir(ref(Key)), dir()),
        done(lock(?CACHE, fun() -> name(Key, File, Hash, Bytes) end, fun() -> ok end), dir()),
        maybe_remove(path(["tmp", Key])),
        {ok, image(Hash)}
    catch
        throw:{_, {error, Posix}} when Posix =:= enospc; Posix =:= edquot -> {error, posix(Posix, dir())};
        throw:{Where, {error, Posix}} when is_atom(Posix) -> {error, posix(Posix, Where)};
        throw:{_, {error, _} = Error} -> Error
    end.

%% An image without a reference is what gc/2 removes.
name(Key, File, Hash, Bytes) ->
    done(file:rename(File, image(Hash)), image(Hash)),
    ok = sync_dir(path(["images"])),
    write_ref(Key, {image, Hash, Bytes}).

done(ok, _Where) -> ok;
done({error, _} = Error, Where) -> throw({Where, Error}).

check({ok, Value}, _Where) -> Value;
check({error, _} = Error, Where) -> throw({Where, Error}).

%% On the disk, read-only and with the one time stamp.
seal(File) ->
    sync(File),
    done(file:change_mode(File, 8#444), File),
    done(file:write_file_info(File, #file_info{mtime = ?MTIME, atime = ?MTIME}, [{time, posix}]), File).

sync(File) ->
    Fd = check(file:open(File, [read, write, raw]), File),
    Synced = file:sync(Fd),
    done(file:close(Fd), File),
    done(Synced, File).

%% So that a name doesn't outlive what it names when the host's power goes.
sync_dir(Dir) ->
    case file:open(Dir, [read, raw, directory]) of
        {ok, Fd} ->
            _ = file:sync(Fd),
            ok = file:close(Fd);
        {error, _} -> ok
    end.

write_ref(Key, Term) ->
    New = path(["tmp", Key, "ref"]),
    done(file:write_file(New, io_lib:format("~tp.~n", [Term])), New),
    sync(New),
    done(file:rename(New, ref(Key)), ref(Key)),
    sync_dir(path(["refs"])).

%% @doc SHA-256 of a file, hexadecimal.
-spec hash(file:filename()) -> string().
hash(File) ->
    Fd = check(file:open(File, [read, raw, binary]), File),
    try
        hash(Fd, File, crypto:hash_init(sha256))
    after
        ok = file:close(Fd)
    end.

hash(Fd, File, State) ->
    case file:read(Fd, ?CHUNK) of
        {ok, Bytes} -> hash(Fd, File, crypto:hash_update(State, Bytes));
        eof -> string:lowercase(binary_to_list(binary:encode_hex(crypto:hash_final(State))));
        {error, _} = Error -> throw({File, Error})
    end.

%% --- what is kept ------------------------------------------------------------------

%% @doc Bytes of disk that the images take.
-spec usage() -> non_neg_integer().
usage() -> lists:sum([disk_bytes(File) || File <- images()]).

images() -> filelib:wildcard(path(["images", "*.img"])).

%% An image is sparse; Erlang's own file information has no count of blocks.
disk_bytes(File) ->
    case evm_image_tool:run("stat", ["-c", "%b %B", "--", File], #{time => 10000}) of
        {ok, Text} ->
            [Blocks, Size] = [binary_to_integer(W) || W <- string:lexemes(Text, " \n")],
            Blocks * Size;
        {error, _} -> 0
    end.

%% @doc Removes what nobody has the lock of in `tmp', the references whose key `Keep'
%% doesn't want, the images that no reference names and, while images take more than
%% `Max' bytes, those that weren't asked for the longest. What a running machine or
%% a state needs stays.
-spec gc(fun((key()) -> boolean()), Max :: non_neg_integer()) ->
    {ok, #{removed := [file:filename()], freed := non_neg_integer(), bytes := non_neg_integer()}} | {error, error()}.
gc(Keep, Max) -> lock(?CACHE, fun() -> {ok, clear(Keep, Max)} end, fun() -> ok end).

clear(Keep, Max) ->
    ok = sweep(0),
    Refs = [filename:basename(R) || R <- filelib:wildcard(path(["refs", "*"]))],
    _ = [file:delete(ref(Key)) || Key <- Refs, not Keep(Key) orelse find_quietly(Key) =:= missing],
    Unnamed = [Image || Image <- images(), not lists:member(Image, [I || {_, I} <- by_age()])],
    Removed = remove(Unnamed) ++ shrink(by_age(), Max),
    #{removed => [F || {F, _} <- Removed], freed => lists:sum([B || {_, B} <- Removed]), bytes => usage()}.

%% Removes what was begun longer ago, unless somebody is at it.
sweep(Seconds) ->
    Old = erlang:system_time(second) - Seconds,
    _ = [if_free(path(["locks", filename:basename(Dir)]), fun() -> maybe_remove(Dir) end)
         || Dir <- filelib:wildcard(path(["tmp", "*"])),
            {ok, #file_info{mtime = Begun}} <- [file:read_file_info(Dir, [{time, posix}])], Begun =< Old],
    ok.

%% @doc Is it there? Nobody wants it by that.
-spec present(key()) -> boolean().
present(Key) -> find_quietly(Key) =/= missing.

find_quietly(Key) ->
    case read_ref(Key) of
        {ok, Hash, Bytes} ->
            case file:read_file_info(image(Hash), [raw, {time, posix}]) of
                {ok, #file_info{size = Bytes, mtime = ?MTIME}} -> {ok, image(Hash)};
                _ -> missing
            end;
        missing -> missing
    end.

%% The references that there are, the one that waits longest to be asked for first.
by_age() ->
    Refs = filelib:wildcard(path(["refs", "*"])),
    Found = [{filelib:last_modified(R), find_quietly(filename:basename(R)), filename:basename(R)} || R <- Refs],
    [{Key, Image} || {_, {ok, Image}, Key} <- lists:sort(Found)].

shrink([], _Max) -> [];
shrink([{Key, Image} | Rest], Max) ->
    case usage() > Max of
        false -> [];
        true ->
            case remove([Image]) of
                [] -> shrink(Rest, Max);
                Removed ->
                    _ = file:delete(ref(Key)),
                    Removed ++ shrink(Rest, Max)
            end
    end.

%% A machine holds a lock on each of its disks.
remove(Images) ->
    Needed = evm_states:bases(),
    lists:append([
        begin
            Bytes = disk_bytes(Image),
            case if_free(Image, fun() -> ok = file:delete(Image) end) of
                true -> [{Image, Bytes}];
                false -> []
            end
        end
     || Image <- Images, not lists:member(Image, Needed)
    ]).
