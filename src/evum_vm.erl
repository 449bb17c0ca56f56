%% SPDX-License-Identifier: Apache-2.0
%% One machine: booting, up, paused, rebooting, stopping
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
%% `rebooting' is the time between the guest's last word and the end of the port
%% program of that life; what orders the end then is the end all the same.
%%
%% Exits are trapped and honoured: shutdown climbs the stop ladder, any other
%% reason cuts the power, and both end in that same reason. The parent's exit too
%% is an event: the process links itself to its parent, so that gen_statem, which
%% would end at once and with a report, knows of none.
-module(evum_vm).
-behaviour(gen_statem).

-export([start_link/1, all/0, is_machine/1, with/2, call/3]).
-export([init/1, callback_mode/0, handle_event/4, terminate/3]).
-export_type([machine/0, state/0]).

-include_lib("kernel/include/logger.hrl").
-include("evum_vm.hrl").

%% of a message with frames: channel, NIC, count
-define(FRAMES_HEADER, 4).

-type state() :: booting | up | paused | rebooting | stopping.
-type machine() :: #{
    label := atom(),
    dist := atom() | {initramfs, file:filename()},
    console := evum_console:mode(),
    owner := pid() | none,
    life := pid() | none,
    %% who waits for the boot: the machine ends with him until it is up
    creator := pid() | none,
    wait_boot := false | pos_integer(),
    on_reboot := reboot | stop,
    mem := pos_integer(),
    supervised := boolean(),
    nets := [evum_vm_net:wanted()],
    states := [evum_mount:state()],
    %% the map of the port's call start, but for hostname, nics, dirs and console_window
    config := map()
}.

%% @doc Starts a machine's process; it is `booting' when this returns.
%% `ignore': the label is taken.
-spec start_link(machine()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Machine) -> gen_statem:start(?MODULE, {self(), Machine}, []).

%% @doc The machines of this node: each has a name.
-spec all() -> [pid()].
all() -> [Pid || Name <- registered(), Pid <- [whereis(Name)], is_machine(Pid)].

%% @doc Is it a machine? The process itself tells; one of another node is believed.
-spec is_machine(term()) -> boolean().
is_machine(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    proc_lib:translate_initial_call(Pid) =:= {?MODULE, init, 1};
is_machine(Pid) -> is_pid(Pid).

%% @doc Runs a function with a machine's pid, also by its label. A label may be the name of
%% any process, and a pid anybody's: only a machine is spoken to.
-spec with(pid() | atom() | term(), fun((pid()) -> Result)) -> Result | {error, noproc}.
with(Label, Fun) when is_atom(Label), Label =/= undefined -> with(whereis(Label), Fun);
with(Pid, Fun) ->
    case is_machine(Pid) of
        true -> Fun(Pid);
        false -> {error, noproc}
    end.

%% @doc Calls a machine; `Ms' bounds the wait for a process that doesn't answer.
-spec call(pid(), term(), pos_integer()) -> term().
call(Vm, Request, Ms) ->
    try
        gen_statem:call(Vm, Request, Ms)
    catch
        exit:{timeout, _} -> {error, {timeout, operation(Request), unresponsive}};
        exit:{noproc, _} -> {error, noproc};
        exit:{normal, _} -> {error, {vm_down, normal}};
        exit:{noconnection, _} -> {error, noconnection};
        exit:{{nodedown, Node}, _} -> {error, {vm_down, {nodedown, Node}}};
        exit:{Reason, {gen_statem, call, _}} -> {error, {vm_down, Reason}}
    end.

operation(Request) when is_tuple(Request) -> element(1, Request);
operation(Request) -> Request.

%% @private
-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() -> handle_event_function.

