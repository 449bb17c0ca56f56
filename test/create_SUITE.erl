%% SPDX-License-Identifier: Apache-2.0
%% What is asked for is what is made; what can't be made is refused in a sentence
-module(create_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).
-behaviour(supervisor).

-import(evum_test_lib, [vm/0, vm/1, stop/1, down/1, until/1, out/2, sentence/1, parallel/1]).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        options_are_a_proplist_or_a_map, the_label_names_process_and_guest, labels_are_evm1_and_so_on,
        a_label_in_use_is_refused, what_is_no_host_name_is_refused, twenty_callers_get_twenty_labels,
        twenty_callers_of_one_label_make_one_machine, list_and_stop_tell_the_truth, memory_is_what_was_asked,
        kernel_arguments_arrive, every_bad_option_is_named, what_cannot_boot_is_refused,
        too_little_time_names_the_stage, a_failed_boot_names_the_stage, wait_boot_false_returns_at_once,
        early_calls_wait_for_the_guest, fifty_machines_side_by_side, a_supervisor_restarts_what_crashed,
        a_stopped_application_leaves_nothing, without_the_application_it_says_so, verbose_shows_the_kernel,
        a_stranger_is_no_machine, a_linked_machine_is_found_without_the_application, who_dies_creating_leaves_nothing,
        a_create_that_meets_the_end_is_refused, what_only_evum_sets_is_refused_at_once, child_ids_are_unique,
        the_dists_are_told, a_file_of_dists_that_is_wrong_is_named
    ].

