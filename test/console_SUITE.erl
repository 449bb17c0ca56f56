%% SPDX-License-Identifier: Apache-2.0
%% The console: what is typed is echoed once, what is printed comes once and in order
-module(console_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [vm/0, vm/1, stop/1, down/1, expect/2, flush/0, lines/1, held/0, until/1]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        send_returns_the_echo, the_echo_is_no_line, other_messages_stay, a_long_line_is_one_line,
        every_send_gets_its_own_echo, no_echo_is_a_timeout, ten_callers_type_whole_lines, what_is_no_line_is_refused,
        puts_types_bytes, a_guest_that_does_not_read_stops_puts, tagged_bytes_are_raw, none_is_silent, very_long_lines_come_in_pieces,
        terminal_queries_are_never_shown, utf8_is_passed_through, active_counts_as_inet_does, await_sees_partial_lines,
        await_tells_what_it_saw, guest_messages_reach_the_owner, a_flood_blocks_the_guest_only, a_flood_of_bytes_is_whole,
        awaiting_text_in_a_flood_stops_nobody, a_line_is_at_most_a_terminals, characters_are_utf8,
        the_last_guest_messages_come_before_the_end, nobody_sends_past_who_is_attached,
        attach_shows_and_types, attach_on_a_terminal_detaches, an_unknown_label_says_what_runs, one_may_be_attached
    ].

send_returns_the_echo(_) ->
    V = vm([{label, test1}]),
    <<"~ # hostname">> = evum:send(V, "hostname"),
    [<<"test1">>] = lines(<<"test1">>),
    <<"~ # echo a   b">> = evum:send(test1, <<"echo a   b\n">>),
    [<<"a b">>] = lines(<<"a b">>),
    <<"~ # ">> = evum:send(V, ""),
    stop(V).

the_echo_is_no_line(_) ->
    V = vm(),
    [begin
         Text = "echo line" ++ integer_to_list(N),
         Echo = evum:send(V, Text),
         {match, _} = re:run(Echo, Text ++ "$"),
         Line = list_to_binary("line" ++ integer_to_list(N)),
         [Line] = lines(Line)
     end || N <- lists:seq(1, 30)],
    stop(V).

other_messages_stay(_) ->
    V = vm(),
    Mine = [{evum, self(), {console, <<"x">>}}, make_ref(), {evum, foo}, {'EXIT', self(), normal}],
    [self() ! M || M <- Mine],
    <<_, _/binary>> = evum:send(V, "true"),
    {ok, _} = evum:exec(V, "true"),
    Mine = [M || M <- flush(), not is_binary(M)],
    stop(V).

a_long_line_is_one_line(_) ->
    V = vm(),
    Long = lists:duplicate(900, $y),
    Wanted = list_to_binary("~ # echo " ++ Long),
    Wanted = evum:send(V, "echo " ++ Long),
    Echoed = list_to_binary(Long),
    [Echoed] = lines(Echoed),
    stop(V).

every_send_gets_its_own_echo(_) ->
    V = vm(),
    <<_, _/binary>> = evum:send(V, "cat"),
    [{N, true} = {N, evum:send(V, Text) =:= list_to_binary(Text)} || N <- lists:seq(1, 20), Text <- ["same", "same" ++ integer_to_list(N)]],
    40 = length([L || L <- lines(<<"same20">>), is_binary(L)]),
    stop(V).

no_echo_is_a_timeout(_) ->
    V = vm(),
    _ = evum:send(V, "stty -echo; echo rea''dy; cat > /dev/null"),
    ok = evum:await(V, {text, "ready"}, 20000),
    timeout = evum:send(V, "unseen", 300),
    {ok, _} = evum:exec(V, "kill $(pidof cat); stty echo < /dev/tty0; true"),
    <<_, _/binary>> = evum:send(V, "echo back"),
    _ = lines(<<"back">>),
    stop(V).