%% @private
-spec init({Parent :: pid(), machine()}) -> gen_statem:init_result(state()) | ignore.
init({Parent, #{label := Wanted} = Machine}) ->
    process_flag(trap_exit, true),
    case register_label(Wanted, 1) of
        {ok, Label} ->
            true = link(Parent),
            {ok, booting, prepare(Label, Parent, Machine), [{next_event, internal, open} | boot_timer(Machine)]};
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

prepare(Label, Parent, #{owner := Owner, life := Life, creator := Creator, console := Console, nets := Nets} = Machine) ->
    #data{
        net = evum_vm_net:new(self(), Label, Nets),
        dirs = evum_vm_dirs:new(),
        machine = Machine,
        label = Label,
        parent = Parent,
        owner = evum_owner:new(Owner, Console =/= none),
        life = watch(Life),
        creator = watch(Creator),
        console = evum_console:new(Console),
        attach = start_attach(Label)
    }.

watch(none) -> undefined;
watch(Pid) -> monitor(process, Pid).

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
handle_event(info, {Port, {exit_status, _}}, State, D) when is_port(Port) -> evum_vm_end:port_ended(Port, State, D);
handle_event(info, {'EXIT', Port, _}, State, D) when is_port(Port) -> evum_vm_end:port_ended(Port, State, D);
handle_event(info, {evum_chan, flush}, _State, #data{chan = Chan} = D) when Chan =/= undefined ->
    {keep_state, D#data{chan = evum_chan:flush(Chan)}};
handle_event(info, next_line, _State, D) -> {keep_state, evum_vm_console:next_line(D)};
handle_event(info, {evum_owner, pump}, _State, D) -> {keep_state, evum_vm_console:pump(D)};
handle_event(info, check_texts, _State, D) -> {keep_state, evum_vm_console:check_texts(D)};
handle_event(info, {evum_switch, up, Name, Sw}, _State, #data{net = Net} = D) ->
    {keep_state, D#data{net = evum_vm_net:switch_up(Name, Sw, Net)}};
handle_event(info, {evum_dir, _Pid, {failed, Text}}, booting, D) ->
    evum_vm_end:stop_machine(kill, evum_vm_end:boot_failed(D#data{boot_error = [Text]}), 0, booting, D);
handle_event(info, {'EXIT', Pid, _Reason}, _State, #data{attach = Pid} = D) ->
    {keep_state, evum_vm_console:detach(Pid, D#data{attach = attach_later()})};
handle_event(info, start_attach, _State, #data{attach = undefined, label = Label} = D) ->
    {keep_state, D#data{attach = start_attach(Label)}};
handle_event(info, {'EXIT', Parent, normal}, State, #data{parent = Parent} = D) ->
    evum_vm_end:stop_machine(kill, normal, 0, State, D);
handle_event(info, {'EXIT', _Pid, normal}, _State, _D) -> keep_state_and_data;
handle_event(info, {'EXIT', _Pid, Reason}, State, D) ->
    case evum_vm_end:is_shutdown(Reason) of
        true -> evum_vm_end:stop_machine(graceful, Reason, ?STOP_GRACE_MS, State, D);
        false -> evum_vm_end:stop_machine(kill, Reason, 0, State, D)
    end;
handle_event(info, {'DOWN', Ref, process, Pid, Reason}, State, D) -> process_down(Ref, Pid, Reason, State, D);
handle_event(info, _Other, _State, _D) -> keep_state_and_data;
handle_event(internal, open, booting, D) -> open(D);
handle_event(state_timeout, boot, booting, #data{boot_error = Errors} = D) ->
    Failed = evum_vm_end:boot_failed(D#data{boot_error = Errors ++ [<<"it wasn't up in time">>]}),
    evum_vm_end:stop_machine(kill, Failed, 0, booting, D);
handle_event({timeout, guard}, _, _State, D) -> evum_vm_end:close_port(D);
handle_event({timeout, reboot}, cad, _State, #data{rebooting = true} = D) ->
    {keep_state, evum_vm_data:cast(mconsole, [<<"cad">>], D), [{{timeout, reboot}, ?REBOOT_CAD_MS, kill}]};
handle_event({timeout, reboot}, kill, _State, #data{rebooting = true} = D) ->
    {keep_state, evum_vm_data:cast(kill, [], D), [{{timeout, guard}, ?KILL_MS, hard}]};
handle_event({timeout, reboot}, _, _State, _D) -> keep_state_and_data;
handle_event({timeout, Ref}, expire, State, D) -> expire(Ref, State, D);
handle_event(cast, Request, State, D) -> cast_event(Request, State, D);
handle_event({call, From}, Request, State, D) -> call_event(Request, From, State, D);
handle_event(internal, {early, Request}, State, D) -> cast_event(Request, State, D).

%% --- requests ----------------------------------------------------------------

cast_event({stop, Grace}, State, D) -> evum_vm_end:stop_machine(graceful, normal, Grace, State, D);
cast_event(crash, State, D) -> evum_vm_end:stop_machine(kill, crashed, 0, State, D);
cast_event({run, _, _} = Run, State, #data{early = Early0} = D) when State =/= up, State =/= paused ->
    case lists:filter(fun wanted/1, Early0) of
        Early when length(Early) < ?EARLY_MAX -> {keep_state, D#data{early = [{undefined, Run} | Early]}};
        _ -> refuse(Run, State)
    end;
cast_event({run, Pid, Spec}, _State, D) -> {keep_state, run(Pid, Spec, D)};
cast_event({program, Id, Order}, _State, #data{programs = Programs} = D) when is_map_key(Id, Programs) ->
    {keep_state, program(Order, Id, D)};
cast_event({attach, Pid}, _State, D) -> {keep_state, evum_vm_console:attach(Pid, D)};
cast_event({detach, Pid}, _State, D) -> {keep_state, evum_vm_console:pump(evum_vm_console:detach(Pid, D))};
cast_event({attach_input, Pid, Bytes}, _State, D) -> {keep_state, evum_vm_console:type({attach, Pid, byte_size(Bytes)}, Bytes, D)};
cast_event({attach_ack, Pid, N}, _State, #data{viewer = Pid, unseen = Unseen} = D) ->
    {keep_state, evum_vm_console:credit(D#data{unseen = max(0, Unseen - N)})};
cast_event({attach_winsize, Rows, Cols}, _State, D) -> {keep_state, evum_vm_data:cast(winsize, [Rows, Cols], D)};
cast_event(_Other, _State, _D) -> keep_state_and_data.

refuse({run, Pid, _Spec}, State) ->
    Pid ! {evum_vm, self(), {failed, State}},
    keep_state_and_data.

%% Who gave up waiting for his program to start has ended.
wanted({_Ref, {run, Pid, _Spec}}) -> is_process_alive(Pid);
wanted(_Call) -> true.

call_event(await_up, From, State, _D) when State =:= up; State =:= paused -> evum_vm_data:reply(From, ok);
call_event(await_up, From, _State, D) -> {keep_state, evum_vm_data:wait_for(make_ref(), up, From, D)};
call_event({await, up, _Ms}, From, State, _D) when State =:= up; State =:= paused -> evum_vm_data:reply(From, ok);
call_event({await, up, Ms}, From, _State, D) -> evum_vm_data:wait(up, Ms, From, D);
call_event({await, {text, Re}, Ms}, From, _State, D) -> evum_vm_console:await_text(Re, Ms, From, D);
call_event(brief, From, State, D) -> evum_vm_data:reply(From, evum_vm_data:brief(State, D));
call_event(machine, From, _State, #data{machine = Machine}) -> evum_vm_data:reply(From, {ok, Machine});
call_event(info, From, State, #data{started = Started, outcome = Outcome} = D) when not Started; Outcome =/= undefined ->
    evum_vm_data:reply(From, {ok, evum_vm_data:full(State, #{}, D)});
call_event(info, From, _State, D) -> {keep_state, evum_vm_data:ask(info, [], {info, From}, D)};
call_event({active, Active}, From, _State, D) -> evum_vm_console:set_active(Active, From, D);
call_event({console, Mode}, From, _State, #data{console = Console} = D) ->
    {keep_state, D#data{console = evum_console:mode(Console, Mode)}, [{reply, From, ok}]};
call_event({give_away, Pid}, {Caller, _} = From, _State, D) -> evum_vm_console:give_away(Pid, Caller, From, D);
call_event({puts, Bytes, Ms}, {Caller, _} = From, State, #data{started = true} = D) when
    State =/= stopping, State =/= rebooting
->
    Ref = make_ref(),
    D1 = evum_vm_console:adopt(Caller, evum_vm_data:wait_for(Ref, typing, From, D)),
    {keep_state, evum_vm_console:type(Ref, Bytes, D1), [{{timeout, Ref}, Ms, expire}]};
call_event({send, _Line, _Ms}, From, _State, #data{viewer = Viewer}) when Viewer =/= undefined ->
    evum_vm_data:reply(From, {error, attached});
call_event({send, Line, Ms}, {Caller, _} = From, State, D) when State =:= up; State =:= paused ->
    evum_vm_console:send_line(Line, Ms, From, evum_vm_console:adopt(Caller, D));
call_event({system, Command}, From, State, #data{started = true} = D) when State =/= stopping, State =/= rebooting ->
    {keep_state, evum_vm_data:ask(mconsole, [Command], {system, From, Command}, D)};
call_event({pause, _Ms}, From, up, D) -> {keep_state, evum_vm_data:ask(mconsole, [<<"stop">>], {pause, From}, D)};
call_event({pause, _Ms}, From, paused, _D) -> evum_vm_data:reply(From, ok);
call_event(resume, From, paused, D) -> {keep_state, evum_vm_data:ask(mconsole, [<<"go">>], {resume, From}, D)};
call_event(resume, From, up, _D) -> evum_vm_data:reply(From, ok);
call_event({memory, _MiB, _Ms}, From, paused, _D) -> evum_vm_data:reply(From, {error, paused});
call_event({memory, MiB, Ms}, From, up, D) -> evum_vm_memory:ask(MiB, Ms, From, D);
call_event({plug, Nic, Sw, _Ms}, From, State, D) when State =:= up; State =:= paused ->
    replug(evum_vm_net:plug(Nic, Sw, D#data.net), From, D);
call_event({unplug, Nic, _Ms}, From, State, D) when State =:= up; State =:= paused ->
    replug(evum_vm_net:unplug(Nic, D#data.net), From, D);
call_event({address, Nic, Ip, _Ms}, From, State, D) when State =:= up; State =:= paused ->
    replug(evum_vm_net:address(Nic, Ip, D#data.net), From, D);
call_event({reboot, _Ms}, From, State, D) when State =:= up; State =:= paused -> reboot(From, State, D);
call_event({revert, _Ms}, From, State, D) when State =:= up; State =:= paused -> evum_vm_end:revert(From, D);
call_event(Request, From, State, D) -> too_early(Request, From, State, D).

replug({Reply, Net}, From, D) -> {keep_state, D#data{net = Net}, [{reply, From, Reply}]}.

%% What needs a machine that is up waits for it, as long as it would have waited
%% for its answer; also in rebooting, which leads to the next life.
too_early(Request, From, State, #data{early = Early} = D) when
    State =/= up, State =/= paused, is_tuple(Request), length(Early) < ?EARLY_MAX
->
    Ms = element(tuple_size(Request), Request),
    case lists:member(element(1, Request), [send, puts, pause, memory, plug, unplug, address, reboot, revert]) of
        true ->
            Ref = make_ref(),
            D1 = evum_vm_data:wait_for(Ref, {early, element(1, Request)}, From, D),
            {keep_state, D1#data{early = [{Ref, Request} | Early]}, [{{timeout, Ref}, Ms, expire}]};
        false ->
            evum_vm_data:reply(From, {error, State})
    end;
too_early(_Request, From, State, _D) -> evum_vm_data:reply(From, {error, State}).

%% --- waiters -------------------------------------------------------------------

expire(Ref, _State, #data{waiters = Waiters} = D) ->
    case Waiters of
        #{Ref := #waiter{kind = Kind}} -> {keep_state, expired(Kind, Ref, D)};
        #{} -> keep_state_and_data
    end.

expired(echo, Ref, #data{console = Console} = D) ->
    D1 = evum_vm_console:untype({line, Ref}, D#data{console = evum_console:forget(Ref, Console)}),
    evum_vm_console:line_done(Ref, evum_vm_data:answer(Ref, timeout, evum_vm_console:pump(D1)));
expired({text, Re}, Ref, D0) ->
    #data{console = Console} = D = evum_vm_console:check_texts(D0),
    Seen = evum_console:text(Console),
    evum_vm_data:answer(Ref, {error, {timeout, {text, evum_vm_console:text_of(Re)}, last_part(Seen)}}, D);
expired(typing, Ref, #data{chan = Chan} = D) when Chan =/= undefined ->
    {Sent, Chan1} = evum_chan:untype(Ref, Chan),
    evum_vm_data:answer(Ref, {error, {timeout, console_input, Sent}}, D#data{chan = Chan1});
expired({early, Op}, Ref, #data{early = Early} = D) ->
    Reply = case Op of send -> timeout; _ -> {error, {timeout, Op, evum_vm_data:stuck(D)}} end,
    evum_vm_data:answer(Ref, Reply, D#data{early = lists:keydelete(Ref, 1, Early)});
expired(Kind, Ref, D) ->
    evum_vm_data:answer(Ref, {error, {timeout, Kind, evum_vm_data:stuck(D)}}, D).

last_part(Seen) when byte_size(Seen) =< 4096 -> Seen;
last_part(Seen) -> binary:part(Seen, byte_size(Seen), -4096).

%% --- the port's frames -----------------------------------------------------------

frame({frames, Nic, Count, Body}, _State, #data{net = Net0, chan = Chan} = D) ->
    case evum_vm_net:frames(Nic, Count, Body, byte_size(Body) + ?FRAMES_HEADER, Net0) of
        {credit, Credit, Net} -> {keep_state, D#data{net = Net, chan = evum_chan:send(Credit, Chan)}};
        Net -> {keep_state, D#data{net = Net}}
    end;
frame({flow, What, Nic, Id, Rest}, _State, #data{net = Net}) ->
    ok = evum_vm_net:flow(What, Nic, Id, Rest, Net),
    keep_state_and_data;
frame({console, Bytes}, _State, #data{viewer = undefined} = D) -> {keep_state, evum_vm_console:console(Bytes, D)};
frame({console, Bytes}, _State, #data{viewer = Viewer, console = Console, unseen = Unseen} = D) ->
    Viewer ! {evum_attach, output, Bytes},
    D1 = D#data{console = evum_console:divert(Bytes, Console), unseen = Unseen + byte_size(Bytes)},
    {keep_state, evum_vm_console:credit(evum_vm_console:printed(D1))};
frame({credit, 0, 0, N}, _State, #data{chan = Chan} = D) ->
    {Done, Chan1} = evum_chan:typed(N, Chan),
    {keep_state, evum_vm_console:all_typed(Done, D#data{chan = Chan1})};
frame({credit, Id, 0, N}, _State, D) -> {keep_state, tell_program(Id, {stdin, N}, D)};
frame({stream, Id, Fd, Bytes}, _State, D) -> {keep_state, tell_program(Id, {output, Fd, Bytes}, D)};
frame({reply, Seq, Outcome}, State, #data{chan = Chan} = D) ->
    case evum_chan:reply(Seq, Chan) of
        {Tag, Chan1} -> answered(Tag, Outcome, State, D#data{chan = Chan1});
        unknown -> bad_port({bad_reply, Seq}, D)
    end;
frame({event, Name, Props}, State, D) -> event(Name, Props, State, D);
frame({error, Reason}, _State, D) -> bad_port(Reason, D).

%% Broken framing is our own bug: nothing that follows could be trusted.
bad_port(What, #data{label = Label} = D) ->
    ?LOG_ERROR("evum: the port program of ~s broke the protocol: ~0p", [Label, What]),
    evum_vm_end:close_port(D#data{rebooting = false}).

event(hello, #{version := Version}, _State, D) -> hello(Version =:= evum_proto:version(), D);
event(stage, #{stage := Stage}, _State, D) -> {keep_state, D#data{stage = Stage}};
event(up, #{release := Release}, booting, D) -> up(D#data{release = Release, stage = agent});
event(up, _Props, _State, _D) -> keep_state_and_data;
event(message, #{bytes := Bytes}, _State, #data{owner = Owner} = D) ->
    {keep_state, evum_vm_console:pump(D#data{owner = evum_owner:message(binary:copy(Bytes), Owner)})};
event(panic, #{text := Text}, _State, D) ->
    Panic = string:trim(plain(Text)),
    {keep_state, evum_vm_data:notify({panic, Panic}, D#data{panic = Panic})};
event(boot_error, #{text := Text}, _State, D) -> {keep_state, D#data{boot_error = [Text]}};
event(nic, #{nic := Nic, link := Link}, _State, #data{net = Net} = D) ->
    {keep_state, D#data{net = evum_vm_net:link(Nic, Link, Net)}};
event(started, #{id := Id, pid := Pid}, _State, D) -> {keep_state, tell_program(Id, {started, Pid}, D)};
event(exit, #{id := Id, status := Status}, State, D) -> program_exit(Id, Status, State, D);
event(down, Props, State, D) -> evum_vm_end:down(Props, State, D);
event(Name, _Props, _State, D) -> bad_port({event, Name}, D).

%% --- booting ---------------------------------------------------------------------

open(#data{machine = #{states := States}, dirs = Dirs} = D) ->
    case evum_vm_dirs:open(States, Dirs) of
        {ok, Dirs1} -> open_port_program(D#data{dirs = Dirs1});
        {error, Reason} -> evum_vm_end:finish({boot_failed, spawn, [describe(Reason)]}, D)
    end.

open_port_program(D) ->
    case evum_chan:open(evum_port) of
        {ok, Chan} -> {keep_state, D#data{chan = Chan, started = false, stage = spawn}};
        {error, Reason} -> evum_vm_end:finish({boot_failed, spawn, [describe(Reason)]}, D)
    end.

describe(Reason) -> unicode:characters_to_binary(evum_error:format(Reason)).

hello(false, D) ->
    evum_vm_end:close_port(D#data{outcome = {finish, {boot_failed, spawn, [<<"the port program speaks another version: build again">>]}}});
hello(true, #data{ending = Ending} = D) when Ending =/= undefined ->
    evum_vm_end:close_port(D);
hello(true, #data{chan = Chan, net = Net} = D) ->
    case evum_vm_net:boot(evum_chan:port(Chan), Net) of
        {ok, Nics, Net1} -> {keep_state, start(Nics, D#data{net = Net1})};
        {error, Reason} -> evum_vm_end:close_port(D#data{outcome = {finish, Reason}})
    end.

start(Nics, #data{machine = #{config := Config}, label = Label, console = Console, dirs = Dirs} = D) ->
    %% what the last life printed and the owner has not read counts against this one's window
    Window = max(0, ?CONSOLE_WINDOW - evum_console:unacknowledged(Console)),
    Start = Config#{hostname => atom_to_binary(Label), console_window => Window, nics => Nics, dirs => evum_vm_dirs:addresses(Dirs)},
    evum_vm_data:ask(start, [Start], start, D).

started({error, _}, #data{ending = {_, _}} = D) ->
    evum_vm_end:close_port(D);
started({error, {Posix, Stage, Text}}, #data{machine = #{config := Config}} = D) ->
    evum_vm_end:close_port(D#data{outcome = {finish, evum_config:start_error(Stage, Posix, Text, Config)}});
started({error, Posix}, D) ->
    evum_vm_end:close_port(D#data{outcome = {finish, {boot_failed, spawn, [describe(Posix)]}}});
started(_Ok, #data{ending = {graceful, _}} = D) -> {keep_state, evum_vm_data:cast(stop, [0], D#data{started = true})};
started(_Ok, #data{ending = {kill, _}} = D) -> {keep_state, evum_vm_data:cast(kill, [], D#data{started = true})};
started(_Ok, D) -> {keep_state, D#data{started = true}}.

up(#data{early = Early0, waiters = Waiters, creator = Creator, net = Net} = D0) ->
    ok = evum_vm_net:announce(Net),
    Creator =:= undefined orelse demonitor(Creator, [flush]),
    D = evum_vm_data:notify(up, D0#data{creator = undefined}),
    Early = lists:filter(fun wanted/1, Early0),
    D1 = evum_vm_data:answer_kind(up, ok, evum_vm_data:answer_kind(reboot, ok, D)),
    {Kept, Events} = lists:foldl(fun replay/2, {maps:without([R || {R, _} <- Early, R =/= undefined], D1#data.waiters), []},
                                 [{early_from(R, Waiters), R, Request} || {R, Request} <- Early]),
    {next_state, up, D1#data{was_up = true, up_since = evum_vm_data:now_ms(), early = [], rebooting = false,
                             waiters = Kept}, [{{timeout, reboot}, cancel} | Events]}.

early_from(undefined, _Waiters) -> none;
early_from(Ref, Waiters) -> (maps:get(Ref, Waiters))#waiter.from.

%% The list is newest first, so the events come out oldest first.
replay({none, _Ref, Request}, {Waiters, Events}) -> {Waiters, [{next_event, internal, {early, Request}} | Events]};
replay({From, _Ref, Request}, {Waiters, Events}) -> {Waiters, [{next_event, {call, From}, Request} | Events]}.

%% --- replies -----------------------------------------------------------------------

answered(start, Outcome, _State, D) -> started(Outcome, D);
answered(none, _Outcome, _State, _D) -> keep_state_and_data;
answered({info, From}, {ok, Port}, State, D) -> evum_vm_data:reply(From, {ok, evum_vm_data:full(State, Port, D)});
answered({info, From}, {error, _}, State, D) -> evum_vm_data:reply(From, {ok, evum_vm_data:full(State, #{}, D)});
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
answered({barrier, Id}, {error, _} = Error, _State, D) -> {keep_state, evum_vm_memory:failed(Id, Error, D)};
answered({barrier, _Id}, ok, _State, _D) -> keep_state_and_data;
answered({memory, Ref, MiB}, Outcome, _State, D) -> {keep_state, evum_vm_memory:resized(Ref, MiB, Outcome, D)}.

plain_answer({ok, Text}) -> {ok, plain(Text)};
plain_answer({error, {refused, Text}}) -> {error, {refused, plain(Text)}};
plain_answer(Error) -> Error.

%% The kernel counts the strings' ends in.
plain(Text) -> binary:replace(Text, <<0>>, <<>>, [global]).

asked(<<"halt">>, {ok, _}, D) -> D#data{asked = halted};
asked(<<"reboot">>, {ok, _}, D) -> D#data{asked = rebooted};
asked(_Command, _Outcome, D) -> D.

paused({ok, _}, From, up, D) -> {next_state, paused, D, [{reply, From, ok}]};
paused({ok, _}, From, _State, _D) -> evum_vm_data:reply(From, ok);
paused(Error, From, _State, _D) -> evum_vm_data:reply(From, Error).

resumed({ok, _}, From, paused, D) -> {next_state, up, D, [{reply, From, ok}]};
resumed({ok, _}, From, _State, _D) -> evum_vm_data:reply(From, ok);
resumed(Error, From, _State, _D) -> evum_vm_data:reply(From, Error).

%% --- reboot ------------------------------------------------------------------------

reboot(From, paused, D) -> reboot(From, up, evum_vm_data:cast(mconsole, [<<"go">>], D));
reboot(From, _State, #data{rebooting = true} = D) ->
    {next_state, up, evum_vm_data:wait_for(make_ref(), reboot, From, D)};
reboot(From, _State, #data{next_id = Id, programs = Programs} = D) ->
    D1 = evum_vm_data:wait_for(make_ref(), reboot, From, D#data{rebooting = true, next_id = Id + 1, programs = Programs#{Id => ours}}),
    {next_state, up, evum_vm_data:cast(run, [Id, #{argv => [<<"reboot">>]}], D1),
     [{{timeout, reboot}, ?REBOOT_MS, cad}]}.

%% --- programs ----------------------------------------------------------------------

run(Pid, Spec, #data{next_id = Id, programs = Programs} = D) ->
    Monitor = monitor(process, Pid),
    evum_vm_data:ask(run, [Id, Spec], {run, Id, Pid}, D#data{next_id = Id + 1, programs = Programs#{Id => {Pid, Monitor}}}).

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

program_exit(Id, Status, State, #data{programs = Programs} = D) ->
    case Programs of
        #{Id := barrier} -> {keep_state, evum_vm_memory:dropped(Id, D)};
        %% a guest without a reboot of its own
        #{Id := ours} when element(1, Status) =:= error -> {keep_state, forget_program(Id, D), [{{timeout, reboot}, 0, cad}]};
        #{Id := {_, _}} when Status =:= {signal, 15}; Status =:= {signal, 9} -> program_killed(Id, Status, State, D);
        #{} -> {keep_state, forget_program(Id, tell_program(Id, {exit, Status}, D))}
    end.

%% That is how a guest's init ends programs when it goes down, as it was told to:
%% the end of this life, which comes, is what they are told.
program_killed(_Id, _Status, stopping, _D) -> keep_state_and_data;
program_killed(_Id, _Status, _State, #data{rebooting = true}) -> keep_state_and_data;
program_killed(Id, Status, _State, D) -> {keep_state, forget_program(Id, tell_program(Id, {exit, Status}, D))}.

%% --- other processes -----------------------------------------------------------------

process_down(Ref, _Pid, Reason, State, #data{life = Ref} = D) ->
    evum_vm_end:stop_machine(graceful, {shutdown, {life, Reason}}, ?STOP_GRACE_MS, State, D);
process_down(Ref, _Pid, Reason, State, #data{creator = Ref} = D) ->
    evum_vm_end:stop_machine(kill, {shutdown, {life, Reason}}, 0, State, D);
process_down(Ref, Pid, _Reason, _State, #data{owner = Owner, net = Net, dirs = Dirs, programs = Programs} = D) ->
    case {evum_owner:down(Ref, Owner), evum_vm_net:down(Ref, Net), evum_vm_dirs:down(Ref, Dirs)} of
        {{true, Owner1}, _, _} -> {keep_state, D#data{owner = Owner1}};
        {false, {true, Net1}, _} -> {keep_state, D#data{net = Net1}};
        {false, false, {true, Dirs1}} -> {keep_state, D#data{dirs = Dirs1}};
        {false, false, false} ->
            Ids = [Id || {Id, {P, R}} <- maps:to_list(Programs), P =:= Pid, R =:= Ref],
            {keep_state, lists:foldl(fun kill_program/2, D, Ids)}
    end.

%% What it printed last goes nowhere, but must come: the agent keeps a program until
%% all that was in its pipes has gone.
kill_program(Id, D) -> forget_program(Id, drain(Id, program({signal, 9}, Id, D))).

drain(_Id, #data{chan = undefined} = D) -> D;
drain(Id, #data{chan = Chan} = D) ->
    D#data{chan = lists:foldl(fun(Fd, C) -> evum_chan:send(evum_proto:credit(Id, Fd, ?PIPE_MAX), C) end, Chan, [1, 2])}.

program({signal, Number}, Id, D) -> evum_vm_data:cast(signal, [Id, Number], D);
program({winsize, Rows, Columns}, Id, D) -> evum_vm_data:cast(program_winsize, [Id, Rows, Columns], D).

%% --- the end -----------------------------------------------------------------------------

%% @private Called after a bug of ours: the report that follows is wanted.
-spec terminate(term(), state(), #data{}) -> ok.
terminate(Reason, _State, D) ->
    evum_vm_end:cut(D),
    evum_vm_end:tell_all(Reason, D).
