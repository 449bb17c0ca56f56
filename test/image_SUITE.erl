% SPDX-License-Identifier: Apache-2.0
% An image of any packing is one file system, kept within bounds, and never outside its place
-module(image_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, out/2, sentence/1, sh/1, sh/2]).
-import(evum_test_image, [plain/1, content/2, sha/1, dist/2, images/1, whole/1, refused/2]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_image:init_suite(image, Config).
end_per_suite(Config) -> evum_test_image:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_image:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_image:end_case(Case, Config).

all() ->
    [
        every_way_of_packing, a_tar_keeps_owners_and_modes, a_tar_may_be_of_small_files, a_tar_s_names_stay_inside,
        a_bomb_is_bounded, what_is_no_file_system_is_told, a_local_file_is_taken_in, a_program_leaves_nothing,
        a_killed_beam_leaves_no_program, the_cache_is_bounded, gc_keeps_what_is_used, a_debian_is_made_here,
        run_says_what_it_waits_for
    ].

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
                              {cut, binary:part(plain(Config), 0, 1000000)}, {cut, binary:part(plain(Config), 0, 15 bsl 20)},
                              {cut, binary:part(content(Config, "root.tar"), 0, 512000)}]],
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

%% --- programs that make images ------------------------------------------------------------

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
    {error, {timeout, "sh"}} = Run("exec sleep 600", 3000, Tell),
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
    %% under a layer that is kept, as long as a machine runs on it
    dist(mine, [{uri, filename:join(Dir, "root.img")}]),
    W = vm([{dist, mine}, {mem, 64}, {disk, filename:join(Dir, "gc.layer")}]),
    dist(other, [{uri, filename:join(Dir, "root.img.gz")}]),
    {ok, #{removed := []}} = evm:gc(),
    stop(W),
    {ok, #{removed := [Image], freed := Bytes, bytes := 0}} = evm:gc(),
    [] = images(Config).

%% --- made here ------------------------------------------------------------------------------

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