ten_callers_type_whole_lines(_) ->
    V = vm(),
    Echoes = evum_test_lib:parallel([fun() -> {N, evum:send(V, "echo p" ++ integer_to_list(N))} end || N <- lists:seq(1, 10)]),
    [{match, _} = re:run(E, "echo p" ++ integer_to_list(N) ++ "$") || {N, E} <- Echoes],
    _ = evum:send(V, "echo end"),
    Printed = lists:sort([binary_to_list(L) || <<"p", _/binary>> = L <- lines(<<"end">>)]),
    Printed = lists:sort(["p" ++ integer_to_list(N) || N <- lists:seq(1, 10)]),
    stop(V).

what_is_no_line_is_refused(_) ->
    V = vm(),
    [{error, _} = evum:send(V, Bad) || Bad <- [foo, 7, {a}, [foo], lists:duplicate(70000, $a)]],
    [{error, _} = evum:puts(V, Bad) || Bad <- [foo, [[x]], binary:copy(<<"a">>, 1048577)]],
    {error, noproc} = evum:send(nosuch, "x"),
    stop(V).

puts_types_bytes(_) ->
    V = vm(),
    ok = evum:puts(V, "echo ab"),
    ok = evum:puts(V, <<"c\n">>),
    ok = evum:await(V, {text, "\nabc\n"}, 20000),
    _ = flush(),
    _ = evum:send(V, "echo rea''dy; cat; echo over"),
    ok = evum:await(V, {text, "ready"}, 20000),
    ok = evum:puts(V, <<4>>),
    _ = lines(<<"over">>),
    stop(V).

a_guest_that_does_not_read_stops_puts(_) ->
    V = vm(),
    ok = evum:pause(V),
    {error, {timeout, console_input, N} = Reason} = evum:puts(V, binary:copy(<<"x">>, 400000)),
    true = N < 400000,
    evum_test_lib:sentence(Reason),
    ok = evum:resume(V),
    stop(V).

tagged_bytes_are_raw(_) ->
    V = vm([{console, tagged}]),
    <<"~ # printf 'a\\rb\\033[1mc'; echo end">> = evum:send(V, "printf 'a\\rb\\033[1mc'; echo end"),
    Bytes = tagged(V, <<"end">>, <<>>),
    {match, _} = re:run(Bytes, <<"a\rb\e\\[1mcend">>),
    stop(V).

tagged(V, Last, Got) ->
    case binary:match(Got, Last) of
        nomatch ->
            receive {evum, V, {console, Bytes}} -> tagged(V, Last, <<Got/binary, Bytes/binary>>)
            after 20000 -> error({missing, Last, Got})
            end;
        _ -> Got
    end.

none_is_silent(_) ->
    {ok, V} = evm:create([{console, none}]),
    <<_, _/binary>> = evum:send(V, "echo hello"),
    ok = evum:await(V, {text, "hello"}, 20000),
    [] = [M || M <- flush(), M =/= {evum, V, up}],
    stop(V).

very_long_lines_come_in_pieces(_) ->
    V = vm(),
    _ = evum:send(V, "head -c 5000 /dev/zero | tr '\\0' z; echo; echo end"),
    Pieces = lists:droplast(lines(<<"end">>)),
    true = lists:all(fun(P) -> byte_size(P) =< 2048 end, Pieces),
    5000 = length([C || <<C>> <= iolist_to_binary(Pieces), C =:= $z]),
    stop(V).

%% busybox's shell asks for the cursor's place before each prompt.
terminal_queries_are_never_shown(_) ->
    {ok, V} = evm:create(),
    [_ = evum:send(V, "echo " ++ [C]) || C <- "abcdefgh"],
    _ = evum:send(V, "printf '\\033[6n\\033[6n'; echo; echo end"),
    All = [L || L <- flush() ++ lines(<<"end">>), is_binary(L)],
    [] = [L || L <- All, re:run(L, <<"\e\\[6n">>) =/= nomatch],
    stop(V).

utf8_is_passed_through(_) ->
    V = vm(),
    Wanted = <<"äöü€"/utf8>>,
    _ = evum:send(V, ["printf '%s\\n' '", Wanted, "' > /dev/console"]),
    _ = lines(Wanted),
    stop(V).

