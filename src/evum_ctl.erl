%% SPDX-License-Identifier: Apache-2.0
%% A switch's control socket: how machines that evum didn't start join its network
%%
%% It speaks uml_switch's protocol (evum_ctl_proto): a User Mode Linux of whoever's,
%%
%%   linux.uml eth0=daemon,,unix,SOCKET
%%
%% is one more port of the switch, and so is a program of VDE or QEMU, which takes
%% the socket's directory:
%%
%%   vde_plug vde://DIRECTORY        qemu-system-x86_64 -netdev vde,sock=DIRECTORY
%%
%% This process listens; each client is a process of its own (evum_ctl_client), 64 at
%% most. It ends when its switch is stopped, and takes directory and clients with it. When
%% the switch crashed and its supervisor starts it anew, the clients, who notice nothing,
%% are joined to that one.
-module(evum_ctl).
-behaviour(gen_server).

-export([start/1, stop/1, socket/1, info/1, start_link/1]).
-export([init/1, handle_call/3, handle_info/2, handle_cast/2, terminate/2]).

-include("evum_lan.hrl").

-define(CLIENTS_MAX, 64).
-define(BACKLOG, 16).
%% descriptors come back some time: there is no event to wait for
-define(NO_DESCRIPTORS_MS, 1000).
%% a switch that crashed is looked for so often, and so long
-define(LOOK_MS, 50).
-define(LOOKS, 100).

-record(state, {
    switch :: pid(),
    name :: atom(),
    monitor :: reference(),
    dir :: file:filename(),
    listen :: socket:socket(),
    clients = #{} :: #{pid() => []},
    counters = evum_ctl_client:counters() :: counters:counters_ref(),
    refused = 0 :: non_neg_integer(),
    %% of the clients, which are numbered as they come
    next = 1 :: pos_integer()
}).

%% @doc Opens a control socket for a switch; it lives until the switch ends or {@link stop/1}.
%% A network whose MTU wasn't asked for, and that has no machine yet, has one of 1500 from now on:
%% foreign ports take no more, and longer frames to them are dropped and counted.
-spec start(evum_switch:switch()) -> {ok, pid()} | {error, term()}.
start(Switch) ->
    case evum_switch:find(Switch) of
        {ok, Pid} -> start(Pid, evum_switch:foreign(Pid));
        {error, _} = Error -> Error
    end.

start(Pid, ok) -> evum_ctl_sup:start_child(Pid);
start(_Pid, {error, _} = Error) -> Error.

%% @doc Closes the socket; who had joined by it leaves the network.
-spec stop(pid()) -> ok.
stop(Ctl) -> evum_ctl_sup:stop_child(Ctl).

%% @doc The path of the socket. Its directory is what VDE's programs take.
-spec socket(pid()) -> file:filename() | {error, {no_ctl, pid()}}.
socket(Ctl) -> call(Ctl, socket).

