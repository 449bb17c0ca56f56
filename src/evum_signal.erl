%% SPDX-License-Identifier: Apache-2.0
%% Names and numbers of Linux signals; pure
-module(evum_signal).

-export([name/1, number/1]).
-export_type([signal/0]).

-type signal() :: atom() | pos_integer().

-define(SIGNAL_MAX, 64).

%% @doc The name of a signal, or its number where it has none here.
-spec name(pos_integer()) -> signal().
name(Number) -> proplists:get_value(Number, names(), Number).

%% @doc The number of a signal that is given by name or number.
-spec number(term()) -> {ok, pos_integer()} | error.
number(Number) when is_integer(Number), Number > 0, Number =< ?SIGNAL_MAX -> {ok, Number};
number(Name) ->
    case lists:keyfind(Name, 2, names()) of
        {Number, Name} -> {ok, Number};
        false -> error
    end.

names() ->
    [
        {1, hup}, {2, int}, {3, quit}, {4, ill}, {5, trap}, {6, abrt}, {7, bus}, {8, fpe}, {9, kill},
        {10, usr1}, {11, segv}, {12, usr2}, {13, pipe}, {14, alrm}, {15, term}, {17, chld}, {18, cont},
        {19, stop}, {20, tstp}, {21, ttin}, {22, ttou}, {24, xcpu}, {25, xfsz}, {28, winch}, {31, sys}
    ].
