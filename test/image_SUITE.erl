%% SPDX-License-Identifier: Apache-2.0
%% An image is fetched once, checked, and never half there
-module(image_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, until/1, out/2, sentence/1, sh/1, sh/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config0) ->
    Config = evum_test_lib:init_suite(Config0),
    Dir = "/tmp/ct-image-" ++ os:getpid(),
    {0, _, _} = sh(["rm -rf ", Dir, "; mkdir -p ", Dir]),
    {Owner, Server} = keep(fun() -> image_server:start({https, Dir}) end),
    [{dir, Dir}, {server, Server}, {server_owner, Owner}, {xdg, os:getenv("XDG_CACHE_HOME")} | make_images(Dir, Config)].

%% A case's process ends with its case; what serves all cases needs one that doesn't.
keep(Fun) ->
    Self = self(),
    Owner = spawn(fun() -> Self ! {self(), Fun()}, receive stop -> ok end end),
    receive {Owner, Result} -> {Owner, Result} end.

end_per_suite(Config) ->
    image_server:stop(?config(server, Config)),
    ?config(server_owner, Config) ! stop,
    {0, _, _} = sh(["rm -rf ", ?config(dir, Config)]),
    ok = application:unset_env(evum, dist),
    case ?config(xdg, Config) of false -> os:unsetenv("XDG_CACHE_HOME"); Xdg -> os:putenv("XDG_CACHE_HOME", Xdg) end,
    evum_test_lib:end_suite(Config).

%% Each case has a cache of its own.
init_per_testcase(Case, Config) ->
    Cache = filename:join([?config(dir, Config), "cache", atom_to_list(Case)]),
    true = os:putenv("XDG_CACHE_HOME", Cache),
    ok = application:set_env(evum, fetch_idle, 3000),
    evum_test_lib:begin_case(Case, [{cache, filename:join(Cache, "evum")} | Config]).

end_per_testcase(Case, Config) ->
    [ok = application:unset_env(evum, Key) || Key <- [fetch_idle, fetch_time, cache_max]],
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        it_is_fetched_and_boots, the_second_time_nothing_is_fetched, a_wrong_bit_is_refused, a_cut_is_resumed,
        a_cut_that_goes_on_is_told_and_resumed_later, a_file_that_changed_half_way_is_fetched_anew,
        a_server_that_mixes_versions_is_found_out, a_redirect_is_followed_to_https_only, an_unknown_authority_is_refused,
        an_endless_download_is_bounded, a_silent_server_is_given_up, a_status_is_told, every_way_of_packing,
        a_tar_keeps_owners_and_modes, a_tar_may_be_of_small_files, a_tar_s_names_stay_inside, a_bomb_is_bounded, what_is_no_file_system_is_told,
        a_local_file_is_taken_in, one_download_for_two_askers, one_download_for_two_beams, who_ends_ends_the_download,
        a_killed_beam_leaves_no_half_file, a_program_leaves_nothing, a_killed_beam_leaves_no_program, a_full_disk_is_told, a_changed_image_is_fetched_anew, the_cache_is_bounded,
        gc_keeps_what_is_used, a_supervisor_does_not_wait, the_owner_is_told, a_debian_is_made_here, run_says_what_it_waits_for
    ].

%% busybox with its links and an init of its own, as a tar archive and as an image.
make_images(Dir, Config) ->
    Script = ["set -e; cd ", Dir, "; mkdir -p root/bin root/sbin root/etc root/dev root/proc root/sys root/tmp root/root root/run;"
              "cp $(command -v busybox) root/bin/busybox;"
              "for a in $(root/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox root/bin/$a; done;"
              "ln -sf /bin/busybox root/sbin/init; ln -sf /bin/busybox root/sbin/poweroff; ln -sf /bin/busybox root/sbin/reboot;"
              "printf '::sysinit:/bin/true\\n' > root/etc/inittab; echo root:x:0:0:root:/root:/bin/sh > root/etc/passwd;"
              "echo base > root/etc/mark; chmod 640 root/etc/mark; chmod 4755 root/bin/busybox; ",
              "tar --owner=7 --group=8 -C root -cf root.tar .;"
              "PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F -b 4096 -d root root.img 16M;"
              "gzip -1 -k root.img; bzip2 -1 -k root.img; xz -0 -k root.img; zstd -q -1 -k root.img; xz -0 -k root.tar; gzip -1 -k root.tar"],
    {0, _, _} = sh(Script),
    Config.

packed(Config) -> content(Config, "root.img.gz").
plain(Config) -> content(Config, "root.img").

