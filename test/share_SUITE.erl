%% SPDX-License-Identifier: Apache-2.0
%% A directory of the host's is a machine's too; nothing else of the host is
-module(share_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, out/2, sentence/1]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).

%% Three directories beside each other, below one that anybody may enter: what is given
%% to be written, to be read, and not at all.
init_per_testcase(Case, Config) ->
    Top = "/tmp/ct-share-" ++ os:getpid(),
    _ = file:del_dir_r(Top),
    Dirs = [filename:join(Top, Name) || Name <- ["rw", "ro", "secret"]],
    [ok = filelib:ensure_dir(filename:join(Dir, "x")) || Dir <- Dirs],
    [ok = file:change_mode(Dir, 8#777) || Dir <- Dirs],
    [ok = file:write_file(filename:join(Dir, "file"), filename:basename(Dir)) || Dir <- Dirs],
    evum_test_lib:begin_case(Case, [{top, Top} | Config]).

end_per_testcase(Case, Config) ->
    Result = evum_test_lib:end_case(Case, Config),
    ok = file:del_dir_r(?config(top, Config)),
    Result.

all() ->
    [
        both_sides_see_the_same_files, what_is_read_only_stays_as_it_is, no_way_leads_out,
        a_race_of_links_leads_nowhere, only_files_and_directories_are_made, it_is_there_after_a_reboot,
        the_hosts_root_may_have_shares_too, bad_shares_are_told
    ].

path(Config, Name) -> filename:join(?config(top, Config), Name).

shared(Config) -> vm([{share, [{path(Config, "rw"), "/mnt/in it", rw}, {path(Config, "ro"), "/data", ro}]}]).

%% What a command answers, whatever its status.
try_out(Vm, Command) ->
    {ok, #{stdout := Out}} = evum:exec(Vm, Command),
    Out.

both_sides_see_the_same_files(Config) ->
    V = shared(Config),
    [<<"rw">>, <<"ro">>] = [out(V, C) || C <- ["cat '/mnt/in it/file'", "cat /data/file"]],
    _ = out(V, "cd '/mnt/in it'; mkdir d; echo new > d/f; mv d/f d/g; cp file copy; rm file; echo more >> copy"),
    {ok, <<"new\n">>} = file:read_file(path(Config, "rw/d/g")),
    {ok, <<"rwmore\n">>} = file:read_file(path(Config, "rw/copy")),
    {error, enoent} = file:read_file(path(Config, "rw/file")),
    ok = file:write_file(path(Config, "rw/d/g"), "the host's"),
    <<"the host's">> = out(V, "cat '/mnt/in it/d/g'"),
    [#{}, #{}] = [#{} || {_, _, _} <- maps:get(shares, evum:info(V))],
    stop(V).

what_is_read_only_stays_as_it_is(Config) ->
    V = shared(Config),
    _ = try_out(V, "cd /data; echo x > file; echo x > new; mkdir d; rm file; mv file f; ln file l; truncate -s 0 file;"
                   "mount -o remount,rw /data; echo x > file; echo x > new; rm file;"
                   "mkdir /m; mount -t hostfs none /m -o /share1; cd /m; echo x > file; echo x > new; rm file; ln file l;"
                   "cd /; umount /m; mount -t hostfs none /m -o /share0/../share1; echo x > /m/file; rm /m/file;"
                   "umount /m; mount -t hostfs none /m -o /; echo x > /m/share1/file; mv /m/share1/file /m/share0/moved;"
                   "ln /m/share1/file /m/share0/linked"),
    {ok, ["file"]} = file:list_dir(path(Config, "ro")),
    {ok, <<"ro">>} = file:read_file(path(Config, "ro/file")),
    {ok, ["file"]} = file:list_dir(path(Config, "rw")),
    stop(V).

%% hostfs confines nothing: the jail does.
no_way_leads_out(Config) ->
    Secret = path(Config, "secret/file"),
    Rw = path(Config, "rw"),
    [ok = file:make_symlink(To, filename:join(Rw, Name)) || {To, Name} <-
        [{"../secret/file", "up"}, {"../secret", "updir"}, {Secret, "absolute"}, {"/etc", "etc"}, {"/proc/1/root", "proc"}, {"/", "slash"}]],
    V = shared(Config),
    Host = string:trim(os:cmd("hostname; md5sum < /etc/passwd")),
    <<>> = try_out(V, "cd '/mnt/in it'; cat ../secret/file up updir/file absolute ../../secret/file 2>/dev/null;"
                      "mkdir /m; for o in /share0/up /share0/updir /share0/absolute /share0/../../secret /share0/.. .. ../.. /tmp "
                      ++ filename:dirname(Secret) ++ " " ++ ?config(top, Config) ++ " /proc/1/root /share0/proc /share0/slash /share0/etc; do"
                      "  mount -t hostfs none /m -o $o 2>/dev/null || continue;"
                      "  cat /m/file /m/secret/file /m/.." ++ Secret ++ " /m" ++ Secret ++ " /m/shadow /m/hostname 2>/dev/null | grep -v '^rw$';"
                      "  umount /m; done; true"),
    %% the whole of what there is: the machine's own files, and what it was given
    Names = string:lexemes(binary_to_list(out(V, "mount -t hostfs none /m -o /; ls /m/share0/.. 2>/dev/null; ls -d /m/*/ /m/disk* /m/etc /m/tmp 2>/dev/null; true")), "\n"),
    [] = Names -- ["/m/dev/", "/m/lib/", "/m/lib64/", "/m/modules/", "/m/run/", "/m/share0/", "/m/share1/"],
    nomatch = string:find(try_out(V, "cat /m/share0/etc/hostname /m/share0/etc/passwd 2>/dev/null | head -c 1000; true"), Host),
    stop(V).

%% The host swaps a directory and a link that leads out while the guest reads below it.
a_race_of_links_leads_nowhere(Config) ->
    Rw = path(Config, "rw"),
    [Dir, Link, Place] = [filename:join(Rw, N) || N <- ["dir", "link", "place"]],
    ok = file:make_dir(Dir),
    ok = file:write_file(filename:join(Dir, "file"), "given"),
    ok = file:make_symlink(path(Config, "secret"), Link),
    V = shared(Config),
    {Swapper, Monitor} = spawn_monitor(fun() -> swap(Dir, Link, Place) end),
    Seen = try_out(V, "mkdir /m; mount -t hostfs none /m -o /share0; i=0; while [ $i -lt 300 ]; do cat '/mnt/in it/place/file' /m/place/file 2>/dev/null; echo; i=$((i+1)); done"),
    exit(Swapper, kill),
    killed = evum_test_lib:monitored(Monitor, Swapper),
    true = lists:usort(binary:split(Seen, [<<"\n">>, <<"given">>], [global])) =:= [<<>>],
    {match, _} = re:run(Seen, "given"),
    stop(V).

swap(Dir, Link, Place) ->
    [begin ok = file:rename(From, Place), erlang:yield(), ok = file:rename(Place, From) end || From <- [Dir, Link]],
    swap(Dir, Link, Place).

only_files_and_directories_are_made(Config) ->
    V = shared(Config),
    _ = try_out(V, "cd '/mnt/in it'; ln -s /etc/passwd link; ln -s ../secret up; mknod null c 1 3; mknod disk b 8 0; mkfifo fifo;"
                   "cd '/mnt/in it'; cp /bin/busybox prog; chmod 4755 prog; chown 0 prog; chmod 777 file; touch -d 2001-01-01 file;"
                   "cp -p /bin/busybox prog2; ln file hard"),
    Rw = path(Config, "rw"),
    {ok, Names} = file:list_dir(Rw),
    [] = Names -- ["file", "prog", "prog2", "hard"],
    {0, Modes, _} = evum_test_lib:sh("find " ++ Rw ++ " -perm /6000 -o -type l -o -type p -o -type s -o -type b -o -type c"),
    <<>> = Modes,
    %% what it makes isn't root's
    case os:cmd("id -u") of
        "0\n" -> {0, <<"65534\n">>, _} = evum_test_lib:sh("stat -c %u " ++ filename:join(Rw, "prog"));
        _ -> ok
    end,
    stop(V).

it_is_there_after_a_reboot(Config) ->
    V = shared(Config),
    _ = out(V, "echo kept > '/mnt/in it/kept'"),
    ok = evum:reboot(V),
    <<"kept">> = out(V, "cat '/mnt/in it/kept'; cat /data/file >/dev/null"),
    ok = evum:crash(V),
    {ok, <<"kept\n">>} = file:read_file(path(Config, "rw/kept")).

the_hosts_root_may_have_shares_too(Config) ->
    {ok, V} = evum:start([{share, [{path(Config, "rw"), "/srv/work", rw}]}]),
    <<"rw">> = out(V, "cat /srv/work/file; echo y > /srv/work/y; cat " ++ path(Config, "secret/file") ++ " 2>/dev/null; true"),
    {ok, <<"y\n">>} = file:read_file(path(Config, "rw/y")),
    ok = evum:stop(V).

bad_shares_are_told(Config) ->
    Rw = path(Config, "rw"),
    Bad = [
        {Rw, "/x", rw}, [{Rw, "x", rw}], [{Rw, "/x/../y", ro}], [{Rw, "/", ro}], [{Rw, "/x", wr}], [{Rw, "/x"}], [{"", "/x", ro}],
        [{Rw, "/a\"b", ro}], [{Rw, "/a\nb", ro}], [{Rw, "/" ++ lists:duplicate(255, $a), ro}], lists:duplicate(9, {Rw, "/x", ro}), rw
    ],
    [{error, {bad_option, share}} = {error, {bad_option, share}} = evm:create([{share, B}]) || B <- Bad],
    _ = sentence({bad_option, share}),
    Refused = [
        {[{path(Config, "nosuch"), "/x", ro}], {bad_share, path(Config, "nosuch"), enoent}},
        {[{path(Config, "rw/file"), "/x", ro}], {bad_share, path(Config, "rw/file"), enotdir}},
        {[{Rw, "/x", ro}, {Rw, "//x/.", rw}], {mounted_twice, <<"/x">>}}
    ],
    [begin {error, Reason} = evm:create([{share, S}]), _ = sentence(Reason) end || {S, Reason} <- Refused],
    %% what the host keeps for itself, also behind a link
    ok = file:make_symlink("/proc", path(Config, "rw/hidden")),
    [begin {error, {no_share, _} = Reason} = evm:create([{share, [{Dir, "/x", ro}]}]), _ = sentence(Reason) end
     || Dir <- ["/proc", "/", "/sys/kernel", "/dev", "/run", path(Config, "rw/hidden")]],
    %% what the machine's user may not write
    case os:cmd("id -u") of
        "0\n" ->
            ok = file:change_mode(Rw, 8#755),
            {error, Reason} = evm:create([{share, [{Rw, "/x", rw}]}]),
            {match, _} = re:run(sentence(Reason), "65534.*may not write");
        _ -> ok
    end.
