%% SPDX-License-Identifier: Apache-2.0
%% A machine is a node of one cluster with this one
-module(node_SUITE).

-behaviour(supervisor).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([init/1]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, down/1, monitored/2, monitored/3, expect/2, expect/3, flush/0, sentence/1, until/1, until/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        the_seed_s_session, a_supervisor_restarts_it_under_its_name, a_taken_name_is_told_before_anything_boots,
        a_name_is_a_machine_s_once_there_is_one,
        a_reboot_brings_it_back,
        what_fails_at_boot_comes_back, too_little_memory_is_told, words_of_files_are_the_node_s, the_console_is_a_shell, a_terminal_on_it_has_line_editing,
        a_hidden_link_is_the_host_s_alone, the_end_of_who_waits_ends_it, nobody_has_to_wait,
        a_host_with_a_short_name_has_machines, an_ordinary_user_has_nodes, an_epmd_that_comes_back_knows_them
    ].

init_per_suite(Config) ->
    Tested = evum_test_lib:init_suite(Config),
    %% epmd and distribution are evum's, and end with it
    {ok, _} = evum_dist:start(),
    Tested.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(evum),
    {ok, _} = evum_dist:start(),
    evum_test_lib:begin_case(Case, Config).

end_per_testcase(Case, Config) ->
    Ended = evum_test_lib:end_case(Case, Config),
    until(fun() -> nodes(connected) =:= [] end),
    Ended.

init(Spec) -> {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, [Spec]}}.

echoserver() -> [filename:join(evum_test_lib:tree(), "examples/echoserver/ebin")].

%% The node's name is free once its machine has ended, and this node is nobody's any more.
gone(Vm, Reason) ->
    Reason = down(Vm),
    until(fun() -> nodes(connected) =:= [] end).

%% Nobody else on the host has these names.
text() -> "sample" ++ os:getpid().
name() -> list_to_atom(text()).
node_at(Host) -> list_to_atom(text() ++ "@" ++ Host).

is_known() ->
    {ok, Names} = evum_epmd:names(),
    lists:keymember(text(), 1, Names).

%% --- claims ----------------------------------------------------------------------------

