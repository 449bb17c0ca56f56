%% SPDX-License-Identifier: Apache-2.0
%% What a node is told, and options that are wrong, without a machine
-module(evum_node_tests).
-include_lib("eunit/include/eunit.hrl").

parse(Text) -> evum_node_args:parse(Text).

words_are_read_as_erl_reads_them_test_() ->
    [?_assertEqual({ok, #{words => Words}}, parse(Text)) || {Text, Words} <- [
        {<<>>, []},
        {<<" \n\t# nothing\n# here">>, []},
        {<<"+P 5000\n-env A b # and this\n-mode embedded">>, [<<"+P">>, <<"5000">>, <<"-env">>, <<"A">>, <<"b">>, <<"-mode">>, <<"embedded">>]},
        {<<"-eval 'io:format(\"a b\"), ok.'">>, [<<"-eval">>, <<"io:format(\"a b\"), ok.">>]},
        {<<"a\\ b \"c \\\"d\\\" 'e\"f g#h">>, [<<"a b">>, <<"c \"d\" 'ef">>, <<"g#h">>]},
        {<<"-x ''">>, [<<"-x">>, <<>>]}
    ]].

name_and_cookie_are_taken_out_test_() ->
    [
        ?_assertEqual({ok, #{words => [<<"+K">>, <<"true">>], name => <<"a@b.c">>, cookie => <<"secret">>}},
                      parse(<<"-name a@b.c\n-setcookie secret\n+K true">>)),
        ?_assertEqual({ok, #{words => [], name => <<"a">>}}, parse(<<"-sname a">>))
    ].

what_cannot_be_handed_on_is_told_test_() ->
    [
        ?_assertEqual({error, {unmatched, $"}}, parse(<<"-a \"b">>)),
        ?_assertEqual({error, {unmatched, $'}}, parse(<<"'">>)),
        ?_assertEqual({error, {word, <<"a\nb">>}}, parse(<<"'a\nb'">>)),
        ?_assertEqual({error, {word, <<"-args_file">>}}, parse(<<"-args_file other">>)),
        ?_assertEqual({error, {bad_vm_args, "/nowhere/vm.args", enoent}}, evum_node_args:read("/nowhere/vm.args"))
    ].

%% Nothing runs: a bad option is told before anything else is looked at.
bad_options_test_() ->
    [?_assertEqual({error, {bad_option, Key}}, evum_node:start([{Key, Value}])) || {Key, Value} <- [
        {name, "sample"}, {name, 'sample@host'}, {name, 'a.b'}, {name, '_a'}, {cookie, 'a b'}, {cookie, ""}, {cookie, "ä"},
        {start, {m, f}}, {start, {m, f, [a | b]}}, {net, false}, {net, []}, {net, [a, b]}, {host_link, shy},
        {net_ticktime, 0}, {net_ticktime, 3601}, {vm_args, ""}, {args, ["a\nb"]}, {args, [""]}, {args, "a"}, {sys_config, []},
        {image, ""}, {mem, 0}, {label, a}, {dist, busybox}, {wait_boot, 0}, {timeout, infinity}, {owner, me}, {state, nothing}, {epmd, true}
    ]] ++ [
        ?_assertEqual({error, {bad_option, image}}, evum_node:start(#{image => "f", apps => [crypto]})),
        ?_assertEqual({error, {bad_option, args}}, evum_node:start(#{args => [lists:duplicate(50000, $a)]})),
        ?_assertEqual({error, {bad_vm_args, "/nowhere", enoent}}, evum_node:start(#{vm_args => "/nowhere"})),
        ?_assertMatch({error, {bad_sys_config, "/nowhere", _}}, evum_node:start(#{sys_config => "/nowhere"}))
    ].

%% The guest's side of the names, where nobody told it of a network.
without_a_network_there_is_no_peer_test_() ->
    [
        ?_assertEqual({error, nxdomain}, evum_guest:address_please("a", "127.0.0.1", inet)),
        ?_assertEqual({error, eafnosupport}, evum_guest:address_please("a", "::1", inet6)),
        ?_assertEqual({ok, evum_guest:port()}, evum_guest:listen_port_please("a", "b")),
        ?_assertMatch({port, _, _}, evum_guest:port_please("a", {127, 0, 0, 1})),
        ?_assertEqual(ignore, evum_guest:start_link())
    ].