%% @doc How many clients there are (`clients'), were refused because there were 64 (`refused'), asked for
%% what isn't in the protocol (`bad_requests'), and frames of theirs that were too short or too long (`bad_frames').
-spec info(pid()) -> #{clients | refused | bad_requests | bad_frames => integer(), socket => file:filename()} | {error, {no_ctl, pid()}}.
info(Ctl) -> call(Ctl, info).

call(Ctl, Request) ->
    try
        gen_server:call(Ctl, Request)
    catch
        exit:_ -> {error, {no_ctl, Ctl}}
    end.

%% @private
-spec start_link(Switch :: pid()) -> gen_server:start_ret().
start_link(Switch) -> gen_server:start_link(?MODULE, Switch, []).

%% @private
-spec init(pid()) -> {ok, #state{}} | {stop, term()}.
init(Switch) ->
    process_flag(trap_exit, true),
    case evum_switch:lan(Switch) of
        #lan{} = Lan -> directory(Lan, evum_ctl_dir:new());
        {error, Reason} -> {stop, {shutdown, Reason}}
    end.

directory(Lan, {ok, Dir}) ->
    _ = evum_ctl_dir:keep(Dir),
    listening(Lan, Dir, listen(filename:join(Dir, "ctl")));
directory(_Lan, {error, Reason}) -> {stop, {shutdown, {control_socket, Reason}}}.

listening(#lan{switch = Switch, name = Name}, Dir, {ok, Listen}) ->
    self() ! accept,
    {ok, #state{switch = Switch, name = Name, monitor = monitor(process, Switch), dir = Dir, listen = Listen}};
listening(_Lan, Dir, {error, Reason}) ->
    ok = evum_ctl_dir:delete(Dir),
    {stop, {shutdown, {control_socket, Reason}}}.

listen(Path) ->
    case socket:open(local, stream) of
        {ok, Socket} -> listen(Socket, socket:bind(Socket, #{family => local, path => Path}));
        {error, _} = Error -> Error
    end.

listen(Socket, ok) ->
    case socket:listen(Socket, ?BACKLOG) of
        ok -> {ok, Socket};
        {error, _} = Error -> Error
    end;
listen(_Socket, {error, _} = Error) -> Error.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(socket, _From, State) -> {reply, path(State), State};
handle_call(info, _From, #state{clients = Clients, refused = Refused, counters = Counters} = State) ->
    {reply, (evum_ctl_client:counts(Counters))#{clients => map_size(Clients), refused => Refused, socket => path(State)}, State};
handle_call(_Request, _From, State) -> {reply, {error, badarg}, State}.

path(#state{dir = Dir}) -> filename:join(Dir, "ctl").

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) -> {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({'$socket', Listen, select, _}, #state{listen = Listen} = State) -> accept(State);
handle_info(accept, State) -> accept(State);
handle_info({'EXIT', Client, _Reason}, #state{clients = Clients} = State) when is_map_key(Client, Clients) ->
    {noreply, State#state{clients = maps:remove(Client, Clients)}};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{monitor = Monitor} = State) ->
    case Reason of
        normal -> {stop, {shutdown, switch_down}, State};
        shutdown -> {stop, {shutdown, switch_down}, State};
        {shutdown, _} -> {stop, {shutdown, switch_down}, State};
        _Crash -> look(?LOOKS, State)
    end;
handle_info({look, N}, State) -> look(N, State);
handle_info(_Other, State) -> {noreply, State}.

look(0, State) -> {stop, {shutdown, switch_down}, State};
look(N, #state{name = Name, clients = Clients} = State) ->
    Switch = whereis(Name),
    case is_pid(Switch) andalso evum_switch:foreign(Switch) of
        ok ->
            _ = [evum_ctl_client:switch(Client, Switch) || Client <- maps:keys(Clients)],
            {noreply, State#state{switch = Switch, monitor = monitor(process, Switch)}};
        _ ->
            _ = erlang:send_after(?LOOK_MS, self(), {look, N - 1}),
            {noreply, State}
    end.

accept(#state{listen = Listen} = State) ->
    case socket:accept(Listen, nowait) of
        {ok, Stream} -> accept(accepted(Stream, State));
        {select, _} -> {noreply, State};
        {error, Reason} when Reason =:= emfile; Reason =:= enfile ->
            _ = erlang:send_after(?NO_DESCRIPTORS_MS, self(), accept),
            {noreply, State};
        {error, econnaborted} -> accept(State);
        {error, Reason} -> {stop, {accept, Reason}, State}
    end.

accepted(Stream, #state{clients = Clients, refused = Refused} = State) when map_size(Clients) >= ?CLIENTS_MAX ->
    _ = socket:close(Stream),
    State#state{refused = Refused + 1};
accepted(Stream, #state{clients = Clients, switch = Switch, dir = Dir, counters = Counters, next = N} = State) ->
    {ok, Client} = evum_ctl_client:start_link(#{switch => Switch, dir => Dir, number => N, counters => Counters, stream => Stream}),
    State#state{clients = Clients#{Client => []}, next = N + 1}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{dir = Dir, listen = Listen}) ->
    _ = socket:close(Listen),
    evum_ctl_dir:delete(Dir).
