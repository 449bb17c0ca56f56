#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% Runs compiled Common Test suites, with a junit file beside their logs.
%%
%% usage: suites.escript LOGS LIB SUITE...
%%   LIB has ebin and test.  Ends with 1 where a case failed.
-module(suites).
-export([main/1]).

main([Logs, Lib | Suites]) ->
    ok = code:add_pathsa([filename:absname(filename:join(Lib, Dir)) || Dir <- ["test", "ebin"]]),
    ok = filelib:ensure_path(Logs),
    case ct:run_test([
        {dir, filename:absname(filename:join(Lib, "test"))}, {suite, [list_to_atom(Suite) || Suite <- Suites]},
        {logdir, filename:absname(Logs)}, {auto_compile, false}, {ct_hooks, [cth_surefire]}
    ]) of
        {_Ok, 0, {_, 0}} -> halt(0);
        Other ->
            io:format("~p~n", [Other]),
            halt(1)
    end.
