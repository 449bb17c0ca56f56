%% SPDX-License-Identifier: Apache-2.0
%% ./evum run is the program it runs: its output, its input, its status
-module(run_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, sh/2, evum/0, until/1, parallel/1]).

suite() -> [{timetrap, {seconds, 90}}].

%% A build, if it is due, is not what is tested.
init_per_suite(Config) ->
    {0, _, _} = sh([evum(), " build"], 300000),
    evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) ->
    Result = evum_test_lib:end_case(Case, Config),
    %% a case that failed at a terminal leaves the terminal
    [evum_test_lib:kill(P, "KILL") || {P, Name} <- evum_test_lib:marked(), lists:member(Name, [<<"script">>, <<"evum-attach">>])],
    Result.

all() ->
    [
        the_status_is_the_programs, a_strict_umask_is_no_trouble, outputs_are_apart, input_is_piped_through,
        a_build_leaves_the_input_alone, arguments_are_bytes, signals_end_with_128_and_more,
        trouble_is_a_sentence_and_125, the_host_dist_runs, an_interrupt_is_forwarded, a_closed_reader_ends_it, whoever_is_killed_nothing_is_left,
        bulk_goes_through_untouched, a_terminal_is_the_programs, keys_reach_what_is_in_front, one_key_cuts_the_power,
        a_signal_gives_the_terminal_back, what_is_redirected_gets_pipes,
        endings_of_the_machine_are_trouble, the_doctor_reports, unknown_commands_are_refused
    ].

run(Command) -> sh([evum(), " run ", Command]).

%% Side by side.
runs(Commands) -> parallel([fun() -> run(Command) end || Command <- Commands]).

the_status_is_the_programs(_) ->
    [{0, <<"Linux", _/binary>>, <<>>}, {7, <<>>, <<>>}, {0, <<>>, <<>>}] = runs(["-- uname -a", "-- sh -c 'exit 7'", "true"]).

%% What is made for the machine must be open to the user that it runs as.
a_strict_umask_is_no_trouble(_) ->
    {0, <<"0022\n">>, _} = sh(["umask 077; exec ", evum(), " run -- sh -c umask"]).

outputs_are_apart(_) ->
    [{3, <<"out\n">>, <<"err\n">>}, {0, Zeros, <<>>}] =
        runs(["sh -c 'echo out; echo err >&2; exit 3'", "head -c 3000000 /dev/zero"]),
    3000000 = byte_size(Zeros).

input_is_piped_through(_) ->
    {0, <<"hello\n">>, <<>>} = sh(["echo hello | ", evum(), " run cat"]),
    Bytes = 2000000,
    File = "/tmp/ct-input-" ++ os:getpid(),
    ok = file:write_file(File, crypto:strong_rand_bytes(Bytes)),
    {0, Sums, <<>>} = sh([evum(), " run cat < ", File, " | md5sum; md5sum < ", File]),
    [Sum, Sum] = binary:split(Sums, <<"\n">>, [global, trim]),
    ok = file:delete(File).

%% Without its stamp the build has to look what has changed.
a_build_leaves_the_input_alone(_) ->
    ok = file:delete(filename:join([filename:dirname(evum()), "_build", "evum.stamp"])),
    {0, <<"5\n">>, _} = sh(["printf 12345 | ", evum(), " run wc -c"], 80000).

arguments_are_bytes(_) ->
    {0, <<"<a  b><", 255, "><><$HOME>">>, <<>>} = run("-- printf '<%s>' 'a  b' \"$(printf '\\377')\" '' '$HOME'").

signals_end_with_128_and_more(_) ->
    Kill = fun(N) -> run("sh -c 'kill -" ++ integer_to_list(N - 128) ++ " $$; sleep 5'") end,
    [{137, <<>>, _}, {143, <<>>, _}, {129, <<>>, _}] = parallel([fun() -> Kill(N) end || N <- [137, 143, 129]]).

trouble_is_a_sentence_and_125(_) ->
    Wrong = ["--dist nosuch true", "--colour red true", "--mem lots true", "--mem 3 true", "--dist 'a b' true", "", "--mem"],
    [begin
         {Args, {125, <<>>, Said}} = {Args, Result},
         ct:pal("~s: ~s", [Args, Said]),
         {Args, {match, _}} = {Args, re:run(Said, "^evum: [^\n]+\n$")}
     end || {Args, Result} <- lists:zip(Wrong, runs(Wrong))],
    [{127, <<>>, <<"evum: ", _/binary>>}, {126, <<>>, <<"evum: ", _/binary>>}] = runs(["nosuch", "/etc/passwd"]).

