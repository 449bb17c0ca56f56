%% SPDX-License-Identifier: Apache-2.0
%% What a switch knows of its way out and its ways in
%%
%% The functions run in the process of the switch, which keeps the state and hands
%% on what concerns it. Here it is decided when an uplink runs: always where the
%% network has one; where it has none, from the first way in on, or once a port of the
%% host is opened, and then it lets nothing else out. An uplink that ends is started
%% again, later each time it ends soon, and told again which machines and ways in there
%% are, and which port is open; so its end costs connections and nothing else.
%%
%% A way in belongs to a machine, by its pid or its label. It is there while the
%% machine is plugged in. When the machine comes back (a reboot, or another of the
%% label) it is there again, on the same port of the host.
-module(evum_way).

-include("evum_lan.hrl").

-export([options/1, new/2, plugged/2, unplugged/2, request/2, info/2, describe/1, gateway_no/1, mtu/2, close/1]).
-export_type([way/0, config/0, request/0]).

-type vm() :: pid() | atom().
-type config() :: #{
    uplink := evum_net_opts:uplink(), forward := [evum_net_opts:forward()],
    gateway := inet:ip4_address(), prefix := 1..30, mtu := pos_integer()
}.
-type request() ::
    started
    | {forward, evum_uplink:host(), {vm(), inet:port_number()}}
    | {unforward, inet:port_number() | {tcp | udp, inet:port_number()}}
    | {host_port, inet:port_number() | none}.

-define(BACKOFF_MIN, 100).
-define(BACKOFF_MAX, 10000).
-define(RETRY_MS, 1000).
%% an uplink that ran so long ended by chance
-define(STEADY_MS, 30000).

-record(forward, {
    proto :: tcp | udp,
    host :: inet:ip4_address(),
    %% 0 until one is chosen
    port :: inet:port_number(),
    vm :: vm(),
    guest_port :: inet:port_number(),
    %% the machine whose it is now, or why it is nobody's
    state = waiting :: waiting | {error, term()} | {open, evum_frame:mac()},
    %% of a machine that was given by its pid: nobody comes after it
    monitor :: undefined | reference()
}).

