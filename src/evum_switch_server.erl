%% SPDX-License-Identifier: Apache-2.0
%% The process of a network
%%
%% Theory of operation.  The process owns the network's tables and changes their
%% rows: ports come and go here, addresses are assigned, old ones forgotten. It is
%% not on the way of a frame: those who have frames read the tables (evum_lan), and
%% between two machines without rules not even those are needed (evum_flow).
%% What helps it (the gateway, links, captures, the uplink) is linked to it and has
%% no life without it.
%%
%% The process is registered under the network's name. When it crashes and its
%% supervisor starts it anew it calls the machines of this node by that name, and each
%% that was plugged there is plugged again, with its addresses.
-module(evum_switch_server).
-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include("evum_lan.hrl").

-define(SWEEP_MS, 30000).
-define(MTU_FOREIGN, 1500).
%% before a gateway that crashed is started again
-define(ROUTER_MS, 100).

-record(state, {
    net :: evum_net_opts:net(),
    subnet :: evum_subnet:subnet(),
    lan :: evum_lan:lan(),
    mtu :: pos_integer(),
    %% the process behind the gateway's address, where that is ours
    router :: undefined | pid(),
    rules :: evum_rules:rules(),
    %% undefined while init runs
    way :: undefined | evum_way:way(),
    %% of the next port
    next = 2 :: pos_integer(),
    monitors = #{} :: #{reference() => evum_lan:port_no()}
}).

