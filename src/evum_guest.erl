%% SPDX-License-Identifier: Apache-2.0
%% Runs in a machine: what its node asks instead of an epmd, and its start
%%
%% Theory of operation.  Every node of a network listens on the same port of its own
%% address. A peer's name is the label of its machine, which the gateway's DNS knows;
%% the host part of the name says nothing, but for the host's own node: that is reached
%% by the gateway's address, on a port that evum_node opens for it. What the guest is
%% told is a term in a file that the host serves; an image that runs alone has its own.
%%
%% Nothing here may need another module of evum's: this one alone is in the image.
-module(evum_guest).

%% called by net_kernel and the distribution's carrier, as those of erl_epmd
-export([start_link/0, register_node/2, register_node/3, listen_port_please/2]).
-export([address_please/3, port_please/2, port_please/3, names/0, names/1]).
%% called by init
-export([boot/0]).
%% called by the host's side
-export([port/0]).
-export_type([told/0]).

-type told() :: #{
    %% the host's node, its port at the gateway; missing where the guest is to know of none
    host => {node(), inet:port_number()},
    gateway => inet:ip4_address(),
    domain => string(),
    %% others find the node by an epmd in the machine, as they find any
    epmd => true,
    %% what is called once all applications are started
    start => {module(), atom(), [term()]}
}.

-define(PORT, 9100).
%% the protocol's version that all have since OTP 23
-define(VERSION, 6).
-define(DNS_PORT, 53).
-define(DNS_MS, 2000).
-define(TOLD_MAX, 2097152).
%% for the epmd in the machine to listen
-define(TRIES, 100).
-define(TRY_MS, 20).
-define(DIR, "/run/evum").
-define(OWN, "/etc/evum/guest").

%% @doc The port that a guest's node listens on.
-spec port() -> inet:port_number().
port() -> ?PORT.

%% --- in place of erl_epmd -------------------------------------------------------

%% @private
-spec start_link() -> ignore | {ok, pid()} | {error, term()}.
start_link() ->
    case told() of
        #{epmd := true} ->
            ok = start_epmd(),
            erl_epmd:start_link();
        #{} -> ignore
    end.

%% erlexec would start it by a shell.
start_epmd() ->
    File = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
    Port = open_port({spawn_executable, File}, [{args, ["-daemon"]}, exit_status]),
    receive {Port, {exit_status, 0}} -> ok end.

%% @private
-spec register_node(string(), inet:port_number()) -> {ok, integer()} | {error, term()}.
register_node(Name, Port) -> register_node(Name, Port, inet).

%% @private Within a network nobody needs to know; -1: the node makes its own creation.
-spec register_node(string(), inet:port_number(), atom()) -> {ok, integer()} | {error, term()}.
register_node(Name, Port, Driver) ->
    case told() of
        #{epmd := true} -> register_node(Name, Port, Driver, ?TRIES);
        #{} -> {ok, -1}
    end.

%% The epmd may not listen yet.
register_node(Name, Port, Driver, Tries) ->
    case erl_epmd:register_node(Name, Port, Driver) of
        {error, _} when Tries > 1 ->
            receive after ?TRY_MS -> ok end,
            register_node(Name, Port, Driver, Tries - 1);
        Registered -> Registered
    end.

%% @private
-spec listen_port_please(string(), term()) -> {ok, inet:port_number()}.
listen_port_please(_Name, _Host) -> {ok, ?PORT}.

%% @private
-spec address_please(string(), term(), inet | inet6) ->
    {ok, inet:ip_address()} | {ok, inet:ip4_address(), inet:port_number(), pos_integer()} | {error, term()}.
address_please(Name, Host, Family) ->
    case told() of
        #{epmd := true} -> erl_epmd:address_please(Name, Host, Family);
        Told when Family =:= inet -> address(string(Name), string(Host), Told);
        _ -> {error, eafnosupport}
    end.

address(Name, Host, #{host := {Node, Port}, gateway := Gateway} = Told) ->
    case Name ++ "@" ++ Host =:= atom_to_list(Node) of
        true -> {ok, Gateway, Port, ?VERSION};
        false -> machine(Name, Told)
    end;
address(Name, _Host, Told) -> machine(Name, Told).

machine(Name, #{gateway := Gateway, domain := Domain}) ->
    Label = [case C of $_ -> $-; _ -> C end || C <- Name],
    case inet_res:lookup(Label ++ "." ++ Domain, in, a, [{nameservers, [{Gateway, ?DNS_PORT}]}], ?DNS_MS) of
        [Ip | _] -> {ok, Ip, ?PORT, ?VERSION};
        [] -> {error, nxdomain}
    end;
machine(_Name, _Told) -> {error, nxdomain}.

string(Text) when is_atom(Text) -> atom_to_list(Text);
string(Text) when is_tuple(Text) -> inet:ntoa(Text);
string(Text) -> Text.

%% @private
-spec port_please(term(), term()) -> {port, inet:port_number(), non_neg_integer()} | noport | closed | {error, term()}.
port_please(Name, Host) -> port_please(Name, Host, infinity).

%% @private
-spec port_please(term(), term(), timeout()) -> {port, inet:port_number(), non_neg_integer()} | noport | closed | {error, term()}.
port_please(Name, Host, Ms) ->
    case told() of
        #{epmd := true} -> erl_epmd:port_please(Name, Host, Ms);
        #{} -> {port, ?PORT, ?VERSION}
    end.

%% @private
-spec names() -> {ok, [{string(), inet:port_number()}]} | {error, term()}.
names() -> names("localhost").

%% @private
-spec names(term()) -> {ok, [{string(), inet:port_number()}]} | {error, term()}.
names(Host) ->
    case told() of
        #{epmd := true} -> erl_epmd:names(Host);
        #{} -> {ok, [{hd(string:split(atom_to_list(node()), "@")), ?PORT} || is_alive()]}
    end.

%% --- the start --------------------------------------------------------------------

%% @doc Calls the function that the node was started with, and tells the host that the
%% node is up. It runs in a process of its own that stays: what it links to or opens
%% lives on. Where it fails, or answers `{error, _}', the node doesn't start.
-spec boot() -> ok.
boot() ->
    _ = [true = erlang:group_leader(User, self()) || User <- [whereis(user)], User =/= undefined],
    case told() of
        #{start := Start} -> call(Start);
        #{} -> ok
    end,
    say(<<"up">>).

call({Module, Function, Args} = Start) ->
    Boot = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Boot ! {self(), apply(Module, Function, Args)},
        stay()
    end),
    receive
        {Pid, {error, Reason}} -> exit({start_failed, Start, Reason});
        {Pid, _} -> demonitor(Monitor, [flush]);
        {'DOWN', Monitor, process, Pid, Reason} -> exit({start_failed, Start, Reason})
    end.

stay() -> receive _ -> stay() end.

say(Word) ->
    case file:open(?DIR "/said", [write, raw]) of
        {ok, File} ->
            ok = file:write(File, Word),
            ok = file:close(File);
        {error, _} -> ok
    end.

%% --- what the host tells ------------------------------------------------------------

told() ->
    case persistent_term:get(?MODULE, undefined) of
        undefined ->
            Told = maps:merge(read(?OWN), read(?DIR "/guest")),
            persistent_term:put(?MODULE, Told),
            Told;
        Told -> Told
    end.

read(Name) ->
    case file:open(Name, [read, raw, binary]) of
        {ok, File} ->
            {ok, Bytes} = file:read(File, ?TOLD_MAX),
            ok = file:close(File),
            binary_to_term(Bytes);
        {error, _} -> #{}
    end.
