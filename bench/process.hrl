%% SPDX-License-Identifier: Apache-2.0
%% Programs of the host beside a benchmark

%% Dies with us.
background(Program, Args) ->
    open_port({spawn_executable, "/usr/bin/setpriv"}, [
        {args, ["--pdeathsig", "TERM", Program | Args]}, exit_status, stderr_to_stdout, binary
    ]).

end_process(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} ->
            _ = os:cmd("kill " ++ integer_to_list(Pid)),
            wait_port(Port);
        undefined -> ok
    end.

wait_port(Port) ->
    receive
        {Port, {data, _}} -> wait_port(Port);
        {Port, {exit_status, Status}} -> Status
    after 60000 -> error(timeout)
    end.

await(Fun) -> await(Fun, 100).

await(Fun, 0) -> error({timeout, Fun});
await(Fun, Tries) -> Fun() orelse begin timer:sleep(50), await(Fun, Tries - 1) end.
