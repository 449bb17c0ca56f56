%% SPDX-License-Identifier: Apache-2.0
%% ./evum run is the program it runs: its output, its input, its status
-module(run_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, sh/2, evum/0, until/1]).

suite() -> [{timetrap, {seconds, 90}}].

%% A build, if it is due, is not what is tested.
init_per_suite(Config) ->
    {0, _, _} = sh([evum(), " build"], 300000),
    evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [
        the_status_is_the_programs, outputs_are_apart, input_is_piped_through,
        a_build_leaves_the_input_alone, arguments_are_bytes, signals_end_with_128_and_more,
        trouble_is_a_sentence_and_125, the_host_dist_runs, an_interrupt_is_forwarded, a_closed_reader_ends_it, whoever_is_killed_nothing_is_left,
        endings_of_the_machine_are_trouble, the_doctor_reports, unknown_commands_are_refused
    ].

run(Command) -> sh([evum(), " run ", Command]).

the_status_is_the_programs(_) ->
    {0, <<"Linux", _/binary>>, <<>>} = run("-- uname -a"),
    {7, <<>>, <<>>} = run("-- sh -c 'exit 7'"),
    {0, <<>>, <<>>} = run("true").

outputs_are_apart(_) ->
    {3, <<"out\n">>, <<"err\n">>} = run("sh -c 'echo out; echo err >&2; exit 3'"),
    {0, Zeros, <<>>} = run("head -c 3000000 /dev/zero"),
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
    [{N, {N, <<>>, _}} = {N, run("sh -c 'kill -" ++ integer_to_list(N - 128) ++ " $$; sleep 5'")} || N <- [137, 143, 129]].

trouble_is_a_sentence_and_125(_) ->
    [begin
         {Args, {125, <<>>, Said}} = {Args, run(Args)},
         ct:pal("~s: ~s", [Args, Said]),
         {Args, {match, _}} = {Args, re:run(Said, "^evum: [^\n]+\n$")}
     end || Args <- ["--dist nosuch true", "--colour red true", "--mem lots true", "--mem 3 true", "--dist 'a b' true", "", "--mem"]],
    {127, <<>>, <<"evum: ", _/binary>>} = run("nosuch"),
    {126, <<>>, <<"evum: ", _/binary>>} = run("/etc/passwd").

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
