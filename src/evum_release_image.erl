%% SPDX-License-Identifier: Apache-2.0
%% An image's entries, and its file
-module(evum_release_image).

-export([entries/2, write/3, pack/2]).

-define(BASE, [<<"init">>, <<"etc/passwd">>, <<"etc/group">>]).
%% bytes, unpacked
-define(IMAGE_MAX, 1073741824).
%% of zlib: the smallest, with gzip's frame
-define(LEVEL, 9).
-define(GZIP, 31).

-type entry() :: evum_cpio:entry().

%% @doc The files, and what every machine needs, from the entries of the embedded dist's
%% initramfs. Throws `{bad_beam, File}', `{local, Posix, File}'.
-spec entries([evum_release_plan:file()], [entry()]) -> [entry()].
entries(Files, Initramfs) ->
    [{Name, {file, Mode, Bytes}} || {Name, File} <- Files, {Mode, Bytes} <- [evum_release_files:read(File)]]
        ++ [Entry || {Name, Kind} = Entry <- Initramfs, element(1, Kind) =:= directory orelse lists:member(Name, ?BASE)].

%% @doc Writes the archive after what it begins with; of two entries of a name the
%% first one counts. Throws `{image_too_big, Bytes, Max}', `{local, Posix, File}'.
-spec write(file:filename(), [iodata()], [entry()]) -> ok.
write(File, Before, Entries) ->
    Sorted = lists:keysort(1, maps:to_list(with_parents(maps:from_list(lists:reverse(Entries))))),
    Members = [evum_cpio:entry(Number, Entry) || {Number, Entry} <- lists:enumerate(Sorted)],
    Archive = [Before, Members, evum_cpio:trailer()],
    Bytes = iolist_size(Archive),
    Bytes =< ?IMAGE_MAX orelse throw({image_too_big, Bytes, ?IMAGE_MAX}),
    done(file:write_file(File, Archive, [raw]), File).

done(ok, _File) -> ok;
done({error, Posix}, File) -> throw({local, Posix, File}).

with_parents(Entries) ->
    Parents = lists:usort(lists:append([parents(Name) || Name <- maps:keys(Entries)])),
    maps:merge(maps:from_list([{Parent, {directory, 8#755}} || Parent <- Parents]), Entries).

parents(Name) ->
    case filename:dirname(Name) of
        <<".">> -> [];
        Dir -> [Dir | parents(Dir)]
    end.

%% @doc Packs an image for transport; the file has another name until it is whole. Throws
%% `{local, Posix, File}'.
-spec pack(file:filename(), file:filename()) -> ok.
pack(Image, File) ->
    Part = File ++ ".part",
    {ok, Bytes} = file:read_file(Image),
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, ?LEVEL, deflated, ?GZIP, 9, default),
    Packed = zlib:deflate(Z, Bytes, finish),
    ok = zlib:close(Z),
    done(file:write_file(Part, Packed, [raw]), File),
    done(file:rename(Part, File), File).
