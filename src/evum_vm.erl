%% SPDX-License-Identifier: Apache-2.0
%% One machine: booting, up, paused, stopping
%%
%% Theory of operation.  The process owns the port program of the machine's
%% present life; a guest's reboot ends that life and starts another, the process
%% stays. Nothing here blocks: what must be awaited is a call's reply, an event
%% or a named timer. Whoever waits for something is in `waiters', by a reference
%% that is the name of his timer too, so that everybody is answered: in time, at
%% his time-out, or with {vm_down, Reason} at the end.
%%
%% What comes before the machine is up waits as `early' and is replayed at `up'.
%%
%% The end.  `ending' is the reason that was asked for; the reason of an end that
%% nobody asked for comes from the port's `down'. The process ends when the port
%% program is gone, which is when nothing of the machine is left. It ends by an
%% exit signal to itself: links and monitors get the true reason, and no crash
%% report is printed, since a machine that panicked is no bug of this program.
%%
%% Exits are trapped and honoured: shutdown climbs the stop ladder, any other
%% reason cuts the power, and both end in that same reason.
-module(evum_vm).
-behaviour(gen_statem).

-export([start_link/1, call/3]).
-export([init/1, callback_mode/0, handle_event/4, terminate/3]).
-export_type([machine/0, state/0]).

-include_lib("kernel/include/logger.hrl").

-define(BOOT_MS, 60000).
-define(STOP_GRACE_MS, 5000).
%% what the port's ladder may take after its grace, and the port to end
-define(LADDER_MS, 5000).
-define(KILL_MS, 3000).
-define(PORT_EXIT_MS, 2000).
-define(REBOOT_MS, 10000).
-define(REBOOT_CAD_MS, 5000).
-define(REBOOTS_MAX, 10).
-define(REBOOTS_MS, 60000).
-define(CONSOLE_WINDOW, 65536).
-define(CREDIT_MIN, 8192).
-define(EARLY_MAX, 1000).
-define(LINES, 50).
-define(ATTACH_RETRY_MS, 1000).
-define(SETTLE_MS, 50).
-define(SETTLE_MAX_MS, 300).

-type state() :: booting | up | paused | stopping.
-type machine() :: #{
    label := atom(),
    dist := atom(),
    console := evum_console:mode(),
    owner := pid() | none,
    life := pid() | none,
    wait_boot := false | pos_integer(),
    on_reboot := reboot | stop,
    mem := pos_integer(),
    supervised := boolean(),
    %% the map of the port's call start, but for hostname and console_window
    config := map()
}.

-record(waiter, {
    kind :: echo | {text, term()} | up | reboot | typing | {early, Op :: atom()},
    from :: gen_statem:from()
}).

-record(data, {
    machine :: machine(),
    label :: atom(),
    parent :: pid(),
    owner :: evum_owner:owner(),
    life :: reference() | undefined,
    console :: evum_console:console(),
    chan :: evum_chan:chan() | undefined,
    started = false :: boolean(),
    stage = spawn :: atom(),
    release = <<>> :: binary(),
    was_up = false :: boolean(),
    up_since :: integer() | undefined,
    %% MiB given back by memory/2
    shrunk = 0 :: non_neg_integer(),
    panic :: undefined | binary(),
    boot_error = [] :: [binary()],
    %% why the machine is to end, or that it is to reboot, once asked
    ending :: undefined | {graceful | kill, Reason :: term()},
    rebooting = false :: boolean(),
    %% a halt or reboot that the management console was asked for
    asked :: undefined | halted | rebooted,
    %% what happens when the port is gone
    outcome :: undefined | reboot | {finish, Reason :: term()},
    reboots = [] :: [integer()],
    %% lines to be typed, one at a time; the one whose echo is awaited; the last output
    lines = [] :: [{reference(), binary()}],
    typing :: undefined | {reference(), typed | integer()},
    output_at = 0 :: integer(),
    waiters = #{} :: #{reference() => #waiter{}},
    early = [] :: [{reference() | undefined, term()}],
    next_id = 1 :: pos_integer(),
    programs = #{} :: #{pos_integer() => {pid(), reference()} | term()},
    attach :: undefined | pid(),
    %% where the console goes while somebody is attached, and what he has not read
    viewer :: undefined | pid(),
    unseen = 0 :: non_neg_integer()
}).

%% @doc Starts a machine's process; it is `booting' when this returns.
%% `ignore': the label is taken.
-spec start_link(machine()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Machine) -> gen_statem:start_link(?MODULE, Machine, []).

%% @doc Calls a machine; `Ms' bounds the wait for a process that doesn't answer.
-spec call(pid(), term(), pos_integer()) -> term().
call(Vm, Request, Ms) ->
    try
        gen_statem:call(Vm, Request, Ms)
    catch
        exit:{timeout, _} -> {error, {timeout, operation(Request), unresponsive}};
        exit:{noproc, _} -> {error, noproc};
        exit:{normal, _} -> {error, {vm_down, normal}};
        exit:{{nodedown, Node}, _} -> {error, {vm_down, {nodedown, Node}}};
        exit:{Reason, {gen_statem, call, _}} -> {error, {vm_down, Reason}}
    end.

operation(Request) when is_tuple(Request) -> element(1, Request);
operation(Request) -> Request.

%% @private
-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() -> handle_event_function.

