%% SPDX-License-Identifier: Apache-2.0
%% The examples do what they say
%%
%% Each on a host of its own, which isn't distributed and has no epmd.
-module(examples_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    {0, _, _} = evum_test_lib:sh([evum_test_lib:evum(), " build"], 300000),
    case evum_test_host:possible() of
        ok -> evum_test_lib:init_suite(Config);
        {skip, _} = Skip -> Skip
    end.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() -> [the_echo_server_answers_nc, hello_is_a_message, another_leads_when_one_is_crashed].

the_echo_server_answers_nc(_) -> here(echo_server).
hello_is_a_message(_) -> here(hello_world).
another_leads_when_one_is_crashed(_) -> here(cluster).

here(Function) -> ok = evum_test_host:run(?MODULE, Function).

%% --- on that host ---------------------------------------------------------------

begun() ->
    ok = file:set_cwd(evum_test_lib:tree()),
    {ok, _} = application:ensure_all_started(evum).

%% As the second seed has it, but for the names of the nodes.
echo_server() ->
    begun(),
    {ok, Vm, Node} = evum_node:start(#{name => sample, paths => ["examples/echoserver/ebin"], start => {echoserver, start, []}}),
    line(<<"Echo server started">>),
    pong = net_adm:ping(Node),
    {[Memory], []} = rpc:multicall([Node], erlang, memory, []),
    true = proplists:get_value(total, Memory) > 1000000,
    {[{ok, "sample"}], []} = rpc:multicall([Node], inet, gethostname, []),
    {ok, Port} = evum_switch:forward(net1, {tcp, 0}, {sample, 8080}),
    {0, <<"hello there!\nhello there!\n">>, _} =
        evum_test_lib:sh(["printf 'hello there!\\nhello there!\\n' | nc -N 127.0.0.1 ", integer_to_list(Port)]),
    ok = evum_node:stop(Vm).

hello_world() ->
    begun(),
    {ok, Vm, _Node} = evum_node:start(#{name => hello, paths => ["examples/helloworld/ebin"], start => {helloworld, start, []}}),
    line(<<"Hello, world!">>),
    ok = evum_node:stop(Vm).

cluster() ->
    begun(),
    true = code:add_patha("examples/cluster/ebin"),
    {First, Second} = cluster:demo(),
    true = First =/= Second,
    [] = evm:list(),
    ok.

%% What the node prints comes to the owner, behind the prompt of its shell.
line(Line) ->
    receive
        Got when is_binary(Got) ->
            case binary:longest_common_suffix([Got, Line]) =:= byte_size(Line) of
                true -> ok;
                false -> line(Line)
            end
    after 5000 -> error({missing, Line})
    end.
