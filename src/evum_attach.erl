%% SPDX-License-Identifier: Apache-2.0
%% The console of a machine for a person at a terminal: the Erlang side of evum-attach
%%
%% Theory of operation.  Each machine has one of these processes, linked to it,
%% which listens on the abstract address evum/UID/LABEL/PID: nothing lies on the
%% disk, and the kernel's table of sockets is the list of what can be attached
%% to. Abstract addresses have no permissions, so every peer is asked for its
%% credentials: root and the BEAM's own user may, nobody else.
%%
%% While a client is attached the machine diverts its console here. Between the
%% machine and this process:
%%
%%   cast {attach, Pid}                  divert the console to Pid
%%   cast {detach, Pid}                  back to the owner
%%   cast {attach_input, Pid, Bytes}     typed; answered by {evum_attach, taken, N}
%%   cast {attach_ack, Pid, N}           N diverted bytes were written
%%   cast {attach_winsize, Rows, Cols}
%%   message {evum_attach, output, Bytes}
%%   message {evum_attach, down, Reason}  the machine is about to end
%%
%% The frames are those of c_src/attach/link.h.
-module(evum_attach).
-behaviour(gen_server).

-export([start_link/2, command/1, address/1, is_own/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/file.hrl").

-define(WINDOW, 65536).
%% struct ucred by getsockopt(SOL_SOCKET, SO_PEERCRED)
-define(SOL_SOCKET, 1).
-define(SO_PEERCRED, 17).

%% client to BEAM
-define(HELLO, 0).
-define(DATA, 1).
-define(WINSIZE, 2).
-define(EOF, 3).
-define(ACK, 5).
%% BEAM to client
-define(STDOUT, 1).
-define(EXIT, 3).
-define(TEXT, 4).
-define(TAKEN, 5).

-record(state, {
    vm :: pid(),
    label :: atom(),
    listen :: gen_tcp:socket(),
    client = none :: none | gen_tcp:socket(),
    %% who is attached, for whoever comes second
    peer = none :: none | {Pid :: non_neg_integer(), Uid :: non_neg_integer()},
    %% the client said hello: the console is diverted
    diverted = false :: boolean(),
    %% output that waits for the client's window, and what was sent unacknowledged
    pending = <<>> :: binary(),
    unacked = 0 :: non_neg_integer()
}).

%% @doc Starts the listener of machine `Vm', linked to the caller, which is the machine.
-spec start_link(pid(), atom()) -> {ok, pid()} | {error, term()}.
start_link(Vm, Label) ->
    %% linked by init/1: a gen_server whose parent ends with an error reports a
    %% crash, and the machine's end is told by the machine itself
    gen_server:start(?MODULE, {Vm, Label}, []).

%% @doc The shell command that attaches to the machine called `Label'.
-spec command(atom()) -> string().
command(Label) ->
    lists:flatten([filename:join(evm_cfg:priv_dir(), "evum-attach"), $\s, atom_to_list(Label)]).

%% @doc The abstract socket address of the machine called `Label'.
-spec address(atom()) -> binary().
address(Label) ->
    iolist_to_binary([0, "evum/", integer_to_list(uid()), $/, atom_to_list(Label), $/, os:getpid()]).

%% --- the process -----------------------------------------------------------

%% @private
-spec init({pid(), atom()}) -> {ok, #state{}} | {stop, term()}.
init({Vm, Label}) ->
    process_flag(trap_exit, true),
    true = link(Vm),
    Options = [{ifaddr, {local, address(Label)}}, binary, {packet, 4}, {active, false},
               {packet_size, ?WINDOW + 16}, {send_timeout, 5000}, {send_timeout_close, true}],
    case gen_tcp:listen(0, Options) of
        {ok, Listen} ->
            Self = self(),
            spawn_link(fun() -> accept(Listen, Self) end),
            {ok, #state{vm = Vm, label = Label, listen = Listen}};
        {error, Reason} ->
            {stop, {shutdown, {attach, Reason}}}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(_Request, _From, State) -> {reply, {error, badarg}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) -> {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({connected, Socket}, State) ->
    {noreply, connected(Socket, peer(Socket), State)};
handle_info({tcp, Socket, Frame}, #state{client = Socket} = State) ->
    case frame(Frame, State) of
        {ok, State1} ->
            _ = inet:setopts(Socket, [{active, once}]),
            {noreply, State1};
        error ->
            {noreply, detach(State)}
    end;
handle_info({tcp_closed, Socket}, #state{client = Socket} = State) ->
    {noreply, detach(State)};
handle_info({tcp_error, Socket, _Reason}, #state{client = Socket} = State) ->
    {noreply, detach(State)};
handle_info({evum_attach, output, Bytes}, #state{diverted = true, pending = Pending} = State) ->
    {noreply, send_pending(State#state{pending = <<Pending/binary, Bytes/binary>>})};
handle_info({evum_attach, output, Bytes}, #state{vm = Vm} = State) ->
    %% on its way when the client left: nobody will acknowledge it
    acknowledge(Vm, byte_size(Bytes)),
    {noreply, State};
handle_info({evum_attach, taken, N}, #state{client = Client} = State) ->
    send(Client, [?TAKEN, <<N:32>>]),
    {noreply, State};
handle_info({evum_attach, down, Reason}, State) ->
    {noreply, ended(Reason, State)};
handle_info({'EXIT', Vm, Reason}, #state{vm = Vm} = State) ->
    {stop, shutdown, ended(Reason, State)};
handle_info({'EXIT', _Acceptor, Reason}, State) ->
    {stop, Reason, State};
handle_info(_Other, State) ->
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, State) ->
    _ = ended(Reason, State),
    ok.

%% Whoever is attached is told that the machine is no more.
ended(_Reason, #state{client = none} = State) -> State;
ended(Reason, #state{client = Client, label = Label} = State) ->
    _ = send_pending(State),
    Text = io_lib:format("\r\n~ts is down: ~ts", [Label, evum_error:format(Reason)]),
    send(Client, [?TEXT, unicode:characters_to_binary(Text)]),
    send(Client, [?EXIT, case clean(Reason) of true -> 0; false -> 1 end]),
    _ = gen_tcp:close(Client),
    State#state{client = none}.

clean(normal) -> true;
clean(shutdown) -> true;
clean({shutdown, _}) -> true;
clean(_) -> false.

%% --- clients ---------------------------------------------------------------

accept(Listen, Server) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            _ = gen_tcp:controlling_process(Socket, Server),
            Server ! {connected, Socket},
            accept(Listen, Server);
        {error, closed} ->
            ok;
        {error, Reason} when Reason =:= emfile; Reason =:= enfile ->
            %% there is no event to wait for: descriptors come back some time
            receive after 1000 -> accept(Listen, Server) end;
        {error, Reason} ->
            exit({attach, Reason})
    end.

connected(Socket, {ok, Pid, Uid}, #state{client = none} = State) ->
    case Uid =:= 0 orelse Uid =:= uid() of
        true ->
            _ = inet:setopts(Socket, [{active, once}]),
            State#state{client = Socket, peer = {Pid, Uid}};
        false ->
            refuse(Socket, "this machine belongs to another user", State)
    end;
connected(Socket, {ok, _, _}, #state{peer = {Pid, Uid}, label = Label} = State) ->
    refuse(Socket, io_lib:format("~s is attached already, by process ~b of user ~b",
                                 [Label, Pid, Uid]), State);
connected(Socket, error, State) ->
    _ = gen_tcp:close(Socket),
    State.

refuse(Socket, Why, State) ->
    send(Socket, [?TEXT, "evum: ", Why]),
    send(Socket, [?EXIT, 125]),
    _ = gen_tcp:close(Socket),
    State.

%% @doc Was a local socket connected to by this BEAM's user, or by root?
-spec is_own(gen_tcp:socket()) -> boolean().
is_own(Socket) ->
    case peer(Socket) of
        {ok, _Pid, Uid} -> Uid =:= 0 orelse Uid =:= uid();
        error -> false
    end.

peer(Socket) ->
    case inet:getopts(Socket, [{raw, ?SOL_SOCKET, ?SO_PEERCRED, 12}]) of
        {ok, [{raw, _, _, <<Pid:32/native, Uid:32/native, _Gid:32/native>>}]} -> {ok, Pid, Uid};
        _ -> error
    end.

uid() ->
    {ok, #file_info{uid = Uid}} = file:read_file_info("/proc/self"),
    Uid.

%% Back to the owner, with every byte accounted for.
detach(#state{vm = Vm, client = Client, diverted = Diverted} = State) ->
    _ = gen_tcp:close(Client),
    case Diverted of
        true ->
            acknowledge(Vm, State#state.unacked + byte_size(State#state.pending)),
            gen_statem:cast(Vm, {detach, self()});
        false ->
            ok
    end,
    State#state{client = none, peer = none, diverted = false, pending = <<>>, unacked = 0}.

acknowledge(_Vm, 0) -> ok;
acknowledge(Vm, N) -> gen_statem:cast(Vm, {attach_ack, self(), N}).

%% A frame of the client. error: it breaks the protocol.
frame(<<?HELLO, Tty, Rows:16, Cols:16>>, #state{diverted = false, vm = Vm} = State) ->
    gen_statem:cast(Vm, {attach, self()}),
    Tty =:= 1 andalso winsize(Vm, Rows, Cols),
    {ok, State#state{diverted = true}};
frame(<<?DATA, Bytes/binary>>, #state{diverted = true, vm = Vm} = State) ->
    gen_statem:cast(Vm, {attach_input, self(), Bytes}),
    {ok, State};
frame(<<?WINSIZE, Rows:16, Cols:16>>, #state{diverted = true, vm = Vm} = State) ->
    winsize(Vm, Rows, Cols),
    {ok, State};
frame(<<?EOF>>, State) ->
    %% nothing more is typed, but whoever reads may go on
    {ok, State};
frame(<<?ACK, 1, N:32>>, #state{vm = Vm, unacked = Unacked} = State) when N =< Unacked ->
    acknowledge(Vm, N),
    {ok, send_pending(State#state{unacked = Unacked - N})};
frame(_, _State) ->
    error.

winsize(_Vm, 0, _) -> ok;
winsize(_Vm, _, 0) -> ok;
winsize(Vm, Rows, Cols) -> gen_statem:cast(Vm, {attach_winsize, Rows, Cols}).

%% As much as the client's window takes.
send_pending(#state{pending = Pending, unacked = Unacked} = State) ->
    case min(byte_size(Pending), ?WINDOW - Unacked) of
        0 ->
            State;
        N ->
            <<Now:N/binary, Later/binary>> = Pending,
            send(State#state.client, [?STDOUT, Now]),
            State#state{pending = Later, unacked = Unacked + N}
    end.

%% A client that is gone is noticed by tcp_closed.
send(none, _Frame) -> ok;
send(Socket, Frame) ->
    _ = gen_tcp:send(Socket, Frame),
    ok.
