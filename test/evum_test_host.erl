%% SPDX-License-Identifier: Apache-2.0
%% Hosts of a test's own: a BEAM in a network namespace, in which everything ends with it
%%
%% There it is alone with its loopback, its ports and, where one is asked for, its epmd.
-module(evum_test_host).

-export([possible/0, unshare/0, as_nobody/1, run/2, run/3, run/4, start/1, beam/2, other/2, end_other/1]).
-export_type([options/0, other/0]).

-import(evum_test_lib, [sh/1, until/2]).

-define(PATIENCE, 110000).

%% args: more of erl's; epmd: one runs before the BEAM does; as: nobody in place of root
-type options() :: #{args => [string()], epmd => boolean(), as => nobody, home => file:filename()}.

%% a process that is there, and the words before a command that runs there
-type other() :: {port(), There :: string()}.

%% @doc Can there be any?
-spec possible() -> ok | {skip, string()}.
possible() ->
    case sh(unshare() ++ " true") of
        {0, _, _} -> ok;
        {_, _, Why} -> {skip, "no network namespaces here: " ++ binary_to_list(Why)}
    end.

%% @doc Calls a function with the options of an ordinary user's host, whose home goes after it.
-spec as_nobody(fun((options()) -> Result)) -> Result | {skip, string()}.
as_nobody(Run) ->
    case sh("id -u") of
        {0, <<"0\n">>, _} ->
            {0, Home, _} = sh("d=$(mktemp -d) && chown 65534 $d && printf $d"),
            try
                Run(#{as => nobody, home => binary_to_list(Home)})
            after
                sh(["rm -r ", binary_to_list(Home)])
            end;
        _ -> {skip, "it is one"}
    end.

%% @doc An ordinary user is root of a user namespace, where that is allowed.
-spec unshare() -> string().
unshare() ->
    case sh("id -u") of
        {0, <<"0\n">>, _} -> "unshare -n";
        _ -> "unshare -Urn"
    end.

%% @doc Runs a function of a suite there; its result.
-spec run(module(), atom()) -> term().
run(Module, Function) -> run(Module, Function, []).

-spec run(module(), atom(), [term()]) -> term().
run(Module, Function, Args) -> run(Module, Function, Args, #{}).

-spec run(module(), atom(), [term()], options()) -> term().
run(Module, Function, Args, Options) ->
    Beam = start(Options),
    try
        peer:call(Beam, Module, Function, Args, ?PATIENCE)
    after
        peer:stop(Beam)
    end.

%% @doc One more host, linked to the caller; peer:stop/1 ends it.
-spec start(options()) -> pid().
start(Options) ->
    Script = ["ip link set lo up; ", epmd(Options), home(Options), user(Options), "erl \"$@\"; s=$?; ", end_epmd(Options), "exit $s"],
    Words = tl(string:lexemes(unshare(), " ")) ++ ["sh", "-c", lists:flatten(Script), "sh"],
    Beam = beam({os:find_executable("unshare"), Words}, ["-start_epmd", "false" | maps:get(args, Options, [])]),
    _ = peer:call(Beam, logger, set_primary_config, [level, critical]),
    Beam.

epmd(#{epmd := true}) -> "epmd </dev/null >/dev/null 2>&1 & e=$!; until epmd -names >/dev/null 2>&1; do sleep 0.01; done; ";
epmd(_) -> "".

end_epmd(#{epmd := true}) -> "kill $e; wait; ";
end_epmd(_) -> "".

home(#{home := Home}) -> "HOME=" ++ Home ++ " ";
home(_) -> "".

user(#{as := nobody}) -> "setpriv --reuid 65534 --regid 65534 --clear-groups ";
user(_) -> "".

%% @doc A BEAM that evum and the suites are loaded from, and that isn't distributed unless
%% its arguments say so.
-spec beam(file:filename() | {file:filename(), [string()]}, [string()]) -> pid().
beam(Exec, Args) ->
    Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [evum, ?MODULE]]),
    {ok, Beam, _} = peer:start_link(#{connection => standard_io, exec => Exec, args => ["-boot", "no_dot_erlang" | Paths] ++ Args}),
    Beam.

%% @doc Another host, with the other end of interface `Name' of this one, and an address.
-spec other(string(), string()) -> other().
other(Name, Address) ->
    %% it ends with its input
    Port = open_port({spawn_executable, os:find_executable("unshare")}, [{args, ["-n", "cat"]}]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    Pid = integer_to_list(OsPid),
    ok = until(fun() -> file:read_file("/proc/" ++ Pid ++ "/comm") =:= {ok, <<"cat\n">>} end, 5000),
    There = "nsenter -t " ++ Pid ++ " -n ",
    [{0, _, _} = sh(Command) || Command <- [
        ["ip link add ", Name, " type veth peer name eth0 netns ", Pid, " && ip link set ", Name, " up"],
        [There, "ip link set lo up"], [There, "ip addr add ", Address, " dev eth0"], [There, "ip link set eth0 up"]
    ]],
    {Port, There}.

%% @doc Ends it, and what runs there.
-spec end_other(other()) -> ok.
end_other({Port, _There}) ->
    true = port_close(Port),
    ok.
