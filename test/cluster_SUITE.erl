%% SPDX-License-Identifier: Apache-2.0
%% Machines and their host are one cluster of Erlang nodes
%%
%% Each case has a host of its own, in a network namespace: a BEAM with an epmd or without,
%% that is a node with a long name, with a short one, or none yet. What runs in the
%% machines is this module, which is sent there.
-module(cluster_SUITE).

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2,
         init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, until/1, until/2]).

%% s; what a cut is noticed in is 3/4 to 5/4 of it
-define(TICKTIME, 4).
-define(LONG, #{epmd => true, args => ["-name", "host@127.0.0.1", "-setcookie", "hosts"]}).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        three_machines_join_a_host_that_was_no_node, three_machines_join_a_host_with_a_short_name,
        three_machines_join_the_host_of_an_ordinary_user, a_host_in_a_cluster_of_its_own_stays_there, {group, cuts},
        machines_reach_of_the_host_its_distribution_only, an_uplink_that_is_killed_costs_links_only,
        a_node_of_another_host_reaches_a_machine, a_node_of_this_host_reaches_a_machine_behind_a_tap
    ].

%% They wait most of the time: each has its host, at the same time.
groups() ->
    [{cuts, [], [
        a_cut_is_seen_by_both_sides_and_not_by_the_host, a_hidden_host_keeps_its_machines_through_a_cut,
        overlapping_partitions_cost_a_visible_host_its_links
    ]}].

init_per_suite(Config) ->
    case evum_test_host:possible() of
        ok -> evum_test_lib:init_suite(Config);
        Skip -> Skip
    end.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).

init_per_group(cuts, Config) ->
    [{cuts, _, Cases}] = groups(),
    Seen = evum_test_lib:parallel([fun() -> {Case, catch run(Case, ?LONG)} end || Case <- Cases]),
    [{seen, Seen} | Config].

end_per_group(cuts, _Config) -> ok.

init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

