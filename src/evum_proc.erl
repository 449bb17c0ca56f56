%% SPDX-License-Identifier: Apache-2.0
%% One program running in a guest: one plain Erlang process
%%
%% Theory of operation.  The process asks its machine to run the program and
%% hears of it by {evum_vm, Vm, _} messages. What is written to the program is
%% evum_proc_in's, what it prints evum_proc_out's: both move bytes straight from
%% and to the port, each stream within its window. This process starts the
%% program, passes signals on and decides how it all ends.
%%
%% The caller watches it from its first moment: it is spawned with the monitor, or
%% the link, so that an end that is sooner than the answer has its true reason
%% too. A program that couldn't be started is an answer, and no end of the caller's.
%%
%% The owner is sent all that the program printed and then, in every case but
%% exit(Proc, kill), which leaves this process no word, {exit, _}.
%%
%% The machine monitors this process and kills the program's process group when
%% it ends first. A plain process may end with any reason without a report.
-module(evum_proc).

-export([exec/2, spawn/3, write/2, write/3, winsize/3, signal/2]).
-export_type([status/0, ending/0, result/0]).

-define(TERM_MS, 2000).
%% how long a machine may take to start a program, its boot included
-define(START_MS, 60000).
%% what the machine has no room for is asked again
-define(RETRY_MS, 5).
%% what the process may take longer than it promises
-define(GUARD_MS, 10000).

-type status() :: non_neg_integer() | {signal, evum_signal:signal()}.
%% what the owner is told last
-type ending() :: status() | timeout | lost().
%% {error, Posix}: a command of the agent's own failed
-type lost() :: {vm_down, term()} | {shutdown, rebooted} | agent_restarted | {error, atom()}.
-type result() :: #{status := status(), stdout := binary(), stderr := binary()}.

-record(proc, {
    vm :: pid(),
    vm_monitor :: reference(),
    %% who started the program, and is its owner
    caller :: pid(),
    caller_monitor :: reference(),
    %% where the caller's answer goes, and its mark, while he waits for it
    tag :: reference() | undefined,
    kind :: spawn | exec,
    spec :: map(),
    %% once the machine has given it a number
    stream :: evum_proc_in:stream() | undefined,
    in :: evum_proc_in:input(),
    out :: evum_proc_out:output(),
    %% why it is to end, once asked
    ending :: undefined | {reason, term()}
}).

%% @doc Runs a checked program ({@link evum_opts:program/3}) and collects what it prints.
%% Waits for the machine to be up as well, all within the program's `timeout'.
-spec exec(pid(), evum_opts:program()) ->
    {ok, result()}
    | {error,
        {timeout | max_output, evum_proc_out:collected()} | {vm_down, term()} | noproc | agent_restarted | atom()}.
exec(Vm, Program) ->
    case spawn_process(Vm, [], exec, Program) of
        {ok, Proc, Ref} -> shell(Program, result(Proc, Ref, Program));
        {error, _} = Error -> Error
    end.

