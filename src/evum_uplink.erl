%% SPDX-License-Identifier: Apache-2.0
%% A network's way out: the process that owns the program evum_uplink
%%
%% Frames from outside go into the network as port 1's; those that a machine sent
%% to the gateway's own address, and that libslirp has no business with, go on to
%% the gateway. Frames to the outside don't pass here: who has them writes them to
%% the program.
%%
%% The process ends with its program, and the program with it. Connections are lost
%% then and nothing else: evum_way starts both again and tells them what it knows.
-module(evum_uplink).
-behaviour(gen_server).

-include("evum_proto_gen.hrl").
-include("evum_uplink_gen.hrl").

-export([start_link/3, machine_add/3, machine_gone/2, forward/3, unforward/2, host_port/2, info/1]).
-export([start/4, init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([spec/0, config/0, host/0, guest/0, open_error/0]).

%% `restricted': nothing goes out but what belongs to ways in.
-type spec() :: restricted | {slirp, #{ipv6 => boolean(), host_ports => [inet:port_number()]}}
    | {packet, string()} | {tap, string()}.
-type config() :: #{gateway := inet:ip4_address(), prefix := 1..30, mtu := pos_integer()}.
-type host() :: {tcp | udp, inet:ip4_address(), inet:port_number()}.
-type guest() :: {evum_frame:mac(), inet:ip4_address(), inet:port_number()}.
-type open_error() ::
    {no_interface | interface_down | interface_busy | no_tap, string()}
    | {no_permission, packet | tap, string()} | {no_device, string()} | {uplink_died, term()} | term().

%% the switch waits meanwhile, and all that want to be plugged in
-define(START_MS, 3000).
-define(CALL_MS, 1000).
%% bytes of frames that are given back at once
-define(CREDIT_MIN, 131072).
%% the program's exit status: the interface is gone
-define(GONE, 3).

-record(state, {
    lan :: evum_lan:lan(),
    spec :: spec(),
    chan :: evum_chan:chan(),
    port :: port(),
    %% bytes that were taken and not given back yet, a NIC
    owed = #{} :: #{byte() => non_neg_integer()}
}).

%% @doc Starts the program and opens the way out. Returns the port that frames for the
%% outside are written to, as its NIC 0, and the MTU of the way.
-spec start_link(evum_lan:lan(), spec(), config()) ->
    {ok, pid(), #{port := port(), mtu := pos_integer()}} | {error, open_error()}.
start_link(Lan, Spec, Config) -> proc_lib:start_link(?MODULE, start, [self(), Lan, Spec, Config]).

%% @doc A machine has connections of its own from now on; with another address, or
%% after a reboot, it has lost those it had.
-spec machine_add(pid(), evum_frame:mac(), inet:ip4_address()) -> ok.
machine_add(Pid, Mac, Ip) -> gen_server:cast(Pid, {machine_add, [mac(Mac), ip(Ip)]}).

%% @doc All connections and ways in of a machine are closed.
-spec machine_gone(pid(), evum_frame:mac()) -> ok.
machine_gone(Pid, Mac) -> gen_server:cast(Pid, {machine_gone, [mac(Mac)]}).

%% @doc A port of the host, 0 for any, that leads to a machine's.
-spec forward(pid(), host(), guest()) -> {ok, inet:port_number()} | {error, term()}.
forward(Pid, {Proto, HostIp, HostPort}, {Mac, GuestIp, GuestPort}) ->
    call(Pid, forward_add, [Proto, ip(HostIp), HostPort, mac(Mac), ip(GuestIp), GuestPort]).

%% @doc Ends a way in; connections that came by it stay.
-spec unforward(pid(), {tcp | udp, inet:port_number()}) -> ok | {error, term()}.
unforward(Pid, {Proto, HostPort}) -> call(Pid, forward_remove, [Proto, HostPort]).

%% @doc One TCP port of the host's loopback is reached by the gateway's address, or none.
-spec host_port(pid(), inet:port_number() | none) -> ok.
host_port(Pid, none) -> host_port(Pid, 0);
host_port(Pid, Port) -> gen_server:cast(Pid, {host_port, [Port]}).

%% @doc What is counted, by the names in uplink_proto.def.
-spec info(pid()) -> {ok, #{uplink_counter() => non_neg_integer()}} | {error, term()}.
info(Pid) -> call(Pid, info, []).

call(Pid, Op, Args) ->
    try
        gen_server:call(Pid, {Op, Args}, ?CALL_MS)
    catch
        exit:_ -> {error, no_uplink}
    end.

mac(Mac) -> <<Mac:48>>.

ip({A, B, C, D}) -> <<A, B, C, D>>.

%% --- opening ---------------------------------------------------------------------

%% @private
-spec start(pid(), evum_lan:lan(), spec(), config()) -> no_return() | ok.
start(Parent, Lan, Spec, Config) ->
    Deadline = erlang:monotonic_time(millisecond) + ?START_MS,
    case open(Spec, Config, Deadline) of
        {ok, Chan, Mtu} ->
            Port = evum_chan:port(Chan),
            proc_lib:init_ack(Parent, {ok, self(), #{port => Port, mtu => Mtu}}),
            gen_server:enter_loop(?MODULE, [], #state{lan = Lan, spec = Spec, chan = Chan, port = Port});
        {error, Reason} ->
            %% told by the answer, not by a signal too
            unlink(Parent),
            proc_lib:init_ack(Parent, {error, Reason})
    end.

open(Spec, #{mtu := Mtu} = Config, Deadline) ->
    case evum_chan:open(evum_uplink) of
        {ok, Chan} ->
            {Op, Args} = open_call(Spec, Config),
            opened(await(evum_chan:call(Op, Args, open, Chan), Deadline), Spec, Mtu);
        {error, _} = Error -> Error
    end.

open_call(restricted, Config) -> open_slirp(#{}, true, Config);
open_call({slirp, Options}, Config) -> open_slirp(Options, false, Config);
open_call({How, Interface}, _Config) -> {How, [list_to_binary(Interface)]}.

open_slirp(Options, Restricted, #{gateway := Gateway, prefix := Prefix, mtu := Mtu}) ->
    {slirp, [ip(Gateway), Prefix, Mtu, Restricted, maps:get(ipv6, Options, false), maps:get(host_ports, Options, [])]}.

opened({ok, Chan}, _Spec, Mtu) -> {ok, Chan, Mtu};
opened({{ok, Mtu}, Chan}, _Spec, _Mtu) -> {ok, Chan, Mtu};
opened({{error, Reason}, Chan}, Spec, _Mtu) ->
    ok = evum_chan:close(Chan),
    {error, open_error(Spec, Reason)}.

%% The answer to the one call that was made. hello comes before it.
await(Chan, Deadline) ->
    Port = evum_chan:port(Chan),
    receive
        {Port, {data, Frame}} -> awaited(evum_proto:decode(Frame), Chan, Deadline);
        {Port, {exit_status, Status}} -> {{error, {uplink_died, Status}}, Chan};
        {evum_chan, flush} -> await(evum_chan:flush(Chan), Deadline)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        {{error, {uplink_died, timeout}}, Chan}
    end.

awaited({event, hello, #{version := ?UPLINK_VERSION}}, Chan, Deadline) -> await(Chan, Deadline);
awaited({reply, Seq, Result}, Chan, _Deadline) ->
    {open, Chan1} = evum_chan:reply(Seq, Chan),
    {Result, Chan1};
awaited(Other, Chan, _Deadline) -> {{error, {uplink_died, Other}}, Chan}.

open_error({How, Interface}, eperm) when How =:= packet; How =:= tap -> {no_permission, How, Interface};
open_error({packet, Interface}, enodev) -> {no_interface, Interface};
open_error({packet, Interface}, enetdown) -> {interface_down, Interface};
open_error({tap, Interface}, ebusy) -> {interface_busy, Interface};
open_error({tap, Interface}, einval) -> {no_tap, Interface};
open_error({tap, _}, enoent) -> {no_device, "/dev/net/tun"};
open_error({_, Interface}, enametoolong) -> {no_interface, Interface};
open_error(_Spec, Reason) -> Reason.

%% --- the process -------------------------------------------------------------------

%% @private Never called: the process enters its loop by itself.
-spec init(term()) -> ignore.
init(_) -> ignore.

%% @private
-spec handle_call({uplink_call(), [term()]}, gen_server:from(), #state{}) -> {noreply, #state{}}.
handle_call({Op, Args}, From, #state{chan = Chan} = S) ->
    {noreply, S#state{chan = evum_chan:call(Op, Args, {reply, From}, Chan)}}.

%% @private
-spec handle_cast({uplink_call(), [term()]}, #state{}) -> {noreply, #state{}}.
handle_cast({Op, Args}, #state{chan = Chan} = S) ->
    {noreply, S#state{chan = evum_chan:call(Op, Args, none, Chan)}}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({Port, {data, <<?CH_FRAMES, Nic, Count:16, Body/binary>>}}, #state{port = Port, lan = Lan} = S) ->
    ok = frames(Nic, Lan, Count, Body),
    {noreply, taken(Nic, byte_size(Body) + 4, S)};
handle_info({Port, {data, Frame}}, #state{port = Port} = S) -> control(evum_proto:decode(Frame), S);
handle_info({Port, {exit_status, Status}}, #state{port = Port} = S) ->
    {stop, {shutdown, ended(Status, S#state.spec)}, S};
handle_info({evum_chan, flush}, #state{chan = Chan} = S) -> {noreply, S#state{chan = evum_chan:flush(Chan)}};
handle_info(_Other, S) -> {noreply, S}.

frames(?UPLINK_NET, Lan, Count, Body) -> evum_lan:input(Lan, 1, Count, Body);
%% What comes back from libslirp was sent by a machine: rules look at where from.
frames(?UPLINK_GATEWAY, Lan, Count, Body) -> evum_lan:output(Lan, 0, evum_lan:sender(Lan, Body, 1), Count, Body).

taken(Nic, Bytes, #state{owed = Owed, chan = Chan} = S) ->
    case maps:get(Nic, Owed, 0) + Bytes of
        N when N >= ?CREDIT_MIN ->
            S#state{owed = Owed#{Nic => 0}, chan = evum_chan:send(evum_proto:credit(0, ?NIC_FD + Nic, N), Chan)};
        N -> S#state{owed = Owed#{Nic => N}}
    end.

control({reply, Seq, Result}, #state{chan = Chan} = S) ->
    {Tag, Chan1} = evum_chan:reply(Seq, Chan),
    _ = case Tag of
        {reply, From} -> gen_server:reply(From, Result);
        none -> ok
    end,
    {noreply, S#state{chan = Chan1}};
control(Other, S) -> {stop, {bad_frame, Other}, S}.

ended(?GONE, {How, Interface}) when How =:= packet; How =:= tap -> {no_interface, Interface};
ended(Status, _Spec) when Status > 128 -> {uplink_died, {signal, Status - 128}};
ended(Status, _Spec) -> {uplink_died, Status}.