the_seed_s_session(_) ->
    {ok, Vm, Node} = evum_node:start(#{name => name(), paths => echoserver(), start => {echoserver, start, []}}),
    Node = node_at("127.0.0.1"),
    pong = net_adm:ping(Node),
    [Node] = nodes(),
    {[[{total, Total} | _]], []} = rpc:multicall([Node], erlang, memory, []),
    true = Total > 1000000,
    Label = text(),
    {[{ok, Label}], []} = rpc:multicall([Node], inet, gethostname, []),
    pong = rpc:call(Node, net_adm, ping, [node()]),
    {ok, Sw} = evum_switch:default(),
    {ok, Port} = evum_switch:forward(Sw, {tcp, 0}, {Vm, 8080}),
    {0, <<"hello there!\n">>, _} = sh(["echo 'hello there!' | nc -N 127.0.0.1 ", integer_to_list(Port)]),
    true = is_known(),
    true = lists:member(<<"Echo server started">>, flush()),
    %% applications are stopped in their order, then the machine halts
    ok = evum_node:stop(Node),
    gone(Vm, noproc),
    false = is_known(),
    {error, noproc} = evum_node:stop(Node).

a_supervisor_restarts_it_under_its_name(_) ->
    {ok, Sup} = supervisor:start_link(?MODULE, evum_node:child_spec(#{name => name()})),
    Node = node_at("127.0.0.1"),
    ok = net_kernel:monitor_nodes(true),
    pong = net_adm:ping(Node),
    Creation = rpc:call(Node, erlang, system_info, [creation]),
    %% a busy host may take longer, but not again and again
    ok = crashes(Sup, Node, 5),
    pong = net_adm:ping(Node),
    false = Creation =:= rpc:call(Node, erlang, system_info, [creation]),
    %% what is stopped is not restarted
    [{_, Vm2, worker, _}] = supervisor:which_children(Sup),
    ok = evum_node:stop(name()),
    gone(Vm2, noproc),
    [{_, undefined, worker, _}] = supervisor:which_children(Sup),
    ok = net_kernel:monitor_nodes(false),
    _ = flush(),
    unlink(Sup),
    exit(Sup, shutdown),
    shutdown = down(Sup).

crashes(Sup, Node, Tries) when Tries > 0 ->
    [{_, Vm, worker, _}] = supervisor:which_children(Sup),
    T0 = erlang:monotonic_time(millisecond),
    ok = evum:crash(Vm),
    receive {nodedown, Node} -> ok end,
    Ms = erlang:monotonic_time(millisecond) - T0,
    ct:log("nodedown after ~b ms", [Ms]),
    receive {nodeup, Node} -> ok end,
    if
        Ms < 100 -> ok;
        true -> crashes(Sup, Node, Tries - 1)
    end.

%% The image has no program to ask for it; its applications are stopped in order all the same.
a_reboot_brings_it_back(_) ->
    {ok, Vm, Node} = evum_node:start(#{name => name()}),
    true = monitor_node(Node, true),
    {Us, ok} = timer:tc(fun() -> evum:reboot(Vm) end),
    %% less than what a guest's own reboot may take
    true = Us < 9000000,
    receive {nodedown, Node} -> ok after 0 -> error(still_connected) end,
    until(fun() -> net_adm:ping(Node) =:= pong end),
    ok = evum_node:stop(Vm),
    gone(Vm, noproc).

a_taken_name_is_told_before_anything_boots(_) ->
    {ok, Socket} = evum_epmd:register(name(), 9),
    Name = name(),
    {error, {name_taken, Name}} = evum_node:start(#{name => Name}),
    ok = evum_epmd:unregister(Socket),
    %% by a machine
    {ok, Vm} = evm:create([{label, Name}, {console, none}]),
    {error, {name_taken, Name}} = evum_node:start(#{name => Name}),
    ok = evm:stop(Vm),
    %% by this node itself
    Own = list_to_atom(hd(string:split(atom_to_list(node()), "@"))),
    {error, {name_taken, Own} = Reason} = evum_node:start(#{name => Own}),
    _ = sentence(Reason),
    false = is_known(),
    [] = evm:list().

what_fails_at_boot_comes_back(_) ->
    {error, {bad_start, {nowhere, start, 0}}} = evum_node:start(#{name => name(), start => {nowhere, start, []}}),
    %% the cause comes first, before pages of what emulator's flags there are
    {error, {node_failed, {exit_status, 1}, [Cause | _]}} = evum_node:start(#{name => name(), args => ["+badflag"]}),
    match = re:run(Cause, "badflag", [{capture, none}]),
    {error, {node_failed, {exit_status, 1}, Lines} = Reason} = evum_node:start(#{name => name(), start => {erlang, error, [oh_no]}}),
    true = lists:any(fun(Line) -> string:find(Line, "oh_no") =/= nomatch end, Lines),
    match = re:run(sentence(Reason), "ended with status 1.*oh_no", [dotall, {capture, none}]),
    {error, {node_failed, {exit_status, 1}, _}} = evum_node:start(#{name => name(), start => {file, read_file, ["/nowhere"]}}),
    {error, {node_failed, timeout, _}} = evum_node:start(#{name => name(), start => {timer, sleep, [infinity]}, wait_boot => 6000}),
    {error, {node_failed, {shutdown, halted}, _}} = evum_node:start(#{name => name(), start => {erlang, halt, []}}),
    %% it was up, and ends before anybody is connected
    {error, {node_failed, {exit_status, 3}, _}} =
        evum_node:start(#{name => name(), start => evaluate("sys:suspend(net_kernel), timer:apply_after(300, erlang, halt, [3]).")}),
    false = is_known(),
    [] = flush().

evaluate(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {erl_eval, exprs, [Expressions, []]}.

a_name_is_a_machine_s_once_there_is_one(_) ->
    Watcher = spawn(fun() -> receive stop -> ok end end),
    Node = node_at("127.0.0.1"),
    {ok, Port} = evum_node_names:take(name(), Node, inside, Watcher, 8),
    {ok, Known} = evum_epmd:names(),
    true = lists:member({text(), Port}, Known),
    %% nothing that could be stopped
    {error, noproc} = evum_node:stop(name()),
    Machine = spawn(fun() -> receive stop -> ok end end),
    ok = evum_node_names:keep(name(), Machine),
    {ok, Machine, Node} = evum_node_names:find(name()),
    Watcher ! stop,
    {error, {name_lost, nobody} = Reason} = evum_node_names:keep(nobody, Machine),
    _ = sentence(Reason),
    {ok, Machine, Node} = evum_node_names:find(Node),
    Machine ! stop,
    until(fun() -> not is_known() end).

too_little_memory_is_told(_) ->
    {error, {too_little_memory, 33, Needed} = Reason} = evum_node:start(#{mem => 33}),
    match = re:run(sentence(Reason), integer_to_list(Needed), [{capture, none}]),
    %% it is enough
    true = register(node1, self()),
    {ok, Vm, Node} = evum_node:start(#{mem => Needed}),
    %% the first of those that nobody has
    ["node" ++ N, _Host] = string:split(atom_to_list(Node), "@"),
    true = list_to_integer(N) > 1,
    true = unregister(node1),
    ok = evum:crash(Vm).

args(Cookie) ->
    ["# a release's\n-name my_", text(), "@192.0.2.1 -setcookie ", Cookie, "\n+P 65536\n-mine \"two words\" three\n"].

words_of_files_are_the_node_s(Config) ->
    Dir = ?config(priv_dir, Config),
    Args = filename:join(Dir, "vm.args"),
    ok = file:write_file(Args, args("'oh so secret'")),
    {error, {bad_option, vm_args}} = evum_node:start(#{vm_args => Args}),
    ok = file:write_file(Args, args("so-secret")),
    Sys = filename:join(Dir, "sys.config"),
    ok = file:write_file(Sys, <<"[{kernel, [{mine, \"ä\"}]}].\n"/utf8>>),
    {ok, Vm, Node} = evum_node:start(#{vm_args => Args, sys_config => Sys, args => ["-more"], net_ticktime => 16}),
    Node = list_to_atom("my_" ++ text() ++ "@127.0.0.1"),
    Label = list_to_atom("my-" ++ text()),
    "so-secret" = atom_to_list(rpc:call(Node, erlang, get_cookie, [])),
    65536 = rpc:call(Node, erlang, system_info, [process_limit]),
    {ok, [["two words", "three"]]} = rpc:call(Node, init, get_argument, [mine]),
    {ok, [[]]} = rpc:call(Node, init, get_argument, [more]),
    {ok, "ä"} = rpc:call(Node, application, get_env, [kernel, mine]),
    16 = rpc:call(Node, net_kernel, get_net_ticktime, []),
    #{label := Label} = evum:info(Vm),
    %% what is in no command line of the host's nobody reads there
    {0, <<"0\n">>, _} = sh("cat /proc/[0-9]*/cmdline 2> /dev/null | grep -ac '[s]o-secret' | cat"),
    ok = evum:crash(Label),
    %% options go before files
    {ok, Vm2, Other} = evum_node:start(#{vm_args => Args, name => name(), cookie => "mine", sys_config => [{kernel, [{mine, 7}]}]}),
    Other = node_at("127.0.0.1"),
    mine = rpc:call(Other, erlang, get_cookie, []),
    {ok, 7} = rpc:call(Other, application, get_env, [kernel, mine]),
    ok = evum:crash(Vm2).

the_console_is_a_shell(_) ->
    {ok, #{image := Image}} = evum_release:bake(#{}),
    {ok, Vm, Node} = evum_node:start(#{name => name(), image => Image, console => tagged}),
    expect(Vm, up),
    ok = evum:puts(Vm, "{node(), 6 * 7}.\n"),
    ok = evum:await(Vm, {text, "{'" ++ atom_to_list(Node) ++ "',42}"}, 10000),
    %% a name is found by what it is not, too
    {error, noproc} = evum_node:stop(other),
    {error, {bad_option, grace}} = evum_node:stop(Vm, never),
    Monitor = monitor(process, Vm),
    ok = evum:puts(Vm, "init:stop().\n"),
    {shutdown, halted} = monitored(Monitor, Vm, 10000),
    until(fun() -> not lists:member(Node, nodes(connected)) end),
    _ = flush().

%% An arrow key, the terminal's width, and what Tab completes.
a_terminal_on_it_has_line_editing(_) ->
    {ok, Vm, _Node} = evum_node:start(#{name => name(), console => none}),
    Attach = filename:join(evm_cfg:priv_dir(), "evum-attach"),
    Port = open_port({spawn_executable, os:find_executable("script")},
                     [{args, ["-qfc", "stty rows 33 cols 77; " ++ Attach ++ " " ++ text(), "/dev/null"]}, binary, exit_status, stderr_to_stdout]),
    until(fun() -> maps:get(attached, evum:info(Vm)) end),
    true = port_command(Port, "{edited, 12\e[D3\e[C}.\r"),
    ok = shown(Port, <<"{edited,132}">>, <<>>),
    true = port_command(Port, "{width, io:columns()}.\r"),
    ok = shown(Port, <<"{width,{ok,77}}">>, <<>>),
    true = port_command(Port, "lists:reve\t[2, 1]).\r"),
    ok = shown(Port, <<"[1,2]">>, <<>>),
    true = port_command(Port, "\x1d"),
    receive {Port, {exit_status, 0}} -> ok after 20000 -> error(attached) end,
    ok = evum_node:stop(Vm).

shown(Port, Text, Seen) ->
    case binary:match(Seen, Text) of
        nomatch ->
            receive {Port, {data, More}} -> shown(Port, Text, <<Seen/binary, More/binary>>)
            after 20000 -> error({missing, Text, Seen})
            end;
        _ -> ok
    end.

a_hidden_link_is_the_host_s_alone(_) ->
    {ok, Vm, Node} = evum_node:start(#{name => name(), host_link => hidden, console => none}),
    [] = nodes(),
    [Node] = nodes(hidden),
    [] = rpc:call(Node, erlang, nodes, []),
    pong = rpc:call(Node, net_adm, ping, [node()]),
    %% a visible link isn't the guest's to make
    Host = node(),
    true = erlang:disconnect_node(Node),
    ok = evum:puts(Vm, ["{said, net_adm:ping('", atom_to_list(Host), "')}.\n"]),
    ok = evum:await(Vm, {text, "{said,pang}"}, 15000),
    true = net_kernel:hidden_connect_node(Node),
    true = rpc:call(Node, application, get_env, [kernel, prevent_overlapping_partitions]) =/= {ok, false},
    ok = evum:crash(Vm).

the_end_of_who_waits_ends_it(_) ->
    {Pid, Monitor} = spawn_monitor(fun() -> evum_node:start(#{name => name()}) end),
    until(fun() -> whereis(name()) =/= undefined end, 20000),
    Vm = whereis(name()),
    VmMonitor = monitor(process, Vm),
    exit(Pid, kill),
    killed = monitored(Monitor, Pid),
    _ = monitored(VmMonitor, Vm),
    until(fun() -> not is_known() end).

nobody_has_to_wait(_) ->
    ok = net_kernel:monitor_nodes(true),
    {ok, Vm, Node} = evum_node:start(#{name => name(), wait_boot => false, life => self()}),
    receive {nodeup, Node} -> ok end,
    expect(Vm, up, 10000),
    ok = net_kernel:monitor_nodes(false),
    ok = evum:crash(Vm),
    %% nobody waits for its failure either
    {ok, Bad, Node} = evum_node:start(#{name => name(), wait_boot => false, start => {erlang, halt, [3]}}),
    {exit_status, 3} = monitored(monitor(process, Bad), Bad, 20000),
    _ = flush().

%% --- hosts of their own ----------------------------------------------------------------

a_host_with_a_short_name_has_machines(_) -> on_host(?FUNCTION_NAME, #{args => ["-sname", "host"], epmd => true}).

a_host_with_a_short_name_has_machines_claim() ->
    {ok, Vm, Node} = evum_node:start(#{name => name()}),
    Node = node_at("localhost"),
    pong = net_adm:ping(Node),
    pong = rpc:call(Node, net_adm, ping, [node()]),
    [Node] = nodes(),
    ok = evum:crash(Vm).

an_ordinary_user_has_nodes(_) ->
    case sh("id -u") of
        {0, <<"0\n">>, _} ->
            {0, Home, _} = sh("d=$(mktemp -d) && chown 65534 $d && printf $d"),
            try
                on_host(?FUNCTION_NAME, #{as => nobody, home => binary_to_list(Home)})
            after
                {0, _, _} = sh("rm -rf " ++ binary_to_list(Home))
            end;
        _ -> on_host(?FUNCTION_NAME)
    end.

an_ordinary_user_has_nodes_claim() ->
    {ok, Vm, Node} = evum_node:start(#{name => name(), paths => echoserver(), start => {echoserver, start, []}}),
    pong = net_adm:ping(Node),
    'evum@127.0.0.1' = node(),
    pong = rpc:call(Node, net_adm, ping, [node()]),
    ok = evum:crash(Vm),
    pang = net_adm:ping(Node),
    ok.

an_epmd_that_comes_back_knows_them(_) -> on_host(?FUNCTION_NAME).

an_epmd_that_comes_back_knows_them_claim() ->
    {ok, Vm, Node} = evum_node:start(#{name => name()}),
    {0, Pids, _} = sh("ss -Htlnp sport = 4369 | grep -o 'pid=[0-9]*' | sort -u"),
    [ok = evum_test_lib:kill(list_to_integer(Pid), "KILL") || "pid=" ++ Pid <- string:lexemes(binary_to_list(Pids), "\n")],
    until(fun() -> case evum_epmd:names() of {ok, Names} -> lists:keymember(text(), 1, Names); {error, _} -> false end end, 10000),
    pong = net_adm:ping(Node),
    ok = evum:crash(Vm).

on_host(Case) -> on_host(Case, #{}).

on_host(Case, Options) ->
    case evum_test_host:possible() of
        ok -> ok = evum_test_host:run(?MODULE, claim, [list_to_existing_atom(atom_to_list(Case) ++ "_claim")], Options);
        Skip -> Skip
    end.

claim(Claim) ->
    {ok, _} = application:ensure_all_started(evum),
    ok = logger:set_application_level(evum, critical),
    ok = ?MODULE:Claim(),
    ok = application:stop(evum).
