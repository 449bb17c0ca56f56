%% SPDX-License-Identifier: Apache-2.0
%% Names, records and the tree of states
-module(evm_state_tests).
-include_lib("eunit/include/eunit.hrl").

state(Name, Parent) ->
    #{name => Name, parent => Parent, dist => debian, bytes => 4096, created => 1, mem => 64, args => [<<"a=b">>],
      base => "/images/\x{e4}.img", size => 1, digest => <<1:512>>}.

states(Pairs) -> maps:from_list([{Name, state(Name, Parent)} || {Name, Parent} <- Pairs]).

name_test_() ->
    [?_assertEqual(ok, evm_state:name(N)) || N <- [a, 'Web-1.2_x@host', '1', list_to_atom(lists:duplicate(64, $a))]]
        ++ [?_assertEqual({error, {bad_option, state}}, evm_state:name(N))
            || N <- ['', '.', '..', '.a', 'a/b', 'a\n', 'a b', 'ä', "a", <<"a">>, 1, list_to_atom(lists:duplicate(65, $a))]].

a_record_is_read_as_it_was_written_test_() ->
    [?_assertEqual({ok, S}, evm_state:parse(maps:get(name, S), iolist_to_binary(evm_state:format(S))))
     || S <- [state(a, none), (state(a, b))#{kernel => "/boot/linux"}]].

what_is_no_record_is_told_test_() ->
    Good = iolist_to_binary(evm_state:format(state(a, none))),
    Changed = fun(Key, Value) -> iolist_to_binary(evm_state:format((state(a, none))#{Key => Value})) end,
    [?_assertEqual({error, bad_record}, evm_state:parse(a, Text))
     || Text <- [<<>>, <<"x">>, <<"x.">>, <<255>>, <<"{evum_state, 2, #{}}.">>, <<"{evum_state, 1, #{}}.">>,
                 binary:part(Good, 0, byte_size(Good) div 2), <<Good/binary, Good/binary>>, binary:copy(<<" ">>, 65537),
                 Changed(parent, a), Changed(parent, '..'), Changed(mem, 0), Changed(args, [x]), Changed(more, 1),
                 Changed(base, none), Changed(digest, <<1>>), Changed(size, -1), Changed(kernel, "relative"), Changed(kernel, [0])]].

a_chain_begins_with_the_oldest_test() ->
    States = states([{a, none}, {b, a}, {c, b}, {d, a}]),
    {ok, Chain} = evm_state:chain(c, States),
    ?assertEqual([a, b, c], [N || #{name := N} <- Chain]),
    ?assertEqual([b, d], evm_state:children(a, States)),
    ?assertEqual([], evm_state:children(c, States)).

a_chain_that_is_broken_or_too_long_is_told_test() ->
    ?assertEqual({error, {unknown_state, a}}, evm_state:chain(b, states([{b, a}]))),
    ?assertEqual({error, {unknown_state, b}}, evm_state:chain(b, #{})),
    Name = fun(0) -> none; (N) -> list_to_atom("s" ++ integer_to_list(N)) end,
    Max = evm_state:depth_max(),
    Long = states([{Name(N), Name(N - 1)} || N <- lists:seq(1, Max + 1)]),
    ?assertMatch({ok, _}, evm_state:chain(Name(Max), Long)),
    ?assertEqual({error, {too_deep, Name(Max + 1), Max}}, evm_state:chain(Name(Max + 1), Long)),
    %% by hand only
    ?assertMatch({error, {too_deep, a, _}}, evm_state:chain(a, states([{a, b}, {b, a}]))).
