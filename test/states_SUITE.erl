%% SPDX-License-Identifier: Apache-2.0
%% What a machine has written is kept as a state, forked, compared and taken back
-module(states_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [expect/2, out/2, sentence/1, sh/1, sh/2, vm/1]).

-define(ENVIRONMENT, [dist, states_dir, disk_dir]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    {0, Out, _} = sh([filename:join(evum_test_lib:tree(), "test/images.sh"), " busybox"], 600000),
    evum_test_lib:init_suite([{image, string:trim(binary_to_list(Out))} | Config]).

end_per_suite(Config) -> evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) ->
    Dir = filename:join("/tmp", "ct-states-" ++ os:getpid()),
    ok = file:make_dir(Dir),
    ok = file:change_mode(Dir, 8#755),
    _ = [application:set_env(evum, Key, Value) || {Key, Value} <- environment(?config(image, Config), Dir)],
    evum_test_lib:begin_case(Case, [{dir, Dir} | Config]).

environment(Image, Dir) ->
    [{dist, [{box, [{file, Image}, {mem, 48}]}]}, {states_dir, Dir ++ "/states"}, {disk_dir, Dir ++ "/disks"}].

%% No layer, no half state.
end_per_testcase(Case, Config) ->
    Dir = ?config(dir, Config),
    Result = evum_test_lib:end_case(Case, Config),
    Left = filelib:wildcard(Dir ++ "/disks/*") ++ filelib:wildcard(Dir ++ "/states/.{new,old}-*"),
    _ = sh(["umount ", Dir, "/states 2>/dev/null; rm -rf ", Dir]),
    _ = [application:unset_env(evum, Key) || Key <- ?ENVIRONMENT],
    case Result of
        ok when Left =/= [] -> {fail, {left_behind, Left}};
        _ -> Result
    end.

all() ->
    [
        forks_of_a_commit_see_their_own_changes_only, a_machine_goes_on_while_it_is_committed, revert_brings_the_old_state,
        what_was_changed_is_told, a_tree_is_removed_from_its_leaves, fourteen_states_lie_over_each_other, an_export_needs_nothing_else,
        what_was_damaged_is_named_and_not_booted, names_are_checked, what_has_no_layer_is_told, a_full_disk_leaves_nothing,
        who_commits_may_die, a_killed_beam_leaves_a_whole_state_or_none
    ].

%% What the image's own init does at a stop takes seconds, and nothing here is about that.
cut(Vm) -> ok = evum:crash(Vm).

box() -> vm([{dist, box}, {console, none}]).

names() -> [Name || #{name := Name} <- evm:states()].

%% --- committing --------------------------------------------------------------------

forks_of_a_commit_see_their_own_changes_only(_) ->
    Vm = box(),
    <<>> = out(Vm, "echo committed >/etc/one"),
    ok = evm:commit(Vm, base1),
    <<>> = out(Vm, "echo later >/etc/one"),
    {ok, [A, B]} = evm:fork(base1, 2, [{console, none}]),
    [<<"committed">> = out(V, "cat /etc/one") || V <- [A, B]],
    <<>> = out(A, "echo a >/etc/a; echo a >/etc/one"),
    <<>> = out(B, "echo b >/etc/b; rm /etc/one"),
    <<"a\na">> = out(A, "cat /etc/one; ls /etc | grep -x '[ab]'"),
    <<"b">> = out(B, "ls /etc | grep -x 'one\\|[ab]'"),
    <<"later">> = out(Vm, "cat /etc/one; ls /etc | grep -x '[ab]' || :"),
    %% what a fork wrote is a state too, over the first
    ok = evm:commit(A, of_a),
    [cut(V) || V <- [Vm, A, B]],
    C = vm([{dist, of_a}, {console, none}]),
    <<"a\na">> = out(C, "cat /etc/one; ls /etc | grep -x '[ab]'"),
    #{dist := of_a, mem := 48} = evum:info(C),
    cut(C),
    [#{name := base1, parent := none, dist := box, mem := 48, base := Base},
     #{name := of_a, parent := base1, dist := base1, base := Base}] = evm:states(),
    ok = evm:verify(of_a).

%% Whoever writes waits, and goes on.
a_machine_goes_on_while_it_is_committed(_) ->
    Vm = box(),
    {ok, Writer} = evum:spawn(Vm, "n=0; while echo $((n+=1)) >>/numbers; do sync; done"),
    ok = evum:await(Vm, {file, "/numbers"}, 20000),
    [ok = evm:commit(Vm, Name) || Name <- [s1, s2, s3]],
    Last = binary_to_integer(out(Vm, "tail -n 1 /numbers")),
    ok = evum_test_lib:until(fun() -> binary_to_integer(out(Vm, "tail -n 1 /numbers")) > Last end),
    ok = evum:signal(Writer, kill),
    cut(Vm),
    Lines = [begin
                 V = vm([{dist, Name}, {console, none}]),
                 %% no line is missing or cut, and the file system is as if it had been unmounted
                 N = binary_to_integer(out(V, "wc -l </numbers")),
                 Expected = list_to_binary(lists:join("\n", [integer_to_list(I) || I <- lists:seq(1, N)])),
                 Expected = out(V, "cat /numbers"),
                 cut(V),
                 N
             end || Name <- [s1, s2, s3]],
    Lines = lists:sort(Lines).

revert_brings_the_old_state(Config) ->
    Vm = vm([{dist, box}]),
    <<>> = out(Vm, "echo one >/etc/one"),
    ok = evm:commit(Vm, one),
    ok = evm:revert(Vm),
    expect(Vm, rebooting),
    expect(Vm, up),
    <<"0">> = out(Vm, "ls /etc | grep -cx one || :"),
    cut(Vm),
    %% a layer that is kept, and a state under it
    File = filename:join(?config(dir, Config), "kept.layer"),
    Kept = vm([{dist, one}, {disk, File}, {console, none}]),
    <<>> = out(Kept, "echo two >/etc/one; rm /etc/passwd; sync"),
    cut(Kept),
    Again = vm([{dist, one}, {disk, File}, {console, none}]),
    <<"two">> = out(Again, "cat /etc/one"),
    {ok, Program} = evum:spawn(Again, "sleep 1000"),
    ok = evm:revert(Again),
    expect(Program, {exit, {shutdown, rebooted}}),
    <<"one">> = out(Again, "cat /etc/one; cat /etc/passwd >/dev/null"),
    %% also of a machine that stands still
    <<>> = out(Again, "echo two >/etc/one"),
    ok = evum:pause(Again),
    ok = evm:revert(Again),
    <<"one">> = out(Again, "cat /etc/one"),
    cut(Again).

%% --- what was changed ----------------------------------------------------------------

%% Beside what evum writes at each boot.
diff(Vm) ->
    {ok, Changes} = evm:diff(Vm),
    [Change || {_, Path} = Change <- Changes, not lists:member(Path, [<<"/etc/hosts">>, <<"/etc/hostname">>, <<"/etc/resolv.conf">>])].

what_was_changed_is_told(_) ->
    Vm = box(),
    [] = diff(Vm),
    <<>> = out(Vm, "mkdir /d; echo x >/d/new; echo y >>/etc/passwd; rm /etc/inittab; chmod 700 /tmp; touch /etc/group"),
    First = [{added, <<"/d">>}, {added, <<"/d/new">>}, {removed, <<"/etc/inittab">>}, {changed, <<"/etc/passwd">>}],
    First = [Change || {_, Path} = Change <- diff(Vm), Path =/= <<"/tmp">>, Path =/= <<"/etc/group">>],
    ok = evm:commit(Vm, one),
    cut(Vm),
    Fork = vm([{dist, one}, {console, none}]),
    [] = diff(Fork),
    %% against the state, and what lies under it
    <<>> = out(Fork, "rm -r /d; mkdir /d; echo z >/d/other; echo back >/etc/inittab; rm /etc/passwd"),
    [{removed, <<"/d/new">>}, {added, <<"/d/other">>}, {added, <<"/etc/inittab">>}, {removed, <<"/etc/passwd">>}] = diff(Fork),
    cut(Fork),
    %% in memory too
    Memory = vm([{dist, box}, {disk, memory}, {console, none}]),
    <<>> = out(Memory, "echo x >/new"),
    [{added, <<"/new">>}] = diff(Memory),
    cut(Memory).

%% --- the tree ---------------------------------------------------------------------------

a_tree_is_removed_from_its_leaves(Config) ->
    Vm = box(),
    ok = evm:commit(Vm, root),
    cut(Vm),
    {ok, [A, B] = Forks} = evm:fork(root, 2, [{console, none}]),
    [ok = evm:commit(V, Name) || {V, Name} <- [{A, left}, {B, right}]],
    {error, {has_children, root, [left, right]} = Children} = evm:remove(root),
    {match, _} = re:run(sentence(Children), "left, right"),
    C = vm([{dist, left}, {console, none}]),
    {error, {state_in_use, left} = InUse} = evm:remove(left),
    sentence(InUse),
    cut(C),
    %% under a layer that is kept, as long as a machine runs on it
    Kept = filename:join(?config(dir, Config), "kept.layer"),
    D = vm([{dist, left}, {disk, Kept}, {console, none}]),
    {error, InUse} = evm:remove(left),
    cut(D),
    ok = file:delete(Kept),
    [cut(V) || V <- Forks],
    ok = evm:remove(left),
    {error, {has_children, root, [right]}} = evm:remove(root),
    ok = evm:remove(right),
    ok = evm:remove(root),
    [] = evm:states(),
    {error, {unknown_state, root} = Unknown} = evm:remove(root),
    sentence(Unknown),
    {error, {unknown_dist, root}} = evm:create([{dist, root}]).

fourteen_states_lie_over_each_other(_) ->
    Max = evm_state:depth_max(),
    Top = lists:foldl(fun(N, Dist) ->
        Vm = vm([{dist, Dist}, {console, none}]),
        <<>> = out(Vm, "echo " ++ integer_to_list(N) ++ " >>/depth"),
        Name = list_to_atom("s" ++ integer_to_list(N)),
        ok = evm:commit(Vm, Name),
        ok = evum:crash(Vm),
        Name
    end, box, lists:seq(1, Max)),
    Vm = vm([{dist, Top}, {console, none}]),
    All = list_to_binary(lists:join("\n", [integer_to_list(I) || I <- lists:seq(1, Max)])),
    All = out(Vm, "cat /depth"),
    [] = diff(Vm),
    {error, {too_deep, more, Max} = Reason} = evm:commit(Vm, more),
    {match, _} = re:run(sentence(Reason), "evm:export"),
    cut(Vm),
    Max = length(names()).

an_export_needs_nothing_else(Config) ->
    Vm = box(),
    <<>> = out(Vm, "rm /etc/inittab; echo x >/etc/x; ln /etc/x /etc/y; chmod 4711 /etc/x; chown 5:6 /etc/x; ln -s x /etc/z"),
    ok = evm:commit(Vm, one),
    cut(Vm),
    Fork = vm([{dist, one}, {console, none}]),
    <<>> = out(Fork, "mknod /etc/null c 1 3"),
    ok = evm:commit(Fork, two),
    Look = "cd /; find . -xdev ! -path ./etc/hosts ! -path ./lost+found | sort | xargs ls -ldn | awk '{print $1, $2, $3, $4, $NF}'",
    Before = out(Fork, Look),
    cut(Fork),
    File = filename:join(?config(dir, Config), "two.img"),
    {ok, Bytes} = evm:export(two, File),
    true = Bytes > 1000000 andalso Bytes < filelib:file_size(File),
    {error, {local, eexist, _} = Exists} = evm:export(two, File),
    sentence(Exists),
    {error, {unknown_state, three}} = evm:export(three, File ++ "3"),
    {error, {local, enoent, _}} = evm:export(two, "/nosuch/file"),
    [ok = evm:remove(Name) || Name <- [two, one]],
    ok = application:set_env(evum, dist, [{alone, [{file, File}, {mem, 48}]}]),
    Alone = vm([{dist, alone}, {console, none}]),
    same_but_for_sizes(Before, out(Alone, Look)),
    cut(Alone),
    [] = filelib:wildcard(File ++ "?*").

%% A directory's number of links isn't counted the same by each file system.
same_but_for_sizes(Before, After) ->
    [A, B] = [[L || L <- binary:split(T, <<"\n">>, [global])] || T <- [Before, After]],
    {[], []} = {[L || L <- A, not is_directory(L)] -- B, [L || L <- B, not is_directory(L)] -- A},
    true = length(A) =:= length(B).

is_directory(<<"d", _/binary>>) -> true;
is_directory(_) -> false.

%% --- bad states ----------------------------------------------------------------------------

what_was_damaged_is_named_and_not_booted(Config) ->
    Vm = box(),
    ok = evm:commit(Vm, one),
    cut(Vm),
    Dir = filename:join([?config(dir, Config), "states", "one"]),
    Layer = filename:join(Dir, "layer.img"),
    ok = file:change_mode(Layer, 8#644),
    %% only touched, as by a copy
    ok = file:change_time(Layer, {{2020, 1, 1}, {0, 0, 0}}),
    cut(vm([{dist, one}, {console, none}])),
    {ok, #file_info{mtime = 1}} = file:read_file_info(Layer, [{time, posix}]),
    flip(Layer, 5000),
    damaged(Layer, changed),
    %% what keeps size and time is found by who looks at all bytes
    ok = file:write_file_info(Layer, #file_info{mtime = 1}, [{time, posix}]),
    {error, {damaged_state, one, Layer, changed}} = evm:verify(one),
    flip(Layer, 5000),
    ok = evm:verify(one),
    {0, _, _} = sh(["truncate -s 4096 ", Layer]),
    damaged(Layer, changed),
    ok = file:delete(Layer),
    damaged(Layer, enoent),
    Record = filename:join(Dir, "state"),
    ok = file:write_file(Record, <<"{evum_state, 1, #{}}.">>),
    damaged(Record, bad_record),
    [#{name := one, damaged := bad_record}] = evm:states(),
    {error, {state_exists, one}} = evm:commit(Vm2 = box(), one),
    cut(Vm2),
    ok = evm:remove(one).

damaged(File, Why) ->
    {error, {damaged_state, one, File, Why} = Reason} = evm:create([{dist, one}]),
    {match, _} = re:run(sentence(Reason), "state one is damaged").

flip(File, At) ->
    {ok, Fd} = file:open(File, [read, write, raw, binary]),
    {ok, <<Byte>>} = file:pread(Fd, At, 1),
    ok = file:pwrite(Fd, At, <<(Byte bxor 1)>>),
    ok = file:close(Fd).

names_are_checked(_) ->
    Vm = box(),
    [begin
         {error, {bad_option, state} = Reason} = evm:commit(Vm, Name),
         sentence(Reason)
     end || Name <- ['', '..', '.lock', 'a/b', "a", 1]],
    {error, {state_exists, box} = Exists} = evm:commit(Vm, box),
    sentence(Exists),
    ok = evm:commit(Vm, one),
    {error, {state_exists, one}} = evm:commit(Vm, one),
    {error, {unknown_state, two}} = evm:verify(two),
    %% of a state that is elsewhere
    Fork = vm([{dist, one}, {console, none}]),
    {ok, States} = application:get_env(evum, states_dir),
    ok = application:set_env(evum, states_dir, States ++ "2"),
    {error, {unknown_state, one}} = evm:commit(Fork, two),
    [] = names(),
    ok = application:set_env(evum, states_dir, States),
    cut(Fork),
    {error, {bad_option, state}} = evm:remove("one"),
    [{error, {bad_option, fork}} = evm:fork(one, N, Opts) || {N, Opts} <- [{0, []}, {1001, []}, {2, [{label, a}]}, {2, #{dist => box}}, {a, []}]],
    %% all or none
    {error, {bad_option, mem}} = evm:fork(one, 2, [{mem, 1}]),
    {error, {unknown_dist, two}} = evm:fork(two, 2),
    cut(Vm),
    {error, noproc} = evm:commit(Vm, three),
    [one] = names().

what_has_no_layer_is_told(_) ->
    Vms = [vm([{console, none} | Opts]) || Opts <- [[], [{dist, box}, {disk, memory}]]],
    [begin
         {error, not_layered = Reason} = Call(Vm),
         sentence(Reason)
     end || Vm <- Vms, Call <- [fun(V) -> evm:commit(V, one) end, fun evm:revert/1]],
    {error, not_layered} = evm:diff(hd(Vms)),
    [cut(Vm) || Vm <- Vms],
    [] = evm:states().

%% An ordinary user can't make a small disk; that a copy that fails leaves nothing a C test shows.
a_full_disk_leaves_nothing(Config) ->
    States = filename:join(?config(dir, Config), "states"),
    case sh(["mkdir ", States, " && mount -t tmpfs -o size=8m evum ", States]) of
        {0, _, _} ->
            Vm = box(),
            <<>> = out(Vm, "dd if=/dev/urandom of=/big bs=1M count=16 2>/dev/null"),
            {error, {local, enospc, File} = Reason} = evm:commit(Vm, one),
            true = is_binary(File),
            {match, _} = re:run(sentence(Reason), "no space left"),
            [] = evm:states(),
            {ok, [".lock"]} = file:list_dir(States),
            %% the machine hasn't noticed
            <<"x">> = out(Vm, "rm /big; echo x >/x; sync; cat /x"),
            cut(Vm);
        _ -> {skip, "mounting a small file system is root's"}
    end.

%% --- who dies ---------------------------------------------------------------------------------

%% A freeze ends with who asked for it.
who_commits_may_die(_) ->
    ct:timetrap({seconds, 60 + 5 * evum_test_lib:rounds(5)}),
    Vm = box(),
    <<>> = out(Vm, "dd if=/dev/urandom of=/big bs=1M count=32 2>/dev/null"),
    [begin
         {Pid, Monitor} = spawn_monitor(fun() -> evm:commit(Vm, one) end),
         timer:kill_after(rand:uniform(150), Pid),
         receive {'DOWN', Monitor, process, Pid, _} -> ok end,
         <<"x">> = out(Vm, "echo x >/x; sync; cat /x"),
         _ = evm:remove(one)
     end || _ <- lists:seq(1, evum_test_lib:rounds(5))],
    ok = evm:commit(Vm, one),
    cut(Vm),
    [one] = names().

a_killed_beam_leaves_a_whole_state_or_none(Config) ->
    ct:timetrap({seconds, 60 + 10 * evum_test_lib:rounds(4)}),
    {Whole, None} = lists:partition(fun(Is) -> Is end, [killed(Config) || _ <- lists:seq(1, evum_test_lib:rounds(4))]),
    ct:pal("~b left a state, ~b none", [length(Whole), length(None)]).

%% Another BEAM commits again and again, and is killed at it. Was there a state at the time?
killed(Config) ->
    Dir = ?config(dir, Config),
    Text = io_lib:format(
        "[application:set_env(evum, K, V) || {K, V} <- ~0p],"
        "{ok, _} = application:ensure_all_started(evum),"
        "{ok, Vm} = evm:create([{dist, box}, {console, none}]),"
        "evum:exec(Vm, \"dd if=/dev/urandom of=/big bs=1M count=8\"),"
        "io:format(\"go~~n\"), F = fun(F) -> ok = evm:commit(Vm, killed), ok = evm:remove(killed), F(F) end, F(F).",
        [environment(?config(image, Config), Dir)]),
    {Port, OsPid} = evum_test_lib:second_beam(lists:flatten(Text)),
    receive {Port, {data, {eol, <<"go">>}}} -> ok end,
    timer:sleep(rand:uniform(400)),
    ok = evum_test_lib:kill(OsPid, "KILL"),
    receive {Port, {exit_status, _}} -> ok end,
    States = evm:states(),
    %% what is listed is whole
    [ok = evm:verify(Name) || #{name := Name} <- States],
    [cut(vm([{dist, Name}, {console, none}])) || #{name := Name} <- States],
    %% the next one to take the lock clears away what is left; a layer goes with its machine
    _ = evm:remove(killed),
    {ok, [".lock"]} = file:list_dir(Dir ++ "/states"),
    ok = evum_test_lib:until(fun() -> filelib:wildcard(Dir ++ "/disks/*") =:= [] end),
    States =/= [].
