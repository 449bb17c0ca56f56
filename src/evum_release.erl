%% SPDX-License-Identifier: Apache-2.0
%% An Erlang node as an image that a machine boots
%%
%% An image is made of files of this host alone, without root and always the same from the
%% same files, so it is kept in the cache of images by what those files are: a second
%% bake only looks whether any of them has changed.
-module(evum_release).

-export([bake/1, info/1, options/1, key/1, make/2]).
-export_type([options/0]).

-include_lib("kernel/include/file.hrl").

-type options() :: #{
    apps := [atom()],
    paths := [file:filename()],
    busybox := boolean(),
    epmd := boolean(),
    start => mfa_args(),
    output => file:filename()
}.
-type mfa_args() :: {module(), atom(), [term()]}.

-define(ROOT, <<"erlang">>).
-define(LIST_MAX, 1000).
%% bytes of the start function's arguments
-define(START_MAX, 1048576).
%% what a node in a machine has besides, of evum's own
-define(GUEST_MODULES, [evum_guest]).
-define(BOOT, "/erlang/releases/start").
%% s: a file that changed a shorter while ago may change again and look the same
-define(RECENT_S, 3).
%% bytes of a file of the user's that are looked at each time
-define(SMALL, 262144).

%% @doc Makes the image of an Erlang node, or finds it in the cache of images: the runtime
%% system, exactly the applications that are needed, their stripped beams, NIFs and the
%% libraries of these. Options, as a proplist or a map:
%%
%% `apps': applications to start, each with all that it needs; kernel and stdlib always.
%% They are looked for in `paths' first and then where this node finds its own.
%% `paths': directories of beams (`.../ebin'), relative to the current one. A directory with a
%% `.app' file is an application, which is loaded with all that it needs and started when
%% `apps' names it; another's beams can be called, and no more.
%% `start': `{Module, Function, Args}', called once all applications have started.
%% `busybox': `true' puts a shell and the usual programs in; `epmd': the port mapper.
%% `output': a file that the image is copied to.
%%
%% `image' is the image's file (an initramfs, cpio packed by gzip), `bytes' its size,
%% `unpacked' that of what is in it, `mem' the MiB that a machine needs at least to boot it.
%%
%% Errors: `{bad_option, Key}', `{missing_application, App, NeededBy}', `{bad_path, Dir, Why}',
%% `{bad_app, File, Why}', `{bad_beam, File}', `{bad_release, Text}', `{missing_library, Name, File}',
%% `{foreign_architecture, File, Theirs, Ours}', `{bad_elf, File}', `{no_erts, Dir}',
%% `{image_too_big, Bytes, Max}', `{local, Posix, File}', `{not_built, File}', and those of the cache
%% ({@link evm:fetch/1}).
-spec bake(proplists:proplist() | map()) ->
    {ok, #{image := file:filename(), bytes := pos_integer(), unpacked := pos_integer(), mem := pos_integer()}} | {error, term()}.
bake(Opts) ->
    case options(Opts) of
        {ok, Options} -> result(evm_image:resolve(#{image => {bake, maps:remove(output, Options)}}, fetch, #{dist => erlang, owner => none}), Options);
        {error, _} = Error -> Error
    end.

result({ok, #{file := Image}}, #{output := Output}) ->
    case file:copy(Image, Output ++ ".part") of
        {ok, _} -> renamed(file:rename(Output ++ ".part", Output), Output);
        {error, Posix} -> {error, {local, Posix, Output}}
    end;
result({ok, #{file := Image}}, _Options) -> info(Image);
result({error, _} = Error, _Options) -> Error.

renamed(ok, File) -> info(File);
renamed({error, Posix}, File) -> {error, {local, Posix, File}}.

%% @doc What {@link bake/1} told of an image.
-spec info(file:name_all()) ->
    {ok, #{image := file:filename(), bytes := pos_integer(), unpacked := pos_integer(), mem := pos_integer()}}
    | {error, {bad_image, file:filename(), atom()}}.
info(Image) ->
    case file:open(Image, [read, raw, binary]) of
        {ok, Fd} ->
            Ends = {file:pread(Fd, 0, 2), file:position(Fd, {eof, -4}), file:read(Fd, 4), file:position(Fd, eof)},
            ok = file:close(Fd),
            sizes(Ends, Image);
        {error, Posix} -> {error, {bad_image, Image, Posix}}
    end.

%% gzip ends with the size of what it has packed.
sizes({{ok, <<31, 139>>}, {ok, _}, {ok, <<Unpacked:32/little>>}, {ok, Bytes}}, Image) ->
    {ok, #{image => Image, bytes => Bytes, unpacked => Unpacked, mem => evum_release_node:mem(Unpacked)}};
sizes(_, Image) -> {error, {bad_image, Image, enoexec}}.

%% --- options -------------------------------------------------------------------------

%% @doc Checks them.
-spec options(term()) -> {ok, options()} | {error, {bad_option, term()}}.
options(Opts) -> evum_opts:check(Opts, fun value/2, #{apps => [], paths => [], busybox => false, epmd => false}).

value(apps, Apps) when length(Apps) =< ?LIST_MAX ->
    case lists:all(fun is_atom/1, Apps) of
        true -> {ok, apps, lists:usort(Apps)};
        false -> error
    end;
value(paths, Dirs) when length(Dirs) =< ?LIST_MAX ->
    Texts = [file_name(Dir) || Dir <- Dirs],
    case lists:member(error, Texts) of
        false -> {ok, paths, Texts};
        true -> error
    end;
value(start, {Module, Function, Args} = Start) when is_atom(Module), is_atom(Function), length(Args) < 256 ->
    case erlang:external_size(Start) =< ?START_MAX of
        true -> {ok, start, Start};
        false -> error
    end;
value(Key, Is) when Key =:= busybox orelse Key =:= epmd, is_boolean(Is) -> {ok, Key, Is};
value(output, File) ->
    case file_name(File) of
        error -> error;
        Name -> {ok, output, Name}
    end;
value(_Key, _Value) -> error.

%% Atoms are no names here: `paths' would take `[true]'.
file_name(Text) ->
    case evum_opts:text(Text) of
        {ok, <<_, _/binary>> = Bytes} -> filename:absname(unicode:characters_to_list(Bytes));
        _ -> error
    end.

