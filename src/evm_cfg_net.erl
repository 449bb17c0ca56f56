%% SPDX-License-Identifier: Apache-2.0
%% A network of evm.cfg: from its keys to the options of a switch; pure
-module(evm_cfg_net).

-export([network/2]).

%% Keys that together say what `subnet' and `gateway' say for a switch.
-define(BASED, [base_ip, first_ip, netmask, gw]).
-define(OPTIONS, [subnet, gateway, mtu, uplink, forward, domain, nameserver, ping]).

%% @doc Checks an entry that begins at `Line', key by key, each with its own line.
%% Throws `{Line, {unknown_key | bad_value | missing, Key}}'.
-spec network(Line :: non_neg_integer(), [{Key :: atom(), Value :: term(), Line :: non_neg_integer()}]) ->
    evm_cfg:network() | no_return().
network(Line, Properties) ->
    _ = [throw({At, {unknown_key, Key}}) || {Key, _, At} <- Properties, not lists:member(Key, ?BASED ++ ?OPTIONS)],
    Options = maps:from_list([{Key, option(P)} || {Key, _, _} = P <- Properties, lists:member(Key, ?OPTIONS)]),
    Based = maps:from_list([{Key, Value} || {Key, Value, _} <- Properties, lists:member(Key, ?BASED)]),
    checked(subnet(Based, Options, Line, Properties), Line, Properties).

option({Key, Value, At}) ->
    case evum_net_opts:value(Key, Value) of
        {ok, Checked} -> Checked;
        error -> throw({At, {bad_value, Key}})
    end.

subnet(Based, Options, _Line, _Properties) when map_size(Based) =:= 0 -> Options;
subnet(_Based, #{subnet := _}, Line, Properties) -> throw({line(subnet, Line, Properties), {bad_value, subnet}});
subnet(Based, _Options, Line, _Properties) when not is_map_key(base_ip, Based) -> throw({Line, {missing, base_ip}});
subnet(Based, Options, Line, Properties) ->
    case evum_subnet:from_base(Based) of
        {ok, Subnet} -> Options#{subnet => Subnet};
        {error, Key} -> throw({line(Key, Line, Properties), {bad_value, Key}})
    end.

%% What can be wrong only together with another key.
checked(Options, Line, Properties) ->
    case evum_net_opts:check(Options) of
        {ok, _} -> Options;
        {error, {bad_option, Key}} -> throw({line(Key, Line, Properties), {bad_value, Key}})
    end.

line(Key, Line, Properties) ->
    case lists:keyfind(Key, 1, Properties) of
        {_, _, At} -> At;
        false -> Line
    end.