%% Runs a claim of this module, `Case' with _claim, on a host of its own.
on_host(Case, Options) -> {ok, _} = run(Case, Options).

run(Case, Options) -> evum_test_host:run(?MODULE, claim, [list_to_existing_atom(atom_to_list(Case) ++ "_claim")], Options).

%% What was seen on the case's host.
cut_seen(Case, Config) ->
    {Case, {ok, Seen}} = lists:keyfind(Case, 1, proplists:get_value(seen, Config)),
    ct:log("seen: ~tp", [Seen]).

claim(Claim) ->
    {ok, _} = application:ensure_all_started(evum),
    Seen = ?MODULE:Claim(),
    [] = [Stopped || Stopped <- evum_test_lib:parallel([fun() -> evum_node:stop(Vm, 2000) end || #{pid := Vm} <- evm:list()]), Stopped =/= ok],
    {ok, Seen}.

%% --- machines and what runs in them -------------------------------------------------------

%% Machines a, b and c, started side by side: their nodes.
nodes_abc(Opts) -> evum_test_lib:parallel([fun() -> node_of(Name, Opts) end || Name <- [a, b, c]]).

node_of(Name, Opts) ->
    {ok, _, Node} = evum_node:start(Opts#{name => Name, owner => none, console => none, net_ticktime => ?TICKTIME}),
    {Module, Code, File} = code:get_object_code(?MODULE),
    {module, Module} = erpc:call(Node, code, load_binary, [Module, File, Code]),
    Node.

on(Node, Function, Args) -> erpc:call(Node, ?MODULE, Function, Args).

%% All see all, within so many ms.
mesh(Nodes) ->
    ok = until(fun() -> lists:all(fun(Node) -> lists:sort([Node | seen(Node)]) =:= lists:sort(Nodes) end, Nodes) end, 10000).

%% What works between nodes works from one to the other.
works(From, To) -> ok = erpc:call(From, ?MODULE, reaches, [To], 10000).

reaches(To) ->
    pong = net_adm:ping(To),
    {[To], []} = rpc:multicall([To], erlang, node, []),
    To = rpc:call(To, erlang, node, []),
    To = erpc:call(To, erlang, node, []),
    Monitored = spawn(To, ?MODULE, idle, []),
    Monitor = monitor(process, Monitored),
    exit(Monitored, kill),
    receive {'DOWN', Monitor, process, Monitored, killed} -> ok after 5000 -> error({no_down, To}) end,
    process_flag(trap_exit, true),
    Linked = spawn_link(To, ?MODULE, idle, []),
    exit(Linked, boom),
    receive {'EXIT', Linked, boom} -> ok after 5000 -> error({no_exit, To}) end,
    ok.

idle() -> receive after infinity -> ok end.

%% A name that one registers is found in all; a lock that one has is nobody else's.
global_names(Nodes) ->
    [begin
        Pid = spawn(Node, ?MODULE, idle, []),
        Name = {named, Node},
        yes = erpc:call(Node, global, register_name, [Name, Pid]),
        ok = until(fun() -> lists:all(fun(N) -> erpc:call(N, global, whereis_name, [Name]) =:= Pid end, Nodes) end),
        exit(Pid, kill),
        ok = until(fun() -> lists:all(fun(N) -> erpc:call(N, global, whereis_name, [Name]) =:= undefined end, Nodes) end)
     end || Node <- Nodes],
    ok.

%% Each joins, and all know all who did.
groups(Nodes) ->
    Pids = [begin
        {ok, _} = erpc:call(Node, pg, start, [cluster]),
        Pid = spawn(Node, ?MODULE, idle, []),
        ok = erpc:call(Node, pg, join, [cluster, group, Pid]),
        Pid
    end || Node <- Nodes],
    ok = until(fun() -> lists:all(fun(N) -> lists:sort(erpc:call(N, pg, get_members, [cluster, group])) =:= lists:sort(Pids) end, Nodes) end).

%% A machine's node connects to the host's by itself.
machine_finds_host(Node) ->
    ok = net_kernel:monitor_nodes(true),
    Test = self(),
    erpc:cast(Node, fun() ->
        erlang:disconnect_node(node(Test)),
        Test ! {found, net_adm:ping(node(Test))}
    end),
    receive {nodedown, Node} -> ok after 5000 -> error(no_nodedown) end,
    receive {nodeup, Node} -> ok after 5000 -> error(no_nodeup) end,
    receive {found, pong} -> ok after 5000 -> error(not_found) end,
    ok = net_kernel:monitor_nodes(false).

one_cluster() ->
    Machines = nodes_abc(#{}),
    All = [node() | Machines],
    mesh(All),
    [works(From, To) || From <- All, To <- All, From =/= To],
    ok = global_names(All),
    ok = groups(All),
    [machine_finds_host(Node) || Node <- Machines],
    mesh(All),
    Machines.

%% --- one cluster, on every host ----------------------------------------------------------------

three_machines_join_a_host_that_was_no_node(_) -> on_host(?FUNCTION_NAME, #{}).

three_machines_join_a_host_that_was_no_node_claim() ->
    nonode@nohost = node(),
    ['a@127.0.0.1', 'b@127.0.0.1', 'c@127.0.0.1'] = one_cluster(),
    'evum@127.0.0.1' = node().

three_machines_join_a_host_with_a_short_name(_) ->
    on_host(?FUNCTION_NAME, #{epmd => true, args => ["-sname", "host@localhost", "-setcookie", "hosts"]}).

three_machines_join_a_host_with_a_short_name_claim() ->
    [a@localhost, b@localhost, c@localhost] = one_cluster().

three_machines_join_the_host_of_an_ordinary_user(_) ->
    evum_test_host:as_nobody(fun(Options) -> on_host(three_machines_join_a_host_that_was_no_node, Options) end).

%% Other nodes of the host's can't reach machines: a visible link would be given up for them.
a_host_in_a_cluster_of_its_own_stays_there(_) -> on_host(?FUNCTION_NAME, ?LONG).

a_host_in_a_cluster_of_its_own_stays_there_claim() ->
    {ok, Peer, Other} = peer:start_link(#{
        name => other, host => "127.0.0.1", longnames => true, args => ["-setcookie", "hosts", "-start_epmd", "false"]}),
    [Other] = nodes(),
    A = node_of(a, #{host_link => hidden}),
    B = node_of(b, #{host_link => hidden}),
    [Other] = nodes(),
    [A, B] = lists:sort(nodes(hidden)),
    [_] = erpc:call(Other, erlang, nodes, [connected]),
    [works(node(), Node) || Node <- [A, B]],
    works(A, B),
    peer:stop(Peer).

%% --- cuts ---------------------------------------------------------------------------------------

%% Each node tells who it loses, when the host hears of it.
watch(Nodes) ->
    Test = self(),
    [erpc:call(Node, ?MODULE, watching, [Test]) || Node <- Nodes],
    erlang:monotonic_time(millisecond).

watching(Test) ->
    Caller = self(),
    Pid = spawn(fun() ->
        ok = net_kernel:monitor_nodes(true),
        Caller ! {self(), watches},
        watching_loop(Test)
    end),
    receive {Pid, watches} -> ok end.

watching_loop(Test) ->
    receive
        {nodedown, Node} -> Test ! {lost, node(), Node}, watching_loop(Test);
        _ -> watching_loop(Test)
    end.

%% Who lost whom, and after how many ms, until all that is expected has come; then
%% for one more tick time, in which nothing else may. What a tick time says is kept to, and
%% a little is for a busy host.
losses(Expected, Since) ->
    Lost = losses(Expected, [], Since),
    receive {lost, Node, Of} -> error({lost, Node, Of, Lost}) after ?TICKTIME * 1000 -> ok end,
    Slowest = lists:max([Ms || {_, _, Ms} <- Lost]),
    Slowest =< (5 * ?TICKTIME * 1000) div 4 + 1000 orelse error({too_late, Lost}),
    Lost.

losses([], Lost, _Since) -> Lost;
losses(Expected, Lost, Since) ->
    receive
        {lost, Node, Of} ->
            Ms = erlang:monotonic_time(millisecond) - Since,
            lists:member({Node, Of}, Expected) orelse error({lost, Node, Of, Ms, Lost}),
            losses(Expected -- [{Node, Of}], [{Node, Of, Ms} | Lost], Since)
    after 3 * ?TICKTIME * 1000 -> error({not_lost, Expected, Lost})
    end.

cut() ->
    {ok, Sw} = evum_switch:default(),
    {ok, Cut} = evum_switch:partition(Sw, [[a], [b, c]]),
    fun() -> ok = evum_switch:heal(Sw, Cut) end.

%% Of a | b, c.
torn([A, B, C]) -> [{A, B}, {A, C}, {B, A}, {C, A}].

a_cut_is_seen_by_both_sides_and_not_by_the_host(Config) -> cut_seen(?FUNCTION_NAME, Config).

a_cut_is_seen_by_both_sides_and_not_by_the_host_claim() ->
    [A, B, C] = Machines = nodes_abc(#{}),
    mesh([node() | Machines]),
    Since = watch([node() | Machines]),
    Heal = cut(),
    Lost = losses(torn(Machines), Since),
    [works(node(), Machine) || Machine <- Machines],
    works(B, C),
    Heal(),
    pong = erpc:call(A, net_adm, ping, [B]),
    pong = erpc:call(A, net_adm, ping, [C]),
    mesh([node() | Machines]),
    Lost.

a_hidden_host_keeps_its_machines_through_a_cut(Config) -> cut_seen(?FUNCTION_NAME, Config).

a_hidden_host_keeps_its_machines_through_a_cut_claim() ->
    [A, B, C] = Machines = nodes_abc(#{host_link => hidden}),
    [] = nodes(),
    Machines = lists:sort(nodes(hidden)),
    %% nobody has told them of each other
    pong = erpc:call(A, net_adm, ping, [B]),
    pong = erpc:call(A, net_adm, ping, [C]),
    mesh(Machines),
    [works(From, To) || From <- [node() | Machines], To <- Machines, From =/= To],
    ok = global_names(Machines),
    undefined = global:whereis_name({named, A}),
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    Since = watch(Machines),
    Heal = cut(),
    Lost = losses(torn(Machines), Since),
    [works(node(), Machine) || Machine <- Machines],
    works(B, C),
    Heal(),
    pong = erpc:call(A, net_adm, ping, [B]),
    pong = erpc:call(A, net_adm, ping, [C]),
    mesh(Machines),
    receive {nodedown, Node, _} -> error({lost, Node}) after 0 -> Lost end.

%% As OTP has it: who sees both sides of a cut must not stay between them.
overlapping_partitions_cost_a_visible_host_its_links(Config) -> cut_seen(?FUNCTION_NAME, Config).

overlapping_partitions_cost_a_visible_host_its_links_claim() ->
    Machines = nodes_abc(#{args => ["-kernel", "prevent_overlapping_partitions", "true"]}),
    mesh([node() | Machines]),
    ok = net_kernel:monitor_nodes(true),
    Heal = cut(),
    Lost = receive {nodedown, Node} -> Node after 3 * ?TICKTIME * 1000 -> error(kept) end,
    Heal(),
    %% a ping of each brings all back: the host introduces them to each other
    All = [node() | Machines],
    ok = until(fun() ->
        lists:all(fun(Machine) -> net_adm:ping(Machine) =:= pong end, Machines)
            andalso lists:all(fun(Seen) -> Seen =:= lists:sort(All) end, [lists:sort([N | seen(N)]) || N <- All])
    end, 30000),
    Lost.

seen(Node) ->
    try erpc:call(Node, erlang, nodes, []) catch error:{erpc, noconnection} -> [] end.

%% --- what is open -------------------------------------------------------------------------------

machines_reach_of_the_host_its_distribution_only(_) -> on_host(?FUNCTION_NAME, ?LONG).

machines_reach_of_the_host_its_distribution_only_claim() ->
    {ok, #{port := Dist}} = evum_dist:start(),
    Listening = [begin
        {ok, Listener} = gen_tcp:listen(0, [{ip, Ip}, {active, false}]),
        {ok, Port} = inet:port(Listener),
        Port
    end || Ip <- [{127, 0, 0, 1}, {0, 0, 0, 0}]],
    {ok, Sw} = evum_switch:start(),
    Node = node_of(a, #{net => Sw}),
    {ok, Names} = evum_epmd:names(),
    {_, Forward} = lists:keyfind("a", 1, Names),
    Gateway = maps:get(gateway, evum_switch:info(Sw)),
    Try = fun(Ip, Port) -> erpc:call(Node, fun() -> element(1, gen_tcp:connect(Ip, Port, [], 500)) end) end,
    ok = Try(Gateway, Dist),
    [{error, Ip, Port} = {Try(Ip, Port), Ip, Port}
     || Ip <- [Gateway, {127, 0, 0, 1}], Port <- [evum_epmd:port(), Forward | Listening]],
    error = Try({127, 0, 0, 1}, Dist).

an_uplink_that_is_killed_costs_links_only(_) -> on_host(?FUNCTION_NAME, ?LONG).

an_uplink_that_is_killed_costs_links_only_claim() ->
    Node = node_of(a, #{}),
    ok = net_kernel:monitor_nodes(true),
    {0, _, _} = sh(["kill -9 ", integer_to_list(uplink_pid())]),
    receive {nodedown, Node} -> ok after 5000 -> error(no_nodedown) end,
    ok = until(fun() -> net_adm:ping(Node) =:= pong end, 10000),
    ok = net_kernel:monitor_nodes(false),
    machine_finds_host(Node).

%% Of this BEAM's own.
uplink_pid() ->
    [Pid] = [Pid || Port <- erlang:ports(), {name, Name} <- [erlang:port_info(Port, name)],
                    string:find(Name, "evum_uplink") =/= nomatch, {os_pid, Pid} <- [erlang:port_info(Port, os_pid)]],
    Pid.

%% --- a network of its own ---------------------------------------------------------------------

%% The seed's session, from a host that knows nothing of evum: a node there, its epmd and the machine's.
session(There, From, Node) ->
    Text = "N = list_to_atom(\"" ++ atom_to_list(Node) ++ "\"), pong = net_adm:ping(N), [N] = nodes(), "
        "{[{ok, \"sample\"}], []} = rpc:multicall([N], inet, gethostname, []), "
        "{[[{total, _} | _]], []} = rpc:multicall([N], erlang, memory, []), "
        "{ok, [{\"sample\", _}]} = net_adm:names(lists:last(string:split(atom_to_list(N), \"@\"))), "
        "pong = rpc:call(N, net_adm, ping, [node()]), halt(0)",
    {0, _, _} = sh(["HOME=/tmp ", There, "sh -c '", "epmd </dev/null >/dev/null 2>&1 & timeout 30 erl -noinput -boot no_dot_erlang ",
                    "-start_epmd false -setcookie mycookie -name ", From, " -eval \"$0\"; s=$?; kill $!; exit $s' '", Text, "'"]).

a_node_of_another_host_reaches_a_machine(_) -> on_host(?FUNCTION_NAME, #{}).

a_node_of_another_host_reaches_a_machine_claim() ->
    Other = {_, There} = evum_test_host:other("lan0", "192.168.213.7/24"),
    {ok, Sw} = evum_switch:start([{uplink, {packet, "lan0"}}, {subnet, "192.168.213.0/24"}]),
    {ok, _, 'sample@192.168.213.92' = Node} = evum_node:start(#{
        name => sample, cookie => mycookie, net => {Sw, #{ip => "192.168.213.92"}}, owner => none, console => none}),
    session(There, "linux@192.168.213.7", Node),
    evum_test_host:end_other(Other).

a_node_of_this_host_reaches_a_machine_behind_a_tap(_) ->
    %% Debian's own hosts let all users open it
    case file:open("/dev/net/tun", [read, write, raw]) of
        {ok, Tun} ->
            ok = file:close(Tun),
            on_host(?FUNCTION_NAME, #{});
        {error, _} -> {skip, "/dev/net/tun isn't this user's to open"}
    end.

a_node_of_this_host_reaches_a_machine_behind_a_tap_claim() ->
    {ok, Sw} = evum_switch:start([{uplink, {tap, "evt0"}}, {subnet, "192.168.99.0/24"}]),
    {0, _, _} = sh("ip addr add 192.168.99.1/24 dev evt0"),
    {ok, _, 'sample@192.168.99.2' = Node} = evum_node:start(#{
        name => sample, cookie => mycookie, net => {Sw, #{ip => "192.168.99.2"}}, owner => none, console => none}),
    session("", "linux@192.168.99.1", Node),
    works(node(), Node).
