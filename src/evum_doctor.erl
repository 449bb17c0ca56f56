%% SPDX-License-Identifier: Apache-2.0
%% What this host offers, what is missing, and the command that fixes it
-module(evum_doctor).

-export([run/0, report/0]).
-export_type([check/0]).

-type check() :: #{stage := atom(), ok := boolean(), text := binary()}.

-define(PROBE_MS, 20000).
-define(MODULES, "/usr/lib/uml/modules").

%% @doc Prints the report. `{error, Stages}': these are missing.
-spec run() -> ok | {error, [atom()]}.
run() ->
    Checks = report(),
    _ = [io:format("~-4ts ~-14ts ~ts~n", [mark(Ok), Stage, Text]) || #{stage := Stage, ok := Ok, text := Text} <- Checks],
    case [Stage || #{stage := Stage, ok := false} <- Checks] of
        [] -> ok;
        Missing -> {error, Missing}
    end.

mark(true) -> "ok";
mark(false) -> "NO".

%% @doc The report: a check each.
-spec report() -> [check()].
report() ->
    [kernel(), modules(), initramfs(), user_namespaces(), memory() | probe()].

check(Stage, Ok, Format, Args) ->
    #{stage => Stage, ok => Ok, text => unicode:characters_to_binary(io_lib:format(Format, Args))}.

kernel() ->
    case evum_config:kernel_check(evum_config:kernel()) of
        {ok, File} -> check(kernel, true, "~ts", [File]);
        {error, Reason} -> check(kernel, false, "~ts", [evum_error:format(Reason)])
    end.

modules() ->
    case filelib:wildcard(?MODULES ++ "/*/kernel") of
        [] -> check(modules, false, "no kernel modules in ~ts, so no overlay for evum:start/0: apt-get install user-mode-linux", [?MODULES]);
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
    check(memory, MiB >= 128, "~b MiB available", [MiB]).

%% The jail's stages are tried by the port program itself.
probe() ->
    case evum_chan:open() of
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
