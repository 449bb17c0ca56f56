%% SPDX-License-Identifier: Apache-2.0
%% The host becomes a node for its machines, and one that is a node stays as it is
%%
%% Each case has a host of its own, on which nothing else listens.
-module(hostnode_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, until/2, sentence/1, gone/2]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_host_becomes_a_node, an_ordinary_user_s_host_does, an_epmd_that_runs_is_used_and_stays,
        our_epmd_ends_with_a_killed_beam, an_epmd_that_ends_is_started_again, a_host_with_a_long_name_stays_as_it_is,
        a_host_with_a_short_name_stays_as_it_is, a_taken_name_gives_another, a_name_is_held_as_long_as_its_socket,
        what_machines_could_not_reach_is_an_error, what_cannot_be_started_is_an_error
    ].

init_per_suite(Config) ->
    case evum_test_host:possible() of
        ok -> evum_test_lib:init_suite(Config);
        Skip -> Skip
    end.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

%% Runs a claim of this module, `Case' with _claim, on a host of its own.
on_host(Case) -> on_host(Case, #{}).

on_host(Case, Options) ->
    ok = evum_test_host:run(?MODULE, claim, [list_to_existing_atom(atom_to_list(Case) ++ "_claim")], Options).

claim(Claim) ->
    {ok, _} = application:ensure_all_started(evum),
    ?MODULE:Claim(),
    ok.

%% What listens on this host: addresses and ports, of TCP.
listeners() ->
    {0, Out, _} = sh("ss -Htln"),
    [lists:nth(4, string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Out), "\n")].

epmd_pids() ->
    {0, Out, _} = sh("ss -Htlnp sport = 4369 | grep -o 'pid=[0-9]*' | sort -u"),
    [list_to_integer(binary_to_list(Pid)) || <<"pid=", Pid/binary>> <- string:lexemes(Out, "\n")].

%% Another BEAM of this host answers.
answers(Node, Args) ->
    Cookie = atom_to_list(erlang:get_cookie()),
    {Status, _, _} = sh(["erl -noinput -boot no_dot_erlang -start_epmd false -hidden -setcookie ", Cookie, " ", Args,
        " -eval 'halt(case net_adm:ping(list_to_atom(\"", atom_to_list(Node), "\")) of pong -> 0; pang -> 1 end)'"]),
    Status =:= 0.

%% --- a host that isn't a node --------------------------------------------------------------

a_host_becomes_a_node(_) -> on_host(?FUNCTION_NAME).

a_host_becomes_a_node_claim() ->
    {ok, #{node := 'evum@127.0.0.1', domain := long, host := "127.0.0.1", port := Port} = Host} = evum_dist:start(),
    'evum@127.0.0.1' = node(),
    {ok, Host} = evum_dist:start(),
    %% on loopback only
    Expected = lists:sort(["127.0.0.1:4369", "[::1]:4369", "127.0.0.1:" ++ integer_to_list(Port)]),
    Expected = lists:sort(listeners()),
    true = answers(node(), "-name other@127.0.0.1"),
    %% what was started ends with evum
    ok = application:stop(evum),
    nonode@nohost = node(),
    [] = listeners().

an_ordinary_user_s_host_does(_) ->
    evum_test_host:as_nobody(fun(Options) -> on_host(a_host_becomes_a_node, Options) end).

an_epmd_that_runs_is_used_and_stays(_) -> on_host(?FUNCTION_NAME, #{epmd => true}).

an_epmd_that_runs_is_used_and_stays_claim() ->
    [Epmd] = epmd_pids(),
    {ok, _} = evum_dist:start(),
    [Epmd] = epmd_pids(),
    true = answers(node(), "-name other@127.0.0.1"),
    ok = application:stop(evum),
    [Epmd] = epmd_pids().

our_epmd_ends_with_a_killed_beam(_) ->
    Beam = evum_test_host:start(#{}),
    true = unlink(Beam),
    Monitor = monitor(process, Beam),
    {Os, Epmds} = peer:call(Beam, ?MODULE, killed, []),
    evum_test_lib:kill(list_to_integer(Os), "KILL"),
    receive {'DOWN', Monitor, process, Beam, _} -> ok end,
    ok = gone(Epmds, 5000).

killed() ->
    {ok, _} = application:ensure_all_started(evum),
    {ok, _} = evum_dist:start(),
    [Epmd] = epmd_pids(),
    {os:getpid(), [Epmd]}.

an_epmd_that_ends_is_started_again(_) -> on_host(?FUNCTION_NAME).

an_epmd_that_ends_is_started_again_claim() ->
    {ok, Host} = evum_dist:start(),
    {ok, Name} = evum_epmd:register(a, 1),
    [Epmd] = epmd_pids(),
    evum_test_lib:kill(Epmd, "KILL"),
    receive {tcp_closed, Name} -> ok end,
    ok = until(fun() -> element(1, evum_epmd:names()) =:= ok end, 5000),
    true = [Epmd] =/= epmd_pids(),
    %% the host's node is found again
    {ok, Host} = evum_dist:start().

a_taken_name_gives_another(_) -> on_host(?FUNCTION_NAME, #{epmd => true}).

a_taken_name_gives_another_claim() ->
    {ok, _} = evum_epmd:register("evum", 1),
    {ok, _} = evum_epmd:register("evum2", 1),
    {ok, #{node := 'evum3@127.0.0.1'}} = evum_dist:start().

%% --- a host that is one -----------------------------------------------------------------------

a_host_with_a_long_name_stays_as_it_is(_) ->
    on_host(?FUNCTION_NAME, #{epmd => true, args => ["-name", "me@192.0.2.1", "-setcookie", "c"]}).

a_host_with_a_long_name_stays_as_it_is_claim() ->
    {0, _, _} = sh("ip addr add 192.0.2.1/32 dev lo"),
    Before = listeners(),
    {ok, #{node := 'me@192.0.2.1', domain := long, host := "127.0.0.1", port := Port}} = evum_dist:start(),
    true = lists:member("0.0.0.0:" ++ integer_to_list(Port), Before),
    Before = listeners(),
    true = answers('me@192.0.2.1', "-name other@127.0.0.1"),
    ok = application:stop(evum),
    'me@192.0.2.1' = node(),
    Before = listeners().

a_host_with_a_short_name_stays_as_it_is(_) ->
    on_host(?FUNCTION_NAME, #{epmd => true, args => ["-sname", "me@localhost", "-setcookie", "c"]}).

a_host_with_a_short_name_stays_as_it_is_claim() ->
    {ok, #{node := me@localhost, domain := short, host := "localhost"}} = evum_dist:start(),
    true = answers(me@localhost, "-sname other@localhost"),
    ok = application:stop(evum),
    me@localhost = node().

%% --- names --------------------------------------------------------------------------------------

a_name_is_held_as_long_as_its_socket(_) -> on_host(?FUNCTION_NAME, #{epmd => true}).

a_name_is_held_as_long_as_its_socket_claim() ->
    [begin
        {ok, Socket} = evum_epmd:register(sample, Port),
        {port, Port, 6} = erl_epmd:port_please("sample", {127, 0, 0, 1}),
        {error, {name_taken, "sample"}} = Taken = evum_epmd:register("sample", 1),
        sentence(Taken),
        ok = evum_epmd:unregister(Socket)
     end || Port <- lists:seq(1, 50)],
    {ok, []} = evum_epmd:names(),
    %% it goes with its owner
    {Pid, Monitor} = spawn_monitor(fun() -> {ok, _} = evum_epmd:register(sample, 1) end),
    normal = evum_test_lib:monitored(Monitor, Pid),
    until(fun() -> {ok, []} =:= evum_epmd:names() end, 5000).

%% --- errors -------------------------------------------------------------------------------------

what_machines_could_not_reach_is_an_error(_) ->
    [on_host(error, Expected, Args) || {Expected, Args} <- [
        {{error, {host_node, {epmd_port, "5000"}}}, ["-erl_epmd_port", "5000"]},
        {{error, {host_node, {epmd_module, hostnode_SUITE}}}, ["-epmd_module", "hostnode_SUITE"]},
        {{error, {host_node, {proto_dist, "inet6_tcp"}}}, ["-proto_dist", "inet6_tcp"]},
        {{error, {host_node, {interface, {127, 0, 0, 2}}}}, ["-kernel", "inet_dist_use_interface", "{127,0,0,2}"]},
        {{error, {host_node, not_listening}}, ["-name", "me@127.0.0.1", "-dist_listen", "false"]}
    ]],
    ok.

on_host(error, Expected, Args) ->
    ok = evum_test_host:run(?MODULE, is_error, [Expected], #{epmd => true, args => Args}).

is_error(Expected) ->
    {ok, _} = application:ensure_all_started(evum),
    Expected = evum_dist:start(),
    sentence(Expected),
    ok.

what_cannot_be_started_is_an_error(_) ->
    on_host(?FUNCTION_NAME, #{home => "/nonexistent"}).

what_cannot_be_started_is_an_error_claim() ->
    %% no home for a cookie; its epmd ends with evum all the same
    case evum_dist:start() of
        {error, {no_distribution, {cookie, _}}} = NoCookie -> sentence(NoCookie)
    end,
    ok = application:stop(evum),
    [] = listeners(),
    {ok, _} = application:ensure_all_started(evum),
    %% another program has the epmd's port
    {ok, Listener} = gen_tcp:listen(4369, [{ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}]),
    spawn_link(fun() -> close_each(Listener) end),
    {error, {no_epmd, _}} = NoEpmd = evum_dist:start(),
    sentence(NoEpmd),
    {error, {no_epmd, _}} = evum_epmd:register(a, 1).

close_each(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    ok = gen_tcp:close(Socket),
    close_each(Listener).
