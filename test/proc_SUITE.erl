%% SPDX-License-Identifier: Apache-2.0
%% A program in the guest is an Erlang process: links, monitors, the last word, input that waits
-module(proc_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, vm/1, stop/1, down/1, expect/2, flush/0, until/1, held/0, sentence/1, monitored/2, out/2, parallel/1]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        two_hundred_at_once_end_rightly, what_cannot_start_is_only_an_error, a_link_is_one,
        a_link_of_a_program_that_ended_well_hurts_nobody, the_owner_hears_every_end, a_killed_process_says_nothing,
        the_machines_end_is_everybodys, an_agents_end_is_everybodys, a_reboot_is_everybodys, kill_all_is_survived,
        time_is_up, a_killed_program_is_gone_at_once, killed_floods_cost_nothing, writers_wait_in_turn,
        a_late_writer_knows_what_was_taken, input_is_given_to_exec, any_bytes_go_both_ways, a_hundred_megabytes_go_through_cat, nobody_reads,
        an_owner_may_leave_other_messages, nobody_reads_on_another_node,
        a_terminal_is_one, a_terminals_size_changes, keys_of_a_terminal_are_keys, a_terminal_ends, a_users_terminal_is_his,
        a_fork_bomb_is_limited, a_fork_bomb_is_survived, a_memory_hog_is_limited, a_memory_hog_is_survived,
        a_node_that_is_gone_is_only_an_error, options_are_checked
    ].

with(Fun) ->
    V = vm(),
    _ = Fun(V),
    stop(V).

%% --- spawning ------------------------------------------------------------------

two_hundred_at_once_end_rightly(_) ->
    with(fun(V) ->
        One = fun(N) -> fun() ->
            Text = integer_to_list(N),
            {ok, P, M} = evum:spawn_monitor(V, "echo " ++ Text ++ "; exit " ++ Text),
            {all_of(P), monitored(M, P)}
        end end,
        [ok = ended_rightly(N, Reason, Ended)
            || {N, Ended} <- lists:zip(lists:seq(0, 199), parallel([One(N) || N <- lists:seq(0, 199)])),
               Reason <- [case N of 0 -> normal; _ -> {exit_status, N} end]]
    end).

ended_rightly(N, Reason, {Messages, Reason}) ->
    Text = <<(integer_to_binary(N))/binary, "\n">>,
    [{stdout, Text}, {exit, N}] = Messages,
    ok.

%% Everything up to the end.
all_of(P) ->
    receive
        {evum, P, {exit, _} = Exit} -> [Exit];
        {evum, P, Message} -> [Message | all_of(P)]
    after 20000 -> error({no_end, process_info(self(), messages)})
    end.

what_cannot_start_is_only_an_error(_) ->
    with(fun(V) ->
        process_flag(trap_exit, true),
        [{Spawn, {error, Reason}} = {Spawn, evum:Spawn(V, Cmd, Opts)}
            || Spawn <- [spawn, spawn_link, spawn_monitor],
               {Cmd, Opts, Reason} <- [{["/nosuch"], [], enoent}, {["/etc"], [], eacces}, {["/etc/passwd"], [], eacces},
                                       {"true", [{cd, "/nosuch"}], enoent}]],
        [{error, noproc} = evum:Spawn(nosuch, "true") || Spawn <- [spawn, spawn_link, spawn_monitor]],
        %% what was started ends, and only that is told
        {ok, P} = evum:spawn_link(V, "true"),
        receive {'EXIT', P, normal} -> ok end,
        [{evum, P, {exit, 0}}] = flush()
    end).

a_link_is_one(_) ->
    with(fun(V) ->
        {Pid, Monitor} = spawn_monitor(fun() ->
            {ok, _} = evum:spawn_link(V, "exit 3"),
            receive after infinity -> ok end
        end),
        {exit_status, 3} = monitored(Monitor, Pid),
        %% and the other way
        {Owner, Down} = spawn_monitor(fun() ->
            {ok, P} = evum:spawn_link(V, ["sleep", "1000"]),
            exit({started, P})
        end),
        {started, P} = monitored(Down, Owner),
        until(fun() -> not is_process_alive(P) end),
        until(fun() -> gone(V, "sleep") end)
    end).

