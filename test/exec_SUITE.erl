%% SPDX-License-Identifier: Apache-2.0
%% Programs in the guest: their status, their output, their limits
-module(exec_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, stop/1, down/1, expect/2, until/1, sentence/1, monitored/2]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        outputs_are_apart_and_the_status_is_told, signals_are_named, strings_and_lists, bytes_are_bytes,
        environment_directory_and_user, what_cannot_run_is_told, what_is_no_command_is_refused, input_is_empty,
        a_timeout_keeps_what_was_printed, max_output_keeps_what_fits, much_output_is_whole, a_hundred_at_once,
        a_background_program_holds_nobody, the_end_of_the_machine_is_told, spawned_programs_talk, input_is_flow_controlled,
        a_full_mailbox_gets_a_programs_end, what_timed_out_in_the_boot_never_runs, a_programs_end_is_its_exit_reason, an_exit_signal_ends_the_program, a_dead_owner_ends_the_program,
        signals_reach_the_group, killing_everything_spares_the_agent
    ].

with(Fun) ->
    V = vm(),
    _ = Fun(V),
    stop(V).

outputs_are_apart_and_the_status_is_told(_) ->
    with(fun(V) ->
        {ok, #{status := 3, stdout := <<"out\n">>, stderr := <<"err\n">>}} = evum:exec(V, "echo out; echo err >&2; exit 3"),
        [{ok, #{status := N, stdout := <<>>, stderr := <<>>}} = evum:exec(V, "exit " ++ integer_to_list(N)) || N <- [0, 1, 7, 127, 128, 255]]
    end).

signals_are_named(_) ->
    with(fun(V) ->
        [{S, {ok, #{status := {signal, S}}}} = {S, evum:exec(V, "kill -" ++ Name ++ " $$; sleep 5")}
            || {S, Name} <- [{kill, "KILL"}, {term, "TERM"}, {hup, "HUP"}, {segv, "SEGV"}, {usr1, "USR1"}]]
    end).

strings_and_lists(_) ->
    with(fun(V) ->
        [{ok, #{status := 0, stdout := <<"a  b\n">>}} = evum:exec(V, Cmd)
            || Cmd <- ["echo 'a  b'", <<"echo 'a  b'">>, ["echo", "a  b"], [<<"/bin/echo">>, "a  b"]]],
        {ok, #{stdout := <<"$HOME;*\n">>}} = evum:exec(V, ["echo", "$HOME;*"])
    end).

bytes_are_bytes(_) ->
    with(fun(V) ->
        All = list_to_binary(lists:seq(1, 255)),
        {ok, #{stdout := All}} = evum:exec(V, [<<"printf">>, <<"%s">>, All]),
        {ok, #{stdout := <<0, 255, 10, 254>>, stderr := <<253>>}} = evum:exec(V, "printf '\\000\\377\\n\\376'; printf '\\375' >&2"),
        Text = <<"grün €"/utf8>>,
        {ok, #{stdout := Text}} = evum:exec(V, ["printf", "%s", "grün €"])
    end).

environment_directory_and_user(_) ->
    with(fun(V) ->
        {ok, #{stdout := <<"b c\n/tmp\n65534\n">>}} =
            evum:exec(V, "echo \"$A\"; pwd; id -u", #{env => #{"A" => "b c"}, cd => "/tmp", user => 65534}),
        {ok, #{stdout := <<"nobody\n">>}} = evum:exec(V, "id -un", [{user, "nobody"}]),
        {ok, #{stdout := <<"1 2\n">>}} = evum:exec(V, "echo $A $B", [{env, [{"A", "1"}, {<<"B">>, <<"2">>}]}]),
        {ok, #{stdout := Path}} = evum:exec(V, "echo $PATH $HOME"),
        <<"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", _/binary>> = Path
    end).

what_cannot_run_is_told(_) ->
    with(fun(V) ->
        {error, enoent} = evum:exec(V, ["/nosuch"]),
        {error, enoent} = evum:exec(V, ["nosuch"]),
        {error, eacces} = evum:exec(V, ["/etc"]),
        {error, eacces} = evum:exec(V, ["/etc/passwd"]),
        {error, enoent} = evum:exec(V, "true", [{cd, "/nosuch"}]),
        {error, NoUser} = evum:exec(V, "true", [{user, "nosuch"}]),
        sentence(NoUser),
        {ok, #{status := 127}} = evum:exec(V, "nosuch"),
        {error, enoent} = evum:spawn(V, ["/nosuch"], []),
        {ok, #{status := 0}} = evum:exec(V, "true")
    end).

what_is_no_command_is_refused(_) ->
    with(fun(V) ->
        [{error, {bad_command, _}} = evum:exec(V, C) || C <- [[], <<>>, foo, 7, [foo], ["a\0b"], [""], {a}, [["a", b]]]],
        [{error, {bad_option, K}} = evum:exec(V, "true", [{K, Bad}])
            || {K, Bad} <- [{timeout, 0}, {timeout, infinity}, {max_output, 0}, {env, [a]}, {env, [{"A=", "x"}]}, {cd, ""}, {cd, 7}, {user, -1}, {user, foo}, {colour, red}]],
        {error, e2big} = evum:exec(V, ["echo", lists:duplicate(200000, $a)]),
        {error, noproc} = evum:exec(nosuch, "true"),
        {error, noproc} = evum:exec(init, "true"),
        [sentence(R) || R <- [e2big, noproc, {bad_command, foo}]]
    end).

input_is_empty(_) ->
    with(fun(V) -> {ok, #{status := 0, stdout := <<>>}} = evum:exec(V, ["cat"]) end).

a_timeout_keeps_what_was_printed(_) ->
    with(fun(V) ->
        {error, {timeout, #{stdout := <<"a\n">>, stderr := <<"b\n">>}} = Reason} =
            evum:exec(V, "echo a; echo b >&2; sleep 1000", [{timeout, 500}]),
        sentence(Reason),
        until(fun() -> {ok, #{status := S}} = evum:exec(V, "pidof sleep"), S =:= 1 end)
    end).

max_output_keeps_what_fits(_) ->
    with(fun(V) ->
        {error, {max_output, #{stdout := Out}} = Reason} = evum:exec(V, "yes", [{max_output, 100000}]),
        100000 = byte_size(Out),
        sentence(Reason),
        {ok, #{stdout := Exactly}} = evum:exec(V, "head -c 5000 /dev/zero", [{max_output, 5000}]),
        5000 = byte_size(Exactly),
        until(fun() -> {ok, #{status := S}} = evum:exec(V, "pidof yes"), S =:= 1 end)
    end).

much_output_is_whole(_) ->
    with(fun(V) ->
        {ok, #{stdout := Out, stderr := Sum}} =
            evum:exec(V, "head -c 6000000 /dev/urandom > /tmp/f; md5sum < /tmp/f | cut -c1-32 >&2; cat /tmp/f"),
        6000000 = byte_size(Out),
        Wanted = string:lowercase(binary:encode_hex(crypto:hash(md5, Out))),
        Wanted = string:trim(Sum)
    end).

a_hundred_at_once(_) ->
    with(fun(V) ->
        Run = fun(N) -> fun() -> evum:exec(V, "echo " ++ integer_to_list(N) ++ "; exit " ++ integer_to_list(N)) end end,
        Results = evum_test_lib:parallel([Run(N) || N <- lists:seq(1, 100)]),
        [{ok, #{status := N, stdout := Out}} = R || {N, R} <- lists:zip(lists:seq(1, 100), Results),
            Out <- [<<(integer_to_binary(N))/binary, "\n">>]]
    end).

a_background_program_holds_nobody(_) ->
    with(fun(V) ->
        {ok, #{status := 0, stdout := <<"done\n">>}} = evum:exec(V, "sleep 1000 & echo done", [{timeout, 5000}])
    end).

the_end_of_the_machine_is_told(_) ->
    V = vm(),
    Self = self(),
    spawn_link(fun() -> Self ! {told, evum:exec(V, "sleep 1000")} end),
    {ok, P} = evum:spawn(V, "sleep 1000", []),
    Monitor = monitor(process, P),
    until(fun() -> maps:get(programs, evum:info(V)) =:= 2 end),
    ok = evum:crash(V),
    receive {told, {error, {vm_down, crashed} = Reason}} -> sentence(Reason) after 20000 -> error(not_told) end,
    {vm_down, crashed} = monitored(Monitor, P),
    {error, noproc} = evum:exec(V, "true").

spawned_programs_talk(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, ["cat"], []),
        ok = evum:write(P, "hello"),
        expect(P, {stdout, <<"hello">>}),
        ok = evum:write(P, ""),
        ok = evum:write(P, eof),
        {error, closed} = evum:write(P, "more"),
        expect(P, {exit, 0}),
        normal = down_or_gone(P),
        {error, noproc} = evum:write(P, "x"),
        {ok, Q} = evum:spawn(V, "echo err >&2; exit 9", []),
        expect(Q, {stderr, <<"err\n">>}),
        expect(Q, {exit, 9})
    end).

down_or_gone(P) ->
    case down(P) of
        noproc -> normal;
        Reason -> Reason
    end.

input_is_flow_controlled(_) ->
    with(fun(V) ->
        Bytes = crypto:strong_rand_bytes(700000),
        {ok, P} = evum:spawn(V, ["cat"], []),
        Bytes = pump(P, Bytes, <<>>)
    end).

pump(P, Left, Got) ->
    Next = case Left of
        done -> done;
        <<>> -> case evum:write(P, eof) of ok -> done; {error, {busy, 0}} -> <<>> end;
        _ ->
            case evum:write(P, Left) of
                ok -> <<>>;
                {error, {busy, N}} -> binary:part(Left, N, byte_size(Left) - N)
            end
    end,
    receive
        {evum, P, {stdout, Bytes}} -> pump(P, Next, <<Got/binary, Bytes/binary>>);
        {evum, P, stdin_ready} -> pump(P, Next, Got);
        {evum, P, {exit, 0}} -> Got
    after 10000 -> error({stuck, byte_size(Got)})
    end.

%% The owner waits for his program only, past whatever else is in his mailbox.
a_full_mailbox_gets_a_programs_end(_) ->
    with(fun(V) ->
        [self() ! {junk, N} || N <- lists:seq(1, 1500)],
        {ok, P} = evum:spawn(V, "echo out; echo err >&2; exit 3", []),
        [expect(P, M) || M <- [{stdout, <<"out\n">>}, {stderr, <<"err\n">>}, {exit, 3}]],
        {ok, Q} = evum:spawn(V, "head -c 100000 /dev/zero", []),
        100000 = received(Q, 0),
        %% one that goes on waits: 16 MiB are sent, and the rest of a window
        {ok, R} = evum:spawn(V, "cat /dev/zero", []),
        Sent = fun() -> {Size, Size} = evum_proc_out:unreceived(self(), R), Size end,
        until(fun() -> Sent() >= 16777216 end),
        [{ok, #{status := 0}} = evum:exec(V, "true") || _ <- lists:seq(1, 10)],
        true = Sent() < 16777216 + 2 * 262144,
        exit(R, kill),
        1500 = length([J || {junk, _} = J <- evum_test_lib:flush()])
    end).

received(P, N) ->
    receive
        {evum, P, {stdout, Bytes}} -> received(P, N + byte_size(Bytes));
        {evum, P, {exit, 0}} -> N
    after 20000 -> error({stalled, N})
    end.

what_timed_out_in_the_boot_never_runs(_) ->
    {ok, V} = evm:create([{wait_boot, false}]),
    {error, {timeout, #{stdout := <<>>}}} = evum:exec(V, "touch /tmp/ran", [{timeout, 1}]),
    ok = evum:await(V, up, 10000),
    {ok, #{status := 1}} = evum:exec(V, "test -e /tmp/ran"),
    stop(V).

a_programs_end_is_its_exit_reason(_) ->
    with(fun(V) ->
        [begin
             {ok, P} = evum:spawn(V, "read x; " ++ Cmd, []),
             Monitor = monitor(process, P),
             ok = evum:write(P, "\n"),
             Reason = monitored(Monitor, P)
         end || {Cmd, Reason} <- [{"exit 0", normal}, {"exit 4", {exit_status, 4}}, {"kill -9 $$", {signal, kill}}]]
    end).

an_exit_signal_ends_the_program(_) ->
    with(fun(V) ->
        Term = "trap 'echo termed; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
        {ok, P} = evum:spawn(V, Term, []),
        expect(P, {stdout, <<"ready\n">>}),
        Asked = monitor(process, P),
        exit(P, shutdown),
        shutdown = monitored(Asked, P),
        {ok, Q} = evum:spawn(V, "trap '' TERM; echo ready; while :; do sleep 0.05; done", []),
        expect(Q, {stdout, <<"ready\n">>}),
        Killed = monitor(process, Q),
        exit(Q, kill),
        killed = monitored(Killed, Q),
        until(fun() -> {ok, #{status := S}} = evum:exec(V, "ps | grep '[t]rap '"), S =:= 1 end)
    end).

a_dead_owner_ends_the_program(_) ->
    with(fun(V) ->
        {_, Monitor} = spawn_monitor(fun() ->
            {ok, P} = evum:spawn(V, "exec sleep 1234", []),
            exit({program, P})
        end),
        receive {'DOWN', Monitor, process, _, {program, P}} -> {shutdown, owner_down} = owner_down(down(P)) end,
        until(fun() -> {ok, #{status := S}} = evum:exec(V, "pidof sleep"), S =:= 1 end)
    end).

owner_down(noproc) -> {shutdown, owner_down};
owner_down(Reason) -> Reason.

signals_reach_the_group(_) ->
    with(fun(V) ->
        {ok, P} = evum:spawn(V, "sleep 1000 | sleep 1000", []),
        Monitor = monitor(process, P),
        until(fun() -> {ok, #{stdout := O}} = evum:exec(V, "pidof sleep | wc -w"), O =:= <<"2\n">> end),
        {error, {bad_signal, foo}} = evum:signal(P, foo),
        ok = evum:signal(P, term),
        {signal, term} = monitored(Monitor, P),
        until(fun() -> {ok, #{status := S}} = evum:exec(V, "pidof sleep"), S =:= 1 end)
    end).

killing_everything_spares_the_agent(_) ->
    with(fun(V) ->
        {ok, _} = evum:exec(V, "kill -9 -1"),
        {ok, #{stdout := <<"alive\n">>}} = evum:exec(V, "echo alive")
    end).