content(Config, Name) ->
    {ok, Bytes} = file:read_file(filename:join(?config(dir, Config), Name)),
    Bytes.

%% --- helpers ----------------------------------------------------------------------------

sha(Bytes) -> string:lowercase(binary_to_list(binary:encode_hex(crypto:hash(sha256, Bytes)))).

%% The dist `web' is what the server has at /image.
web(Config, Bytes) -> web(Config, Bytes, []).

web(Config, Bytes, More) -> dist(web, [{uri, image_server:url(?config(server, Config), "/image")}, {sha256, sha(Bytes)} | trust(Config, More)]).

trust(Config, More) -> [{cacertfile, filename:join(?config(dir, Config), "ca.pem")} | More].

dist(Name, Entry) -> ok = application:set_env(evum, dist, [{Name, Entry}]).

behave(Config, Fun) -> image_server:behave(?config(server, Config), "/image", Fun).

%% The connection ends when all that was sent is kept.
cut(Config, File, Max) ->
    image_server:cut(File, Max, fun(Size) ->
        until(fun() -> [Size] =:= [filelib:file_size(F) || F <- filelib:wildcard(filename:join([?config(cache, Config), "tmp", "*", "part"]))] end)
    end).

requests(Config) -> image_server:requests(?config(server, Config)).

images(Config) -> filelib:wildcard(filename:join([?config(cache, Config), "images", "*"])).

%% Nothing but whole images has a good name, and nothing waits in the way.
whole(Config) ->
    [begin
         {ok, Bytes} = file:read_file(File),
         {ok, #file_info{mode = Mode, mtime = Time}} = file:read_file_info(File, [{time, posix}]),
         {8#444, 946684800} = {Mode band 8#777, Time},
         Name = filename:basename(File),
         Name = sha(Bytes) ++ ".img"
     end || File <- images(Config)],
    ok.

refused(Config, Name) ->
    {error, Reason} = evm:fetch(Name),
    ct:pal("~0p~n~ts", [Reason, sentence(Reason)]),
    [] = images(Config),
    Reason.

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
    Counter = counters:new(1, []),
    behave(Config, fun(Headers, Socket) ->
        counters:add(Counter, 1, 1),
        case counters:get(Counter, 1) of
            1 -> Cut(Headers, Socket);
            _ -> ok
        end
    end),
    {truncated, _} = refused(Config, web),
    behave(Config, image_server:file(Packed)),
    {ok, _} = evm:fetch(web),
    [#{"range" := "bytes=1000-"}] = requests(Config),
    whole(Config).

a_file_that_changed_half_way_is_fetched_anew(Config) ->
    Packed = packed(Config),
    Old = crypto:strong_rand_bytes(byte_size(Packed)),
    web(Config, Packed),
    Counter = counters:new(1, []),
    behave(Config, fun(Headers, Socket) ->
        counters:add(Counter, 1, 1),
        case counters:get(Counter, 1) of
            1 -> (cut(Config, {Old, "\"old\""}, 5000))(Headers, Socket);
            _ -> (image_server:file(Packed, "\"new\""))(Headers, Socket)
        end
    end),
    {ok, _} = evm:fetch(web),
    whole(Config).

%% It claims that the version is the same: the checksum knows better.
a_server_that_mixes_versions_is_found_out(Config) ->
    Packed = packed(Config),
    Old = crypto:strong_rand_bytes(byte_size(Packed)),
    web(Config, Packed),
    Counter = counters:new(1, []),
    behave(Config, fun(Headers, Socket) ->
        counters:add(Counter, 1, 1),
        case counters:get(Counter, 1) of
            1 -> (cut(Config, {Old, "\"v1\""}, 5000))(Headers, Socket);
            _ -> (image_server:file(Packed))(Headers, Socket)
        end
    end),
    {ok, _} = evm:fetch(web),
    3 = length(requests(Config)),
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
    ok = application:set_env(evum, fetch_idle, 200),
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

%% --- packing ----------------------------------------------------------------------------

every_way_of_packing(Config) ->
    [begin
         dist(local, [{uri, filename:join(?config(dir, Config), Name)}]),
         {ok, File} = evm:fetch(local),
         true = plain(Config) =:= element(2, file:read_file(File))
     end || Name <- ["root.img.gz", "root.img.bz2", "root.img.xz", "root.img.zst", "root.img"]],
    1 = length(images(Config)),
    dist(local, [{uri, filename:join(?config(dir, Config), "root.tar.xz")}]),
    V = vm([{dist, local}, {mem, 64}]),
    <<"base">> = out(V, "cat /etc/mark"),
    stop(V),
    whole(Config).

a_tar_keeps_owners_and_modes(Config) ->
    dist(local, [{uri, "file://" ++ filename:join(?config(dir, Config), "root.tar")}]),
    V = vm([{dist, local}, {mem, 64}]),
    <<"640 7:8">> = out(V, "stat -c '%a %u:%g' /etc/mark"),
    <<"4755 7:8">> = out(V, "stat -c '%a %u:%g' /bin/busybox"),
    stop(V).

%% Each takes a block and an inode; and a folder is like any, if it is called dev.
a_tar_may_be_of_small_files(Config) ->
    Dir = ?config(dir, Config),
    {0, _, _} = sh(["set -e; cd ", Dir, "; mkdir -p small/many small/a/dev; cd small; echo x | split -b 1 - many/last;"
                    "echo kept > a/dev/file; i=0; while [ $i -lt 9000 ]; do : > many/$i; i=$((i + 1)); done;"
                    "cp ../root.tar ../small.tar; tar -rf ../small.tar ."]),
    dist(small, [{uri, filename:join(Dir, "small.tar")}]),
    V = vm([{dist, small}, {mem, 64}]),
    <<"9002">> = out(V, "ls /many | wc -l"),
    <<"kept">> = out(V, "cat /a/dev/file"),
    stop(V).

a_tar_s_names_stay_inside(Config) ->
    Dir = ?config(dir, Config),
    Mark = filename:join(Dir, "outside"),
    {0, _, _} = sh(["set -e; cd ", Dir, "; mkdir -p evil/sub; echo bad > evil/x; cd evil;"
                    "tar -P -cf ../dots.tar --transform 's,^x,../../../..", Mark, ",' x;"
                    "tar -P -cf ../absolute.tar --transform 's,^x,", Mark, ",' x;"
                    "ln -s ", Dir, " link; tar -cf ../link.tar link; rm link; mkdir link; echo bad > link/outside;"
                    "tar -rf ../link.tar link/outside"]),
    %% a name with .. is an error, the others are the image's own
    dist(evil, [{uri, filename:join(Dir, "dots.tar")}]),
    {bad_archive, _, _} = refused(Config, evil),
    [begin
         dist(evil, [{uri, filename:join(Dir, Name)}]),
         ct:pal("~0p", [evm:fetch(evil)])
     end || Name <- ["absolute.tar", "link.tar"]],
    false = filelib:is_file(Mark),
    whole(Config).

a_bomb_is_bounded(Config) ->
    Dir = ?config(dir, Config),
    {0, _, _} = sh(["cd ", Dir, "; head -c 24M /dev/zero | gzip -9 > bomb.gz; head -c 24M /dev/zero | bzip2 -9 > bomb.bz2;"
                    "head -c 24M /dev/zero | xz -9 > bomb.xz; head -c 24M /dev/zero | zstd -q -19 > bomb.zst"]),
    [begin
         dist(bomb, [{uri, filename:join(Dir, Name)}, {max_size, 8}]),
         {bomb, _, 8388608} = refused(Config, bomb)
     end || Name <- ["bomb.gz", "bomb.bz2", "bomb.xz", "bomb.zst"]],
    [] = filelib:wildcard(filename:join([?config(cache, Config), "tmp", "*", "work", "*"])).

what_is_no_file_system_is_told(Config) ->
    Dir = ?config(dir, Config),
    File = filename:join(Dir, "other"),
    Table = <<0:(510 * 8), 16#55, 16#aa, 0:(8192 * 8)>>,
    Packed = content(Config, "root.tar.gz"),
    [begin
         ok = file:write_file(File, Bytes),
         dist(other, [{uri, File}]),
         ct:pal("~p", [What]),
         {no_file_system, File, What} = refused(Config, other)
     end || {What, Bytes} <- [{empty, <<>>}, {unknown, crypto:strong_rand_bytes(100000)}, {partition_table, Table}, {unknown, <<"text">>},
                              {cut, binary:part(plain(Config), 0, 1000000)}]],
    ok = file:write_file(File, binary:part(Packed, 0, 100000)),
    dist(other, [{uri, File}]),
    {bad_archive, _, _} = refused(Config, other).

a_local_file_is_taken_in(Config) ->
    File = filename:join(?config(dir, Config), "mine.img"),
    ok = file:write_file(File, plain(Config)),
    dist(mine, [{uri, File}]),
    {ok, Image} = evm:fetch(mine),
    {ok, Image} = evm:fetch(mine),
    {ok, _} = file:read_file(Image),
    dist(mine, [{uri, "file://" ++ File}, {sha256, sha(<<"another">>)}]),
    {error, {bad_checksum, _, _, _}} = evm:fetch(mine),
    dist(mine, [{file, "/nonexistent"}]),
    {error, {bad_image, _, enoent}} = evm:fetch(mine),
    dist(mine, [{uri, "/nonexistent"}]),
    {error, {bad_image, _, enoent}} = evm:fetch(mine).

%% --- who else is there --------------------------------------------------------------------

%% Serves slowly enough that they meet.
slow(Bytes) ->
    fun(_, Socket) ->
        image_server:send(Socket, ["HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(byte_size(Bytes)), "\r\n\r\n"]),
        Half = byte_size(Bytes) div 2,
        image_server:send(Socket, binary:part(Bytes, 0, Half)),
        timer:sleep(500),
        image_server:send(Socket, binary:part(Bytes, Half, byte_size(Bytes) - Half))
    end.

one_download_for_two_askers(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, slow(Packed)),
    [{ok, File}, {ok, File}, {ok, File}] = evum_test_lib:parallel([fun() -> evm:fetch(web) end || _ <- [1, 2, 3]]),
    1 = length(requests(Config)),
    whole(Config).

one_download_for_two_beams(Config) ->
    Packed = packed(Config),
    web(Config, Packed),
    behave(Config, slow(Packed)),
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

%% It prints the numbers of all it has started: in a session of its own, an orphan, one
%% that ignores signals; and stays, or not.
-define(FAMILY, "echo $$; echo \"$(setsid sh -c 'echo $$; (sleep 600 >/dev/null & echo $!); exec sleep 600 >/dev/null' &"
    " (trap '' TERM HUP; exec sleep 600 >/dev/null) & echo $!)\"; ").

a_program_leaves_nothing(_Config) ->
    Run = fun(Last, Ms, Tell) -> evm_image_tool:run("sh", ["-c", ?FAMILY ++ Last], #{time => Ms, on_text => Tell}) end,
    {ok, Text} = Run("", 20000, fun(_) -> ok end),
    ok = gone_numbers(Text, 0),
    {error, {program_failed, "sh", 7, _}} = Run("exit 7", 20000, fun(_) -> ok end),
    %% its time is up
    Self = self(),
    Tell = fun(Bytes) -> Self ! {text, Bytes} end,
    {error, {timeout, "sh"}} = Run("exec sleep 600", 1000, Tell),
    ok = gone_numbers(texts(), 0),
    %% who runs it is killed
    Asker = spawn(fun() -> Run("exec sleep 600", 20000, Tell) end),
    Numbers = numbers(4),
    exit(Asker, kill),
    ok = evum_test_lib:gone(Numbers, 5000).

texts() -> receive {text, Bytes} -> <<Bytes/binary, (texts())/binary>> after 0 -> <<>> end.

gone_numbers(Text, Ms) ->
    [_, _, _, _] = Numbers = [binary_to_integer(N) || N <- string:lexemes(Text, "\n")],
    evum_test_lib:gone(Numbers, Ms).

numbers(Count) -> numbers(Count, <<>>).

numbers(Count, Text) ->
    Numbers = [binary_to_integer(N) || N <- lists:droplast(binary:split(Text, <<"\n">>, [global]))],
    case length(Numbers) of
        Count -> Numbers;
        _ -> receive {text, Bytes} -> numbers(Count, <<Text/binary, Bytes/binary>>) after 10000 -> error({only, Text}) end
    end.

a_killed_beam_leaves_no_program(_Config) ->
    {Port, Pid} = evum_test_lib:second_beam(lists:flatten(io_lib:format(
        "evm_image_tool:run(\"sh\", [\"-c\", ~p], #{time => 60000, on_text => fun(Text) -> io:put_chars(Text) end}).", [?FAMILY "exec sleep 600"]))),
    Numbers = [receive {Port, {data, {eol, Line}}} -> binary_to_integer(Line) after 20000 -> error(no_start) end || _ <- lists:seq(1, 4)],
    {0, _, _} = sh(["kill -KILL ", integer_to_list(Pid)]),
    receive {Port, {exit_status, 137}} -> ok after 20000 -> error(not_killed) end,
    ok = evum_test_lib:gone([Pid | Numbers], 5000).

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

%% --- the cache ------------------------------------------------------------------------------

%% Of three images there is room for two: the one that wasn't asked for the longest goes.
the_cache_is_bounded(Config) ->
    Dir = ?config(dir, Config),
    ok = application:set_env(evum, cache_max, 16),
    [begin
         File = filename:join(Dir, atom_to_list(Name) ++ ".img"),
         {0, _, _} = sh(["cp ", Dir, "/root.img ", File, "; dd if=/dev/urandom of=", File, " bs=1M seek=10 count=4 conv=notrunc status=none"]),
         dist(Name, [{uri, File}]),
         {ok, _} = evm:fetch(Name),
         %% as if it had been long ago
         {0, _, _} = sh(["for f in ", ?config(cache, Config), "/refs/*; do touch -d @$(($(stat -c %Y $f) - 100)) $f; done"])
     end || Name <- [one, two, three]],
    2 = length(images(Config)),
    dist(one, [{uri, filename:join(Dir, "one.img")}]),
    [false] = [P || #{dist := one, present := P} <- evm:dists()],
    dist(three, [{uri, filename:join(Dir, "three.img")}]),
    [true] = [P || #{dist := three, present := P} <- evm:dists()],
    ok = application:set_env(evum, cache_max, 1),
    dist(four, [{uri, filename:join(Dir, "root.img")}]),
    {error, {cache_full, _, _} = Reason} = evm:fetch(four),
    sentence(Reason),
    whole(Config).

gc_keeps_what_is_used(Config) ->
    Dir = ?config(dir, Config),
    dist(mine, [{uri, filename:join(Dir, "root.img")}]),
    V = vm([{dist, mine}, {mem, 64}]),
    [Image] = images(Config),
    {ok, #{removed := []}} = evm:gc(),
    dist(other, [{uri, filename:join(Dir, "root.img.gz")}]),
    {ok, #{removed := [], bytes := Bytes}} = evm:gc(),
    true = Bytes > 1000000,
    <<"base">> = out(V, "cat /etc/mark"),
    stop(V),
    {ok, #{removed := [Image], freed := Bytes, bytes := 0}} = evm:gc(),
    [] = images(Config).

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
    behave(Config, slow(Packed)),
    {ok, V} = evm:create([{dist, web}, {mem, 64}, {console, none}]),
    Stages = [S || {evum, web, {fetching, #{stage := S}}} <- evum_test_lib:flush()],
    ct:pal("~p", [Stages]),
    [download, check, unpack, store] = uniq(Stages),
    stop(V).

uniq([A, A | Rest]) -> uniq([A | Rest]);
uniq([A | Rest]) -> [A | uniq(Rest)];
uniq([]) -> [].

%% By default busybox alone, from this host's own sources; EVUM_DEBIAN=1 makes the shipped entry.
a_debian_is_made_here(Config) ->
    Dist = case os:getenv("EVUM_DEBIAN") of
        false ->
            %% what an ordinary user makes by fakechroot is packed by a tar of its own
            Include = ["busybox-static" | ["tar" || os:cmd("id -u") =/= "0\n"]],
            dist(tiny, [{build, mmdebstrap}, {variant, "extract"}, {include, Include}]),
            tiny;
        _ -> debian
    end,
    %% a way to the sources that is this host's own
    Conf = filename:join(?config(dir, Config), "apt.conf"),
    ok = file:write_file(Conf, "Acquire::http::Proxy::nowhere.invalid \"http://me:evum-secret@nowhere.invalid:1\";\n"),
    true = os:putenv("APT_CONFIG", Conf),
    {0, _, _} = sh(["apt-config dump | grep -q evum-secret"]),
    {ok, Image} = evm:fetch(Dist),
    true = os:unsetenv("APT_CONFIG"),
    {1, _, _} = sh(["grep -aq evum-secret ", Image]),
    %% once
    T0 = erlang:monotonic_time(millisecond),
    {ok, File} = evm:fetch(Dist),
    true = erlang:monotonic_time(millisecond) - T0 < 1000,
    whole(Config),
    ct:pal("~ts: ~b bytes", [File, filelib:file_size(File)]),
    Dist =:= tiny orelse begin
        V = vm([{dist, Dist}]),
        {match, _} = re:run(out(V, "apt-get --version"), "^apt 2"),
        stop(V)
    end.

run_says_what_it_waits_for(Config) ->
    File = filename:join([?config(dir, Config), "config", "evum", "evm.cfg"]),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, io_lib:format("{dist, [{mine, [{uri, ~p}, {mem, 64}]}]}.~n", ["../../root.img.gz"])),
    {0, <<"base\n">>, Err} = sh(["XDG_CONFIG_HOME=", ?config(dir, Config), "/config ", evum_test_lib:evum(), " run --dist mine -- cat /etc/mark"]),
    {match, _} = re:run(Err, "evum: mine: unpacking").