gone(V, Name) ->
    {ok, #{status := Status}} = evum:exec(V, ["pidof", Name]),
    Status =:= 1.

a_link_of_a_program_that_ended_well_hurts_nobody(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn_link(V, "echo x"),
        [{stdout, <<"x\n">>}, {exit, 0}] = all_of(P)
    end).

%% --- the end -------------------------------------------------------------------

the_owner_hears_every_end(_) ->
    with(fun(V) ->
        [begin
             {ok, P, M} = evum:spawn_monitor(V, "exec 2>/dev/null; trap 'exit 5' TERM; echo on; while :; do sleep 0.02; done"),
             expect(P, {stdout, <<"on\n">>}),
             _ = Do(P),
             {What, [{exit, Ending}]} = {What, all_of(P)},
             {What, Reason} = {What, monitored(M, P)}
         end || {What, Do, Ending, Reason} <- [
            {term, fun(P) -> evum:signal(P, term) end, 5, {exit_status, 5}},
            {kill, fun(P) -> evum:signal(P, 9) end, {signal, kill}, {signal, kill}},
            {shutdown, fun(P) -> exit(P, shutdown) end, 5, shutdown},
            {shutdown2, fun(P) -> exit(P, {shutdown, x}) end, 5, {shutdown, x}},
            {other, fun(P) -> exit(P, foo) end, {signal, kill}, foo}
        ]],
        %% who ignores TERM is killed after two seconds
        {ok, Q, N} = evum:spawn_monitor(V, "trap '' TERM; echo on; while :; do sleep 0.02; done"),
        expect(Q, {stdout, <<"on\n">>}),
        exit(Q, shutdown),
        [{exit, {signal, kill}}] = all_of(Q),
        shutdown = monitored(N, Q),
        until(fun() -> gone(V, "sleep") end)
    end).

a_killed_process_says_nothing(_) ->
    with(fun(V) ->
        {ok, P, M} = evum:spawn_monitor(V, ["sleep", "1000"]),
        exit(P, kill),
        killed = monitored(M, P),
        until(fun() -> gone(V, "sleep") end),
        [] = evum_test_lib:notices(),
        {error, noproc} = evum:write(P, "x"),
        {error, noproc} = evum:write(P, "x", 1000),
        ok = evum:signal(P, term)
    end).

the_machines_end_is_everybodys(_) ->
    [begin
         V = vm(),
         Running = [evum:spawn_monitor(V, "echo on; exec sleep 1000") || _ <- lists:seq(1, 20)],
         [expect(P, {stdout, <<"on\n">>}) || {ok, P, _} <- Running],
         ok = evum:How(V),
         Ending = {vm_down, Reason},
         [{[{exit, Ending}], Ending} = {all_of(P), monitored(M, P)} || {ok, P, M} <- Running],
         sentence(Ending)
     end || {How, Reason} <- [{crash, crashed}, {stop, normal}]].

%% What the guest's root writes on the agent's line is believed: a new agent's
%% first frame is the end of all programs, whoever wrote it.
an_agents_end_is_everybodys(_) ->
    with(fun(V) ->
        {ok, P, M} = evum:spawn_monitor(V, "echo on; sleep 1000"),
        expect(P, {stdout, <<"on\n">>}),
        Hello = <<"um", 34, 0, 0:32, 9:32/little, 2:32/little, 0:32, "x">>,
        {ok, _} = evum:exec(V, "cat > /tmp/hello", [{stdin, Hello}]),
        %% a second agent within half a second is a guest that plays
        until(fun() -> {error, agent_restarted} =:= evum:exec(V, "cat /tmp/hello > /dev/tty15") end),
        [{exit, agent_restarted}] = all_of(P),
        agent_restarted = monitored(M, P),
        sentence(agent_restarted),
        {ok, #{stdout := <<"again\n">>}} = evum:exec(V, "echo again")
    end).

a_reboot_is_everybodys(_) ->
    V = vm(),
    {ok, P, M} = evum:spawn_monitor(V, "trap '' TERM; echo on; exec sleep 1000"),
    expect(P, {stdout, <<"on\n">>}),
    ok = evum:reboot(V),
    [{exit, {shutdown, rebooted}}] = all_of(P),
    {shutdown, rebooted} = monitored(M, P),
    <<"new">> = out(V, "echo new"),
    stop(V).

kill_all_is_survived(_) ->
    with(fun(V) ->
        {ok, P, M} = evum:spawn_monitor(V, "echo on; sleep 1000"),
        expect(P, {stdout, <<"on\n">>}),
        _ = evum:exec(V, "kill -9 -1"),
        [{exit, {signal, kill}}] = all_of(P),
        {signal, kill} = monitored(M, P),
        <<"alive">> = out(V, "echo alive")
    end).

time_is_up(_) ->
    with(fun(V) ->
        {ok, P, M} = evum:spawn_monitor(V, "echo on; exec sleep 1000", [{timeout, 500}]),
        [{stdout, <<"on\n">>}, {exit, timeout}] = all_of(P),
        timeout = monitored(M, P),
        sentence(timeout),
        until(fun() -> gone(V, "sleep") end),
        {ok, Q} = evum:spawn(V, "true", [{timeout, 50000}]),
        [{exit, 0}] = all_of(Q),
        ok = evum:pause(V),
        {error, {timeout, start} = Reason} = evum:spawn_monitor(V, "true", [{timeout, 200}]),
        sentence(Reason),
        ok = evum:resume(V)
    end).

%% On a host that has other work one may have to wait for its turn, but not each of five.
a_killed_program_is_gone_at_once(_) ->
    with(fun(V) ->
        Took = [killed_after(V) || _ <- lists:seq(1, 5)],
        ct:pal("gone after so many s: ~0p", [Took]),
        true = lists:min(Took) =< 0.1
    end).

%% What the guest itself sees, by its own clock.
killed_after(V) ->
    Watch = "while pidof cat >/dev/null; do :; done; cut -d' ' -f1 /proc/uptime",
    {ok, P} = evum:spawn_link(V, ["cat"]),
    {ok, Watcher} = evum:spawn(V, "echo on; " ++ Watch),
    expect(Watcher, {stdout, <<"on\n">>}),
    Before = binary_to_float(out(V, "cut -d' ' -f1 /proc/uptime")),
    unlink(P),
    exit(P, kill),
    After = receive {evum, Watcher, {stdout, Text}} -> binary_to_float(string:trim(Text)) after 20000 -> error(not_gone) end,
    expect(Watcher, {exit, 0}),
    After - Before.

%% Of a program that is killed while nobody takes its output nothing is kept anywhere.
killed_floods_cost_nothing(_) ->
    with(fun(V) ->
        Flood = fun() ->
            {ok, P} = evum:spawn(V, ["cat", "/dev/zero"]),
            receive {evum, P, {stdout, _}} -> exit(P, kill) end
        end,
        %% more than the agent has places for
        [ok = begin Flood(), _ = flush(), ok end || _ <- lists:seq(1, 530)],
        until(fun() -> gone(V, "cat") end),
        0 = maps:get(programs, evum:info(V))
    end).

%% --- input -----------------------------------------------------------------------

writers_wait_in_turn(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, ["cat"]),
        Size = 300000,
        Writers = [spawn_monitor(fun() -> exit(evum:write(P, binary:copy(<<C>>, Size), 20000)) end) || C <- "abc"],
        Got = receive_bytes(P, 3 * Size, <<>>),
        [ok = monitored(M, W) || {W, M} <- Writers],
        %% each one's bytes are together
        [$a, $b, $c] = lists:sort(runs(Got)),
        ok = evum:write(P, eof, 1000),
        {error, closed} = evum:write(P, "x", 1000),
        expect(P, {exit, 0})
    end).

receive_bytes(_P, N, Got) when byte_size(Got) =:= N -> Got;
receive_bytes(P, N, Got) ->
    receive {evum, P, {stdout, Bytes}} -> receive_bytes(P, N, <<Got/binary, Bytes/binary>>)
    after 20000 -> error({stuck, byte_size(Got)})
    end.

runs(<<C, _/binary>> = Bytes) ->
    case re:run(Bytes, "^" ++ [C] ++ "+", [{capture, first, index}]) of
        {match, [{0, N}]} -> [C | runs(binary:part(Bytes, N, byte_size(Bytes) - N))]
    end;
runs(<<>>) -> [].

a_late_writer_knows_what_was_taken(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, "while [ ! -e /tmp/go ]; do sleep 0.02; done; exec cat"),
        Bytes = crypto:strong_rand_bytes(3000000),
        {error, {timeout, N} = Reason} = evum:write(P, Bytes, 300),
        sentence(Reason),
        true = N >= 65536,
        true = N < byte_size(Bytes),
        {error, {busy, 0}} = evum:write(P, "x"),
        {error, {timeout, 0}} = evum:write(P, "x", 0),
        %% a waiting one is answered when the program takes it, and nobody's byte is lost or there twice
        Second = crypto:strong_rand_bytes(200000),
        {_, M} = spawn_monitor(fun() -> exit(evum:write(P, Second, 20000)) end),
        {ok, _} = evum:exec(V, "touch /tmp/go"),
        Wanted = <<(binary:part(Bytes, 0, N))/binary, Second/binary>>,
        Wanted = receive_bytes(P, byte_size(Wanted), <<>>),
        receive {'DOWN', M, process, _, ok} -> ok end,
        expect(P, stdin_ready),
        ok = evum:write(P, eof),
        expect(P, {exit, 0})
    end).

