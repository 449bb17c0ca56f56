%% SPDX-License-Identifier: Apache-2.0
%% The ports of a switch: its tables' rows, made and taken away in its process
-module(evum_switch_ports).

-export([new/2, ports/1, fdb/1, addresses/1, of_owner/2]).
-export([plug/4, join/3, fixed/3, gateway_row/3, address/3, remove/2, sweep/2]).
-export([mac/3, gateway_mac/1]).

-include("evum_lan.hrl").

%% what an Ethernet frame has beside its payload: header and a VLAN's tag
-define(FRAME_EXTRA, 18).
-define(MTU_FOREIGN, 1500).
%% seconds that an address that isn't seen stays
-define(AGE, 300).
%% two machines of one hash are rare
-define(MAC_TRIES, 64).

%% @doc The tables of a network; they end with the calling process.
-spec new(pid(), atom()) -> evum_lan:lan().
new(Switch, Name) ->
    #lan{
        switch = Switch,
        name = Name,
        ports = ets:new(evum_ports, [public, {keypos, #port.no}, {read_concurrency, true}]),
        fdb = ets:new(evum_fdb, [public, {read_concurrency, true}]),
        flows = evum_flow:new()
    }.

%% --- machines ------------------------------------------------------------------

%% @doc Plugs a machine's NIC: into a new port with the given number, or the one that
%% it has already (after a reboot its port program is another). MAC and address are
%% chosen where they aren't given.
-spec plug(evum_switch:spec(), evum_subnet:subnet(), No :: pos_integer(), evum_lan:lan()) ->
    {new | again, #port{}} | {error, evum_switch:plug_error()}.
plug(#{vm := Vm, nic := Nic} = Spec, Subnet, No, Lan) ->
    case [P || #port{nic = N} = P <- of_owner(Vm, Lan), N =:= Nic] of
        [#port{no = Old}] -> {again, plug_again(Spec, Old, Lan)};
        [] ->
            case choose_ip(maps:get(ip, Spec, undefined), Subnet, Lan) of
                {ok, Ip} -> plug_new(Spec, Ip, No, Lan);
                {error, _} = Error -> Error
            end
    end.

%% A guest that had set itself another address has its first one again.
plug_again(#{nic := Nic, port := Out} = Spec, No, #lan{ports = Ports} = Lan) ->
    true = ets:update_element(Ports, No, {#port.out, {port, Out, Nic}}),
    ok = evum_flow:revoke(Lan, No),
    _ = case Spec of
        #{ip := Ip} when Ip =/= undefined -> address(No, Ip, Lan);
        #{} -> ok
    end,
    hd(ets:lookup(Ports, No)).

plug_new(#{vm := Vm, label := Label, nic := Nic, port := Out, mtu := Mtu} = Spec, Ip, No, Lan) ->
    case choose_mac(maps:get(mac, Spec, undefined), Label, Nic, Lan) of
        {ok, Mac} ->
            {new, insert(Lan, #port{
                no = No, kind = machine, out = {port, Out, Nic}, max_frame = Mtu + ?FRAME_EXTRA,
                counters = evum_lan:counters(), label = Label, owner = Vm, nic = Nic, mac = Mac, ip = Ip
            })};
        {error, _} = Error -> Error
    end.

choose_ip(undefined, Subnet, Lan) ->
    case evum_subnet:free(addresses(Lan), Subnet) of
        {ok, Ip} -> {ok, Ip};
        full -> {error, {no_address, evum_subnet:text(Subnet)}}
    end;
choose_ip(Ip, Subnet, Lan) ->
    InUse = [evum_subnet:gateway(Subnet) | addresses(Lan)],
    case {evum_subnet:usable(Ip, Subnet), lists:member(Ip, InUse)} of
        {false, _} -> {error, {not_in_subnet, Ip, evum_subnet:text(Subnet)}};
        {true, true} -> {error, {address_in_use, Ip}};
        {true, false} -> {ok, Ip}
    end.

choose_mac(undefined, Label, Nic, Lan) ->
    Macs = [mac(Label, Nic, N) || N <- lists:seq(0, ?MAC_TRIES)],
    {ok, hd([M || M <- Macs, not is_taken(M, Lan)] ++ [hd(Macs)])};
choose_mac(Mac, _Label, _Nic, Lan) ->
    case is_taken(Mac, Lan) of
        true -> {error, {mac_in_use, evum_frame:mac_text(Mac)}};
        false -> {ok, Mac}
    end.

%% Who only used it until now has to give way.
is_taken(Mac, #lan{fdb = Fdb}) ->
    case ets:lookup(Fdb, Mac) of
        [{_, _, static, _}] -> true;
        _ -> false
    end.

%% @doc A machine's MAC: locally administered, its own by its node, label and NIC;
%% `N' counts on where that is taken.
-spec mac(atom(), byte(), non_neg_integer()) -> evum_frame:mac().
mac(Label, Nic, N) ->
    <<Hash:24, _/binary>> = erlang:md5(term_to_binary({node(), Label, Nic, N})),
    16#026576000000 + Hash.

%% @doc The gateway's MAC, which is libslirp's of that address too.
-spec gateway_mac(inet:ip4_address()) -> evum_frame:mac().
gateway_mac(Ip) -> (16#5255 bsl 32) + evum_subnet:number(Ip).

%% @doc A machine's address is another now, or not known.
-spec address(No :: pos_integer(), undefined | inet:ip4_address(), evum_lan:lan()) ->
    ok | {error, no_port | {address_in_use, inet:ip4_address()}}.
address(No, Ip, #lan{ports = Ports} = Lan) ->
    Others = [I || #port{no = N, ip = I} <- ports(Lan), N =/= No, I =/= undefined],
    case lists:member(Ip, Others) of
        true -> {error, {address_in_use, Ip}};
        false ->
            case ets:update_element(Ports, No, {#port.ip, Ip}) of
                true -> ok;
                false -> {error, no_port}
            end
    end.

%% --- other ports -----------------------------------------------------------------

%% @doc A port for a process that isn't a machine. Its label has the port's number
%% behind it where another port has the same.
-spec join(evum_switch:foreign(), No :: pos_integer(), evum_lan:lan()) -> #port{}.
join(#{label := Label, inbox := Inbox}, No, Lan) ->
    insert(Lan, #port{
        no = No, kind = foreign, out = {inbox, Inbox}, max_frame = ?MTU_FOREIGN + ?FRAME_EXTRA,
        counters = evum_lan:counters(), label = own_label(Label, No, Lan), owner = evum_inbox:pid(Inbox)
    }).

%% Rules know such a port by its label alone.
own_label(Label, No, Lan) ->
    case [P || #port{label = L} = P <- ports(Lan), L =:= Label] of
        [] -> Label;
        _ when is_atom(Label) -> own_label(atom_to_binary(Label), No, Lan);
        _ -> own_label(<<Label/binary, $-, (integer_to_binary(No))/binary>>, No, Lan)
    end.

%% @doc Port 0, the gateway's, or 1, the uplink's. One that is there already has
%% another process behind it now, or (`out' none) nobody.
-spec fixed(0 | 1, evum_switch:fixed(), evum_lan:lan()) -> {new | again, #port{}}.
fixed(No, #{out := Out, flood := Flood, mtu := Mtu, owner := Owner} = Spec, #lan{ports = Ports} = Lan) ->
    Changes = [{#port.out, Out}, {#port.flood, Flood}, {#port.owner, Owner}],
    case ets:update_element(Ports, No, Changes) of
        true -> {again, hd(ets:lookup(Ports, No))};
        false ->
            Kind = element(No + 1, {gateway, uplink}),
            {new, insert(Lan, #port{
                no = No, kind = Kind, out = Out, flood = Flood, max_frame = Mtu + ?FRAME_EXTRA,
                counters = evum_lan:counters(), label = Kind, owner = Owner,
                mac = maps:get(mac, Spec, undefined), ip = maps:get(ip, Spec, undefined)
            })}
    end.

%% @doc Which port answers for the gateway's address.
-spec gateway_row(evum_frame:mac(), 0 | 1, evum_lan:lan()) -> true.
gateway_row(Mac, No, #lan{fdb = Fdb}) -> ets:insert(Fdb, {Mac, No, static, 0}).

insert(#lan{ports = Ports, fdb = Fdb}, #port{no = No, kind = Kind, mac = Mac} = Port) ->
    true = ets:insert(Ports, Port),
    Kind =:= machine andalso ets:insert(Fdb, {Mac, No, static, 0}),
    Port.

%% @doc Takes a port away, and at once all addresses that were seen there.
-spec remove(No :: non_neg_integer(), evum_lan:lan()) -> ok.
remove(No, #lan{ports = Ports, fdb = Fdb} = Lan) ->
    true = ets:match_delete(Fdb, {'_', No, '_', '_'}),
    ok = evum_flow:revoke(Lan, No),
    true = ets:delete(Ports, No),
    evum_flow:forget(Lan, No).

%% --- ageing ------------------------------------------------------------------------

%% @doc Forgets what wasn't seen for 300 s, and counts anew what each port has learned:
%% senders learn side by side, so their count may be a little off. `Now' in seconds.
-spec sweep(Now :: integer(), evum_lan:lan()) -> ok.
sweep(Now, #lan{fdb = Fdb} = Lan) ->
    _ = ets:select_delete(Fdb, [{{'_', '_', dynamic, '$1'}, [{'<', '$1', Now - ?AGE}], [true]}]),
    Learned = lists:foldl(fun(No, Acc) -> maps:update_with(No, fun(N) -> N + 1 end, 1, Acc) end, #{},
                          ets:select(Fdb, [{{'_', '$1', dynamic, '_'}, [], ['$1']}])),
    lists:foreach(
        fun(#port{no = No, counters = Counters}) ->
            counters:put(Counters, ?LAN_LEARNED, maps:get(No, Learned, 0))
        end,
        ports(Lan)
    ).

%% --- what there is --------------------------------------------------------------------

%% @doc All ports, by number.
-spec ports(evum_lan:lan()) -> [#port{}].
ports(#lan{ports = Ports}) -> lists:keysort(#port.no, ets:tab2list(Ports)).

%% @doc The ports of one process.
-spec of_owner(pid(), evum_lan:lan()) -> [#port{}].
of_owner(Pid, Lan) -> [P || #port{owner = Owner} = P <- ports(Lan), Owner =:= Pid].

%% @doc The addresses that machines have.
-spec addresses(evum_lan:lan()) -> [inet:ip4_address()].
addresses(Lan) -> [Ip || #port{ip = Ip} <- ports(Lan), Ip =/= undefined].

%% @doc What the switch knows of who is where; `age' in seconds since it was seen, to 10 s.
-spec fdb(evum_lan:lan()) -> [#{mac := binary(), port := non_neg_integer(), type := static | dynamic, age => non_neg_integer()}].
fdb(#lan{fdb = Fdb}) ->
    Now = erlang:monotonic_time(second),
    [fdb_row(Row, Now) || Row <- lists:sort(ets:tab2list(Fdb))].

fdb_row({Mac, No, static, _}, _Now) -> #{mac => evum_frame:mac_text(Mac), port => No, type => static};
fdb_row({Mac, No, dynamic, Seen}, Now) ->
    #{mac => evum_frame:mac_text(Mac), port => No, type => dynamic, age => max(0, Now - Seen)}.
