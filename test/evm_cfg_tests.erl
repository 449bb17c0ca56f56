%% SPDX-License-Identifier: Apache-2.0
%% Claims about evm.cfg
-module(evm_cfg_tests).
-include_lib("eunit/include/eunit.hrl").

read(Text) ->
    File = filename:join("/tmp", "evm_cfg_tests." ++ os:getpid() ++ "." ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(File, unicode:characters_to_binary(Text)),
    try evm_cfg:read(File) after file:delete(File) end.

an_image_is_a_disk_beside_its_file_test() ->
    {ok, #{dist := #{mine := Dist}}} = read("{dist, [{mine, [{file, \"root.img\"}]}]}.\n"),
    ?assertMatch(#{root := disk, access := overlay, file := "/tmp/root.img"}, Dist).

an_absolute_image_stays_where_it_is_test() ->
    ?assertMatch({ok, #{dist := #{mine := #{file := "/srv/root.img", access := rw, mem := 256, args := [<<"init=/sbin/x">>]}}}},
                 read("{dist, [{mine, [{file, \"/srv/root.img\"}, {access, rw}, {mem, 256}, {args, [\"init=/sbin/x\"]}]}]}.")).

the_embedded_dists_are_there_test() ->
    {ok, #{dist := Dists}} = evm_cfg:read("priv/evm.cfg"),
    ?assertMatch(#{busybox := #{root := initramfs, mem := 64}, host := #{root := host, mem := 128}}, Dists).

what_is_fetched_is_known_by_its_address_test() ->
    Hash = lists:duplicate(64, $a),
    {ok, #{dist := #{a := A, b := B, c := C, d := D, e := E}}} = read([
        "{dist, [{a, [{file, \"x.img\"}, {uri, \"https://a.example/x.gz\"}, {sha256, \"", string:uppercase(Hash), "\"}, {mem, 64}]},\n"
        "{b, [{uri, \"http://a.example/x\"}, {sha256, \"", Hash, "\"}, {max_size, 10}]},\n"
        "{c, [{uri, \"sub/x.tar\"}, {cacertfile, \"ca.pem\"}]}, {d, [{build, mmdebstrap}, {include, [\"mc\"]}]},\n"
        "{e, [{uri, \"a b: 1.img\"}]}]}.\n"]),
    ?assertMatch(#{root := disk, access := overlay, mem := 64, image := {uri, #{uri := "https://a.example/x.gz", sha256 := Hash}}}, A),
    ?assertMatch(#{image := {uri, #{uri := "http://a.example/x", max_size := 10}}}, B),
    ?assertMatch(#{image := {uri, #{uri := "/tmp/a b: 1.img"}}}, E),
    ?assertMatch(#{image := {uri, #{uri := "/tmp/sub/x.tar", cacertfile := "/tmp/ca.pem"}}}, C),
    ?assertMatch(#{image := {build, #{variant := "apt", include := ["mc"]}}}, D).

the_shipped_images_are_checked_test() ->
    {ok, #{dist := Dists}} = evm_cfg:read("priv/evm.cfg"),
    Addresses = [Spec || #{image := {uri, Spec}} <- maps:values(Dists)],
    ?assertMatch([_, _ | _], Addresses),
    [?assertMatch(#{uri := "https://" ++ _, sha256 := [_ | _]}, Spec) || Spec <- Addresses],
    ?assertMatch(#{debian := #{image := {build, _}}}, Dists).

an_empty_file_is_fine_test() ->
    ?assertEqual({ok, #{dist => #{}, network => #{}}}, read("")),
    ?assertEqual({ok, #{dist => #{}, network => #{}}}, read("%% nothing\n\n")).

the_networks_of_the_seed_are_there_test() ->
    {ok, #{network := #{home := Home, coffeeshop := #{uplink := {slirp, #{}}}}}} = evm_cfg:read("priv/evm.cfg"),
    #{subnet := Subnet, uplink := {slirp, #{}}} = Home,
    ?assertEqual({"192.168.213.0/24", {192,168,213,1}}, {evum_subnet:text(Subnet), evum_subnet:gateway(Subnet)}),
    ?assertEqual({ok, {192,168,213,92}}, evum_subnet:free([], Subnet)).

a_network_has_options_of_a_switch_too_test() ->
    {ok, #{network := #{lab := Lab}}} = read("{network, [{lab, [{subnet, \"10.9.0.0/16\"}, {gateway, \"10.9.0.254\"}, {mtu, 9000},\n"
                                             " {ping, [\"10.9.0.7\"]}, {domain, \"lab.example\"}, {uplink, {packet, \"eth0\"}}]}]}.\n"),
    ?assertMatch({ok, #{mtu := 9000, ping := [{10,9,0,7}], domain := <<"lab.example">>, uplink := {packet, "eth0"}}}, evum_net_opts:check(Lab)).

a_network_s_error_names_its_line_test_() ->
    [?_assertMatch({error, {bad_config, _, Line, What}}, read(["{network, [{lab, [\n", Text, "]}]}.\n"])) || {Line, What, Text} <- [
        {3, {bad_value, first_ip}, "{base_ip, \"10.1.2.\"},\n{first_ip, 255}"},
        {3, {bad_value, first_ip}, "{base_ip, \"10.1.2.\"},\n{first_ip, \"9\"}"},
        {2, {bad_value, base_ip}, "{base_ip, \"10.1.2\"},\n{first_ip, 5}"},
        {4, {bad_value, gw}, "{base_ip, \"10.1.2.\"},\n{first_ip, 5},\n{gw, \"10.1.3.1\"}"},
        {3, {bad_value, netmask}, "{base_ip, \"10.1.2.\"},\n{netmask, \"255.0.255.0\"}"},
        {1, {missing, base_ip}, "{first_ip, 5},\n{gw, \"10.1.3.1\"}"},
        {3, {bad_value, subnet}, "{base_ip, \"10.1.2.\"},\n{subnet, \"10.1.2.0/24\"}"},
        {2, {bad_value, ping}, "{ping, \"here\"}"}, {2, {bad_value, uplink}, "{uplink, modem}"}, {2, {bad_value, mtu}, "{mtu, 100}"},
        {2, {bad_value, gateway}, "{gateway, \"10.1.2.3\"}"}, {3, {unknown_key, colour}, "\n{colour, blue}"}, {2, {unknown_key, name}, "{name, x}"}
    ]].

an_error_names_its_line_test_() ->
    [?_assertMatch({error, {bad_config, _, Line, What}}, read(Text)) || {Line, What, Text} <- [
        {2, {unknown_key, images}, "\n{images, []}.\n"},
        {3, {bad_value, mem}, "{dist, [\n {a, [{file, \"x\"},\n  {mem, 3}]}]}.\n"},
        {2, {unknown_key, colour}, "{dist, [{a, [\n{colour, blue}]}]}.\n"},
        {2, {incomplete, b}, "{dist, [{a, [{file, \"x\"}]},\n{b, []}]}.\n"},
        {1, {incomplete, a}, "{dist, [{a, [{root, host}, {file, \"x\"}]}]}.\n"},
        {1, {incomplete, a}, "{dist, [{a, [{root, initramfs}, {file, \"x\"}, {access, rw}]}]}.\n"},
        {2, {bad_value, access}, "{dist, [{a, [{file, \"x\"},\n{access, write}]}]}.\n"},
        {2, {bad_value, uri}, "{dist, [\n{a, [{uri, \"https://a b/x\"}]}]}.\n"},
        {2, {bad_value, uri}, "{dist, [\n{a, [{uri, \"file:///a b\"}]}]}.\n"},
        {2, {no_checksum, "http://a/x"}, "{dist, [\n{a, [{uri, \"http://a/x\"}]}]}.\n"},
        {2, {bad_value, sha256}, "{dist, [{a, [{uri, \"x\"},\n{sha256, \"12\"}]}]}.\n"},
        {1, {bad_value, uri}, "{dist, [{a, [{uri, \"ftp://a/x\"}]}]}.\n"},
        {1, {incomplete, a}, "{dist, [{a, [{uri, \"/x\"}, {access, rw}]}]}.\n"},
        {2, {bad_value, include}, "{dist, [{a, [{build, mmdebstrap},\n{include, [\"a;b\"]}]}]}.\n"},
        {1, {incomplete, a}, "{dist, [{a, [{build, mmdebstrap}, {uri, \"x\"}]}]}.\n"}
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
