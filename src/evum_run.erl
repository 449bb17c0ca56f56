%% SPDX-License-Identifier: Apache-2.0
%% ./evum run: one program in a machine of its own
%%
%% Started by evum-attach --run, which has the terminal, with the link on
%% descriptors 3 and 4 (frames: c_src/attach/link.h). This process owns the
%% machine and the program. It takes the program's output only while the link's
%% window has room: what waits in its mailbox makes evum_proc stop the program.
%%
%% The status is the program's whenever it ended by itself. A program that was
%% killed because its machine halted, rebooted or panicked has none: that is told,
%% and is trouble (125).
-module(evum_run).

-export([main/0]).

-define(WINDOW, 65536).
%% the trouble is ours, not the program's; as of env, timeout and docker
-define(TROUBLE, 125).
%% a guest's init gives its programs half a second to go, then halts
-define(HALT_MS, 1500).
%% timeout(1) and terminals send a signal to the process and to its group: that is one
-define(SAME_MS, 300).

-define(SIGINT, 2).
-define(SIGTERM, 15).

%% evum-attach to us
-define(HELLO, 0).
-define(DATA, 1).
-define(WINSIZE, 2).
-define(EOF, 3).
-define(SIGNAL, 4).
-define(ACK, 5).
%% to evum-attach
-define(STDOUT, 1).
-define(STDERR, 2).
-define(EXIT, 3).
-define(TEXT, 4).
-define(TAKEN, 5).

-type stream() :: {Window :: non_neg_integer(), Waiting :: binary()}.

-record(run, {
    port :: port(),
    vm :: pid(),
    proc :: pid(),
    monitor :: reference(),
    vm_monitor :: reference(),
    %% for stdout and stderr: bytes that the link takes, and what waits for it
    out = {?WINDOW, <<>>} :: stream(),
    err = {?WINDOW, <<>>} :: stream(),
    %% typed, and not yet taken by the program
    input = [] :: [binary() | eof],
    busy = false :: boolean(),
    %% a signal was passed on: the program may end by it
    signalled = false :: boolean(),
    %% when it was first asked to end (INT, TERM), with no reaction seen since
    asked = none :: none | integer()
}).

