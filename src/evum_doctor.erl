%% SPDX-License-Identifier: Apache-2.0
%% What this host offers, what is missing, and the command that fixes it
-module(evum_doctor).

-export([run/0, report/0]).
-export_type([check/0]).

-include_lib("kernel/include/file.hrl").

-type check() :: #{stage := atom(), ok := boolean(), text := binary()}.

-define(PROBE_MS, 20000).
-define(MEMORY_MIB, 128).
-define(MODULES, "/usr/lib/uml/modules").
-define(NOBODY, 65534).
%% of linux/capability.h
-define(CAP_NET_ADMIN, 12).
-define(CAP_NET_RAW, 13).
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
    [kernel(), modules(), initramfs(), images(), user_namespaces(), memory()] ++ Probes ++ [uplink(), ping(), packet(), tap(), erlang(), epmd(), cookie()].

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

%% What images are fetched and made with.
images() ->
    Programs = ["bzip2", "cp", "fallocate", "flock", "gzip", "mke2fs", "mmdebstrap", "prlimit", "stat", "xz", "zstd"],
    case [Reason || Program <- Programs, {error, Reason} <- [evm_image_tool:find(Program)]] of
        [] -> cache(evum_home:dir(cache));
        [First | _] -> check(images, false, "~ts", [evum_error:format(First)])
    end.

cache({ok, Dir}) -> check(images, true, "~ts", [Dir]);
cache({error, Reason}) -> check(images, false, "~ts", [evum_error:format(Reason)]).

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

%% --- ways out of a network -------------------------------------------------------

uplink() ->
    case evum_port:program(evum_uplink) of
        {ok, File} -> check(uplink, true, "~ts: libslirp, without privileges", [File]);
        {error, Reason} -> check(uplink, false, "~ts", [evum_error:format(Reason)])
    end.

%% Which groups may have ICMP sockets; root's uplink runs as 65534.
ping() ->
    {ok, Text} = file:read_file("/proc/sys/net/ipv4/ping_group_range"),
    [First, Last] = [binary_to_integer(W) || W <- string:lexemes(Text, "\t\n ")],
    Group = case effective("Gid") of 0 -> ?NOBODY; Gid -> Gid end,
    case Group >= First andalso Group =< Last of
        true -> check(ping, true, "guests reach the outside with ping too", []);
        false -> check(ping, false, "guests don't reach the outside with ping; as root: sysctl -w net.ipv4.ping_group_range='0 2147483647'", [])
    end.

packet() ->
    case has_capability(?CAP_NET_RAW) of
        true -> check(packet, true, "machines may join this host's LAN: {uplink, {packet, Interface}}", []);
        false -> check(packet, false, "{uplink, {packet, Interface}} needs CAP_NET_RAW; as root: setcap cap_net_raw+ep ~ts/evum_uplink", [evm_cfg:priv_dir()])
    end.

tap() ->
    case {element(1, file:read_file_info("/dev/net/tun")), has_capability(?CAP_NET_ADMIN)} of
        {error, _} -> check(tap, false, "this host has no /dev/net/tun; as root: modprobe tun", []);
        {ok, true} -> check(tap, true, "machines may use tap devices: {uplink, {tap, Name}}", []);
        {ok, false} -> check(tap, false, "{uplink, {tap, Name}} needs one of yours; as root: ip tuntap add NAME mode tap user YOU", [])
    end.

%% --- machines that are nodes ----------------------------------------------------

%% What goes into their images is that of the running system.
erlang() ->
    Dir = filename:join(code:root_dir(), "erts-" ++ erlang:system_info(version)),
    case [F || F <- ["beam.smp", "erlexec", "erl_child_setup"], not filelib:is_regular(filename:join([Dir, "bin", F]))] of
        [] -> check(erlang, true, "~ts: machines may be nodes", [Dir]);
        _ -> check(erlang, false, "~ts", [evum_error:format({no_erts, Dir})])
    end.

epmd() ->
    case {evum_epmd:names(), evum_epmd:program()} of
        {{ok, _}, _} -> check(epmd, true, "runs, on port ~b", [evum_epmd:port()]);
        {_, {ok, File}} -> check(epmd, true, "~ts, which evum starts when it is needed", [File]);
        {_, {error, Reason}} -> check(epmd, false, "~ts", [evum_error:format({no_epmd, Reason})])
    end.

%% A node has one, which OTP reads from the home, or makes there.
cookie() ->
    case {erlang:get_cookie(), init:get_argument(setcookie), init:get_argument(home)} of
        {nocookie, error, {ok, [[Home | _] | _]}} -> cookie(filename:join(Home, ".erlang.cookie"));
        {nocookie, error, _} -> check(cookie, false, "~ts", [evum_error:format({no_distribution, {cookie, "HOME isn't set"}})]);
        _ -> check(cookie, true, "this node's own", [])
    end.

cookie(File) ->
    case {file:read_file_info(File), file:read_file_info(filename:dirname(File))} of
        {{ok, #file_info{access = Access}}, _} when Access =:= read; Access =:= read_write -> check(cookie, true, "~ts", [File]);
        {{error, enoent}, {ok, #file_info{type = directory, access = read_write}}} -> check(cookie, true, "~ts, which OTP makes", [File]);
        _ -> check(cookie, false, "~ts", [evum_error:format({no_distribution, {cookie, File ++ " can't be read or made"}})])
    end.

has_capability(Bit) ->
    {match, [Mask]} = re:run(status(), "^CapEff:\\s*([0-9a-f]+)$", [multiline, {capture, all_but_first, binary}]),
    binary_to_integer(Mask, 16) band (1 bsl Bit) =/= 0.

%% The effective one of a line of four ids.
effective(Name) ->
    {match, [Id]} = re:run(status(), "^" ++ Name ++ ":\\s*\\d+\\s+(\\d+)", [multiline, {capture, all_but_first, binary}]),
    binary_to_integer(Id).

status() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    Status.

%% --- the jail -----------------------------------------------------------------------

%% Its stages are tried by the port program itself.
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
