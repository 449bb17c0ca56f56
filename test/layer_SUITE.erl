%% SPDX-License-Identifier: Apache-2.0
%% What a machine writes goes to its layer and nowhere else, and stays as long as it should
-module(layer_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/1, stop/1, down/1, monitored/3, out/2, sentence/1, until/1, kill/2, pids/1]).
-import(evum_test_disk, [layers/1, sum/1]).

suite() -> [{timetrap, {seconds, 240}}].

init_per_suite(Config) -> evum_test_disk:init_suite(Config).
end_per_suite(Config) -> evum_test_disk:end_suite(Config).

init_per_testcase(Case, Config) ->
    evum_test_disk:dists([{small, [{file, ?config(image, Config)}]}, {written, [{file, ?config(image, Config)}, {access, rw}]}]),
    evum_test_lib:begin_case(Case, [{layer, filename:join(?config(dir, Config), atom_to_list(Case))} | Config]).

end_per_testcase(Case, Config) ->
    _ = file:delete(?config(layer, Config)),
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        a_temporary_layer_ends_with_its_machine, a_named_layer_keeps_what_was_written, a_layer_that_had_errors_is_used, a_layer_takes_one_machine,
        layers_lie_on_layers, a_changed_base_is_refused, a_forged_head_is_refused, nothing_below_can_be_written,
        a_full_layer_is_told_to_the_guest, a_full_host_ends_no_machine, a_durable_layer_is_synced, memory_leaves_nothing_on_the_host,
        whatever_is_killed_no_layer_is_left, a_layer_left_behind_is_swept, what_cannot_be_a_layer_is_told,
        without_a_home_nothing_is_kept, a_layer_costs_what_was_written
    ].

a_temporary_layer_ends_with_its_machine(Config) ->
    V = vm([{dist, small}]),
    [Layer] = layers(Config),
    {ok, _} = evum:exec(V, "echo changed > /etc/mark"),
    %% a reboot of the guest isn't the machine's end
    ok = evum:reboot(V),
    <<"changed">> = out(V, "cat /etc/mark"),
    [Layer] = layers(Config),
    stop(V),
    [] = layers(Config),
    W = vm([{dist, small}]),
    <<"base">> = out(W, "cat /etc/mark"),
    ok = evum:crash(W),
    [] = layers(Config).

a_named_layer_keeps_what_was_written(Config) ->
    Opts = [{dist, small}, {disk, ?config(layer, Config)}],
    Before = sum(?config(image, Config)),
    V = vm(Opts),
    <<"base">> = out(V, "cat /etc/mark"),
    {ok, _} = evum:exec(V, "echo kept > /etc/mark; rm /etc/passwd; mkdir /data/new"),
    stop(V),
    W = vm(Opts),
    <<"kept">> = out(W, "cat /etc/mark; ls /etc/passwd 2>/dev/null; rmdir /data/new"),
    {ok, _} = evum:exec(W, "echo synced > /etc/mark; sync"),
    ok = evum:crash(W),
    X = vm(Opts),
    <<"synced">> = out(X, "cat /etc/mark"),
    stop(X),
    [] = layers(Config),
    Before = sum(?config(image, Config)).

%% As after the host's disk was full: ext4 has it in its superblock, and grows no more.
a_layer_that_had_errors_is_used(Config) ->
    Layer = ?config(layer, Config),
    V = vm([{dist, small}, {disk, Layer}]),
    <<"kept">> = out(V, "echo kept > /etc/mark; cat /etc/mark"),
    stop(V),
    {0, _, _} = evum_test_lib:sh(["PATH=$PATH:/usr/sbin:/sbin; debugfs -w -R 'set_super_value state 2' ", Layer]),
    W = vm([{dist, small}, {disk, Layer}]),
    <<"kept">> = out(W, "cat /etc/mark"),
    stop(W).