%% --- what an image is made of ----------------------------------------------------------

%% @doc What an image depends on: the options, and how all files look from outside that
%% are put in. Errors as {@link bake/1}.
-spec key(options()) -> {ok, term()} | {error, term()}.
key(Options) -> caught(fun() -> {ok, inputs(Options)} end).

caught(Fun) ->
    try Fun()
    catch throw:Reason -> {error, Reason}
    end.

inputs(Options) ->
    {Apps, Paths} = plan(Options),
    Files = [{File, lists:prefix(code:root_dir(), Ebin)} || #{ebin := Ebin} <- Apps ++ Paths,
        {_, File} <- evum_release_files:ebin(Ebin) ++ evum_release_files:priv(Ebin)],
    Others = [{File, true} || File <- [initramfs(), erts() | evum_release_libs:dirs()]] ++ [{File, false} || File <- guest_files()],
    Now = erlang:system_time(second),
    {maps:with([start, busybox, epmd], Options), [maps:with([name, vsn, start, ebin], App) || App <- Apps ++ Paths],
     [{File, seen(File, IsFixed, Now)} || {File, IsFixed} <- Files ++ Others]}.

%% What belongs to the system changes seldom, and is much. Of it, too, a change within the
%% same second as the last look leaves no other trace than the bytes.
seen(File, IsFixed, Now) ->
    case evum_release_files:stat(File) of
        #file_info{type = regular, size = Size} when not IsFixed, Size =< ?SMALL -> evm_image_store:hash(File);
        #file_info{type = regular, size = Size, mtime = Mtime, ctime = Ctime} when Mtime > Now - ?RECENT_S; Ctime > Now - ?RECENT_S ->
            {Size, Mtime, Ctime, evm_image_store:hash(File)};
        #file_info{size = Size, mtime = Mtime, ctime = Ctime} -> {Size, Mtime, Ctime};
        missing -> missing
    end.

plan(#{apps := Started, paths := Dirs}) ->
    {Loaded, Paths} = evum_release_apps:paths(Dirs),
    {evum_release_apps:closure(Started, Loaded), Paths}.

initramfs() ->
    case evum_config:initramfs() of
        {ok, File} -> File;
        {error, Reason} -> throw(Reason)
    end.

erts() -> filename:join(code:root_dir(), "erts-" ++ erlang:system_info(version)).

guest_files() ->
    Ebin = filename:join(filename:dirname(evm_cfg:priv_dir()), "ebin"),
    [File || Module <- ?GUEST_MODULES, File <- [filename:join(Ebin, atom_to_list(Module) ++ ".beam")], filelib:is_regular(File)].

%% --- making it ---------------------------------------------------------------------------

%% @doc Makes an image in an empty directory. Errors as {@link bake/1}.
-spec make(options(), file:filename()) -> {ok, file:filename()} | {error, term()}.
make(Options, Work) -> caught(fun() -> image(Options, Work) end).

image(#{busybox := Busybox, epmd := Epmd} = Options, Work) ->
    {ok, Initramfs} = file:read_file(initramfs()),
    {ok, Base} = evum_cpio:entries(Initramfs),
    {Apps, Paths} = plan(Options),
    Vsn = erlang:system_info(version),
    Sources = evum_release_image:runtime(erts(), Vsn, ["epmd" || Epmd])
        ++ lists:append([evum_release_image:app(lib(App), Ebin) || #{ebin := Ebin} = App <- Apps ++ Paths])
        ++ evum_release_image:directory([?ROOT, "lib", "evum_guest", "ebin"], [{list_to_binary(filename:basename(F)), F} || F <- guest_files()], strip),
    Node = evum_release_node:file(#{
        erts => Vsn, boot => ?BOOT, paths => [["/erlang/lib/", lib(Path), "/ebin"] || Path <- Paths ++ [#{name => "evum_guest"}]],
        args => lists:append([["-epmd_module", "evum_guest", "-start_epmd", "false", "-s", "evum_guest", "boot"] || guest_files() =/= []])
    }),
    Own = [{<<"etc/evum/node">>, {file, 8#644, Node}},
           {<<"etc/evum/inetrc">>, {file, 8#644, <<"{lookup, [file, dns]}.\n">>}},
           {<<"erlang/releases/start.boot">>, {file, 8#644, evum_release_boot:make(Work, Apps)}}]
        ++ [{<<"etc/evum/guest">>, {file, 8#644, term_to_binary(maps:with([start], Options), [{minor_version, 2}])}} || is_map_key(start, Options)],
    Libraries = evum_release_image:libraries(Sources, machine(Base)),
    File = filename:join(Work, "image"),
    Before = [Initramfs || Busybox],
    _ = evum_release_image:write(File, Before, Own ++ [E || {E, _} <- Sources] ++ Libraries ++ [E || not Busybox, E <- evum_release_image:base(Base)]),
    {ok, File}.

%% evum-init tells what machines run.
machine(Base) ->
    {_, {file, _, Init}} = lists:keyfind(<<"init">>, 1, Base),
    {ok, Machine} = evum_elf:machine(Init),
    Machine.

lib(#{name := Name, vsn := Vsn}) -> atom_to_list(Name) ++ "-" ++ Vsn;
lib(#{name := Name}) -> Name.
