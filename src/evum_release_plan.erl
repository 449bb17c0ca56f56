%% SPDX-License-Identifier: Apache-2.0
%% What an image is made of: which files of this host, and how they look from outside
-module(evum_release_plan).

-export([plan/1, inputs/1, erts/0, lib/2]).
-export_type([plan/0, file/0]).

-include_lib("kernel/include/file.hrl").

%% its name in the image, and where it is
-type file() :: {Name :: binary(), file:filename_all()}.
-type plan() :: #{
    files := [file()],
    boot := {make, [evum_release_apps:app()]} | {there, Name :: binary(), file:filename()},
    texts := [{Name :: binary(), iodata()}],
    %% what evum_release_node:file/1 takes, and what the release calls its node
    erts := string(),
    paths := [string()],
    words := [iodata()],
    own := #{name => binary(), cookie => binary()},
    start => {module(), atom(), [term()]}
}.

-define(PROGRAMS, ["beam.smp", "erlexec", "erl_child_setup", "inet_gethost"]).
%% for a shell's line
-define(TERMINFO, ["l/linux", "x/xterm", "x/xterm-256color", "v/vt100"]).
-define(TERMINFO_DIRS, ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"]).
%% what a node in a machine has besides, of evum's own
-define(GUEST_MODULES, [evum_guest]).
%% whose next version may make another image of the same files
-define(MAKERS, [evum_cpio, evum_release, evum_release_boot, evum_release_files, evum_release_image, evum_release_node]).
%% s: what changed a shorter while ago is compared by its bytes, since a second change
%% within the same second leaves no other trace
-define(RECENT_S, 600).

%% @doc Throws what {@link evum_release:bake/1} returns as errors.
-spec plan(evum_release:options()) -> plan().
plan(#{apps := Started, paths := Dirs, epmd := Epmd} = Options) ->
    {Loaded, Code} = evum_release_apps:paths(Dirs),
    #{erts := {Home, Vsn}, files := Files, paths := Paths} = Plan = case Options of
        #{release := Dir} -> beside(evum_release_rel:plan(Dir), Loaded);
        _ -> running(evum_release_apps:closure(Started, Loaded))
    end,
    Own = Files ++ programs(Home, Vsn, ["epmd" || Epmd]) ++ guest() ++ [File || #{name := Name, ebin := Ebin} <- Code, File <- lib(Name, Ebin)],
    with_calls(Options, Plan#{
        erts := Vsn,
        files := Own ++ evum_release_libs:needed(Own) ++ terminfo(),
        paths := Paths ++ [Name || #{name := Name} <- Code] ++ ["evum_guest"]
    }).

running(Apps) ->
    #{erts => {erts(), erlang:system_info(version)}, files => libs(Apps), boot => {make, Apps}, texts => [], paths => [], words => [], own => #{}}.

%% Applications beside a release are code for its node.
beside(#{files := Files} = Plan, Apps) -> Plan#{files := Files ++ libs(Apps), paths := [lib_name(App) || App <- Apps]}.

libs(Apps) -> [File || #{ebin := Ebin} = App <- Apps, File <- lib(lib_name(App), Ebin)].

lib_name(#{name := Name, vsn := Vsn}) -> atom_to_list(Name) ++ "-" ++ Vsn.

%% @doc The files of an application, or of code that is none, by the name that its directory has.
-spec lib(string(), file:filename()) -> [file()].
lib(Name, Ebin) ->
    Lib = ["erlang/lib/", evum_release_files:bytes(Name)],
    [{iolist_to_binary([Lib, "/ebin/", N]), File} || {N, File} <- evum_release_files:ebin(Ebin)]
        ++ [{iolist_to_binary([Lib, "/priv/", N]), File} || {N, File} <- evum_release_files:priv(Ebin)].

%% @doc The runtime system that is running.
-spec erts() -> file:filename().
erts() -> filename:join(code:root_dir(), "erts-" ++ erlang:system_info(version)).

programs(Home, Vsn, More) ->
    [case filelib:is_regular(File) of
        true -> {iolist_to_binary(["erlang/erts-", Vsn, "/bin/", Program]), File};
        false -> throw({no_erts, Home})
     end || Program <- ?PROGRAMS ++ More, File <- [filename:join([Home, "bin", Program])]].

terminfo() ->
    [{list_to_binary(["lib/terminfo/", Name]), File}
     || Name <- ?TERMINFO,
        File <- lists:sublist([F || Dir <- ?TERMINFO_DIRS, F <- [filename:join(Dir, Name)], filelib:is_regular(F)], 1)].

guest() ->
    Ebin = filename:join(filename:dirname(evm_cfg:priv_dir()), "ebin"),
    [{iolist_to_binary(["erlang/lib/evum_guest/ebin/", Beam]), filename:join(Ebin, Beam)} || Module <- ?GUEST_MODULES, Beam <- [atom_to_list(Module) ++ ".beam"]].

%% Better told here than by a machine that crashes at its boot.
with_calls(Options, #{files := Files} = Plan) ->
    _ = [called(Call, Files) || Key <- [start, calls], {ok, Call} <- [maps:find(Key, Options)]],
    maps:merge(Plan, maps:with([start], Options)).

%% What the emulator itself has is no file.
called({Module, Function, Args}, Files) ->
    Beam = list_to_binary(atom_to_list(Module) ++ ".beam"),
    Exported = case [File || {Name, File} <- Files, filename:basename(Name) =:= Beam] of
        [File | _] -> exports(File);
        [] -> [Export || code:which(Module) =:= preloaded, Export <- Module:module_info(exports)]
    end,
    lists:member({Function, length(Args)}, Exported) orelse throw({bad_start, {Module, Function, length(Args)}}).

exports(File) ->
    {_, Bytes} = evum_release_files:read(File),
    case beam_lib:chunks(Bytes, [exports]) of
        {ok, {_, [{exports, Exports}]}} -> Exports;
        {error, beam_lib, _} -> throw({bad_beam, File})
    end.

%% @doc All that the image depends on: the plan, and how its files look.
-spec inputs(plan()) -> term().
inputs(#{files := Files, boot := Boot} = Plan) ->
    {ok, Initramfs} = evum_config:initramfs(),
    Now = erlang:system_time(second),
    Others = [Initramfs | [File || {there, _, File} <- [Boot]]],
    {Plan, [Module:module_info(md5) || Module <- ?MAKERS], [seen(File, Now) || File <- Others ++ [File || {_, File} <- Files]]}.

seen(File, Now) ->
    case evum_release_files:stat(File) of
        #file_info{type = regular, mtime = Mtime, ctime = Ctime} when Mtime > Now - ?RECENT_S; Ctime > Now - ?RECENT_S ->
            evm_image_store:hash(File);
        #file_info{size = Size, mtime = Mtime, ctime = Ctime, inode = Inode} -> {Size, Mtime, Ctime, Inode};
        missing -> missing
    end.
