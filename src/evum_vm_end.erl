%% SPDX-License-Identifier: Apache-2.0
%% How a machine's life, and its process, end
-module(evum_vm_end).

-export([boot_failed/1, close_port/1, cut/1, down/3, finish/2]).
-export([is_shutdown/1, port_ended/3, revert/2, stop_machine/5, tell_all/2]).

-include_lib("kernel/include/logger.hrl").
-include("evum_vm.hrl").

%% @doc Where the boot is stuck, and what was printed last.
-spec boot_failed(#data{}) -> {boot_failed, atom(), [binary()]}.
boot_failed(D) -> boot_failed(<<>>, D).

boot_failed(Log, #data{console = Console, boot_error = Error} = D) ->
    Launch = binary:split(Log, [<<"\n">>, <<"\r\n">>], [global, trim_all]),
    Lines = Launch ++ evum_console:recent(Console) ++ Error,
    {boot_failed, evum_vm_data:stuck(D), lists:nthtail(max(0, length(Lines) - ?LINES), Lines)}.

%% A new life: a new port program and jail; what belonged to the old one ends.
next_life(#data{reverting = true, machine = #{config := Config}} = D) ->
    case evm_disk:reset(Config) of
        ok -> new_life(D#data{reverting = false});
        {error, Reason} -> finish(Reason, D)
    end;
next_life(#data{reboots = Reboots0, label = Label} = D) ->
    Now = evum_vm_data:now_ms(),
    case [T || T <- Reboots0, Now - T < ?REBOOTS_MS] of
        Reboots when length(Reboots) >= ?REBOOTS_MAX ->
            ?LOG_WARNING("evum: ~s rebooted ~b times within a minute and is stopped", [Label, ?REBOOTS_MAX]),
            finish({shutdown, rebooting_too_often}, D);
        Reboots -> new_life(D#data{reboots = [Now | Reboots]})
    end.

new_life(#data{programs = Programs} = D) ->
    _ = [end_program(P) || P <- maps:values(Programs)],
    D1 = end_life({shutdown, rebooted}, D),
    D2 = evum_vm_data:notify(rebooting, D1#data{
        chan = undefined, started = false, outcome = undefined,
        asked = undefined, panic = undefined, boot_error = [], was_up = false, up_since = undefined,
        shrunk = 0, next_id = 1, console = evum_console:flush(D1#data.console)
    }),
    {next_state, booting, evum_vm_console:pump(D2),
     [{state_timeout, ?BOOT_MS, boot}, {{timeout, guard}, cancel}, {{timeout, reboot}, cancel},
      {next_event, internal, open}]}.

%% Whoever waits for an answer of this life gets one.
end_life(Reason, #data{chan = Chan, waiters = Waiters} = D) ->
    Pending = case Chan of undefined -> []; _ -> evum_chan:tags(Chan) end,
    _ = [gen_statem:reply(From, {error, {vm_down, Reason}}) || Tag <- Pending, From <- waits(Tag)],
    Asked = [Ref || {Ref, #waiter{kind = Kind}} <- maps:to_list(Waiters), Kind =:= typing orelse Kind =:= memory],
    D1 = lists:foldl(fun(Ref, Acc) -> evum_vm_data:answer(Ref, {error, {vm_down, Reason}}, Acc) end, D, Asked),
    D1#data{programs = #{}, resizes = [], net = evum_vm_net:end_life(D1#data.net)}.

end_program({Pid, Monitor}) ->
    true = demonitor(Monitor, [flush]),
    Pid ! {evum_vm, self(), rebooted};
end_program(_Ours) -> ok.

waits({Kind, From}) when Kind =:= info; Kind =:= pause; Kind =:= resume -> [From];
waits({system, From, _}) -> [From];
waits(_) -> [].

%% @doc Is it a polite order to end?
-spec is_shutdown(term()) -> boolean().
is_shutdown(shutdown) -> true;
is_shutdown({shutdown, _}) -> true;
is_shutdown(_) -> false.

%% @doc Asks for the end, politely or not. A power cut overtakes a stop, never the other way.
-spec stop_machine(graceful | kill, Reason :: term(), GraceMs :: non_neg_integer(), evum_vm:state(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
stop_machine(_How, Reason, _Grace, _State, #data{chan = undefined} = D) -> finish(Reason, D);
stop_machine(How, Reason, _Grace, rebooting, D) ->
    %% the old life is over: there is to be no other
    {next_state, stopping, D#data{ending = {How, Reason}, outcome = {finish, Reason}, rebooting = false}};
stop_machine(graceful, _Reason, _Grace, stopping, _D) -> keep_state_and_data;
stop_machine(kill, _Reason, _Grace, stopping, #data{ending = {kill, _}}) -> keep_state_and_data;
stop_machine(How, Reason, Grace, _State, D0) ->
    D = D0#data{ending = {How, Reason}, rebooting = false},
    case {D, How} of
        {#data{started = false}, _} -> {next_state, stopping, D, [guard(?KILL_MS)]};
        {_, graceful} -> {next_state, stopping, evum_vm_data:cast(stop, [Grace], D), [guard(Grace + ?LADDER_MS)]};
        {_, kill} -> {next_state, stopping, evum_vm_data:cast(kill, [], D), [guard(?KILL_MS)]}
    end.

guard(Ms) -> {{timeout, guard}, Ms, hard}.

%% @doc Cuts the power, and boots from what the machine was created of.
-spec revert(gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
revert(From, #data{reverting = true} = D) -> {next_state, up, evum_vm_data:wait_for(make_ref(), reboot, From, D)};
revert(From, #data{machine = #{config := Config}} = D) ->
    case evm_disk:files(Config) of
        none -> evum_vm_data:reply(From, {error, not_layered});
        #{} ->
            D1 = evum_vm_data:wait_for(make_ref(), reboot, From, D#data{rebooting = true, reverting = true}),
            {next_state, up, evum_vm_data:cast(kill, [], D1), [guard(?KILL_MS)]}
    end.

%% @doc The port says that the machine is down; it ends itself now.
-spec down(map(), evum_vm:state(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
down(Props, _State, D) ->
    Outcome = outcome(Props, D),
    State = case Outcome of reboot -> rebooting; _ -> stopping end,
    {next_state, State, D#data{outcome = Outcome}, [guard(?PORT_EXIT_MS)]}.

outcome(_Props, #data{ending = {_, Reason}}) -> {finish, Reason};
outcome(_Props, #data{reverting = true}) -> reboot;
outcome(#{how := How}, #data{rebooting = true, machine = #{on_reboot := Do}}) when How =/= panic -> rebooted(Do);
outcome(#{log := Log}, #data{was_up = false} = D) -> {finish, boot_failed(Log, D)};
outcome(#{how := How, value := Value}, D) -> ended(How, Value, D).

%% the kernel's end by the management console looks like a halt
ended(halted, Value, #data{asked = rebooted} = D) -> ended(rebooted, Value, D);
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

%% @doc The port program is gone, and the machine with it.
-spec port_ended(port(), evum_vm:state(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
port_ended(Port, State, #data{chan = Chan} = D) when Chan =/= undefined ->
    case evum_chan:port(Chan) of
        Port -> port_gone(State, D);
        _Old -> keep_state_and_data
    end;
port_ended(_Port, _State, _D) -> keep_state_and_data.

port_gone(_State, #data{outcome = reboot} = D) -> next_life(D);
port_gone(_State, #data{outcome = {finish, Reason}} = D) -> finish(Reason, D);
port_gone(_State, #data{ending = {kill, Reason}} = D) -> finish(Reason, D);
port_gone(_State, D) -> finish(port_died, D).

%% @doc The port program doesn't end by itself, or mustn't be listened to: it is made to.
-spec close_port(#data{}) -> gen_statem:event_handler_result(evum_vm:state()).
close_port(#data{chan = undefined}) -> keep_state_and_data;
close_port(#data{chan = Chan} = D) ->
    ok = evum_chan:close(Chan),
    port_gone(stopping, forced(D)).

forced(#data{outcome = undefined, ending = {_, Reason}} = D) -> D#data{outcome = {finish, Reason}};
forced(#data{outcome = undefined, reverting = true} = D) -> D#data{outcome = reboot};
forced(#data{outcome = undefined, rebooting = true, machine = #{on_reboot := Do}} = D) -> D#data{outcome = rebooted(Do)};
forced(D) -> D.

%% @doc Everybody is told, and the process ends.
-spec finish(term(), #data{}) -> no_return().
finish(Reason, D0) ->
    D = end_life(Reason, evum_vm_console:check_texts(D0)),
    ok = evm_disk:remove(maps:get(config, D#data.machine)),
    log_end(Reason, D),
    tell_all(Reason, D),
    die(Reason, D).

%% @doc Tells all who wait, who is attached and, last, the owner that the machine is down.
-spec tell_all(term(), #data{}) -> ok.
tell_all(Reason, #data{owner = Owner, console = Console, net = Net} = D) ->
    ok = evum_vm_net:close(Net),
    answer_all(Reason, D),
    end_attach(Reason, D),
    evum_owner:farewell(self(), {evum, self(), {down, Reason}}, Owner, evum_console:flush(Console)).

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

%% @doc Cuts the power where there is no loop any more. The port program's end is
%% the machine's, whatever it was doing.
-spec cut(#data{}) -> ok.
cut(#data{chan = undefined}) -> ok;
cut(#data{chan = Chan}) -> evum_chan:close(Chan).
