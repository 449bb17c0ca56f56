%% SPDX-License-Identifier: Apache-2.0
%% What rebar3 releases is a node in a machine: crypto, ssl and a NIF with it
-module(relx_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, sh/2]).

-define(BYTES, <<"hello there!">>).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    case evum_test_host:possible() of
        ok ->
            Dir = filename:join(?config(priv_dir, Config), "seal"),
            {0, _, _} = sh(["rm -rf ", Dir, "; cp -r ", evum_test_lib:tree(), "/examples/seal ", Dir]),
            evum_test_lib:init_suite([{dir, Dir} | Config]);
        {skip, _} = Skip -> Skip
    end.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() -> [a_release_with_its_own_erts_clusters, a_release_without_erts_boots].

%% The path to what rebar3 released, without a network where that can be had.
released(Profile, Config) ->
    Dir = ?config(dir, Config),
    {0, _, _} = sh(["cd ", Dir, " && $(unshare -rn true 2>/dev/null && echo unshare -rn) rebar3 as ", Profile, " release"], 120000),
    filename:join([Dir, "_build", Profile, "rel", "seal"]).

a_release_with_its_own_erts_clusters(Config) ->
    Release = released("default", Config),
    true = filelib:is_dir(filename:join(Release, "erts-" ++ erlang:system_info(version))),
    ok = evum_test_host:run(?MODULE, two_of, [Release]).

a_release_without_erts_boots(Config) ->
    Release = released("otp", Config),
    [] = filelib:wildcard(filename:join(Release, "erts-*")),
    ok = evum_test_host:run(?MODULE, one_of, [Release]).

%% --- on a host of their own ------------------------------------------------------

two_of(Release) ->
    {ok, _} = application:ensure_all_started(evum),
    [{One, Left}, {Two, Right}] = evum_test_lib:parallel([fun() ->
        {ok, Vm, Node} = evum_node:start(#{name => Name, release => Release, owner => none}),
        {Vm, Node}
    end || Name <- [left, right]]),
    Seal = seal(),
    Seal = rpc:call(Left, seal, seal, [?BYTES]),
    {'tlsv1.3', Seal} = rpc:call(Left, seal, ask, [Right, ?BYTES]),
    {'tlsv1.3', Seal} = rpc:call(Right, seal, ask, [Left, ?BYTES]),
    true = lists:member(Right, rpc:call(Left, erlang, nodes, [])),
    its_own_words(Left),
    [ok, ok] = [evum_node:stop(Vm) || Vm <- [One, Two]],
    ok.

%% Its name and its cookie are those of its vm.args.
one_of(Release) ->
    {ok, _} = application:ensure_all_started(evum),
    {ok, Vm, 'seal@127.0.0.1' = Node} = evum_node:start(#{release => Release}),
    Seal = seal(),
    Seal = rpc:call(Node, seal, seal, [?BYTES]),
    {'tlsv1.3', Seal} = rpc:call(Node, seal, ask, [Node, ?BYTES]),
    seal_cookie = rpc:call(Node, erlang, get_cookie, []),
    its_own_words(Node),
    ok = evum_node:stop(Vm).

seal() -> {erlang:crc32(?BYTES), crypto:hash(sha256, ?BYTES)}.

its_own_words(Node) ->
    {ok, 4433} = rpc:call(Node, application, get_env, [seal, port]),
    "red" = rpc:call(Node, os, getenv, ["SEAL_COLOUR"]).
