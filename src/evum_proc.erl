%% SPDX-License-Identifier: Apache-2.0
%% One program running in a guest: one plain Erlang process
%%
%% Theory of operation.  The process asks its machine to run the program and
%% hears of it by {evum_vm, Vm, _} messages. Output comes within a window a
%% stream: it is acknowledged, straight to the port, once it is collected
%% (exec) or delivered to an owner that keeps up, so a flood stalls the program
%% and nobody else. The first window of each stream, and what is left at the end,
%% is delivered whatever else the owner has not received: he may be waiting for
%% just that, past a full mailbox. What is written to the program is counted against the
%% window that the guest grants; write/2 takes what fits and never waits.
%%
%% The machine monitors this process and kills the program's process group when
%% it ends first. A plain process may end with any reason without a report.
-module(evum_proc).

-export([exec/2, spawn/3, write/2, signal/2, signal_name/1, signal_number/1]).
-export_type([status/0, result/0, output/0]).

-define(WINDOW, 65536).
-define(OWNER_QUEUE, 1000).
-define(TERM_MS, 2000).
-define(RETRY_MS, 5).
-define(HELD_MS, 10).
-define(GUARD_MS, 10000).

-type status() :: non_neg_integer() | {signal, atom() | pos_integer()}.
-type output() :: #{stdout := binary(), stderr := binary()}.
-type result() :: #{status := status(), stdout := binary(), stderr := binary()}.

%% who hears of the program: an owner, or the caller of exec with its limit
-type sink() :: {owner, pid(), reference() | undefined} | {collect, reference(), pos_integer()}.

-record(proc, {
    vm :: pid(),
    vm_monitor :: reference(),
    listener :: reference(),
    sink :: sink(),
    port :: port() | undefined,
    id :: pos_integer() | undefined,
    %% collected (the newest first), or waiting for the owner
    out = #{1 => [], 2 => []} :: #{1 | 2 => [binary()]},
    size = 0 :: non_neg_integer(),
    queue = queue:new() :: queue:queue({1 | 2, binary()}),
    held = false :: boolean(),
    %% bytes that are delivered whatever the owner's mailbox holds
    free = #{1 => ?WINDOW, 2 => ?WINDOW} :: #{1 | 2 => non_neg_integer()},
    %% acknowledgements that the port had no room for
    credit = #{} :: #{1 | 2 => pos_integer()},
    stdin = open :: open | closed,
    room = ?WINDOW :: non_neg_integer(),
    starving = false :: boolean(),
    status :: undefined | status() | lost | {error, atom()},
    %% why it is to end, once asked
    ending :: undefined | {reason, term()}
}).

%% @doc Runs a checked program ({@link evum_opts:program/2}) and collects what it prints.
%% Waits for the machine to be up as well, all within the program's `timeout'.
-spec exec(pid(), evum_opts:program()) ->
    {ok, result()}
    | {error,
        {timeout, output()} | {max_output, output()} | {vm_down, term()} | noproc | agent_restarted | atom()}.
