%% SPDX-License-Identifier: Apache-2.0
%% Which files of an application belong into an image
%%
%% Its stripped beams, its resource file and all of priv; not its sources, headers,
%% documents and tests. Debugging information and packing aren't needed there either.
-module(evum_release_files).

-export([ebin/1, priv/1, list/1, flat/1, stat/1, bytes/1, read/1]).
-export_type([file/0]).

-include_lib("kernel/include/file.hrl").

%% its name below the directory that was asked for, and where it is on the host
-type file() :: {Name :: binary(), file:filename_all()}.

%% what a tree of files may have, one below another
-define(DEPTH_MAX, 32).
-define(FILES_MAX, 100000).
-define(FILE_MAX, 268435456).
%% what a beam keeps beside its code
-define(CHUNKS, ["Attr"]).

%% @doc The files of a directory of beams.
-spec ebin(file:filename()) -> [file()].
ebin(Dir) ->
    [File || {Name, _} = File <- flat(Dir), lists:member(filename:extension(Name), [<<".beam">>, <<".app">>, <<".so">>])].

%% @doc All below an application's priv, where it has one; links are followed.
-spec priv(file:filename()) -> [file()].
priv(Ebin) ->
    case filename:basename(Ebin) of
        "ebin" -> list(filename:join(filename:dirname(Ebin), "priv"));
        _ -> []
    end.

%% @doc All files below a directory, sorted by name; none where there is no such directory.
%% Throws `{local, Posix, File}'.
-spec list(file:filename_all()) -> [file()].
list(Dir) ->
    Files = tree(Dir, <<>>, ?DEPTH_MAX),
    length(Files) =< ?FILES_MAX orelse throw({local, efbig, Dir}),
    Files.

tree(Dir, _Below, 0) -> throw({local, eloop, Dir});
tree(Dir, Below, Depth) ->
    lists:append([
        case stat(File) of
            #file_info{type = directory} -> tree(File, <<Below/binary, Name/binary, $/>>, Depth - 1);
            #file_info{type = regular} -> [{<<Below/binary, Name/binary>>, File}];
            _ -> []
        end
     || {Name, File} <- flat(Dir)]).

%% @doc What a directory has, sorted by name.
-spec flat(file:filename_all()) -> [file()].
flat(Dir) ->
    case file:list_dir_all(Dir) of
        {ok, Names} -> lists:sort([{bytes(Name), filename:join(Dir, Name)} || Name <- Names]);
        {error, enoent} -> [];
        {error, Posix} -> throw({local, Posix, Dir})
    end.

%% @doc A file name's bytes, as the host has it.
-spec bytes(file:filename_all()) -> binary().
bytes(Name) when is_binary(Name) -> Name;
bytes(Name) ->
    case file:native_name_encoding() of
        utf8 -> unicode:characters_to_binary(Name);
        latin1 -> list_to_binary(Name)
    end.

%% @doc About a file, links followed; one that leads nowhere is `missing'.
-spec stat(file:filename_all()) -> #file_info{} | missing.
stat(File) ->
    case file:read_file_info(File, [raw, {time, posix}]) of
        {ok, Info} -> Info;
        {error, enoent} -> missing;
        {error, Posix} -> throw({local, Posix, File})
    end.

%% @doc A file's mode in an image, and its bytes; a beam without what only tools read. Throws
%% `{local, Posix, File}', `{bad_beam, File}'.
-spec read(file:filename_all()) -> {Mode :: 8#644 | 8#755, binary()}.
read(File) ->
    case stat(File) of
        #file_info{size = Size} when Size > ?FILE_MAX -> throw({local, efbig, File});
        #file_info{mode = Mode} -> {case Mode band 8#111 of 0 -> 8#644; _ -> 8#755 end, content(File)};
        missing -> throw({local, enoent, File})
    end.

content(File) ->
    case {file:read_file(File), filename:extension(File)} of
        {{ok, Bytes}, Extension} when Extension =:= ".beam"; Extension =:= <<".beam">> -> stripped(File, Bytes);
        {{ok, Bytes}, _} -> Bytes;
        {{error, Posix}, _} -> throw({local, Posix, File})
    end.

stripped(File, Bytes) ->
    case beam_lib:strip(Bytes, ?CHUNKS) of
        {ok, {_, <<31, 139, _/binary>> = Packed}} -> zlib:gunzip(Packed);
        {ok, {_, Stripped}} -> Stripped;
        {error, beam_lib, _} -> throw({bad_beam, File})
    end.
