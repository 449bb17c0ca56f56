%% SPDX-License-Identifier: Apache-2.0
%% An image's entries, and its file
-module(evum_release_image).

-export([base/1, runtime/3, app/2, directory/3, libraries/2, write/3]).

-define(ROOT, <<"erlang">>).
-define(PROGRAMS, ["beam.smp", "erlexec", "erl_child_setup", "inet_gethost"]).
-define(TERMINFO, ["l/linux", "x/xterm", "x/xterm-256color", "v/vt100"]).
-define(TERMINFO_DIRS, ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"]).
%% bytes, unpacked
-define(IMAGE_MAX, 1073741824).
-define(LEVEL, 9).

-type entry() :: evum_cpio:entry().
%% a file of the host that is an entry's
-type source() :: {entry(), file:filename_all()}.

%% @doc What every machine needs, from the initramfs of the embedded dist.
-spec base([entry()]) -> [entry()].
base(Initramfs) ->
    [Entry || {Name, Kind} = Entry <- Initramfs,
        element(1, Kind) =:= directory orelse lists:member(Name, [<<"init">>, <<"etc/passwd">>, <<"etc/group">>])]
        ++ terminfo().

terminfo() ->
    [{list_to_binary(["lib/terminfo/", Name]), {file, 8#644, Bytes}}
     || Name <- ?TERMINFO, {ok, Bytes} <- lists:sublist([Read || Dir <- ?TERMINFO_DIRS, {ok, _} = Read <- [file:read_file(filename:join(Dir, Name))]], 1)].

%% @doc The runtime system's programs, and more of them, from its directory. Throws `{no_erts, Dir}'.
-spec runtime(file:filename(), string(), [string()]) -> [source()].
runtime(Dir, Vsn, More) ->
    [case file:read_file(File) of
        {ok, Bytes} -> {{name([?ROOT, "erts-" ++ Vsn, "bin", Program]), {file, 8#755, Bytes}}, File};
        {error, _} -> throw({no_erts, Dir})
     end || Program <- ?PROGRAMS ++ More, File <- [filename:join([Dir, "bin", Program])]].

%% @doc An application's files, by the name that its directory has.
-spec app(string(), file:filename()) -> [source()].
app(Dir, Ebin) ->
    directory([?ROOT, "lib", Dir, "ebin"], evum_release_files:ebin(Ebin), strip)
        ++ directory([?ROOT, "lib", Dir, "priv"], evum_release_files:priv(Ebin), plain).

%% @doc Files below a directory of the image.
-spec directory([iodata()], [evum_release_files:file()], strip | plain) -> [source()].
directory(Where, Files, How) ->
    [{{name(Where ++ [Name]), content(How, filename:extension(Name), File)}, File} || {Name, File} <- Files].

content(How, Extension, File) ->
    case evum_release_files:read(File) of
        {_, Bytes} when How =:= strip, Extension =:= <<".beam">> -> {file, 8#644, evum_release_files:beam(File, Bytes)};
        {Mode, Bytes} -> {file, Mode, Bytes}
    end.

name(Parts) -> iolist_to_binary(lists:join($/, [case is_list(P) of true -> evum_release_files:bytes(P); false -> P end || P <- Parts])).

%% @doc The libraries that programs and NIFs among the files need. Throws
%% `{missing_library, Name, File}', `{foreign_architecture, File, Theirs, Ours}', `{bad_elf, File}'.
-spec libraries([source()], evum_elf:machine()) -> [entry()].
libraries(Sources, Machine) ->
    Elfs = [{to_list(File), elf(Bytes, File, Machine)} || {{_, {file, _, <<16#7f, "ELF", _/binary>> = Bytes}}, File} <- Sources],
    [{Name, {file, 8#755, element(2, evum_release_files:read(File))}} || {Name, File} <- evum_release_libs:needed(Elfs, Machine)].

to_list(File) when is_binary(File) -> binary_to_list(File);
to_list(File) -> File.

elf(Bytes, File, Machine) ->
    case evum_elf:read(Bytes) of
        {ok, #{machine := Machine} = Elf} -> Elf;
        {ok, #{machine := Other}} -> throw({foreign_architecture, File, evum_elf:machine_text(Other), evum_elf:machine_text(Machine)});
        {error, _} -> throw({bad_elf, File})
    end.

%% @doc Writes the archive, packed, after what it begins with; of two entries of a name the
%% first one counts. How many bytes it has unpacked. Throws `{image_too_big, Bytes, Max}'.
-spec write(file:filename(), [iodata()], [entry()]) -> pos_integer().
write(File, Before, Entries) ->
    Sorted = lists:keysort(1, maps:to_list(with_parents(maps:from_list(lists:reverse(Entries))))),
    Members = [evum_cpio:entry(Number, Entry) || {Number, Entry} <- lists:enumerate(Sorted)],
    Archive = [Before, Members, evum_cpio:trailer()],
    Bytes = iolist_size(Archive),
    Bytes =< ?IMAGE_MAX orelse throw({image_too_big, Bytes, ?IMAGE_MAX}),
    done(file:write_file(File, packed(Archive), [raw]), File),
    Bytes.

done(ok, _File) -> ok;
done({error, Posix}, File) -> throw({local, Posix, File}).

packed(Archive) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, ?LEVEL, deflated, 31, 9, default),
    Packed = zlib:deflate(Z, Archive, finish),
    ok = zlib:close(Z),
    Packed.

with_parents(Entries) ->
    Parents = lists:usort(lists:append([parents(Name) || Name <- maps:keys(Entries)])),
    maps:merge(maps:from_list([{Parent, {directory, 8#755}} || Parent <- Parents]), Entries).

parents(Name) ->
    case filename:dirname(Name) of
        <<".">> -> [];
        Dir -> [Dir | parents(Dir)]
    end.
