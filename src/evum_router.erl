%% SPDX-License-Identifier: Apache-2.0
%% The process behind a network's gateway address: port 0 of its switch
%%
%% Decides nothing: evum_gateway does, evum_resolver asks the host's resolvers,
%% and the machines are read from the switch's table, so that a name is known as
%% soon as its machine is plugged. A linked child of the switch. Its inbox is
%% bounded: a flood costs the flooder his frames.
-module(evum_router).
-behaviour(gen_server).

-export([start_link/2, set_mtu/2, info/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([options/0]).

-include("evum_lan.hrl").

-define(INBOX_MAX, 1048576).
%% port 0 of every switch
-define(PORT, 0).

%% uplink: may names be asked of the host's resolvers? resolvers: others than those
-type options() :: #{
    gateway := inet:ip4_address(), mac := evum_frame:mac(), prefix := 0..32, mtu := pos_integer(),
    domain := unicode:chardata(), uplink := boolean(), nameserver => inet:ip4_address(), resolvers => [evum_resolver:server()]
}.

-record(state, {
    lan :: evum_lan:lan(),
    inbox :: evum_inbox:inbox() | undefined,
    gateway :: evum_gateway:gateway(),
    resolver :: evum_resolver:resolver(),
    counts = #{} :: #{evum_gateway:verdict() => pos_integer()}
}).

%% @doc Starts the gateway of a network, linked to the caller, which is its switch.
%% The inbox is what goes into port 0's row.
-spec start_link(evum_lan:lan(), options()) -> {ok, pid(), evum_inbox:inbox()}.
start_link(Lan, Options) ->
    {ok, Pid} = gen_server:start_link(?MODULE, {Lan, Options}, []),
    Inbox = evum_inbox:new(Pid, ?INBOX_MAX),
    ok = gen_server:cast(Pid, {inbox, Inbox}),
    {ok, Pid, Inbox}.

%% @doc The network's MTU is another one now.
-spec set_mtu(pid(), Mtu :: pos_integer()) -> ok.
set_mtu(Router, Mtu) -> gen_server:cast(Router, {mtu, Mtu}).

%% @doc How many frames of which kind came, and how many queries are under way (`resolving').
-spec info(pid()) -> #{evum_gateway:verdict() | resolving => non_neg_integer()}.
info(Router) -> gen_server:call(Router, info).

%% @private
-spec init({evum_lan:lan(), options()}) -> {ok, #state{}}.
init({Lan, #{gateway := Ip, domain := Domain} = Options}) ->
    Given = maps:with([mac, prefix, mtu, uplink, nameserver], Options),
    Gateway = evum_gateway:new(Given#{ip => Ip, domain => unicode:characters_to_list(Domain)}),
    Resolver = evum_resolver:new(maps:get(resolvers, Options, host)),
    {ok, #state{lan = Lan, gateway = Gateway, resolver = Resolver}}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(info, _From, #state{counts = Counts, resolver = Resolver} = State) ->
    {reply, Counts#{resolving => evum_resolver:pending(Resolver)}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, badarg}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({inbox, Inbox}, State) -> {noreply, State#state{inbox = Inbox}};
handle_cast({mtu, Mtu}, #state{gateway = Gateway} = State) ->
    {noreply, State#state{gateway = evum_gateway:set_mtu(Mtu, Gateway)}};
handle_cast(_Request, State) -> {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({evum_lan, output, From, Count, Body}, #state{inbox = Inbox} = State) ->
    ok = evum_inbox:took(Inbox, byte_size(Body)),
    {noreply, batch(evum_frame:frames(Body), From, Count, State)};
handle_info(Message, #state{resolver = Resolver} = State) ->
    case evum_resolver:info(Message, Resolver) of
        {reply, Asker, Reply, Resolver1} -> {noreply, resolved(Asker, Reply, State#state{resolver = Resolver1})};
        {failed, Asker, Query, Resolver1} -> {noreply, failed(Asker, Query, State#state{resolver = Resolver1})};
        {ok, Resolver1} -> {noreply, State#state{resolver = Resolver1}};
        ignore -> {noreply, State}
    end.

batch({error, truncated}, _From, Count, State) -> count(malformed, Count, State);
batch(Frames, From, _Count, State) ->
    {Replies, State1} = lists:foldl(fun(Frame, Acc) -> frame(Frame, From, Acc) end, {[], State}, Frames),
    send(lists:reverse(Replies), State1).

frame(Frame, From, {Replies, #state{gateway = Gateway, lan = Lan} = State}) ->
    Now = erlang:monotonic_time(second),
    {Verdict, Effects, Gateway1} = evum_gateway:frame(Frame, fun() -> hosts(Lan) end, Now, Gateway),
    _ = Verdict =:= spoofed andalso count_spoofed(From, Lan),
    lists:foldl(fun effect/2, {Replies, count(Verdict, 1, State#state{gateway = Gateway1})}, Effects).

effect({reply, Frame}, {Replies, State}) -> {[Frame | Replies], State};
effect({resolve, Asker, Query}, {Replies, #state{resolver = Resolver} = State}) ->
    case evum_resolver:ask(Asker, Query, Resolver) of
        {asked, Resolver1} -> {Replies, State#state{resolver = Resolver1}};
        {failed, Resolver1} -> {Replies, failed(Asker, Query, State#state{resolver = Resolver1})}
    end.

failed(Asker, Query, State) -> resolved(Asker, evum_dns:failed(Query), State).

resolved(Asker, Reply, #state{gateway = Gateway} = State) ->
    send([evum_gateway:resolved(Asker, Reply, Gateway)], State).

send(Frames, #state{lan = Lan} = State) ->
    lists:foreach(fun({Count, Body}) -> ok = evum_lan:input(Lan, ?PORT, Count, Body) end, evum_frame:batches(Frames)),
    State.

count(Verdict, N, #state{counts = Counts} = State) ->
    State#state{counts = maps:update_with(Verdict, fun(Old) -> Old + N end, N, Counts)}.

%% At the port that the lie came from, where its owner sees it.
count_spoofed(From, #lan{ports = Ports}) ->
    case rows(fun() -> ets:lookup(Ports, From) end) of
        [#port{counters = Counters}] -> counters:add(Counters, ?LAN_SPOOFED, 1);
        [] -> ok
    end.

%% Those that have an address; of a machine with several, the first is the name's.
hosts(#lan{ports = Ports}) ->
    [{Mac, label(Label), Ip}
     || #port{no = No, mac = Mac, label = Label, ip = Ip} <- lists:keysort(#port.no, rows(fun() -> ets:tab2list(Ports) end)),
        No > 1, Ip =/= undefined].

label(Label) when is_atom(Label) -> atom_to_list(Label);
label(Label) -> unicode:characters_to_list(Label).

%% The tables end with the switch, and this process right after.
rows(Read) ->
    try
        Read()
    catch
        error:badarg -> []
    end.
