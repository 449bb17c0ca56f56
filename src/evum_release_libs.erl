%% SPDX-License-Identifier: Apache-2.0
%% The libraries that programs and NIFs need, as the host's loader finds them
%%
%% In the image they all lie beside the C library, where a loader without a cache looks
%% first; but what lies in an application already stays there.
-module(evum_release_libs).

-export([needed/1]).

%% Names are bytes here, as the loader has them.

-define(CONF, "/etc/ld.so.conf").
-define(CONF_DEPTH, 4).
%% what OpenSSL looks for by itself beside libcrypto
-define(MODULES, "ossl-modules/*.so").

%% @doc Libraries and loaders of the programs and NIFs among these files, and of their
%% libraries. Throws `{missing_library, Name, File}', `{foreign_architecture, File, Theirs, Ours}',
%% `{bad_elf, File}', `{local, Posix, File}'.
-spec needed([evum_release_plan:file()]) -> [evum_release_plan:file()].
needed(Files) ->
    Machine = machine(),
    Elfs = [{evum_release_files:bytes(File), Elf} || {Name, File} <- Files, filename:extension(Name) =/= <<".beam">>, Elf <- elf(File, Machine)],
    Search = #{machine => Machine, dirs => dirs(), own => [F || {F, _} <- Elfs]},
    Found = lists:foldl(fun({File, Elf}, Acc) -> follow(File, Elf, [], Search, Acc) end, #{}, Elfs),
    %% the C library needs its loader, which is there before it
    Loaders = [filename:basename(Loader) || <<"/", _/binary>> = Loader <- maps:keys(Found)],
    Libraries = maps:to_list(maps:without(Loaders, Found)),
    Dir = library_dir(Libraries),
    [{image(Name, Dir), File} || {Name, File} <- Libraries] ++ modules(Libraries).

%% What machines run is built with what runs them.
machine() ->
    case evum_port:program(evum_port) of
        {ok, Program} ->
            {ok, Machine} = evum_elf:machine(head(Program)),
            Machine;
        {error, Reason} -> throw(Reason)
    end.

elf(File, Machine) ->
    case head(File) of
        <<16#7f, "ELF", _/binary>> ->
            {ok, Bytes} = file:read_file(File),
            [elf(Bytes, File, Machine)];
        _ -> []
    end.

elf(Bytes, File, Machine) ->
    case evum_elf:read(Bytes) of
        {ok, #{machine := Machine} = Elf} -> Elf;
        {ok, #{machine := Other}} -> throw({foreign_architecture, File, evum_elf:machine_text(Other), evum_elf:machine_text(Machine)});
        {error, _} -> throw({bad_elf, File})
    end.

head(File) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Fd} ->
            Read = file:read(Fd, 20),
            ok = file:close(Fd),
            case Read of {ok, Head} -> Head; _ -> <<>> end;
        {error, Posix} -> throw({local, Posix, File})
    end.

%% A loader is needed by its whole path.
image(<<"/", Path/binary>>, _Dir) -> Path;
image(Name, Dir) -> iolist_to_binary([Dir, $/, Name]).

library_dir(Libraries) ->
    case [Path || {<<"libc.so.", _/binary>>, <<"/", Path/binary>>} <- Libraries] of
        [Path | _] -> filename:dirname(Path);
        [] -> <<"lib">>
    end.

modules(Libraries) ->
    [{Path, <<"/", Path/binary>>}
     || {<<"libcrypto.so.3">>, File} <- Libraries, Dir <- lists:usort([filename:dirname(File), usr(filename:dirname(File))]),
        "/" ++ Module <- filelib:wildcard(filename:join(binary_to_list(Dir), ?MODULES)), Path <- [list_to_binary(Module)]].

usr(<<"/lib", _/binary>> = Dir) -> <<"/usr", Dir/binary>>;
usr(Dir) -> Dir.

follow(File, #{needed := Needed} = Elf, Inherited, Search, Found0) ->
    {Rpath, Runpath} = search_path(filename:dirname(File), Elf, Inherited),
    Found1 = case Elf of #{interp := Loader} -> Found0#{Loader => Loader}; _ -> Found0 end,
    lists:foldl(fun(Name, Found) -> library(Name, File, Rpath, Runpath, Search, Found) end, Found1, Needed).

library(Name, _Of, _Rpath, _Runpath, _Search, Found) when is_map_key(Name, Found) -> Found;
library(<<"linux-vdso", _/binary>>, _Of, _Rpath, _Runpath, _Search, Found) -> Found;
library(Name, Of, Rpath, Runpath, #{dirs := Dirs, own := Own} = Search, Found) ->
    case find(Name, Rpath ++ Runpath ++ Dirs, Search) of
        {ok, File, Elf} ->
            case lists:member(File, Own) of
                true -> Found;
                false -> follow(File, Elf, Rpath, Search, Found#{Name => File})
            end;
        missing -> throw({missing_library, text(Name), text(Of)})
    end.

text(Bytes) ->
    case unicode:characters_to_list(Bytes) of
        Text when is_list(Text) -> Text;
        _ -> binary_to_list(Bytes)
    end.

%% A library of DT_RPATH is looked for there by all that its user loads, unless there is a DT_RUNPATH.
search_path(Origin, #{rpath := Rpath, runpath := []}, Inherited) -> {origins(Rpath, Origin) ++ Inherited, []};
search_path(Origin, #{runpath := Runpath}, Inherited) -> {Inherited, origins(Runpath, Origin)}.

origins(Dirs, Origin) ->
    Texts = [binary:replace(binary:replace(Dir, <<"${ORIGIN}">>, <<"$ORIGIN">>), <<"$ORIGIN">>, Origin) || Dir <- Dirs],
    [Dir || <<"/", _/binary>> = Dir <- Texts].

%% As the loader does, past what is for another machine.
find(<<"/", _/binary>> = Path, _Dirs, Search) -> first([Path], Search);
find(Name, Dirs, Search) -> first([filename:join(Dir, Name) || Dir <- Dirs], Search).

first([], _Search) -> missing;
first([File | Rest], #{machine := Machine} = Search) ->
    case file:read_file(File) of
        {ok, Bytes} ->
            case evum_elf:read(Bytes) of
                {ok, #{machine := Machine} = Elf} -> {ok, File, Elf};
                _ -> first(Rest, Search)
            end;
        {error, _} -> first(Rest, Search)
    end.

%% Where the host's loader looks, in order.
dirs() ->
    Usual = [<<"/lib64">>, <<"/usr/lib64">>, <<"/lib">>, <<"/usr/lib">>],
    unique([Dir || Dir <- conf(?CONF, ?CONF_DEPTH) ++ Usual, filelib:is_dir(Dir)]).

unique([]) -> [];
unique([Dir | Rest]) -> [Dir | unique([Other || Other <- Rest, Other =/= Dir])].

conf(_File, 0) -> [];
conf(File, Depth) ->
    case file:read_file(File) of
        {ok, Bytes} -> lists:append([line(string:lexemes(hd(string:split(Line, "#")), " \t"), Depth)
                                     || Line <- string:lexemes(binary_to_list(Bytes), "\n")]);
        {error, _} -> []
    end.

line(["include" | Patterns], Depth) ->
    [Dir || Pattern <- Patterns, File <- filelib:wildcard(filename:absname(Pattern, filename:dirname(?CONF))), Dir <- conf(File, Depth - 1)];
line(["/" ++ _ = Dir | _], _Depth) -> [list_to_binary(Dir)];
line(_, _Depth) -> [].
