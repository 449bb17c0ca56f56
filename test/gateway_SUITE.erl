%% SPDX-License-Identifier: Apache-2.0
%% The gateway's address as Linux sees it, on a network without a way out
-module(gateway_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [out/2]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) ->
    Config1 = evum_test_lib:begin_case(Case, Config),
    {ok, Switch} = evum_switch:start(),
    [{switch, Switch} | Config1].

end_per_testcase(Case, Config) ->
    [_ = evum_switch:stop(Sw) || #{pid := Sw} <- evum_switch:list()],
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        it_is_pinged_and_knows_names, a_name_is_known_and_forgotten_at_once, what_it_has_not_is_refused_at_once,
        the_world_is_unreachable_at_once, dhcp_gives_what_the_switch_gave
    ].

machine(Config, Label) -> evum_test_lib:vm([{label, Label}, {net, proplists:get_value(switch, Config)}]).

%% What a command says, which must fail, and soon.
refused(Vm, Command) ->
    {Us, {ok, #{status := Status, stdout := Out, stderr := Err}}} = timer:tc(fun() -> evum:exec(Vm, Command) end),
    {Command, true, true} = {Command, Status =/= 0, Us < 3000000},
    <<Out/binary, Err/binary>>.

said(Text, Pattern) -> {Text, {match, _}} = {Text, re:run(Text, Pattern)}.

it_is_pinged_and_knows_names(Config) ->
    [A, B] = [machine(Config, Label) || Label <- [here, there]],
    _ = out(A, "ping -c 2 -i 0.2 10.77.0.1"),
    _ = out(A, "ping -c 2 -i 0.2 -s 31900 gateway"),
    said(out(A, "nslookup there"), "Name:\tthere.evum\nAddress: 10.77.0.3"),
    said(out(B, "nslookup 10.77.0.2"), "name = here.evum"),
    said(refused(A, "nslookup nobody"), "NXDOMAIN"),
    said(refused(A, "nslookup example.org"), "NXDOMAIN"),
    said(refused(A, "wget -O - http://example.org/"), "bad address"),
    [evum_test_lib:stop(Vm) || Vm <- [A, B]].

a_name_is_known_and_forgotten_at_once(Config) ->
    A = machine(Config, stays),
    said(refused(A, "ping -c 1 goes"), "bad address"),
    B = machine(Config, goes),
    _ = out(A, "ping -c 1 goes"),
    evum_test_lib:stop(B),
    said(refused(A, "ping -c 1 goes"), "bad address"),
    evum_test_lib:stop(A).

what_it_has_not_is_refused_at_once(Config) ->
    Vm = machine(Config, asks),
    said(refused(Vm, "nc -w 5 10.77.0.1 80 </dev/null"), "refused"),
    said(refused(Vm, "wget -O - http://gateway/"), "refused"),
    %% which hears of a closed port
    said(refused(Vm, "traceroute -n -w 5 -q 1 -m 2 10.77.0.1; exit 1"), " 1  10.77.0.1  [0-9.]+ ms\n"),
    evum_test_lib:stop(Vm).

the_world_is_unreachable_at_once(Config) ->
    Vm = machine(Config, asks),
    said(refused(Vm, "nc -w 5 203.0.113.7 80 </dev/null"), "unreachable"),
    said(refused(Vm, "traceroute -n -w 5 -q 1 -m 2 203.0.113.7; exit 1"), "10.77.0.1 .* !N"),
    evum_test_lib:stop(Vm).

dhcp_gives_what_the_switch_gave(Config) ->
    [_, Vm] = [machine(Config, Label) || Label <- [first, second]],
    Asked = out(Vm, "printf '#!/bin/sh\\nenv\\n' >/told; chmod +x /told; udhcpc -i eth0 -n -q -f -s /told 2>&1"),
    said(Asked, "lease of 10.77.0.3 obtained from 10.77.0.1"),
    [said(Asked, Line) || Line <- ["subnet=255.255.255.0\n", "router=10.77.0.1\n", "dns=10.77.0.1\n", "domain=evum\n",
                                   "hostname=second\n", "mtu=32000\n", "serverid=10.77.0.1\n"]],
    [evum_test_lib:stop(M) || #{pid := M} <- evm:list()].
