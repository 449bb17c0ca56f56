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
%%
%% At a terminal the program gets a pty of its size, and evum-attach hands on every
%% key from the moment it runs; before that, ^C still ends the boot.
-module(evum_run).

-export([main/0]).

-define(WINDOW, 1048576).
-define(USAGE, "usage: ./evum run [--dist D] [--mem MiB] [--no-tty] [--] CMD...").
%% the trouble is ours, not the program's; as of env, timeout and docker
-define(TROUBLE, 125).
%% a guest's init gives its programs half a second to go, then halts
-define(HALT_MS, 1500).
%% how long a program's input is waited for at a time
-define(WRITE_MS, 60000).
%% timeout(1) and terminals send a signal to the process and to its group: that is one
-define(SAME_MS, 300).
%% how often a stage of fetching an image is told
-define(TELL_MS, 5000).

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
-define(STARTED, 6).

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
    %% who writes what was typed to the program, and waits until it is taken
    writer :: pid(),
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
arguments([<<"--no-tty">> | Rest], Options) -> arguments(Rest, Options#{tty => false});
arguments([<<"--">> | Command], Options) -> command(Command, Options);
arguments([<<"-", _/binary>> = Option | _], _Options) ->
    throw({trouble, ["run has no option ", Option, "; " ?USAGE]});
arguments(Command, Options) -> command(Command, Options).

command([], _Options) -> throw({trouble, "run what? " ?USAGE});
command(Command, Options) -> {Options, Command}.

run(Port, Options, Command) ->
    {ok, _} = application:ensure_all_started(evum),
    {Vm, Early} = boot(Port, maps:without([tty], Options)),
    {Hello, Frames} = hello(Port, Early),
    Terminal = terminal(Hello, maps:get(tty, Options, true)),
    case evum:spawn(Vm, Command, Terminal) of
        {ok, Proc} ->
            send(Port, [?STARTED, case Terminal of #{pty := _} -> 1; #{} -> 0 end]),
            Run = #run{port = Port, vm = Vm, proc = Proc, monitor = monitor(process, Proc),
                       vm_monitor = monitor(process, Vm), writer = spawn_link(fun() -> writer(Port, Proc) end)},
            loop(lists:foldl(fun frame/2, Run, Frames));
        {error, Reason} ->
            not_started(Reason, hd(Command))
    end.

%% The first frame says what evum-attach has at its ends.
hello(_Port, [Hello | Frames]) -> {Hello, Frames};
hello(Port, []) ->
    receive
        {Port, {data, Hello}} -> {Hello, []};
        {'EXIT', Port, _} -> halt(?TROUBLE)
    end.

terminal(<<?HELLO, 1, Rows:16, Columns:16>>, true) ->
    maps:merge(#{pty => size(Rows, Columns)}, terminal_type(os:getenv("TERM")));
terminal(<<?HELLO, _:5/binary>>, _Wanted) -> #{}.

%% Some terminals don't know their size.
size(0, _) -> true;
size(_, 0) -> true;
size(Rows, Columns) -> {Rows, Columns}.

terminal_type(false) -> #{};
terminal_type(Type) -> #{env => [{"TERM", Type}]}.

%% Boots the machine in a process of its own, so that the link is heard
%% meanwhile. Returns the machine and the frames that came too early.
boot(Port, Options0) ->
    Self = self(),
    Options = Options0#{console => none, owner => Self, life => Self, on_reboot => stop},
    Booter = spawn_link(fun() -> Self ! {booted, self(), evm:create(Options)} end),
    boot(Port, Booter, [], none).

boot(Port, Booter, Early, Told) ->
    receive
        {booted, Booter, {ok, Vm}} -> {Vm, lists:reverse(Early)};
        {booted, Booter, {error, Reason}} -> throw({trouble, evum:format_error(Reason)});
        {'EXIT', Booter, Reason} when Reason =/= normal -> throw({trouble, evum:format_error(Reason)});
        {'EXIT', Port, _} -> halt(?TROUBLE);
        {Port, {data, <<?SIGNAL, Number>>}} -> throw({status, 128 + Number, ""});
        {Port, {data, Frame}} -> boot(Port, Booter, [Frame | Early], Told);
        {evum, Dist, {fetching, Progress}} -> boot(Port, Booter, Early, fetching(Port, Dist, Progress, Told))
    end.

%% What a machine's image still needs is told a line a stage, and now and then.
fetching(Port, Dist, #{stage := Stage} = Progress, Told) ->
    Now = erlang:monotonic_time(millisecond),
    case Told of
        {Stage, At} when Now - At < ?TELL_MS -> Told;
        _ ->
            send(Port, [?TEXT, "evum: ", unicode:characters_to_binary(evm_image_progress:text(Dist, Progress))]),
            {Stage, Now}
    end.

%% The program's messages are received only while nothing waits for room, the
%% link's always.
loop(#run{port = Port, proc = Proc, monitor = Monitor, out = {_, Out}, err = {_, Err}} = Run) ->
    receive
        {Port, {data, Frame}} -> loop(frame(Frame, Run));
        {'EXIT', Port, _} -> closed(Run);
        {evum, Proc, {stdout, Bytes}} when Out =:= <<>> -> loop(output(?STDOUT, Bytes, Run#run{asked = none}));
        {evum, Proc, {stderr, Bytes}} when Err =:= <<>> -> loop(output(?STDERR, Bytes, Run#run{asked = none}));
        {evum, Proc, {exit, Status}} when Out =:= <<>>, Err =:= <<>> -> exited(Status, Run);
        {'DOWN', Monitor, process, Proc, Reason} when Out =:= <<>>, Err =:= <<>> -> ended(Reason)
    end.

frame(<<?DATA, Bytes/binary>>, Run) -> typed(Bytes, Run);
frame(<<?EOF>>, Run) -> typed(eof, Run);
frame(<<?SIGNAL, Number>>, #run{proc = Proc} = Run) ->
    Run1 = asked(Number, erlang:monotonic_time(millisecond), Run),
    _ = evum:signal(Proc, Number),
    Run1#run{signalled = true};
frame(<<?ACK, Fd, N:32>>, Run) -> acknowledged(Fd, N, Run);
frame(<<?WINSIZE, Rows:16, Columns:16>>, #run{proc = Proc} = Run) ->
    %% a terminal that doesn't know its size is an error, which changes nothing
    _ = evum:winsize(Proc, {Rows, Columns}),
    Run.

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

typed(Data, #run{writer = Writer} = Run) ->
    Writer ! {typed, Data},
    Run.

%% Passes on what was typed, in order; the link's window bounds what waits here.
-spec writer(port(), pid()) -> no_return().
writer(Port, Proc) ->
    receive
        {typed, Data} ->
            write(Proc, Data),
            Data =:= eof orelse send(Port, [?TAKEN, <<(byte_size(Data)):32>>]),
            writer(Port, Proc)
    end.

%% Where it doesn't read any more, or is gone, its exit tells.
write(Proc, Data) ->
    case evum:write(Proc, Data, ?WRITE_MS) of
        {error, {timeout, N}} -> write(Proc, left(N, Data));
        _ -> ok
    end.

left(_, eof) -> eof;
left(N, Data) ->
    <<_:N/binary, Left/binary>> = Data,
    Left.

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
