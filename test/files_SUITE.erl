%% SPDX-License-Identifier: Apache-2.0
%% Files and trees to and from a guest: whole or not at all, and nothing that comes from a guest is believed
-module(files_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-include_lib("kernel/include/file.hrl").

-import(evum_test_lib, [vm/0, vm/1, stop/1, held/0, until/1, sentence/1, out/2, parallel/1]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).

%% A directory of the case's own, where nothing but what the case made may be.
init_per_testcase(Case, Config) ->
    Dir = filename:join("/tmp", "ct-files-" ++ os:getpid() ++ "-" ++ atom_to_list(Case)),
    ok = file:make_dir(Dir),
    evum_test_lib:begin_case(Case, [{dir, list_to_binary(Dir)} | Config]).

end_per_testcase(Case, Config) ->
    _ = os:cmd("chmod -R u+rwx " ++ binary_to_list(dir(Config)) ++ "; rm -rf " ++ binary_to_list(dir(Config))),
    evum_test_lib:end_case(Case, Config).

dir(Config) -> proplists:get_value(dir, Config).

all() ->
    [
        bytes_of_any_size_come_and_go, a_files_mode_owner_and_time_are_kept, no_set_uid_file_comes_to_the_host,
        what_is_replaced_stays_what_it_was, mode_and_owner_can_be_given, trees_come_and_go, a_tree_is_merged,
        what_cannot_be_is_told, a_full_disk_gets_nothing, a_paused_guest_is_given_up, the_machines_end_leaves_nothing,
        a_dead_caller_leaves_nothing, files_of_proc_are_files, many_at_once, hostile_trees_touch_nothing,
        a_link_is_no_way_out, nobody_else_reads_what_is_incomplete, names_count_too, a_node_that_goes_is_told, much_is_streamed,
        options_are_checked
    ].

with(Fun) ->
    V = vm(),
    _ = Fun(V),
    %% no word of it reached this process, and no file is left half
    [] = evum_test_lib:notices(),
    <<>> = out(V, "find /tmp /root -name '.evum-*' 2>/dev/null"),
    stop(V).

path(Config, Name) -> filename:join(dir(Config), Name).

%% Names in the directory of the case.
listing(Config) ->
    {ok, Names} = file:list_dir_all(dir(Config)),
    lists:sort(Names).

info(File) ->
    {ok, Info} = file:read_link_info(File, [{time, posix}]),
    Info.

run(Command) -> os:cmd(binary_to_list(iolist_to_binary(Command))).
shell(Command) -> evum_test_lib:sh(binary_to_list(iolist_to_binary(Command))).

is_root() -> os:cmd("id -u") =:= "0\n".

%% --- files -----------------------------------------------------------------------

bytes_of_any_size_come_and_go(Config) ->
    with(fun(V) ->
        [begin
             Bytes = crypto:strong_rand_bytes(Size),
             ok = evum:put(V, Bytes, "/tmp/f"),
             {ok, Bytes} = evum:get(V, <<"/tmp/f">>),
             ok = evum:get(V, "/tmp/f", {file, path(Config, "f")}),
             {ok, Bytes} = file:read_file(path(Config, "f"))
         end || Size <- [0, 1, 511, 512, 131071, 131072, 131073, 1000000, 5000000]],
        ok = evum:put(V, ["io", <<"data">>, [$\n]], "/tmp/g"),
        <<"-rw-r--r-- 0 0 iodata">> = out(V, "stat -c '%A %u %g' /tmp/g | tr '\\n' ' '; cat /tmp/g"),
        ["f"] = listing(Config)
    end).

a_files_mode_owner_and_time_are_kept(Config) ->
    File = path(Config, "f"),
    ok = file:write_file(File, "text"),
    ok = file:write_file_info(File, #file_info{mode = 8#751, mtime = 1234567890, atime = 1234567890}, [{time, posix}]),
    #file_info{uid = Uid, gid = Gid} = info(File),
    with(fun(V) ->
        ok = evum:put(V, {file, File}, "/tmp/f"),
        Kept = iolist_to_binary(io_lib:format("751 ~b ~b 1234567890", [Uid, Gid])),
        Kept = out(V, "stat -c '%a %u %g %Y' /tmp/f"),
        <<>> = out(V, "chown 17:18 /tmp/f; chmod 640 /tmp/f; touch -d @1000000000 /tmp/f"),
        Back = path(Config, "back"),
        ok = evum:get(V, "/tmp/f", {file, Back}),
        #file_info{mode = Mode, mtime = 1000000000, uid = NewUid, gid = NewGid} = info(Back),
        8#640 = Mode band 8#7777,
        {NewUid, NewGid} = case is_root() of true -> {17, 18}; false -> {Uid, Gid} end,
        %% by way of a link, the file
        ok = file:make_symlink(File, path(Config, "link")),
        ok = evum:put(V, {file, path(Config, "link")}, "/tmp/l"),
        <<"regular file">> = out(V, "stat -c %F /tmp/l; ln -s l /tmp/m"),
        {ok, <<"text">>} = evum:get(V, "/tmp/m")
    end).

no_set_uid_file_comes_to_the_host(Config) ->
    with(fun(V) ->
        <<>> = out(V, "mkdir -p /tmp/d/s; cp /bin/busybox /tmp/d/f; chmod 6755 /tmp/d/f; chmod 3777 /tmp/d/s"),
        ok = evum:get(V, "/tmp/d/f", {file, path(Config, "f")}),
        ok = evum:get(V, "/tmp/d", {file, path(Config, "d")}),
        [8#755 = (info(path(Config, F)))#file_info.mode band 8#7777 || F <- ["f", "d/f"]],
        8#777 = (info(path(Config, "d/s")))#file_info.mode band 8#7777,
        %% the other way it is the host's own wish
        ok = evum:put(V, "x", "/tmp/x", [{mode, 8#4755}]),
        <<"4755">> = out(V, "stat -c %a /tmp/x")
    end).

what_is_replaced_stays_what_it_was(_) ->
    with(fun(V) ->
        <<>> = out(V, "echo old > /tmp/f; chmod 710 /tmp/f; chown 5:6 /tmp/f; chmod 710 /tmp/f; mkdir /tmp/d; ln -s ../f /tmp/d/l"),
        ok = evum:put(V, "new", "/tmp/d/l"),
        <<"710 5 6 new ../f">> = out(V, "stat -c '%a %u %g' /tmp/f | tr '\\n' ' '; cat /tmp/f; echo -n ' '; readlink /tmp/d/l"),
        %% who reads the old one has it whole
        {ok, P} = evum:spawn(V, "exec 3< /tmp/f; echo open; read x; cat <&3"),
        evum_test_lib:expect(P, {stdout, <<"open\n">>}),
        ok = evum:put(V, "newer", "/tmp/f"),
        ok = evum:write(P, "\n"),
        evum_test_lib:expect(P, {stdout, <<"new">>}),
        evum_test_lib:expect(P, {exit, 0})
    end).

mode_and_owner_can_be_given(Config) ->
    ok = file:write_file(path(Config, "f"), "x"),
    with(fun(V) ->
        ok = evum:put(V, {file, path(Config, "f")}, "/tmp/f", #{mode => 8#600, owner => {7, 8}}),
        <<"600 7 8">> = out(V, "stat -c '%a %u %g' /tmp/f"),
        ok = evum:put(V, "x", "/tmp/g", [{owner, "nobody"}]),
        <<"nobody">> = out(V, "stat -c %U /tmp/g"),
        {error, Reason} = evum:put(V, "x", "/tmp/h", [{owner, "nosuch"}]),
        sentence(Reason),
        <<>> = out(V, "ls /tmp/h 2>/dev/null; true")
    end).

%% --- trees -----------------------------------------------------------------------

odd_names() ->
    [<<"a b">>, <<"-n">>, <<"new\nline">>, <<"'\"$x;*">>, <<"ä€"/utf8>>, <<255, 254, 1>>, binary:copy(<<"n">>, 255), <<"...">>, <<".evum-mine">>].

make_tree(Dir) ->
    ok = file:make_dir(Dir),
    [ok = file:write_file(<<Dir/binary, $/, Name/binary>>, Name) || Name <- odd_names()],
    ok = file:make_dir(<<Dir/binary, "/empty">>),
    ok = filelib:ensure_dir(<<Dir/binary, "/deep/er/and/deeper/x">>),
    ok = file:write_file(<<Dir/binary, "/deep/er/and/deeper/big">>, crypto:strong_rand_bytes(300000)),
    ok = file:make_symlink("deep/er", <<Dir/binary, "/link">>),
    ok = file:make_symlink("/no/such/thing", <<Dir/binary, "/dangling">>),
    ok = file:change_mode(<<Dir/binary, "/deep/er">>, 8#500),
    ok = file:change_mode(<<Dir/binary, "/empty">>, 8#711).

same(A, B) ->
    {0, <<>>, <<>>} = shell(["diff -r --no-dereference '", A, "' '", B, "'"]),
    Show = fun(Dir) -> os:cmd("cd '" ++ binary_to_list(Dir) ++ "' && find . -printf '%P %y %m %l %T@\\n' | sort") end,
    Same = string:replace(Show(A), ".0000000000", "", all),
    Same = string:replace(Show(B), ".0000000000", "", all),
    ok.

trees_come_and_go(Config) ->
    Tree = path(Config, "tree"),
    make_tree(Tree),
    %% whole seconds are what goes over
    os:cmd("find " ++ binary_to_list(Tree) ++ " -depth -exec touch -h -d @1500000000 {} +"),
    with(fun(V) ->
        ok = evum:put(V, {file, Tree}, "/tmp/tree"),
        <<"500">> = out(V, "stat -c %a /tmp/tree/deep/er"),
        ok = evum:get(V, "/tmp/tree", {file, path(Config, "back")}),
        %% a link's own time isn't kept
        os:cmd("find " ++ binary_to_list(path(Config, "back")) ++ " -type l -exec touch -h -d @1500000000 {} +"),
        same(Tree, path(Config, "back")),
        ok = evum:put(V, {file, path(Config, "back/empty")}, "/tmp/e"),
        <<>> = out(V, "ls -A /tmp/e; rm -r /tmp/tree")
    end).

a_tree_is_merged(Config) ->
    Tree = path(Config, "tree"),
    make_tree(Tree),
    with(fun(V) ->
        <<>> = out(V, "mkdir -p /tmp/tree/deep; echo mine > /tmp/tree/mine; echo old > /tmp/tree/deep/mine; echo old > '/tmp/tree/a b'"),
        ok = evum:put(V, {file, Tree}, "/tmp/tree"),
        <<"mine\nold\na b">> = out(V, "cat /tmp/tree/mine /tmp/tree/deep/mine '/tmp/tree/a b'"),
        %% what is another kind of thing there isn't replaced
        <<>> = out(V, "rm -r /tmp/tree/empty; echo file > /tmp/tree/empty"),
        {error, {enotdir, <<"/tmp/tree/empty">>} = Reason} = evum:put(V, {file, Tree}, "/tmp/tree"),
        sentence(Reason),
        <<"file">> = out(V, "cat /tmp/tree/empty; rm -r /tmp/tree")
    end).

%% --- what goes wrong -------------------------------------------------------------

what_cannot_be_is_told(Config) ->
    Dir = path(Config, "dir"),
    ok = file:make_dir(Dir),
    ok = file:write_file(path(Config, "f"), "f"),
    "" = run(["mkfifo ", path(Config, "fifo"), " ", path(Config, "dir/fifo")]),
    Missing = path(Config, "missing"),
    Empty = path(Config, "empty"),
    ok = file:make_dir(Empty),
    Fifo = path(Config, "fifo"),
    Inner = path(Config, "dir/fifo"),
    with(fun(V) ->
        <<>> = out(V, "mkdir -p /tmp/d/e; mkfifo /tmp/d/e/fifo; echo x > /tmp/f"),
        Told = [
            {enoent, evum:get(V, "/tmp/nosuch")},
            {enoent, evum:get(V, "/nosuch/f", {file, Missing})},
            {enotdir, evum:get(V, "/tmp/f/g")},
            {eisdir, evum:get(V, "/tmp/d")},
            {eopnotsupp, evum:get(V, "/dev/null")},
            {{eopnotsupp, <<"/tmp/d/e/fifo">>}, evum:get(V, "/tmp/d", {file, Missing})},
            {{too_long, 1}, evum:get(V, "/tmp/f", [{max_size, 1}])},
            {{too_long, 1}, evum:get(V, "/tmp/f", {file, Missing}, [{max_size, 1}])},
            {{local, eexist, Dir}, evum:get(V, "/bin", {file, Dir})},
            {{local, eopnotsupp, Fifo}, evum:get(V, "/etc/passwd", {file, Fifo})},
            {{local, eexist, path(Config, "f")}, evum:get(V, "/bin", {file, path(Config, "f")})},
            {{local, eisdir, Dir}, evum:get(V, "/tmp/f", {file, Dir})},
            {{local, enoent, Missing}, evum:get(V, "/tmp/f", {file, filename:join(Missing, "f")})},
            {enoent, evum:put(V, "x", "/nosuch/f")},
            {eisdir, evum:put(V, "x", "/tmp/d")},
            {enotdir, evum:put(V, {file, Empty}, "/tmp/f")},
            {{local, enoent, Missing}, evum:put(V, {file, Missing}, "/tmp/g")},
            {{local, eopnotsupp, Fifo}, evum:put(V, {file, Fifo}, "/tmp/g")},
            {{local, eopnotsupp, Inner}, evum:put(V, {file, Dir}, "/tmp/g")},
            {noproc, evum:put(nosuch, "x", "/tmp/g")},
            {noproc, evum:get(nosuch, "/tmp/g")}
        ],
        [begin {N, {error, Reason}} = {N, Was}, sentence(Reason) end
            || {N, {Reason, Was}} <- lists:zip(lists:seq(1, length(Told)), Told)],
        <<"d\nf">> = out(V, "ls -A /tmp"),
        ["dir", "empty", "f", "fifo"] = listing(Config)
    end).

a_full_disk_gets_nothing(Config) ->
    Tree = path(Config, "tree"),
    ok = file:make_dir(Tree),
    [ok = file:write_file(filename:join(Tree, integer_to_list(N)), binary:copy(<<"x">>, 300000)) || N <- lists:seq(1, 9)],
    with(fun(V) ->
        <<>> = out(V, "mkdir /tmp/small; mount -t tmpfs -o size=1m none /tmp/small; echo old > /tmp/small/f"),
        {error, enospc} = evum:put(V, binary:copy(<<"x">>, 2000000), "/tmp/small/f"),
        {error, {enospc, In}} = evum:put(V, {file, Tree}, "/tmp/small/tree"),
        <<"/tmp/small/tree", _/binary>> = In,
        <<"f\nold">> = out(V, "ls -A /tmp/small; cat /tmp/small/f"),
        ok = evum:put(V, "fits", "/tmp/small/f"),
        <<>> = out(V, "umount /tmp/small")
    end).

a_paused_guest_is_given_up(Config) ->
    with(fun(V) ->
        <<>> = out(V, "head -c 3000000 /dev/zero > /tmp/f"),
        ok = evum:pause(V),
        %% not even started
        {error, {timeout, get, 0} = Paused} = evum:get(V, "/tmp/f", {file, path(Config, "f")}, [{timeout, 300}]),
        sentence(Paused),
        ok = evum:resume(V),
        %% half way
        File = path(Config, "huge"),
        "" = run(["truncate -s 2G ", File]),
        Parent = self(),
        _ = spawn_link(fun() -> Parent ! {result, evum:put(V, {file, File}, "/tmp/huge", [{timeout, 300}])} end),
        until(fun() -> out(V, "ls -A /tmp | grep -c '^.evum-' || true") =:= <<"1">> end),
        ok = evum:pause(V),
        {timeout, put, N} = receive {result, {error, Reason}} -> sentence(Reason), Reason end,
        true = is_integer(N) andalso N > 0,
        ok = evum:resume(V),
        until(fun() -> out(V, "ls -A /tmp") =:= <<"f">> end),
        ["huge"] = listing(Config)
    end).

the_machines_end_leaves_nothing(Config) ->
    V = vm(),
    <<>> = out(V, "truncate -s 4G /tmp/huge"),
    Parent = self(),
    _ = spawn_link(fun() -> Parent ! {result, evum:get(V, "/tmp/huge", {file, path(Config, "huge")})} end),
    until(fun() -> listing(Config) =/= [] end),
    ok = evum:crash(V),
    receive {result, Result} -> {error, {vm_down, crashed}} = Result end,
    [] = listing(Config).

a_dead_caller_leaves_nothing(Config) ->
    with(fun(V) ->
        <<>> = out(V, "truncate -s 4G /tmp/huge"),
        File = path(Config, "huge"),
        "" = run(["truncate -s 4G ", File]),
        Get = spawn(fun() -> evum:get(V, "/tmp/huge", {file, path(Config, "got")}) end),
        until(fun() -> length(listing(Config)) =:= 2 end),
        exit(Get, kill),
        until(fun() -> ["huge"] =:= listing(Config) end),
        Put = spawn(fun() -> evum:put(V, {file, File}, "/tmp/put") end),
        until(fun() -> out(V, "ls -A /tmp | grep -c '^.evum-' || true") =:= <<"1">> end),
        exit(Put, kill),
        until(fun() -> out(V, "ls -A /tmp") =:= <<"huge">> end),
        until(fun() -> 0 =:= maps:get(programs, evum:info(V)) end)
    end).

files_of_proc_are_files(Config) ->
    with(fun(V) ->
        {ok, <<"Linux version 6", _/binary>>} = evum:get(V, "/proc/version"),
        ok = evum:get(V, "/proc/meminfo", {file, path(Config, "meminfo")}),
        {ok, <<"MemTotal:", _/binary>>} = file:read_file(path(Config, "meminfo")),
        ok = evum:get(V, "/proc/sys/kernel/random", {file, path(Config, "random")}),
        {ok, _} = file:read_file(path(Config, "random/uuid")),
        {error, Reason} = evum:put(V, "x", "/proc/version"),
        sentence(Reason)
    end).

many_at_once(_) ->
    with(fun(V) ->
        Bytes = [crypto:strong_rand_bytes(N * 7919) || N <- lists:seq(1, 30)],
        Path = fun(N) -> "/tmp/" ++ integer_to_list(N) end,
        Numbered = lists:zip(lists:seq(1, 30), Bytes),
        [ok] = lists:usort(parallel([fun() -> evum:put(V, B, Path(N)) end || {N, B} <- Numbered])),
        Got = parallel([fun() -> evum:get(V, Path(N)) end || N <- lists:seq(1, 30)]),
        true = Got =:= [{ok, B} || B <- Bytes]
    end).

%% --- a guest that means harm -----------------------------------------------------

attributes() -> #{mode => 8#7777, uid => 0, gid => 0, mtime => 1 bsl 62}.

%% What a stream makes of a directory: it is read in full.
take(Stream, Destination) ->
    case evum_stream:decode(iolist_to_binary(Stream), evum_stream:new()) of
        {ok, Events, Decoder} ->
            Tree = lists:foldl(fun evum_tree:write/2, evum_tree:new(Destination), Events),
            case evum_stream:is_complete(Decoder) of
                true -> evum_tree:commit(Tree);
                false -> evum_tree:abort(Tree), incomplete
            end;
        {error, _} = Error -> Error
    end.

dir(Name, Inside) -> [evum_stream:directory(Name, attributes()), Inside, evum_stream:directory_end()].
file(Name, Bytes) -> [evum_stream:file(Name, attributes()), evum_stream:piece(Bytes), evum_stream:file_end(erlang:crc32(Bytes))].
link(Name, Target) -> evum_stream:link(Name, attributes(), Target).

hostile_trees_touch_nothing(Config) ->
    Victim = path(Config, "victim"),
    ok = file:make_dir(Victim),
    ok = file:write_file(filename:join(Victim, "f"), "mine"),
    To = path(Config, "to"),
    End = evum_stream:stream_end(),
    Bad = [
        {eproto, dir(<<"top">>, [])},
        {eproto, link(<<>>, Victim)},
        {eproto, dir(<<>>, file(<<"..">>, <<"x">>))},
        {eproto, dir(<<>>, file(<<"../victim/f">>, <<"x">>))},
        {eproto, dir(<<>>, file(<<"a/b">>, <<"x">>))},
        {eproto, dir(<<>>, file(<<".">>, <<"x">>))},
        {eproto, dir(<<>>, file(<<>>, <<"x">>))},
        {eproto, dir(<<>>, file(<<"a", 0>>, <<"x">>))},
        {eproto, dir(<<>>, link(<<"a">>, <<>>))},
        {eproto, dir(<<>>, link(<<"a">>, <<"b", 0>>))},
        {eproto, [file(<<>>, <<"x">>), End, "more"]},
        {eproto, [file(<<>>, <<"x">>), file(<<>>, <<"y">>)]},
        {eproto, [evum_stream:file(<<>>, attributes()), <<131073:32/little>>]},
        {eproto, "x"},
        {eloop, lists:duplicate(129, evum_stream:directory(<<>>, attributes())) -- [] },
        {ebadmsg, [evum_stream:file(<<>>, attributes()), evum_stream:piece(<<"x">>), evum_stream:file_end(0)]}
    ],
    _ = [{N, {error, Reason}} = {N, take([Stream, End], To)}
        || {N, {Reason, Stream}} <- lists:zip(lists:seq(1, length(Bad)), Bad), Reason =/= eloop],
    {error, eloop} = take([evum_stream:directory(<<>>, attributes()), [evum_stream:directory(<<"d">>, attributes()) || _ <- lists:seq(1, 128)]], To),
    %% what is well formed, and a trap: the second of two names is refused
    Traps = [
        [link(<<"a">>, Victim), dir(<<"a">>, file(<<"f">>, <<"x">>))],
        [link(<<"a">>, filename:join(Victim, "f")), file(<<"a">>, <<"x">>)],
        [file(<<"a">>, <<"x">>), dir(<<"a">>, [])],
        [dir(<<"a">>, []), link(<<"a">>, Victim)]
    ],
    [eexist = try take([dir(<<>>, Trap), End], To) catch throw:{local, Posix, _} -> Posix end || Trap <- Traps],
    incomplete = take(evum_stream:directory(<<>>, attributes()), To),
    ["victim"] = listing(Config),
    {ok, <<"mine">>} = file:read_file(filename:join(Victim, "f")),
    %% a good one, with permissions that nobody could remove it by
    ok = take([dir(<<>>, [dir(<<"a">>, file(<<"f">>, <<"x">>)), link(<<"l">>, Victim)]), End], To),
    8#777 = (info(filename:join(To, "a/f")))#file_info.mode band 8#7777,
    Locked = evum_stream:directory(<<"a">>, (attributes())#{mode => 0}),
    {error, ebadmsg} = refused([evum_stream:directory(<<>>, attributes()), Locked, file(<<"f">>, <<"x">>), evum_stream:directory_end()],
                               path(Config, "no")),
    ["to", "victim"] = listing(Config).

%% A stream that turns bad after what was good was written.
refused(Good, Destination) ->
    {ok, Events, Decoder} = evum_stream:decode(iolist_to_binary(Good), evum_stream:new()),
    Tree = lists:foldl(fun evum_tree:write/2, evum_tree:new(Destination), Events),
    Bad = iolist_to_binary([evum_stream:file(<<"z">>, attributes()), evum_stream:file_end(1)]),
    Result = evum_stream:decode(Bad, Decoder),
    ok = evum_tree:abort(Tree),
    Result.

a_link_is_no_way_out(Config) ->
    File = path(Config, "mine"),
    ok = file:write_file(File, "mine"),
    Dir = path(Config, "dir"),
    ok = file:make_dir(Dir),
    ok = file:make_symlink(File, path(Config, "l")),
    ok = file:make_symlink(Dir, path(Config, "ld")),
    with(fun(V) ->
        <<>> = out(V, "echo new > /tmp/f"),
        %% the link is replaced, not what it leads to
        ok = evum:get(V, "/tmp/f", {file, path(Config, "l")}),
        {ok, <<"mine">>} = file:read_file(File),
        {ok, <<"new\n">>} = file:read_file(path(Config, "l")),
        {error, {local, eexist, _}} = evum:get(V, "/etc", {file, path(Config, "ld")}),
        {ok, []} = file:list_dir(Dir)
    end).

%% Whatever the umask was, and however soon somebody looks.
nobody_else_reads_what_is_incomplete(Config) ->
    [begin
         Tree = evum_tree:write({Type, <<>>, attributes()}, evum_tree:new(path(Config, "to"))),
         [Name] = listing(Config),
         #file_info{type = directory, mode = Mode} = info(path(Config, Name)),
         8#700 = Mode band 8#7777,
         ok = evum_tree:abort(Tree),
         [] = listing(Config)
     end || Type <- [file, directory]].

%% Or a guest could use up a disk's inodes.
names_count_too(Config) ->
    with(fun(V) ->
        <<>> = out(V, "mkdir -p /tmp/d/d; cd /tmp/d; touch $(seq 98); ln -s 12345678 l"),
        To = path(Config, "d"),
        {error, {too_long, 51207}} = evum:get(V, "/tmp/d", {file, To}, [{max_size, 51207}]),
        [] = listing(Config),
        ok = evum:get(V, "/tmp/d", {file, To}, [{max_size, 51208}])
    end).

%% The node that a machine is on goes, and can't say so.
a_node_that_goes_is_told(Config) ->
    {ok, Peer, Node} = evum_test_lib:peer(),
    {ok, _} = erpc:call(Node, application, ensure_all_started, [evum]),
    {ok, V} = erpc:call(Node, evm, create, [[{owner, none}]]),
    <<>> = out(V, "truncate -s 4G /tmp/huge"),
    Parent = self(),
    _ = spawn_link(fun() -> Parent ! {result, evum:get(V, "/tmp/huge", {file, path(Config, "huge")})} end),
    until(fun() -> listing(Config) =/= [] end),
    ok = peer:stop(Peer),
    receive {result, Result} -> {error, noconnection} = Result after 10000 -> error(not_told) end,
    [] = listing(Config),
    {error, noconnection} = evum:put(V, "x", "/tmp/f"),
    ok = net_kernel:stop().

%% --- much ------------------------------------------------------------------------

much_is_streamed(Config) ->
    File = path(Config, "much"),
    Piece = crypto:strong_rand_bytes(1048576),
    {ok, Fd} = file:open(File, [write, raw]),
    [ok = file:write(Fd, Piece) || _ <- lists:seq(1, 64)],
    ok = file:close(Fd),
    V = vm([{mem, 256}]),
    Before = held(),
    Watch = watch_memory(),
    ok = evum:put(V, {file, File}, "/tmp/much"),
    ok = evum:get(V, "/tmp/much", {file, path(Config, "back")}),
    Most = most_memory(Watch),
    {true, _} = {Most - Before < 24000000, Most - Before},
    {0, _, _} = shell(["cmp ", File, " ", path(Config, "back")]),
    stop(V).

watch_memory() ->
    spawn_link(fun() -> watch_memory(0) end).

watch_memory(Most) ->
    receive {tell, Who} -> Who ! {most, Most}
    after 20 -> watch_memory(max(Most, held()))
    end.

most_memory(Watch) ->
    Watch ! {tell, self()},
    receive {most, Most} -> Most end.

options_are_checked(Config) ->
    with(fun(V) ->
        Told = [{K, Was} || {K, {error, {bad_option, K2}}} = {_, Was} <- [
            {source, evum:put(V, foo, "/tmp/f")}, {source, evum:put(V, [256], "/tmp/f")}, {source, evum:put(V, {file, ""}, "/tmp/f")},
            {source, evum:put(V, {file, foo}, "/tmp/f")}, {path, evum:put(V, "x", "")}, {path, evum:put(V, "x", "a\0b")},
            {path, evum:put(V, "x", foo)}, {path, evum:get(V, "")}, {path, evum:get(V, foo, {file, "x"})},
            {file, evum:get(V, "/tmp/f", {file, ""})}, {file, evum:get(V, "/tmp/f", {file, <<"a", 0>>})}, {file, evum:get(V, "/tmp/f", foo, [])},
            {mode, evum:put(V, "x", "/tmp/f", [{mode, -1}])}, {owner, evum:put(V, "x", "/tmp/f", [{owner, {a, b}}])},
            {timeout, evum:put(V, "x", "/tmp/f", [{timeout, 0}])}, {colour, evum:put(V, "x", "/tmp/f", [{colour, red}])},
            {max_size, evum:get(V, "/tmp/f", [{max_size, 0}])}, {mode, evum:get(V, "/tmp/f", [{mode, 8#644}])},
            {timeout, evum:get(V, "/tmp/f", {file, path(Config, "f")}, [{timeout, -1}])}
        ], K2 =:= K],
        19 = length(Told),
        [sentence({bad_option, K}) || {K, _} <- Told],
        [] = listing(Config)
    end).