%% @doc Runs the command of the plain arguments; ends the BEAM.
-spec main() -> no_return().
main() ->
    process_flag(trap_exit, true),
    %% how the machine ends is told once, by us
    ok = logger:set_primary_config(level, error),
    Port = open_port({fd, 3, 4}, [binary, {packet, 4}]),
    try
        {Options, Command} = arguments(plain_arguments(), #{}),
        run(Port, Options, Command)
    catch
        throw:{trouble, Text} -> leave(Port, ?TROUBLE, Text);
        throw:{status, Status, Text} -> leave(Port, Status, Text)
    end.

%% As bytes: what is no text in the locale's encoding stays what it is.
plain_arguments() ->
    {ok, Line} = file:read_file("/proc/self/cmdline"),
    All = binary:split(Line, <<0>>, [global, trim]),
    tl(lists:dropwhile(fun(Arg) -> Arg =/= <<"-extra">> end, All)).

arguments([<<"--dist">>, Dist | Rest], Options) ->
    try binary_to_atom(Dist) of
        Name -> arguments(Rest, Options#{dist => Name})
    catch
        error:_ -> throw({trouble, "--dist takes the name of a dist"})
    end;
arguments([<<"--mem">>, Mem | Rest], Options) ->
    try binary_to_integer(Mem) of
        MiB -> arguments(Rest, Options#{mem => MiB})
    catch
        error:badarg -> throw({trouble, "--mem takes a number of MiB"})
    end;
arguments([<<"--">> | Command], Options) -> command(Command, Options);
arguments([<<"-", _/binary>> = Option | _], _Options) ->
    throw({trouble, ["run has no option ", Option, "; usage: ./evum run [--dist D] [--mem MiB] [--] CMD..."]});
arguments(Command, Options) -> command(Command, Options).

command([], _Options) -> throw({trouble, "run what? usage: ./evum run [--dist D] [--mem MiB] [--] CMD..."});
command(Command, Options) -> {Options, Command}.

run(Port, Options, Command) ->
    {ok, _} = application:ensure_all_started(evum),
    {Vm, Early} = boot(Port, Options),
    case evum:spawn(Vm, Command, #{}) of
        {ok, Proc} ->
            Run = #run{port = Port, vm = Vm, proc = Proc, monitor = monitor(process, Proc),
                       vm_monitor = monitor(process, Vm)},
            loop(lists:foldl(fun frame/2, Run, Early));
        {error, Reason} ->
            not_started(Reason, hd(Command))
    end.

%% Boots the machine in a process of its own, so that the link is heard
%% meanwhile. Returns the machine and the frames that came too early.
boot(Port, Options0) ->
    Self = self(),
    Options = Options0#{console => none, owner => Self, life => Self, on_reboot => stop},
    Booter = spawn_link(fun() -> Self ! {booted, self(), evm:create(Options)} end),
    boot(Port, Booter, []).

boot(Port, Booter, Early) ->
    receive
        {booted, Booter, {ok, Vm}} -> {Vm, lists:reverse(Early)};
        {booted, Booter, {error, Reason}} -> throw({trouble, evum:format_error(Reason)});
        {'EXIT', Booter, Reason} when Reason =/= normal -> throw({trouble, evum:format_error(Reason)});
        {'EXIT', Port, _} -> halt(?TROUBLE);
        {Port, {data, <<?SIGNAL, Number>>}} -> throw({status, 128 + Number, ""});
        {Port, {data, Frame}} -> boot(Port, Booter, [Frame | Early])
    end.

%% The program's messages are received only while nothing waits for room, the
%% link's always.
loop(#run{port = Port, proc = Proc, monitor = Monitor, out = {_, Out}, err = {_, Err}} = Run) ->
    receive
        {Port, {data, Frame}} -> loop(frame(Frame, Run));
        {'EXIT', Port, _} -> closed(Run);
        {evum, Proc, {stdout, Bytes}} when Out =:= <<>> -> loop(output(?STDOUT, Bytes, Run#run{asked = none}));
        {evum, Proc, {stderr, Bytes}} when Err =:= <<>> -> loop(output(?STDERR, Bytes, Run#run{asked = none}));
        {evum, Proc, stdin_ready} -> loop(input(Run#run{busy = false}));
        {evum, Proc, {exit, Status}} when Out =:= <<>>, Err =:= <<>> -> exited(Status, Run);
        {'DOWN', Monitor, process, Proc, Reason} when Out =:= <<>>, Err =:= <<>> -> ended(Reason)
    end.

frame(<<?DATA, Bytes/binary>>, #run{input = Input} = Run) -> input(Run#run{input = Input ++ [Bytes]});
frame(<<?EOF>>, #run{input = Input} = Run) -> input(Run#run{input = Input ++ [eof]});
frame(<<?SIGNAL, Number>>, #run{proc = Proc} = Run) ->
    Run1 = asked(Number, erlang:monotonic_time(millisecond), Run),
    _ = evum:signal(Proc, Number),
    Run1#run{signalled = true};
frame(<<?ACK, Fd, N:32>>, Run) -> acknowledged(Fd, N, Run);
frame(<<?HELLO, _/binary>>, Run) -> Run;
frame(<<?WINSIZE, _/binary>>, Run) -> Run.

%% A program that stays silent when it is asked again is ended with its machine.
asked(Number, Now, #run{asked = none} = Run) when Number =:= ?SIGINT; Number =:= ?SIGTERM ->
    Run#run{asked = Now};
asked(Number, Now, #run{asked = First} = Run) when Number =:= ?SIGINT; Number =:= ?SIGTERM ->
    Now - First < ?SAME_MS orelse cut(Number, Run),
    Run;
asked(_Number, _Now, Run) -> Run.

-spec cut(pos_integer(), #run{}) -> no_return().
cut(Number, #run{vm = Vm, port = Port}) ->
    _ = evum:crash(Vm),
    leave(Port, 128 + Number, "the program didn't react, so its machine's power was cut").

acknowledged(?STDOUT, N, #run{out = {Window, Bytes}} = Run) ->
    output(?STDOUT, Bytes, Run#run{out = {Window + N, <<>>}});
acknowledged(?STDERR, N, #run{err = {Window, Bytes}} = Run) ->
    output(?STDERR, Bytes, Run#run{err = {Window + N, <<>>}}).

output(?STDOUT, Bytes, #run{out = {Window, <<>>}} = Run) ->
    Run#run{out = pass(Run#run.port, ?STDOUT, Window, Bytes)};
output(?STDERR, Bytes, #run{err = {Window, <<>>}} = Run) ->
    Run#run{err = pass(Run#run.port, ?STDERR, Window, Bytes)}.

pass(Port, Stream, Window, Bytes) ->
    case min(Window, byte_size(Bytes)) of
        0 ->
            {Window, Bytes};
        N ->
            <<Now:N/binary, Later/binary>> = Bytes,
            send(Port, [Stream, Now]),
            {Window - N, Later}
    end.

%% Hands on what was typed, as far as the program takes it.
input(#run{busy = true} = Run) -> Run;
input(#run{input = []} = Run) -> Run;
input(#run{proc = Proc, input = [Item | Rest]} = Run) ->
    case evum:write(Proc, Item) of
        ok -> input(taken(size_of(Item), Run#run{input = Rest}));
        {error, {busy, N}} ->
            taken(N, Run#run{input = [left(N, Item) | Rest], busy = true});
        %% it doesn't read any more, or is gone: its exit tells
        {error, _} -> input(taken(size_of(Item), Run#run{input = Rest}))
    end.

left(0, Item) -> Item;
left(N, Bytes) ->
    <<_:N/binary, Left/binary>> = Bytes,
    Left.

size_of(eof) -> 0;
size_of(Bytes) -> byte_size(Bytes).

taken(0, Run) -> Run;
taken(N, #run{port = Port} = Run) ->
    send(Port, [?TAKEN, <<N:32>>]),
    Run.

-spec exited(evum_proc:ending(), #run{}) -> no_return().
exited({signal, Signal}, #run{signalled = false} = Run) when Signal =:= kill; Signal =:= term ->
    %% that is how a guest's init ends programs when it halts
    #run{vm_monitor = Monitor} = Run,
    receive {'DOWN', Monitor, process, _, Reason} -> ended({vm_down, Reason})
    after ?HALT_MS -> stopped({signal, Signal}, Run)
    end;
exited({signal, _} = Status, Run) -> stopped(Status, Run);
exited(Status, Run) when is_integer(Status) -> stopped(Status, Run);
exited(Lost, _Run) -> ended(Lost).

-spec stopped(evum_proc:status(), #run{}) -> no_return().
stopped(Status, #run{vm = Vm, port = Port}) ->
    _ = evm:stop(Vm),
    leave(Port, status(Status), "").

status(Status) when is_integer(Status) -> Status;
status({signal, Signal}) ->
    {ok, Number} = evum_signal:number(Signal),
    128 + Number.

%% It ended and gave no status.
-spec ended(term()) -> no_return().
ended(Reason) -> throw({trouble, down(Reason)}).

-spec not_started(term(), binary()) -> no_return().
not_started(enoent, Name) -> throw({status, 127, [Name, ": no such program in the machine"]});
not_started(Reason, Name) when is_atom(Reason), Reason =/= noproc, Reason =/= agent_restarted ->
    throw({status, 126, [Name, ": ", evum:format_error(Reason)]});
%% it isn't the program that is at fault
not_started(Reason, _Name) -> throw({trouble, evum:format_error(Reason)}).

down({vm_down, Reason}) -> down(Reason);
down(agent_restarted) -> "the machine's agent was killed, and the program with it";
down({shutdown, halted}) -> "the machine was halted, and the program ended with it";
down({shutdown, rebooted}) -> "the machine was rebooted, and the program ended with it";
down({panic, _} = Reason) -> evum:format_error(Reason);
down(Reason) -> ["the machine is down: ", evum:format_error(Reason)].

%% evum-attach is gone: nobody is left to tell.
-spec closed(#run{}) -> no_return().
closed(#run{vm = Vm}) ->
    _ = evum:crash(Vm),
    halt(?TROUBLE).

%% Tells evum-attach the end and waits until it has closed the link.
-spec leave(port(), 0..255, iodata()) -> no_return().
leave(Port, Status, Text) ->
    iolist_size(Text) =:= 0 orelse send(Port, [?TEXT, "evum: ", Text]),
    send(Port, [?EXIT, Status]),
    receive {'EXIT', Port, _} -> ok end,
    halt(Status).

send(Port, Frame) ->
    %% false or badarg: evum-attach is gone, and its 'EXIT' is in the mailbox
    try port_command(Port, Frame) of _ -> ok
    catch error:badarg -> ok
    end.