exec(Vm, #{timeout := Timeout} = Program) ->
    Caller = self(),
    {Proc, Ref} = spawn_program(Vm, [monitor], fun(Tag) -> init(Vm, Program, Caller, {collect, Tag}) end),
    receive
        {Ref, Result} ->
            demonitor(Ref, [flush]),
            Result;
        {'DOWN', Ref, process, Proc, Reason} ->
            {error, ended(Reason)}
    after Timeout + ?GUARD_MS ->
        exit(Proc, kill),
        demonitor(Ref, [flush]),
        {error, {timeout, #{stdout => <<>>, stderr => <<>>}}}
    end.

%% @doc Starts a program whose owner, and receiver of `{evum, Proc, _}', is the
%% caller. `How': `spawn' or `link'. Returns once the program runs.
-spec spawn(pid(), evum_opts:program(), spawn | link) -> {ok, pid()} | {error, term()}.
spawn(Vm, #{timeout := Timeout} = Program, How) ->
    Caller = self(),
    {Proc, Ref} = spawn_program(Vm, [How || How =:= link] ++ [monitor],
                                fun(Tag) -> init(Vm, Program, Caller, {owner, Tag}) end),
    receive
        {Ref, Result} ->
            demonitor(Ref, [flush]),
            Result;
        {'DOWN', Ref, process, Proc, Reason} ->
            {error, ended(Reason)}
    after Timeout ->
        unlink(Proc),
        exit(Proc, kill),
        demonitor(Ref, [flush]),
        {error, {timeout, start}}
    end.

ended({vm_down, noproc}) -> noproc;
ended(noconnection) -> noconnection;
ended(Reason) -> Reason.

%% The process lives where its machine does: it writes to the machine's port.
spawn_program(Vm, Options, Fun) ->
    Caller = self(),
    {Proc, Ref} = spawn_opt(node(Vm), fun() -> receive {Caller, Tag} -> Fun(Tag) after ?GUARD_MS -> ok end end, Options),
    Proc ! {Caller, Ref},
    {Proc, Ref}.

%% @doc Writes to a program's input as much as it takes now. After `busy' comes
%% `{evum, Proc, stdin_ready}' to the owner.
-spec write(pid(), iodata() | eof) ->
    ok | {error, {busy, Accepted :: non_neg_integer()} | closed | noproc}.
write(Proc, Data) ->
    Bytes = case Data of eof -> eof; _ -> iolist_to_binary(Data) end,
    Ref = monitor(process, Proc, [{alias, reply_demonitor}]),
    Proc ! {write, Ref, Bytes},
    receive
        {Ref, Result} -> Result;
        {'DOWN', Ref, process, _, _} -> {error, noproc}
    end.

%% @doc Sends a signal, by name or number, to a program's process group.
-spec signal(pid(), atom() | pos_integer()) -> ok | {error, {bad_signal, term()}}.
signal(Proc, Signal) ->
    case signal_number(Signal) of
        {ok, Number} ->
            Proc ! {signal, Number},
            ok;
        error ->
            {error, {bad_signal, Signal}}
    end.

%% --- the process -------------------------------------------------------------

init(Vm, Program, Caller, {Kind, Tag}) ->
    process_flag(trap_exit, true),
    VmMonitor = monitor(process, Vm),
    gen_statem:cast(Vm, {run, self(), spec(Program)}),
    loop(#proc{
        vm = Vm, vm_monitor = VmMonitor, listener = monitor(process, Caller),
        sink = sink(Kind, Tag, Caller, Program)
    }, Caller).

spec(Program) ->
    (maps:with([argv, env, cwd, user], Program))#{window => ?WINDOW}.

sink(owner, Tag, Caller, _Program) -> {owner, Caller, Tag};
sink(collect, Tag, _Caller, #{max_output := Max, timeout := Timeout}) ->
    _ = erlang:send_after(Timeout, self(), timeout),
    {collect, Tag, Max}.

%% Caller is who started the program, and its owner.
loop(#proc{vm = Vm, vm_monitor = VmMonitor, listener = Listener} = P, Caller) ->
    receive
        {evum_vm, Vm, Event} -> loop(event(Event, P, Caller), Caller);
        {write, From, Data} -> loop(written(From, Data, P), Caller);
        {signal, Number} -> loop(send_signal(Number, P), Caller);
        pump -> loop(pump(P#proc{held = false}), Caller);
        acknowledge -> loop(acknowledge(P), Caller);
        no_input -> loop(no_input(P), Caller);
        writable -> loop(writable(P#proc{starving = true}), Caller);
        timeout -> give_up(timeout, P, Caller);
        {kill, Reason} -> exit(Reason);
        {'DOWN', VmMonitor, process, _, Reason} -> finish({vm_down, Reason}, P, Caller);
        {'DOWN', Listener, process, _, _} -> exit({shutdown, owner_down});
        {'EXIT', _, normal} -> loop(P, Caller);
        {'EXIT', _, Reason} -> loop(told_to_end(Reason, P), Caller);
        _Other -> loop(P, Caller)
    end.

event({running, Port, Id}, P, _Caller) ->
    no_input(acknowledge(P#proc{port = Port, id = Id}));
event({started, _GuestPid}, #proc{sink = {owner, Owner, Tag}} = P, Caller) when is_reference(Tag) ->
    Caller ! {Tag, {ok, self()}},
    P#proc{sink = {owner, Owner, undefined}};
event({started, _GuestPid}, P, _Caller) -> P;
event({failed, Reason}, P, Caller) -> finish(Reason, P, Caller);
event(rebooted, P, Caller) -> finish({shutdown, rebooted}, P, Caller);
event({output, _Fd, <<>>}, P, _Caller) -> P;
event({output, Fd, Bytes}, P, Caller) -> output(Fd, Bytes, P, Caller);
event({stdin, N}, #proc{room = Room} = P, _Caller) -> writable(P#proc{room = Room + N});
event({exit, Status}, P, Caller) -> exited(Status, P, Caller).

%% What is only collected is given no input: a program that reads sees its end.
no_input(#proc{sink = {collect, _, _}, port = Port, id = Id} = P) ->
    case evum_port:command(Port, evum_proto:stream(Id, 0, <<>>)) of
        busy ->
            _ = erlang:send_after(?RETRY_MS, self(), no_input),
            P;
        _ ->
            P
    end;
no_input(P) -> P.

%% --- output --------------------------------------------------------------------

output(Fd, Bytes, #proc{sink = {collect, _, Max}, out = Out, size = Size} = P, Caller) ->
    Size1 = Size + byte_size(Bytes),
    #{Fd := Parts} = Out,
    case Size1 > Max of
        true ->
            Kept = binary:part(Bytes, 0, Max - Size),
            give_up(max_output, P#proc{out = Out#{Fd := [Kept | Parts]}}, Caller);
        false ->
            credit(Fd, byte_size(Bytes), P#proc{out = Out#{Fd := [Bytes | Parts]}, size = Size1})
    end;
output(Fd, Bytes, #proc{queue = Queue} = P, _Caller) ->
    pump(P#proc{queue = queue:in({Fd, Bytes}, Queue)}).

%% Delivers what the owner has room for, and the end behind it.
pump(#proc{sink = {owner, Owner, _}, queue = Queue} = P) ->
    case queue:out(Queue) of
        {empty, _} -> deliver_end(P);
        {{value, {Fd, Bytes}}, Rest} ->
            case takes(Fd, Owner, P) of
                true ->
                    Owner ! {evum, self(), {stream(Fd), Bytes}},
                    pump(credit(Fd, byte_size(Bytes), spend(Fd, byte_size(Bytes), P#proc{queue = Rest})));
                false -> hold(P)
            end
    end;
pump(P) -> P.

hold(#proc{held = true} = P) -> P;
hold(P) ->
    _ = erlang:send_after(?HELD_MS, self(), pump),
    P#proc{held = true}.

takes(_Fd, _Owner, #proc{status = Status}) when Status =/= undefined -> true;
takes(Fd, Owner, #proc{free = Free}) -> maps:get(Fd, Free) > 0 orelse keeps_up(Owner).

spend(Fd, N, #proc{free = Free} = P) -> P#proc{free = maps:update_with(Fd, fun(Left) -> max(0, Left - N) end, Free)}.

keeps_up(Owner) when node(Owner) =/= node() -> true;
keeps_up(Owner) ->
    case process_info(Owner, message_queue_len) of
        {_, Len} -> Len < ?OWNER_QUEUE;
        undefined -> false
    end.

stream(1) -> stdout;
stream(2) -> stderr.

credit(Fd, N, #proc{credit = Credit} = P) ->
    acknowledge(P#proc{credit = maps:update_with(Fd, fun(M) -> M + N end, N, Credit)}).

acknowledge(#proc{port = undefined} = P) -> P;
acknowledge(#proc{credit = Credit, port = Port, id = Id} = P) ->
    Left = maps:filter(fun(Fd, N) ->
        evum_port:command(Port, evum_proto:credit(Id, Fd, N)) =:= busy
    end, Credit),
    Left =:= #{} orelse erlang:send_after(?RETRY_MS, self(), acknowledge),
    P#proc{credit = Left}.

%% --- input ---------------------------------------------------------------------

written(From, _Data, #proc{stdin = closed} = P) ->
    From ! {From, {error, closed}},
    P;
written(From, Data, #proc{port = undefined} = P) ->
    From ! {From, {error, {busy, 0}}},
    P#proc{starving = Data =/= <<>>};
written(From, eof, #proc{port = Port, id = Id} = P) ->
    case evum_port:command(Port, evum_proto:stream(Id, 0, <<>>)) of
        busy ->
            From ! {From, {error, {busy, 0}}},
            later(P);
        _ ->
            From ! {From, ok},
            P#proc{stdin = closed}
    end;
written(From, Bytes, P) ->
    write(From, Bytes, 0, P).

write(From, <<>>, _Accepted, P) ->
    From ! {From, ok},
    P;
write(From, _Bytes, Accepted, #proc{room = 0} = P) ->
    From ! {From, {error, {busy, Accepted}}},
    P#proc{starving = true};
write(From, Bytes, Accepted, #proc{room = Room, port = Port, id = Id} = P) ->
    N = lists:min([Room, byte_size(Bytes), evum_proto:bulk_max()]),
    <<Now:N/binary, Rest/binary>> = Bytes,
    case evum_port:command(Port, evum_proto:stream(Id, 0, Now)) of
        busy ->
            From ! {From, {error, {busy, Accepted}}},
            later(P);
        _ ->
            write(From, Rest, Accepted + N, P#proc{room = Room - N})
    end.

%% The port is busy, not the program: look again soon.
later(P) ->
    _ = erlang:send_after(?RETRY_MS, self(), writable),
    P.

writable(#proc{starving = true, sink = {owner, Owner, _}, room = Room} = P) when Room > 0 ->
    Owner ! {evum, self(), stdin_ready},
    P#proc{starving = false};
writable(P) -> P.

%% --- the end -------------------------------------------------------------------

send_signal(_Number, #proc{id = undefined} = P) -> P;
send_signal(Number, #proc{vm = Vm, id = Id} = P) ->
    gen_statem:cast(Vm, {signal, Id, Number}),
    P.

%% shutdown is TERM, then KILL; anything else is KILL. The machine sends the
%% KILL when this process ends.
told_to_end(Reason, #proc{id = Id} = P) when Id =/= undefined ->
    case evum_vm_end:is_shutdown(Reason) of
        true ->
            _ = erlang:send_after(?TERM_MS, self(), {kill, Reason}),
            send_signal(15, P#proc{ending = {reason, Reason}});
        false ->
            exit(Reason)
    end;
told_to_end(Reason, _P) -> exit(Reason).

-spec exited(term(), #proc{}, pid()) -> #proc{}.
exited(lost, P, Caller) -> finish(agent_restarted, P, Caller);
exited({error, Posix}, P, Caller) -> finish(Posix, P, Caller);
exited(Status, P, Caller) -> ended_with(named(Status), P, Caller).

named({signal, N}) -> {signal, signal_name(N)};
named(Status) -> Status.

ended_with(_Status, #proc{ending = {reason, Reason}}, _Caller) -> exit(Reason);
ended_with(Status, #proc{sink = {collect, Tag, _}} = P, Caller) ->
    Caller ! {Tag, {ok, (collected(P))#{status => Status}}},
    exit(normal);
ended_with(Status, P, _Caller) -> pump(P#proc{status = Status}).

%% The owner has all output: the status goes last.
deliver_end(#proc{status = undefined} = P) -> P;
deliver_end(#proc{status = Status, sink = {owner, Owner, _}}) ->
    Owner ! {evum, self(), {exit, Status}},
    exit(reason(Status)).

reason(0) -> normal;
reason({signal, _} = Signal) -> Signal;
reason(Status) -> {exit_status, Status}.

collected(#proc{out = #{1 := Out, 2 := Err}}) ->
    #{stdout => iolist_to_binary(lists:reverse(Out)), stderr => iolist_to_binary(lists:reverse(Err))}.

%% The program is to be killed, and what it printed so far is told.
-spec give_up(timeout | max_output, #proc{}, pid()) -> no_return().
give_up(What, #proc{sink = {collect, Tag, _}} = P, Caller) ->
    Caller ! {Tag, {error, {What, collected(P)}}},
    exit({shutdown, What}).

%% Nothing more will come of the program.
-spec finish(term(), #proc{}, pid()) -> no_return().
finish(Reason, #proc{sink = {collect, Tag, _}}, Caller) ->
    Caller ! {Tag, {error, ended(Reason)}},
    exit(normal);
finish(Reason, #proc{sink = {owner, _, Tag}}, Caller) when is_reference(Tag) ->
    %% a program that didn't start is an answer, not the end of who asked
    Caller ! {Tag, {error, ended(Reason)}},
    unlink(Caller),
    exit({shutdown, Reason});
finish(Reason, #proc{sink = {owner, Owner, _}, queue = Queue}, _Caller) ->
    %% at most a window each: no more of it will come
    _ = [Owner ! {evum, self(), {stream(Fd), Bytes}} || {Fd, Bytes} <- queue:to_list(Queue)],
    exit(Reason).

%% --- signals -------------------------------------------------------------------

signals() ->
    [
        {1, hup}, {2, int}, {3, quit}, {4, ill}, {5, trap}, {6, abrt}, {7, bus}, {8, fpe}, {9, kill},
        {10, usr1}, {11, segv}, {12, usr2}, {13, pipe}, {14, alrm}, {15, term}, {17, chld}, {18, cont},
        {19, stop}, {20, tstp}, {21, ttin}, {22, ttou}, {24, xcpu}, {25, xfsz}, {28, winch}, {31, sys}
    ].

%% @doc The name of a Linux signal, or its number where it has none here.
-spec signal_name(pos_integer()) -> atom() | pos_integer().
signal_name(Number) -> proplists:get_value(Number, signals(), Number).

%% @doc The number of a Linux signal that is given by name or number.
-spec signal_number(term()) -> {ok, pos_integer()} | error.
signal_number(Number) when is_integer(Number), Number > 0, Number =< 64 -> {ok, Number};
signal_number(Name) ->
    case lists:keyfind(Name, 2, signals()) of
        {Number, Name} -> {ok, Number};
        false -> error
    end.
