%% SPDX-License-Identifier: Apache-2.0
%% A network's addresses; pure
-module(evum_subnet).

-export([parse/1, checked/1, from_base/1, with_gateway/2, default/2]).
-export([free/2, contains/2, usable/2, overlaps/2]).
-export([gateway/1, prefix/1, broadcast/1, network/1, text/1, address/2]).
-export([ip/1, ip_text/1, number/1, netmask_prefix/1]).
-export_type([subnet/0]).

-type ip() :: inet:ip4_address().
%% As numbers: the network's address, that of its gateway, and the first that is given to a machine.
-opaque subnet() :: #{network := number32(), prefix := 8..30, gateway := number32(), first := number32()}.
-type number32() :: 0..16#ffffffff.

%% @doc A subnet such as "10.77.0.0/24". Its gateway is the first address, and
%% machines are counted from there.
-spec parse(term()) -> {ok, subnet()} | error.
parse(Text) ->
    try
        {ok, Bytes} = evum_opts:text(Text),
        [Ip, Length] = string:split(Bytes, "/"),
        {ok, Address} = ip(Ip),
        subnet(number(Address), binary_to_integer(Length))
    catch
        error:_ -> error
    end.

%% @doc Is it one that was made here? Options that were checked are checked again.
-spec checked(map()) -> {ok, subnet()} | error.
checked(#{network := Network, prefix := Prefix, gateway := Gateway, first := First} = Subnet) when
    map_size(Subnet) =:= 4, is_integer(Network), is_integer(Prefix), is_integer(Gateway), is_integer(First)
->
    case subnet(Network, Prefix) of
        {ok, _} when Gateway >= 0, First >= 0 ->
            case usable(tuple(Gateway), Subnet) andalso usable(tuple(First), Subnet) of
                true -> {ok, Subnet};
                false -> error
            end;
        _ -> error
    end;
checked(_) -> error.

%% A host's address, in place of the network's, is most likely a slip.
subnet(Network, Prefix) when Prefix >= 8, Prefix =< 30, Network band (16#ffffffff bsr Prefix) =:= 0 ->
    {ok, #{network => Network, prefix => Prefix, gateway => Network + 1, first => Network + 1}};
subnet(_Network, _Prefix) -> error.

%% @doc The network as evm.cfg describes it: `base_ip' ("192.168.213."), and
%% `first_ip' (a number, 1 where it is missing), `netmask' ("255.255.255.0" where it
%% is missing) and `gw' (the subnet's first address where it is missing). The key
%% that is wrong is what is returned.
-spec from_base(#{base_ip := term(), first_ip => term(), netmask => term(), gw => term()}) ->
    {ok, subnet()} | {error, base_ip | first_ip | netmask | gw}.
from_base(#{base_ip := Base} = Keys) ->
    try
        Prefix = ok(netmask, netmask_prefix(maps:get(netmask, Keys, "255.255.255.0"))),
        Zero = ok(base_ip, base(Base)),
        Network = Zero band (16#ffffffff bsl (32 - Prefix)),
        Subnet = ok(netmask, subnet(Network, Prefix)),
        based(Zero, Keys, Subnet)
    catch
        throw:Key -> {error, Key}
    end.

based(Zero, Keys, Subnet) ->
    Gateway = ok(gw, ip(maps:get(gw, Keys, gateway(Subnet)))),
    usable(Gateway, Subnet) orelse throw(gw),
    First = maps:get(first_ip, Keys, 1),
    is_integer(First) andalso First >= 0 andalso First < 1 bsl 24 andalso usable(tuple(Zero + First), Subnet) orelse throw(first_ip),
    {ok, Subnet#{gateway := number(Gateway), first := Zero + First}}.

ok(_Key, {ok, Value}) -> Value;
ok(Key, error) -> throw(Key).

%% "192.168.213." leaves the last part out.
base(Base) ->
    case evum_opts:text(Base) of
        {ok, Text} ->
            case ip(<<Text/binary, "0">>) of
                {ok, Ip} -> {ok, number(Ip)};
                error -> error
            end;
        error -> error
    end.

%% @doc The same subnet with another gateway; an address of it.
-spec with_gateway(term(), subnet()) -> {ok, subnet()} | error.
with_gateway(Gateway, Subnet) ->
    case ip(Gateway) of
        {ok, Ip} ->
            case usable(Ip, Subnet) of
                true -> {ok, Subnet#{gateway := number(Ip)}};
                false -> error
            end;
        error -> error
    end.

%% @doc The first of 10.77.0.0/24, 10.77.1.0/24, …, from the `N'th on, that overlaps
%% none of those in use; the `N'th where each does.
-spec default(N :: pos_integer(), InUse :: [subnet()]) -> subnet().
default(N, InUse) ->
    [Nth | _] = All = [nth_default(N + More) || More <- lists:seq(0, 255)],
    case [S || S <- All, not lists:any(fun(Used) -> overlaps(S, Used) end, InUse)] of
        [Free | _] -> Free;
        [] -> Nth
    end.

nth_default(N) ->
    {ok, Subnet} = subnet(number({10, 77, (N - 1) rem 256, 0}), 24),
    Subnet.

%% @doc The lowest address from the first one on that nobody uses.
-spec free(InUse :: [ip()], subnet()) -> {ok, ip()} | full.
free(InUse, #{first := First, gateway := Gateway, network := Network, prefix := Prefix}) ->
    Used = maps:from_keys([Gateway | [number(Ip) || Ip <- InUse]], used),
    free_from(First, Network + (1 bsl (32 - Prefix)) - 2, Used).

free_from(N, Last, _Used) when N > Last -> full;
free_from(N, Last, Used) when is_map_key(N, Used) -> free_from(N + 1, Last, Used);
free_from(N, _Last, _Used) -> {ok, tuple(N)}.

%% @doc Is it an address of the subnet?
-spec contains(ip(), subnet()) -> boolean().
contains(Ip, #{network := Network, prefix := Prefix}) -> number(Ip) bsr (32 - Prefix) =:= Network bsr (32 - Prefix).

%% @doc Can a machine of the subnet have that address?
-spec usable(ip(), subnet()) -> boolean().
usable(Ip, #{network := Network} = Subnet) ->
    contains(Ip, Subnet) andalso number(Ip) =/= Network andalso Ip =/= broadcast(Subnet).

%% @doc Have they addresses in common?
-spec overlaps(subnet(), subnet()) -> boolean().
overlaps(#{network := A} = SubnetA, #{network := B} = SubnetB) ->
    contains(tuple(A), SubnetB) orelse contains(tuple(B), SubnetA).

%% @doc The gateway's address.
-spec gateway(subnet()) -> ip().
gateway(#{gateway := Gateway}) -> tuple(Gateway).

%% @doc The length of the network's part of an address, in bits.
-spec prefix(subnet()) -> 8..30.
prefix(#{prefix := Prefix}) -> Prefix.

%% @doc The network's own address.
-spec network(subnet()) -> ip().
network(#{network := Network}) -> tuple(Network).

%% @doc The address of all machines.
-spec broadcast(subnet()) -> ip().
broadcast(#{network := Network, prefix := Prefix}) -> tuple(Network + (1 bsl (32 - Prefix)) - 1).

%% @doc The subnet in its usual text.
-spec text(subnet()) -> string().
text(#{network := Network} = Subnet) -> binary_to_list(address(tuple(Network), Subnet)).

%% @doc A machine's address with the subnet's prefix, as a guest is given it.
-spec address(ip(), subnet()) -> binary().
address(Ip, #{prefix := Prefix}) -> iolist_to_binary([ip_text(Ip), $/, integer_to_list(Prefix)]).

%% @doc An IPv4 address given as text or as a tuple.
-spec ip(term()) -> {ok, ip()} | error.
ip({A, B, C, D} = Ip) when A >= 0, A < 256, B >= 0, B < 256, C >= 0, C < 256, D >= 0, D < 256,
    is_integer(A), is_integer(B), is_integer(C), is_integer(D)
->
    {ok, Ip};
ip(Text) when is_binary(Text) -> ip(binary_to_list(Text));
ip([_ | _] = Text) ->
    try inet:parse_ipv4strict_address(Text) of
        {ok, Ip} -> {ok, Ip};
        {error, _} -> error
    catch
        error:_ -> error
    end;
ip(_) -> error.

%% @doc An address in its usual text.
-spec ip_text(ip()) -> binary().
ip_text(Ip) -> list_to_binary(inet:ntoa(Ip)).

%% @doc An address as a number.
-spec number(ip()) -> number32().
number({A, B, C, D}) -> (A bsl 24) bor (B bsl 16) bor (C bsl 8) bor D.

tuple(N) -> {N bsr 24, (N bsr 16) band 255, (N bsr 8) band 255, N band 255}.

%% @doc The prefix that a netmask stands for.
-spec netmask_prefix(term()) -> {ok, 0..32} | error.
netmask_prefix(Mask) ->
    case ip(Mask) of
        {ok, Ip} ->
            Zeros = bits(number(Ip) bxor 16#ffffffff, 0),
            case number(Ip) =:= (16#ffffffff bsl Zeros) band 16#ffffffff of
                true -> {ok, 32 - Zeros};
                false -> error
            end;
        error -> error
    end.

bits(0, N) -> N;
bits(Number, N) -> bits(Number bsr 1, N + 1).