result(Proc, Ref, #{timeout := Timeout}) ->
    receive
        {Ref, Result} ->
            demonitor(Ref, [flush]),
            Result;
        {'DOWN', Ref, process, Proc, Reason} ->
            {error, ended(Reason)}
    after Timeout + ?GUARD_MS ->
        give_up(Proc, Ref),
        {error, {timeout, #{stdout => <<>>, stderr => <<>>}}}
    end.

%% @doc Starts a program whose owner, and receiver of `{evum, Proc, _}', is the
%% caller. Returns once the program runs. `monitor': with the monitor's reference.
-spec spawn(pid(), evum_opts:program(), spawn | link | monitor) ->
    {ok, pid()} | {ok, pid(), reference()} | {error, term()}.
spawn(Vm, Program, How) ->
    case spawn_process(Vm, [link || How =:= link], spawn, Program) of
        {ok, Proc, Ref} -> shell(Program, started(Proc, Ref, Program, How));
        {error, _} = Error -> Error
    end.

started(Proc, Ref, Program, How) ->
    receive
        {Ref, started} when How =:= monitor ->
            {ok, Proc, Ref};
        {Ref, started} ->
            demonitor(Ref, [flush]),
            {ok, Proc};
        {Ref, {error, _} = Error} ->
            demonitor(Ref, [flush]),
            Error;
        {'DOWN', Ref, process, Proc, Reason} ->
            {error, ended(Reason)}
    after start_ms(Program) + ?GUARD_MS ->
        unlink(Proc),
        give_up(Proc, Ref),
        {error, {timeout, start}}
    end.

%% A machine needs no shell, and who gave a string didn't name one.
shell(#{argv := [<<"/bin/sh">>, <<"-c">>, _]} = Program, {error, enoent}) when not is_map_key(cwd, Program) ->
    {error, no_shell};
shell(_Program, Result) -> Result.

%% The process lives where its machine does: it writes to the machine's port. A node
%% that isn't there is an answer too. The monitor is the alias that the answer goes to,
%% so that one that comes too late goes nowhere.
spawn_process(Vm, Options, Kind, Program) ->
    Caller = self(),
    Run = fun() -> start(Vm, Caller, Kind, Program) end,
    Ref = spawn_request(node(Vm), Run, [{monitor, [{alias, demonitor}]} | Options]),
    receive
        {spawn_reply, Ref, ok, Proc} ->
            Proc ! {Caller, Ref},
            {ok, Proc, Ref};
        {spawn_reply, Ref, error, Reason} ->
            {error, Reason}
    end.

give_up(Proc, Ref) ->
    exit(Proc, kill),
    demonitor(Ref, [flush]),
    receive {Ref, _} -> ok after 0 -> ok end.

ended({vm_down, noproc}) -> noproc;
ended({error, Posix}) -> Posix;
ended(Reason) -> Reason.

%% @doc Writes to a program's input as much as it takes now. After `busy' comes
%% `{evum, Proc, stdin_ready}' to the owner. Any process may write.
-spec write(pid(), iodata() | eof) ->
    ok | {error, {busy, Accepted :: non_neg_integer()} | closed | noproc | {timeout, write, unresponsive}}.
write(Proc, Data) -> write(Proc, Data, now, 0).

%% @doc Writes to a program's input and waits at most `Ms' until all was taken.
%% After a time-out `Accepted' bytes were, and will reach the program if it reads
%% on; the others never will. Writers are served one after another. 128 KiB and
%% more at a time is fastest.
-spec write(pid(), iodata() | eof, non_neg_integer()) ->
    ok | {error, {timeout, Accepted :: non_neg_integer()} | closed | noproc | {timeout, write, unresponsive}}.
write(Proc, Data, Ms) -> write(Proc, Data, Ms, Ms).

write(Proc, Data, Wait, Ms) ->
    Bytes = case Data of eof -> eof; _ -> iolist_to_binary(Data) end,
    Ref = monitor(process, Proc, [{alias, reply_demonitor}]),
    Proc ! {write, Ref, Bytes, Wait},
    receive
        {Ref, Result} -> Result;
        {'DOWN', Ref, process, _, _} -> {error, noproc}
    after Ms + ?GUARD_MS ->
        demonitor(Ref, [flush]),
        receive {Ref, Result} -> Result after 0 -> {error, {timeout, write, unresponsive}} end
    end.

%% @doc Sets the window size of a program that was started with a pty; nothing of another.
-spec winsize(pid(), Rows :: pos_integer(), Columns :: pos_integer()) -> ok.
winsize(Proc, Rows, Columns) ->
    Proc ! {order, {winsize, Rows, Columns}},
    ok.

%% @doc Sends a signal, by name or number, to a program's process group.
-spec signal(pid(), evum_signal:signal()) -> ok | {error, {bad_signal, term()}}.
signal(Proc, Signal) ->
    case evum_signal:number(Signal) of
        {ok, Number} ->
            Proc ! {order, {signal, Number}},
            ok;
        error ->
            {error, {bad_signal, Signal}}
    end.

%% --- the process -------------------------------------------------------------

start(Vm, Caller, Kind, Program) ->
    process_flag(trap_exit, true),
    receive
        {Caller, Tag} ->
            set_timers(Kind, Program),
            loop(run(#proc{
                vm = Vm, vm_monitor = monitor(process, Vm), caller = Caller, tag = Tag,
                caller_monitor = monitor(process, Caller), kind = Kind, spec = spec(Program),
                in = input(Kind, Program), out = output(Kind, Caller, Program)
            }))
    after ?GUARD_MS ->
        %% the caller is gone, or its node
        ok
    end.

set_timers(Kind, #{timeout := Timeout} = Program) ->
    _ = Timeout =:= infinity orelse erlang:send_after(Timeout, self(), timeout),
    _ = Kind =:= exec orelse erlang:send_after(start_ms(Program), self(), start_timeout),
    ok.

start_ms(Program) -> maps:get(start, Program, ?START_MS).

spec(Program) ->
    (maps:with([argv, env, cwd, user, pty, max_procs, max_mem, builtin], Program))#{window => evum_proc_out:window()}.

%% What is only collected has all its input: a program that reads sees its end.
input(exec, Program) -> evum_proc_in:new(maps:get(stdin, Program, <<>>));
input(spawn, _Program) -> evum_proc_in:new().

output(exec, _Caller, #{max_output := Max}) -> evum_proc_out:collect(Max);
output(spawn, Caller, _Program) -> evum_proc_out:owner(Caller).

run(#proc{vm = Vm, spec = Spec} = P) ->
    gen_statem:cast(Vm, {run, self(), Spec}),
    P.

loop(#proc{vm = Vm, vm_monitor = VmMonitor, caller_monitor = CallerMonitor, stream = Stream, in = In, out = Out} = P) ->
    receive
        {evum_vm, Vm, Event} -> loop(event(Event, P));
        {write, Ref, Data, Wait} -> loop(P#proc{in = evum_proc_in:write(Ref, Data, Wait, Stream, In)});
        {evum_proc_in, retry} -> loop(pump_input(P));
        {evum_proc_in, late, Ref} -> loop(P#proc{in = evum_proc_in:late(Ref, In)});
        {evum_proc_out, pump} -> loop(P#proc{out = evum_proc_out:pump(Stream, Out)});
        {evum_proc_out, acknowledge} -> loop(P#proc{out = evum_proc_out:acknowledge(Stream, Out)});
        {order, Order} -> loop(order(Order, P));
        run -> loop(run(P));
        timeout -> timed_out(P);
        start_timeout when P#proc.tag =/= undefined -> timed_out(P);
        {kill, Reason} -> told({signal, kill}, Reason, P);
        {'DOWN', VmMonitor, process, _, Reason} -> lost({vm_down, Reason}, P);
        {'DOWN', CallerMonitor, process, _, _} -> exit({shutdown, owner_down});
        {'EXIT', _, normal} -> loop(P);
        {'EXIT', _, Reason} -> loop(told_to_end(Reason, P));
        Other -> loop(P#proc{out = evum_proc_out:heard(Other, Stream, Out)})
    end.

event({running, Port, Id}, P) -> pump_input(P#proc{stream = {Port, Id}});
event({started, _GuestPid}, #proc{kind = spawn, tag = Tag} = P) when Tag =/= undefined ->
    Tag ! {Tag, started},
    P#proc{tag = undefined};
event({started, _GuestPid}, P) -> P;
event({failed, eagain}, P) ->
    %% the agent's line is full; the start's time bounds this
    _ = erlang:send_after(?RETRY_MS, self(), run),
    P;
event({failed, Reason}, P) -> lost({error, Reason}, P);
event(rebooted, P) -> lost({shutdown, rebooted}, P);
event({output, _Fd, <<>>}, P) -> P;
event({output, Fd, Bytes}, #proc{stream = Stream, out = Out} = P) ->
    case evum_proc_out:add(Fd, Bytes, Stream, Out) of
        {ok, Out1} -> P#proc{out = Out1};
        {full, Out1} -> too_much(P#proc{out = Out1})
    end;
event({stdin, N}, #proc{in = In} = P) -> pump_input(P#proc{in = evum_proc_in:grant(N, In)});
event({exit, Status}, P) -> exited(Status, P).

pump_input(#proc{stream = Stream, in = In, caller = Caller} = P) ->
    {Ready, In1} = evum_proc_in:pump(Stream, In),
    _ = Ready andalso (Caller ! {evum, self(), stdin_ready}),
    P#proc{in = In1}.

order(_Order, #proc{stream = undefined} = P) -> P;
order(Order, #proc{vm = Vm, stream = {_Port, Id}} = P) ->
    gen_statem:cast(Vm, {program, Id, Order}),
    P.

%% --- the end -------------------------------------------------------------------

%% shutdown is TERM, then KILL; anything else is KILL. The machine sends the
%% KILL when this process ends.
told_to_end(Reason, #proc{stream = Stream} = P) ->
    case Stream =/= undefined andalso evum_vm_end:is_shutdown(Reason) of
        true ->
            _ = erlang:send_after(?TERM_MS, self(), {kill, Reason}),
            order({signal, 15}, P#proc{ending = {reason, Reason}});
        false ->
            told({signal, kill}, Reason, P)
    end.

-spec exited(term(), #proc{}) -> no_return().
exited(lost, P) -> lost(agent_restarted, P);
exited({error, Posix}, P) -> lost({error, Posix}, P);
exited({signal, Number}, P) -> ended_with({signal, evum_signal:name(Number)}, P);
exited(Status, P) -> ended_with(Status, P).

-spec ended_with(status(), #proc{}) -> no_return().
ended_with(Status, #proc{kind = exec, out = Out} = P) ->
    answer({ok, (evum_proc_out:collected(Out))#{status => Status}}, P),
    exit(normal);
ended_with(Status, #proc{ending = {reason, Reason}} = P) -> told(Status, Reason, P);
ended_with(Status, P) -> told(Status, reason(Status), P).

reason(0) -> normal;
reason({signal, _} = Signal) -> Signal;
reason(Status) -> {exit_status, Status}.

%% The program is to be killed, and what it printed so far is told.
-spec timed_out(#proc{}) -> no_return().
timed_out(#proc{kind = exec, out = Out} = P) ->
    answer({error, {timeout, evum_proc_out:collected(Out)}}, P),
    exit({shutdown, timeout});
timed_out(#proc{tag = undefined} = P) -> told(timeout, timeout, P);
timed_out(P) -> not_started({timeout, start}, P).

-spec too_much(#proc{}) -> no_return().
too_much(#proc{out = Out} = P) ->
    answer({error, {max_output, evum_proc_out:collected(Out)}}, P),
    exit({shutdown, max_output}).

%% Nothing more will come of the program.
-spec lost(lost(), #proc{}) -> no_return().
lost(Reason, #proc{kind = exec} = P) ->
    answer({error, ended(Reason)}, P),
    exit(normal);
lost(Reason, #proc{tag = undefined} = P) -> told(Reason, Reason, P);
lost(Reason, P) -> not_started(ended(Reason), P).

%% The owner has all output, and hears of the end last.
-spec told(ending(), Reason :: term(), #proc{}) -> no_return().
told(Ending, Reason, #proc{kind = spawn, tag = undefined, caller = Owner, out = Out}) ->
    evum_proc_out:flush(Out),
    Owner ! {evum, self(), {exit, Ending}},
    exit(Reason);
told(_Ending, Reason, _P) -> exit(Reason).

-spec not_started(term(), #proc{}) -> no_return().
not_started(Reason, #proc{caller = Caller} = P) ->
    answer({error, Reason}, P),
    unlink(Caller),
    exit({shutdown, Reason}).

answer(Answer, #proc{tag = Tag}) ->
    Tag ! {Tag, Answer},
    ok.
