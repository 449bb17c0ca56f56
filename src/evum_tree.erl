%% SPDX-License-Identifier: Apache-2.0
%% Files and trees of this host as events of evum_stream, both ways
%%
%% Reading: read/3 walks a file or directory and hands each event to a function.
%% What is given is followed where it is a link; links inside are kept.
%%
%% Writing.  The events come from a guest, which may mean harm. They are written
%% in a temporary directory beside the destination, which nobody else may enter,
%% every file and directory as a new one: nothing is ever opened, entered
%% or changed by way of a link or of something that was there before. Permissions are the
%% lower nine bits, so that no guest puts a set-uid file on the host, and are set
%% when a file or directory is complete; owners are kept only where we are root.
%% commit/1 renames: a file over a file or link that is there, a directory only to
%% a name that is free. abort/1 removes all that was written.
%%
%% Errors are thrown: {local, Posix, File}. What was written is removed by then.
-module(evum_tree).

-export([name/1, check/1, read/3, new/1, write/2, commit/1, abort/1]).
-export_type([tree/0, error/0]).

-include_lib("kernel/include/file.hrl").

-define(TRIES, 10).
%% what a file is called until it is complete
-define(CONTENT, <<"file">>).
%% what ext4 can hold; other times are left as they are
-define(TIME_MIN, -16#80000000).
-define(TIME_MAX, 16#37fffffff).

-type error() :: {local, Posix :: atom(), File :: binary()}.

-record(tree, {
    destination :: binary(),
    temporary :: undefined | binary(),
    is_directory = false :: boolean(),
    %% the directories that are open, the innermost first
    open = [] :: [{Path :: binary(), evum_stream:attributes()}],
    file :: undefined | {file:fd(), Path :: binary(), evum_stream:attributes()},
    %% may we give files away? Who makes files that are root's may
    root = false :: boolean()
}).
-opaque tree() :: #tree{}.

%% @doc A file's name as the bytes that the host knows it by, without a slash at the end.
-spec name(term()) -> {ok, binary()} | error.
name(Name) when is_binary(Name) -> not_empty(Name);
name([_ | _] = Name) ->
    try unicode:characters_to_binary(Name, unicode, file:native_name_encoding()) of
        Bytes when is_binary(Bytes) -> not_empty(Bytes);
        _ -> error
    catch
        error:_ -> error
    end;
name(_) -> error.

not_empty(<<>>) -> error;
not_empty(Name) ->
    case binary:match(Name, <<0>>) of
        nomatch -> {ok, filename:join([Name])};
        _ -> error
    end.

%% --- reading ---------------------------------------------------------------------

%% @doc Is there something that can be sent? `directory' for a tree.
-spec check(binary()) -> {ok, file | directory} | {error, error()}.
check(Path) ->
    case file:read_file_info(Path, [raw, {time, posix}]) of
        {ok, #file_info{type = regular}} -> {ok, file};
        {ok, #file_info{type = directory}} -> {ok, directory};
        {ok, #file_info{}} -> {error, {local, eopnotsupp, Path}};
        {error, Posix} -> {error, {local, Posix, Path}}
    end.

%% @doc Walks what is at `Path', depth first, and folds `Fun' over its events.
-spec read(binary(), fun((evum_stream:event(), Acc) -> Acc), Acc) -> Acc.
read(Path, Fun, Acc) ->
    Info = ok(file:read_file_info(Path, [raw, {time, posix}]), Path),
    Fun(stream_end, read(Path, <<>>, Info, 0, Fun, Acc)).

read(Path, Name, #file_info{type = regular} = Info, _Depth, Fun, Acc) ->
    Fd = ok(file:open(Path, [raw, binary, read]), Path),
    try
        Fun(file_end, read_bytes(Fd, Path, Fun, Fun({file, Name, attributes(Info)}, Acc)))
    after
        file:close(Fd)
    end;
read(Path, Name, #file_info{type = directory} = Info, Depth, Fun, Acc) ->
    Depth < evum_stream:depth_max() orelse throw({local, eloop, Path}),
    Names = lists:sort([bytes(N) || N <- ok(file:list_dir_all(Path), Path)]),
    Inside = fun(N, Acc1) ->
        File = join(Path, N),
        read(File, N, ok(file:read_link_info(File, [raw, {time, posix}]), File), Depth + 1, Fun, Acc1)
    end,
    Fun(directory_end, lists:foldl(Inside, Fun({directory, Name, attributes(Info)}, Acc), Names));
read(Path, Name, #file_info{type = symlink} = Info, _Depth, Fun, Acc) ->
    Fun({link, Name, attributes(Info), bytes(ok(file:read_link_all(Path), Path))}, Acc);
read(Path, _Name, _Info, _Depth, _Fun, _Acc) -> throw({local, eopnotsupp, Path}).

read_bytes(Fd, Path, Fun, Acc) ->
    case file:read(Fd, evum_stream:piece_max()) of
        {ok, Bytes} -> read_bytes(Fd, Path, Fun, Fun({bytes, Bytes}, Acc));
        eof -> Acc;
        {error, Posix} -> throw({local, Posix, Path})
    end.

attributes(#file_info{mode = Mode, uid = Uid, gid = Gid, mtime = Mtime}) ->
    #{mode => Mode band 8#7777, uid => Uid, gid => Gid, mtime => Mtime}.

%% Names that are no text come as bytes.
bytes(Name) when is_binary(Name) -> Name;
bytes(Name) -> unicode:characters_to_binary(Name, unicode, file:native_name_encoding()).

join(Path, Name) -> <<Path/binary, $/, Name/binary>>.

%% --- writing ---------------------------------------------------------------------

%% @doc A tree that is to be at a destination.
-spec new(binary()) -> tree().
new(Destination) -> #tree{destination = Destination}.

%% @doc Writes the next event of a stream.
-spec write(evum_stream:event(), tree()) -> tree().
write(Event, T) -> or_abort(fun() -> event(Event, T) end, T).

or_abort(Fun, T) ->
    try
        Fun()
    catch
        Class:Reason:Stack ->
            abort(T),
            erlang:raise(Class, Reason, Stack)
    end.

event({file, <<>>, Attributes}, #tree{temporary = undefined, destination = Destination} = T) ->
    must_be_replaceable(Destination),
    write({file, ?CONTENT, Attributes}, private(Attributes, T));
event({directory, <<>>, Attributes}, #tree{temporary = undefined} = T) ->
    must_be_free(T),
    (private(Attributes, T))#tree{is_directory = true};
event({file, Name, Attributes}, #tree{open = [{Directory, _} | _]} = T) ->
    Path = join(Directory, Name),
    T#tree{file = {ok(create(Path), Path), Path, Attributes}};
event({directory, Name, Attributes}, #tree{open = [{Directory, _} | _] = Open} = T) ->
    Path = join(Directory, Name),
    ok = ok(make_directory(Path), Path),
    T#tree{open = [{Path, Attributes} | Open]};
event({link, Name, _Attributes, Target}, #tree{open = [{Directory, _} | _]} = T) ->
    Path = join(Directory, Name),
    ok = ok(file:make_symlink(Target, Path), Path),
    T;
event({bytes, Bytes}, #tree{file = {Fd, Path, _}} = T) ->
    ok = ok(file:write(Fd, Bytes), Path),
    T;
event(file_end, #tree{file = {Fd, Path, Attributes}} = T) ->
    ok = ok(file:close(Fd), Path),
    finish(Path, Attributes, 8#644, T),
    T#tree{file = undefined};
event(directory_end, #tree{open = [{Path, Attributes} | Open]} = T) ->
    finish(Path, Attributes, 8#755, T),
    T#tree{open = Open};
event(stream_end, T) -> T.

is_directory(Path) ->
    case file:read_link_info(Path, [raw]) of
        {ok, #file_info{type = Type}} -> Type =:= directory;
        {error, _} -> false
    end.

is_roots(Path) ->
    case file:read_link_info(Path, [raw]) of
        {ok, #file_info{uid = Uid}} -> Uid =:= 0;
        {error, _} -> false
    end.

%% A device or a socket that became a file would be a loss to all of the host.
must_be_replaceable(Path) ->
    case file:read_link_info(Path, [raw]) of
        {ok, #file_info{type = Type}} when Type =:= regular; Type =:= symlink -> ok;
        {ok, #file_info{type = directory}} -> throw({local, eisdir, Path});
        {ok, _} -> throw({local, eopnotsupp, Path});
        {error, _} -> ok
    end.

must_be_free(#tree{destination = Destination}) ->
    case file:read_link_info(Destination, [raw]) of
        {ok, _} -> throw({local, eexist, Destination});
        {error, enoent} -> ok;
        {error, Posix} -> throw({local, Posix, Destination})
    end.

%% The directory that all is written in, or that is written.
private(Attributes, #tree{destination = Destination} = T) ->
    Path = temporary(filename:dirname(Destination), ?TRIES),
    T#tree{temporary = Path, open = [{Path, Attributes}], root = is_roots(Path)}.

temporary(Directory, Tries) ->
    Path = join(Directory, <<".evum-", (integer_to_binary(rand:uniform(1 bsl 60), 36))/binary>>),
    case make_directory(Path) of
        ok -> Path;
        {error, eexist} when Tries > 1 -> temporary(Directory, Tries - 1);
        {error, Posix} -> throw({local, Posix, Directory})
    end.

%% Its mode is the umask's until it is complete: the directory is what keeps others out.
create(Path) -> file:open(Path, [raw, binary, write, exclusive]).

make_directory(Path) ->
    case file:make_dir(Path) of
        ok -> made(set(Path, #file_info{mode = 8#700}), Path);
        {error, _} = Error -> Error
    end.

made(ok, _Path) -> ok;
made(Error, Path) ->
    _ = file:del_dir(Path),
    Error.

set(Path, Info) -> file:write_file_info(Path, Info, [raw, {time, posix}]).

finish(Path, #{mode := Mode, mtime := Mtime} = Attributes, Default, #tree{root = Root}) ->
    Info = owned(Root, Attributes, timed(Mtime, #file_info{mode = permissions(Mode, Default)})),
    ok = ok(set(Path, Info), Path).

permissions(undefined, Default) -> Default;
permissions(Mode, _Default) -> Mode band 8#777.

owned(true, #{uid := Uid, gid := Gid}, Info) -> Info#file_info{uid = Uid, gid = Gid};
owned(false, _Attributes, Info) -> Info.

timed(Time, Info) when Time >= ?TIME_MIN, Time =< ?TIME_MAX -> Info#file_info{atime = Time, mtime = Time};
timed(_Time, Info) -> Info.

%% @doc Puts what was written at its destination, once the stream has ended.
-spec commit(tree()) -> ok.
commit(T) -> or_abort(fun() -> rename(T) end, T).

rename(#tree{temporary = Temporary, destination = Destination, is_directory = true} = T) ->
    must_be_free(T),
    ok(file:rename(Temporary, Destination), Destination);
rename(#tree{temporary = Temporary, destination = Destination, is_directory = false}) ->
    ok = ok(file:rename(join(Temporary, ?CONTENT), Destination), Destination),
    _ = file:del_dir(Temporary),
    ok.

%% @doc Removes what was written.
-spec abort(tree()) -> ok.
abort(#tree{temporary = undefined}) -> ok;
abort(#tree{temporary = Path, file = File}) ->
    lists:foreach(fun({Fd, _, _}) -> file:close(Fd) end, [File || File =/= undefined]),
    remove(Path).

remove(Path) ->
    case is_directory(Path) of
        true ->
            _ = file:change_mode(Path, 8#700),
            {ok, Names} = file:list_dir_all(Path),
            lists:foreach(fun(Name) -> remove(join(Path, bytes(Name))) end, Names),
            _ = file:del_dir(Path),
            ok;
        false ->
            _ = file:delete(Path, [raw]),
            ok
    end.

ok(ok, _Path) -> ok;
ok({ok, Value}, _Path) -> Value;
ok({error, Posix}, Path) -> throw({local, Posix, Path}).
