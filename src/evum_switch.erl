%% SPDX-License-Identifier: Apache-2.0
%% One network: who is on it, with which addresses
%%
%% A network is given by its process (evum_switch_server) or its name, under which that
%% is registered. Where there is none every function answers {error, {no_network, Sw}}.
-module(evum_switch).

-export([start/0, start/1, start_link/1, stop/1, list/0, ports/1, fdb/1, info/1, dot/1]).
-export([fault/3, partition/2, partition/3, filter/4, filter/5, release/2, capture/3, capture/4, subscribe/2, subscribe/3, heal/2]).
-export([forward/3, unforward/2]).
-export([host_port/2, plug/2, unplug/2, address/3, lan/1, join/2, foreign/1, find/1, default/0]).
-export_type([rule/0, switch/0, spec/0, plugged/0, plug_error/0, foreign/0, fixed/0]).

-include("evum_lan.hrl").

-type switch() :: pid() | atom().
-type error() :: {error, term()}.
%% A rule that is in force.
-type rule() :: evum_rules:ref().
-type spec() :: #{
    vm := pid(), label := atom(), nic := byte(), port := port(),
    mac => undefined | evum_frame:mac(), ip => undefined | inet:ip4_address(), mtu => pos_integer()
}.
%% What a machine needs to send frames, and what its guest is told.
-type plugged() :: #{
    switch := pid(), name := atom(), lan := evum_lan:lan(), no := evum_lan:port_no(),
    mac := evum_frame:mac(), ip := inet:ip4_address(), mtu := pos_integer(),
    address := binary(), gateway := binary(), nameserver := binary(), domain := binary(), ipv6 := boolean(), ping := [inet:ip4_address()]
}.
-type plug_error() ::
    {no_address, string()} | {not_in_subnet, inet:ip4_address(), string()}
    | {address_in_use, inet:ip4_address()} | {mac_in_use, binary()}.
-type foreign() :: #{label := binary() | atom(), inbox := evum_inbox:inbox()}.
-type fixed() :: #{
    out := none | {port, port(), byte()} | {inbox, evum_inbox:inbox()}, flood := boolean() | ipv6,
    mtu := pos_integer(), owner := pid(), mac => evum_frame:mac(), ip => inet:ip4_address()
}.

-define(CALL_MS, 5000).
%% names net1, net2, … that are tried
-define(NAMES_MAX, 10000).
-define(DEFAULT, net1).

%% --- starting and stopping ---------------------------------------------------------

%% @doc A network with what nobody was asked for: named net1 (then net2, …), of
%% machines 10.77.0.2 to 10.77.0.254, without a way out. net1 is the default
%% network: {@link evum:start/0} plugs its machines there.
-spec start() -> {ok, pid()} | error().
start() -> start([]).