input_is_given_to_exec(_) ->
    with(fun(V) ->
        Bytes = crypto:strong_rand_bytes(1000000),
        {ok, #{stdout := Bytes}} = evum:exec(V, ["cat"], [{stdin, [Bytes]}]),
        {ok, #{stdout := <<"2\n">>}} = evum:exec(V, "wc -l", [{stdin, ["a\n", <<"b\n">>]}]),
        {ok, #{stdout := <<>>}} = evum:exec(V, ["cat"], [{stdin, ""}]),
        %% who doesn't read it isn't waited for
        {ok, #{status := 4}} = evum:exec(V, "exit 4", [{stdin, Bytes}])
    end).

any_bytes_go_both_ways(_) ->
    with(fun(V) ->
        All = list_to_binary(lists:seq(0, 255)),
        {ok, P} = evum:spawn(V, ["cat"]),
        ok = evum:write(P, All, 1000),
        All = receive_bytes(P, 256, <<>>),
        exit(P, kill),
        {ok, #{stdout := All, stderr := <<255>>}} = evum:exec(V, "cat; printf '\\377' >&2", [{stdin, All}])
    end).

%% --- much --------------------------------------------------------------------------

a_hundred_megabytes_go_through_cat(_) ->
    with(fun(V) ->
        Piece = crypto:strong_rand_bytes(1048576),
        Wanted = lists:foldl(fun(_, Acc) -> crypto:hash_update(Acc, Piece) end, crypto:hash_init(sha256), lists:seq(1, 100)),
        {ok, P} = evum:spawn_link(V, ["cat"]),
        Before = held(),
        {Sum, Most} = pump(P, {Piece, 100}, <<>>, crypto:hash_init(sha256), memory(V)),
        Sum = crypto:hash_final(Wanted),
        #{held := Held, port := Port} = Most,
        {true, Before, Most} = {Held - Before < 30000000 andalso Port < 30000000, Before, Most}
    end).

%% One process writes and reads.
pump(P, Left, Rest, Sum, Most) ->
    {Left1, Rest1} = write_some(P, Left, Rest),
    receive
        {evum, P, {stdout, Bytes}} -> pump(P, Left1, Rest1, crypto:hash_update(Sum, Bytes), more(Most));
        {evum, P, stdin_ready} -> pump(P, Left1, Rest1, Sum, Most);
        {evum, P, {exit, 0}} -> {crypto:hash_final(Sum), Most}
    after 20000 -> error(stuck)
    end.

write_some(_P, done, <<>>) -> {done, <<>>};
write_some(P, {_, 0} = Left, <<>>) ->
    case evum:write(P, eof) of ok -> {done, <<>>}; {error, {busy, 0}} -> {Left, <<>>} end;
write_some(P, {Piece, N}, <<>>) -> write_some(P, {Piece, N - 1}, Piece);
write_some(P, Left, Rest) ->
    case evum:write(P, Rest) of
        ok -> write_some(P, Left, <<>>);
        {error, {busy, N}} -> {Left, binary:part(Rest, N, byte_size(Rest) - N)}
    end.

memory(V) -> #{held => 0, port => 0, pid => evum_test_lib:port_pid(V), n => 0}.

more(#{held := Held, port := Port, pid := Pid, n := N} = Most) when N rem 50 =:= 0 ->
    Most#{held => max(Held, held()), port => max(Port, rss(Pid)), n => N + 1};
more(#{n := N} = Most) -> Most#{n => N + 1}.

rss(Pid) ->
    {ok, Statm} = file:read_file("/proc/" ++ integer_to_list(Pid) ++ "/statm"),
    4096 * binary_to_integer(lists:nth(2, binary:split(Statm, <<" ">>, [global]))).

%% What nobody takes stalls who prints it, and no other: here, in the machine, in the port.
nobody_reads(_) ->
    with(fun(V) ->
        Before = held(),
        Floods = [P || _ <- lists:seq(1, 10), {ok, P} <- [evum:spawn(V, "cat /dev/zero & cat /dev/zero >&2")]],
        until(fun() ->
            {message_queue_len, N} = process_info(self(), message_queue_len),
            [<<"others run">> = out(V, "echo others run") || _ <- lists:seq(1, 10)],
            {message_queue_len, N} =:= process_info(self(), message_queue_len)
        end, 20000),
        %% 16 MiB, and of each two windows here and one more in the mailbox
        Bound = 16777216 + 10 * 4 * 262144 + 4000000,
        Grown = held() - Before,
        {true, Grown} = {Grown < Bound, Grown},
        {true, _} = {rss(evum_test_lib:port_pid(V)) < 30000000, rss(evum_test_lib:port_pid(V))},
        [exit(P, kill) || P <- Floods],
        until(fun() -> gone(V, "cat") end),
        _ = flush()
    end).

%% Who has thousands of other messages, and another program's output, gets what he waits for.
an_owner_may_leave_other_messages(_) ->
    with(fun(V) ->
        [self() ! {left, N} || N <- lists:seq(1, 5000)],
        {ok, Left} = evum:spawn(V, "cat /dev/zero"),
        until(fun() -> {_, Size} = evum_proc_out:unreceived(self(), Left), Size > 16777216 end),
        {ok, P} = evum:spawn(V, "head -c 20000000 /dev/zero"),
        {20000000, {exit, 0}} = received(P, 0),
        exit(Left, kill),
        _ = flush()
    end).

received(P, Size) ->
    receive
        {evum, P, {stdout, Bytes}} -> received(P, Size + byte_size(Bytes));
        {evum, P, {exit, _} = Exit} -> {Size, Exit}
    after 20000 -> error({stuck, Size})
    end.

%% An owner elsewhere isn't drowned either, and gets all when he reads.
nobody_reads_on_another_node(_) ->
    {ok, Peer, Node} = evum_test_lib:peer(),
    with(fun(V) ->
        Owner = spawn(Node, ?MODULE, far_owner, [self(), V]),
        receive {Owner, started} -> ok end,
        Length = fun() -> element(2, erpc:call(Node, erlang, process_info, [Owner, message_queue_len])) end,
        until(fun() -> Length() > 20 end),
        until(fun() -> N = Length(), [<<>> = out(V, "true") || _ <- lists:seq(1, 20)], N =:= Length() end),
        {true, _} = {erpc:call(Node, erlang, memory, [binary]) < 40000000, erpc:call(Node, erlang, memory, [binary])},
        Owner ! read,
        receive {Owner, 50000000} -> ok end
    end),
    ok = peer:stop(Peer),
    ok = net_kernel:stop().

far_owner(To, V) ->
    {ok, P} = evum:spawn(V, "head -c 50000000 /dev/zero"),
    To ! {self(), started},
    receive read -> ok end,
    Size = lists:sum([byte_size(B) || {stdout, B} <- all_of(P)]),
    To ! {self(), Size}.

until(Condition, Ms) -> evum_test_lib:until(Condition, Ms).

%% --- terminals -----------------------------------------------------------------------

a_terminal_is_one(_) ->
    with(fun(V) ->
        {ok, #{status := 0, stdout := Out, stderr := <<>>}} = evum:exec(V, "tty; stty size; echo err >&2", [pty]),
        {match, _} = re:run(Out, "^/dev/pts/[0-9]+\r\n24 80\r\nerr\r\n$"),
        {ok, #{stdout := <<"7 9\r\n">>}} = evum:exec(V, "stty size", [{pty, {7, 9}}]),
        {ok, #{status := 1, stdout := <<"not a tty\n">>}} = evum:exec(V, "tty; exit 1", [{pty, false}]),
        %% a job's end by a signal, its status, and the terminal's programs in its foreground
        {ok, #{status := 3}} = evum:exec(V, "exit 3", [pty]),
        {ok, #{status := {signal, term}}} = evum:exec(V, "kill $$", [pty])
    end).

a_terminals_size_changes(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, "trap 'stty size' WINCH; echo on; while :; do sleep 0.02; done", [pty]),
        expect(P, {stdout, <<"on\r\n">>}),
        ok = evum:winsize(P, {50, 132}),
        expect(P, {stdout, <<"50 132\r\n">>}),
        exit(P, kill),
        %% who has none isn't disturbed
        {ok, Q} = evum:spawn(V, ["cat"]),
        ok = evum:winsize(Q, {50, 132}),
        ok = evum:write(Q, "x", 1000),
        expect(Q, {stdout, <<"x">>}),
        exit(Q, kill)
    end).

keys_of_a_terminal_are_keys(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, "trap 'echo got; exit 9' INT; echo on; while :; do sleep 0.02; done", [pty]),
        expect(P, {stdout, <<"on\r\n">>}),
        ok = evum:write(P, <<3>>),
        {exit, 9} = lists:last(all_of(P)),
        {ok, Q} = evum:spawn(V, "exec cat", [pty]),
        ok = evum:write(Q, "abc\n"),
        <<"abc\r\nabc\r\n">> = receive_bytes(Q, 10, <<>>),
        ok = evum:write(Q, <<4>>),
        {exit, 0} = lists:last(all_of(Q))
    end).

a_terminal_ends(_) ->
    with(fun(V) ->
        %% its end of input is a key
        {ok, P} = evum:spawn(V, "cat; echo after", [pty]),
        ok = evum:write(P, eof),
        {error, closed} = evum:write(P, "x"),
        Messages = all_of(P),
        {exit, 0} = lists:last(Messages),
        {match, _} = re:run([B || {stdout, B} <- Messages], "after"),
        {ok, #{stdout := Out}} = evum:exec(V, "read x; echo got $x", [pty, {stdin, "abc\n"}]),
        {match, _} = re:run(Out, "got abc"),
        %% and with its process all in it go
        {ok, Q} = evum:spawn(V, "sleep 1000 | sleep 1000", [pty]),
        until(fun() -> not gone(V, "sleep") end),
        exit(Q, kill),
        until(fun() -> gone(V, "sleep") end)
    end).

a_users_terminal_is_his(_) ->
    with(fun(V) ->
        {ok, #{status := 0, stdout := Out}} = evum:exec(V, "id -un; echo x > $(tty); stat -c %U $(tty)", [pty, {user, "nobody"}]),
        {match, _} = re:run(Out, "^nobody\r\nx\r\nnobody\r\n$")
    end).

%% --- limits ----------------------------------------------------------------------------

-define(BOMB, "f() { f | f & }; f 2>/dev/null; while :; do sleep 1; done").

a_fork_bomb_is_limited(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, ?BOMB, [{max_procs, 20}]),
        [begin
             {ok, #{stdout := N}} = evum:exec(V, "ps | grep -c '[s]h -c f()' || true"),
             true = binary_to_integer(string:trim(N)) =< 20
         end || _ <- lists:seq(1, 20)],
        exit(P, kill),
        until(fun() -> <<"0">> =:= out(V, "ps | grep -c '[s]h -c f()' || true") end)
    end).

%% Nobody limits it: the agent lives on, and so does who is next when it was killed.
a_fork_bomb_is_survived(_) ->
    with(fun(V) ->
        {ok, P, M} = evum:spawn_monitor(V, ?BOMB),
        _ = evum:exec(V, "true", [{timeout, 1000}]),
        exit(P, kill),
        killed = monitored(M, P),
        until(fun() -> {ok, #{stdout => <<"alive\n">>, stderr => <<>>, status => 0}} =:= evum:exec(V, "echo alive", [{timeout, 5000}]) end, 30000),
        until(fun() -> <<"0">> =:= out(V, "ps | grep -c '[s]h -c f()' || true") end, 20000)
    end).

a_memory_hog_is_limited(_) ->
    V = vm([{mem, 128}]),
    {ok, Bystander} = evum:spawn(V, ["cat"]),
    {ok, #{status := {signal, kill}}} = evum:exec(V, ["tail", "/dev/zero"], [{max_mem, 16}]),
    {ok, #{status := 0}} = evum:exec(V, "head -c 1000000 /dev/zero | tail > /dev/null", [{max_mem, 16}]),
    ok = evum:write(Bystander, "x"),
    expect(Bystander, {stdout, <<"x">>}),
    stop(V).

a_memory_hog_is_survived(_) ->
    with(fun(V) ->
        {ok, #{status := {signal, kill}}} = evum:exec(V, ["tail", "/dev/zero"]),
        <<"alive">> = out(V, "echo alive")
    end).

%% --- nodes -----------------------------------------------------------------------------

a_node_that_is_gone_is_only_an_error(_) ->
    {ok, Peer, Node} = evum_test_lib:peer(),
    {ok, _} = erpc:call(Node, application, ensure_all_started, [evum]),
    {ok, V} = erpc:call(Node, evm, create, [[{owner, none}]]),
    {ok, P} = evum:spawn_link(V, "echo far"),
    [{stdout, <<"far\n">>}, {exit, 0}] = all_of(P),
    ok = peer:stop(Peer),
    process_flag(trap_exit, true),
    _ = flush(),
    [{error, noconnection} = evum:Spawn(V, "true") || Spawn <- [exec, spawn, spawn_link, spawn_monitor]],
    sentence(noconnection),
    [] = flush(),
    ok = net_kernel:stop().

%% --- options ---------------------------------------------------------------------------

options_are_checked(_) ->
    with(fun(V) ->
        [{error, {bad_option, K}} = evum:Spawn(V, "true", [{K, Bad}])
            || Spawn <- [spawn, spawn_link, spawn_monitor],
               {K, Bad} <- [{timeout, 0}, {timeout, 16#ffffffff}, {max_output, 5}, {stdin, "x"}, {pty, {0, 0}}, {max_procs, 0}, {max_mem, a}, {builtin, true}]],
        [sentence({bad_option, K}) || K <- [timeout, stdin, pty, max_procs, max_mem, winsize]],
        {ok, P} = evum:spawn(V, ["cat"]),
        %% as long as can be, and longer
        Longest = 2000000000,
        {ok, #{status := 0}} = evum:exec(V, "true", [{timeout, Longest}]),
        ok = evum:write(P, "x", Longest),
        ok = evum:await(V, up, Longest),
        <<_/binary>> = evum:send(V, "true", Longest),
        [[{error, {bad_option, timeout}} = Was || Was <- [evum:exec(V, "true", [{timeout, Ms}]), evum:write(P, "x", Ms),
                                                          evum:await(V, up, Ms), evum:send(V, "true", Ms)]]
            || Ms <- [infinity, 16#ffffffff, -1]],
        [{error, {bad_option, winsize}} = evum:winsize(P, Bad) || Bad <- [{0, 1}, {1, 65536}, 24, {a, b}]],
        exit(P, kill)
    end).
