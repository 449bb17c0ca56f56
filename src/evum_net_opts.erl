%% SPDX-License-Identifier: Apache-2.0
%% Checks a network's options, key by key; pure
-module(evum_net_opts).

-export([check/1, value/2, mtu/1]).
-export_type([net/0, uplink/0, forward/0]).

-type uplink() :: none | {slirp, map()} | {packet, string()} | {tap, string()}.
-type forward() :: {
    {tcp | udp, inet:ip4_address(), inet:port_number()}, {Vm :: pid() | atom(), GuestPort :: inet:port_number()}
}.
-type net() :: #{
    uplink := uplink(),
    forward := [forward()],
    domain := binary(),
    ping := [inet:ip4_address()],
    name => atom(),
    subnet => evum_subnet:subnet(),
    mtu => pos_integer(),
    nameserver => inet:ip4_address()
}.

-define(MTU_MIN, 576).
-define(MTU_MAX, 65150).
-define(MTU, 32000).
%% what a network outside takes
-define(MTU_OUTSIDE, 1500).
-define(INTERFACE_MAX, 15).

%% @doc Checks the options of {@link evum_switch:start/1}.
-spec check(term()) -> {ok, net()} | {error, {bad_option, term()}}.
check(Opts) ->
    Defaults = #{uplink => none, forward => [], domain => <<"evum">>, ping => []},
    case evum_opts:check(Opts, fun option/2, Defaults) of
        %% where machines have addresses outside no port of the host leads to them
        {ok, #{uplink := {How, _}, forward := [_ | _]}} when How =:= packet; How =:= tap -> {error, {bad_option, forward}};
        {ok, #{gateway := Gateway} = Net} -> with_gateway(Gateway, maps:remove(gateway, Net));
        Checked -> Checked
    end.

option(Key, Value) ->
    case value(Key, Value) of
        {ok, Checked} -> {ok, Key, Checked};
        error -> error
    end.

%% An address of a subnet that is chosen later would hit it by chance only.
with_gateway(Gateway, #{subnet := Subnet} = Net) ->
    case evum_subnet:with_gateway(Gateway, Subnet) of
        {ok, Other} -> {ok, Net#{subnet := Other}};
        error -> {error, {bad_option, gateway}}
    end;
with_gateway(_Gateway, _Net) -> {error, {bad_option, gateway}}.

%% @doc Checks one option of a network; unknown keys are errors too.
-spec value(Key :: term(), Value :: term()) -> {ok, term()} | error.
%% `none' and `all' are no network, and all of them
value(name, Name) when is_atom(Name), Name =/= undefined, Name =/= none, Name =/= all, not is_boolean(Name) -> {ok, Name};
value(subnet, Subnet) when is_map(Subnet) -> evum_subnet:checked(Subnet);
value(subnet, Text) -> evum_subnet:parse(Text);
value(gateway, Ip) -> evum_subnet:ip(Ip);
value(nameserver, Ip) -> evum_subnet:ip(Ip);
value(mtu, Mtu) when is_integer(Mtu), Mtu >= ?MTU_MIN, Mtu =< ?MTU_MAX -> {ok, Mtu};
value(uplink, Uplink) -> uplink(Uplink);
value(forward, Forwards) when is_list(Forwards) -> all(fun forward/1, Forwards);
value(domain, Domain) -> domain(evum_opts:text(Domain));
value(ping, []) -> {ok, []};
value(ping, [Ip | _] = Ips) when not is_integer(Ip) -> all(fun evum_subnet:ip/1, Ips);
value(ping, Ip) -> all(fun evum_subnet:ip/1, [Ip]);
value(_Key, _Value) -> error.

uplink(none) -> {ok, none};
uplink(slirp) -> {ok, {slirp, #{}}};
uplink({slirp, Options}) when is_map(Options) ->
    case evum_way:options(Options) of
        {ok, Checked} -> {ok, {slirp, Checked}};
        error -> error
    end;
uplink({How, Interface}) when How =:= packet; How =:= tap ->
    case evum_opts:text(Interface) of
        {ok, Name} when Name =/= <<>>, byte_size(Name) =< ?INTERFACE_MAX -> {ok, {How, binary_to_list(Name)}};
        _ -> error
    end;
uplink(_) -> error.

%% {{tcp, HostPort}, {Vm, GuestPort}}, or with the address to listen on {{tcp, Ip, HostPort}, …}.
forward({{Protocol, Port}, Guest}) -> forward({{Protocol, {127, 0, 0, 1}, Port}, Guest});
forward({{Protocol, Ip, Port}, {Vm, GuestPort}}) when
    (Protocol =:= tcp orelse Protocol =:= udp), is_integer(Port), Port >= 0, Port < 65536,
    (is_pid(Vm) orelse (is_atom(Vm) andalso Vm =/= undefined)), is_integer(GuestPort), GuestPort > 0, GuestPort < 65536
->
    case evum_subnet:ip(Ip) of
        {ok, Address} -> {ok, {{Protocol, Address, Port}, {Vm, GuestPort}}};
        error -> error
    end;
forward(_) -> error.

%% Words of host names, with dots between.
domain({ok, Text}) when Text =/= <<>>, byte_size(Text) =< 200 ->
    case lists:all(fun evum_opts:hostname/1, binary:split(Text, <<".">>, [global])) of
        true -> {ok, Text};
        false -> error
    end;
domain(_) -> error.

all(Check, List) ->
    try
        {ok, [begin {ok, Value} = Check(Item), Value end || Item <- List]}
    catch
        error:_ -> error
    end.

%% @doc The MTU of a network: what was asked for, or what its way out takes.
-spec mtu(net()) -> pos_integer().
mtu(#{mtu := Mtu}) -> Mtu;
mtu(#{uplink := {How, _}}) when How =:= packet; How =:= tap -> ?MTU_OUTSIDE;
mtu(_) -> ?MTU.
