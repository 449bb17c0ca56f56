%% SPDX-License-Identifier: Apache-2.0
%% A machine's NICs, as its process knows them; called by it
%%
%% Every machine has NIC 0, plugged or not. MAC and MTU of a NIC are fixed when the
%% kernel starts; where it is plugged may change. What is wanted (`net') outlives a
%% switch that crashed: when one of that name is there again the NIC is plugged there,
%% with the addresses that it had.
-module(evum_vm_net).

-export([new/3, boot/2, announce/1, frames/5, flow/5, end_life/1, close/1]).
-export([plug/3, unplug/2, address/3, down/2, switch_up/3, link/3]).
-export([nics/1, info/2, ip/1]).
-export_type([net/0, wanted/0]).

-include("evum_proto_gen.hrl").

%% `none': a NIC that isn't plugged.
-type wanted() :: none | {Net :: pid() | atom(), #{ip => inet:ip4_address(), mac => evum_frame:mac()}}.

%% the MTU of a NIC that isn't plugged when its kernel starts
-define(MTU, 32000).
%% A guest that was started with a larger MTU takes this one or less, and nothing between.
-define(MTU_LOWERED, 1500).
-define(BROADCAST, 16#ffffffffffff).
-define(CREDIT_AT, (?NIC_WINDOW div 2)).

-record(nic, {
    net :: none | pid() | atom(),
    mac :: undefined | evum_frame:mac(),
    %% what it has on its network; kept while the network is away
    ip :: undefined | inet:ip4_address(),
    %% what its network gave it or was asked for, which a reboot restores
    home :: undefined | inet:ip4_address(),
    %% of its kernel's device
    mtu = ?MTU :: pos_integer(),
    link = down :: up | down,
    plugged = none :: none | evum_switch:plugged(),
    %% what its guest is told of its network, by a reboot again, also while that is away
    told = #{mtu => ?MTU} :: map(),
    monitor :: undefined | reference(),
    %% bytes of frames that no credit was given back for
    taken = 0 :: non_neg_integer()
}).
-record(net, {
    vm :: pid(),
    label :: atom(),
    port :: undefined | port(),
    %% its first life has begun
    booted = false :: boolean(),
    nics :: #{byte() => #nic{}}
}).
-opaque net() :: #net{}.

%% @doc The NICs of a machine that doesn't run yet.
-spec new(pid(), Label :: atom(), [wanted()]) -> net().
new(Vm, Label, Wanted) ->
    Nics = [nic(W) || W <- case Wanted of [] -> [none]; _ -> Wanted end],
    #net{vm = Vm, label = Label, nics = maps:from_list(lists:zip(lists:seq(0, length(Nics) - 1), Nics))}.

nic(none) -> #nic{net = none};
nic({Net, Opts}) ->
    Ip = maps:get(ip, Opts, undefined),
    #nic{net = Net, mac = maps:get(mac, Opts, undefined), ip = Ip, home = Ip}.

%% @doc Plugs what is to be plugged when a life begins: what the port's call start is told
%% of the NICs, by number. An error is one of the first life; later a NIC that its
%% network has no place for stays unplugged.
-spec boot(port(), net()) -> {ok, [map()], net()} | {error, term()}.
boot(Port, #net{nics = Nics} = Net0) ->
    Net = Net0#net{port = Port},
    boot(lists:seq(0, map_size(Nics) - 1), [], Net).

boot([], Configs, Net) -> {ok, lists:reverse(Configs), Net#net{booted = true}};
boot([No | Rest], Configs, #net{nics = Nics} = Net) ->
    #{No := #nic{home = Home} = Nic} = Nics,
    case boot_nic(No, Nic#nic{ip = Home, taken = 0, link = down}, Net) of
        {ok, Connected} ->
            Booted = with_mac(No, Connected, Net),
            boot(Rest, [config(Booted) | Configs], Net#net{nics = Nics#{No := kernel_mtu(Booted)}});
        {error, _} = Error -> Error
    end.

boot_nic(No, Nic, #net{booted = false} = Net) -> connect(No, Nic, Net);
boot_nic(No, Nic, Net) -> {ok, try_connect(No, Nic, Net)}.

with_mac(No, #nic{mac = undefined} = Nic, #net{label = Label}) -> Nic#nic{mac = evum_switch_ports:mac(Label, No, 0)};
with_mac(_No, Nic, _Net) -> Nic.

kernel_mtu(#nic{told = #{mtu := Mtu}} = Nic) -> Nic#nic{mtu = Mtu}.

config(#nic{told = Told, mac = Mac}) -> Told#{mac => evum_frame:mac_bytes(Mac)}.

%% Its place on the network it is to be on; one that has gone may come back.
connect(_No, #nic{net = none} = Nic, _Net) -> {ok, Nic};
connect(No, #nic{net = Wanted, mac = Mac, ip = Ip} = Nic, #net{vm = Vm, label = Label, port = Port}) ->
    Spec = #{vm => Vm, label => Label, nic => No, port => Port, mac => Mac, ip => Ip},
    case evum_switch:plug(Wanted, Spec) of
        {ok, Plugged} -> {ok, connected(Plugged, Nic)};
        {error, _} = Error -> Error
    end.

%% The same where the machine goes on without it.
try_connect(No, Nic, Net) ->
    case connect(No, Nic, Net) of
        {ok, Connected} -> Connected;
        {error, _} -> disconnected(Nic)
    end.

connected(#{name := Name, switch := Sw, mac := Mac, ip := Ip} = Plugged, #nic{home = Home} = Nic0) ->
    Nic = disconnected(Nic0),
    Nic#nic{
        net = Name, plugged = Plugged, mac = Mac, ip = Ip, monitor = monitor(process, Sw),
        home = case Home of undefined -> Ip; _ -> Home end,
        told = maps:with([mtu, address, gateway, nameserver, domain, ipv6], Plugged)
    }.

disconnected(#nic{monitor = undefined} = Nic) -> Nic#nic{plugged = none};
disconnected(#nic{monitor = Monitor} = Nic) ->
    true = demonitor(Monitor, [flush]),
    Nic#nic{plugged = none, monitor = undefined}.

%% @doc The guest is up: it makes itself known to its networks, as if it had spoken.
%% Neighbours forget who had its address before, and where addresses are to be asked
%% for (the network's option `ping') switches outside learn where the machine is.
-spec announce(net()) -> ok.
announce(#net{nics = Nics}) ->
    lists:foreach(
        fun(#{lan := Lan, no := No, mac := Mac, ip := Ip, ping := Ping}) ->
            Asks = [evum_packet:ethernet(?BROADCAST, Mac, arp, evum_packet:arp_request(Mac, Ip, For)) || For <- [Ip | Ping]],
            [ok = evum_lan:input(Lan, No, Count, Body) || {Count, Body} <- evum_frame:batches(Asks)]
        end,
        [Plugged || #nic{plugged = #{} = Plugged} <- maps:values(Nics)]
    ).

%% --- frames ----------------------------------------------------------------------

%% @doc A batch came from the guest's NIC; frames of one that isn't plugged are lost.
%% `credit': what is to be given back to the port program now.
-spec frames(Nic :: byte(), Count :: non_neg_integer(), Body :: binary(), Size :: pos_integer(), net()) ->
    net() | {credit, binary(), net()}.
frames(No, Count, Body, Size, #net{nics = Nics} = Net) ->
    #{No := #nic{taken = Taken0} = Nic} = Nics,
    ok = input(Nic, Count, Body),
    case Taken0 + Size of
        Taken when Taken >= ?CREDIT_AT ->
            {credit, evum_proto:nic_credit(No, Taken), Net#net{nics = Nics#{No := Nic#nic{taken = 0}}}};
        Taken ->
            Net#net{nics = Nics#{No := Nic#nic{taken = Taken}}}
    end.

input(#nic{plugged = #{lan := Lan, no := No}}, Count, Body) -> evum_lan:input(Lan, No, Count, Body);
input(#nic{}, _Count, _Body) -> ok.

%% @doc The port program said something of a flow.
-spec flow(asked | ended | count, Nic :: byte(), Id :: pos_integer(), Rest :: binary(), net()) -> ok.
flow(What, No, Id, Rest, #net{nics = Nics, port = Port}) ->
    case Nics of
        #{No := #nic{plugged = #{lan := Lan}}} -> evum_flow:told(What, Lan, Port, No, Id, Rest);
        %% it ended when the NIC was unplugged
        #{} -> ok
    end.

%% @doc The guest opened a NIC's device, or closed it.
-spec link(Nic :: byte(), up | down, net()) -> net().
link(No, Link, #net{nics = Nics} = Net) ->
    #{No := Nic} = Nics,
    Net#net{nics = Nics#{No := Nic#nic{link = Link}}}.

%% --- changes at run time ------------------------------------------------------------

%% @doc Plugs a NIC into a network, in place of where it was; it stays there where that
%% fails. What the guest is to set is returned; the MTU is one that its device can take.
-spec plug(Nic :: byte(), Sw :: pid(), net()) -> {{ok, evum_switch:plugged()} | {error, term()}, net()}.
plug(No, Sw, #net{nics = Nics} = Net) when is_map_key(No, Nics) ->
    #{No := #nic{plugged = Before, mtu = Own} = Nic} = Nics,
    case connect(No, Nic#nic{net = Sw, ip = undefined, home = undefined}, Net) of
        {ok, #nic{plugged = #{mtu := Mtu} = Plugged} = New} ->
            unplug_old(Before, Plugged),
            {{ok, Plugged#{mtu := mtu(Mtu, Own)}}, Net#net{nics = Nics#{No := New}}};
        {error, _} = Error -> {Error, Net}
    end;
plug(No, _Sw, Net) -> {{error, {no_nic, No}}, Net}.

unplug_old(#{switch := Sw}, #{switch := Sw}) -> ok;
unplug_old(#{switch := Sw, no := No}, _New) ->
    _ = evum_switch:unplug(Sw, No),
    ok;
unplug_old(none, _New) -> ok.

%% The network's, the device's, or what the device can be lowered to.
mtu(Mtu, Own) when Mtu >= Own -> Own;
mtu(Mtu, _Own) -> min(Mtu, ?MTU_LOWERED).

%% @doc Unplugs a NIC.
-spec unplug(Nic :: byte(), net()) -> {ok | {error, {no_nic, byte()}}, net()}.
unplug(No, #net{nics = Nics} = Net) when is_map_key(No, Nics) ->
    {ok, Net#net{nics = Nics#{No := leave(maps:get(No, Nics))}}};
unplug(No, Net) -> {{error, {no_nic, No}}, Net}.

leave(#nic{plugged = #{switch := Sw, no := No}} = Nic) ->
    _ = evum_switch:unplug(Sw, No),
    leave(disconnected(Nic));
leave(Nic) -> Nic#nic{net = none, ip = undefined, home = undefined, told = #{mtu => ?MTU}}.

%% @doc The guest has another address now: its network is told.
-spec address(Nic :: byte(), undefined | inet:ip4_address(), net()) -> {ok | {error, term()}, net()}.
address(No, Ip, #net{nics = Nics} = Net) ->
    case Nics of
        #{No := #nic{plugged = #{switch := Sw, no := Port}} = Nic} ->
            case evum_switch:address(Sw, Port, Ip) of
                ok -> {ok, Net#net{nics = Nics#{No := Nic#nic{ip = Ip}}}};
                {error, _} = Error -> {Error, Net}
            end;
        #{No := Nic} -> {ok, Net#net{nics = Nics#{No := Nic#nic{ip = Ip}}}};
        #{} -> {{error, {no_nic, No}}, Net}
    end.

%% @doc Was it a network that ended?
-spec down(reference(), net()) -> {true, net()} | false.
down(Ref, #net{nics = Nics, port = Port} = Net) ->
    case [No || {No, #nic{monitor = Monitor}} <- maps:to_list(Nics), Monitor =:= Ref] of
        [No] ->
            Port =:= undefined orelse evum_flow:end_all(Port, No),
            {true, Net#net{nics = maps:update_with(No, fun disconnected/1, Nics)}};
        [] -> false
    end.

%% @doc A network has started: a NIC that was on one of that name is plugged again.
-spec switch_up(Name :: atom(), Sw :: pid(), net()) -> net().
switch_up(_Name, _Sw, #net{port = undefined} = Net) -> Net;
switch_up(Name, Sw, #net{nics = Nics} = Net) ->
    Net#net{nics = maps:map(fun(No, Nic) -> reconnect(No, Nic, Name, Sw, Net) end, Nics)}.

reconnect(_No, #nic{plugged = #{switch := Sw}} = Nic, _Name, Sw, _Net) -> Nic;
reconnect(No, #nic{net = Name, ip = Ip, home = Home} = Nic, Name, _Sw, Net) ->
    own_address(Ip, try_connect(No, (disconnected(Nic))#nic{ip = Home}, Net));
reconnect(_No, Nic, _Name, _Sw, _Net) -> Nic.

%% The address that its guest was set meanwhile.
own_address(Ip, #nic{ip = Ip} = Nic) -> Nic;
own_address(Ip, #nic{plugged = #{switch := Sw, no := No}} = Nic) ->
    _ = evum_switch:address(Sw, No, Ip),
    Nic#nic{ip = Ip};
own_address(Ip, Nic) -> Nic#nic{ip = Ip}.

%% --- the end --------------------------------------------------------------------------

%% @doc A life has ended; the NICs keep their places for the next one.
-spec end_life(net()) -> net().
end_life(#net{nics = Nics} = Net) ->
    Net#net{port = undefined, nics = maps:map(fun(_No, Nic) -> Nic#nic{link = down} end, Nics)}.

%% @doc The machine has ended: its places are free.
-spec close(net()) -> ok.
close(#net{nics = Nics}) ->
    _ = [evum_switch:unplug(Sw, No) || #nic{plugged = #{switch := Sw, no := No}} <- maps:values(Nics)],
    ok.

%% --- what there is ----------------------------------------------------------------------

%% @doc What evum:info/1 tells of the NICs, with the port program's part of it.
-spec info([map()], net()) -> [map()].
info(Ported, Net) ->
    Nics = nics(Net),
    Counts = lists:sublist(Ported ++ lists:duplicate(length(Nics), #{}), length(Nics)),
    [maps:merge(with_flows(maps:get(maps:get(nic, Nic), Net#net.nics), Count), Nic) || {Count, Nic} <- lists:zip(Counts, Nics)].

%% What other machines' port programs have written to the guest themselves.
with_flows(#nic{plugged = #{lan := Lan, no := No}}, #{tx_frames := Frames, tx_bytes := Bytes} = Count) ->
    {FlowFrames, FlowBytes} = evum_flow:received(Lan, No),
    Count#{tx_frames := Frames + FlowFrames, tx_bytes := Bytes + FlowBytes};
with_flows(#nic{}, Count) -> Count.

%% @doc The NICs, by number.
-spec nics(net()) -> [#{nic := byte(), mac := binary() | undefined, net := atom() | pid(), ip := undefined | inet:ip4_address(),
                        plugged := boolean(), mtu := pos_integer(), link := up | down}].
nics(#net{nics = Nics}) ->
    [#{nic => No, mac => mac_text(Mac), net => Net, ip => Ip, plugged => Plugged =/= none, mtu => Mtu, link => Link}
     || {No, #nic{mac = Mac, net = Net, ip = Ip, plugged = Plugged, mtu = Mtu, link = Link}} <- lists:sort(maps:to_list(Nics))].

mac_text(undefined) -> undefined;
mac_text(Mac) -> evum_frame:mac_text(Mac).

%% @doc The machine's first address.
-spec ip(net()) -> undefined | inet:ip4_address().
ip(Net) ->
    case [Ip || #{ip := Ip, plugged := true} <- nics(Net), Ip =/= undefined] of
        [Ip | _] -> Ip;
        [] -> undefined
    end.
