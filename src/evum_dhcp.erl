%% SPDX-License-Identifier: Apache-2.0
%% The DHCP server of the gateway's address; pure
%%
%% A machine gets the address that its switch has given it. Who isn't the
%% switch's own (a foreign port, a bridge in a guest) gets one of the subnet's
%% last addresses for an hour: the switch counts from the first ones. There are
%% 256 such leases at most, so that no storm of addresses can grow the table.
%% RFC 2131 and 2132; no relays, and a client speaks for its own address only.
-module(evum_dhcp).

-export([new/0, answer/4]).
-export_type([leases/0, net/0]).

-define(BOOTREQUEST, 1).
-define(BOOTREPLY, 2).
-define(COOKIE, 16#63825363).
%% what some clients expect of a message at least (RFC 1542)
-define(SIZE_MIN, 300).

-define(DISCOVER, 1).
-define(OFFER, 2).
-define(REQUEST, 3).
-define(DECLINE, 4).
-define(ACK, 5).
-define(NAK, 6).
-define(RELEASE, 7).
-define(INFORM, 8).

-define(OPT_PAD, 0).
-define(OPT_MASK, 1).
-define(OPT_ROUTER, 3).
-define(OPT_DNS, 6).
-define(OPT_HOSTNAME, 12).
-define(OPT_DOMAIN, 15).
-define(OPT_MTU, 26).
-define(OPT_BROADCAST, 28).
-define(OPT_REQUESTED, 50).
-define(OPT_LEASE, 51).
-define(OPT_TYPE, 53).
-define(OPT_SERVER, 54).
-define(OPT_END, 255).

-define(LEASES_MAX, 256).
%% seconds: of a lease, and of an address that was offered and isn't taken yet
-define(LEASE_TIME, 3600).
-define(OFFER_TIME, 30).
%% a frame of a port that isn't a machine's is no longer than Ethernet's
-define(FOREIGN_MTU, 1500).

-type expiry() :: integer().
%% {declined, Ip}: somebody was found to have it
-type leases() :: #{evum_frame:mac() | {declined, inet:ip4_address()} => {inet:ip4_address(), expiry()}}.
%% hosts: those that have an address of the switch
-type net() :: #{
    gateway := inet:ip4_address(), nameserver => inet:ip4_address(), prefix := 0..32, mtu := pos_integer(), domain := string(),
    hosts := [{evum_frame:mac() | undefined, Label :: string(), inet:ip4_address()}]
}.
-type message() :: #{
    xid := non_neg_integer(), flags := 0..65535, ciaddr := inet:ip4_address(), mac := evum_frame:mac(),
    options := #{byte() => binary()}
}.
-type outcome() ::
    {reply, inet:ip4_address(), evum_frame:mac(), binary()}
    | ignore
    %% nothing is left for a new client
    | exhausted
    | {error, short | bad_header | spoofed}.

%% @doc No leases.
-spec new() -> leases().
new() -> #{}.