%% @doc Starts a network of checked options that has its name and subnet.
-spec start_link(evum_net_opts:net()) -> {ok, pid()} | {error, term()}.
start_link(#{name := Name} = Net) -> gen_server:start_link({local, Name}, ?MODULE, Net, []).

%% @private
-spec init(evum_net_opts:net()) -> {ok, #state{}}.
init(#{name := Name, subnet := Subnet} = Net) ->
    process_flag(trap_exit, true),
    _ = erlang:send_after(?SWEEP_MS, self(), sweep),
    Lan = evum_switch_ports:new(self(), Name),
    S = start_router(#state{net = Net, subnet = Subnet, lan = Lan, mtu = evum_net_opts:mtu(Net), rules = evum_rules:new(Lan)}),
    Way = evum_way:new(Lan, maps:merge(maps:with([uplink, forward], Net), #{
        gateway => evum_subnet:gateway(Subnet), prefix => evum_subnet:prefix(Subnet), mtu => S#state.mtu
    })),
    _ = [Vm ! {evum_switch, up, Name, self()} || Vm <- evum_vm:all()],
    {ok, S#state{way = Way}}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({plug, Spec}, _From, #state{subnet = Subnet, lan = Lan, mtu = Mtu, next = No} = S) ->
    case evum_switch_ports:plug(Spec#{mtu => Mtu}, Subnet, No, Lan) of
        {again, Port} -> {reply, {ok, plugged(Port, S)}, with_machine(Port, S)};
        {new, Port} -> {reply, {ok, plugged(Port, S)}, with_machine(Port, added(Port, S))};
        {error, _} = Error -> {reply, Error, S}
    end;
handle_call({join, Foreign}, _From, #state{lan = Lan, next = No} = S) ->
    #port{max_frame = Max} = Port = evum_switch_ports:join(Foreign, No, Lan),
    {reply, {ok, #{no => No, lan => Lan, max_frame => Max}}, added(Port, S)};
handle_call({unplug, No}, _From, S) -> {reply, ok, removed(No, S)};
handle_call({address, No, Ip}, _From, #state{lan = #lan{ports = Ports} = Lan} = S) ->
    case evum_switch_ports:address(No, Ip, Lan) of
        ok -> {reply, ok, with_machine(hd(ets:lookup(Ports, No)), S)};
        {error, _} = Error -> {reply, Error, S}
    end;
handle_call({way, Request}, _From, #state{way = Way} = S) ->
    {Reply, Way1} = evum_way:request(Request, Way),
    {reply, Reply, with_way(Way1, S)};
handle_call({rule, Request}, _From, #state{rules = Rules} = S) ->
    {Reply, Rules1} = evum_rules:request(Request, Rules),
    {reply, Reply, S#state{rules = Rules1}};
handle_call(foreign, _From, S) -> {reply, ok, lower_mtu(S)};
handle_call(lan, _From, #state{lan = Lan} = S) -> {reply, Lan, S};
handle_call(net, _From, #state{net = Net} = S) -> {reply, Net, S};
handle_call(info, _From, S) -> {reply, describe_all(S), S};
handle_call(_Other, _From, S) -> {reply, {error, badarg}, S}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Other, S) -> {noreply, S}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(Message, #state{rules = Rules} = S) ->
    case evum_rules:info(Message, Rules) of
        {ok, Rules1} -> {noreply, S#state{rules = Rules1}};
        ignore -> {noreply, way_info(Message, S)}
    end.

way_info(Message, #state{way = Way} = S) ->
    case evum_way:info(Message, Way) of
        {ok, Way1} -> with_way(Way1, S);
        ignore -> own_info(Message, S)
    end.

own_info({'DOWN', Ref, process, _, _}, #state{monitors = Monitors} = S) when is_map_key(Ref, Monitors) ->
    removed(maps:get(Ref, Monitors), S);
own_info({'EXIT', Pid, _}, #state{router = Pid} = S) ->
    _ = erlang:send_after(?ROUTER_MS, self(), start_router),
    gateway_port(none, S#state{router = undefined});
own_info(start_router, S) -> start_router(S);
own_info(sweep, #state{lan = Lan} = S) ->
    _ = erlang:send_after(?SWEEP_MS, self(), sweep),
    ok = evum_switch_ports:sweep(erlang:monotonic_time(second), Lan),
    S;
own_info(_Other, S) -> S.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{rules = Rules, way = Way, router = Router}) ->
    ok = evum_way:close(Way),
    %% a switch that was stopped ends normally: no link takes it along
    Router =:= undefined orelse exit(Router, shutdown),
    evum_rules:stop(Rules).

%% --- the gateway ---------------------------------------------------------------------------

%% With a way out that is another network the gateway is a real one there.
start_router(#state{net = #{uplink := {How, _}}} = S) when How =:= packet; How =:= tap -> S;
start_router(#state{net = #{domain := Domain, uplink := Uplink}, subnet = Subnet, lan = Lan, mtu = Mtu} = S) ->
    Ip = evum_subnet:gateway(Subnet),
    {ok, Pid, Inbox} = evum_router:start_link(Lan, (maps:with([nameserver], S#state.net))#{
        gateway => Ip, mac => evum_switch_ports:gateway_mac(Ip), prefix => evum_subnet:prefix(Subnet), mtu => Mtu,
        domain => binary_to_list(Domain), uplink => Uplink =/= none
    }),
    gateway_port({inbox, Inbox}, S#state{router = Pid}).

gateway_port(Out, #state{subnet = Subnet, lan = Lan, mtu = Mtu, router = Router} = S) ->
    Ip = evum_subnet:gateway(Subnet),
    Mac = evum_switch_ports:gateway_mac(Ip),
    Owner = case Router of undefined -> self(); _ -> Router end,
    _ = evum_switch_ports:fixed(0, #{out => Out, flood => true, mtu => Mtu, owner => Owner, mac => Mac, ip => Ip}, Lan),
    true = evum_switch_ports:gateway_row(Mac, gateway_no(S#state.way), Lan),
    S#state{rules = evum_rules:plugged(S#state.rules)}.

%% libslirp has a part in the gateway's address, and passes on what isn't its own.
gateway_no(undefined) -> 0;
gateway_no(Way) -> evum_way:gateway_no(Way).

%% --- ports ----------------------------------------------------------------------------------

with_machine(Port, #state{way = Way} = S) -> with_way(evum_way:plugged(Port, Way), S).

%% The port of an uplink may be new: rules are for it too.
with_way(Way, #state{rules = Rules} = S) -> S#state{way = Way, rules = evum_rules:plugged(Rules)}.

added(#port{no = No, owner = Owner}, #state{monitors = Monitors, rules = Rules} = S) ->
    S#state{next = No + 1, monitors = Monitors#{monitor(process, Owner) => No}, rules = evum_rules:plugged(Rules)}.

%% One that others put there, or that has gone already, isn't among those that are watched.
removed(No, #state{lan = #lan{ports = Ports} = Lan, monitors = Monitors, rules = Rules, way = Way} = S) ->
    case [Ref || {Ref, N} <- maps:to_list(Monitors), N =:= No] of
        [Ref] ->
            true = demonitor(Ref, [flush]),
            Way1 = evum_way:unplugged(hd(ets:lookup(Ports, No)), Way),
            Rules1 = evum_rules:unplugged(No, Rules),
            ok = evum_switch_ports:remove(No, Lan),
            S#state{monitors = maps:remove(Ref, Monitors), rules = Rules1, way = Way1};
        [] -> S
    end.

-spec plugged(#port{}, #state{}) -> evum_switch:plugged().
plugged(#port{no = No, mac = Mac, ip = Ip}, #state{net = Net, subnet = Subnet, lan = Lan, mtu = Mtu}) ->
    Gateway = evum_subnet:gateway(Subnet),
    #{
        switch => self(), name => maps:get(name, Net), lan => Lan, no => No, mac => Mac, ip => Ip, mtu => Mtu,
        address => evum_subnet:address(Ip, Subnet), gateway => evum_subnet:ip_text(Gateway),
        nameserver => evum_subnet:ip_text(maps:get(nameserver, Net, Gateway)),
        domain => maps:get(domain, Net), ipv6 => ipv6(maps:get(uplink, Net)),
        ping => maps:get(ping, Net)
    }.

ipv6({slirp, Options}) -> maps:get(ipv6, Options, false);
ipv6(_) -> false.

lower_mtu(#state{net = Net, lan = Lan, mtu = Mtu, router = Router} = S) when Mtu > ?MTU_FOREIGN, not is_map_key(mtu, Net) ->
    case [P || #port{kind = machine} = P <- evum_switch_ports:ports(Lan)] of
        [] ->
            Router =:= undefined orelse evum_router:set_mtu(Router, ?MTU_FOREIGN),
            S#state{mtu = ?MTU_FOREIGN, way = evum_way:mtu(?MTU_FOREIGN, S#state.way)};
        _ -> S
    end;
lower_mtu(S) -> S.

describe_all(#state{net = #{name := Name, uplink := Uplink, domain := Domain}, subnet = Subnet, lan = Lan, mtu = Mtu, rules = Rules, way = Way}) ->
    #{
        name => Name, pid => self(), subnet => evum_subnet:text(Subnet), gateway => evum_subnet:gateway(Subnet),
        mtu => Mtu, domain => Domain, uplink => Uplink, rules => evum_rules:list(Rules), way => evum_way:describe(Way),
        machines => length(lists:usort([P#port.owner || #port{kind = machine} = P <- evum_switch_ports:ports(Lan)])),
        addresses => length(evum_switch_ports:fdb(Lan)), flows => evum_flow:count(Lan)
    }.