active_counts_as_inet_does(_) ->
    V = vm(),
    ok = evum:active(V, false),
    _ = evum:send(V, "seq 1 10; echo end"),
    ok = evum:await(V, {text, "end\n"}, 20000),
    [] = flush(),
    ok = evum:active(V, 3),
    expect(V, passive),
    [<<"1">>, <<"2">>, <<"3">>] = flush(),
    ok = evum:active(V, once),
    receive <<"4">> -> ok after 20000 -> error(missing) end,
    ok = evum:active(V, 1),
    ok = evum:active(V, 1),
    expect(V, passive),
    expect(V, passive),
    [<<"5">>, <<"6">>] = flush(),
    ok = evum:active(V, true),
    [<<"7">>, <<"8">>, <<"9">>, <<"10">>, <<"end">>] = lines(<<"end">>),
    ok = evum:active(V, 5),
    ok = evum:active(V, -5),
    expect(V, passive),
    {error, einval} = evum:active(V, 40000),
    {error, einval} = evum:active(V, maybe_),
    stop(V).

await_sees_partial_lines(_) ->
    V = vm(),
    _ = evum:send(V, "printf 'login: '; read x; echo hello $x"),
    ok = evum:await(V, {text, "login: $"}, 20000),
    ok = evum:puts(V, "joe\n"),
    ok = evum:await(V, {text, "hello joe\n"}, 20000),
    stop(V).

await_tells_what_it_saw(_) ->
    V = vm(),
    _ = evum:send(V, "echo something else"),
    {error, {timeout, {text, "never"}, Seen} = Reason} = evum:await(V, {text, "never"}, 300),
    {match, _} = re:run(Seen, "something else"),
    evum_test_lib:sentence(Reason),
    {error, {bad_regexp, _, _, _}} = evum:await(V, {text, "("}, 300),
    {error, {bad_option, _}} = evum:await(V, breakfast, 300),
    stop(V).

guest_messages_reach_the_owner(_) ->
    V = vm(),
    {ok, _} = evum:exec(V, "printf hello > /proc/mconsole"),
    expect(V, {message, <<"hello">>}),
    {ok, _} = evum:exec(V, "i=0; while [ $i -lt 200 ]; do printf $i > /proc/mconsole; i=$((i+1)); done"),
    [expect(V, {message, integer_to_binary(N)}) || N <- lists:seq(0, 199)],
    stop(V).

%% The owner doesn't receive: the guest's writer stops, the BEAM stays small,
%% and when the owner reads, all is there.
a_flood_blocks_the_guest_only(_) ->
    V = vm(),
    Before = held(),
    Seconds = case os:getenv("EVUM_FLOOD_S") of false -> 2; S -> list_to_integer(S) end,
    _ = evum:send(V, "seq 1 100000000"),
    Most = watch(Before, erlang:monotonic_time(millisecond) + Seconds * 1000),
    ct:pal("the BEAM grew by ~b KiB", [Most div 1024]),
    true = Most < 20 * 1024 * 1024,
    #{console_held := Held} = evum:info(V),
    true = Held > 0,
    numbers(1, 100000),
    stop(V).

watch(Before, Deadline) ->
    Grown = held() - Before,
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            timer:sleep(100),
            max(Grown, watch(Before, Deadline));
        false -> Grown
    end.

numbers(N, Last) when N > Last -> ok;
numbers(N, Last) ->
    Line = integer_to_binary(N),
    receive
        Line -> numbers(N + 1, Last);
        Other when is_binary(Other) -> error({wanted, Line, got, Other})
    after 10000 -> error({stalled_at, N})
    end.