%% @private
-spec init(machine()) -> gen_statem:init_result(state()) | ignore.
init(#{label := Wanted} = Machine) ->
    process_flag(trap_exit, true),
    case register_label(Wanted, 1) of
        {ok, Label} -> {ok, booting, prepare(Label, Machine), [{next_event, internal, open} | boot_timer(Machine)]};
        taken -> ignore
    end.

%% Registering is what decides who has a label: two callers may try the same one.
register_label(undefined, N) ->
    case register_label(list_to_atom("evm" ++ integer_to_list(N)), N) of
        taken -> register_label(undefined, N + 1);
        Registered -> Registered
    end;
register_label(Label, _N) ->
    try
        true = register(Label, self()),
        {ok, Label}
    catch
        error:badarg -> taken
    end.

prepare(Label, #{owner := Owner, life := Life, console := Console} = Machine) ->
    ok = pg:join(evum_machines, machines, self()),
    #data{
        machine = Machine,
        label = Label,
        parent = parent(),
        owner = evum_owner:new(Owner, Console =/= none),
        life = case Life of none -> undefined; _ -> monitor(process, Life) end,
        console = evum_console:new(Console),
        attach = start_attach(Label)
    }.

parent() ->
    case hd(get('$ancestors')) of
        Name when is_atom(Name) -> whereis(Name);
        Pid -> Pid
    end.

%% Without its listener a machine works, but can't be attached to: try again later.
start_attach(Label) ->
    case evum_attach:start_link(self(), Label) of
        {ok, Pid} ->
            Pid;
        {error, Reason} ->
            %% the exit of what didn't start is no exit of somebody linked
            receive {'EXIT', _, Reason} -> ok after 1000 -> ok end,
            attach_later()
    end.

attach_later() ->
    _ = erlang:send_after(?ATTACH_RETRY_MS, self(), start_attach),
    undefined.

boot_timer(#{wait_boot := false}) -> [{state_timeout, ?BOOT_MS, boot}];
boot_timer(#{wait_boot := Ms}) -> [{state_timeout, Ms, boot}].

%% --- events ------------------------------------------------------------------

%% @private
-spec handle_event(gen_statem:event_type(), term(), state(), #data{}) ->
    gen_statem:event_handler_result(state()).
handle_event(info, {Port, {data, Frame}}, State, #data{chan = Chan} = D) when is_port(Port), Chan =/= undefined ->
    case evum_chan:port(Chan) of
        Port -> frame(evum_proto:decode(Frame), State, D);
        _Old -> keep_state_and_data
    end;
handle_event(info, {Port, {exit_status, _}}, State, D) when is_port(Port) -> port_ended(Port, State, D);
handle_event(info, {'EXIT', Port, _}, State, D) when is_port(Port) -> port_ended(Port, State, D);
handle_event(info, {evum_chan, flush}, _State, #data{chan = Chan} = D) when Chan =/= undefined ->
    {keep_state, D#data{chan = evum_chan:flush(Chan)}};
handle_event(info, next_line, _State, D) -> {keep_state, next_line(D)};
handle_event(info, {evum_owner, pump}, _State, D) -> {keep_state, pump(D)};
handle_event(info, {'EXIT', Pid, _Reason}, _State, #data{attach = Pid} = D) ->
    {keep_state, detach(Pid, D#data{attach = attach_later()})};
handle_event(info, start_attach, _State, #data{attach = undefined, label = Label} = D) ->
    {keep_state, D#data{attach = start_attach(Label)}};
handle_event(info, {'EXIT', _Pid, normal}, _State, _D) -> keep_state_and_data;
handle_event(info, {'EXIT', _Pid, Reason}, State, D) ->
    case is_shutdown(Reason) of
        true -> stop_machine(graceful, Reason, ?STOP_GRACE_MS, State, D);
        false -> stop_machine(kill, Reason, 0, State, D)
    end;
handle_event(info, {'DOWN', Ref, process, Pid, Reason}, State, D) -> process_down(Ref, Pid, Reason, State, D);
handle_event(info, _Other, _State, _D) -> keep_state_and_data;
handle_event(internal, open, booting, D) -> open(D);
handle_event(state_timeout, boot, booting, D) ->
    stop_machine(kill, boot_failed(D), 0, booting, D);
handle_event({timeout, guard}, _, _State, D) -> close_port(D);
handle_event({timeout, reboot}, cad, _State, #data{rebooting = true} = D) ->
    {keep_state, cast(mconsole, [<<"cad">>], D), [{{timeout, reboot}, ?REBOOT_CAD_MS, kill}]};
handle_event({timeout, reboot}, kill, _State, #data{rebooting = true} = D) ->
    {keep_state, cast(kill, [], D), [{{timeout, guard}, ?KILL_MS, hard}]};
handle_event({timeout, reboot}, _, _State, _D) -> keep_state_and_data;
handle_event({timeout, Ref}, expire, State, D) -> expire(Ref, State, D);
handle_event(cast, Request, State, D) -> cast_event(Request, State, D);
handle_event({call, From}, Request, State, D) -> call_event(Request, From, State, D);
handle_event(internal, {early, Request}, State, D) -> cast_event(Request, State, D).

%% --- requests ----------------------------------------------------------------

cast_event({stop, Grace}, State, D) -> stop_machine(graceful, normal, Grace, State, D);
cast_event(crash, State, D) -> stop_machine(kill, crashed, 0, State, D);
cast_event({run, _, _} = Run, State, #data{early = Early} = D) when
    State =/= up, State =/= paused, length(Early) < ?EARLY_MAX
->
    {keep_state, D#data{early = [{undefined, Run} | Early]}};
cast_event({run, Pid, Spec}, State, D) when State =:= up; State =:= paused ->
    {keep_state, run(Pid, Spec, D)};
cast_event({run, Pid, _Spec}, State, _D) ->
    Pid ! {evum_vm, self(), {failed, State}},
    keep_state_and_data;
cast_event({signal, Id, Number}, _State, #data{programs = Programs} = D) when is_map_key(Id, Programs) ->
    {keep_state, cast(signal, [Id, Number], D)};
cast_event({attach, Pid}, _State, D) -> {keep_state, attach(Pid, D)};
cast_event({detach, Pid}, _State, D) -> {keep_state, pump(detach(Pid, D))};
cast_event({attach_input, Pid, Bytes}, _State, D) -> {keep_state, type({attach, Pid, byte_size(Bytes)}, Bytes, D)};
cast_event({attach_ack, Pid, N}, _State, #data{viewer = Pid, unseen = Unseen} = D) ->
    {keep_state, credit(D#data{unseen = max(0, Unseen - N)})};
cast_event({attach_winsize, Rows, Cols}, _State, D) -> {keep_state, cast(winsize, [Rows, Cols], D)};
cast_event(_Other, _State, _D) -> keep_state_and_data.

call_event(await_up, From, State, _D) when State =:= up; State =:= paused -> reply(From, ok);
call_event(await_up, From, _State, D) -> {keep_state, wait_for(make_ref(), up, From, D)};
call_event({await, up, _Ms}, From, State, _D) when State =:= up; State =:= paused -> reply(From, ok);
call_event({await, up, Ms}, From, _State, D) -> wait(up, Ms, From, D);
call_event({await, {text, Re}, Ms}, From, _State, D) -> await_text(Re, Ms, From, D);
call_event(brief, From, State, D) -> reply(From, brief(State, D));
call_event(info, From, State, #data{started = false} = D) -> reply(From, {ok, full(State, #{}, D)});
call_event(info, From, _State, D) -> {keep_state, ask(info, [], {info, From}, D)};
call_event({active, Active}, From, _State, D) -> set_active(Active, From, D);
call_event({give_away, Pid}, {Caller, _} = From, _State, D) -> give_away(Pid, Caller, From, D);
call_event({puts, Bytes, Ms}, {Caller, _} = From, State, #data{started = true} = D) when State =/= stopping ->
    Ref = make_ref(),
    D1 = adopt(Caller, wait_for(Ref, typing, From, D)),
    {keep_state, type(Ref, Bytes, D1), [{{timeout, Ref}, Ms, expire}]};
call_event({send, Line, Ms}, {Caller, _} = From, State, D) when State =:= up; State =:= paused ->
    send_line(Line, Ms, From, adopt(Caller, D));
call_event({system, Command}, From, State, #data{started = true} = D) when State =/= stopping ->
    {keep_state, ask(mconsole, [Command], {system, From, Command}, D)};
call_event({winsize, Rows, Cols}, From, _State, #data{started = true} = D) ->
    {keep_state, ask(winsize, [Rows, Cols], {simple, From}, D)};
call_event({pause, _Ms}, From, up, D) -> {keep_state, ask(mconsole, [<<"stop">>], {pause, From}, D)};
call_event({pause, _Ms}, From, paused, _D) -> reply(From, ok);
call_event(resume, From, paused, D) -> {keep_state, ask(mconsole, [<<"go">>], {resume, From}, D)};
call_event(resume, From, up, _D) -> reply(From, ok);
call_event({memory, _MiB, _Ms}, From, paused, _D) -> reply(From, {error, paused});
call_event({memory, MiB, _Ms}, From, up, D) -> memory(MiB, From, D);
call_event({reboot, _Ms}, From, State, D) when State =:= up; State =:= paused -> reboot(From, State, D);
call_event(Request, From, State, D) -> too_early(Request, From, State, D).

%% What needs a machine that is up waits for it, as long as it would have waited
%% for its answer; also in stopping, which may lead to the next life.
too_early(Request, From, State, #data{early = Early} = D) when
    State =/= up, State =/= paused, is_tuple(Request), length(Early) < ?EARLY_MAX
->
    Ms = element(tuple_size(Request), Request),
    case lists:member(element(1, Request), [send, puts, pause, memory, reboot]) of
        true ->
            Ref = make_ref(),
            D1 = wait_for(Ref, {early, element(1, Request)}, From, D),
            {keep_state, D1#data{early = [{Ref, Request} | Early]}, [{{timeout, Ref}, Ms, expire}]};
        false ->
            reply(From, {error, State})
    end;
too_early(_Request, From, State, _D) -> reply(From, {error, State}).

reply(From, Reply) -> {keep_state_and_data, [{reply, From, Reply}]}.

%% --- waiters -------------------------------------------------------------------

wait(Kind, Ms, From, D) ->
    Ref = make_ref(),
    {keep_state, wait_for(Ref, Kind, From, D), [{{timeout, Ref}, Ms, expire}]}.

wait_for(Ref, Kind, From, #data{waiters = Waiters} = D) ->
    D#data{waiters = Waiters#{Ref => #waiter{kind = Kind, from = From}}}.

%% Answers a waiter, if he still waits. His timer, when it expires, finds nobody.
answer(Ref, Reply, #data{waiters = Waiters} = D) ->
    case maps:take(Ref, Waiters) of
        {#waiter{from = From}, Rest} ->
            gen_statem:reply(From, Reply),
            D#data{waiters = Rest};
        error ->
            D
    end.

answer_kind(Kind, Reply, #data{waiters = Waiters} = D) ->
    Refs = [Ref || {Ref, #waiter{kind = K}} <- maps:to_list(Waiters), K =:= Kind],
    lists:foldl(fun(Ref, Acc) -> answer(Ref, Reply, Acc) end, D, Refs).

expire(Ref, _State, #data{waiters = Waiters} = D) ->
    case Waiters of
        #{Ref := #waiter{kind = Kind}} -> {keep_state, expired(Kind, Ref, D)};
        #{} -> keep_state_and_data
    end.

expired(echo, Ref, #data{console = Console} = D) ->
    D1 = untype({line, Ref}, D#data{console = evum_console:forget(Ref, Console)}),
    line_done(Ref, answer(Ref, timeout, pump(D1)));
expired({text, Re}, Ref, #data{console = Console} = D) ->
    Seen = evum_console:text(Console),
    answer(Ref, {error, {timeout, {text, text_of(Re)}, last_part(Seen)}}, D);
expired(typing, Ref, #data{chan = Chan} = D) when Chan =/= undefined ->
    {Sent, Chan1} = evum_chan:untype(Ref, Chan),
    answer(Ref, {error, {timeout, console_input, Sent}}, D#data{chan = Chan1});
expired({early, Op}, Ref, #data{early = Early} = D) ->
    Reply = case Op of send -> timeout; _ -> {error, {timeout, Op, stuck(D)}} end,
    answer(Ref, Reply, D#data{early = lists:keydelete(Ref, 1, Early)});
expired(Kind, Ref, D) ->
    answer(Ref, {error, {timeout, Kind, stuck(D)}}, D).

untype(_Ref, #data{chan = undefined} = D) -> D;
untype(Ref, #data{chan = Chan} = D) ->
    {_Sent, Chan1} = evum_chan:untype(Ref, Chan),
    D#data{chan = Chan1}.

text_of({Source, _Compiled}) -> Source.

last_part(Seen) when byte_size(Seen) =< 4096 -> Seen;
last_part(Seen) -> binary:part(Seen, byte_size(Seen), -4096).

%% --- the port's frames -----------------------------------------------------------

frame({console, Bytes}, _State, #data{viewer = undefined} = D) -> {keep_state, console(Bytes, D)};
frame({console, Bytes}, _State, #data{viewer = Viewer, console = Console, unseen = Unseen} = D) ->
    Viewer ! {evum_attach, output, Bytes},
    D1 = D#data{console = evum_console:divert(Bytes, Console), unseen = Unseen + byte_size(Bytes)},
    {keep_state, credit(check_texts(D1))};
frame({credit, 0, 0, N}, _State, #data{chan = Chan} = D) ->
    {Done, Chan1} = evum_chan:typed(N, Chan),
    {keep_state, all_typed(Done, D#data{chan = Chan1})};
frame({credit, Id, 0, N}, _State, D) -> {keep_state, tell_program(Id, {stdin, N}, D)};
frame({stream, Id, Fd, Bytes}, _State, D) -> {keep_state, tell_program(Id, {output, Fd, Bytes}, D)};
frame({reply, Seq, Outcome}, State, #data{chan = Chan} = D) ->
    case evum_chan:reply(Seq, Chan) of
        {Tag, Chan1} -> answered(Tag, Outcome, State, D#data{chan = Chan1});
        unknown -> bad_port({bad_reply, Seq}, D)
    end;
frame({event, Name, Props}, State, D) -> event(Name, Props, State, D);
frame({error, Reason}, _State, D) -> bad_port(Reason, D);
frame(Other, _State, D) -> bad_port(element(1, Other), D).

%% Broken framing is our own bug: nothing that follows could be trusted.
bad_port(What, #data{label = Label} = D) ->
    ?LOG_ERROR("evum: the port program of ~s broke the protocol: ~0p", [Label, What]),
    close_port(D).

event(hello, #{version := Version}, _State, D) -> hello(Version =:= evum_proto:version(), D);
event(stage, #{stage := Stage}, _State, D) -> {keep_state, D#data{stage = Stage}};
event(up, #{release := Release}, booting, D) -> up(D#data{release = Release, stage = agent});
event(up, _Props, _State, _D) -> keep_state_and_data;
event(message, #{bytes := Bytes}, _State, #data{owner = Owner} = D) ->
    {keep_state, pump(D#data{owner = evum_owner:message(binary:copy(Bytes), Owner)})};
event(panic, #{text := Text}, _State, D) ->
    Panic = string:trim(plain(Text)),
    notify({panic, Panic}, D),
    {keep_state, D#data{panic = Panic}};
event(boot_error, #{text := Text}, _State, D) -> {keep_state, D#data{boot_error = [Text]}};
event(started, #{id := Id, pid := Pid}, _State, D) -> {keep_state, tell_program(Id, {started, Pid}, D)};
event(exit, #{id := Id, status := Status}, State, D) -> program_exit(Id, Status, State, D);
event(down, Props, State, D) -> down(Props, State, D);
event(Name, _Props, _State, D) -> bad_port({event, Name}, D).

%% --- booting ---------------------------------------------------------------------

open(D) ->
    case evum_chan:open() of
        {ok, Chan} -> {keep_state, D#data{chan = Chan, started = false, stage = spawn}};
        {error, Reason} -> finish({boot_failed, spawn, [describe(Reason)]}, D)
    end.

describe(Reason) -> unicode:characters_to_binary(evum_error:format(Reason)).

hello(false, D) ->
    close_port(D#data{outcome = {finish, {boot_failed, spawn, [<<"the port program speaks another version: build again">>]}}});
hello(true, #data{ending = Ending} = D) when Ending =/= undefined ->
    close_port(D);
hello(true, #data{machine = #{config := Config}, label = Label, console = Console} = D) ->
    %% what the last life printed and the owner has not read counts against this one's window
    Window = max(0, ?CONSOLE_WINDOW - evum_console:unacknowledged(Console)),
    Start = Config#{hostname => atom_to_binary(Label), console_window => Window},
    {keep_state, ask(start, [Start], start, D)}.

started({error, _}, #data{ending = {_, _}} = D) ->
    close_port(D);
started({error, {_Posix, Stage, Text}}, D) ->
    close_port(D#data{outcome = {finish, {boot_failed, Stage, [Text]}}});
started({error, Posix}, D) ->
    close_port(D#data{outcome = {finish, {boot_failed, spawn, [describe(Posix)]}}});
started(_Ok, #data{ending = {graceful, _}} = D) -> {keep_state, cast(stop, [0], D#data{started = true})};
started(_Ok, #data{ending = {kill, _}} = D) -> {keep_state, cast(kill, [], D#data{started = true})};
started(_Ok, D) -> {keep_state, D#data{started = true}}.

up(#data{early = Early, waiters = Waiters} = D) ->
    notify(up, D),
    D1 = answer_kind(up, ok, answer_kind(reboot, ok, D)),
    {Kept, Events} = lists:foldl(fun replay/2, {maps:without([R || {R, _} <- Early, R =/= undefined], D1#data.waiters), []},
                                 [{early_from(R, Waiters), R, Request} || {R, Request} <- Early]),
    {next_state, up, D1#data{was_up = true, up_since = now_ms(), early = [], rebooting = false,
                             waiters = Kept}, [{{timeout, reboot}, cancel} | Events]}.

early_from(undefined, _Waiters) -> none;
early_from(Ref, Waiters) -> (maps:get(Ref, Waiters))#waiter.from.

%% The list is newest first, so the events come out oldest first.
replay({none, _Ref, Request}, {Waiters, Events}) -> {Waiters, [{next_event, internal, {early, Request}} | Events]};
replay({From, _Ref, Request}, {Waiters, Events}) -> {Waiters, [{next_event, {call, From}, Request} | Events]}.

%% The stage that is not complete yet: it is what the boot is stuck in.
stuck(#data{started = false}) -> spawn;
stuck(#data{stage = spawn}) -> kernel;
stuck(#data{stage = kernel}) -> init;
stuck(#data{stage = init}) -> root;
stuck(#data{}) -> agent.

boot_failed(D) -> boot_failed(<<>>, D).

boot_failed(Log, #data{console = Console, boot_error = Error} = D) ->
    Launch = binary:split(Log, [<<"\n">>, <<"\r\n">>], [global, trim_all]),
    Lines = Launch ++ evum_console:recent(Console) ++ Error,
    {boot_failed, stuck(D), lists:nthtail(max(0, length(Lines) - ?LINES), Lines)}.

%% --- replies -----------------------------------------------------------------------

answered(start, Outcome, _State, D) -> started(Outcome, D);
answered(none, _Outcome, _State, _D) -> keep_state_and_data;
answered({simple, From}, Outcome, _State, _D) -> reply(From, Outcome);
answered({info, From}, {ok, Port}, State, D) -> reply(From, {ok, full(State, Port, D)});
answered({info, From}, {error, _}, State, D) -> reply(From, {ok, full(State, #{}, D)});
answered({pause, From}, Outcome, State, D) -> paused(Outcome, From, State, D);
answered({resume, From}, Outcome, State, D) -> resumed(Outcome, From, State, D);
answered({system, From, <<"stop">>}, {ok, _} = Outcome, up, D) ->
    {next_state, paused, D, [{reply, From, plain_answer(Outcome)}]};
answered({system, From, <<"go">>}, {ok, _} = Outcome, paused, D) ->
    {next_state, up, D, [{reply, From, plain_answer(Outcome)}]};
answered({system, From, Command}, Outcome, _State, D) ->
    {keep_state, asked(Command, Outcome, D), [{reply, From, plain_answer(Outcome)}]};
answered({run, Id, _Pid}, ok, _State, #data{chan = Chan} = D) ->
    {keep_state, tell_program(Id, {running, evum_chan:port(Chan), Id}, D)};
answered({run, Id, _Pid}, {error, Reason}, _State, D) ->
    {keep_state, forget_program(Id, tell_program(Id, {failed, Reason}, D))};
answered({barrier, Id, From, _}, {error, _} = Error, _State, D) ->
    {keep_state, forget_program(Id, D), [{reply, From, Error}]};
answered({barrier, _, _, _}, ok, _State, _D) -> keep_state_and_data;
answered({memory, From, Shrunk}, {ok, _}, _State, D) ->
    {keep_state, D#data{shrunk = Shrunk}, [{reply, From, ok}]};
answered({memory, From, _}, Error, _State, _D) -> reply(From, Error).

plain_answer({ok, Text}) -> {ok, plain(Text)};
plain_answer({error, {refused, Text}}) -> {error, {refused, plain(Text)}};
plain_answer(Error) -> Error.

%% The kernel counts the strings' ends in.
plain(Text) -> binary:replace(Text, <<0>>, <<>>, [global]).

asked(<<"halt">>, {ok, _}, D) -> D#data{asked = halted};
asked(<<"reboot">>, {ok, _}, D) -> D#data{asked = rebooted};
asked(_Command, _Outcome, D) -> D.

paused({ok, _}, From, up, D) -> {next_state, paused, D, [{reply, From, ok}]};
paused({ok, _}, From, _State, _D) -> reply(From, ok);
paused(Error, From, _State, _D) -> reply(From, Error).

resumed({ok, _}, From, paused, D) -> {next_state, up, D, [{reply, From, ok}]};
resumed({ok, _}, From, _State, _D) -> reply(From, ok);
resumed(Error, From, _State, _D) -> reply(From, Error).

ask(Op, Args, Tag, #data{chan = Chan} = D) -> D#data{chan = evum_chan:call(Op, Args, Tag, Chan)}.

%% A call whose answer nobody waits for.
cast(_Op, _Args, #data{chan = undefined} = D) -> D;
cast(Op, Args, D) -> ask(Op, Args, none, D).

%% --- memory ------------------------------------------------------------------------

%% The guest's caches go first. The agent takes its orders one after the other,
%% so the answer to a program that doesn't exist says that they are gone.
memory(MiB, From, #data{machine = #{mem := Mem}, shrunk = Shrunk}) when MiB =:= Mem - Shrunk -> reply(From, ok);
memory(MiB, From, #data{machine = #{mem := Mem}, shrunk = Shrunk} = D) when MiB > Mem - Shrunk, MiB =< Mem ->
    {keep_state, resize("+", MiB - (Mem - Shrunk), From, Mem - MiB, D)};
memory(MiB, From, #data{machine = #{mem := Mem}, next_id = Id, programs = Programs} = D) when MiB < Mem ->
    D1 = cast(drop_caches, [], D#data{next_id = Id + 1, programs = Programs#{Id => {barrier, From, MiB}}}),
    {keep_state, ask(run, [Id, #{argv => [<<"/proc/evum">>]}], {barrier, Id, From, MiB}, D1)};
memory(_MiB, From, #data{machine = #{mem := Mem}}) -> reply(From, {error, {mem_range, 32, Mem}}).

shrink(MiB, From, #data{machine = #{mem := Mem}, shrunk = Shrunk} = D) ->
    resize("-", Mem - Shrunk - MiB, From, Mem - MiB, D).

resize(Sign, By, From, Shrunk, D) ->
    Command = iolist_to_binary(["config mem=", Sign, integer_to_binary(By), "M"]),
    ask(mconsole, [Command], {memory, From, Shrunk}, D).

%% --- reboot ------------------------------------------------------------------------

reboot(From, paused, D) -> reboot(From, up, cast(mconsole, [<<"go">>], D));
reboot(From, _State, #data{rebooting = true} = D) -> {keep_state, wait_for(make_ref(), reboot, From, D)};
reboot(From, _State, #data{next_id = Id, programs = Programs} = D) ->
    D1 = wait_for(make_ref(), reboot, From, D#data{rebooting = true, next_id = Id + 1, programs = Programs#{Id => ours}}),
    {keep_state, cast(run, [Id, #{argv => [<<"reboot">>]}], D1), [{{timeout, reboot}, ?REBOOT_MS, cad}]}.

%% A new life: a new port program and jail; what belonged to the old one ends.
next_life(#data{reboots = Reboots0, label = Label} = D) ->
    Now = now_ms(),
    case [T || T <- Reboots0, Now - T < ?REBOOTS_MS] of
        Reboots when length(Reboots) >= ?REBOOTS_MAX ->
            ?LOG_WARNING("evum: ~s rebooted ~b times within a minute and is stopped", [Label, ?REBOOTS_MAX]),
            finish({shutdown, rebooting_too_often}, D);
        Reboots ->
            _ = [end_program(P) || P <- maps:values(D#data.programs)],
            D1 = end_life({shutdown, rebooted}, D),
            D2 = D1#data{
                reboots = [Now | Reboots], chan = undefined, started = false, outcome = undefined,
                asked = undefined, panic = undefined, boot_error = [], was_up = false, up_since = undefined,
                shrunk = 0, next_id = 1, console = evum_console:flush(D1#data.console)
            },
            {next_state, booting, pump(D2),
             [{state_timeout, ?BOOT_MS, boot}, {{timeout, guard}, cancel}, {{timeout, reboot}, cancel},
              {next_event, internal, open}]}
    end.

%% Whoever waits for an answer of this life gets one.
end_life(Reason, #data{programs = Programs, chan = Chan, waiters = Waiters} = D) ->
    Pending = case Chan of undefined -> []; _ -> evum_chan:tags(Chan) end,
    _ = [gen_statem:reply(From, {error, {vm_down, Reason}}) || Tag <- Pending, From <- waits(Tag)],
    _ = [gen_statem:reply(From, {error, {vm_down, Reason}}) || {barrier, From, _} <- maps:values(Programs)],
    Typing = [Ref || {Ref, #waiter{kind = typing}} <- maps:to_list(Waiters)],
    D1 = lists:foldl(fun(Ref, Acc) -> answer(Ref, {error, {vm_down, Reason}}, Acc) end, D, Typing),
    D1#data{programs = #{}}.

end_program({Pid, Monitor}) ->
    true = demonitor(Monitor, [flush]),
    Pid ! {evum_vm, self(), rebooted};
end_program(_Ours) -> ok.

waits({Kind, From}) when Kind =:= simple; Kind =:= info; Kind =:= pause; Kind =:= resume -> [From];
waits({system, From, _}) -> [From];
waits({memory, From, _}) -> [From];
waits(_) -> [].

%% --- programs ----------------------------------------------------------------------

run(Pid, Spec, #data{next_id = Id, programs = Programs} = D) ->
    Monitor = monitor(process, Pid),
    ask(run, [Id, Spec], {run, Id, Pid}, D#data{next_id = Id + 1, programs = Programs#{Id => {Pid, Monitor}}}).

tell_program(Id, Event, #data{programs = Programs} = D) ->
    case Programs of
        #{Id := {Pid, _}} ->
            Pid ! {evum_vm, self(), Event},
            D;
        #{} ->
            D
    end.

forget_program(Id, #data{programs = Programs} = D) ->
    case Programs of
        #{Id := {Pid, Monitor}} when is_pid(Pid) -> true = demonitor(Monitor, [flush]);
        #{} -> true
    end,
    D#data{programs = maps:remove(Id, Programs)}.

program_exit(Id, Status, _State, #data{programs = Programs} = D) ->
    case Programs of
        #{Id := {barrier, From, MiB}} -> {keep_state, shrink(MiB, From, forget_program(Id, D))};
        #{} -> {keep_state, forget_program(Id, tell_program(Id, {exit, Status}, D))}
    end.

%% --- other processes -----------------------------------------------------------------

process_down(Ref, _Pid, Reason, State, #data{life = Ref} = D) ->
    stop_machine(graceful, {shutdown, {life, Reason}}, ?STOP_GRACE_MS, State, D);
process_down(Ref, Pid, _Reason, _State, #data{owner = Owner, programs = Programs} = D) ->
    case evum_owner:down(Ref, Owner) of
        {true, Owner1} -> {keep_state, D#data{owner = Owner1}};
        false ->
            Ids = [Id || {Id, {P, R}} <- maps:to_list(Programs), P =:= Pid, R =:= Ref],
            {keep_state, lists:foldl(fun kill_program/2, D, Ids)}
    end.

kill_program(Id, D) -> forget_program(Id, cast(signal, [Id, 9], D)).

%% --- the console ---------------------------------------------------------------------

console(Bytes, #data{console = Console} = D) ->
    {Echoes, Console1} = evum_console:input(Bytes, Console),
    D1 = D#data{console = Console1, output_at = now_ms()},
    D2 = lists:foldl(fun({Ref, Line}, Acc) -> answer(Ref, Line, line_done(Ref, Acc)) end, D1, Echoes),
    pump(check_texts(next_line(D2))).

%% Delivers what the owner has room for, and gives the guest its window back.
pump(#data{owner = Owner, console = Console} = D) ->
    {Owner1, Console1, Messages} = evum_owner:pump(self(), Owner, Console),
    credit(credit_messages(Messages, D#data{owner = Owner1, console = Console1})).

credit_messages(0, D) -> D;
credit_messages(_N, #data{chan = undefined} = D) -> D;
credit_messages(N, #data{chan = Chan} = D) -> D#data{chan = evum_chan:send(evum_proto:credit(0, 2, N), Chan)}.

%% Small change is not worth a frame: the window is many times as large.
credit(#data{started = false} = D) -> D;
credit(#data{console = Console, chan = Chan, unseen = Unseen} = D) ->
    case evum_console:credit(Unseen, Console) of
        {N, Console1} when N >= ?CREDIT_MIN ->
            D#data{console = Console1, chan = evum_chan:send(evum_proto:credit(0, 1, N), Chan)};
        _ ->
            D
    end.

notify(Message, #data{owner = Owner}) -> evum_owner:notify({evum, self(), Message}, Owner).

%% Typing makes who types the owner, where there is none.
adopt(Caller, #data{owner = Owner} = D) ->
    case evum_owner:adopts(Owner) of
        true -> pump(D#data{owner = evum_owner:replace(Caller, Owner)});
        false -> D
    end.

give_away(Pid, Caller, From, #data{owner = Owner} = D) ->
    Current = evum_owner:pid(Owner),
    case Current =:= none orelse Current =:= Caller of
        true -> {keep_state, pump(D#data{owner = evum_owner:replace(Pid, Owner)}), [{reply, From, ok}]};
        false -> reply(From, {error, not_owner})
    end.

set_active(Active, From, #data{owner = Owner} = D) ->
    case evum_owner:set_active(Active, self(), Owner) of
        {ok, Owner1} -> {keep_state, pump(D#data{owner = Owner1}), [{reply, From, ok}]};
        {error, _} = Error -> reply(From, Error)
    end.

send_line(Line, Ms, From, #data{lines = Lines} = D) ->
    Ref = make_ref(),
    D1 = wait_for(Ref, echo, From, D#data{lines = Lines ++ [{Ref, Line}]}),
    {keep_state, next_line(D1), [{{timeout, Ref}, Ms, expire}]}.

%% A line is typed once the one before has its echo, and where the guest shows
%% a prompt or is quiet: a shell that has not read its terminal yet would have
%% the line echoed twice, and without the prompt. It never waits long.
next_line(#data{typing = undefined, lines = [{Ref, _} | _]} = D) ->
    next_line(D#data{typing = {Ref, now_ms() + ?SETTLE_MAX_MS}});
next_line(#data{typing = {Ref, Latest}, lines = [{Ref, Line} | Rest], console = Console} = D) when is_integer(Latest) ->
    Now = now_ms(),
    Quiet = D#data.output_at + ?SETTLE_MS,
    case evum_console:prompt(Console) orelse Now >= min(Quiet, Latest) of
        true ->
            D1 = D#data{typing = {Ref, typed}, lines = Rest, console = evum_console:expect(Ref, Line, Console)},
            type({line, Ref}, <<Line/binary, $\n>>, D1);
        false ->
            _ = erlang:send_after(min(Quiet, Latest) - Now, self(), next_line),
            D
    end;
next_line(D) -> D.

%% The line's echo came, or is no longer waited for.
line_done(Ref, #data{typing = Typing, lines = Lines} = D) ->
    D1 = D#data{lines = lists:keydelete(Ref, 1, Lines)},
    case Typing of
        {Ref, _} -> next_line(D1#data{typing = undefined});
        _ -> D1
    end.

now_ms() -> erlang:monotonic_time(millisecond).

type(_Ref, _Bytes, #data{chan = undefined} = D) -> D;
type(Ref, Bytes, #data{chan = Chan} = D) ->
    {Done, Chan1} = evum_chan:type(Ref, Bytes, Chan),
    all_typed(Done, D#data{chan = Chan1}).

all_typed(Done, D) -> lists:foldl(fun typed/2, D, Done).

typed({attach, Pid, N}, D) ->
    Pid ! {evum_attach, taken, N},
    D;
typed({line, _Ref}, D) -> D;
typed(Ref, D) -> answer(Ref, ok, D).

await_text({_, Compiled} = Re, Ms, From, #data{console = Console} = D) ->
    case match(Compiled, Console) of
        {ok, Console1} -> {keep_state, D#data{console = Console1}, [{reply, From, ok}]};
        nomatch -> wait({text, Re}, Ms, From, D)
    end.

match(Compiled, Console) ->
    case re:run(evum_console:text(Console), Compiled, [{capture, first, index}]) of
        {match, [{At, Length}]} -> {ok, evum_console:mark(At + Length, Console)};
        _ -> nomatch
    end.

check_texts(#data{waiters = Waiters} = D) ->
    Texts = [{Ref, Re} || {Ref, #waiter{kind = {text, Re}}} <- maps:to_list(Waiters)],
    lists:foldl(fun check_text/2, D, Texts).

check_text({Ref, {_, Compiled}}, #data{console = Console} = D) ->
    case match(Compiled, Console) of
        {ok, Console1} -> answer(Ref, ok, D#data{console = Console1});
        nomatch -> D
    end.

%% --- attach: the console goes to a person's terminal, raw, and to nobody else ----------

attach(Pid, #data{console = Console} = D) ->
    %% the prompt that is on the screen already
    Pid ! {evum_attach, output, evum_console:partial(Console)},
    D#data{viewer = Pid, unseen = byte_size(evum_console:partial(Console))}.

detach(Pid, #data{viewer = Pid} = D) ->
    credit(cast(winsize, [24, 29999], D#data{viewer = undefined, unseen = 0}));
detach(_Pid, D) -> D.

%% --- what is known ---------------------------------------------------------------------

brief(State, #data{machine = Machine, label = Label, release = Release} = D) ->
    #{label => Label, pid => self(), dist => maps:get(dist, Machine), state => State,
      mem => memory_now(D), kernel_release => Release, uptime => uptime(D)}.

memory_now(#data{machine = #{mem := Mem}, shrunk = Shrunk}) -> Mem - Shrunk.

uptime(#data{up_since = undefined}) -> 0;
uptime(#data{up_since = Since}) -> (now_ms() - Since) div 1000.

full(State, Port, #data{owner = Owner, console = Console, programs = Programs, stage = Stage} = D) ->
    Pids = [P || P <- [maps:get(init_pid, Port, 0), maps:get(kernel_pid, Port, 0)], P > 0],
    (maps:merge(brief(State, D), maps:with([cpu, confined, landlock_abi, agent_garbage], Port)))#{
        os_pids => port_pid(D) ++ Pids,
        stage => Stage,
        console => evum_console:mode(Console),
        console_bytes => evum_console:total(Console),
        console_held => evum_console:held(Console),
        messages_held => evum_owner:waiting(Owner),
        messages_dropped => maps:get(messages_dropped, Port, 0),
        owner => evum_owner:pid(Owner),
        active => evum_owner:active(Owner),
        programs => maps:size(Programs),
        attached => D#data.viewer =/= undefined,
        reboots => length(D#data.reboots)
    }.

port_pid(#data{chan = undefined}) -> [];
port_pid(#data{chan = Chan}) -> [evum_chan:os_pid(Chan)].

%% --- the end -----------------------------------------------------------------------------

is_shutdown(shutdown) -> true;
is_shutdown({shutdown, _}) -> true;
is_shutdown(_) -> false.

%% Asks for the end, politely or not. A power cut overtakes a stop, never the other way.
stop_machine(_How, Reason, _Grace, _State, #data{chan = undefined} = D) -> finish(Reason, D);
stop_machine(graceful, _Reason, _Grace, stopping, _D) -> keep_state_and_data;
stop_machine(kill, _Reason, _Grace, stopping, #data{ending = {kill, _}}) -> keep_state_and_data;
stop_machine(How, Reason, Grace, _State, D0) ->
    D = D0#data{ending = {How, Reason}, rebooting = false},
    case {D, How} of
        {#data{started = false}, _} -> {next_state, stopping, D, [guard(?KILL_MS)]};
        {_, graceful} -> {next_state, stopping, cast(stop, [Grace], D), [guard(Grace + ?LADDER_MS)]};
        {_, kill} -> {next_state, stopping, cast(kill, [], D), [guard(?KILL_MS)]}
    end.

guard(Ms) -> {{timeout, guard}, Ms, hard}.

%% The port says that the machine is down; it ends itself now.
down(Props, _State, D) ->
    D1 = D#data{outcome = outcome(Props, D)},
    D1#data.outcome =:= reboot andalso notify(rebooting, D1),
    {next_state, stopping, D1, [guard(?PORT_EXIT_MS)]}.

outcome(_Props, #data{ending = {_, Reason}}) -> {finish, Reason};
outcome(#{how := How}, #data{rebooting = true, machine = #{on_reboot := Do}}) when How =/= panic -> rebooted(Do);
outcome(#{log := Log}, #data{was_up = false} = D) -> {finish, boot_failed(Log, D)};
outcome(#{how := How, value := Value}, D) -> ended(How, Value, D).

ended(halted, _, _) -> {finish, {shutdown, halted}};
ended(rebooted, _, #data{machine = #{on_reboot := Do}}) -> rebooted(Do);
ended(init_exited, Status, _) -> {finish, {exit_status, Status}};
ended(panic, _, #data{panic = undefined}) -> {finish, {panic, <<>>}};
ended(panic, _, #data{panic = Text}) -> {finish, {panic, Text}};
ended(How, _, #data{asked = Asked} = D) when Asked =/= undefined, How =/= Asked ->
    ended(Asked, 0, D#data{asked = undefined});
ended(signal, Number, _) -> {finish, {signal, Number}};
ended(status, Status, _) -> {finish, {exit_status, Status}}.

rebooted(reboot) -> reboot;
rebooted(stop) -> {finish, {shutdown, rebooted}}.

%% The port program is gone, and the machine with it.
port_ended(Port, State, #data{chan = Chan} = D) when Chan =/= undefined ->
    case evum_chan:port(Chan) of
        Port -> port_gone(State, D);
        _Old -> keep_state_and_data
    end;
port_ended(_Port, _State, _D) -> keep_state_and_data.

port_gone(_State, #data{outcome = reboot} = D) -> next_life(D);
port_gone(_State, #data{outcome = {finish, Reason}} = D) -> finish(Reason, D);
port_gone(_State, #data{ending = {kill, Reason}} = D) -> finish(Reason, D);
port_gone(_State, #data{rebooting = true} = D) -> next_life(D);
port_gone(_State, D) -> finish(port_died, D).

%% The port program doesn't end by itself, or mustn't be listened to: it is made to.
close_port(#data{chan = undefined}) -> keep_state_and_data;
close_port(#data{chan = Chan} = D) ->
    ok = evum_chan:close(Chan),
    port_gone(stopping, case D of
        #data{outcome = undefined, ending = {_, Reason}} -> D#data{outcome = {finish, Reason}};
        _ -> D
    end).

%% Everybody is told, and the process ends.
-spec finish(term(), #data{}) -> no_return().
finish(Reason, D0) ->
    D = end_life(Reason, flush(D0)),
    log_end(Reason, D),
    answer_all(Reason, D),
    end_attach(Reason, D),
    notify({down, Reason}, D),
    die(Reason, D).

%% What is held was printed before the end, so it goes before it; it is a window at most.
flush(#data{console = Console, owner = Owner} = D) ->
    Console1 = evum_console:flush(Console),
    case evum_owner:active(Owner) of
        false -> D#data{console = Console1};
        _ -> D#data{console = flush_items(Console1, Owner)}
    end.

flush_items(Console, Owner) ->
    case evum_console:take(Console) of
        {Item, Rest} ->
            ok = evum_owner:notify(evum_owner:shape(self(), Item), Owner),
            flush_items(Rest, Owner);
        empty -> Console
    end.

%% One line, where it is neither an ordinary end nor somebody's error value.
log_end(Reason, #data{label = Label, waiters = Waiters}) ->
    Told = [up || #waiter{kind = up} <- maps:values(Waiters)] =/= [],
    case Reason =:= normal orelse Reason =:= crashed orelse is_shutdown(Reason) orelse Told of
        true -> ok;
        false -> ?LOG_WARNING("evum: ~s ended: ~ts", [Label, evum_error:format(Reason)])
    end.

answer_all(Reason, #data{waiters = Waiters}) ->
    maps:foreach(fun(_Ref, #waiter{kind = Kind, from = From}) ->
        gen_statem:reply(From, last_answer(Kind, Reason))
    end, Waiters).

last_answer(reboot, {shutdown, rebooted}) -> ok;
last_answer(_Kind, Reason) -> {error, {vm_down, Reason}}.

%% The address that can be attached to is free once this process has ended.
end_attach(_Reason, #data{attach = undefined}) -> ok;
end_attach(Reason, #data{attach = Pid}) ->
    Monitor = monitor(process, Pid),
    unlink(Pid),
    Pid ! {evum_attach, down, Reason},
    exit(Pid, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after 1000 -> exit(Pid, kill)
    end.

%% An exit signal to oneself ends a process without a report. The supervisor of
%% evum's own machines is told of a shutdown, or it would print one.
-spec die(term(), #data{}) -> no_return().
die(Reason, #data{machine = #{supervised := Supervised}, parent = Parent}) ->
    case Supervised of
        true ->
            unlink(Parent),
            Parent ! {'EXIT', self(), {shutdown, Reason}},
            ok;
        false ->
            ok
    end,
    process_flag(trap_exit, false),
    exit(self(), Reason),
    receive after infinity -> exit(Reason) end.

%% @private Called when the parent ended or shuts down, or after a bug of ours:
%% the loop is over, so the end is awaited here, within a bound.
-spec terminate(term(), state(), #data{}) -> ok.
terminate(Reason, State, #data{parent = Parent} = D) ->
    end_port(Reason, State, D),
    case is_process_alive(Parent) andalso not is_shutdown(Reason) of
        true ->
            %% a bug: the report that follows is wanted
            answer_all(Reason, D),
            ok;
        false ->
            finish(Reason, D)
    end.

end_port(_Reason, _State, #data{chan = undefined}) -> ok;
end_port(Reason, State, #data{chan = Chan, started = Started} = D) ->
    Ms =
        case is_shutdown(Reason) andalso Started andalso State =/= stopping of
            true ->
                _ = cast(stop, [?STOP_GRACE_MS], D),
                ?STOP_GRACE_MS + ?LADDER_MS;
            false ->
                _ = Started andalso cast(kill, [], D),
                ?KILL_MS
        end,
    await_port(Chan, Started, now_ms() + Ms).

await_port(Chan, false, _Deadline) -> evum_chan:close(Chan);
await_port(Chan, true, Deadline) ->
    Port = evum_chan:port(Chan),
    receive
        {Port, {data, Frame}} ->
            drain(Chan, evum_proto:decode(Frame)),
            await_port(Chan, true, Deadline);
        {Port, {exit_status, _}} -> ok;
        {'EXIT', Port, _} -> ok
    after max(0, Deadline - now_ms()) ->
        evum_chan:close(Chan)
    end.

%% A guest that says good-bye must not wait for a reader.
drain(Chan, {console, Bytes}) ->
    _ = evum_port:command(evum_chan:port(Chan), evum_proto:credit(0, 1, byte_size(Bytes))),
    ok;
drain(_Chan, _Other) -> ok.