the_host_dist_runs(_) ->
    {0, Out, <<>>} = run("--dist host --mem 100 -- sh -c 'ls /usr/bin/env'"),
    <<"/usr/bin/env\n">> = Out.

%% A run in the background: its port, its process, and its machine's processes.
start(Command) ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", ["exec ", evum(), " run ", Command]]}, exit_status, binary]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    receive {Port, {data, <<"ready", _/binary>>}} -> ok after 30000 -> error(not_ready) end,
    {Port, Pid, evum_test_lib:marked()}.

ended(Port) -> receive {Port, {exit_status, Status}} -> Status after 10000 -> error(alive) end.

an_interrupt_is_forwarded(_) ->
    {Port, Pid, _} = start("sh -c 'trap \"echo caught; exit 9\" INT; echo ready; while :; do sleep 0.05; done'"),
    ok = evum_test_lib:kill(Pid, "INT"),
    receive {Port, {data, <<"caught\n">>}} -> ok after 10000 -> error(not_caught) end,
    9 = ended(Port),
    {Port2, Pid2, _} = start("sh -c 'echo ready; exec sleep 1000'"),
    ok = evum_test_lib:kill(Pid2, "TERM"),
    143 = ended(Port2).

a_closed_reader_ends_it(_) ->
    {0, <<"y\n">>, _} = sh([evum(), " run yes | head -n 1"]).

whoever_is_killed_nothing_is_left(_) ->
    [begin
         {Port, _, Ours} = start("sh -c 'echo ready; exec sleep 1000'"),
         [Victim | _] = [P || {P, N} <- Ours, binary:match(N, Name) =/= nomatch],
         ok = evum_test_lib:kill(Victim, "KILL"),
         {Name, true} = {Name, ended(Port) > 0},
         ok = evum_test_lib:gone([P || {P, _} <- Ours], 2000)
     end || Name <- [<<"evum-attach">>, <<"beam">>, <<"evum_port">>, <<"kernel">>]].

bulk_goes_through_untouched(_) ->
    File = "/tmp/ct-bulk-" ++ os:getpid(),
    ok = file:write_file(File, [crypto:strong_rand_bytes(1 bsl 20) || _ <- lists:seq(1, 64)]),
    {0, Sums, <<>>} = sh(["{ ", evum(), " run cat < ", File, " | md5sum; md5sum < ", File, "; } && rm ", File]),
    [Sum, Sum] = binary:split(Sums, <<"\n">>, [global, trim]).

%% --- at a terminal -------------------------------------------------------------------

%% A terminal of 30 x 100 with a shell command on it, by script(1). It prints
%% the terminal's name first and its state, status=N, last.
terminal(Command) ->
    Line = ["stty rows 30 cols 100; tty; ", Command, "; echo status=$?; stty -a"],
    Port = open_port({spawn_executable, os:find_executable("script")},
                     [{args, ["-qec", unicode:characters_to_list(Line), "/dev/null"]}, exit_status, binary,
                      {env, [{"TERM", "vt220"}, {"SHELL", "/bin/sh"}]}]),
    {Shown, Text} = shown(Port, "/dev/pts/[0-9]+", <<>>),
    {match, [Tty]} = re:run(Shown, "/dev/pts/[0-9]+", [{capture, first, list}]),
    {Port, Tty, Text}.

%% What the terminal shows up to a match, and what comes behind it.
shown(Port, Pattern, Text) ->
    case re:run(Text, Pattern) of
        {match, [{At, Len} | _]} ->
            <<Shown:(At + Len)/binary, Rest/binary>> = Text,
            {Shown, Rest};
        nomatch ->
            receive
                {Port, {data, More}} -> shown(Port, Pattern, <<Text/binary, More/binary>>);
                {Port, {exit_status, Status}} -> error({ended, Status, Pattern, Text})
            after 20000 -> error({not_shown, Pattern, Text})
            end
    end.

%% Types, and awaits what is shown then.
type(Keys, Pattern, {Port, Tty, Text}) ->
    true = port_command(Port, Keys),
    {_, Rest} = shown(Port, Pattern, Text),
    {Port, Tty, Rest}.

%% The command is over: it had this status, and the terminal is as it was.
left_with(Status, {Port, _, Text}) ->
    {_, Rest} = shown(Port, "status=" ++ integer_to_list(Status) ++ "\r", Text),
    %% the last word of stty -a
    {State, _} = shown(Port, "extproc", Rest),
    nomatch = re:run(State, "-(icanon|echo|isig|opost|icrnl) "),
    receive {Port, {exit_status, 0}} -> ok after 20000 -> error(alive) end.

