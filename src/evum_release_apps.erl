%% SPDX-License-Identifier: Apache-2.0
%% Which applications belong into an image, and where they are
-module(evum_release_apps).

-export([closure/2, read/1, paths/1]).
-export_type([app/0, path/0]).

-type app() :: #{
    name := atom(),
    vsn := string(),
    %% where its beams are, and what its .app says
    ebin := file:filename(),
    spec := [{atom(), term()}],
    %% with the node, or loaded and not started
    start := permanent | load
}.
%% code that is no application: its name in the image, and where its beams are
-type path() :: #{name := string(), ebin := file:filename()}.

-define(APP_MAX, 1048576).

%% @doc What of `paths' is an application, and what is plain code. Throws
%% `{bad_path, Dir, Why}', `{bad_app, File, Why}'.
-spec paths([file:filename()]) -> {[app()], [path()]}.
paths(Dirs) ->
    Found = [path(Dir) || Dir <- Dirs],
    {[App || {app, App} <- Found], [Path || {path, Path} <- Found]}.

path(Dir) ->
    case file:list_dir(Dir) of
        {ok, Files} ->
            case [F || F <- Files, is_string(F), filename:extension(F) =:= ".app"] of
                [] -> {path, #{name => path_name(filename:basename(Dir), Dir), ebin => with_beams(Dir, Files)}};
                [File] -> {app, (read(filename:join(Dir, File)))#{start => load}};
                [_, _ | _] -> throw({bad_path, Dir, several_apps})
            end;
        {error, Posix} -> throw({bad_path, Dir, Posix})
    end.

with_beams(Dir, Files) ->
    lists:any(fun(File) -> filename:extension(File) =:= ".beam" end, Files) orelse throw({bad_path, Dir, no_beams}),
    Dir.

%% not the bytes of a name that is no text
is_string(Name) -> is_list(Name).

path_name("ebin", Dir) -> one_line(filename:basename(filename:dirname(Dir)), Dir);
path_name(Base, Dir) -> one_line(Base, Dir).

%% It becomes a word of a line.
one_line(Name, Dir) ->
    lists:member($\n, Name) andalso throw({bad_path, Dir, einval}),
    Name.

%% @doc Reads an application's resource file.
-spec read(file:filename()) -> app().
read(File) ->
    case filelib:file_size(File) =< ?APP_MAX andalso file:read_file(File) of
        {ok, Bytes} -> checked(term(Bytes), File);
        false -> throw({bad_app, File, too_big});
        {error, Posix} -> throw({bad_app, File, Posix})
    end.

%% file:consult/1 has an I/O server between each term and its text.
term(Bytes) ->
    try
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Bytes)),
        {ok, Term} = erl_parse:parse_term(Tokens),
        Term
    catch
        error:_ -> syntax
    end.

checked({application, Name, Spec}, File) when is_atom(Name), length(Spec) >= 0 ->
    _ = [throw({bad_app, File, {no_atoms, Key}})
         || Key <- [modules, applications, included_applications, optional_applications], not are_atoms(proplists:get_value(Key, Spec, []))],
    Vsn = proplists:get_value(vsn, Spec, ""),
    Wanted = atom_to_list(Name) ++ ".app",
    case is_word(Vsn) andalso filename:basename(File) of
        Wanted -> #{name => Name, vsn => Vsn, ebin => with_modules(Spec, File), spec => Spec, start => permanent};
        false -> throw({bad_app, File, vsn});
        _ -> throw({bad_app, File, name})
    end;
checked(_, File) -> throw({bad_app, File, syntax}).

are_atoms([Atom | Rest]) when is_atom(Atom) -> are_atoms(Rest);
are_atoms(Rest) -> Rest =:= [].

%% In embedded mode a node doesn't start without one of them.
with_modules(Spec, File) ->
    Ebin = filename:dirname(File),
    Beams = case file:list_dir(Ebin) of {ok, Files} -> sets:from_list(Files); {error, Posix} -> throw({bad_app, File, Posix}) end,
    _ = [throw({bad_app, File, {no_beam, Module}})
         || Module <- proplists:get_value(modules, Spec, []), not sets:is_element(atom_to_list(Module) ++ ".beam", Beams)],
    Ebin.

%% It becomes a part of a directory's name.
is_word(Vsn) ->
    try re:run(Vsn, "^[A-Za-z0-9._+~-]{1,100}$", [dollar_endonly, {capture, none}]) =:= match
    catch error:_ -> false
    end.

%% @doc The applications that are started (with all that they need), and those that are
%% only there (`Loaded', found already). Throws `{missing_application, App, By}', where
%% `By' is who needs it, or `apps'.
-spec closure([atom()], [app()]) -> [app()].
closure(Started, Loaded) ->
    Known = maps:from_list([{Name, App} || #{name := Name} = App <- Loaded]),
    All = add([{Name, apps} || Name <- [kernel, stdlib | Started]], permanent, Known, #{}),
    lists:sort(maps:values(add([{Name, apps} || Name <- maps:keys(Known)], load, Known, All))).

add([], _Start, _Known, All) -> All;
add([{Name, _By} | Rest], Start, Known, All) when is_map_key(Name, All) -> add(Rest, Start, Known, All);
add([{Name, By} | Rest], Start, Known, All) ->
    #{spec := Spec} = App = find(Name, By, Known),
    Optional = proplists:get_value(optional_applications, Spec, []),
    Needed = (proplists:get_value(applications, Spec, []) -- Optional) ++ proplists:get_value(included_applications, Spec, []),
    add([{Need, Name} || Need <- Needed] ++ Rest, Start, Known, All#{Name => App#{start := Start}}).

find(Name, _By, Known) when is_map_key(Name, Known) -> maps:get(Name, Known);
find(Name, By, _Known) ->
    case code:where_is_file(atom_to_list(Name) ++ ".app") of
        non_existing -> throw({missing_application, Name, By});
        File -> read(filename:absname(File))
    end.
