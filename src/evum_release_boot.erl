%% SPDX-License-Identifier: Apache-2.0
%% The boot file of a release: what is loaded, and what is started in which order
-module(evum_release_boot).

-export([make/2]).

-define(NAME, "evum").

%% @doc Makes it in an empty directory. Each application is in `$ROOT/lib/NAME-VSN'
%% there. Throws `{bad_release, Text}'.
-spec make(file:filename(), [evum_release_apps:app()]) -> binary().
make(Work, Apps) ->
    Rel = {release, {?NAME, "1"}, {erts, erlang:system_info(version)}, [entry(App) || App <- Apps]},
    File = filename:join(Work, ?NAME),
    ok = file:write_file(File ++ ".rel", io_lib:format("%% coding: utf-8~n~tp.~n", [Rel])),
    Ebins = [Ebin || #{ebin := Ebin} <- Apps],
    case systools:make_script(File, [silent, no_warn_sasl, {path, Ebins}, {outdir, Work}]) of
        {ok, _, _} ->
            {ok, Boot} = file:read_file(File ++ ".boot"),
            Boot;
        {error, Module, Reason} -> throw({bad_release, text(Module:format_error(Reason))})
    end.

entry(#{name := Name, vsn := Vsn, start := permanent}) -> {Name, Vsn};
entry(#{name := Name, vsn := Vsn, start := Start}) -> {Name, Vsn, Start}.

text(Chars) -> unicode:characters_to_list(string:trim(Chars)).