%% @doc A network that lives under evum's supervisor until it is stopped. Options, as
%% a proplist or a map:
%%
%% `name' (an atom, the process is registered under it), `subnet' ("10.77.0.0/24"; where
%% it is missing the first 10.77.N.0/24 that no network of this node uses), `gateway'
%% (an address, the subnet's first by default), `mtu' (576 to 65150; 32000, or 1500
%% with a way out that takes no more), `uplink' (`none', `slirp', `{slirp, Map}',
%% `{packet, Interface}', `{tap, Interface}'), `forward' (a list of {{tcp | udp, HostPort},
%% {Vm, GuestPort}}), `domain' ("evum"), `nameserver' (the gateway), `ping' (addresses that
%% a machine makes itself known to once it is up).
%%
%% Errors: `{bad_option, Key}', `{name_in_use, Name}', `not_started'.
-spec start(proplists:proplist() | map()) -> {ok, pid()} | error().
start(Opts) -> start(fun evum_net_sup:start_child/1, Opts).

%% @doc The same, linked to the caller.
-spec start_link(proplists:proplist() | map()) -> {ok, pid()} | error().
start_link(Opts) -> start(fun evum_switch_server:start_link/1, Opts).

start(Start, Opts) ->
    case evum_net_opts:check(Opts) of
        {ok, #{name := Name} = Net} -> named(Start(with_subnet(1, Net)), Name);
        {ok, Net} -> start_unnamed(Start, Net, 1);
        {error, _} = Error -> Error
    end.

%% Registering is what decides who has a name: two callers may try the same one.
start_unnamed(Start, Net, N) ->
    Name = list_to_atom("net" ++ integer_to_list(N)),
    Free = whereis(Name) =:= undefined,
    case Free andalso named(Start(with_subnet(N, Net#{name => Name})), Name) of
        Taken when N < ?NAMES_MAX, (Taken =:= false orelse Taken =:= {error, {name_in_use, Name}}) ->
            start_unnamed(Start, Net, N + 1);
        false -> {error, {name_in_use, Name}};
        Started -> Started
    end.

%% It is chosen here, so that a network that is started anew has the same one.
with_subnet(_N, #{subnet := _} = Net) -> Net;
with_subnet(N, Net) -> Net#{subnet => evum_subnet:default(N, [S || {_, #{subnet := S}} <- running()])}.

named({error, {already_started, _}}, Name) -> {error, {name_in_use, Name}};
named({ok, Pid}, _Name) -> with_way(call(Pid, {way, started}), Pid);
named({error, _} = Error, _Name) -> Error.

%% A network that can't have its way out is none. One that had it and crashed comes
%% back, and tries again and again.
with_way(ok, Pid) -> {ok, Pid};
with_way({error, _} = Error, Pid) ->
    unlink(Pid),
    _ = stop(Pid),
    Error.

%% @doc Ends a network; its machines stay and are unplugged.
-spec stop(switch()) -> ok | error().
stop(Sw) ->
    try
        gen_server:stop(where(Sw), normal, ?CALL_MS)
    catch
        exit:timeout -> {error, {timeout, network, unresponsive}};
        exit:_ -> {error, {no_network, Sw}}
    end.

%% --- what there is ------------------------------------------------------------------

%% @doc The networks of this node, by name.
-spec list() -> [#{name := atom(), pid := pid(), subnet := string(), mtu := pos_integer(), machines := non_neg_integer(), atom() => term()}].
list() -> [Info || {Pid, _} <- running(), Info <- [info(Pid)], is_map(Info)].

running() ->
    Pids = [{Name, Pid} || Name <- lists:sort(registered()), Pid <- [whereis(Name)], is_switch(Pid)],
    [{Pid, Net} || {_, Pid} <- Pids, Net <- [call(Pid, net)], is_map(Net)].

is_switch(Pid) ->
    is_pid(Pid) andalso node(Pid) =:= node() andalso proc_lib:translate_initial_call(Pid) =:= {evum_switch_server, init, 1}.

%% @doc The default network, where it runs.
-spec default() -> {ok, pid()} | none.
default() ->
    Pid = whereis(?DEFAULT),
    case is_switch(Pid) of
        true -> {ok, Pid};
        false -> none
    end.

%% @doc The network that is meant by a pid, a name, or a name in evm.cfg: that one is
%% started where it doesn't run.
-spec find(term()) -> {ok, pid()} | {error, term()}.
find(Pid) when is_pid(Pid) -> found(is_switch(Pid), Pid, Pid);
find(Name) when is_atom(Name) ->
    Pid = whereis(Name),
    case is_switch(Pid) of
        true -> {ok, Pid};
        false -> find_configured(Name)
    end;
find(Net) -> {error, {no_network, Net}}.

found(true, Pid, _Net) -> {ok, Pid};
found(false, _, Net) -> {error, {no_network, Net}}.

find_configured(Name) ->
    case evm_cfg:network(Name) of
        {ok, Opts} -> configured(start(Opts#{name => Name}), Name);
        {error, _} = Error -> Error
    end.

%% Somebody else may have started it meanwhile.
configured({error, {name_in_use, Name}}, Name) ->
    Pid = whereis(Name),
    case is_switch(Pid) of
        true -> {ok, Pid};
        false -> {error, {name_in_use, Name}}
    end;
configured(Started, _Name) -> Started.

%% @doc The ports, machines and others, and what each counts: rx is what came from it,
%% tx what went to it, frames and bytes; `dropped' what was for it and couldn't be
%% taken, `spoofed' what it sent from an address that isn't its own, `unlearned' how
%% often it sent from one that was one too many. `vm' is the process behind it.
-spec ports(switch()) -> [#{no := non_neg_integer(), kind := atom(), label := atom() | binary(), vm := pid(), atom() => term()}] | error().
ports(Sw) ->
    with_lan(Sw, fun(Lan) ->
        ok = evum_flow:settle(Lan),
        [describe(P) || P <- evum_switch_ports:ports(Lan)]
    end).

describe(#port{no = No, kind = Kind, label = Label, owner = Owner, nic = Nic, mac = Mac, ip = Ip, counters = Counters}) ->
    Counts = maps:without([learned, flow_frames, flow_bytes], evum_lan:counts(Counters)),
    Addresses = [{mac, evum_frame:mac_text(Mac)} || Mac =/= undefined] ++ [{ip, Ip} || Ip =/= undefined],
    maps:merge(maps:from_list(Addresses), Counts#{no => No, kind => Kind, label => Label, vm => Owner, nic => Nic}).

%% @doc The addresses that frames find their port by: assigned ones (`static') and those
%% that were seen (`dynamic').
-spec fdb(switch()) -> [#{mac := binary(), port := non_neg_integer(), type := static | dynamic, age => non_neg_integer()}] | error().
fdb(Sw) -> with_lan(Sw, fun evum_switch_ports:fdb/1).

%% The tables may end meanwhile.
with_lan(Sw, Fun) ->
    case lan(Sw) of
        #lan{} = Lan ->
            try
                Fun(Lan)
            catch
                error:badarg -> {error, {no_network, Sw}}
            end;
        {error, _} = Error -> Error
    end.

%% @doc A network in a map: `name', `pid', `subnet', `gateway', `mtu', `domain', `uplink',
%% `machines' (how many are plugged), `addresses' (how many are known), `flows' (from how
%% many machines to how many neighbours frames go without a turn through Erlang, as no rule
%% wants to see them), `rules', `way' (of the way out: uplink, restarts, forwards, counters).
-spec info(switch()) -> #{atom() => term()} | error().
info(Sw) -> call(Sw, info).

%% @doc A picture of a network, of several, or of `all' there are, as Graphviz text: machines,
%% other ports, gateway and uplink, forwards and rules. `dot -Tsvg' draws it.
-spec dot(switch() | [switch()] | all) -> binary() | error().
dot(all) -> dot([Pid || #{pid := Pid} <- list()]);
dot(Switches) when is_list(Switches) ->
    Seen = [{info(Sw), ports(Sw)} || Sw <- Switches],
    case [Error || {Info, Ports} <- Seen, {error, _} = Error <- [Info, Ports]] of
        [] -> evum_dot:graph(Seen, maps:from_list([{Vm, State} || #{pid := Vm, state := State} <- evm:list()]));
        [Error | _] -> Error
    end;
dot(Sw) -> dot([Sw]).

%% --- ways in ------------------------------------------------------------------------

%% @doc A port of this host that leads to a machine's: `{tcp | udp, HostPort}', of 127.0.0.1,
%% or `{tcp | udp, HostIp, HostPort}'; 0 picks one that is free. The machine is given
%% by its pid or its label. By its label the way in outlasts it: it is there again, with
%% the same port, when another machine of that label is plugged in. A machine's end
%% closes its connections. The way in lives as long as the network.
%%
%% Errors: `{not_plugged, Vm}', `eaddrinuse', `eacces' (a port that is root's to use),
%% `eaddrnotavail', `{bad_option, forward}', `{no_forward, packet | tap}': machines have
%% addresses of their own there.
-spec forward(switch(), {tcp | udp, inet:port_number()} | {tcp | udp, term(), inet:port_number()}, {pid() | atom(), inet:port_number()}) ->
    {ok, HostPort :: inet:port_number()} | error().
forward(Sw, Host, Guest) ->
    case evum_net_opts:value(forward, [{Host, Guest}]) of
        {ok, [{CheckedHost, CheckedGuest}]} -> call(Sw, {way, {forward, CheckedHost, CheckedGuest}});
        error -> {error, {bad_option, forward}}
    end.

%% @doc Ends the ways in of a port of this host: of TCP and UDP, unless it is given with
%% one of them. Connections that came that way stay.
-spec unforward(switch(), inet:port_number() | {tcp | udp, inet:port_number()}) -> ok | {error, {no_forward, term()} | term()}.
unforward(Sw, Which) -> call(Sw, {way, {unforward, Which}}).

%% --- rules ----------------------------------------------------------------------------

%% @doc A bad cable: of a machine; between two, where `from' is from the first to the
%% second; or of `all', where a frame meets it once, on its way into the switch, whoever
%% sends it, now or later. In a map or proplist:
%%
%% `loss', `duplicate', `corrupt' (one bit flips) and `reorder', probabilities from 0 to 1;
%% `delay' and `jitter', ms: frames take the one more or less up to the other, in
%% their order, but for those that `reorder' picks, which don't wait (without a delay
%% they are 10 ms late instead); `rate', bit/s, with a queue of 200 ms or 128 KiB,
%% whichever is more (of `all' each sender has a line of its own); `direction', `both'
%% (default), `from' or `to' the machine; `seed', an integer: the same one has the same
%% fate in store for the same frames.
%%
%% This, as every rule, ends with the process that asked for it (in the erl shell with
%% the shell), with a machine that it names, or when it is healed. `life', a process or
%% `switch', says otherwise. It holds for all NICs that a machine has here, also after a
%% reboot, and when it is plugged anew. What ends by itself, and neither by {@link heal/2}
%% nor with who asked, sends him `{evum, Sw, {rule_ended, Rule, Reason}}'; with a switch
%% that ends all its rules do, and nothing is sent. Rules of one port apply in the order
%% in which they were asked for; what an ended one keeps goes on at once.
%%
%% A machine is given by its pid or label, another port by its label (`gateway', `uplink',
%% as in {@link ports/1}); what isn't there is `{error, {not_plugged, Vm}}'. What is counted
%% is in {@link info/1}, under `rules'.
-spec fault(switch(), evum_rule:vm() | {evum_rule:vm(), evum_rule:vm()} | all, map() | proplists:proplist()) -> {ok, rule()} | error().
fault(Sw, On, Spec) -> rule(Sw, evum_rule:fault(On, Spec)).

%% @doc Machines of different groups exchange nothing; the gateway, and machines in no
%% group, reach all. It ends when all but one of the groups have.
-spec partition(switch(), [[evum_rule:vm()]]) -> {ok, rule()} | error().
partition(Sw, Groups) -> partition(Sw, Groups, []).

%% @doc The same with the option `life'.
-spec partition(switch(), [[evum_rule:vm()]], map() | proplists:proplist()) -> {ok, rule()} | error().
partition(Sw, Groups, Opts) -> rule(Sw, evum_rule:partition(Groups, Opts)).

%% @doc A fun decides about each frame from and to a machine, in a process of its own:
%% `fun(Frame, from | to, State) -> {Verdict, State}'. Verdicts: `forward', `drop', `{hold,
%% Tag}' until {@link release/2}, `{replace, Frame}', `{also, Frames}', which follow it
%% the same way; what comes from a machine must come from its address. What waits for
%% it and what it holds is 4 MiB at most each, a direction; more is dropped. The rule
%% ends with `{filter_crashed, {Class, Reason, Stack}}', `{bad_verdict, Answer}', or
%% `{timeout, filter}' after a second; what it held then goes on.
-spec filter(switch(), evum_rule:vm() | all, evum_filter:callback(), State :: term()) -> {ok, rule()} | error().
filter(Sw, On, Fun, State) -> filter(Sw, On, Fun, State, []).

%% @doc The same with the option `life'.
-spec filter(switch(), evum_rule:vm() | all, evum_filter:callback(), State :: term(), map() | proplists:proplist()) -> {ok, rule()} | error().
filter(Sw, On, Fun, State, Opts) -> rule(Sw, evum_rule:filter(On, Fun, State, Opts)).

%% @doc The frames that a filter holds under a tag go on, in their order.
-spec release(rule(), Tag :: term()) -> ok | error().
release({Sw, _} = Rule, Tag) -> call(Sw, {rule, {release, Rule, Tag}});
release(Other, _Tag) -> {error, {no_rule, Other}}.

%% @doc Writes frames into a file of this host, which is emptied, for Wireshark (pcapng):
%% a machine's, from it and to it, as they are at its end of the cable; or `all', each
%% once, as it was sent. An interface is called as the machine, its second NIC
%% `Label:eth1'. The file can be read while it grows, and is complete after {@link heal/2}.
-spec capture(switch(), evum_rule:vm() | all, file:name_all()) -> {ok, rule()} | {error, {local, file:posix(), File :: binary()} | term()}.
capture(Sw, On, File) -> capture(Sw, On, File, []).

%% @doc The same with options: `max_size' (bytes or `infinity'; 1 GiB), at which the rule
%% ends; `snaplen' (bytes of a frame that are kept; `infinity'); `life'.
-spec capture(switch(), evum_rule:vm() | all, file:name_all(), map() | proplists:proplist()) ->
    {ok, rule()} | {error, {local, file:posix(), File :: binary()} | term()}.
capture(Sw, On, File, Opts) -> rule(Sw, evum_rule:capture(On, File, Opts)).

%% @doc The caller is sent `{evum, Sw, {frame, Vm, from | to, Frame}}' for each frame from
%% or to a machine; of `all' each once, from who sent it. What isn't a machine goes by
%% its label. While a thousand messages wait in his mailbox frames are only counted.
-spec subscribe(switch(), evum_rule:vm() | all) -> {ok, rule()} | error().
subscribe(Sw, On) -> subscribe(Sw, On, []).

%% @doc The same with the option `life'.
-spec subscribe(switch(), evum_rule:vm() | all, map() | proplists:proplist()) -> {ok, rule()} | error().
subscribe(Sw, On, Opts) -> rule(Sw, evum_rule:subscribe(On, Opts)).

%% @doc Ends a rule, or all. One that has ended already is no error.
-spec heal(switch(), rule() | all) -> ok | error().
heal(Sw, Rule) -> evum_rule:healed(call(Sw, {rule, {heal, Rule}})).

rule(_Sw, {error, _} = Error) -> Error;
rule(Sw, {ok, Request}) -> call(Sw, {rule, Request}).

%% @doc Lets the machines of a network reach one TCP port of this host's 127.0.0.1 by the
%% gateway's address, and nothing else of the host; `none' ends that, and connections stay.
%% For the host's own distribution, which evum_node has opened. Errors: those of an uplink
%% that can't start; `{no_forward, packet | tap}': machines are on the host's own network.
-spec host_port(switch(), inet:port_number() | none) -> ok | error().
host_port(Sw, Port) -> call(Sw, {way, {host_port, Port}}).

%% --- for machines and other ports ------------------------------------------------------

%% @doc Plugs a machine's NIC, or tells that its port program is another now.
-spec plug(switch(), spec()) -> {ok, plugged()} | {error, plug_error() | {no_network, switch()}}.
plug(Sw, Spec) -> call(Sw, {plug, Spec}).

%% @doc Takes a port away, and what is known of it, at once.
-spec unplug(switch(), evum_lan:port_no()) -> ok | error().
unplug(Sw, No) -> call(Sw, {unplug, No}).

%% @doc A machine has another address now; the subnet doesn't bind who sets his own.
-spec address(switch(), evum_lan:port_no(), undefined | inet:ip4_address()) -> ok | error().
address(Sw, No, Ip) -> call(Sw, {address, No, Ip}).

%% @doc The network's tables.
-spec lan(switch()) -> evum_lan:lan() | error().
lan(Sw) -> call(Sw, lan).

%% @doc Adds a port for a process that is no machine, the owner of `inbox'; it goes with
%% him. He is sent `{evum_lan, output, From, Count, Body}', frames of `max_frame' bytes at
%% most, and calls {@link evum_lan:input/4} with what he has.
-spec join(switch(), foreign()) ->
    {ok, #{no := evum_lan:port_no(), lan := evum_lan:lan(), max_frame := pos_integer()}} | error().
join(Sw, Foreign) -> call(Sw, {join, Foreign}).

%% @doc Others than evum's machines are going to join: a network whose MTU wasn't asked
%% for, and that has no machine yet, gets 1500.
-spec foreign(switch()) -> ok | error().
foreign(Sw) -> call(Sw, foreign).

call(Sw, Request) ->
    try
        gen_server:call(where(Sw), Request, ?CALL_MS)
    catch
        exit:{timeout, _} -> {error, {timeout, network, unresponsive}};
        exit:_ -> {error, {no_network, Sw}}
    end.

%% No other process is asked what a switch is asked.
where(Pid) when is_pid(Pid) ->
    case is_switch(Pid) of
        true -> Pid;
        false -> exit(noproc)
    end;
where(Name) when is_atom(Name) ->
    case whereis(Name) of
        undefined -> exit(noproc);
        Pid -> where(Pid)
    end;
where(_) -> exit(noproc).
