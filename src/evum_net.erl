%% SPDX-License-Identifier: Apache-2.0
%% A machine's interfaces, changed and looked at from outside
%%
%% Theory of operation.  What is changed has two sides: the network's, which evum_vm_net
%% keeps, and the guest's, which the agent's built-in command `net' sets. The network's
%% goes first, as it may refuse; where the guest then fails, it is taken back.
-module(evum_net).

-export([ifconfig/2, target/1, networks/1, plug/3, unplug/2]).
-export_type([address/0, error/0]).

-type address() :: inet:ip4_address() | string() | binary().
-type error() ::
    {unknown_net, term()} | {no_network, term()} | {no_nic, term()} | {address_in_use, inet:ip4_address()}
    %% the guest's: its kernel refused
    | atom()
    | term().

%% the guest opens an interface within a second
-define(GUEST_MS, 10000).
-define(CALL_MS, 10000).
-define(OUTPUT_MAX, 4096).
-define(NAME_MAX, 253).
%% the guest keeps what it has of that
-define(KEEP, <<"=">>).

%% @doc Gives the machine's first interface an address, in place of those that it has.
-spec ifconfig(pid(), term()) -> ok | {error, {bad_option, ip | netmask | gateway} | error()}.
ifconfig(Vm, {Ip, Netmask, Gateway}) ->
    case check(Ip, Netmask, Gateway) of
        {ok, Address, Argv} -> change(Vm, fun() -> set_address(Vm, Address, Argv) end);
        {error, _} = Error -> Error
    end;
ifconfig(_Vm, _Other) -> {error, {bad_option, ip}}.

%% Each host of a network has an address of it, and so has its gateway.
check(Ip, Netmask, Gateway) ->
    case {evum_subnet:ip(Ip), evum_subnet:netmask_prefix(Netmask), evum_subnet:ip(Gateway)} of
        {error, _, _} -> {error, {bad_option, ip}};
        {_, error, _} -> {error, {bad_option, netmask}};
        {_, {ok, Prefix}, _} when Prefix < 1; Prefix > 30 -> {error, {bad_option, netmask}};
        {_, _, error} -> {error, {bad_option, gateway}};
        {{ok, Address}, {ok, Prefix}, {ok, Router}} -> check_subnet(Address, Prefix, Router)
    end.

check_subnet(Address, Prefix, Router) ->
    case {is_host(Address, Prefix), is_host(Router, Prefix) andalso is_same(Address, Router, Prefix)} of
        {false, _} -> {error, {bad_option, ip}};
        {_, false} -> {error, {bad_option, gateway}};
        {true, true} ->
            Text = iolist_to_binary([evum_subnet:ip_text(Address), $/, integer_to_list(Prefix)]),
            {ok, Address, [Text, evum_subnet:ip_text(Router), ?KEEP, ?KEEP, <<"-">>, ?KEEP]}
    end.

%% An address of no special block, and neither the first nor the last of its network.
is_host({First, _, _, _} = Ip, Prefix) ->
    Mask = 16#ffffffff bsr Prefix,
    Host = evum_subnet:number(Ip) band Mask,
    First > 0 andalso First =/= 127 andalso First < 224 andalso Host > 0 andalso Host < Mask.

is_same(A, B, Prefix) -> evum_subnet:number(A) bsr (32 - Prefix) =:= evum_subnet:number(B) bsr (32 - Prefix).

set_address(Vm, Ip, Argv) ->
    case nic(Vm, 0) of
        {ok, #{ip := Before}} ->
            case evum_vm:call(Vm, {address, 0, Ip, ?CALL_MS}, 2 * ?CALL_MS) of
                ok -> undo(guest_set(Vm, 0, Argv), fun() -> evum_vm:call(Vm, {address, 0, Before, ?CALL_MS}, 2 * ?CALL_MS) end);
                {error, _} = Error -> Error
            end;
        {error, _} = Error -> Error
    end.

undo(ok, _Undo) -> ok;
undo({error, _} = Error, Undo) ->
    _ = Undo(),
    Error.

%% @doc What may stand as the target of a ping: an address, or a host's name, which is
%% nothing else to a shell. Its text.
-spec target(term()) -> {ok, binary()} | error.
target(Ip) when is_tuple(Ip) ->
    case inet:ntoa(Ip) of
        {error, einval} -> error;
        Text -> {ok, list_to_binary(Text)}
    end;
target(Label) when is_atom(Label), Label =/= undefined -> target(atom_to_binary(Label));
target(Text) when is_binary(Text); is_list(Text) ->
    case evum_opts:text(Text) of
        {ok, Bytes} when byte_size(Bytes) =< ?NAME_MAX -> name(Bytes);
        _ -> error
    end;
target(_) -> error.

name(Bytes) ->
    case re:run(Bytes, "^[0-9A-Za-z:][-0-9A-Za-z.:_]*$", [{capture, none}, dollar_endonly]) of
        match -> {ok, Bytes};
        nomatch -> error
    end.

%% @doc The networks that a machine is plugged into.
-spec networks(pid()) -> {ok, [pid() | atom()]} | {error, term()}.
networks(Vm) ->
    case nics(Vm) of
        {ok, Nics} -> {ok, lists:usort([Net || #{net := Net, plugged := true} <- Nics])};
        {error, _} = Error -> Error
    end.

%% @doc Plugs an interface into a network, out of the one where it was.
-spec plug(pid(), term(), term()) -> {ok, map()} | {error, error()}.
plug(Vm, Nic, Net) ->
    case evum_switch:find(Net) of
        {ok, Sw} -> change(Vm, fun() -> plug_into(Vm, Nic, Sw) end);
        {error, _} = Error -> Error
    end.

plug_into(Vm, Nic, Sw) ->
    case evum_vm:call(Vm, {plug, Nic, Sw, ?CALL_MS}, 2 * ?CALL_MS) of
        {ok, Plugged} ->
            Undo = fun() -> evum_vm:call(Vm, {unplug, Nic, ?CALL_MS}, 2 * ?CALL_MS) end,
            case undo(guest_set(Vm, Nic, plugged(Plugged)), Undo) of
                ok -> {ok, maps:with([ip, mtu, name], Plugged)};
                {error, _} = Error -> Error
            end;
        {error, _} = Error -> Error
    end.

plugged(#{address := Address, gateway := Gateway, nameserver := Nameserver, domain := Domain, mtu := Mtu, ipv6 := Ipv6}) ->
    [Address, Gateway, Nameserver, Domain, integer_to_binary(Mtu), case Ipv6 of true -> <<"1">>; false -> <<"0">> end].

%% @doc Takes an interface off its network; the guest sees it down.
-spec unplug(pid(), term()) -> ok | {error, error()}.
unplug(Vm, Nic) -> change(Vm, fun() -> unplug_from(Vm, Nic) end).

unplug_from(Vm, Nic) ->
    case evum_vm:call(Vm, {unplug, Nic, ?CALL_MS}, 2 * ?CALL_MS) of
        ok -> guest(Vm, [<<"down">>, integer_to_binary(Nic)]);
        {error, _} = Error -> Error
    end.

guest_set(Vm, Nic, Argv) -> guest(Vm, [<<"set">>, integer_to_binary(Nic) | Argv]).

guest(Vm, Argv) ->
    Program = #{argv => [<<"net">> | Argv], env => [], builtin => true, timeout => ?GUEST_MS, max_output => ?OUTPUT_MAX},
    case evum_proc:exec(Vm, Program) of
        {ok, #{status := 0}} -> ok;
        {ok, #{status := Status}} -> {error, Status};
        {error, {timeout, _}} -> {error, {timeout, interface, unresponsive}};
        {error, _} = Error -> Error
    end.

nic(Vm, No) ->
    case nics(Vm) of
        {ok, Nics} ->
            case [Nic || #{nic := N} = Nic <- Nics, N =:= No] of
                [Nic] -> {ok, Nic};
                [] -> {error, {no_nic, No}}
            end;
        {error, _} = Error -> Error
    end.

nics(Vm) ->
    case evum_vm:call(Vm, info, ?CALL_MS) of
        {ok, #{nics := Nics}} -> {ok, Nics};
        {error, _} = Error -> Error
    end.

%% One change of a machine at a time, or its two sides might end with different ones.
change(Vm, Fun) -> global:trans({{?MODULE, Vm}, self()}, fun() -> running(Vm, Fun) end, [node(Vm)]).

%% A paused guest sets nothing, and would be waited for in vain.
running(Vm, Fun) ->
    case evum_vm:call(Vm, brief, ?CALL_MS) of
        #{state := paused} -> {error, paused};
        #{} -> Fun();
        {error, _} = Error -> Error
    end.
