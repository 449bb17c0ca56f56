%% SPDX-License-Identifier: Apache-2.0
%% A directory of a machine's that Erlang serves, and one in memory that outlives it
-module(state_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, down/1, out/2, sentence/1, until/1]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) ->
    Compiled = evum_test_lib:init_suite(Config),
    Dir = ?config(priv_dir, Config),
    {ok, _} = compile:file(filename:join(evum_test_lib:tree(), "examples/kv"), [{outdir, Dir}]),
    true = code:add_patha(Dir),
    Compiled.

end_per_suite(Config) ->
    true = code:del_path(?config(priv_dir, Config)),
    evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).

end_per_testcase(Case, Config) ->
    _ = [evum_store:stop(Store) || Store <- [ct_store, ct_other]],
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        reads_and_writes_are_messages, the_store_outlives_a_power_cut, it_is_a_file_system, names_and_sizes_have_bounds,
        machines_share_a_store, a_full_store_is_a_full_disk, bad_callbacks_cost_an_error,
        a_server_that_is_killed_costs_an_error, garbage_is_counted, what_cannot_be_served_is_told,
        no_descriptors_are_an_error
    ].

store() -> vm([{state, {evum_store, ct_store}}]).

%% Its status, and what it says on either output.
told(Vm, Command) ->
    {ok, #{status := Status, stdout := Out, stderr := Err}} = evum:exec(Vm, Command),
    {Status, Out, Err}.

fails(Vm, Command, Text) ->
    {Status, _, Err} = told(Vm, Command),
    true = Status > 0,
    {match, _} = re:run(Err, Text).

reads_and_writes_are_messages(_) ->
    V = vm([{state, {kv, #{<<"colour">> => <<"red\n">>}}}]),
    <<"red">> = out(V, "cat /state/colour"),
    <<"green\nblue">> = out(V, "echo green > /state/colour; echo blue >> /state/colour; cat /state/colour"),
    <<"colour\nnew">> = out(V, ": > /state/new; ls /state"),
    fails(V, "mkdir /state/d", "not permitted"),
    fails(V, "mv /state/new /state/old", "Read-only"),
    <<"colour">> = out(V, "rm /state/new; ls /state"),
    [#{dir := <<"/state">>, module := kv, malformed := 0, requests := N}] = maps:get(states, evum:info(V)),
    true = N > 10,
    %% the map is the machine's: it is there after a reboot
    ok = evum:reboot(V),
    <<"green\nblue">> = out(V, "cat /state/colour"),
    stop(V).

the_store_outlives_a_power_cut(_) ->
    V = store(),
    Sum = out(V, "mkdir -p /state/a/b; head -c 200000 /dev/urandom > /state/a/b/random; echo said > /state/a/word; md5sum < /state/a/b/random"),
    ok = evum:crash(V),
    {ok, <<"said\n">>} = evum_store:get(ct_store, "/a/word"),
    {ok, Random} = evum_store:get(ct_store, "a/b/random"),
    200000 = byte_size(Random),
    W = store(),
    Sum = out(W, "md5sum < /state/a/b/random"),
    %% cut in the middle of writing
    {ok, P} = evum:spawn(W, "while :; do head -c 50000 /dev/zero > /state/a/zeros; done", []),
    until(fun() -> case evum_store:names(ct_store, "a") of {ok, Names} -> lists:member(<<"zeros">>, Names) end end),
    ok = evum:crash(W),
    {evum, P, {exit, _}} = receive {evum, P, {exit, _}} = M -> M after 5000 -> none end,
    X = store(),
    Sum = out(X, "md5sum < /state/a/b/random"),
    %% from the other side, while the machine runs
    ok = evum_store:put(ct_store, "from/outside", <<"here">>),
    <<"here">> = out(X, "cat /state/from/outside"),
    ok = evum_store:delete(ct_store, "from"),
    <<"a">> = out(X, "ls /state"),
    stop(X).

it_is_a_file_system(_) ->
    V = store(),
    <<"ok">> = out(V, "set -e; head -c 100000 /dev/urandom > /tmp/r; cd /state; mkdir -p t/deep/er; cp /tmp/r t/deep/data;"
                      "printf '#!/bin/sh\necho runs' > t/prog; chmod 755 t/prog; t/prog > t/out; ln -s deep/er t/link; test -d t/link/; test \"$(readlink t/link)\" = deep/er;"
                      "chmod 600 t/out; test \"$(stat -c %a t/out)\" = 600; touch -d '2001-02-03 00:00:00' t/out; test \"$(stat -c %Y t/out)\" = 981158400;"
                      "mv t moved; cat moved/out > /dev/null; tar cf all.tar moved; mkdir x; tar xf all.tar -C x; cmp x/moved/deep/data /tmp/r;"
                      "cat all.tar | wc -c > /dev/null; cat < all.tar > copy.tar; cmp all.tar copy.tar;"
                      "rm -r x moved copy.tar; test \"$(ls)\" = all.tar; echo ok"),
    <<"aXYde">> = out(V, "cd /state; printf abcde > f; printf XY | dd of=f bs=1 seek=1 conv=notrunc 2>/dev/null; cat f"),
    <<"3">> = out(V, "cd /state; truncate -s 3 f; wc -c < f"),
    {0, <<0:(1000 * 8), "x">>, _} = told(V, "cd /state; printf x | dd of=hole bs=1 seek=1000 2>/dev/null; cat hole"),
    %% open while it is renamed; users
    <<"one\ntwo">> = out(V, "cd /state; exec 3> log; echo one >&3; mv log log2; echo two >&3; exec 3>&-; cat log2"),
    <<"65534">> = out(V, "cd /state; mkdir -m 777 open; su -s /bin/sh nobody -c 'echo x > /state/open/mine'; stat -c %u open/mine"),
    fails(V, "su -s /bin/sh nobody -c 'echo x > /state/f'", "denied"),
    <<"ok">> = out(V, "cd /state; sync; echo ok"),
    fails(V, "rmdir /state/open", "not empty"),
    fails(V, "mknod /state/null c 1 3", "not permitted"),
    fails(V, "ln /state/f /state/g", "not supported"),
    stop(V).

names_and_sizes_have_bounds(_) ->
    V = store(),
    Long = lists:duplicate(255, $n),
    <<"5">> = out(V, "cd /state; echo four > " ++ Long ++ "; wc -c < " ++ Long),
    fails(V, "echo x > /state/" ++ Long ++ "n", "too long"),
    %% no UTF-8
    {ok, #{status := 0}} = evum:exec(V, ["/bin/sh", "-c", <<"echo x > /state/", 255, 254>>]),
    {ok, Names} = evum_store:names(ct_store, "/"),
    true = lists:member(<<255, 254>>, Names),
    fails(V, "printf x | dd of=/state/huge bs=1M seek=8796093022206", "too large|Invalid"),
    {0, _, _} = told(V, "printf x | dd of=/state/sparse bs=1M seek=1000000 2>&1"),
    {ok, #{bytes := Bytes}} = evum_store:info(ct_store),
    true = Bytes < 100000,
    <<"200">> = out(V, "cd /state; mkdir many; i=0; while [ $i -lt 200 ]; do : > many/f$i; i=$((i+1)); done; ls many | wc -l"),
    stop(V).

machines_share_a_store(_) ->
    Options = [{state, [{evum_store, ct_store}, {evum_store, ct_other, "/var/lib/my own"}]}],
    [V, W] = evum_test_lib:parallel([fun() -> {ok, M} = evm:create([{owner, none} | Options]), M end || _ <- [1, 2]]),
    _ = out(V, "echo v > /state/v; echo other > '/var/lib/my own/o'"),
    <<"v\nother">> = out(W, "cat /state/v '/var/lib/my own/o'"),
    {ok, [<<"v">>]} = evum_store:names(ct_store, "/"),
    stop(V),
    <<"v">> = out(W, "cat /state/v"),
    stop(W).

a_full_store_is_a_full_disk(_) ->
    V = vm([{state, {evum_store, {ct_store, #{max_bytes => 200000}}}}]),
    fails(V, "dd if=/dev/zero of=/state/big bs=30000 count=10", "No space"),
    {ok, #{bytes := Bytes, max_bytes := 200000}} = evum_store:info(ct_store),
    true = Bytes =< 200000,
    <<"ok">> = out(V, "rm /state/big; head -c 190000 /dev/zero > /state/big && echo ok"),
    <<"192">> = out(V, "df -k /state | tail -1 | awk '{print $2}'"),
    {error, enospc} = evum_store:put(ct_store, "more", binary:copy(<<0>>, 20000)),
    stop(V).

bad_callbacks_cost_an_error(_) ->
    V = vm([{state, {bad_dir, self()}}]),
    [begin
         fails(V, "cat /state/" ++ Name, "Input/output error"),
         %% for a second nothing is tried; then it is initialised again
         fails(V, "cat /state/good", "Input/output error"),
         until(fun() -> {ok, #{stdout := Out}} = evum:exec(V, "cat /state/good"), Out =:= <<"still here">> end),
         receive {bad_dir, init} -> ok after 0 -> error({not_initialised, Name}) end
     end || Name <- ["crashes", "nonsense", "too_much", "no_type"]],
    Before = erlang:monotonic_time(millisecond),
    fails(V, "cat /state/loops", "Input/output error"),
    true = erlang:monotonic_time(millisecond) - Before >= 4900,
    fails(V, "cat /state/good", "Input/output error"),
    until(fun() -> out(V, "cat /state/good; true") =:= <<"still here">> end),
    fails(V, "echo x > /state/good", "Read-only"),
    <<"alive">> = out(V, "echo alive"),
    stop(V).

a_server_that_is_killed_costs_an_error(_) ->
    V = store(),
    <<"x">> = out(V, "echo x > /state/x; cat /state/x"),
    [#{pid := Server}] = maps:get(states, evum:info(V)),
    {ok, P} = evum:spawn(V, "exec 3< /state/x; echo open; read -r _; cat <&3", []),
    evum_test_lib:expect(P, {stdout, <<"open\n">>}),
    Monitor = monitor(process, Server),
    exit(Server, kill),
    killed = evum_test_lib:monitored(Monitor, Server),
    ok = evum:write(P, "\n"),
    receive {evum, P, {stderr, Text}} -> {match, _} = re:run(Text, "error") after 20000 -> error(hangs) end,
    {Status, _, _} = told(V, "cat /state/x"),
    true = Status > 0,
    %% at the next boot it is served again
    ok = evum:reboot(V),
    <<"x">> = out(V, "cat /state/x"),
    %% and so is what the guest unmounted
    _ = out(V, "umount /state; ls /state"),
    ok = evum:reboot(V),
    <<"x">> = out(V, "cat /state/x"),
    stop(V).

%% A guest's root has the line under its hands.
garbage_is_counted(_) ->
    V = store(),
    _ = told(V, "head -c 5000 /dev/urandom > /dev/tty14"),
    until(fun() -> [#{malformed := N}] = maps:get(states, evum:info(V)), N > 0 end),
    fails(V, "cat /state/x; ls /state/", "error|aborted|reset|endpoint|connected"),
    <<"alive">> = out(V, "echo alive"),
    ok = evum:reboot(V),
    _ = out(V, "echo x > /state/x"),
    stop(V).

what_cannot_be_served_is_told(_) ->
    Bad = [{kv}, {1, 2}, [{kv, a, b, c}], {kv, a, "relative"}, {kv, a, "/a/../b"}, kv, [kv], lists:duplicate(9, {kv, #{}})],
    [{error, {bad_option, state}} = evm:create([{state, B}]) || B <- Bad],
    Refused = [
        {{nosuchmodule, x}, {bad_callback, nosuchmodule, missing}}, {{lists, x}, {bad_callback, lists, {init, 1}}},
        {[{kv, #{}}, {kv, #{}}], {mounted_twice, <<"/state">>}}
    ],
    [begin {error, Reason} = evm:create([{state, S}]), _ = sentence(Reason) end || {S, Reason} <- Refused],
    [begin
         {error, {boot_failed, _, _} = Reason} = evm:create([{state, {bad_dir, How}}]),
         {match, _} = re:run(sentence(Reason), Text)
     end || {How, Text} <- [{refuses, "/state: bad_dir:init/1: not_today"}, {crashes, "oops"}]],
    {error, {boot_failed, _, _}} = evm:create([{state, {evum_store, evum_sup}}]),
    {error, {name_in_use, evum_sup}} = evum_store:start(evum_sup),
    {error, {bad_option, max_bytes}} = evum_store:start(ct_store, #{max_bytes => none}),
    {error, no_store} = evum_store:get(ct_store, "x"),
    {error, {mounted_twice, <<"/x">>}} = evm:create([{state, {kv, #{}, "/x"}}, {share, [{"/tmp", "/x", ro}]}]).

%% In a BEAM that may have few, once it has used all up.
no_descriptors_are_an_error(_) ->
    Paths = [filename:dirname(code:which(M)) || M <- [evum, ?MODULE]],
    {0, Out, _} = evum_test_lib:sh(["ulimit -n 80; ERL_CRASH_DUMP=/dev/null exec erl -noinput -boot no_dot_erlang",
                                    [[" -pa ", Path] || Path <- Paths], " -run state_SUITE without_descriptors"]),
    ct:pal("~ts", [Out]),
    {match, _} = re:run(Out, "^too many open files; "),
    nomatch = re:run(Out, "badmatch").

without_descriptors() ->
    {ok, _} = application:ensure_all_started(evum),
    {ok, Modules} = application:get_key(evum, modules),
    ok = code:ensure_modules_loaded(Modules),
    Machine = [{state, {evum_store, ct_store}}],
    {ok, Vm} = evm:create(Machine),
    ok = evm:stop(Vm),
    Fds = all_descriptors([]),
    {error, Dirs} = evum_vm_dirs:open([{evum_store, ct_store, <<"/state">>}], evum_vm_dirs:new()),
    {error, Reason} = evm:create(Machine),
    [ok = file:close(Fd) || Fd <- Fds],
    io:format("~ts; ~ts~n", [evum:format_error(Dirs), evum:format_error(Reason)]),
    halt().

all_descriptors(Fds) ->
    case file:open("/dev/null", [read, raw]) of
        {ok, Fd} -> all_descriptors([Fd | Fds]);
        {error, emfile} -> Fds
    end.
