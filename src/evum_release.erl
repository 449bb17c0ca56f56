%% SPDX-License-Identifier: Apache-2.0
%% An Erlang node as an image that a machine boots
%%
%% An image is made of files of this host alone, without root and always the same from the
%% same files, so it is kept in the cache of images by what those files are: a second
%% bake only looks whether any of them has changed.
-module(evum_release).

-export([bake/1, info/1, options/2, key/1, make/2]).
-export_type([options/0]).

-type options() :: #{
    apps := [atom()],
    paths := [file:filename()],
    busybox := boolean(),
    epmd := boolean(),
    release => file:filename(),
    start => call(),
    calls => call(),
    output => file:filename(),
    %% made of the others already
    plan => evum_release_plan:plan()
}.
-type call() :: {module(), atom(), [term()]}.
-type answer() :: #{
    image := file:filename(), bytes := pos_integer(), unpacked := pos_integer(), least := pos_integer(), mem := pos_integer(),
    name => binary(), cookie => binary()
}.

-define(BOOT, "erlang/releases/start").
-define(LIST_MAX, 1000).
%% bytes of the start function's arguments
-define(START_MAX, 1048576).

%% @doc Makes the image of an Erlang node, or finds it in the cache of images: the runtime
%% system, exactly the applications that are needed, their stripped beams, NIFs and the
%% libraries of these. Options, as a proplist or a map:
%%
%% `apps': applications to start, each with all that it needs; kernel and stdlib always.
%% They are looked for in `paths' first and then where this node finds its own.
%% `paths': directories of beams (`.../ebin'), relative to the current one. A directory with a
%% `.app' file is an application, which is loaded with all that it needs and started when
%% `apps' names it; another's beams can be called, and no more.
%% `release': in place of `apps', the directory of a release made by rebar3 or relx, with its
%% own runtime system, or without and then for the one that is running. Its `vm.args' and
%% `sys.config' are the node's; of their templates (`.src') the variables are this process's
%% environment's. What `vm.args' says of the node's name and cookie is in the answer, and
%% counts where a machine boots the image and nobody names the node.
%% `start': `{Module, Function, Args}', called once all applications have started. `calls': such
%% a function that must be there, and isn't called.
%% `busybox': `true' puts a shell and the usual programs in; `epmd': the port mapper.
%% `output': a file that the image is written to, packed by gzip, for transport.
%%
%% `image' is the image's file (an initramfs: a cpio archive), `bytes' its size, `unpacked' that
%% of what is in it (1 GiB at most), `least' the MiB that a machine needs to boot it, `mem'
%% those that a node has by default, `name' and `cookie' those of a release.
%%
%% Errors: `{bad_option, Key}', `{missing_application, App, NeededBy}', `{bad_path, Dir, Why}',
%% `{bad_app, File, Why}', `{bad_beam, File}', `{bad_release, Text}', `{no_release, Dir, What}',
%% `{wrong_erts, Wanted, Running}', `{unset_variable, Name, File}', `{bad_vm_args, File, Why}',
%% `{bad_start, {Module, Function, Arity}}', `{missing_library, Name, File}',
%% `{foreign_architecture, File, Theirs, Ours}', `{bad_elf, File}', `{no_erts, Dir}',
%% `{image_too_big, Bytes, Max}', `{local, Posix, File}', `{not_built, File}', and those of the cache
%% ({@link evm:fetch/1}).
-spec bake(proplists:proplist() | map()) -> {ok, answer()} | {error, term()}.
bake(Opts) ->
    {ok, Here} = file:get_cwd(),
    case options(Opts, Here) of
        {ok, Options} -> baked(maps:without([output, calls], Options), Options);
        {error, _} = Error -> Error
    end.

baked(Content, Options) ->
    case caught(fun() -> {ok, evum_release_plan:plan(Options)} end) of
        {ok, #{own := Own} = Plan} ->
            Image = evm_image:file({bake, Content#{plan => Plan}}, fetch, #{dist => bake, owner => none}),
            told(written(Image, Options), Own);
        {error, _} = Error -> Error
    end.

written({ok, Image}, #{output := Output}) ->
    case caught(fun() -> evum_release_image:pack(Image, Output) end) of
        ok -> info(Output);
        {error, _} = Error -> Error
    end;
written({ok, Image}, _Options) -> info(Image);
written({error, _} = Error, _Options) -> Error.

told({ok, Info}, Own) -> {ok, maps:merge(Info, Own)};
told({error, _} = Error, _Own) -> Error.

%% @doc What {@link bake/1} tells of an image, but for `name' and `cookie'.
-spec info(file:name_all()) -> {ok, answer()} | {error, {bad_image, file:filename(), atom()}}.
info(Image) ->
    case file:open(Image, [read, raw, binary]) of
        {ok, Fd} ->
            Ends = {file:pread(Fd, 0, 6), file:position(Fd, {eof, -4}), file:read(Fd, 4), file:position(Fd, eof)},
            ok = file:close(Fd),
            sizes(Ends, Image);
        {error, Posix} -> {error, {bad_image, Image, Posix}}
    end.

%% gzip ends with the size of what it has packed.
sizes({{ok, <<31, 139, _/binary>>}, {ok, _}, {ok, <<Unpacked:32/little>>}, {ok, Bytes}}, Image) -> sizes(Image, Bytes, Unpacked);
sizes({{ok, <<"070701">>}, {ok, _}, {ok, _}, {ok, Bytes}}, Image) -> sizes(Image, Bytes, Bytes);
sizes(_, Image) -> {error, {bad_image, Image, enoexec}}.

sizes(Image, Bytes, Unpacked) ->
    {ok, #{image => Image, bytes => Bytes, unpacked => Unpacked, mem => evum_release_node:mem(Unpacked), least => evum_release_node:least(Unpacked)}}.

%% --- options -------------------------------------------------------------------------

%% @doc Checks them; names are relative to a directory.
-spec options(term(), file:filename()) -> {ok, options()} | {error, {bad_option, term()}}.
options(Opts, Dir) ->
    case evum_opts:check(Opts, fun(Key, Value) -> value(Key, Value, Dir) end, #{apps => [], paths => [], busybox => false, epmd => false}) of
        {ok, #{apps := [_ | _], release := _}} -> {error, {bad_option, release}};
        Checked -> Checked
    end.

value(paths, Paths, Dir) when length(Paths) =< ?LIST_MAX ->
    Names = [file_name(Path, Dir) || Path <- Paths],
    accept(not lists:member(error, Names), paths, Names);
value(Key, File, Dir) when Key =:= output; Key =:= release ->
    Name = file_name(File, Dir),
    accept(Name =/= error, Key, Name);
value(Key, Value, _Dir) -> value(Key, Value).

value(apps, Apps) when length(Apps) =< ?LIST_MAX -> accept(lists:all(fun is_atom/1, Apps), apps, lists:usort(Apps));
value(Key, {Module, Function, Args} = Call) when Key =:= start orelse Key =:= calls, is_atom(Module), is_atom(Function), length(Args) < 256 ->
    accept(erlang:external_size(Call) =< ?START_MAX, Key, Call);
value(Key, Is) when Key =:= busybox; Key =:= epmd -> accept(is_boolean(Is), Key, Is);
value(_Key, _Value) -> error.

accept(true, Key, Value) -> {ok, Key, Value};
accept(false, _Key, _Value) -> error.

file_name(Text, Dir) ->
    case evum_opts:text(Text) of
        {ok, <<_, _/binary>> = Bytes} -> absolute(native(file:native_name_encoding(), Bytes), Dir);
        _ -> error
    end.

native(utf8, Bytes) -> unicode:characters_to_list(Bytes);
native(latin1, Bytes) -> binary_to_list(Bytes).

absolute(Name, Dir) when is_list(Name) -> filename:absname(Name, Dir);
absolute(_NoText, _Dir) -> error.

%% --- what the cache of images calls --------------------------------------------------

%% @doc What an image depends on: the options, and how all files look from outside that
%% are put in. Errors as {@link bake/1}.
-spec key(options()) -> {ok, term()} | {error, term()}.
key(#{busybox := Busybox} = Options) -> caught(fun() -> {ok, {Busybox, evum_release_plan:inputs(plan(Options))}} end).

plan(#{plan := Plan}) -> Plan;
plan(Options) -> evum_release_plan:plan(Options).

caught(Fun) ->
    try Fun()
    catch throw:Reason -> {error, Reason}
    end.

%% @doc Makes an image in an empty directory. Errors as {@link bake/1}.
-spec make(options(), file:filename()) -> {ok, file:filename()} | {error, term()}.
make(Options, Work) -> caught(fun() -> image(Options, Work) end).

image(#{busybox := Busybox} = Options, Work) ->
    #{files := Files, texts := Texts, boot := Boot, own := Named} = Plan = plan(Options),
    {ok, Initramfs} = evum_config:initramfs(),
    {ok, Bytes} = file:read_file(Initramfs),
    {ok, Base} = evum_cpio:entries(Bytes),
    {BootFile, Made} = boot(Boot, Work),
    Own = Made ++ Texts ++ [{<<"etc/evum/node">>, evum_release_node:file(Plan#{boot := BootFile})}, {<<"etc/evum/inetrc">>, <<"{lookup, [file, dns]}.\n">>}]
        ++ [{<<"etc/evum/alone">>, evum_release_node:words(alone(Named))} || Named =/= #{}]
        ++ [{<<"etc/evum/guest">>, term_to_binary(#{start => Start}, [{minor_version, 2}])} || #{start := Start} <- [Plan]],
    File = filename:join(Work, "image"),
    ok = evum_release_image:write(File, [Bytes || Busybox],
        [{Name, {file, 8#644, Text}} || {Name, Text} <- Own] ++ evum_release_image:entries(Files, Base)),
    {ok, File}.

%% What nobody else names is named as its release says.
alone(Named) ->
    lists:append([[flag(binary:match(Name, <<"@">>)), Name] || #{name := Name} <- [Named]] ++ [["-setcookie", Cookie] || #{cookie := Cookie} <- [Named]]).

flag(nomatch) -> "-sname";
flag(_) -> "-name".

%% The image's name of the boot file without its ending, and what is to be written there.
boot({there, Name, File}, _Work) ->
    {["/", Name], [{<<Name/binary, ".boot">>, evum_release_boot:with_start(File)}]};
boot({make, Apps}, Work) ->
    {["/", ?BOOT], [{<<?BOOT, ".boot">>, evum_release_boot:with_start(evum_release_boot:make(Work, Apps))}]}.
