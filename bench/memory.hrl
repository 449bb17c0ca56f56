%% SPDX-License-Identifier: Apache-2.0
%% What a machine's processes on the host take

descendants(Pids) ->
    lists:usort(Pids ++ lists:append([descendants(children(P)) || P <- Pids])).

%% A process may end meanwhile.
children(Pid) ->
    case file:read_file(io_lib:format("/proc/~b/task/~b/children", [Pid, Pid])) of
        {ok, List} -> [binary_to_integer(P) || P <- string:lexemes(List, " ")];
        {error, _} -> []
    end.

%% KiB, proportional set size
pss_of(Pid) ->
    case file:read_file(io_lib:format("/proc/~b/smaps_rollup", [Pid])) of
        {ok, Text} ->
            {match, [Kb]} = re:run(Text, "\nPss: *([0-9]+)", [{capture, all_but_first, binary}]),
            binary_to_integer(Kb);
        {error, _} -> 0
    end.