a_layer_takes_one_machine(Config) ->
    Layer = ?config(layer, Config),
    V = vm([{dist, small}, {disk, Layer}]),
    {error, {disk_in_use, Layer} = Reason} = evm:create([{dist, small}, {disk, Layer}]),
    sentence(Reason),
    %% others over the same image are free
    W = vm([{dist, small}]),
    Image = ?config(image, Config),
    {error, {disk_in_use, Image}} = evm:create([{dist, written}]),
    ok = evum:crash(W),
    ok = evum:crash(V),
    %% two that make it at the same time
    ok = file:delete(Layer),
    Both = evum_test_lib:parallel(lists:duplicate(2, fun() -> evm:create([{dist, small}, {disk, Layer}, {owner, none}]) end)),
    [Vm] = [Vm || {ok, Vm} <- Both],
    [{disk_in_use, Layer}] = [R || {error, R} <- Both],
    ok = evum:crash(Vm).

%% The machine of Opts over layers that are only read.
over(Lower, Opts, Config) ->
    {ok, #{config := Port} = Machine} = evum_config:machine(create, Opts),
    {ok, Disks} = evm_disk:config(#{file => ?config(image, Config), access => overlay, layers => Lower}, maps:from_list([{disk, #{}} | Opts])),
    {ok, Vm} = evum_vm:start_link(Machine#{config := maps:merge(Port, Disks)}),
    ok = evum:await(Vm, up, 20000),
    Vm.

layers_lie_on_layers(Config) ->
    Layers = [filename:join(?config(dir, Config), [C]) || C <- "abcdefghijklmn"],
    process_flag(trap_exit, true),
    lists:foldl(fun(Layer, Lower) ->
        Name = filename:basename(Layer),
        V = over(Lower, [{dist, small}, {disk, #{file => Layer, size => 64}}, {console, none}], Config),
        {ok, #{status := 0}} = evum:exec(V, ["/bin/sh", "-c", "echo $0 > /etc/mark; echo $0 > /data/$0; rm -f /etc/passwd", Name]),
        {ok, _} = evum:exec(V, "sync"),
        ok = evum:crash(V),
        %% what a power cut leaves can't be read from without a repair; 1: repaired
        {Status, _, _} = evum_test_lib:sh(["PATH=$PATH:/usr/sbin:/sbin; e2fsck -p ", Layer]),
        true = Status =< 1,
        Lower ++ [Layer]
    end, [], Layers),
    Sums = [sum(L) || L <- Layers],
    V = over(Layers, [{dist, small}, {console, none}], Config),
    <<"n">> = out(V, "cat /etc/mark"),
    <<"a b c d e f g h i j k l m n">> = out(V, "cd /data; echo *; ls /etc/passwd 2>/dev/null; true"),
    {ok, _} = evum:exec(V, "rm /data/*; sync"),
    ok = evum:crash(V),
    Sums = [sum(L) || L <- Layers],
    {error, {too_many_layers, 14}} = evm_disk:config(#{file => "x", access => overlay, layers => ["x" | Layers]}, #{}),
    [ok = file:delete(L) || L <- Layers].

a_changed_base_is_refused(Config) ->
    {Layer, Image} = {?config(layer, Config), ?config(image, Config)},
    Opts = [{dist, small}, {disk, Layer}],
    ok = evum:crash(vm(Opts)),
    {ok, Info} = file:read_file_info(Image, [{time, posix}]),
    {0, _, _} = evum_test_lib:sh(["cp -p ", Image, " ", Image, ".kept"]),
    Restore = fun() -> {0, _, _} = evum_test_lib:sh(["cp -p ", Image, ".kept ", Image]) end,
    [begin
         Change(),
         {error, {base_changed, Image, Layer} = Reason} = evm:create(Opts),
         sentence(Reason),
         Restore(),
         ok = evum:crash(vm(Opts))
     end || Change <- [
         fun() -> ok = file:write_file_info(Image, Info, [{time, posix}]), {0, _, _} = evum_test_lib:sh(["touch ", Image]) end,
         fun() -> {0, _, _} = evum_test_lib:sh(["truncate -s +4096 ", Image, "; touch -r ", Image, ".kept ", Image]) end,
         fun() -> {0, _, _} = evum_test_lib:sh(["printf x | dd of=", Image, " bs=1 seek=1200 conv=notrunc; touch -r ", Image, ".kept ", Image]) end
     ]],
    ok = file:delete(Image ++ ".kept").

%% UML's own copy-on-write header names a file that the next boot would read.
a_forged_head_is_refused(Config) ->
    Layer = ?config(layer, Config),
    Opts = [{dist, small}, {disk, Layer}],
    V = vm(Opts),
    Secret = filename:join(?config(dir, Config), "secret"),
    ok = file:write_file(Secret, binary:copy(<<"secret">>, 1000)),
    %% version 3: magic, version, time, name, size, sector, alignment, format
    Head = <<16#4f4f4f4d:32, 3:32, 0:32, (list_to_binary(Secret))/binary, 0:((4096 - length(Secret)) * 8),
             6000:64, 512:32, 4096:32, 0:32, 0:(100 * 8)>>,
    ok = evum:put(V, Head, "/tmp/head"),
    {ok, #{status := 0}} = evum:exec(V, "dd if=/tmp/head of=/dev/ubdb bs=512 conv=notrunc,sync; sync"),
    ok = evum:crash(V),
    {ok, Fd} = file:open(Layer, [read, binary]),
    {ok, <<16#4f4f4f4d:32, 3:32, _/binary>>} = file:read(Fd, 16),
    ok = file:close(Fd),
    {error, {bad_layer, Layer} = Reason} = evm:create(Opts),
    sentence(Reason),
    %% a disk that is written without layers is no copy-on-write file either
    ok = application:set_env(evum, dist, [{forged, [{file, Layer}, {access, rw}]}]),
    {error, _} = evm:create([{dist, forged}, {wait_boot, 15000}]),
    ok = file:delete(Secret).

nothing_below_can_be_written(Config) ->
    Before = sum(?config(image, Config)),
    V = vm([{dist, small}]),
    [{ok, #{status := Status}} = evum:exec(V, Cmd) || {Cmd, Status} <- [
        {"dd if=/dev/zero of=/dev/ubda bs=4096 count=1 2>/dev/null", 1},
        {"blockdev --setrw /dev/ubda; dd if=/dev/zero of=/dev/ubda bs=4096 count=1 2>/dev/null", 1},
        {"mkdir /mnt; mount -t hostfs none /mnt -o /; echo x 2>/dev/null > /mnt/disk0", 1},
        {"mkdir /mnt2; mount -o ro /dev/ubda /mnt2 && mount -o remount,rw /mnt2 2>/dev/null && echo x > /mnt2/etc/mark", 255}
    ]],
    ok = evum:crash(V),
    Before = sum(?config(image, Config)).

a_full_layer_is_told_to_the_guest(Config) ->
    V = vm([{dist, small}, {disk, 64}]),
    {ok, #{status := 1, stderr := Err}} = evum:exec(V, "dd if=/dev/zero of=/data/big bs=1M count=100"),
    {match, _} = re:run(Err, "No space left"),
    {ok, #{status := 0}} = evum:exec(V, "rm /data/big; sync; dd if=/dev/zero of=/data/big bs=1M count=10"),
    [Layer] = layers(Config),
    67108864 = filelib:file_size(Layer),
    ok = evum:crash(V).

%% In a mount namespace of its own, where the layers' disk is small.
a_full_host_ends_no_machine(Config) ->
    Dir = filename:join(?config(dir, Config), "small"),
    ok = filelib:ensure_path(Dir),
    Ebin = filename:dirname(code:which(evum)),
    Script = lists:flatten(io_lib:format(
        "{ok, _} = application:ensure_all_started(evum),"
        "ok = application:set_env(evum, disk_dir, ~p),"
        "ok = application:set_env(evum, dist, [{small, [{file, ~p}]}]),"
        "{ok, V} = evm:create([{dist, small}, {console, none}]),"
        "{ok, #{status := 0}} = evum:exec(V, \"echo before > /data/before; sync\"),"
        "{ok, R} = evum:exec(V, \"dd if=/dev/zero of=/data/big bs=1M count=60 conv=fsync\"),"
        "{ok, #{stdout := Kept}} = evum:exec(V, \"cat /data/before /etc/mark\"),"
        "ok = evm:stop(V),"
        "{error, E} = evm:create([{dist, small}, {disk, #{file => ~p}}]),"
        "io:format(\"~~0p.~~n\", [{maps:get(status, R), Kept, E}]), halt().",
        [Dir, ?config(image, Config), filename:join(Dir, "no/such")])),
    Unshare = case evum_test_lib:sh("id -u") of {0, <<"0\n">>, _} -> "unshare -m"; _ -> "unshare -rm" end,
    {0, Out, _} = evum_test_lib:sh([Unshare, " sh -c 'mount -t tmpfs -o size=16m,mode=777 none ", Dir, " && exec erl -noinput -boot no_dot_erlang -pa ", Ebin,
                                    " -eval \"$0\"' '", Script, "'"]),
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Out)),
    {ok, {1, <<"before\nbase\n">>, {no_layer, _, enoent} = Reason}} = erl_parse:parse_term(Tokens),
    sentence(Reason).

%% The kernel's process holds the layer with O_SYNC, and the image without.
a_durable_layer_is_synced(Config) ->
    [begin
         V = vm([{dist, small}, {durable, Durable}]),
         Kernel = integer_to_list(lists:nth(3, pids(V))),
         {0, Flags, _} = evum_test_lib:sh(["cd /proc/", Kernel, "/fd; for f in *; do case $(readlink $f) in /disk1*) grep flags ../fdinfo/$f;; esac; done"]),
         {match, [[Octal] | _]} = re:run(Flags, "flags:\\s*([0-7]+)", [global, {capture, all_but_first, list}]),
         Durable = list_to_integer(Octal, 8) band 8#4010000 =:= 8#4010000,
         <<"written">> = out(V, "echo written > /etc/mark; sync; cat /etc/mark"),
         ok = evum:crash(V)
     end || Durable <- [true, false]],
    [] = layers(Config).

memory_leaves_nothing_on_the_host(Config) ->
    V = vm([{dist, small}, {disk, memory}]),
    [] = layers(Config),
    <<"changed">> = out(V, "echo changed > /etc/mark; cat /etc/mark"),
    ok = evum:crash(V).

whatever_is_killed_no_layer_is_left(Config) ->
    process_flag(trap_exit, true),
    [begin
         V = vm([{dist, small}, {console, none}]),
         Monitor = monitor(process, V),
         [_] = layers(Config),
         %% one may have ended by the time
         {_, _, _} = evum_test_lib:sh(["kill -KILL", [[" ", integer_to_list(P)] || P <- Which(pids(V))]]),
         _ = monitored(Monitor, V, 10000),
         [] = layers(Config)
     end || Which <- [fun([Port | _]) -> [Port] end, fun([_, Init | _]) -> [Init] end, fun([_, _, Kernel | _]) -> [Kernel] end, fun(All) -> All end]],
    V = vm([{dist, small}, {console, none}]),
    Monitor = monitor(process, V),
    exit(V, kill),
    killed = monitored(Monitor, V, 5000),
    until(fun() -> layers(Config) =:= [] end).

beam(Config) ->
    {Port, Pid} = evum_test_lib:second_beam(lists:flatten(io_lib:format(
        "{ok, _} = application:ensure_all_started(evum), ok = application:set_env(evum, disk_dir, ~p),"
        "ok = application:set_env(evum, dist, [{small, [{file, ~p}]}]),"
        "{ok, V} = evm:create([{dist, small}, {console, none}]), io:format(\"~~w~~n\", [maps:get(os_pids, evum:info(V))]), receive after infinity -> ok end.",
        [?config(layers, Config), ?config(image, Config)]))),
    receive {Port, {data, {eol, Line}}} ->
        {ok, Tokens, _} = erl_scan:string(binary_to_list(Line) ++ "."),
        {ok, Pids} = erl_parse:parse_term(Tokens),
        {Port, Pid, Pids}
    after 20000 -> error(no_machine)
    end.

ended(Port) -> receive {Port, {exit_status, _}} -> ok after 20000 -> error(still_there) end.

a_layer_left_behind_is_swept(Config) ->
    %% the BEAM alone: its port program removes the layer
    {Port1, Beam1, Pids1} = beam(Config),
    kill(Beam1, "KILL"),
    ended(Port1),
    ok = evum_test_lib:gone(Pids1, 5000),
    [] = layers(Config),
    %% and the port program, at the same moment: it has removed the layer, or the jail empties it
    {Port2, Beam2, [PortProgram | _] = Pids2} = beam(Config),
    [Layer] = layers(Config),
    kill_all([Beam2, PortProgram]),
    ended(Port2),
    ok = evum_test_lib:gone(Pids2, 5000),
    0 = filelib:file_size(Layer),
    %% all of them, at the same moment
    {Port3, Beam3, Pids3} = beam(Config),
    kill_all([Beam3 | Pids3]),
    ended(Port3),
    ok = evum_test_lib:gone(Pids3, 5000),
    %% the next machine of anybody's takes the name away, and not that of one that runs
    V = vm([{dist, small}]),
    W = vm([{dist, small}]),
    [_, _] = Two = layers(Config),
    false = lists:member(Layer, Two),
    ok = evum:crash(V),
    ok = evum:crash(W).

%% By one command; the end of one may have been the next one's already.
kill_all(Pids) -> {_, _, _} = evum_test_lib:sh(["kill -KILL", [io_lib:format(" ~b", [P]) || P <- Pids]]).

what_cannot_be_a_layer_is_told(Config) ->
    Layer = ?config(layer, Config),
    [begin
         {error, Reason} = evm:create([{dist, Dist} | Opts]),
         ct:pal("~p~n~ts", [Reason, sentence(Reason)]),
         {Is, Reason} = {Is, setelement(1, Reason, Is)}
     end || {Dist, Opts, Is} <- [
         {busybox, [{disk, 64}], bad_option}, {host, [{durable, true}], bad_option}, {written, [{disk, memory}], bad_option},
         {small, [{disk, memory}, {durable, true}], bad_option}, {small, [{disk, 63}], bad_option},
         {small, [{disk, "/nosuch/layer"}], no_layer}, {small, [{disk, ?config(image, Config)}], disk_in_use},
         {small, [{disk, "/etc"}], no_layer}
     ]],
    ok = file:write_file(Layer, binary:copy(<<0>>, 100000)),
    {error, {bad_layer, Layer}} = evm:create([{dist, small}, {disk, Layer}]),
    ok = application:set_env(evum, disk_dir, "/proc/nosuch"),
    {error, {no_disk_dir, "/proc/nosuch", _} = Reason} = evm:create([{dist, small}]),
    sentence(Reason),
    ok = application:set_env(evum, disk_dir, ?config(layers, Config)).

%% One rule for a layer, an image and a state.
without_a_home_nothing_is_kept(Config) ->
    {Home, Xdg} = {os:getenv("HOME"), [{V, os:getenv(V)} || V <- ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"]]},
    {ok, Dir} = application:get_env(evum, disk_dir),
    ok = application:unset_env(evum, disk_dir),
    [true = os:unsetenv(V) || V <- ["HOME" | [V || {V, _} <- Xdg]]],
    Image = ?config(image, Config),
    {ok, Dists} = application:get_env(evum, dist),
    ok = application:set_env(evum, dist, [{fetched, [{uri, Image}]} | Dists]),
    Got = [evm:create([{dist, small}]), evm:fetch(fetched), evm:gc(), evm:states()],
    ok = application:set_env(evum, dist, Dists),
    [true = os:putenv(V, Value) || {V, Value} <- [{"HOME", Home} | Xdg], Value =/= false],
    ok = application:set_env(evum, disk_dir, Dir),
    [{error, no_home} = One || One <- Got],
    sentence(no_home).

%% Sparse when it is made, and again after what was written is deleted.
a_layer_costs_what_was_written(Config) ->
    V = vm([{dist, small}]),
    [Layer] = layers(Config),
    Used = fun() -> {0, Out, _} = evum_test_lib:sh(["du -k ", Layer]), list_to_integer(hd(string:lexemes(binary_to_list(Out), "\t"))) end,
    true = Used() < 2048,
    {ok, #{status := 0}} = evum:exec(V, "dd if=/dev/urandom of=/data/big bs=1M count=20 conv=fsync"),
    true = Used() > 20000,
    {ok, #{status := 0}} = evum:exec(V, "rm /data/big; sync"),
    until(fun() -> Used() < 20000 end),
    ok = evum:crash(V).
