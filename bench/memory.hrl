%% SPDX-License-Identifier: Apache-2.0
%% What a machine's processes on the host take

descendants(Pids) ->
    lists:usort(Pids ++ lists:append([descendants(children(P)) || P <- Pids])).

children(Pid) ->
    {ok, List} = file:read_file(io_lib:format("/proc/~b/task/~b/children", [Pid, Pid])),
    [binary_to_integer(P) || P <- string:lexemes(List, " ")].

%% KiB, proportional set size
pss_of(Pid) ->
    {ok, Text} = file:read_file(io_lib:format("/proc/~b/smaps_rollup", [Pid])),
    {match, [Kb]} = re:run(Text, "\nPss: *([0-9]+)", [{capture, all_but_first, binary}]),
    binary_to_integer(Kb).
