%% SPDX-License-Identifier: Apache-2.0
%% The boot file of a release: what is loaded, and what is started in which order
-module(evum_release_boot).

-export([make/2, with_start/1]).

-define(NAME, "evum").
%% modules that are loaded at a time
-define(BATCH, 8).

%% @doc Makes it in an empty directory. Each application is in `$ROOT/lib/NAME-VSN'
%% there. Throws `{bad_release, Text}'.
-spec make(file:filename(), [evum_release_apps:app()]) -> file:filename().
make(Work, Apps) ->
    Rel = {release, {?NAME, "1"}, {erts, erlang:system_info(version)}, [entry(App) || App <- Apps]},
    File = filename:join(Work, ?NAME),
    ok = file:write_file(File ++ ".rel", io_lib:format("%% coding: utf-8~n~tp.~n", [Rel])),
    Ebins = [Ebin || #{ebin := Ebin} <- Apps],
    case systools:make_script(File, [silent, no_warn_sasl, {path, Ebins}, {outdir, Work}]) of
        {ok, _, _} -> File ++ ".boot";
        {error, Module, Reason} -> throw({bad_release, text(Module:format_error(Reason))})
    end.

entry(#{name := Name, vsn := Vsn, start := permanent}) -> {Name, Vsn};
entry(#{name := Name, vsn := Vsn, start := Start}) -> {Name, Vsn, Start}.

text(Chars) -> unicode:characters_to_list(string:trim(Chars)).

%% @doc A boot file with the machine's own start: after all applications, and before the
%% node counts as started and its shell begins. Modules are loaded a few at a time: what the
%% loader needs for all at once stays with the node, 4 MB, and fresh pages are what a
%% boot is slow by. No user's .erlang is looked for. Throws `{bad_release, Text}'.
-spec with_start(file:filename()) -> binary().
with_start(File) ->
    {_, Bytes} = evum_release_files:read(File),
    try
        {script, Id, Commands} = binary_to_term(Bytes),
        {Before, [_ | _] = Started} = lists:splitwith(fun(Command) -> Command =/= {progress, started} end, lists:flatmap(fun command/1, Commands)),
        term_to_binary({script, Id, Before ++ [{apply, {evum_guest, boot, []}} | Started]}, [{minor_version, 2}])
    catch
        error:_ -> throw({bad_release, File ++ " is no boot file"})
    end.

command({apply, {c, erlangrc, _}}) -> [];
command({primLoad, Modules}) when length(Modules) > ?BATCH ->
    {Batch, Rest} = lists:split(?BATCH, Modules),
    [{primLoad, Batch} | command({primLoad, Rest})];
command(Command) -> [Command].
