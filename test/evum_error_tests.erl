%% SPDX-License-Identifier: Apache-2.0
%% Every error that the sources name has a sentence of its own
-module(evum_error_tests).
-include_lib("eunit/include/eunit.hrl").

%% One of each: what a user may be given.
examples() ->
    Posix = [enoent, eacces, e2big, einval, ebusy, eexist, eloop, eisdir, enospc, enotdir, efbig],
    Posix ++ [
        {bad_option, grace}, {bad_option, args}, {bad_option, {a, b, c}}, {label_in_use, a}, {unknown_dist, a},
        {bad_config, "f", 1, {unknown_key, a}}, {bad_config, "f", 0, not_utf8}, {no_kernel, "f", enoent},
        {no_kernel, "f", eacces}, {bad_kernel, "f", enoexec}, {bad_kernel, "f", eacces}, {bad_image, "f", enoent}, {bad_image, "f", no_initramfs}, no_shell,
        {disk_in_use, "f"}, {base_changed, "f", "g"}, {bad_layer, "f"}, {no_layer, "f", enospc}, {too_many_layers, 14}, {no_disk_dir, "d", eacces}, {bad_option, disk}, {bad_option, durable}, {no_memory, <<"text">>}, {not_built, "f"}, not_started, {no_confinement, <<"text">>},
        {bad_option, state}, {bad_option, fork}, {bad_option, export}, {state_exists, a}, {unknown_state, a}, {has_children, a, [b, c]},
        {state_in_use, a}, {damaged_state, a, "f", changed}, {damaged_state, a, "f", bad_record}, {damaged_state, a, "f", enoent},
        {too_deep, a, 14}, {states_locked, "d"}, not_layered, {freeze_failed, eio}, {freeze_failed, {signal, kill}}, {timeout, freeze, 60000},
        {diff_too_large, timeout}, {diff_too_large, max_output}, {export_failed, <<"text">>}, {other_node, a@b}, no_home,
        {name_in_use, a}, {no_network, a}, {no_ctl, self()}, {unknown_net, a}, {control_socket, enospc}, {no_address, "10.77.0.0/24"}, {not_in_subnet, {1,2,3,4}, "10.77.0.0/24"},
        {bad_share, "/d", enoent}, {bad_share, "/d", enotdir}, {no_share, <<"the text">>}, {mounted_twice, <<"/state">>},
        no_store, {bad_option, max_bytes}, {bad_callback, m, missing}, {bad_callback, m, {init, 1}}, {bad_option, share},
        {address_in_use, {1,2,3,4}}, {mac_in_use, <<"02:65:76:00:00:02">>}, {no_nic, 3}, no_port, {bad_config, "f", 1, {missing, base_ip}},
        {bad_command, x}, {bad_text, x}, {too_long, 2047}, {bad_regexp, "(", "missing )", 1}, {bad_signal, x},
        {max_output, #{stdout => <<>>, stderr => <<>>}}, {refused, <<"text">>}, {mem_range, 32, 64}, agent_restarted,
        paused, booting, rebooting, stopping, attached, closed, not_owner, {busy, 1},
        {timeout, #{stdout => <<>>, stderr => <<>>}}, {timeout, start}, timeout, {timeout, 4096}, {timeout, write, unresponsive},
        {local, enoent, <<"f">>}, {local, eacces, <<255>>}, {enospc, <<"/f">>}, {enospc, <<255>>}, {timeout, put, 5}, {timeout, get, 0},
        {timeout, {file, "/f"}, <<"/ is there, /f isn't">>}, {timeout, {port, 80}, []}, {timeout, {port, 80}, [22, 25]},
        {timeout, {port, 80}, booting}, {timeout, net, <<"no interface">>}, {timeout, init, <<>>}, {bad_option, {port, 0}}, {bad_option, {file, a}},
        eproto, ebadmsg, {ebadmsg, <<"/f">>}, eopnotsupp, {bad_option, source}, {bad_option, path}, {bad_option, file}, {bad_option, mode}, {bad_option, max_size}, {timeout, up, agent}, {timeout, console_input, 1},
        {timeout, {text, "ä"}, <<>>}, {timeout, {text, <<"ä"/utf8>>}, <<>>}, {timeout, stop, unresponsive}, {timeout, network, unresponsive},
        {timeout, memory, agent}, noproc, noconnection, {nodedown, a@b}, {vm_down, {nodedown, a@b}}, {vm_down, killed},
        {boot_failed, agent, []}, {boot_failed, kernel, [<<"line">>]}, normal, shutdown, killed, crashed, port_died,
        {shutdown, halted}, {shutdown, rebooted}, {shutdown, rebooting_too_often}, {shutdown, {life, x}},
        not_plugged, {not_plugged, a}, {not_plugged, <<"port">>}, {not_plugged, self()}, {no_rule, {self(), make_ref()}}, {timeout, filter},
        {filter_crashed, {error, badarg, []}}, {bad_verdict, x}, {link_died, killed}, {max_size, 1},
        {bad_option, loss}, {bad_option, delay}, {bad_option, rate}, {bad_option, direction}, {bad_option, seed}, {bad_option, pair},
        {bad_option, groups}, {bad_option, filter}, {bad_option, capture}, {bad_option, snaplen},
        {no_interface, "if0"}, {interface_down, "if0"}, {interface_busy, "if0"}, {no_tap, "if0"}, {no_device, "/dev/net/tun"},
        {no_permission, packet, "if0"}, {no_permission, tap, "if0"}, no_uplink, {uplink_died, {signal, 9}}, {uplink_died, timeout},
        {uplink_died, 1}, {uplink_died, {event, hello, #{}}}, {no_forward, tap}, {no_forward, 80}, {no_forward, {tcp, 80}}, eaddrinuse, eaddrnotavail,
        {no_epmd, {no_program, "epmd"}}, {no_epmd, {exit_status, 1}}, {no_epmd, epmd}, {no_epmd, timeout}, {no_epmd, econnrefused}, {no_epmd, {not_built, "f"}},
        {name_taken, a}, {name_taken, "a"}, {no_distribution, name_taken}, {no_distribution, timeout}, {no_distribution, {cookie, "No home for cookie file"}}, {no_distribution, {shutdown, x}},
        {host_node, {proto_dist, "inet_tls"}}, {host_node, {epmd_module, m}}, {host_node, {epmd_port, "1"}}, {host_node, {interface, {1,2,3,4}}},
        {host_node, not_listening}, {not_fetched, a}, {bad_checksum, "https://a/b", "12", "34"}, {truncated, "https://a/b"}, {timeout, "https://a/b"},
        {too_big, "https://a/b", 1048576}, {bomb, "https://a/b", 1048576}, {http, "https://a/b", 404}, {redirect, "https://a/b", "http://a/b"},
        {unreachable, "https://a/b", econnrefused}, {unreachable, "https://a/b", {bad, x}}, {bad_certificate, "https://a/b", "Unknown CA"},
        {bad_cacertfile, "/f", enoent}, {bad_proxy, "https_proxy", user}, {bad_proxy, "https_proxy", {scheme, "socks5"}}, {bad_proxy, "http_proxy", syntax}, {bad_archive, "/f", <<"tar: no">>}, {no_file_system, "/f", partition_table}, {no_file_system, "/f", empty},
        {no_file_system, "/f", cut}, {no_file_system, "/f", unknown}, {no_space, "/d"}, {cache, "/f", eacces}, {cache_full, 2097152, 1048576},
        {no_program, "xz"}, {no_program, "mke2fs"}, {program_failed, "xz", 1, <<"bad">>}, {no_sources, "bookworm"}, {fetch_crashed, badarg},
        {missing_application, a, apps}, {missing_application, a, b}, {bad_path, "/d", several_apps}, {bad_path, "/d", enoent}, {bad_path, "/d", no_beams},
        {no_release, "/d", "start.boot"}, {wrong_erts, "1", "2"}, {unset_variable, "A", "/f"}, {bad_start, {m, f, 0}},
        {bad_option, release}, {bad_option, calls},
        {bad_app, "/f", syntax}, {bad_app, "/f", name}, {bad_app, "/f", vsn}, {bad_app, "/f", too_big}, {bad_app, "/f", eacces}, {bad_app, "/f", {no_beam, a}}, {bad_app, "/f", {no_atoms, modules}}, {name_lost, a},
        {bad_beam, "/f"}, {bad_elf, "/f"}, {bad_release, "text"}, {missing_library, "liba.so.1", "/f"},
        {foreign_architecture, "/f", "arm64", "x86-64"}, {no_erts, "/d"}, {image_too_big, 2097152, 1048576},
        {bad_option, apps}, {bad_option, paths}, {bad_option, start}, {bad_option, output}, {bad_option, epmd},
        {too_little_memory, 40, 90}, {no_ip, lan}, {bad_vm_args, "f", {unmatched, $"}}, {bad_vm_args, "f", {word, <<"-args_file">>}}, {bad_vm_args, "f", {too_long, 1}},
        {bad_vm_args, "f", enoent}, {bad_sys_config, "f", "text"}, {no_connection, a@b}, {timeout, epmd, unresponsive}, {node_failed, timeout, []},
        {node_failed, {exit_status, 1}, [<<"a line">>]}, {bad_option, cookie}, {bad_option, host_link}, {bad_option, net_ticktime},
        {bad_option, vm_args}, {bad_option, sys_config}, {bad_option, image}, {bad_config, "f", 1, {no_checksum, "http://a/b"}}, {shutdown, owner_down}, {panic, <<"text">>}, {signal, 9}, {signal, kill}, {exit_status, 1}
    ].

%% A sentence, not the name of an atom nor a term.
every_reason_has_a_sentence_test_() ->
    [{lists:flatten(io_lib:format("~0tp", [Reason])), ?_assertMatch({match, _}, re:run(evum_error:format(Reason), Regexp, [unicode]))}
     || Reason <- examples(),
        Regexp <- case Reason of {no_memory, _} -> ["^text$"]; einval -> ["argument"]; _ -> ["^[^{\\[#]+ .+[^.\n]$"] end].

%% The C library's words for these are about sockets and streams.
files_have_words_of_their_own_test_() ->
    [?_assertEqual(nomatch, re:run(evum_error:format(Reason), "socket|data message|protocol error"))
     || Posix <- [eopnotsupp, ebadmsg, eproto], Reason <- [Posix, {Posix, <<"/f">>}, {local, Posix, <<"/f">>}]].

%% What is written {error, Reason} in the sources, by name and size, is among the examples.
every_literal_error_is_among_them_test_() ->
    _ = application:load(evum),
    {ok, Modules} = application:get_key(evum, modules),
    Known = lists:usort([shape(Reason) || Reason <- examples()] ++ internal()),
    [{atom_to_list(Module), ?_assertEqual([], lists:usort(errors(forms(Module))) -- Known)}
     || Module <- Modules, lists:prefix("ev", atom_to_list(Module)), not lists:suffix("_tests", atom_to_list(Module))].

%% Between our own modules, or told by others than format_error/1.
internal() ->
    [{bad_frame, 2}, {attach, 2}, badarg, bad_record, changed, etimedout, bad_name, econnaborted, {already_started, 2}] ++
        %% why bytes are no frame or packet: counted
        [not_elf, bad_elf, bad_archive, short, truncated, bad_header, bad_length, bad_checksum, spoofed] ++
        %% what a client of a control socket is closed for, and what its socket may say: counted
        %% between who runs a program with a bound and who knows what it was for
        [file_too_big] ++
        %% what a guest's node hears of another
        [nxdomain, eafnosupport] ++
        %% what a guest hears of its served directory
        [eperm, malformed, bad_length, {bad_answer, 2}, eio, emfile, closed] ++
        [bad_magic, bad_address, {bad_type, 2}, {bad_version, 2}, econnrefused, econnaborted].

shape(Reason) when is_tuple(Reason) -> {element(1, Reason), tuple_size(Reason)};
shape(Reason) -> Reason.

forms(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    %% a type says what may be, an expression what is
    [Form || {function, _, _, _, _} = Form <- Forms].

errors({tuple, _, [{atom, _, error}, {tuple, _, [{atom, _, Name} | Rest]}]}) -> [{Name, 1 + length(Rest)} | errors(Rest)];
errors({tuple, _, [{atom, _, error}, {atom, _, Name}]}) -> [Name];
errors(Form) when is_tuple(Form) -> errors(tuple_to_list(Form));
errors([Head | Tail]) -> errors(Head) ++ errors(Tail);
errors(_) -> [].
