%% SPDX-License-Identifier: Apache-2.0
%% An ordinary user has all of it, and a host without namespaces has the rest
-module(user_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, sh/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    {0, _, _} = sh([evum_test_lib:evum(), " build"], 300000),
    copy(evum_test_lib:init_suite(Config)).

end_per_suite(Config) ->
    {0, _, _} = sh(["rm -rf ", ?config(dir, Config)]),
    evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        an_ordinary_user_runs_programs, an_ordinary_user_has_machines, an_ordinary_user_sees_the_host,
        an_ordinary_user_s_image_keeps_owners,
        the_doctor_serves_an_ordinary_user, a_killed_beam_of_a_user_leaves_nothing, without_namespaces_a_machine_runs_unconfined,
        without_namespaces_a_killed_beam_leaves_nothing
    ].

%% A built tree that anybody can read, and a home of one's own.
copy(Config) ->
    Dir = "/tmp/ct-user-" ++ os:getpid(),
    {0, _, _} = sh(["set -e; rm -rf ", Dir, "; mkdir -p ", Dir, "/tree/_build ", Dir, "/home; cd ", evum_test_lib:tree(), ";"
                    "for f in *; do [ $f = _build ] || cp -a $f ", Dir, "/tree/; done;"
                    "cp -a _build/default _build/evum.stamp ", Dir, "/tree/_build/;"
                    "chmod -R a+rX ", Dir, "; chmod 777 ", Dir, "/home"]),
    [{dir, Dir} | Config].

%% A command as an ordinary user: as nobody, when we are root.
as_user(Config, Command) ->
    Dir = ?config(dir, Config),
    Full = ["cd /; export HOME=", Dir, "/home; export PATH=/usr/local/bin:/usr/bin:/bin; unset XDG_CACHE_HOME XDG_CONFIG_HOME; ", Command],
    case os:cmd("id -u") of
        "0\n" -> sh(["su nobody -s /bin/sh -c ", quote(Full)]);
        _ -> sh(Full)
    end.

quote(Text) -> ["'", string:replace(lists:flatten(Text), "'", "'\\''", all), "'"].

evum(Config) -> [?config(dir, Config), "/tree/evum"].

erl(Config, Text) ->
    ["erl -noinput -boot no_dot_erlang -pa ", ?config(dir, Config), "/tree/_build/default/lib/evum/ebin -eval ",
     quote(["{ok, _} = application:ensure_all_started(evum), ", Text, ", halt()."])].

an_ordinary_user_runs_programs(Config) ->
    {0, <<"Linux", _/binary>>, <<>>} = as_user(Config, [evum(Config), " run -- uname -a"]),
    {7, <<>>, <<>>} = as_user(Config, [evum(Config), " run -- sh -c 'exit 7'"]),
    {0, <<"piped\n">>, <<>>} = as_user(Config, ["echo piped | ", evum(Config), " run cat"]),
    {125, <<>>, <<"evum: ", _/binary>>} = as_user(Config, [evum(Config), " run --dist nosuch true"]).

an_ordinary_user_has_machines(Config) ->
    {0, <<"{<<\"mine\\n\">>,true,<<\"~ # hostname\">>,ok,panic}", _/binary>>, _} = as_user(Config, erl(Config,
        "{ok, V} = evm:create([{label, mine}]), #{confined := C} = evum:info(V),"
        "{ok, #{stdout := O}} = evum:exec(V, \"hostname\"), E = evum:send(mine, \"hostname\"), S = evm:stop(V),"
        "{ok, W} = evm:create(), evum:puts(W, \"echo c > /proc/sysrq-trigger\\n\"),"
        "P = receive {evum, W, {panic, _}} -> panic after 5000 -> none end,"
        "io:format(\"~p~n\", [{O, C, E, S, P}])")).

%% A tar archive becomes an image without a privilege.
an_ordinary_user_s_image_keeps_owners(Config) ->
    Tar = [?config(dir, Config), "/home/root.tar"],
    {0, _, _} = as_user(Config, ["cd $HOME; mkdir -p root/etc root/bin; echo mine > root/etc/mark; chmod 640 root/etc/mark;"
                                 "cp $(command -v busybox) root/bin/busybox; ln -s busybox root/bin/sh;"
                                 "tar --owner=7 --group=8 -C root -cf root.tar ."]),
    Text = ["ok = application:set_env(evum, dist, [{mine, [{uri, \"", Tar, "\"}, {mem, 64}, {args, [\"init=/bin/sh\"]}]}]),"
            "{ok, File} = evm:fetch(mine), {ok, V} = evm:create([{dist, mine}]),"
            "{ok, #{stdout := Out}} = evum:exec(V, \"/bin/busybox stat -c %u:%g:%a /etc/mark\"),"
            "io:put_chars(Out), ok = evum:stop(V), {ok, _} = evm:gc(), true = filelib:is_file(File)"],
    {0, <<"7:8:640\n">>, _} = as_user(Config, erl(Config, Text)).

an_ordinary_user_sees_the_host(Config) ->
    {0, <<"{ok,0,false,<<>>,ok}", _/binary>>, _} = as_user(Config, erl(Config,
        "{ok, V} = evum:start(), {ok, #{status := S}} = evum:exec(V, \"ls /usr/bin/env && touch /usr/mine-of-evum\"),"
        "{ok, #{stdout := O}} = evum:exec(V, \"cat /etc/shadow\"),"
        "io:format(\"~p~n\", [{ok, S, filelib:is_file(\"/usr/mine-of-evum\"), O, evum:stop(V)}])")).

the_doctor_serves_an_ordinary_user(Config) ->
    {_, Report, _} = as_user(Config, [evum(Config), " doctor"]),
    {match, _} = re:run(Report, "^ok +jail", [multiline]).

a_killed_beam_of_a_user_leaves_nothing(Config) ->
    {137, _, _} = as_user(Config, [erl(Config,
        "[{ok, _} = evm:create([{console, none}]) || _ <- [1, 2, 3]], os:cmd(\"kill -9 \" ++ os:getpid()), timer:sleep(5000)"),
        "; exit $?"]).

%% --- a hardened host -------------------------------------------------------------

%% A user namespace in which no more can be made, and not one capability.
without_namespaces(Config, Command) ->
    Inner = ["echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all sh -c ", quote(Command)],
    as_user(Config, ["unshare -Ur sh -c ", quote(Inner)]).

without_namespaces_a_machine_runs_unconfined(Config) ->
    {0, Said, _} = without_namespaces(Config, erl(Config,
        "{ok, V} = evm:create(), #{confined := C} = evum:info(V), {ok, #{stdout := O}} = evum:exec(V, \"echo here\"),"
        "S = evm:stop(V), {error, {no_confinement, T}} = evum:start(), true = byte_size(T) > 10,"
        "io:format(\"~p~n~s~n\", [{C, O, S}, evum:format_error({no_confinement, T})])")),
    ct:pal("~s", [Said]),
    <<"{false,<<\"here\\n\">>,ok}\n", Sentence/binary>> = Said,
    {match, _} = re:run(Sentence, "doctor").

without_namespaces_a_killed_beam_leaves_nothing(Config) ->
    {137, _, _} = without_namespaces(Config, [erl(Config,
        "[{ok, _} = evm:create([{console, none}]) || _ <- [1, 2, 3]], os:cmd(\"kill -9 \" ++ os:getpid()), timer:sleep(5000)"),
        "; exit $?"]).
