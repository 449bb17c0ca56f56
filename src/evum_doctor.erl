%% SPDX-License-Identifier: Apache-2.0
%% What this host offers, what is missing, and the command that fixes it
-module(evum_doctor).

-export([run/0, report/0]).
-export_type([check/0]).

-type check() :: #{stage := atom(), ok := boolean(), text := binary()}.

-define(PROBE_MS, 20000).
-define(MEMORY_MIB, 128).
-define(MODULES, "/usr/lib/uml/modules").
%% without these no machine runs; without the others machines run with less
-define(NEEDED, [kernel, initramfs, memory, port, ptrace, reapers]).

%% @doc Prints the report. `{error, Stages}': without these no machine runs.
-spec run() -> ok | {error, [atom()]}.
run() ->
    Checks = report(),
    lists:foreach(fun(#{stage := Stage, ok := Ok, text := Text}) ->
        io:format("~-6ts~-17ts~ts~n", [mark(Ok, needed(Stage)), words(Stage), Text])
    end, Checks),
    verdict([Stage || #{stage := Stage, ok := false} <- Checks]).

needed(Stage) -> lists:member(Stage, ?NEEDED).

mark(true, _) -> "ok";
mark(false, true) -> "NO";
mark(false, false) -> "less".

words(Stage) -> string:replace(atom_to_list(Stage), "_", " ", all).

verdict(Missing) ->
    case {lists:filter(fun needed/1, Missing), Missing} of
        {[], []} ->
            io:format("~nMachines run here.~n");
        {[], _} ->
            io:format("~nMachines run here, with less than they could have.~n");
        {Needed, _} ->
            io:format("~nNo machine runs here before what is marked NO is there.~n"),
            {error, Needed}
    end.

%% @doc The report: a check each.
-spec report() -> [check()].
report() ->
    %% of the kernel that evum uses we know more than the port program
    Probes = [Check || #{stage := Stage} = Check <- probe(), Stage =/= kernel],
    [kernel(), modules(), initramfs(), user_namespaces(), memory() | Probes].

check(Stage, Ok, Format, Args) ->
    #{stage => Stage, ok => Ok, text => unicode:characters_to_binary(io_lib:format(Format, Args))}.

kernel() ->
    case evum_config:kernel_check(evum_config:kernel()) of
        {ok, File} -> check(kernel, true, "~ts", [File]);
        {error, Reason} -> check(kernel, false, "~ts", [evum_error:format(Reason)])
    end.

modules() ->
    case filelib:wildcard(?MODULES ++ "/*/kernel") of
        [] -> check(modules, false, "no kernel modules in ~ts, so no overlay for evum:start/0; as root: apt-get install user-mode-linux", [?MODULES]);
        [Dir | _] -> check(modules, true, "~ts", [filename:dirname(Dir)])
    end.

initramfs() ->
    case evum_config:initramfs() of
        {ok, File} -> check(initramfs, true, "~ts", [File]);
        {error, Reason} -> check(initramfs, false, "~ts", [evum_error:format(Reason)])
    end.

%% Two switches turn them off; either has its own remedy.
user_namespaces() ->
    case {number("/proc/sys/kernel/unprivileged_userns_clone"), number("/proc/sys/user/max_user_namespaces")} of
        {0, _} -> check(user_namespaces, false, "off for ordinary users; as root: sysctl -w kernel.unprivileged_userns_clone=1", []);
        {_, 0} -> check(user_namespaces, false, "off; as root: sysctl -w user.max_user_namespaces=16384", []);
        _ -> check(user_namespaces, true, "an ordinary user may make them", [])
    end.

number(File) ->
    case file:read_file(File) of
        {ok, Text} -> binary_to_integer(string:trim(Text));
        {error, _} -> none
    end.

memory() ->
    {ok, Text} = file:read_file("/proc/meminfo"),
    {match, [KiB]} = re:run(Text, "MemAvailable: +([0-9]+)", [{capture, all_but_first, list}]),
    MiB = list_to_integer(KiB) div 1024,
    case MiB >= ?MEMORY_MIB of
        true -> check(memory, true, "~b MiB available", [MiB]);
        false -> check(memory, false, "~b MiB available, a machine wants ~b: end other programs, or add swap", [MiB, ?MEMORY_MIB])
    end.

%% The jail's stages are tried by the port program itself.
probe() ->
    case evum_chan:open(evum_port) of
        {ok, Chan} ->
            Checks = probe(evum_chan:call(probe, [], probe, Chan)),
            ok = evum_chan:close(Chan),
            Checks;
        {error, Reason} ->
            [check(port, false, "~ts", [evum_error:format(Reason)])]
    end.

probe(Chan) ->
    Port = evum_chan:port(Chan),
    receive
        {Port, {data, Frame}} -> probed(evum_proto:decode(Frame), Chan);
        {Port, {exit_status, Status}} -> [check(port, false, "the port program ended with status ~b", [Status])]
    after ?PROBE_MS -> [check(port, false, "the port program doesn't answer", [])]
    end.

probed({event, hello, #{version := Version}}, Chan) ->
    case evum_proto:version() of
        Version -> probe(Chan);
        _ -> [check(port, false, "the port program is of another version: ./evum build", [])]
    end;
probed({reply, _, {ok, Probes}}, _Chan) ->
    [#{stage => Stage, ok => Ok, text => Text} || {Stage, Ok, Text} <- Probes];
probed({reply, _, {error, Reason}}, _Chan) ->
    [check(port, false, "~ts", [evum_error:format(Reason)])];
probed(_Other, _Chan) -> [check(port, false, "the port program broke the protocol", [])].
