%% SPDX-License-Identifier: Apache-2.0
%% Claims about evm.cfg
-module(evm_cfg_tests).
-include_lib("eunit/include/eunit.hrl").

read(Text) ->
    File = filename:join("/tmp", "evm_cfg_tests." ++ os:getpid() ++ "." ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(File, unicode:characters_to_binary(Text)),
    try evm_cfg:read(File) after file:delete(File) end.

an_image_is_a_disk_beside_its_file_test() ->
    {ok, #{mine := Dist}} = read("{dist, [{mine, [{file, \"root.img\"}]}]}.\n"),
    ?assertMatch(#{root := disk, access := overlay, file := "/tmp/root.img"}, Dist).

an_absolute_image_stays_where_it_is_test() ->
    ?assertMatch({ok, #{mine := #{file := "/srv/root.img", access := rw, mem := 256, args := [<<"init=/sbin/x">>]}}},
                 read("{dist, [{mine, [{file, \"/srv/root.img\"}, {access, rw}, {mem, 256}, {args, [\"init=/sbin/x\"]}]}]}.")).

the_embedded_dists_are_there_test() ->
    {ok, Dists} = evm_cfg:read("priv/evm.cfg"),
    ?assertMatch(#{busybox := #{root := initramfs, mem := 64}, host := #{root := host, mem := 128}}, Dists).

an_empty_file_is_fine_test() ->
    ?assertEqual({ok, #{}}, read("")),
    ?assertEqual({ok, #{}}, read("%% nothing\n\n")).

an_error_names_its_line_test_() ->
    [?_assertMatch({error, {bad_config, _, Line, What}}, read(Text)) || {Line, What, Text} <- [
        {2, {unknown_key, images}, "\n{images, []}.\n"},
        {3, {bad_value, mem}, "{dist, [\n {a, [{file, \"x\"},\n  {mem, 3}]}]}.\n"},
        {2, {unknown_key, colour}, "{dist, [{a, [\n{colour, blue}]}]}.\n"},
        {2, {incomplete, b}, "{dist, [{a, [{file, \"x\"}]},\n{b, []}]}.\n"},
        {1, {incomplete, a}, "{dist, [{a, [{root, host}, {file, \"x\"}]}]}.\n"},
        {2, {bad_value, access}, "{dist, [{a, [{file, \"x\"},\n{access, write}]}]}.\n"}
    ]] ++
    [?_assertMatch({error, {bad_config, _, Line, {syntax, _}}}, read(Text)) || {Line, Text} <- [
        {2, "{dist, []}.\n{dist, [\n"}, {1, "hello.\n"}, {2, "{dist,\n foo}.\n"}, {1, "{dist, [}.\n"}, {2, "\n{dist, [a]}.\n"},
        {1, "{dist, [{a, [{file, foo()}]}]}.\n"}, {1, "{dist, []}, {dist, []}.\n"}, {2, "\n{dist, \"abc}.\n"}, {1, "{dist, []}"}
    ]].

text_that_is_not_utf8_names_its_line_test() ->
    File = "/tmp/evm_cfg_tests.latin1." ++ os:getpid(),
    ok = file:write_file(File, <<"{dist, []}.\n%% ", 228, "\n">>),
    ?assertMatch({error, {bad_config, File, 2, not_utf8}}, evm_cfg:read(File)),
    ok = file:delete(File).

every_error_has_a_sentence_test() ->
    {error, Reason} = read("{dist, [{a, [{mem, 1}]}]}.\n"),
    ?assertMatch("/tmp/" ++ _, evum_error:format(Reason)).