a_flood_of_bytes_is_whole(_) ->
    V = vm([{console, tagged}]),
    _ = evum:send(V, "head -c 1500000 /dev/urandom | base64 > /tmp/f; echo '<BEG''IN>'; cat /tmp/f; echo '<E''ND>'"),
    Raw = tagged(V, <<"<END>">>, <<>>),
    Sum = evum_test_lib:out(V, "md5sum < /tmp/f | cut -c1-32"),
    [_, Body, _] = binary:split(Raw, [<<"<BEGIN>\r\n">>, <<"<END>">>], [global]),
    Text = binary:replace(Body, <<"\r\n">>, <<"\n">>, [global]),
    Sum = string:lowercase(binary:encode_hex(crypto:hash(md5, Text))),
    stop(V).

awaiting_text_in_a_flood_stops_nobody(_) ->
    V = vm([{console, none}]),
    ok = evum:puts(V, "yes\n"),
    ok = evum:await(V, {text, "y\ny\ny\n"}, 20000),
    Waiters = [spawn_monitor(fun() -> exit(evum:await(V, {text, "never"}, 60000)) end) || _ <- [1, 2, 3]],
    ok = evum:await(V, {text, "y\ny\n"}, 20000),
    Then = erlang:monotonic_time(millisecond),
    [#{state := up} = evum:info(V) || _ <- lists:seq(1, 20)],
    true = erlang:monotonic_time(millisecond) - Then < 5000,
    ok = evum:stop(V, 1000),
    true = erlang:monotonic_time(millisecond) - Then < 10000,
    [{error, {vm_down, normal}} = evum_test_lib:monitored(Monitor, Pid) || {Pid, Monitor} <- Waiters].

a_line_is_at_most_a_terminals(_) ->
    V = vm(),
    [{error, {too_long, 2047}} = evum:send(V, lists:duplicate(N, $a)) || N <- [2048, 60000]],
    {error, {too_long, 2047}} = evum:send(V, [lists:duplicate(2048, $a), $\n]),
    [{error, {bad_text, _}} = evum:send(V, Lines) || Lines <- ["a\nb", "a\rb", <<"a\n\n">>]],
    [begin
         _ = evum:send(V, ["stty -echo; echo rea''dy; ", Program]),
         ok = evum:await(V, {text, "ready"}, 20000),
         [timeout = evum:send(V, lists:duplicate(2047, $a), 200) || _ <- [1, 2, 3, 4]],
         {ok, _} = evum:exec(V, "kill $(pidof cat sleep); stty echo < /dev/tty0; true"),
         <<_, _/binary>> = evum:send(V, "echo back"),
         _ = lines(<<"back">>)
     end || Program <- ["cat > /dev/null", "sleep 1000"]],
    stop(V).

characters_are_utf8(_) ->
    V = vm(),
    <<_, _/binary>> = evum:send(V, "cat"),
    [begin
         Wanted = evum:send(V, Typed),
         ok = evum:await(V, {text, Regexp}, 20000)
     end || {Typed, Wanted, Regexp} <- [
         {"grün", <<"grün"/utf8>>, "gr(ü|u)n\n"}, {<<"grün"/utf8>>, <<"grün"/utf8>>, <<"gr(ü|u)n\n"/utf8>>},
         {["€ ", <<"ä"/utf8>>], <<"€ ä"/utf8>>, "€ ä"}]],
    ok = evum:puts(V, "süß\n"),
    ok = evum:await(V, {text, "süß\nsüß\n"}, 20000),
    {error, {timeout, {text, "nö"}, _} = Reason} = evum:await(V, {text, "nö"}, 50),
    evum_test_lib:sentence(Reason),
    [{error, {bad_text, _}} = evum:puts(V, Bad) || Bad <- [[16#d800], [16#110000], [-1], [foo]]],
    stop(V).

%% The owner is behind: what he has not been told is told before the end.
the_last_guest_messages_come_before_the_end(_) ->
    V = vm(),
    [self() ! {junk, N} || N <- lists:seq(1, 1200)],
    {ok, _} = evum:exec(V, "i=0; while [ $i -lt 50 ]; do printf $i > /proc/mconsole; i=$((i+1)); done"),
    until(fun() -> maps:get(messages_held, evum:info(V)) =:= 50 end),
    stop(V),
    Told = [M || {evum, Vm, M} <- flush(), Vm =:= V],
    [{message, integer_to_binary(N)} || N <- lists:seq(0, 49)] ++ [{down, normal}] =:= Told orelse error(Told).

nobody_sends_past_who_is_attached(_) ->
    V = vm([{label, busy}]),
    Port = open_port({spawn_executable, attach()}, [{args, ["busy"]}, binary, exit_status, stderr_to_stdout]),
    until(fun() -> maps:get(attached, evum:info(V)) end),
    {error, attached} = evum:send(V, "echo mine"),
    evum_test_lib:sentence(attached),
    ok = evum:puts(V, "echo shown\n"),
    _ = shown(Port, <<"shown">>, <<>>),
    stop(V),
    _ = shown(Port, <<"busy is down">>, <<>>),
    receive {Port, {exit_status, 0}} -> ok after 20000 -> error(alive) end.

%% --- attach ------------------------------------------------------------------

attach() -> filename:join(code:priv_dir(evum), "evum-attach").

attach_shows_and_types(_) ->
    V = vm([{label, att}]),
    Port = open_port({spawn_executable, attach()}, [{args, ["att"]}, binary, exit_status, stderr_to_stdout]),
    port_command(Port, "echo typed-$((20+3))\n"),
    _ = shown(Port, <<"typed-23">>, <<>>),
    until(fun() -> maps:get(attached, evum:info(V)) end),
    %% the owner hears nothing of it
    [] = [L || L <- flush(), is_binary(L)],
    stop(V),
    _ = shown(Port, <<"att is down">>, <<>>),
    receive {Port, {exit_status, 0}} -> ok after 20000 -> error(alive) end.

shown(Port, Text, Got) ->
    case binary:match(Got, Text) of
        nomatch ->
            receive
                {Port, {data, Bytes}} -> shown(Port, Text, <<Got/binary, Bytes/binary>>);
                {Port, {exit_status, Status}} -> error({ended, Status, Got})
            after 20000 -> error({missing, Text, Got})
            end;
        _ -> Got
    end.

%% On a pseudo-terminal of script(1), which every Debian has.
attach_on_a_terminal_detaches(_) ->
    V = vm([{label, tty}]),
    Command = ["stty rows 33 cols 77; ", attach(), " tty; echo status=$?"],
    Port = open_port({spawn_executable, os:find_executable("script")},
                     [{args, ["-qfc", lists:flatten(Command), "/dev/null"]}, binary, exit_status, stderr_to_stdout]),
    until(fun() -> maps:get(attached, evum:info(V)) end),
    port_command(Port, "stty size\r"),
    _ = shown(Port, <<"33 77">>, <<>>),
    port_command(Port, "\x1d"),
    _ = shown(Port, <<"status=0">>, <<>>),
    receive {Port, {exit_status, _}} -> ok after 20000 -> error(alive) end,
    until(fun() -> not maps:get(attached, evum:info(V)) end),
    _ = flush(),
    _ = evum:send(V, "echo mine"),
    _ = lines(<<"mine">>),
    stop(V).

an_unknown_label_says_what_runs(_) ->
    V = vm([{label, running}]),
    {Status, _, Said} = evum_test_lib:sh([evum_test_lib:evum(), " attach nosuch"]),
    true = Status > 0,
    {match, _} = re:run(Said, "nosuch"),
    {match, _} = re:run(Said, "running"),
    stop(V).

one_may_be_attached(_) ->
    V = vm([{label, one}]),
    Port = open_port({spawn_executable, attach()}, [{args, ["one"]}, binary, exit_status, stderr_to_stdout]),
    until(fun() -> maps:get(attached, evum:info(V)) end),
    {125, _, Said} = evum_test_lib:sh([attach(), " one"]),
    {match, _} = re:run(Said, "attached already"),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    ok = evum_test_lib:kill(Pid, "KILL"),
    until(fun() -> not maps:get(attached, evum:info(V)) end),
    receive {Port, {exit_status, _}} -> ok after 20000 -> error(alive) end,
    stop(V).