a_terminal_is_the_programs(_) ->
    T0 = terminal([evum(), " run -- sh"]),
    T1 = type("stty size; echo $TERM; tty\r", "30 100\r\nvt220\r\n/dev/pts/0", T0),
    {_, Tty, _} = T1,
    {0, _, _} = sh(["stty -F ", Tty, " rows 41 cols 123"]),
    %% its own SIGWINCH tells when the size has arrived
    T2 = type("until [ \"$(stty size)\" = '41 123' ]; do :; done; echo chan''ged\r", "changed", T1),
    left_with(7, type("exit 7\r", "exit 7", T2)).

keys_reach_what_is_in_front(_) ->
    T0 = terminal([evum(), " run -- sh"]),
    T1 = type("sh -c 'echo rea\"\"dy; exec sleep 1000'\r", "ready", T0),
    T2 = type(<<3>>, "# ", T1),
    T3 = type("echo $?\r", "130\r", T2),
    T4 = type("sh -c 'echo rea\"\"dy; exec sleep 1000'\r", "ready", T3),
    T5 = type(<<26>>, "Stopped", T4),
    T6 = type("bg; jobs\r", "Running", T5),
    T7 = type("kill %1; sh -c 'echo rea\"\"dy; exec cat'\r", "ready", T6),
    %% the end of a terminal's input is a key as well
    T8 = type("line\r", "line\r\nline\r\n", T7),
    T9 = type(<<4>>, "# ", T8),
    left_with(0, type(<<4>>, "\n", T9)).

one_key_cuts_the_power(_) ->
    T0 = terminal([evum(), " run -- sh -c 'trap \"\" INT QUIT TERM HUP; echo ready; while :; do sleep 1; done'"]),
    {Port, Tty, Text} = T0,
    {_, Rest} = shown(Port, "ready", Text),
    T1 = type(<<3, 3, 28>>, "\\^\\\\", {Port, Tty, Rest}),
    left_with(137, type(<<16#1d>>, "power was cut", T1)).

a_signal_gives_the_terminal_back(_) ->
    [begin
         {Port, Tty, Text} = terminal([evum(), " run -- sh -c 'echo ready; exec sleep 1000'"]),
         {_, Rest} = shown(Port, "ready", Text),
         [Pid] = [P || {P, <<"evum-attach">>} <- evum_test_lib:marked()],
         ok = evum_test_lib:kill(Pid, Signal),
         left_with(Status, {Port, Tty, Rest})
     end || {Signal, Status} <- [{"TERM", 143}, {"HUP", 129}, {"INT", 130}]].

what_is_redirected_gets_pipes(_) ->
    Look = " sh -c 'test -t 0; i=$?; test -t 1; o=$?; echo $i$o; echo err >&2'",
    [begin
         {Port, _, Text} = terminal([evum(), " run ", Redirected]),
         {_, Rest} = shown(Port, Shown, Text),
         left_with(0, {Port, none, Rest})
     end || {Redirected, Shown} <- [{["--", Look], "00\r\nerr"}, {["--", Look, " | cat"], "11\r\n"},
                                    {["--", Look, " </dev/null"], "11\r\n"},
                                    {["--no-tty --", Look, " 2>/dev/null"], "11\r\n(?=status)"}]].

endings_of_the_machine_are_trouble(_) ->
    [begin
         {Args, {125, <<>>, Said}} = {Args, run(Args)},
         {Args, {match, _}} = {Args, re:run(Said, Pattern)}
     end || {Args, Pattern} <- [{"sh -c 'echo c > /proc/sysrq-trigger; sleep 5'", "panicked"}]].

%% What this host lacks is the host's affair; the status tells it.
the_doctor_reports(_) ->
    {Status, Report, _} = sh([evum(), " doctor"]),
    Lacking = case re:run(Report, "^NO ", [multiline]) of nomatch -> 0; _ -> 1 end,
    {Lacking, _} = {Status, Report},
    [{match, _} = re:run(Report, Word) || Word <- ["kernel", "initramfs", "namespaces", "landlock"]].

unknown_commands_are_refused(_) ->
    {2, _, Said} = sh([evum(), " frobnicate"]),
    {match, _} = re:run(Said, "frobnicate"),
    {0, Help, _} = sh([evum(), " help"]),
    {match, _} = re:run(Help, "attach"),
    {2, _, _} = sh([evum(), " attach"]),
    {2, _, _} = sh([evum(), " bench nosuch"]).
