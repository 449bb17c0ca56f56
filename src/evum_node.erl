%% SPDX-License-Identifier: Apache-2.0
%% A machine that is an Erlang node, of one cluster with this one
%%
%% What is done, in this order: options are checked, this node is made one of a cluster
%% where it isn't, the network is found, the image is baked, unless it is in the cache, the
%% name is taken, the machine boots, and the node is pinged. A machine that joins a cluster
%% is trusted as the code of this node is.
-module(evum_node).

-export([start/1, start_link/1, child_spec/1, stop/1, stop/2]).

-define(STOP_MS, 5000).
-define(STOP_MAX, 3600000).
-define(NAMES_MAX, 10000).
-define(DIR, <<"/run/evum">>).

-type options() :: proplists:proplist() | map().
-type error() :: {error, term()}.

%% @doc Starts a machine whose node is one of this node's cluster. Returns once it answers
%% a ping, all its applications and its start function included. Options, as a proplist
%% or a map:
%%
%% `name', an atom: the node is `Name@127.0.0.1', or `Name@localhost' where this node has a
%% short name; the machine's label is the name, with hyphens for underscores. Without
%% it its release's name, or node1, node2, … What is in the machine: `apps', `paths', `release', `busybox' as of {@link
%% evum_release:bake/1}, whose images are kept in the cache; or `image', a file that it has
%% made. `start', `{Module, Function, Args}', is called when all applications are
%% started, in a process that stays; `{error, _}' is a failure.
%%
%% `cookie' (an atom or string; one for all nodes of a network is made by default);
%% `args', words for erl; `vm_args', a file of them, whose -name and -setcookie are
%% taken for `name' and `cookie'; `sys_config', a file, or its terms. `net', a network as
%% of {@link evm:create/1}, by default the one of {@link evum_switch:start/0}, which is started
%% where it doesn't run. On one with `{tap, _}' or `{packet, _}' it is given with an address, `{Net, #{ip =>
%% Ip}}': the node is `Name@Ip', which an epmd in the machine tells whoever can reach it, and
%% nobody is connected when this returns. `host_link': `visible', or `hidden': nodes of machines don't know
%% this one, which sees them; a link that was lost net_kernel:hidden_connect_node/1 makes again, while a
%% ping would make one that they see. Where this node has visible links to others than its machines, `hidden' it must be. `net_ticktime' (s; 8): a node that was cut off is down to the
%% others after three to five quarters of it.
%%
%% Of the machine: `mem' (MiB; what the image needs, and 32), `owner', `console', `life', `wait_boot' or `timeout' (ms,
%% 60000, all in all after the bake; `false' returns as soon as the machine is made), `kernel', `cpu', `on_reboot',
%% `verbose', `share', `state'. The owner is sent what the console showed while it booted, the last 1000
%% lines, when the node is up. When the machine ends, this node is disconnected from it at
%% once, and the name is free.
%%
%% Errors: `{bad_option, Key}', `{name_taken, Name}', `{too_little_memory, MiB, NeededMiB}',
%% `{no_ip, Net}', `{bad_vm_args | bad_sys_config, File, Why}', `{node_failed, Ending, Lines}': it ended, or wasn't up in time, and
%% printed these lines, a crash report among them; those of {@link evum_release:bake/1},
%% {@link evum_dist:start/0} and {@link evm:create/1}. Nothing is left of a node then.
-spec start(options()) -> {ok, Vm :: pid(), node()} | error().
start(Opts) -> start(start, Opts).

%% @doc The same, linked to the caller; without owner and console unless asked otherwise.
%% A supervisor takes the answer as it is.
-spec start_link(options()) -> {ok, Vm :: pid(), node()} | error().
start_link(Opts) -> start(start_link, Opts).

%% @doc A child specification: a node is restarted under its name when it crashed, not
%% when it was stopped. The supervisor waits for each boot, but for `wait_boot' false.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Opts) ->
    #{id := Id} = Spec = evum:child_spec(#{}),
    Name = if is_map(Opts) -> maps:get(name, Opts, Id); true -> proplists:get_value(name, Opts, Id) end,
    Spec#{id := Name, start := {?MODULE, start_link, [Opts]}}.

start(How, Opts) ->
    case evum_node_opts:check(How, Opts) of
        {ok, Wanted} -> steps([fun host/1, fun network/1, fun image/1, fun identity/1, fun boot/1], Wanted#{how => How});
        {error, _} = Error -> Error
    end.

steps([Last], Plan) -> Last(Plan);
steps([Step | Rest], Plan) ->
    case Step(Plan) of
        {ok, More} -> steps(Rest, maps:merge(Plan, More));
        {error, _} = Error -> Error
    end.

%% --- before the boot ----------------------------------------------------------------

host(_Plan) ->
    case evum_dist:start() of
        {ok, Host} -> {ok, #{host => Host}};
        {error, _} = Error -> Error
    end.

network(#{net := {Net, Nic}} = Plan) -> found(evum_switch:find(Net), Nic, Plan);
network(#{net := default} = Plan) ->
    case evum_switch:default() of
        {ok, Sw} -> found({ok, Sw}, #{}, Plan);
        none -> found(evum_switch:start(#{name => net1}), #{}, Plan)
    end.

found({ok, Sw}, Nic, Plan) -> reachable(Sw, evum_switch:info(Sw), Plan, #{switch => Sw, nic => Nic});
%% two may start the default network at a time
found({error, {name_in_use, Name}}, Nic, Plan) -> found(evum_switch:find(Name), Nic, Plan);
found({error, _} = Error, _Nic, _Plan) -> Error.

%% On a network of this host a guest that is to know of this node reaches its distribution,
%% and nothing else of this host. With a way out to another network the node has an address
%% there, and an epmd of its own.
reachable(_Sw, {error, _} = Error, _Plan, _Known) -> Error;
reachable(_Sw, #{name := Name, uplink := {How, _}}, _Plan, Known) when How =:= packet; How =:= tap -> outside(Known#{network => Name});
reachable(Sw, #{name := Name} = Info, Plan, Known) -> inside(Sw, Info, Plan, Known#{network => Name}).

inside(Sw, #{gateway := Gateway, domain := Domain}, Plan, Known) ->
    Told = #{gateway => Gateway, domain => binary_to_list(Domain)},
    case Plan of
        #{host_link := hidden} -> {ok, Known#{told => Told}};
        #{host := #{node := Node, port := Port}} ->
            ok = warn([Other || Other <- nodes(), evum_node_names:find(Other) =:= {error, noproc}]),
            case evum_switch:host_port(Sw, Port) of
                ok -> {ok, Known#{told => Told#{host => {Node, Port}}}};
                {error, _} = Error -> Error
            end
    end.

%% Others that see this node are told of the machine's, and can't reach it.
warn([]) -> ok;
warn(Others) ->
    logger:warning("evum: ~tp can't reach the nodes of machines, for which global will disconnect those from this node: "
                   "start them with host_link hidden, or the former with -kernel prevent_overlapping_partitions false", [Others]).

outside(#{nic := #{ip := Ip}} = Known) -> {ok, Known#{told => #{epmd => true}, host => #{domain => long, host => inet:ntoa(Ip)}}};
outside(#{switch := Sw}) -> {error, {no_ip, Sw}}.

image(#{image := none, bake := What, told := Told, start := Start} = Plan) ->
    Calls = case Start of none -> #{}; _ -> #{calls => Start} end,
    needs(evum_release:bake(maps:merge(maps:merge(What, Calls), maps:with([epmd], Told))), Plan);
image(#{image := File} = Plan) -> needs(evum_release:info(File), Plan).

needs({ok, #{image := File, mem := Default, least := Least} = Baked}, #{mem := Mem}) ->
    case Mem of
        default -> {ok, #{image => File, mem => Default, baked => Baked}};
        _ when Mem >= Least -> {ok, #{image => File, baked => Baked}};
        _ -> {error, {too_little_memory, Mem, Least}}
    end;
needs({error, _} = Error, _Plan) -> Error.

%% Who nobody gives a name or cookie has those of its release.
identity(#{name := Name, cookie := Cookie, baked := Baked, network := Network}) ->
    case evum_node_opts:name(Name, maps:get(name, Baked, none)) of
        {ok, Own} when Cookie =/= undefined -> {ok, #{name => Own}};
        {ok, Own} when is_map_key(cookie, Baked) -> {ok, #{name => Own, cookie => binary_to_atom(maps:get(cookie, Baked))}};
        {ok, Own} -> {ok, #{name => Own, cookie => evum_node_names:cookie(Network)}};
        error -> {error, {bad_option, name}}
    end.

%% --- the boot -------------------------------------------------------------------------

boot(#{wait_boot := Wait} = Plan) ->
    Begun = erlang:monotonic_time(millisecond),
    Watcher = evum_node_boot:start(),
    case take_name(Plan, Watcher) of
        {ok, Named} ->
            Machine = machine(Named, Watcher),
            started(Machine, Named#{wait_boot := left(Wait, Begun)}, Watcher);
        {error, _} = Error -> not_started(Error, Watcher)
    end.

left(false, _Begun) -> false;
left(Ms, Begun) -> max(1, Begun + Ms - erlang:monotonic_time(millisecond)).

take_name(#{name := undefined} = Plan, Watcher) -> take_first(1, Plan, Watcher);
take_name(#{name := Name, host := #{host := Host}, told := Told, net_ticktime := TickTime} = Plan, Watcher) ->
    Node = list_to_atom(atom_to_list(Name) ++ "@" ++ Host),
    Where = case Told of #{epmd := true} -> outside; #{} -> inside end,
    case whereis(label(Name)) =:= undefined andalso evum_node_names:take(Name, Node, Where, evum_node_boot:pid(Watcher), TickTime) of
        {ok, Port} -> {ok, Plan#{node => Node, port => Port}};
        {error, _} = Error -> Error;
        false -> {error, {name_taken, Name}}
    end.

take_first(N, Plan, Watcher) ->
    case take_name(Plan#{name := list_to_atom("node" ++ integer_to_list(N))}, Watcher) of
        {error, {name_taken, _}} when N < ?NAMES_MAX -> take_first(N + 1, Plan, Watcher);
        Taken -> Taken
    end.

machine(#{how := start, wait_boot := Wait} = Plan, Watcher) -> evm:create((machine_options(Plan, Watcher))#{wait_boot => Wait});
machine(#{how := start_link} = Plan, Watcher) -> evum:start_link(machine_options(Plan, Watcher)).

%% The watcher sees the console also of a machine that is to have none; it says so at the end.
machine_options(#{machine := Given, name := Name, image := Image, mem := Mem, switch := Sw, nic := Nic, console := Console} = Plan, Watcher) ->
    Pid = evum_node_boot:pid(Watcher),
    Served = {evum_node_files, #{tell => Pid, files => files(Plan)}, ?DIR},
    Given#{
        label => label(Name), dist => {initramfs, Image}, mem => Mem, net => {Sw, Nic}, owner => Pid,
        console => case Console of none -> line; _ -> Console end,
        state => [Served | case maps:get(state, Given, []) of One when is_tuple(One) -> [One]; States -> States end]
    }.

label(Name) -> list_to_atom([case C of $_ -> $-; _ -> C end || C <- atom_to_list(Name)]).

started({ok, Vm}, #{name := Name, node := Node} = Plan, Watcher) ->
    case evum_node_names:keep(Name, Vm) of
        ok -> watched(evum_node_boot:watch(Watcher, Vm, Plan), Vm, Node);
        {error, _} = Error ->
            _ = evum:crash(Vm),
            not_started(Error, Watcher)
    end;
started({error, {label_in_use, _}}, #{name := Name}, Watcher) -> not_started({error, {name_taken, Name}}, Watcher);
started({error, _} = Error, _Plan, Watcher) -> not_started(Error, Watcher).

watched(ok, Vm, Node) -> {ok, Vm, Node};
watched({error, _} = Error, _Vm, _Node) -> Error.

not_started(Error, Watcher) ->
    true = evum_node_boot:cancel(Watcher),
    Error.

%% --- what the guest is told ---------------------------------------------------------

files(#{told := Told, start := Start, sys_config := Config} = Plan) ->
    Guest = case Start of none -> Told; _ -> Told#{start => Start} end,
    Files = #{<<"node">> => words(Plan), <<"guest">> => term_to_binary(Guest)},
    case Config of
        none -> Files;
        _ -> Files#{<<"sys.config">> => Config}
    end.

%% What is given first counts where it is given twice.
words(#{node := Node, cookie := Cookie, host := #{domain := Domain}, net_ticktime := TickTime} = Plan) ->
    Words = [case Domain of long -> "-name"; short -> "-sname" end, atom_to_binary(Node), "-setcookie", atom_to_binary(Cookie),
             "-kernel", "net_ticktime", integer_to_list(TickTime)] ++ overlapping(Plan) ++ config(Plan) ++ maps:get(args, Plan),
    iolist_to_binary([["arg ", Word, $\n] || Word <- Words]).

%% This node sees machines on both sides of a cut, and is to keep them.
overlapping(#{host_link := visible}) -> ["-kernel", "prevent_overlapping_partitions", "false"];
overlapping(#{host_link := hidden}) -> [].

config(#{sys_config := none}) -> [];
config(_) -> ["-config", [?DIR, "/sys"]].

%% --- the end ----------------------------------------------------------------------------

%% @doc Stops a node and its machine, given by either, or by the name: init:stop/0 first,
%% so that applications are stopped in order. Returns when nothing is left.
-spec stop(evum:vm() | node()) -> ok | error().
stop(Which) -> stop(Which, ?STOP_MS).

%% @doc The same; the node has `GraceMs' for init:stop/0, and then its machine's guest for a power off.
-spec stop(evum:vm() | node(), GraceMs :: non_neg_integer()) -> ok | error().
stop(Which, GraceMs) when is_integer(GraceMs), GraceMs >= 0, GraceMs =< ?STOP_MAX ->
    case evum_node_names:find(Which) of
        {ok, Vm, Node} -> stop(Vm, Node, GraceMs);
        {error, _} = Error -> Error
    end;
stop(_Which, _GraceMs) -> {error, {bad_option, grace}}.

%% Where there is no connection none is made: it would be one that others see. The
%% guest's power off tells the node to stop too, by a signal.
stop(Vm, Node, GraceMs) ->
    case lists:member(Node, nodes(connected)) of
        true -> stop_node(Vm, Node, GraceMs);
        false -> stop_machine(Vm)
    end.

stop_node(Vm, Node, GraceMs) ->
    Monitor = monitor(process, Vm),
    ok = erpc:cast(Node, init, stop, []),
    receive
        {'DOWN', Monitor, process, Vm, _} -> ok
    after GraceMs ->
        true = demonitor(Monitor, [flush]),
        stop_machine(Vm)
    end.

stop_machine(Vm) ->
    case evum:stop(Vm) of
        {error, noproc} -> ok;
        Result -> Result
    end.
