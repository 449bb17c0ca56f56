#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% Checks every property of test/prop_*.erl and writes a junit report.
%%
%% usage: props.escript REPORT EBIN...
-module(props).
-export([main/1]).

main([Report | Ebins]) ->
    ok = code:add_paths(Ebins),
    Modules = [list_to_atom(filename:basename(File, ".erl"))
               || File <- filelib:wildcard("test/prop_*.erl")],
    Results = [{Module, Property, check(Module, Property)}
               || Module <- Modules, Property <- properties(Module)],
    ok = file:write_file(Report, report(Results)),
    halt(case [P || {_, P, Result} <- Results, Result =/= true] of [] -> 0; _ -> 1 end).

properties(Module) ->
    [Name || {Name, 0} <- Module:module_info(exports), lists:prefix("prop_", atom_to_list(Name))].

check(Module, Property) ->
    io:format("~s:~s~n", [Module, Property]),
    try proper:quickcheck(Module:Property(), [{numtests, 200}]) of
        true -> true;
        false -> {false, proper:counterexample()};
        Error -> {false, Error}
    catch Class:Reason:Stack ->
        io:format("~p: ~p~n~p~n", [Class, Reason, Stack]),
        {false, {Class, Reason}}
    end.

report(Results) ->
    Failures = length([P || {_, P, Result} <- Results, Result =/= true]),
    [io_lib:format("<testsuite name=\"prop\" tests=\"~b\" failures=\"~b\" skipped=\"0\">~n",
                   [length(Results), Failures]),
     [io_lib:format("<testcase classname=\"~s\" name=\"~s\">~s</testcase>~n",
                    [Module, Property, failure(Result)])
      || {Module, Property, Result} <- Results],
     "</testsuite>\n"].

failure(true) -> "";
failure({false, Why}) -> ["<failure>", escape(lists:flatten(io_lib:format("~0P", [Why, 60]))), "</failure>"].

escape(Text) -> lists:flatmap(fun($<) -> "&lt;"; ($&) -> "&amp;"; (C) when C > 126 -> "?"; (C) -> [C] end, Text).