%% @doc Answers a message to the server's port that came from `Mac' at second `Now'. A reply
%% says which addresses it goes to; they may be the broadcast ones.
-spec answer(Message :: binary(), evum_frame:mac(), net(), {Now :: integer(), leases()}) -> {outcome(), leases()}.
answer(Bytes, Mac, Net, {Now, Leases}) ->
    case parse(Bytes) of
        {ok, #{mac := Mac} = Message} -> type(message_type(Message), Message, Net, Now, Leases);
        {ok, _} -> {{error, spoofed}, Leases};
        {error, _} = Error -> {Error, Leases}
    end.

%% --- the client's message --------------------------------------------------

parse(<<?BOOTREQUEST, 1, 6, _Hops, Xid:32, _Secs:16, Flags:16, Ciaddr:4/binary, _Yiaddr:32, _Siaddr:32, _Giaddr:32,
        Mac:48, _ChaddrRest:80, _Sname:64/binary, _File:128/binary, ?COOKIE:32, Options/binary>>) ->
    {ok, #{xid => Xid, flags => Flags, ciaddr => ip(Ciaddr), mac => Mac, options => options(Options, #{})}};
parse(Bytes) when byte_size(Bytes) < 240 -> {error, short};
parse(_) -> {error, bad_header}.

%% A cut option ends the list.
options(<<?OPT_PAD, Rest/binary>>, Options) -> options(Rest, Options);
options(<<?OPT_END, _/binary>>, Options) -> Options;
options(<<Code, Size, Value:Size/binary, Rest/binary>>, Options) -> options(Rest, Options#{Code => Value});
options(_, Options) -> Options.

message_type(#{options := #{?OPT_TYPE := <<Type>>}}) -> Type;
message_type(_) -> none.

-spec type(byte() | none, message(), net(), integer(), leases()) -> {outcome(), leases()}.
type(?DISCOVER, Message, Net, Now, Leases) ->
    case address(Message, Net, Now, Leases) of
        {ok, Ip} -> {reply(?OFFER, Ip, Message, Net), hold(Message, Ip, Net, {Now, ?OFFER_TIME}, Leases)};
        none -> {exhausted, Leases}
    end;
type(?REQUEST, Message, Net, Now, Leases) ->
    case for_another_server(Message, Net) of
        true -> {ignore, drop(Message, Leases)};
        false -> request(Message, Net, Now, Leases)
    end;
type(?DECLINE, #{mac := Mac} = Message, _Net, Now, Leases) ->
    case {Leases, requested(Message)} of
        {#{Mac := {Ip, _}}, Ip} -> {ignore, (maps:remove(Mac, Leases))#{{declined, Ip} => {Ip, Now + ?LEASE_TIME}}};
        _ -> {ignore, Leases}
    end;
type(?RELEASE, #{mac := Mac, ciaddr := Ip} = Message, _Net, _Now, Leases) ->
    case Leases of
        #{Mac := {Ip, _}} -> {ignore, drop(Message, Leases)};
        _ -> {ignore, Leases}
    end;
type(?INFORM, Message, Net, _Now, Leases) ->
    {reply(?ACK, {0, 0, 0, 0}, Message, Net), Leases};
type(_, _Message, _Net, _Now, Leases) ->
    {ignore, Leases}.

request(Message, Net, Now, Leases) ->
    Wanted = requested(Message),
    case address(Message, Net, Now, Leases) of
        {ok, Ip} when Ip =:= Wanted -> {reply(?ACK, Ip, Message, Net), hold(Message, Ip, Net, {Now, ?LEASE_TIME}, Leases)};
        _ -> {nak(Message, Net), drop(Message, Leases)}
    end.

requested(#{options := #{?OPT_REQUESTED := <<Ip:4/binary>>}}) -> ip(Ip);
requested(#{ciaddr := Ciaddr}) -> Ciaddr.

for_another_server(#{options := #{?OPT_SERVER := Server}}, #{gateway := Gateway}) -> Server =/= bytes(Gateway);
for_another_server(_, _) -> false.

%% --- addresses -------------------------------------------------------------

%% The switch's, else the one he had, else the one he wants, else a free one.
address(#{mac := Mac} = Message, Net, Now, Leases) ->
    Live = live(Now, Leases),
    Had = case Leases of #{Mac := {Ip, _}} -> [Ip]; #{} -> [] end,
    case host(Mac, Net) of
        {_, Assigned} -> {ok, Assigned};
        none when is_map_key(Mac, Live); map_size(Live) < ?LEASES_MAX ->
            first_free(Had ++ [requested(Message) | candidates(Net)], Net, maps:remove(Mac, Live));
        none -> none
    end.

host(Mac, #{hosts := Hosts}) ->
    case lists:keyfind(Mac, 1, Hosts) of
        {_, Label, Ip} -> {Label, Ip};
        false -> none
    end.

first_free(Ips, #{gateway := Gateway, prefix := Prefix, hosts := Hosts}, Others) ->
    Range = range(Gateway, Prefix),
    Taken = maps:from_list([{Ip, []} || Ip <- [Gateway | [I || {_, _, I} <- Hosts] ++ [I || {I, _} <- maps:values(Others)]]]),
    case lists:search(fun(Ip) -> in_range(Ip, Range) andalso not is_map_key(Ip, Taken) end, Ips) of
        {value, Ip} -> {ok, Ip};
        false -> none
    end.

%% The last addresses of the subnet: one more than others and the gateway can have.
candidates(#{gateway := Gateway, prefix := Prefix, hosts := Hosts}) ->
    {First, Last} = range(Gateway, Prefix),
    [ip(<<N:32>>) || N <- lists:seq(Last, max(First, Last - ?LEASES_MAX - length(Hosts) - 1), -1)].

%% Without the subnet's own address and its broadcast.
range(Ip, Prefix) ->
    <<N:32>> = bytes(Ip),
    Size = 1 bsl (32 - Prefix),
    Network = N - N rem Size,
    {Network + 1, Network + Size - 2}.

in_range(Ip, {First, Last}) ->
    <<N:32>> = bytes(Ip),
    N >= First andalso N =< Last.

live(Now, Leases) -> maps:filter(fun(_, {_, Expiry}) -> Expiry > Now end, Leases).

%% What the switch gave needs no lease. What has ended is forgotten when there is more.
hold(#{mac := Mac}, Ip, Net, {Now, Time}, Leases) ->
    case host(Mac, Net) of
        none -> (live(Now, Leases))#{Mac => {Ip, Now + Time}};
        _ -> maps:remove(Mac, Leases)
    end.

drop(#{mac := Mac}, Leases) -> maps:remove(Mac, Leases).

%% --- replies ---------------------------------------------------------------

reply(Type, Ip, #{mac := Mac, ciaddr := Ciaddr} = Message, Net) ->
    {ToIp, ToMac} = destination(Message, Ip),
    Options = [option(?OPT_LEASE, <<?LEASE_TIME:32>>) || Ip =/= {0, 0, 0, 0}] ++ net_options(Mac, Net),
    {reply, ToIp, ToMac, message(Type, Ciaddr, Ip, Message, Net, Options)}.

nak(Message, Net) ->
    {reply, {255, 255, 255, 255}, 16#ffffffffffff, message(?NAK, {0, 0, 0, 0}, {0, 0, 0, 0}, Message, Net, [])}.

%% RFC 2131, 4.1
destination(#{ciaddr := Ciaddr, mac := Mac}, _Ip) when Ciaddr =/= {0, 0, 0, 0} -> {Ciaddr, Mac};
destination(#{flags := Flags}, Ip) when Flags >= 16#8000; Ip =:= {0, 0, 0, 0} -> {{255, 255, 255, 255}, 16#ffffffffffff};
destination(#{mac := Mac}, Ip) -> {Ip, Mac}.

message(Type, Ciaddr, Ip, #{xid := Xid, flags := Flags, mac := Mac}, #{gateway := Gateway}, Options) ->
    Head = <<?BOOTREPLY, 1, 6, 0, Xid:32, 0:16, Flags:16, (bytes(Ciaddr))/binary, (bytes(Ip))/binary,
             (bytes(Gateway))/binary, 0:32, Mac:48, 0:80, 0:(192 * 8), ?COOKIE:32>>,
    Body = iolist_to_binary([Head, option(?OPT_TYPE, <<Type>>), option(?OPT_SERVER, bytes(Gateway)), Options, ?OPT_END]),
    Padding = max(0, ?SIZE_MIN - byte_size(Body)),
    <<Body/binary, 0:(Padding * 8)>>.

net_options(Mac, #{gateway := Gateway, prefix := Prefix, mtu := Mtu, domain := Domain} = Net) ->
    <<Mask:32>> = <<(16#ffffffff bsl (32 - Prefix)):32>>,
    <<N:32>> = bytes(Gateway),
    Broadcast = N bor (16#ffffffff bxor Mask),
    [option(?OPT_MASK, <<Mask:32>>), option(?OPT_BROADCAST, <<Broadcast:32>>), option(?OPT_ROUTER, bytes(Gateway)),
     option(?OPT_DNS, bytes(maps:get(nameserver, Net, Gateway))), option(?OPT_DOMAIN, list_to_binary(Domain))
     | host_options(host(Mac, Net), Mtu)].

host_options(none, Mtu) -> [option(?OPT_MTU, <<(min(Mtu, ?FOREIGN_MTU)):16>>)];
host_options({Label, _}, Mtu) -> [option(?OPT_MTU, <<Mtu:16>>), option(?OPT_HOSTNAME, list_to_binary(Label))].

option(Code, Value) -> <<Code, (byte_size(Value)), Value/binary>>.

ip(<<A, B, C, D>>) -> {A, B, C, D}.

bytes({A, B, C, D}) -> <<A, B, C, D>>.