options_are_a_proplist_or_a_map(_) ->
    A = vm([{label, aa}, {mem, 48}]),
    B = vm(#{label => bb, mem => 48}),
    [#{label := aa, mem := 48, pid := A, state := up, dist := busybox}, #{label := bb, mem := 48, pid := B}] = evm:list(),
    C = vm([{label, cc}, {label, dd}]),
    C = whereis(cc),
    [stop(V) || V <- [A, B, C]].

the_label_names_process_and_guest(_) ->
    V = vm([{label, 'my-box'}]),
    V = whereis('my-box'),
    <<"my-box">> = out('my-box', "hostname"),
    stop('my-box'),
    undefined = whereis('my-box'),
    {error, noproc} = evum:send('my-box', "hostname").

labels_are_evm1_and_so_on(_) ->
    A = vm(),
    B = vm(),
    [evm1, evm2] = [L || #{label := L} <- evm:list()],
    stop(A),
    C = vm(),
    #{label := evm1} = evum:info(C),
    [stop(V) || V <- [B, C]].

a_label_in_use_is_refused(_) ->
    V = vm([{label, taken}]),
    {error, {label_in_use, taken} = Reason} = evm:create([{label, taken}]),
    {error, {label_in_use, init}} = evm:create([{label, init}]),
    {error, {label_in_use, taken}} = evum:start_link([{label, taken}]),
    sentence(Reason),
    stop(V),
    stop(vm([{label, taken}])).

what_is_no_host_name_is_refused(_) ->
    Long = list_to_atom(lists:duplicate(64, $a)),
    [{error, {bad_option, label}} = evm:create([{label, L}])
        || L <- [a_b, '', '-a', 'a-', 'a b', 'a.b', 'a/b', 'ä', Long, "text", <<"text">>, 1, undefined]],
    stop(vm([{label, list_to_atom(lists:duplicate(63, $a))}])).

twenty_callers_get_twenty_labels(_) ->
    Made = parallel([fun() -> evm:create([{owner, none}, {console, none}, {mem, 48}]) end || _ <- lists:seq(1, 20)]),
    Wanted = lists:sort([list_to_atom("evm" ++ integer_to_list(N)) || N <- lists:seq(1, 20)]),
    Wanted = lists:sort([maps:get(label, evum:info(V)) || {ok, V} <- Made]),
    [ok = R || R <- parallel([fun() -> evm:stop(V) end || {ok, V} <- Made])].

twenty_callers_of_one_label_make_one_machine(_) ->
    Made = parallel([fun() -> evm:create([{label, one}, {owner, none}]) end || _ <- lists:seq(1, 20)]),
    [V] = [V || {ok, V} <- Made],
    [{label_in_use, one}] = lists:usort([R || {error, R} <- Made]),
    stop(V).

list_and_stop_tell_the_truth(_) ->
    [] = evm:list(),
    V = vm([{label, ten10}]),
    W = vm([{label, ten9}]),
    [ten9, ten10] = [L || #{label := L} <- evm:list()],
    stop(ten10),
    [#{label := ten9, pid := W}] = evm:list(),
    {error, noproc} = evm:stop(ten10),
    {error, noproc} = evm:stop(V),
    {error, noproc} = evm:stop(init),
    {error, noproc} = evm:stop("ten9"),
    {error, {bad_option, grace}} = evum:stop(W, -1),
    ok = evum:stop(W, 0),
    [] = evm:list().

memory_is_what_was_asked(_) ->
    V = vm([{mem, 200}]),
    KiB = binary_to_integer(out(V, "awk '/MemTotal/ {print $2}' /proc/meminfo")),
    true = KiB > 170 * 1024 andalso KiB =< 200 * 1024,
    #{mem := 200} = evum:info(V),
    stop(V).

kernel_arguments_arrive(_) ->
    V = vm([{args, ["first.one=1", <<"second.one=2">>]}]),
    {match, _} = re:run(out(V, "cat /proc/cmdline"), "first.one=1 second.one=2"),
    stop(V).

every_bad_option_is_named(_) ->
    Bad = [
        {label, a_b}, {dist, "busybox"}, {net, true}, {net, "foo"}, {mem, 31}, {mem, 1048577}, {mem, lots}, {mem, -1},
        {kernel, 7}, {kernel, ""}, {kernel, "a\0b"}, {args, "quiet"}, {args, [""]}, {args, ["a\nb"]}, {args, [7]},
        {args, [lists:duplicate(3001, $a)]}, {args, foo}, {cpu, -1}, {cpu, 4096}, {cpu, one}, {console, loud},
        {owner, someone}, {owner, make_ref()}, {life, none}, {life, forever}, {wait_boot, 0}, {wait_boot, true},
        {wait_boot, -5}, {timeout, 0}, {on_reboot, maybe_}, {verbose, 1}, {frobnicate, 1}, {<<"mem">>, 64}
    ],
    [{O, {error, {bad_option, Key}}} = {O, Make(Opts)} || {Key, _} = O <- Bad, Opts <- [[O], maps:from_list([O])],
        Make <- [fun evm:create/1, fun evum:start/1, fun evum:start_link/1]],
    [sentence({bad_option, Key}) || {Key, _} <- Bad],
    [{error, {bad_option, _}} = evm:create(Junk) || Junk <- [foo, 1, <<"x">>, [1], [{a, b, c}], [{label, a} | b], {mem, 64}]],
    [] = evm:list().

what_cannot_boot_is_refused(_) ->
    Dir = "/tmp",
    Cases = [
        {[{dist, nosuch}], unknown_dist}, {[{kernel, "/nosuch"}], no_kernel}, {[{kernel, "/etc/passwd"}], bad_kernel},
        {[{kernel, Dir}], bad_kernel}, {[{kernel, "/bin/busybox"}], bad_kernel}, {[{cpu, 4000}], bad_option},
        {[{args, ["rdinit=/x"]}], bad_option}, {[{args, ["mem=4M"]}], bad_option}
    ],
    [begin
         {Opts, {error, Reason}} = {Opts, evm:create(Opts ++ [{label, refused}])},
         {Opts, Kind} = {Opts, element(1, Reason)},
         ct:pal("~p:~n~ts", [Opts, sentence(Reason)]),
         undefined = whereis(refused)
     end || {Opts, Kind} <- Cases],
    stop(vm()).

too_little_time_names_the_stage(_) ->
    [begin
         {error, {boot_failed, Stage, Lines} = Reason} = evm:create([{wait_boot, Ms}, {label, slow}]),
         true = lists:member(Stage, [spawn, kernel, init, root, agent]) andalso is_list(Lines),
         sentence(Reason),
         undefined = whereis(slow)
     end || Ms <- [1, 10, 25]],
    {error, {boot_failed, _, _}} = evm:create([{timeout, 5}]).

%% The stage that is named is the one that didn't come to its end.
a_failed_boot_names_the_stage(_) ->
    [begin
         {Arg, {error, {boot_failed, Stage, Lines} = Reason}} = {Arg, evm:create([{args, [Arg]}, {wait_boot, 10000}])},
         ct:pal("~s: ~p~n~ts", [Arg, Reason, sentence(Reason)]),
         {Arg, Wanted} = {Arg, Stage},
         {Arg, [_ | _]} = {Arg, Lines}
     end || {Arg, Wanted} <- [{"init=/nosuch", agent}, {"init=/etc", agent}]].

wait_boot_false_returns_at_once(_) ->
    {ok, V} = evm:create([{wait_boot, false}]),
    ok = evum:await(V, up, 10000),
    stop(V),
    {ok, W} = evm:create([{wait_boot, false}]),
    stop(W),
    {ok, X} = evm:create([{wait_boot, false}]),
    ok = evum:crash(X),
    {ok, Y} = evm:create([{wait_boot, false}, {args, ["init=/nosuch"]}]),
    {boot_failed, agent, _} = down(Y).

early_calls_wait_for_the_guest(_) ->
    {ok, V} = evm:create([{wait_boot, false}, {label, early}]),
    Echo = evum:send(V, "hostname"),
    {ok, #{stdout := <<"early\n">>}} = evum:exec(V, "hostname"),
    {match, _} = re:run(Echo, "hostname$"),
    stop(V).

fifty_machines_side_by_side(_) ->
    Opts = [{owner, none}, {console, none}, {mem, 64}],
    Made = parallel([fun() -> evm:create(Opts) end || _ <- lists:seq(1, 50)]),
    Vms = [V || {ok, V} <- Made],
    {50, []} = {length(Vms), [R || {error, R} <- Made]},
    Names = parallel([fun() -> out(V, "hostname") end || V <- Vms]),
    50 = length(lists:usort(Names)),
    50 = length([up || #{state := up} <- evm:list()]),
    [ok] = lists:usort(parallel([fun() -> evm:stop(V) end || V <- Vms])),
    [] = evm:list().

%% --- supervision --------------------------------------------------------------

init(Opts) -> {ok, {#{strategy => one_for_one}, [evum:child_spec(Opts)]}}.

child(Sup) ->
    [{_, Child, _, _}] = supervisor:which_children(Sup),
    Child.

a_supervisor_restarts_what_crashed(_) ->
    {ok, Sup} = supervisor:start_link(?MODULE, [{label, worker}]),
    unlink(Sup),
    First = child(Sup),
    ok = evum:await(First, up, 10000),
    ok = evum:crash(First),
    until(fun() -> P = child(Sup), is_pid(P) andalso P =/= First end),
    Second = child(Sup),
    ok = evum:await(worker, up, 10000),
    Second = whereis(worker),
    evum:send(worker, "poweroff"),
    {shutdown, halted} = down(Second),
    until(fun() -> child(Sup) =:= undefined end),
    {ok, Third} = supervisor:restart_child(Sup, worker),
    ok = evum:await(Third, up, 10000),
    Monitor = monitor(process, Third),
    exit(Sup, shutdown),
    shutdown = down(Sup, 20000),
    shutdown = evum_test_lib:monitored(Monitor, Third).

down(Pid, Ms) -> evum_test_lib:down(Pid, Ms).

a_stopped_application_leaves_nothing(_) ->
    Vms = [vm([{console, none}]) || _ <- lists:seq(1, 3)],
    {ok, Linked} = evum:start_link([{label, linked}, {wait_boot, 10000}]),
    unlink(Linked),
    Monitors = [{V, monitor(process, V)} || V <- Vms],
    Pids = lists:append([evum_test_lib:pids(V) || V <- Vms]),
    ok = application:stop(evum),
    [shutdown, shutdown, shutdown] = [evum_test_lib:monitored(M, V) || {V, M} <- Monitors],
    ok = evum_test_lib:gone(Pids, 1000),
    %% who linked a machine keeps it
    <<"linked">> = out(Linked, "hostname"),
    stop(Linked),
    ok = application:start(evum).

without_the_application_it_says_so(_) ->
    ok = application:stop(evum),
    [{error, not_started} = Make([]) || Make <- [fun evm:create/1, fun evum:start/1, fun evum:start_link/1]],
    sentence(not_started),
    ok = application:start(evum).

a_stranger_is_no_machine(_) ->
    Then = erlang:monotonic_time(millisecond),
    Dead = spawn(fun() -> ok end),
    [{{error, noproc}, _} = {F(P), P} || P <- [self(), whereis(init), whereis(evum_vm_sup), Dead, init, undefined],
        F <- [fun evum:info/1, fun evum:stop/1, fun evum:crash/1, fun evum:pause/1,
              fun(V) -> evum:exec(V, "true") end, fun(V) -> evum:send(V, "true") end]],
    true = erlang:monotonic_time(millisecond) - Then < 1000,
    [] = [M || {'$gen_cast', _} = M <- evum_test_lib:flush()].

a_linked_machine_is_found_without_the_application(_) ->
    {ok, V} = evum:start_link([{label, stays}, {wait_boot, 10000}]),
    unlink(V),
    ok = application:stop(evum),
    <<"stays">> = out(stays, "hostname"),
    [#{label := stays, pid := V}] = evm:list(),
    ok = application:start(evum),
    [#{label := stays, pid := V}] = evm:list(),
    stop(stays),
    [] = evm:list().

who_dies_creating_leaves_nothing(_) ->
    [begin
         Creator = spawn(fun() -> evm:create([{label, waited}, {owner, none}]) end),
         until(fun() -> is_pid(whereis(waited)) end),
         Vm = whereis(waited),
         Monitor = monitor(process, Vm),
         timer:sleep(Ms),
         exit(Creator, kill),
         {shutdown, {life, killed}} = evum_test_lib:monitored(Monitor, Vm),
         until(fun() -> evm:list() =:= [] end)
     end || Ms <- [0, 10, 30]],
    %% who doesn't wait doesn't matter, nor who has waited
    Self = self(),
    Options = [[{wait_boot, false}], []],
    [begin
         spawn(fun() -> Self ! {made, evm:create([{owner, none} | Opts])} end),
         {ok, V} = receive {made, Made} -> Made after 10000 -> error(stuck) end,
         ok = evum:await(V, up, 10000),
         stop(V)
     end || Opts <- Options].

a_create_that_meets_the_end_is_refused(_) ->
    Self = self(),
    Sup = whereis(evum_vm_sup),
    ok = sys:suspend(Sup),
    _ = spawn_link(fun() -> Self ! {made, evm:create()} end),
    %% its request is there, and nothing else reads it
    until(fun() -> process_info(Sup, message_queue_len) =/= {message_queue_len, 0} end),
    exit(Sup, kill),
    receive {made, {error, not_started}} -> ok after 20000 -> error(stuck) end,
    until(fun() -> is_pid(whereis(evum_vm_sup)) end).

what_only_evum_sets_is_refused_at_once(_) ->
    Bad = [{args, [A]} || A <- ["mem=4M", "con1=pts", "ssl0=null", "ubd5=/x", "umid=x", "hostfs=/", "evum.root=host",
                                "noreboot", "--", "initrd=/x", "vec0:transport=tap", "iomem=a,b"]] ++ [{cpu, 4000}],
    [{{error, {bad_option, Key}}, _} = {Make([Option]), Option} || {Key, _} = Option <- Bad,
        Make <- [fun evm:create/1, fun evum:start/1, fun evum:start_link/1, fun(O) -> evm:create([{wait_boot, false} | O]) end]],
    stop(vm([{args, ["console=tty0"]}])).

child_ids_are_unique(_) ->
    #{id := labelled} = evum:child_spec([{label, labelled}]),
    #{id := labelled} = evum:child_spec(#{label => labelled}),
    ok = supervisor:check_childspecs([evum:child_spec(O) || O <- [[], [], #{}, [{label, a}]]]).

verbose_shows_the_kernel(_) ->
    {ok, V} = evm:create([{verbose, true}]),
    [_ | _] = [L || L <- evum_test_lib:flush(), is_binary(L), re:run(L, "Linux version") =/= nomatch],
    stop(V).

the_dists_are_told(_) ->
    Dists = evm:dists(),
    [#{present := true}] = [D || #{dist := busybox} = D <- Dists],
    [#{present := true}] = [D || #{dist := host} = D <- Dists].

a_file_of_dists_that_is_wrong_is_named(Config) ->
    Home = os:getenv("XDG_CONFIG_HOME"),
    Dir = filename:join(?config(priv_dir, Config), "config"),
    File = filename:join([Dir, "evum", "evm.cfg"]),
    ok = filelib:ensure_dir(File),
    true = os:putenv("XDG_CONFIG_HOME", Dir),
    try
        [begin
             ok = file:write_file(File, Text),
             {error, {bad_config, _, Line, _} = Reason} = evm:create(),
             {Text, Line} = {Text, WantedLine},
             sentence(Reason)
         end || {Text, WantedLine} <- [
             {"{dist, [\n{mine, [{file, \"x\"}, {colour, red}]}]}.", 2}, {"{dist, [", 1}, {"\n{foo, []}.\n", 2},
             {<<"{dist, [{a, [{file, \"", 255, "\"}]}]}.">>, 1}
         ]]
    after
        ok = file:delete(File),
        case Home of false -> os:unsetenv("XDG_CONFIG_HOME"); _ -> os:putenv("XDG_CONFIG_HOME", Home) end
    end.
