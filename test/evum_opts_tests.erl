%% SPDX-License-Identifier: Apache-2.0
%% Claims about the checking of options
-module(evum_opts_tests).
-include_lib("eunit/include/eunit.hrl").

machine(Opts) -> evum_opts:machine(create, Opts).

nothing_given_is_the_default_machine_test() ->
    ?assertMatch({ok, #{label := undefined, dist := busybox, console := line, wait_boot := 30000,
                        owner := caller, on_reboot := reboot}}, machine([])),
    ?assertEqual(machine([]), machine(#{})).

a_linked_machine_boots_alone_and_silently_test() ->
    ?assertMatch({ok, #{owner := none, console := none, wait_boot := false}}, evum_opts:machine(start_link, [])).

evum_start_is_the_host_dist_test() ->
    ?assertMatch({ok, #{dist := host}}, evum_opts:machine(start, [])).

proplists_and_maps_say_the_same_test() ->
    ?assertEqual(machine([{label, a}, {mem, 64}, verbose]), machine(#{label => a, mem => 64, verbose => true})).

the_first_of_two_counts_test() ->
    ?assertMatch({ok, #{mem := 64}}, machine([{mem, 64}, {mem, 128}])).

timeout_is_wait_boot_test() ->
    ?assertMatch({ok, #{wait_boot := 17}}, machine([{timeout, 17}])),
    ?assertMatch({ok, #{wait_boot := false}}, machine([{wait_boot, false}])).

a_wrong_value_names_its_key_test_() ->
    [?_assertEqual({error, {bad_option, Key}}, machine([{label, good}, {Key, Value}]))
     || {Key, Values} <- [
            {dist, ["busybox", 1, {initramfs, ""}, {initramfs, 1}, {initramfs, [0]}, {disk, "f"}]}, {net, [true, undefined, "home", [a, true], lists:duplicate(9, a), [{a, #{colour => 1}}], [{a, #{mac => 16#0100000000}} | b], [{a, #{mac => 1 bsl 40}}], [{a, #{ip => "x"}}]]}, {mem, [31, 0, -1, 64.0, "64", 1048577]},
            {kernel, ["", foo, [0], <<"a", 0>>]}, {args, [foo, "quiet", [foo], [""], ["a\nb"], [lists:duplicate(3001, $x)], [x | y]]},
            {cpu, [-1, all, 4096]}, {console, [lines, true]}, {owner, [self, undefined]}, {life, [none, x]},
            {wait_boot, [0, -1, true, infinity, 3600001]}, {timeout, [0]}, {on_reboot, [true]}, {verbose, [1]},
            {disk, [63, 1048577, "", none, #{size => 0}, #{file => ""}, #{name => "x"}, [foo]]}, {durable, [1, yes]},
            {nonsense, [1]}, {"label", [a]}
        ],
        Value <- Values].

a_disk_is_a_size_or_a_file_test() ->
    [?assertMatch({ok, #{disk := Checked}}, machine([{disk, Disk}])) || {Disk, Checked} <- [
        {64, #{size => 64}}, {memory, memory}, {"/a", #{file => "/a"}}, {<<"/a">>, #{file => "/a"}}, {#{file => "/a", size => 100}, #{file => "/a", size => 100}}, {#{}, #{}}
    ]],
    {ok, #{disk := #{file := File}}} = machine([{disk, "a"}]),
    ?assertEqual(filename:absname("a"), File).

a_label_is_a_host_name_test_() ->
    [?_assertEqual({error, {bad_option, label}}, machine([{label, L}]))
     || L <- ["test1", <<"test1">>, undefined, '', 'a_b', 'a.b', '-a', 'a-', 'a b', 'ä', list_to_atom(lists:duplicate(64, $a))]] ++
    [?_assertMatch({ok, #{label := L}}, machine([{label, L}]))
     || L <- [test1, 'a-b', 'T1', '1', list_to_atom(lists:duplicate(63, $a))]].

what_is_no_option_list_is_refused_test_() ->
    [?_assertMatch({error, {bad_option, _}}, machine(O)) || O <- [foo, "foo", [{a, b, c}], [{label, a} | b], 7, {label, a}]].

a_string_is_for_the_shell_and_a_list_is_not_test_() ->
    Sh = fun(C) -> [<<"/bin/sh">>, <<"-c">>, C] end,
    [?_assertMatch({ok, #{argv := Argv}}, evum_opts:program(exec, Cmd, []))
     || {Cmd, Argv} <- [
            {"ls -l", Sh(<<"ls -l">>)}, {<<"ls">>, Sh(<<"ls">>)}, {"ä", Sh(<<"ä"/utf8>>)},
            {["/bin/true"], [<<"/bin/true">>]}, {["echo", <<"a b">>, ""], [<<"echo">>, <<"a b">>, <<>>]}
        ]].

a_wrong_command_is_refused_test_() ->
    [?_assertEqual({error, {bad_command, Cmd}}, evum_opts:program(exec, Cmd, []))
     || Cmd <- [[], <<>>, ls, ["ls", ls], ["ls", $a], [$a, "ls"], [""], ["ls" | "x"], [<<"a", 0>>], "a\0b", 7, [16#110000]]].

a_command_that_is_too_long_is_refused_test() ->
    ?assertEqual({error, e2big}, evum_opts:program(exec, ["echo", lists:duplicate(140000, $x)], [])).

options_of_a_program_are_checked_test_() ->
    [?_assertEqual({error, {bad_option, Key}}, evum_opts:program(exec, "true", [{Key, Value}]))
     || {Key, Value} <- [{timeout, 0}, {timeout, infinity}, {max_output, 0}, {env, [{"A=B", "c"}]}, {env, ["A=b"]},
                         {env, [{"", "c"}]}, {cd, ""}, {cd, tmp}, {user, -1}, {user, ""}, {shell, true}, {stdin, eof}, {stdin, [256]},
                         {pty, {0, 80}}, {pty, {24, 65536}}, {pty, 24}, {max_procs, 0}, {max_procs, 4194305}, {max_mem, 0}, {max_mem, 1.5},
                         {builtin, true}]] ++
    [?_assertMatch({ok, #{env := [<<"A=b">>], cwd := <<"/tmp">>, user := <<"65534">>}},
                   evum_opts:program(exec, "true", #{env => #{"A" => "b"}, cd => "/tmp", user => 65534}))].

options_of_exec_and_spawn_differ_test_() ->
    [?_assertMatch({ok, #{timeout := 60000, max_output := 16777216}}, evum_opts:program(exec, "true", [])),
     ?_assertMatch({ok, #{timeout := 5, stdin := <<"abc">>}}, evum_opts:program(exec, "true", [{timeout, 5}, {stdin, [$a, "b" | <<"c">>]}])),
     ?_assertMatch({ok, #{timeout := infinity}}, evum_opts:program(spawn, "true", [])),
     ?_assertMatch({ok, #{timeout := 7}}, evum_opts:program(spawn, "true", [{timeout, 7}])),
     ?_assertEqual({error, {bad_option, max_output}}, evum_opts:program(spawn, "true", [{max_output, 7}])),
     ?_assertEqual({error, {bad_option, stdin}}, evum_opts:program(spawn, "true", [{stdin, ""}]))].

a_terminal_and_limits_are_taken_test_() ->
    [?_assertMatch({ok, #{pty := Size}}, evum_opts:program(Kind, "true", [{pty, Value}]))
     || Kind <- [exec, spawn], {Value, Size} <- [{true, {24, 80}}, {{1, 65535}, {1, 65535}}]] ++
    [?_assertEqual(evum_opts:program(spawn, "true", []), evum_opts:program(spawn, "true", [{pty, false}])),
     ?_assertMatch({ok, #{max_procs := 10, max_mem := 16}}, evum_opts:program(spawn, "true", #{max_procs => 10, max_mem => 16}))].

options_of_moving_files_are_checked_test_() ->
    [?_assertEqual({error, {bad_option, Key}}, evum_opts:transfer(What, [{Key, Value}]))
     || {What, Key, Value} <- [{put, mode, 8#10000}, {put, mode, "644"}, {put, owner, {-1, 0}}, {put, owner, {0, 16#ffffffff}}, {put, owner, root},
                               {put, owner, ""}, {put, timeout, 0}, {put, max_size, 5}, {get, mode, 0}, {get, max_size, 0}, {get, timeout, infinity}]] ++
    [?_assertEqual({ok, #{timeout => 60000, mode => 8#640, owner => <<"5:6">>}}, evum_opts:transfer(put, [{mode, 8#640}, {owner, {5, 6}}])),
     ?_assertEqual({ok, #{timeout => 9, owner => <<"bin">>}}, evum_opts:transfer(put, #{owner => "bin", timeout => 9})),
     ?_assertEqual({ok, #{timeout => 60000, max_size => 5}}, evum_opts:transfer(get, [{max_size, 5}])),
     ?_assertEqual({ok, #{timeout => 60000, max_size => infinity}}, evum_opts:transfer(get_file, []))].

what_evum_sets_itself_is_refused_test_() ->
    [?_assertEqual({error, {bad_option, args}}, machine([{args, ["quiet", Word ++ "x"]}])) || Word <- evum_proto:reserved_args()] ++
    [?_assertEqual({error, {bad_option, args}}, machine([{args, [Word]}])) || Word <- ["--", "", "con=x", <<"ubd7=f">>]] ++
    [?_assertMatch({ok, _}, machine([{args, [Word]}])) || Word <- ["console=tty0", "memtest", "mconsole", <<"a=", 255>>, "---"]].
