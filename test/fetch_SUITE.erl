% SPDX-License-Identifier: Apache-2.0
% An image is fetched once, checked, and never half there
-module(fetch_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, until/1, out/2, sentence/1, sh/1]).
-import(evum_test_image, [packed/1, plain/1, sha/1, dist/2, trust/2, images/1, whole/1, refused/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config0) ->
    Config = evum_test_image:init_suite(fetch, Config0),
    {Owner, Server} = keep(fun() -> image_server:start({https, ?config(dir, Config)}) end),
    [{server, Server}, {server_owner, Owner} | Config].

%% A case's process ends with its case; what serves all cases needs one that doesn't.
keep(Fun) ->
    Self = self(),
    Owner = spawn(fun() -> Self ! {self(), Fun()}, receive stop -> ok end end),
    receive {Owner, Result} -> {Owner, Result} end.

end_per_suite(Config) ->
    image_server:stop(?config(server, Config)),
    ?config(server_owner, Config) ! stop,
    evum_test_image:end_suite(Config).

init_per_testcase(Case, Config) -> evum_test_image:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_image:end_case(Case, Config).

all() ->
    [
        it_is_fetched_and_boots, the_second_time_nothing_is_fetched, a_wrong_bit_is_refused, a_cut_is_resumed,
        a_cut_that_goes_on_is_told_and_resumed_later, a_file_that_changed_half_way_is_fetched_anew,
        a_server_that_mixes_versions_is_found_out, a_redirect_is_followed_to_https_only, an_unknown_authority_is_refused,
        an_endless_download_is_bounded, a_silent_server_is_given_up, a_status_is_told, a_proxy_is_gone_by, another_proxy_is_refused,
        a_host_of_ipv6_is_reached, one_download_for_two_askers,
        one_download_for_two_beams, who_ends_ends_the_download, a_killed_beam_leaves_no_half_file, a_full_disk_is_told,
        a_changed_image_is_fetched_anew, a_supervisor_does_not_wait, the_owner_is_told
    ].

%% --- helpers ----------------------------------------------------------------------------

%% The dist `web' is what the server has at /image.
web(Config, Bytes) -> web(Config, Bytes, []).

web(Config, Bytes, More) -> dist(web, [{uri, image_server:url(?config(server, Config), "/image")}, {sha256, sha(Bytes)} | trust(Config, More)]).

behave(Config, Fun) -> image_server:behave(?config(server, Config), "/image", Fun).

%% The first requests are answered by one behaviour each, all others by the last.
in_turn(Config, Firsts, Last) ->
    Counter = counters:new(1, []),
    behave(Config, fun(Headers, Socket) ->
        ok = counters:add(Counter, 1, 1),
        N = counters:get(Counter, 1),
        Behaviour = case N > length(Firsts) of true -> Last; false -> lists:nth(N, Firsts) end,
        Behaviour(Headers, Socket)
    end).

%% The connection ends when all that was sent is kept.
cut(Config, File, Max) ->
    image_server:cut(File, Max, fun(Size) ->
        until(fun() -> [Size] =:= [filelib:file_size(F) || F <- filelib:wildcard(filename:join([?config(cache, Config), "tmp", "*", "part"]))] end)
    end).

requests(Config) -> image_server:requests(?config(server, Config)).

%% --- fetching ---------------------------------------------------------------------------

it_is_fetched_and_boots(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    [false] = [P || #{dist := web, present := P} <- evm:dists()],
    V = vm([{dist, web}, {mem, 64}]),
    <<"base">> = out(V, "cat /etc/mark"),
    {ok, File} = evm:fetch(web),
    [File] = images(Config),
    {ok, Plain} = file:read_file(File),
    true = Plain =:= plain(Config),
    whole(Config),
    [true] = [P || #{dist := web, present := P} <- evm:dists()],
    stop(V).

the_second_time_nothing_is_fetched(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    {ok, File} = evm:fetch(web),
    behave(Config, image_server:status("500 Gone", [])),
    {ok, File} = evm:fetch(web),
    [] = requests(Config),
    %% the same bytes from elsewhere are the same image
    dist(web, [{uri, "https://nowhere.invalid/"}, {sha256, string:uppercase(sha(Packed))}]),
    {ok, File} = evm:fetch(web).

a_wrong_bit_is_refused(Config) ->
    <<Byte, Rest/binary>> = Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(<<(Byte bxor 1), Rest/binary>>)),
    {bad_checksum, _, _, _} = refused(Config, web),
    behave(Config, image_server:file(Packed)),
    {ok, _} = evm:fetch(web).

a_cut_is_resumed(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    Third = byte_size(Packed) div 3,
    behave(Config, cut(Config, {Packed, "\"v1\""}, Third + 1)),
    {ok, _} = evm:fetch(web),
    whole(Config),
    [First, #{"range" := "bytes=" ++ _, "if-range" := "\"v1\""} | _] = requests(Config),
    false = is_map_key("range", First),
    3 = length(requests(Config)).

a_cut_that_goes_on_is_told_and_resumed_later(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    Cut = cut(Config, {Packed, "\"v1\""}, 1000),
    in_turn(Config, [Cut], fun(_Headers, _Socket) -> ok end),
    {truncated, _} = refused(Config, web),
    behave(Config, image_server:file(Packed)),
    {ok, _} = evm:fetch(web),
    [#{"range" := "bytes=1000-"}] = requests(Config),
    whole(Config).

a_file_that_changed_half_way_is_fetched_anew(Config) ->
    changed_half_way(Config, "\"old\"", "\"new\""),
    2 = length(requests(Config)).

%% It claims that the version is the same: the checksum knows better.
a_server_that_mixes_versions_is_found_out(Config) ->
    changed_half_way(Config, "\"v1\"", "\"v1\""),
    3 = length(requests(Config)).

%% The first request has the beginning of another file, of this version.
changed_half_way(Config, Before, After) ->
    Packed = packed(Config),
    Old = crypto:strong_rand_bytes(byte_size(Packed)),
    web(Config, Packed),
    in_turn(Config, [cut(Config, {Old, Before}, 5000)], image_server:file(Packed, After)),
    {ok, _} = evm:fetch(web),
    whole(Config).

a_redirect_is_followed_to_https_only(Config) ->
    Packed = packed(Config),
    Server = ?config(server, Config),
    web(Config, Packed),
    image_server:behave(Server, "/there", image_server:file(Packed)),
    behave(Config, image_server:status("302 Found", [{"Location", "/there"}])),
    {ok, _} = evm:fetch(web),
    {0, _, _} = sh(["rm -rf ", ?config(cache, Config)]),
    [begin
         behave(Config, image_server:status("301 Moved", [{"Location", To}])),
         {redirect, _, _} = refused(Config, web)
     end || To <- ["http://localhost:1/image", "file:///etc/passwd", "ftp://localhost/image"]],
    %% round and round
    behave(Config, image_server:status("307 Again", [{"Location", "/image"}])),
    {redirect, _, _} = refused(Config, web),
    6 = length(requests(Config)).

an_unknown_authority_is_refused(Config) ->
    Packed = packed(Config),
    behave(Config, image_server:file(Packed)),
    Uri = image_server:url(?config(server, Config), "/image"),
    dist(web, [{uri, Uri}, {sha256, sha(Packed)}]),
    {bad_certificate, Uri, _} = refused(Config, web),
    %% the right authority, the wrong name
    dist(web, trust(Config, [{uri, lists:flatten(string:replace(Uri, "localhost", "127.0.0.1"))}, {sha256, sha(Packed)}])),
    {bad_certificate, _, _} = refused(Config, web),
    dist(web, [{uri, Uri}, {cacertfile, "/nonexistent.pem"}]),
    {bad_cacertfile, _, enoent} = refused(Config, web),
    [] = requests(Config).

an_endless_download_is_bounded(Config) ->
    web(Config, <<"x">>, [{max_size, 1}]),
    Endless = fun Loop(Socket) -> image_server:send(Socket, binary:copy(<<0>>, 65536)), Loop(Socket) end,
    behave(Config, fun(_, Socket) ->
        image_server:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
        Endless(Socket)
    end),
    {too_big, _, 1048576} = refused(Config, web),
    %% one that is slow is given up as well
    ok = application:set_env(evum, fetch_time, 1000),
    Slow = fun Loop(Socket) -> image_server:send(Socket, <<0>>), timer:sleep(50), Loop(Socket) end,
    behave(Config, fun(_, Socket) ->
        image_server:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
        Slow(Socket)
    end),
    {timeout, _} = refused(Config, web).

a_silent_server_is_given_up(Config) ->
    ok = application:set_env(evum, fetch_idle, 1000),
    web(Config, <<"x">>),
    behave(Config, fun(_, _) -> receive after 5000 -> ok end end),
    {timeout, _} = refused(Config, web),
    3 = length(requests(Config)),
    dist(web, [{uri, "https://localhost:1/image"}]),
    {unreachable, _, econnrefused} = refused(Config, web).

a_status_is_told(Config) ->
    web(Config, <<"x">>),
    behave(Config, image_server:status("404 Not Found", [])),
    {http, _, 404} = refused(Config, web),
    %% what is fetched unprotected has a checksum or isn't
    dist(web, [{uri, "http://localhost/image"}]),
    {bad_config, _, _, {no_checksum, _}} = refused(Config, web),
    Server = image_server:start(http),
    Packed = packed(Config),
    image_server:behave(Server, "/image", image_server:file(Packed)),
    %% and then may be redirected unprotected
    image_server:behave(Server, "/moved", image_server:status("302 Found", [{"Location", "/image"}])),
    dist(web, [{uri, image_server:url(Server, "/moved")}, {sha256, sha(Packed)}]),
    {ok, _} = evm:fetch(web),
    image_server:stop(Server).

a_proxy_is_gone_by(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    Proxy = image_server:start(http),
    Uri = image_server:url(Proxy, ""),
    image_server:behave(Proxy, "CONNECT", image_server:tunnel()),
    environment([{"https_proxy", Uri}], fun() -> {ok, _} = evm:fetch(web) end),
    [#{"proxied" := "localhost:" ++ _}] = image_server:requests(Proxy),
    1 = length(requests(Config)),
    %% http is asked of the proxy as it is, by the name that the proxy may know
    dist(web, [{uri, "http://nowhere.invalid/plain"}, {sha256, sha(Packed)}]),
    {0, _, _} = sh(["rm -rf ", ?config(cache, Config)]),
    image_server:behave(Proxy, "/plain", image_server:file(Packed)),
    environment([{"http_proxy", Uri}], fun() -> {ok, _} = evm:fetch(web) end),
    [#{"proxied" := "nowhere.invalid"}] = image_server:requests(Proxy),
    %% but not for those who are excepted
    {0, _, _} = sh(["rm -rf ", ?config(cache, Config)]),
    image_server:behave(Proxy, "CONNECT", image_server:tunnel()),
    web(Config, Packed),
    environment([{"https_proxy", Uri}, {"no_proxy", "example.org, localhost"}], fun() -> {ok, _} = evm:fetch(web) end),
    [] = image_server:requests(Proxy),
    image_server:stop(Proxy),
    %% a proxy that isn't there is named
    {0, _, _} = sh(["rm -rf ", ?config(cache, Config)]),
    environment([{"all_proxy", "localhost:1"}], fun() -> {unreachable, "http://localhost:1" ++ _, econnrefused} = refused(Config, web) end).

another_proxy_is_refused(Config) ->
    web(Config, packed(Config)),
    [environment([{"HTTPS_PROXY", Value}], fun() -> {bad_proxy, "HTTPS_PROXY", What} = refused(Config, web) end)
        || {Value, What} <- [{"socks5://localhost:1080", {scheme, "socks5"}}, {"http://me:secret@localhost:1", user}, {"localhost:99999", syntax}]].

environment(Variables, Fun) ->
    [true = os:putenv(Name, Value) || {Name, Value} <- Variables],
    try Fun() after [true = os:unsetenv(Name) || {Name, _} <- Variables] end.

a_host_of_ipv6_is_reached(Config) ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            Server = image_server:start({http, {0, 0, 0, 0, 0, 0, 0, 1}}),
            Packed = packed(Config),
            image_server:behave(Server, "/image", image_server:file(Packed)),
            dist(web, [{uri, image_server:url(Server, "[::1]", "/image")}, {sha256, sha(Packed)}]),
            {ok, _} = evm:fetch(web),
            [#{"host" := "[::1]:" ++ _}] = image_server:requests(Server),
            whole(Config),
            image_server:stop(Server);
        {error, _} -> {skip, "this host has no IPv6"}
    end.

%% --- who else is there --------------------------------------------------------------------

%% Sends the second half once so many others wait for the download.
until_others_wait(Config, Bytes, Others) ->
    fun(_, Socket) ->
        image_server:send(Socket, ["HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(byte_size(Bytes)), "\r\n\r\n"]),
        Half = byte_size(Bytes) div 2,
        image_server:send(Socket, binary:part(Bytes, 0, Half)),
        until(fun() -> waiting(Config) =:= Others end),
        image_server:send(Socket, binary:part(Bytes, Half, byte_size(Bytes) - Half))
    end.

%% How many wait for one of the cache's locks, as the kernel lists it.
waiting(Config) ->
    {ok, Table} = file:read_file("/proc/locks"),
    Files = filelib:wildcard(filename:join([?config(cache, Config), "locks", "*"])),
    Inodes = [integer_to_binary(I) || File <- Files, {ok, #file_info{inode = I}} <- [file:read_file_info(File)]],
    {match, Found} = re:run([Table, "-> FLOCK 0:0:0 "], "-> FLOCK .*:([0-9]+) ", [global, {capture, all_but_first, binary}]),
    length([Inode || [Inode] <- Found, lists:member(Inode, Inodes)]).

one_download_for_two_askers(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, until_others_wait(Config, Packed, 2)),
    [{ok, File}, {ok, File}, {ok, File}] = evum_test_lib:parallel([fun() -> evm:fetch(web) end || _ <- [1, 2, 3]]),
    1 = length(requests(Config)),
    whole(Config).

one_download_for_two_beams(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, until_others_wait(Config, Packed, 1)),
    Beams = [fetching_beam(Config, Packed) || _ <- [1, 2]],
    [receive {Port, {data, {eol, <<"done">>}}} -> ok after 30000 -> error(no_end) end || {Port, _} <- Beams],
    [receive {Port, {exit_status, 0}} -> ok after 20000 -> error(no_end) end || {Port, _} <- Beams],
    1 = length(requests(Config)),
    whole(Config).

%% Another BEAM that fetches the dist, says done and ends.
fetching_beam(Config, Bytes) ->
    Entry = [{web, [{uri, image_server:url(?config(server, Config), "/image")}, {sha256, sha(Bytes)} | trust(Config, [])]}],
    evum_test_lib:second_beam(lists:flatten(io_lib:format(
        "{ok, _} = application:ensure_all_started(evum), application:set_env(evum, dist, ~0p), "
        "io:put_chars(\"start\\n\"), {ok, _} = evm:fetch(web), io:put_chars(\"done\\n\"), halt().", [Entry]))).

who_ends_ends_the_download(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    Self = self(),
    behave(Config, fun(_, Socket) ->
        image_server:send(Socket, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbytes"),
        Self ! started,
        {Module, S} = Socket,
        Module:recv(S, 0, 10000),
        Self ! closed
    end),
    Asker = spawn(fun() -> evm:fetch(web) end),
    receive started -> ok after 20000 -> error(never_asked) end,
    exit(Asker, kill),
    receive closed -> ok after 20000 -> error(still_open) end,
    behave(Config, image_server:file(Packed)),
    {ok, _} = evm:fetch(web).

%% At any moment: while it downloads, checks, unpacks, stores.
a_killed_beam_leaves_no_half_file(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    Rounds = evum_test_lib:rounds(6),
    ct:timetrap({seconds, 60 + 10 * Rounds}),
    T0 = erlang:monotonic_time(millisecond),
    {true, _} = killed_round(Config, Packed, 60000),
    Whole = erlang:monotonic_time(millisecond) - T0,
    Killed = [killed_round(Config, Packed, rand:uniform(Whole)) || _ <- lists:seq(1, Rounds)],
    ct:pal("~b ms undisturbed; ended before it was killed, after so many ms: ~0p", [Whole, Killed]),
    {ok, _} = evm:fetch(web),
    whole(Config),
    [] = filelib:wildcard(filename:join([?config(cache, Config), "tmp", "*"])).

killed_round(Config, Packed, After) ->
    {Port, Pid} = fetching_beam(Config, Packed),
    receive {Port, {data, {eol, <<"start">>}}} -> ok after 20000 -> error(no_start) end,
    Ended = receive {Port, {exit_status, Status}} -> Status =:= 0 orelse error({ended, Status}) after After -> false end,
    %% it may end by itself meanwhile
    Ended orelse sh(["kill -KILL ", integer_to_list(Pid)]),
    Ended orelse receive {Port, {exit_status, Last}} -> true = lists:member(Last, [0, 137]) after 20000 -> error(not_killed) end,
    ok = evum_test_lib:gone([Pid], 5000),
    whole(Config),
    %% what was whole is begun anew
    _ = [ok = file:delete(F) || F <- images(Config)],
    {Ended, After}.

a_full_disk_is_told(Config) ->
    case os:cmd("id -u") of
        "0\n" -> full_disk(Config);
        _ -> {skip, "a file system of its own takes root"}
    end.

%% A small tmpfs as the cache, in a mount namespace of the other BEAM's.
full_disk(Config) ->
    Packed = crypto:strong_rand_bytes(6000000),
    Plain = filename:join(?config(dir, Config), "root.tar.gz"),
    Ebin = filename:dirname(code:which(evum)),
    Text = fun(Entry) -> lists:flatten(io_lib:format(
        "{ok, _} = application:ensure_all_started(evum), application:set_env(evum, dist, ~0p), "
        "{error, R} = evm:fetch(web), io:format(\"~~0p ~~ts~~n\", [element(1, R), evum:format_error(R)]), halt().", [[{web, Entry}]])) end,
    behave(Config, image_server:file(Packed)),
    Cache = filename:dirname(?config(cache, Config)),
    [begin
         {0, Out, _} = sh(["mkdir -p ", Cache, "; unshare -m sh -c 'mount -t tmpfs -o size=", Size, " none ", Cache, "; exec \"$@\"' - "
                           "erl -noinput -boot no_dot_erlang -pa ", Ebin, " -eval '", Text(Entry), "'"]),
         ct:pal("~ts", [Out]),
         {match, _} = re:run(Out, "^no_space no space is left")
     end || {Size, Entry} <- [
         {"4M", trust(Config, [{uri, image_server:url(?config(server, Config), "/image")}, {sha256, sha(Packed)}])},
         {"2M", [{uri, Plain}]}, {"8M", [{uri, Plain}]}
     ]].

a_changed_image_is_fetched_anew(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    {ok, File} = evm:fetch(web),
    ok = file:change_mode(File, 8#644),
    {ok, Fd} = file:open(File, [read, write, raw]),
    ok = file:pwrite(Fd, 100000, <<"damage">>),
    ok = file:close(Fd),
    [false] = [P || #{dist := web, present := P} <- evm:dists()],
    {ok, File} = evm:fetch(web),
    2 = length(requests(Config)),
    whole(Config).

%% --- starting machines ------------------------------------------------------------------------

a_supervisor_does_not_wait(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    {error, {not_fetched, web} = Reason} = evum:start_link([{dist, web}]),
    sentence(Reason),
    {ok, _} = evm:fetch(web),
    {ok, V} = evum:start_link([{dist, web}]),
    ok = evum:await(V, up, 20000),
    unlink(V),
    stop(V).

the_owner_is_told(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, image_server:file(Packed)),
    {ok, V} = evm:create([{dist, web}, {mem, 64}, {console, none}]),
    Stages = [S || {evum, web, {fetching, #{stage := S}}} <- evum_test_lib:flush()],
    ct:pal("~p", [Stages]),
    [download, check, unpack, store] = uniq(Stages),
    stop(V).

uniq([A, A | Rest]) -> uniq([A | Rest]);
uniq([A | Rest]) -> [A | uniq(Rest)];
uniq([]) -> [].
