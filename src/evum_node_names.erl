%% SPDX-License-Identifier: Apache-2.0
%% The names of the machines' nodes, in the host's epmd, and what belongs to them
%%
%% Theory of operation.  A name is held from before its machine exists until the
%% machine's process has ended: first it belongs to the process that watches the boot,
%% then to the machine. With it goes a port of the host's loopback, which is bound here
%% but not listened on, so that nobody else gets it; the network listens there, and leads
%% to the guest. What a machine's end frees is free before anybody can ask for it again:
%% who holds a name, and is dead, loses it at once.
%%
%% A guest that is to notice soon that it was cut off must hear the host as often; the
%% host itself may keep a longer net_ticktime. So each guest is sent something it drops.
-module(evum_node_names).
-behaviour(gen_server).

-export([start_link/0, take/5, keep/2, find/1, cookie/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% epmd may take a second
-define(CALL_MS, 10000).
%% how often an epmd that ended is looked for, ms
-define(RETRY_MS, 1000).
%% bytes of a cookie that is made here
-define(COOKIE, 20).
%% beats in a net_ticktime, as ticks
-define(BEATS, 4).

-record(held, {
    id = make_ref() :: reference(),
    name :: atom(),
    node :: node(),
    %% the machine's, once it is kept; before that, who watches the boot
    pid :: pid(),
    kept = false :: boolean(),
    monitor :: reference(),
    %% none of a node that isn't reached by this host's loopback
    port :: inet:port_number() | none,
    bound :: socket:socket() | none,
    %% with the epmd; none while that is away
    alive :: gen_tcp:socket() | none,
    %% between two beats, ms
    beat :: pos_integer()
}).
-record(state, {
    names = #{} :: #{atom() => #held{}},
    %% the networks' cookies
    cookies = #{} :: #{atom() => atom()}
}).

-spec start_link() -> gen_server:start_ret().
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Takes a name for a process's life: the port is the one that the guest's
%% distribution is to be reached by; `none' of a node `outside', which this host's epmd
%% knows nothing of. `TickTime': the guest's net_ticktime, in s.
-spec take(Name :: atom(), node(), inside | outside, pid(), TickTime :: pos_integer()) ->
    {ok, inet:port_number() | none} | {error, {name_taken, atom()} | term()}.
take(Name, Node, Where, Pid, TickTime) -> call({take, Where, #held{
    name = Name, node = Node, pid = Pid, monitor = make_ref(), port = none, bound = none, alive = none, beat = 1000 * TickTime div ?BEATS
}}).

%% @doc The name is the machine's now. Error: it has been lost meanwhile.
-spec keep(Name :: atom(), Vm :: pid()) -> ok | {error, {name_lost, atom()} | term()}.
keep(Name, Vm) -> call({keep, Name, Vm}).

%% @doc The machine and node that are meant by a machine, its node, or its name; none
%% while there is a name only.
-spec find(pid() | atom()) -> {ok, Vm :: pid(), node()} | {error, noproc}.
find(Which) -> call({find, Which}).

%% @doc The cookie of a network's nodes: the same one while evum runs.
-spec cookie(Network :: atom()) -> atom().
cookie(Network) -> call({cookie, Network}).

call(Request) ->
    try
        gen_server:call(?MODULE, Request, ?CALL_MS)
    catch
        exit:{timeout, _} -> {error, {timeout, epmd, unresponsive}};
        exit:_ -> {error, not_started}
    end.

%% @private
-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #state{}}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({take, Where, #held{name = Name} = Held}, _From, S) -> take_free(Where, Held, free_dead(Name, S));
handle_call({keep, Name, Vm}, _From, #state{names = Names} = S) ->
    case Names of
        #{Name := #held{monitor = Monitor} = Held} ->
            true = demonitor(Monitor, [flush]),
            {reply, ok, S#state{names = Names#{Name := Held#held{pid = Vm, kept = true, monitor = monitor(process, Vm)}}}};
        #{} -> {reply, {error, {name_lost, Name}}, S}
    end;
handle_call({find, Which}, _From, #state{names = Names} = S) ->
    Found = [{ok, Pid, Node} || #held{name = Name, pid = Pid, node = Node, kept = true} <- maps:values(Names),
                                Which =:= Pid orelse Which =:= Node orelse Which =:= Name],
    {reply, case Found of [One] -> One; [] -> {error, noproc} end, S};
handle_call({cookie, Network}, _From, #state{cookies = Cookies} = S) ->
    case Cookies of
        #{Network := Cookie} -> {reply, Cookie, S};
        #{} ->
            Cookie = new_cookie(),
            {reply, Cookie, S#state{cookies = Cookies#{Network => Cookie}}}
    end.

%% Letters and digits only: a guest gets it as a word of a command line.
new_cookie() -> binary_to_atom(binary:encode_hex(crypto:strong_rand_bytes(?COOKIE))).

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Other, S) -> {noreply, S}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Monitor, process, _, _}, #state{names = Names} = S) ->
    {noreply, lists:foldl(fun free/2, S, [Held || #held{monitor = M} = Held <- maps:values(Names), M =:= Monitor])};
handle_info({tcp_closed, Socket}, #state{names = Names} = S) ->
    Lost = [Held || #held{alive = Alive} = Held <- maps:values(Names), Alive =:= Socket],
    {noreply, lists:foldl(fun again_later/2, S, Lost)};
handle_info({again, Name, Id}, #state{names = Names} = S) ->
    case Names of
        #{Name := #held{id = Id} = Held} -> {noreply, again(Held, S)};
        #{} -> {noreply, S}
    end;
handle_info({beat, Name, Id}, #state{names = Names} = S) ->
    _ = case Names of
        #{Name := #held{id = Id} = Held} -> beat(Held);
        #{} -> ok
    end,
    {noreply, S};
handle_info(_Other, S) -> {noreply, S}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{names = Names} = S) ->
    _ = lists:foldl(fun free/2, S, maps:values(Names)),
    ok.

%% --- taking and freeing -----------------------------------------------------------

free_dead(Name, #state{names = Names} = S) ->
    case Names of
        #{Name := #held{pid = Pid} = Held} ->
            case is_process_alive(Pid) of
                true -> S;
                false -> free(Held, S)
            end;
        #{} -> S
    end.

take_free(_Where, #held{name = Name}, #state{names = Names} = S) when is_map_key(Name, Names) ->
    {reply, {error, {name_taken, Name}}, S};
take_free(outside, Held, S) -> taken(Held, S);
take_free(inside, Held, S) ->
    case socket:open(inet, stream, tcp) of
        {ok, Bound} -> register(bind(Bound), Held#held{bound = Bound}, S);
        {error, _} = Error -> {reply, Error, S}
    end.

register(Port, #held{name = Name, bound = Bound} = Held, S) ->
    case evum_epmd:register(Name, Port) of
        {ok, Alive} -> taken(Held#held{port = Port, alive = Alive}, S);
        {error, _} = Error ->
            ok = socket:close(Bound),
            {reply, Error, S}
    end.

taken(#held{name = Name, pid = Pid, port = Port} = Held, #state{names = Names} = S) ->
    next_beat(Held),
    {reply, {ok, Port}, S#state{names = Names#{Name => Held#held{monitor = monitor(process, Pid)}}}}.

%% Two may be bound to a port, where both say that they are content with it, until one
%% listens: libslirp does, on its own.
bind(Bound) ->
    ok = socket:setopt(Bound, {socket, reuseaddr}, true),
    ok = socket:bind(Bound, #{family => inet, addr => {127, 0, 0, 1}, port => 0}),
    {ok, #{port := Port}} = socket:sockname(Bound),
    Port.

free(#held{name = Name, node = Node, monitor = Monitor, bound = Bound, alive = Alive}, #state{names = Names} = S) ->
    true = demonitor(Monitor, [flush]),
    _ = erlang:disconnect_node(Node),
    _ = [evum_epmd:unregister(Alive) || Alive =/= none],
    _ = [ok = socket:close(Bound) || Bound =/= none],
    S#state{names = maps:remove(Name, Names)}.

%% --- an epmd that ends and comes back ---------------------------------------------

again_later(#held{id = Id, name = Name} = Held, #state{names = Names} = S) ->
    _ = erlang:send_after(?RETRY_MS, self(), {again, Name, Id}),
    S#state{names = Names#{Name := Held#held{alive = none}}}.

again(#held{name = Name, port = Port} = Held, #state{names = Names} = S) ->
    case evum_epmd:register(Name, Port) of
        {ok, Alive} -> S#state{names = Names#{Name := Held#held{alive = Alive}}};
        {error, _} -> again_later(Held, S)
    end.

%% --- beats --------------------------------------------------------------------------

beat(#held{node = Node} = Held) ->
    %% nobody has that name there
    _ = erlang:send({?MODULE, Node}, beat, [noconnect, nosuspend]),
    next_beat(Held).

next_beat(#held{id = Id, name = Name, beat = Ms}) ->
    _ = erlang:send_after(Ms, self(), {beat, Name, Id}),
    ok.
