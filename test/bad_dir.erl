%% SPDX-License-Identifier: Apache-2.0
%% A directory whose callbacks do, for the file of that name, what none should
-module(bad_dir).
-behaviour(evum_dir).

-export([init/1, lookup/2, list/2, read/4]).

init(refuses) -> {error, not_today};
init(crashes) -> error(oops);
init(Tester) ->
    _ = is_pid(Tester) andalso (Tester ! {bad_dir, init}),
    {ok, Tester}.

lookup([], _) -> {ok, #{type => directory}};
lookup([<<"no_type">>], _) -> {ok, #{size => 1}};
lookup([<<"negative">>], _) -> {ok, #{type => file, size => -1}};
lookup([<<"odd_error">>], _) -> {error, {not_a, posix}};
lookup([<<"list_of_nonsense">>], _) -> {ok, #{type => directory}};
lookup([_], _) -> {ok, #{type => file, size => 10}}.

list([], _) -> {ok, [<<"good">>, <<"crashes">>]};
list(_, _) -> {ok, [<<"a/b">>, <<"..">>, nonsense]}.

read([<<"good">>], 0, _, _) -> {ok, <<"still here">>};
read([<<"good">>], _, _, _) -> {ok, <<>>};
read([<<"crashes">>], _, _, _) -> error(oops);
read([<<"exits">>], _, _, _) -> exit(normal);
read([<<"loops">>], _, _, _) -> receive never -> ok end;
read([<<"nonsense">>], _, _, _) -> nonsense;
read([<<"too_much">>], _, Count, _) -> {ok, binary:copy(<<0>>, Count + 1)};
read([<<"no_binary">>], _, _, _) -> {ok, "text"}.