-record(way, {
    lan :: evum_lan:lan(),
    config :: config(),
    uplink :: pid() | undefined,
    %% the machines that it was told of
    machines = #{} :: #{evum_lan:port_no() => evum_frame:mac()},
    forwards = [] :: [#forward{}],
    %% of the host's loopback, besides those of the options
    host_port = none :: inet:port_number() | none,
    backoff = ?BACKOFF_MIN :: pos_integer(),
    started :: integer() | undefined,
    timer :: reference() | undefined,
    %% while ways in wait for a port of the host that was taken
    retry :: reference() | undefined,
    restarts = 0 :: non_neg_integer(),
    last_error :: term()
}).
-opaque way() :: #way{}.

%% @doc Checks the options of `{slirp, Map}': `ipv6', boolean; `host_ports', a list of
%% ports of the host's loopback that machines reach by the gateway's address.
-spec options(map()) -> {ok, map()} | error.
options(Options) ->
    case lists:all(fun({Key, Value}) -> is_option(Key, Value) end, maps:to_list(Options)) of
        true -> {ok, Options};
        false -> error
    end.

is_option(ipv6, Value) -> is_boolean(Value);
is_option(host_ports, Ports) when is_list(Ports) ->
    length(Ports) =< 65535 andalso lists:all(fun(P) -> is_integer(P) andalso P > 0 andalso P < 65536 end, Ports);
is_option(_Key, _Value) -> false.

%% @doc Starts the uplink of a network that has one; its machines may come later. Whether
%% that was possible the request `started' tells.
-spec new(evum_lan:lan(), config()) -> way().
new(Lan, #{uplink := Uplink, forward := Forwards} = Config) ->
    Way = #way{lan = Lan, config = Config, forwards = [watched(new_forward(Host, Guest)) || {Host, Guest} <- Forwards]},
    case Uplink of
        none -> Way;
        _ -> running(Way)
    end.

new_forward({Proto, Ip, Port}, {Vm, GuestPort}) ->
    #forward{proto = Proto, host = Ip, port = Port, vm = Vm, guest_port = GuestPort}.

watched(#forward{vm = Vm} = Forward) when is_pid(Vm) -> Forward#forward{monitor = monitor(process, Vm)};
watched(Forward) -> Forward.

%% @doc A machine was plugged in, or again after a reboot, or has another address.
-spec plugged(#port{}, way()) -> way().
plugged(#port{no = No} = Port, Way) ->
    Way1 = gone(No, Way),
    case [F || F <- Way1#way.forwards, is_of(F, Port)] of
        [] -> came(Port, Way1);
        _ -> came(Port, running(Way1))
    end.

%% A network without a way out has an uplink once it has a way in.
running(#way{uplink = undefined, timer = undefined} = Way) ->
    case start(Way) of
        {ok, Way1} -> Way1;
        {error, Reason} -> later(Reason, Way)
    end;
running(Way) -> Way.

%% @doc A machine is gone, and with it its connections and ways in. They wait until it is
%% plugged again, those of a label for the next of the label.
-spec unplugged(#port{}, way()) -> way().
unplugged(#port{no = No}, Way) -> gone(No, Way).

%% @doc Adds or ends a way in; opens a port of the host's loopback to the machines; or says
%% whether the uplink could be started.
-spec request(request(), way()) -> {{ok, inet:port_number()} | ok | {error, term()}, way()}.
request(started, #way{last_error = undefined} = Way) -> {ok, Way};
request(started, #way{last_error = Reason} = Way) -> {{error, Reason}, Way};
request({forward, _Host, _Guest}, #way{config = #{uplink := {How, _}}} = Way) when How =:= packet; How =:= tap ->
    {{error, {no_forward, How}}, Way};
request({forward, Host, Guest}, Way) ->
    Forward = new_forward(Host, Guest),
    case machine_of(Forward, Way) of
        none -> {{error, {not_plugged, Forward#forward.vm}}, Way};
        Port -> add(Forward, Port, running(Way))
    end;
request({host_port, _Port}, #way{config = #{uplink := {How, _}}} = Way) when How =:= packet; How =:= tap ->
    {{error, {no_forward, How}}, Way};
request({host_port, none}, #way{uplink = undefined} = Way) -> {ok, Way#way{host_port = none}};
request({host_port, Port}, Way) ->
    case running(Way) of
        #way{uplink = undefined, last_error = Reason} = Way1 -> {{error, Reason}, Way1};
        #way{uplink = Uplink} = Way1 ->
            ok = evum_uplink:host_port(Uplink, Port),
            {ok, Way1#way{host_port = Port}}
    end;
request({unforward, Which}, #way{forwards = Forwards} = Way) ->
    case lists:partition(fun(F) -> is_meant(Which, F) end, Forwards) of
        {[], _} -> {{error, {no_forward, Which}}, Way};
        {Ended, Rest} ->
            lists:foreach(fun(F) -> end_forward(F, Way) end, Ended),
            _ = [demonitor(Monitor, [flush]) || #forward{monitor = Monitor} <- Ended, Monitor =/= undefined],
            {ok, Way#way{forwards = Rest}}
    end.

is_meant({Proto, Port}, #forward{proto = P, port = N}) -> Proto =:= P andalso Port =:= N;
is_meant(Port, #forward{port = N}) -> Port =:= N.

add(_Forward, _Port, #way{uplink = undefined, last_error = Reason} = Way) -> {{error, Reason}, Way};
add(Forward, Port, #way{forwards = Forwards} = Way) ->
    case open(Forward, Port, Way) of
        #forward{state = {open, _}, port = HostPort} = Opened ->
            {{ok, HostPort}, Way#way{forwards = Forwards ++ [watched(Opened)]}};
        #forward{state = {error, Reason}} -> {{error, Reason}, Way}
    end.

end_forward(#forward{state = {open, _}, proto = Proto, port = Port}, #way{uplink = Uplink}) when is_pid(Uplink) ->
    _ = evum_uplink:unforward(Uplink, {Proto, Port}),
    ok;
end_forward(_Forward, _Way) -> ok.

%% @doc Is it a message to a way? The uplink ended, or is to be started again; a machine ended.
-spec info(term(), way()) -> {ok, way()} | ignore.
info({'EXIT', Uplink, Reason}, #way{uplink = Uplink} = Way) when is_pid(Uplink) ->
    logger:warning("the uplink of ~ts ended and is started again: ~ts", [(Way#way.lan)#lan.name, evum_error:format(reason(Reason))]),
    {ok, later(reason(Reason), ended(Way))};
info({?MODULE, restart}, #way{timer = Timer, restarts = Restarts} = Way) when Timer =/= undefined ->
    Way1 = Way#way{timer = undefined},
    case start(Way1) of
        {ok, Way2} -> {ok, Way2#way{restarts = Restarts + 1}};
        {error, Reason} -> {ok, later(Reason, Way1)}
    end;
info({'DOWN', Monitor, process, _, _}, #way{forwards = Forwards} = Way) ->
    case lists:keytake(Monitor, #forward.monitor, Forwards) of
        {value, Forward, Rest} ->
            end_forward(Forward, Way),
            {ok, Way#way{forwards = Rest}};
        false -> ignore
    end;
info({?MODULE, retry}, #way{forwards = Forwards} = Way) ->
    {ok, retry_later(Way#way{retry = undefined, forwards = [reopen(F, Way) || F <- Forwards]})};
info(_Message, _Way) -> ignore.

reason({shutdown, Reason}) -> Reason;
reason(Reason) -> Reason.

%% @doc What there is, as a map: `uplink' (none, up or {down, Reason}), `restarts',
%% `forwards' (maps of proto, host, port, vm, guest_port, state) and `counters'.
-spec describe(way()) -> map().
describe(#way{forwards = Forwards, restarts = Restarts} = Way) ->
    #{
        uplink => state(Way), restarts => Restarts,
        forwards => [describe_forward(F) || F <- Forwards], counters => counters(Way)
    }.

state(#way{uplink = Uplink}) when is_pid(Uplink) -> up;
state(#way{timer = undefined}) -> none;
state(#way{last_error = Reason}) -> {down, Reason}.

describe_forward(#forward{proto = Proto, host = Host, port = Port, vm = Vm, guest_port = GuestPort, state = State}) ->
    #{
        proto => Proto, host => Host, port => Port, vm => Vm, guest_port => GuestPort,
        state => case State of {open, _} -> open; _ -> State end
    }.

counters(#way{uplink = undefined}) -> #{};
counters(#way{uplink = Uplink}) ->
    case evum_uplink:info(Uplink) of
        {ok, Counters} -> Counters;
        {error, _} -> #{}
    end.

%% @doc The network has another MTU, and no machine yet: libslirp is to keep to it.
-spec mtu(pos_integer(), way()) -> way().
mtu(Mtu, #way{config = Config} = Way) -> with_mtu(Way#way{config = Config#{mtu := Mtu}}).

with_mtu(#way{uplink = Uplink, config = #{uplink := How}} = Way) when is_pid(Uplink), How =:= none orelse element(1, How) =:= slirp ->
    true = unlink(Uplink),
    ok = close(Way),
    running(ended(Way));
with_mtu(Way) -> Way.

%% @doc Which port frames for the gateway's address go to: the uplink's while it has a
%% part in it.
-spec gateway_no(way()) -> 0 | 1.
gateway_no(#way{uplink = undefined}) -> 0;
gateway_no(_Way) -> 1.

%% @doc The switch ends.
-spec close(way()) -> ok.
close(#way{uplink = undefined}) -> ok;
close(#way{uplink = Uplink}) ->
    exit(Uplink, shutdown),
    ok.

%% --- machines ----------------------------------------------------------------------

came(#port{mac = undefined}, Way) -> Way;
came(#port{no = No, mac = Mac, ip = Ip} = Port, #way{uplink = Uplink, machines = Machines, forwards = Forwards} = Way) when
    is_pid(Uplink)
->
    ok = evum_uplink:machine_add(Uplink, Mac, given(Ip)),
    retry_later(Way#way{
        machines = Machines#{No => Mac},
        forwards = [case is_of(F, Port) of true -> open(F, Port, Way); false -> F end || F <- Forwards]
    });
came(_Port, Way) -> Way.

given(undefined) -> {0, 0, 0, 0};
given(Ip) -> Ip.

gone(No, #way{uplink = Uplink, machines = Machines, forwards = Forwards} = Way) when is_map_key(No, Machines) ->
    Mac = maps:get(No, Machines),
    ok = evum_uplink:machine_gone(Uplink, Mac),
    Way#way{
        machines = maps:remove(No, Machines),
        forwards = [case F of #forward{state = {open, Mac}} -> F#forward{state = waiting}; _ -> F end || F <- Forwards]
    };
gone(_No, Way) -> Way.

%% --- ways in -------------------------------------------------------------------------

%% Does a way in, that isn't there, lead to this machine?
is_of(#forward{state = {open, _}}, _Port) -> false;
is_of(#forward{vm = Vm}, #port{kind = machine, owner = Owner, label = Label, ip = Ip}) ->
    Ip =/= undefined andalso (Vm =:= Owner orelse Vm =:= Label);
is_of(_Forward, _Port) -> false.

machine_of(Forward, #way{lan = Lan}) ->
    case [P || P <- evum_switch_ports:ports(Lan), is_of(Forward, P)] of
        [Port | _] -> Port;
        [] -> none
    end.

open(#forward{proto = Proto, host = Host, port = HostPort, guest_port = GuestPort} = Forward, #port{mac = Mac, ip = Ip}, #way{uplink = Uplink}) ->
    case evum_uplink:forward(Uplink, {Proto, Host, HostPort}, {Mac, Ip, GuestPort}) of
        {ok, Port} -> Forward#forward{port = Port, state = {open, Mac}};
        {error, _} = Error -> Forward#forward{state = Error}
    end.

%% A port of the host that another program has may become free.
retry_later(#way{retry = undefined, forwards = Forwards} = Way) ->
    case [F || #forward{state = {error, _}} = F <- Forwards] of
        [] -> Way;
        _ -> Way#way{retry = erlang:send_after(?RETRY_MS, self(), {?MODULE, retry})}
    end;
retry_later(Way) -> Way.

reopen(#forward{state = {error, _}} = Forward, #way{uplink = Uplink} = Way) when is_pid(Uplink) ->
    case machine_of(Forward, Way) of
        none -> Forward#forward{state = waiting};
        Port -> open(Forward, Port, Way)
    end;
reopen(Forward, _Way) -> Forward.

%% --- the uplink's lives --------------------------------------------------------------

start(#way{lan = Lan, config = #{uplink := Uplink} = Config} = Way) ->
    Spec = case Uplink of none -> restricted; _ -> Uplink end,
    case evum_uplink:start_link(Lan, Spec, maps:with([gateway, prefix, mtu], Config)) of
        {ok, Pid, Port} ->
            ok = connect(Spec, Pid, Port, Way),
            Way#way.host_port =:= none orelse evum_uplink:host_port(Pid, Way#way.host_port),
            Way1 = Way#way{uplink = Pid, started = now_ms(), last_error = undefined},
            {ok, lists:foldl(fun came/2, Way1, machines(Lan))};
        {error, _} = Error -> Error
    end.

machines(Lan) -> [P || #port{kind = machine} = P <- evum_switch_ports:ports(Lan)].

%% Port 1 leads to the program. What is for the gateway's address goes there as well
%% while libslirp runs: it has a part in that address.
connect(Spec, Pid, #{port := Port, mtu := Mtu}, #way{lan = Lan} = Way) ->
    _ = evum_switch_ports:fixed(1, #{out => {port, Port, 0}, flood => flood(Spec), mtu => Mtu, owner => Pid}, Lan),
    gateway(1, Spec, Way).

flood({How, _}) when How =:= packet; How =:= tap -> true;
flood({slirp, #{ipv6 := true}}) -> ipv6;
flood(_) -> false.

gateway(No, Spec, #way{lan = Lan, config = #{gateway := Ip}}) ->
    case Spec of
        {How, _} when How =:= packet; How =:= tap -> ok;
        _ ->
            true = evum_switch_ports:gateway_row(evum_switch_ports:gateway_mac(Ip), No, Lan),
            ok
    end.

ended(#way{lan = Lan, config = #{uplink := Spec}, forwards = Forwards} = Way) ->
    _ = evum_switch_ports:fixed(1, #{out => none, flood => false, mtu => 1500, owner => self()}, Lan),
    ok = gateway(0, Spec, Way),
    Way#way{uplink = undefined, machines = #{}, forwards = [F#forward{state = waiting} || F <- Forwards]}.

later(Reason, #way{backoff = Backoff, started = Started} = Way) ->
    Ms = case is_integer(Started) andalso now_ms() - Started > ?STEADY_MS of
        true -> ?BACKOFF_MIN;
        false -> Backoff
    end,
    Way#way{
        timer = erlang:send_after(Ms, self(), {?MODULE, restart}), backoff = min(2 * Ms, ?BACKOFF_MAX),
        last_error = Reason, started = undefined
    }.

now_ms() -> erlang:monotonic_time(millisecond).
