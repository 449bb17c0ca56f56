%% SPDX-License-Identifier: Apache-2.0
%% A release directory, as rebar3 and relx make it, with its own runtime system or without
-module(evum_release_rel).

-export([plan/1]).

-define(TEXT_MAX, 1048576).
%% of a release's directory: what is taken by itself, and what no node reads
-define(OTHERS, ["bin", "lib", "releases", "log", "tmp"]).
-define(NOT_BOOTED, [<<".script">>, <<".rel">>, <<".src">>, <<".orig">>]).

%% @doc As {@link evum_release_plan:plan/1}, but `erts' has the directory too. Throws `{no_release, Dir, What}', `{wrong_erts, Wanted, Running}',
%% `{missing_application, App, Release}', `{unset_variable, Name, File}', `{bad_vm_args, File, Why}'.
-spec plan(file:filename()) -> map().
plan(Dir) ->
    {Erts, Vsn} = versions(Dir),
    Runtime = erts(Dir, Erts),
    Home = filename:join([Dir, "releases", Vsn]),
    {Name, Apps} = rel(Home, Vsn),
    Place = filename:join("/erlang/releases", Vsn),
    Boot = boot(Home, Name),
    #{words := Words} = Args = vm_args(filename:join(Home, "vm.args")),
    Config = text(filename:join(Home, "sys.config")),
    #{
        erts => {Runtime, Erts},
        files => [File || App <- Apps, File <- lib(Dir, App, Name)] ++ files(Dir, Home, Vsn, [<<"vm.args">>, <<"sys.config">>, list_to_binary(Boot ++ ".boot")]),
        paths => [],
        boot => {there, iolist_to_binary([tl(Place), $/, Boot]), filename:join(Home, Boot ++ ".boot")},
        texts => [{iolist_to_binary([tl(Place), "/sys.config"]), Text} || Text <- Config],
        words => ["-boot_var", "SYSTEM_LIB_DIR", "/erlang/lib", "-boot_var", "ERTS_LIB_DIR", "/erlang/lib"]
            ++ lists:append([["-config", filename:join(Place, "sys")] || Config =/= []]) ++ Words,
        own => maps:with([name, cookie], Args)
    }.

versions(Dir) ->
    File = filename:join([Dir, "releases", "start_erl.data"]),
    case file:read_file(File) of
        {ok, Bytes} when byte_size(Bytes) < 1000 ->
            case string:lexemes(binary_to_list(Bytes), " \t\r\n") of
                [Erts, Vsn] -> {Erts, Vsn};
                _ -> throw({no_release, Dir, "releases/start_erl.data"})
            end;
        _ -> throw({no_release, Dir, "releases/start_erl.data"})
    end.

rel(Home, Vsn) ->
    Found = [{Name, Apps} || File <- lists:sort(filelib:wildcard(filename:join(Home, "*.rel"))),
        {ok, [{release, {Name, V}, {erts, _}, Apps}]} <- [file:consult(File)], V =:= Vsn, is_text(Name), are_apps(Apps)],
    case Found of
        [First | _] -> First;
        [] -> throw({no_release, Home, "*.rel"})
    end.

are_apps([App | Rest]) when is_tuple(App), tuple_size(App) > 1, is_atom(element(1, App)) -> is_text(element(2, App)) andalso are_apps(Rest);
are_apps(Rest) -> Rest =:= [].

is_text(Text) -> io_lib:printable_unicode_list(Text).

boot(Home, Name) ->
    case [Boot || Boot <- ["start", Name], filelib:is_regular(filename:join(Home, Boot ++ ".boot"))] of
        [Boot | _] -> Boot;
        [] -> throw({no_release, Home, "start.boot"})
    end.

%% Without its own it takes the one that runs here.
erts(Dir, Vsn) ->
    Own = filename:join(Dir, "erts-" ++ Vsn),
    case {filelib:is_dir(Own), erlang:system_info(version)} of
        {true, _} -> Own;
        {false, Vsn} -> evum_release_plan:erts();
        {false, Running} -> throw({wrong_erts, Vsn, Running})
    end.

%% Without `system_libs' OTP's applications aren't in the release.
lib(Dir, App, Release) ->
    {Name, Vsn} = {element(1, App), element(2, App)},
    Lib = atom_to_list(Name) ++ "-" ++ Vsn,
    Places = [filename:join([Dir, "lib", Lib]), filename:join([code:lib_dir(), Lib])],
    case [Place || Place <- Places, filelib:is_dir(filename:join(Place, "ebin"))] of
        [Place | _] -> evum_release_plan:lib(Lib, filename:join(Place, "ebin"));
        [] -> throw({missing_application, list_to_atom(Lib), list_to_atom(Release)})
    end.

%% What the release lays beside: overlays, relups, its boot files.
files(Dir, Home, Vsn, Made) ->
    Booted = [{[Vsn, $/, Name], File} || {Name, File} <- evum_release_files:list(Home),
        not lists:member(filename:extension(Name), ?NOT_BOOTED), not lists:member(Name, Made)],
    Rest = [{iolist_to_binary([Top, $/, Name]), File} || Top <- tops(Dir, directory), {Name, File} <- evum_release_files:list(filename:join(Dir, Top))]
        ++ [{evum_release_files:bytes(Top), filename:join(Dir, Top)} || Top <- tops(Dir, regular)],
    [{iolist_to_binary(["erlang/releases/", Name]), File} || {Name, File} <- Booted ++ [{"RELEASES", filename:join([Dir, "releases", "RELEASES"])}],
        filelib:is_regular(File)]
        ++ [{<<"erlang/", Name/binary>>, File} || {Name, File} <- Rest].

tops(Dir, Type) ->
    [Name || {Bytes, File} <- evum_release_files:flat(Dir), Name <- [unicode:characters_to_list(Bytes)], is_list(Name),
        not lists:member(Name, ?OTHERS), not lists:prefix("erts-", Name), filelib:is_dir(File) =:= (Type =:= directory), filelib:is_file(File)].

%% --- texts that a start script would complete ------------------------------------------------

%% A file, or what its template becomes with the environment's values.
text(File) ->
    case {read(File ++ ".src"), read(File)} of
        {{ok, Template}, _} ->
            case evum_release_vars:replace(Template, fun os:getenv/1) of
                {ok, Text} -> [Text];
                {error, Name} -> throw({unset_variable, Name, File ++ ".src"})
            end;
        {_, {ok, Text}} -> [Text];
        {_, {error, _}} -> []
    end.

read(File) ->
    case filelib:file_size(File) =< ?TEXT_MAX andalso file:read_file(File) of
        false -> throw({local, efbig, File});
        Read -> Read
    end.

%% Nobody restarts a node inside its machine.
vm_args(File) ->
    case evum_node_args:parse(iolist_to_binary(text(File))) of
        {ok, #{words := Words} = Args} -> Args#{words := [Word || Word <- Words, Word =/= <<"-heart">>]};
        {error, Why} -> throw({bad_vm_args, File, Why})
    end.
