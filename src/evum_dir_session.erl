%% SPDX-License-Identifier: Apache-2.0
%% What a guest has open in a served directory, and what each of its requests means
%%
%% A fid is the guest's number for a path, opened or not. Nothing of a request is
%% believed: it may come from a guest's root and not from its kernel. What a file
%% system has to see to is seen to here, so that a callback needn't.
-module(evum_dir_session).

-export([new/2, server/1, handle/2]).
-export_type([session/0]).

-define(MESSAGE_MIN, 4096).
%% what a message has besides data
-define(OVERHEAD, 24).
-define(FIDS_MAX, 16384).
%% bytes of a path, slashes included
-define(PATH_MAX, 4096).
-define(SIZE_MAX, 16#7fffffffffffffff).
-define(NO_UID, 16#ffffffff).
-define(BLOCK, 4096).

-define(S_IFMT, 8#170000).
-define(S_IFREG, 8#100000).
-define(S_IFDIR, 8#040000).
-define(S_IFLNK, 8#120000).
-define(O_ACCMODE, 3).
-define(O_RDONLY, 0).
-define(O_WRONLY, 1).
-define(O_EXCL, 8#200).
-define(O_TRUNC, 8#1000).
-define(AT_REMOVEDIR, 16#200).

-record(fid, {
    path :: evum_dir:path(),
    uid :: non_neg_integer(),
    %% the names of a directory are those there were when its reading began
    open = no :: no | {file, Access :: 0..3} | directory | {directory, tuple()}
}).

-record(session, {
    server :: evum_dir:server(),
    %% bytes of a message, header included: ours, and what was agreed upon
    longest :: pos_integer(),
    max :: pos_integer(),
    fids = #{} :: #{evum_9p:fid() => #fid{}}
}).
-opaque session() :: #session{}.

%% @doc A session in which nothing is open, with messages of at most `Longest' bytes.
-spec new(evum_dir:server(), pos_integer()) -> session().
new(Server, Longest) -> #session{server = Server, longest = Longest, max = Longest}.

%% @doc The server, to be stopped or handed to the next session.
-spec server(session()) -> evum_dir:server().
server(#session{server = Server}) -> Server.

%% @doc Does what is asked for.
-spec handle(evum_9p:request(), session()) -> {evum_9p:reply(), session()}.
handle(Request, S) ->
    try
        request(Request, S)
    catch
        throw:{?MODULE, Posix, S1} -> {{error, Posix}, S1}
    end.

-spec fail(atom(), session()) -> no_return().
fail(Posix, S) -> throw({?MODULE, Posix, S}).

request({version, Max, Version}, S) when Max >= ?MESSAGE_MIN ->
    Agreed = min(Max, S#session.longest),
    Answer = case Version of <<"9P2000.L">> -> Version; _ -> <<"unknown">> end,
    {{version, Agreed, Answer}, S#session{max = Agreed, fids = #{}}};
request({version, _, _}, S) -> fail(einval, S);
request({attach, No, Uid}, S) ->
    {Qid, S1} = qid([], S),
    {{qid, attach, Qid}, put_new(No, #fid{path = [], uid = case Uid of ?NO_UID -> 0; _ -> Uid end}, S1)};
request({flush, _Tag}, S) -> {{done, flush}, S};
request({walk, No, New, Names}, S) ->
    #fid{path = Path} = Fid = fid(No, S),
    walk(Names, Path, [], Fid, New, case New of No -> remove(No, S); _ -> S end, S);
request({clunk, No}, S) ->
    _ = fid(No, S),
    {{done, clunk}, remove(No, S)};
request({getattr, No}, S) ->
    #fid{path = Path} = fid(No, S),
    {Attributes, S1} = lookup(Path, S),
    {{getattr, qid_of(Path, Attributes), attributes(Attributes)}, S1};
request({setattr, No, Changes}, S) ->
    #fid{path = Path} = fid(No, S),
    {_, S1} = lookup(Path, S),
    maps:get(size, Changes, 0) =< ?SIZE_MAX orelse fail(efbig, S1),
    {{done, setattr}, change(Path, times(Changes), S1)};
request({open, No, Flags}, S) ->
    #fid{path = Path} = fid(No, S),
    {Attributes, S1} = lookup(Path, S),
    open(open, No, Flags, Attributes, S1);
request({create, No, Name, Flags, Mode, Gid}, S) ->
    #fid{uid = Uid} = Fid = fid(No, S),
    Path = child(Fid, Name, S),
    S2 = case find(Path, S) of
        {{ok, _}, S1} when Flags band ?O_EXCL =/= 0 -> fail(eexist, S1);
        {{ok, _}, S1} -> S1;
        {none, S1} -> make(Path, #{type => file, mode => Mode band 8#7777, uid => Uid, gid => Gid}, S1)
    end,
    {Attributes, S3} = lookup(Path, S2),
    open(create, No, Flags, Attributes, put(No, Fid#fid{path = Path}, S3));
request({mkdir, No, Name, Mode, Gid}, S) ->
    make_new(mkdir, No, Name, #{type => directory, mode => Mode band 8#7777, gid => Gid}, S);
request({symlink, No, Name, Target, Gid}, S) when byte_size(Target) < ?PATH_MAX ->
    make_new(symlink, No, Name, #{type => link, mode => 8#777, gid => Gid, target => binary:copy(Target)}, S);
request({symlink, _, _, _, _}, S) -> fail(enametoolong, S);
request({mknod, No, Name, Mode, Gid}, S) when Mode band ?S_IFMT =:= ?S_IFREG; Mode band ?S_IFMT =:= 0 ->
    make_new(mknod, No, Name, #{type => file, mode => Mode band 8#7777, gid => Gid}, S);
request({mknod, _, _, _, _}, S) -> fail(eperm, S);
request({readlink, No}, S) ->
    #fid{path = Path} = fid(No, S),
    case lookup(Path, S) of
        {#{type := link}, S1} ->
            {Target, S2} = ask(read, [Path, 0, ?PATH_MAX], S1),
            {{readlink, Target}, S2};
        {_, S1} -> fail(einval, S1)
    end;
request({read, No, Offset, Count}, S) -> read(fid(No, S), Offset, min(Count, S#session.max - ?OVERHEAD), S);
request({write, No, Offset, Bytes}, S) -> write(fid(No, S), Offset, Bytes, S);
request({readdir, No, Offset, Count}, S) -> readdir(No, fid(No, S), Offset, min(Count, S#session.max - ?OVERHEAD), S);
request({fsync, No}, S) ->
    _ = fid(No, S),
    {{done, fsync}, tell(sync, [], S)};
request({statfs, No}, S) ->
    _ = fid(No, S),
    {{Total, Free}, S1} = ask(space, [], S),
    {{statfs, Total div ?BLOCK, Free div ?BLOCK, ?BLOCK}, S1};
request({lock, No}, S) ->
    _ = fid(No, S),
    {lock, S};
request({getlock, No, Same, Client}, S) ->
    _ = fid(No, S),
    {{getlock, Same, Client}, S};
request({remove, No}, S) ->
    #fid{path = Path} = fid(No, S),
    %% the fid is gone in any case
    S1 = remove(No, S),
    {Attributes, S2} = lookup(Path, S1),
    {{done, remove}, unlink(Path, Attributes, S2)};
request({unlinkat, No, Name, Flags}, S) ->
    Path = child(fid(No, S), Name, S),
    {#{type := Type} = Attributes, S1} = lookup(Path, S),
    case {Type, Flags band ?AT_REMOVEDIR =/= 0} of
        {directory, false} -> fail(eisdir, S1);
        {directory, true} -> ok;
        {_, true} -> fail(enotdir, S1);
        {_, false} -> ok
    end,
    {{done, unlinkat}, unlink(Path, Attributes, S1)};
request({rename, No, Directory, Name}, S) ->
    #fid{path = From} = fid(No, S),
    {{done, rename}, rename(From, child(fid(Directory, S), Name, S), S)};
request({renameat, No, Name, Directory, New}, S) ->
    From = child(fid(No, S), Name, S),
    {{done, renameat}, rename(From, child(fid(Directory, S), New, S), S)};
request(unsupported, S) -> fail(eopnotsupp, S).

%% --- walking -----------------------------------------------------------------------

%% What is only found in part is told, and gives no fid.
walk([], Path, Qids, Fid, New, Without, S) ->
    fits(Path, S),
    {{walk, lists:reverse(Qids)}, put_new(New, Fid#fid{path = Path, open = no}, Without#session{server = S#session.server})};
walk([Name | Names], Path, Qids, Fid, New, Without, S) ->
    Next = step(Name, Path, S),
    case find(Next, S) of
        {{ok, #{type := Type} = Attributes}, S1} when Names =:= []; Type =:= directory ->
            walk(Names, Next, [qid_of(Next, Attributes) | Qids], Fid, New, Without, S1);
        {_, S1} when Qids =/= [] -> {{walk, lists:reverse(Qids)}, S1};
        {none, S1} -> fail(enoent, S1);
        {_, S1} -> fail(enotdir, S1)
    end.

step(<<"..">>, [], _S) -> [];
step(<<"..">>, Path, _S) -> lists:droplast(Path);
step(Name, Path, S) -> below(Path, Name, S).

child(#fid{path = Path, open = no}, Name, S) -> below(Path, Name, S);
child(_Opened, _Name, S) -> fail(ebadf, S).

%% A name is kept for long and must not keep its message.
below(Path, Name, S) ->
    evum_dir:is_name(Name) orelse fail(case byte_size(Name) > 255 of true -> enametoolong; false -> einval end, S),
    fits(Path ++ [Name], S),
    Path ++ [binary:copy(Name)].

fits(Path, S) -> iolist_size(Path) + length(Path) =< ?PATH_MAX orelse fail(enametoolong, S).

%% --- files -----------------------------------------------------------------------------

open(_What, _No, _Flags, #{type := link}, S) -> fail(eloop, S);
open(What, No, Flags, #{type := Type} = Attributes, S) ->
    #fid{path = Path} = Fid = fid(No, S),
    Open = case Type of
        directory when Flags band ?O_ACCMODE =/= ?O_RDONLY -> fail(eisdir, S);
        directory -> directory;
        file -> {file, Flags band ?O_ACCMODE}
    end,
    Cut = Type =:= file andalso Flags band ?O_TRUNC =/= 0 andalso maps:get(size, Attributes, 0) > 0,
    S1 = case Cut of
        true -> change(Path, #{size => 0}, S);
        false -> S
    end,
    {{opened, What, qid_of(Path, Attributes)}, put(No, Fid#fid{open = Open}, S1)}.

read(#fid{open = {file, Access}}, _Offset, _Count, S) when Access =:= ?O_WRONLY -> fail(ebadf, S);
read(#fid{open = {file, _}}, Offset, _Count, S) when Offset > ?SIZE_MAX -> fail(einval, S);
read(#fid{open = {file, _}}, _Offset, 0, S) -> {{data, read, <<>>}, S};
read(#fid{open = {file, _}, path = Path}, Offset, Count, S) ->
    {Bytes, S1} = ask(read, [Path, Offset, Count], S),
    {{data, read, Bytes}, S1};
read(#fid{open = no}, _Offset, _Count, S) -> fail(ebadf, S);
read(_Directory, _Offset, _Count, S) -> fail(eisdir, S).

write(#fid{open = {file, Access}}, _Offset, _Bytes, S) when Access =:= ?O_RDONLY -> fail(ebadf, S);
write(#fid{open = {file, _}}, Offset, Bytes, S) when Offset + byte_size(Bytes) > ?SIZE_MAX -> fail(efbig, S);
write(#fid{open = {file, _}}, _Offset, <<>>, S) -> {{write, 0}, S};
write(#fid{open = {file, _}, path = Path}, Offset, Bytes, S) ->
    {{write, byte_size(Bytes)}, tell(write, [Path, Offset, own(Bytes)], S)};
write(_Other, _Offset, _Bytes, S) -> fail(ebadf, S).

%% A few bytes must not keep the message that they came in.
own(Bytes) ->
    case binary:referenced_byte_size(Bytes) > 2 * byte_size(Bytes) of
        true -> binary:copy(Bytes);
        false -> Bytes
    end.

%% --- directories --------------------------------------------------------------------------

readdir(_No, #fid{open = {directory, _}} = Fid, Offset, Count, S) when Offset > 0 -> readdir_from(Offset, Fid, Count, S);
readdir(No, #fid{open = Open, path = Path} = Fid, Offset, Count, S) when Open =:= directory; is_tuple(Open), element(1, Open) =:= directory ->
    {Names, S1} = ask(list, [Path], S),
    Listed = Fid#fid{open = {directory, list_to_tuple([<<".">>, <<"..">> | Names])}},
    readdir_from(Offset, Listed, Count, put(No, Listed, S1));
readdir(_No, _Fid, _Offset, _Count, S) -> fail(ebadf, S).

readdir_from(Offset, #fid{open = {directory, Names}, path = Path}, Count, S) ->
    {{data, readdir, entries(Offset, Names, Path, Count)}, S}.

entries(Index, Names, _Path, _Count) when Index >= tuple_size(Names) -> [];
entries(Index, Names, Path, Count) ->
    Entry = entry(element(Index + 1, Names), Index + 1, Path),
    case Count - iolist_size(Entry) of
        Left when Left >= 0 -> [Entry | entries(Index + 1, Names, Path, Left)];
        _ -> []
    end.

entry(<<".">> = Name, Next, Path) -> evum_9p:entry(evum_9p:qid(directory, number(Path)), Next, directory, Name);
entry(<<"..">> = Name, Next, []) -> evum_9p:entry(evum_9p:qid(directory, number([])), Next, directory, Name);
entry(<<"..">> = Name, Next, Path) -> evum_9p:entry(evum_9p:qid(directory, number(lists:droplast(Path))), Next, directory, Name);
entry(Name, Next, Path) -> evum_9p:entry(evum_9p:qid(file, number(Path ++ [Name])), Next, unknown, Name).

%% --- changes ---------------------------------------------------------------------------------

make_new(What, No, Name, Attributes, S) ->
    #fid{uid = Uid} = Fid = fid(No, S),
    Path = child(Fid, Name, S),
    case find(Path, S) of
        {none, S1} ->
            {Qid, S2} = qid(Path, make(Path, Attributes#{uid => Uid}, S1)),
            {{qid, What, Qid}, S2};
        {{ok, _}, S1} -> fail(eexist, S1)
    end.

make(Path, Attributes, S) ->
    case lookup(lists:droplast(Path), S) of
        {#{type := directory}, S1} -> tell(create, [Path, times(Attributes#{mtime => now})], S1);
        {_, S1} -> fail(enotdir, S1)
    end.

change(_Path, Changes, S) when map_size(Changes) =:= 0 -> S;
change(Path, Changes, S) -> tell(change, [Path, Changes], S).

times(#{mtime := now} = Changes) -> Changes#{mtime := erlang:system_time(second)};
times(Changes) -> Changes.

unlink([], _Attributes, S) -> fail(ebusy, S);
unlink(Path, #{type := directory}, S) -> tell(remove, [Path], empty(Path, S));
unlink(Path, _Attributes, S) -> tell(remove, [Path], S).

empty(Path, S) ->
    case ask(list, [Path], S) of
        {[], S1} -> S1;
        {_, S1} -> fail(enotempty, S1)
    end.

rename([], _To, S) -> fail(ebusy, S);
rename(From, From, S) -> S;
rename(From, To, S) ->
    lists:prefix(From, To) andalso fail(einval, S),
    {#{type := Type}, S1} = lookup(From, S),
    S2 = case {find(To, S1), Type} of
        {{none, Next}, _} -> Next;
        {{{ok, #{type := directory}}, Next}, directory} -> empty(To, Next);
        {{{ok, #{type := directory}}, Next}, _} -> fail(eisdir, Next);
        {{{ok, _}, Next}, directory} -> fail(enotdir, Next);
        {{{ok, _}, Next}, _} -> Next
    end,
    moved(From, To, tell(rename, [From, To], S2)).

%% What is open there is open still.
moved(From, To, #session{fids = Fids} = S) ->
    S#session{fids = maps:map(fun(_, #fid{path = Path} = Fid) -> Fid#fid{path = moved_path(From, To, Path)} end, Fids)}.

moved_path(From, To, Path) ->
    case lists:prefix(From, Path) of
        true -> To ++ lists:nthtail(length(From), Path);
        false -> Path
    end.

%% --- attributes ---------------------------------------------------------------------------------

attributes(#{type := Type} = Attributes) ->
    {Kind, Mode} = case Type of file -> {?S_IFREG, 8#644}; directory -> {?S_IFDIR, 8#755}; link -> {?S_IFLNK, 8#777} end,
    maps:merge(#{kind => Kind, mode => Mode, uid => 0, gid => 0, size => 0, mtime => 0}, Attributes).

qid(Path, S) ->
    {Attributes, S1} = lookup(Path, S),
    {qid_of(Path, Attributes), S1}.

qid_of(Path, #{type := Type}) -> evum_9p:qid(Type, number(Path)).

%% The number of a file is its name's: who is renamed is another one.
number(Path) ->
    <<Number:64, _/binary>> = erlang:md5(lists:join(0, Path)),
    Number.

%% --- the callbacks --------------------------------------------------------------------------------

lookup(Path, S) -> ask(lookup, [Path], S).

find(Path, #session{server = Server} = S) ->
    case evum_dir:call(lookup, [Path], Server) of
        {{ok, Attributes}, Server1} -> {{ok, Attributes}, S#session{server = Server1}};
        {{error, enoent}, Server1} -> {none, S#session{server = Server1}};
        {{error, Posix}, Server1} -> fail(Posix, S#session{server = Server1})
    end.

ask(Name, Args, #session{server = Server} = S) ->
    case evum_dir:call(Name, Args, Server) of
        {{ok, Value}, Server1} -> {Value, S#session{server = Server1}};
        {{error, Posix}, Server1} -> fail(Posix, S#session{server = Server1})
    end.

tell(Name, Args, #session{server = Server} = S) ->
    case evum_dir:call(Name, Args, Server) of
        {ok, Server1} -> S#session{server = Server1};
        {{error, Posix}, Server1} -> fail(Posix, S#session{server = Server1})
    end.

%% --- fids ------------------------------------------------------------------------------------------

fid(No, #session{fids = Fids} = S) ->
    case Fids of
        #{No := Fid} -> Fid;
        #{} -> fail(ebadf, S)
    end.

put_new(No, _Fid, #session{fids = Fids} = S) when is_map_key(No, Fids) -> fail(ebadf, S);
put_new(_No, _Fid, #session{fids = Fids} = S) when map_size(Fids) >= ?FIDS_MAX -> fail(emfile, S);
put_new(No, Fid, S) -> put(No, Fid, S).

put(No, Fid, #session{fids = Fids} = S) -> S#session{fids = Fids#{No => Fid}}.

remove(No, #session{fids = Fids} = S) -> S#session{fids = maps:remove(No, Fids)}.
