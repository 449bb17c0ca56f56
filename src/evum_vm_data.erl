%% SPDX-License-Identifier: Apache-2.0
%% What a machine's process knows, and who waits for it
-module(evum_vm_data).

-export([answer/3, answer_kind/3, ask/4, cast/3, brief/2, full/3]).
-export([notify/2, now_ms/0, reply/2, stuck/1, wait/4, wait_for/4]).

-include("evum_vm.hrl").

%% @doc Answers at once.
-spec reply(gen_statem:from(), term()) -> gen_statem:event_handler_result(evum_vm:state()).
reply(From, Reply) -> {keep_state_and_data, [{reply, From, Reply}]}.

%% @doc Lets the caller wait, within his time.
-spec wait(term(), pos_integer(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
wait(Kind, Ms, From, D) ->
    Ref = make_ref(),
    {keep_state, wait_for(Ref, Kind, From, D), [{{timeout, Ref}, Ms, expire}]}.

%% @doc Lets the caller wait.
-spec wait_for(reference(), term(), gen_statem:from(), #data{}) -> #data{}.
wait_for(Ref, Kind, From, #data{waiters = Waiters} = D) ->
    D#data{waiters = Waiters#{Ref => #waiter{kind = Kind, from = From}}}.

%% @doc Answers a waiter, if he still waits. His timer, when it expires, finds nobody.
-spec answer(reference(), term(), #data{}) -> #data{}.
answer(Ref, Reply, #data{waiters = Waiters} = D) ->
    case maps:take(Ref, Waiters) of
        {#waiter{from = From}, Rest} ->
            gen_statem:reply(From, Reply),
            D#data{waiters = Rest};
        error ->
            D
    end.

%% @doc Answers all who wait for the same.
-spec answer_kind(term(), term(), #data{}) -> #data{}.
answer_kind(Kind, Reply, #data{waiters = Waiters} = D) ->
    Refs = [Ref || {Ref, #waiter{kind = K}} <- maps:to_list(Waiters), K =:= Kind],
    lists:foldl(fun(Ref, Acc) -> answer(Ref, Reply, Acc) end, D, Refs).

%% @doc The stage that is not complete yet: it is what the boot is stuck in.
-spec stuck(#data{}) -> atom().
stuck(#data{started = false}) -> spawn;
stuck(#data{stage = spawn}) -> kernel;
stuck(#data{stage = kernel}) -> init;
stuck(#data{stage = init}) -> root;
stuck(#data{}) -> agent.

%% @doc Makes a call of the port; `Tag' says what its reply is for.
-spec ask(atom(), [term()], Tag :: term(), #data{}) -> #data{}.
ask(Op, Args, Tag, #data{chan = Chan} = D) -> D#data{chan = evum_chan:call(Op, Args, Tag, Chan)}.

%% @doc A call whose reply nobody waits for.
-spec cast(atom(), [term()], #data{}) -> #data{}.
cast(_Op, _Args, #data{chan = undefined} = D) -> D;
cast(Op, Args, D) -> ask(Op, Args, none, D).

%% @doc Sends the owner a notice.
-spec notify(term(), #data{}) -> #data{}.
notify(Message, #data{owner = Owner} = D) -> D#data{owner = evum_owner:notify({evum, self(), Message}, Owner)}.

%% @doc The clock of all that is compared here.
-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).

%% @doc What evm:list/0 tells.
-spec brief(evum_vm:state(), #data{}) -> map().
brief(State, #data{machine = Machine, label = Label, release = Release, net = Net} = D) ->
    #{label => Label, pid => self(), dist => maps:get(dist, Machine), state => State, ip => evum_vm_net:ip(Net),
      mem => memory_now(D), kernel_release => Release, uptime => uptime(D)}.

memory_now(#data{machine = #{mem := Mem}, shrunk = Shrunk}) -> Mem - Shrunk.

uptime(#data{up_since = undefined}) -> 0;
uptime(#data{up_since = Since}) -> (now_ms() - Since) div 1000.

%% @doc What evum:info/1 tells, with the port's part of it.
-spec full(evum_vm:state(), map(), #data{}) -> map().
full(State, Port, #data{owner = Owner, console = Console, programs = Programs, stage = Stage} = D) ->
    Pids = [P || P <- [maps:get(init_pid, Port, 0), maps:get(kernel_pid, Port, 0)], P > 0],
    (maps:merge(brief(State, D), maps:with([cpu, confined, landlock_abi, agent_garbage], Port)))#{
        os_pids => port_pid(D) ++ Pids,
        stage => Stage,
        shares => maps:get(shares, maps:get(config, D#data.machine)),
        states => evum_vm_dirs:info(D#data.dirs),
        nics => evum_vm_net:info(maps:get(nics, Port, []), D#data.net),
        console => evum_console:mode(Console),
        console_bytes => evum_console:total(Console),
        console_held => evum_console:held(Console),
        messages_held => evum_owner:waiting(Owner),
        messages_dropped => maps:get(messages_dropped, Port, 0),
        owner => evum_owner:pid(Owner),
        active => evum_owner:active(Owner),
        programs => maps:size(Programs),
        disk => evm_disk:files(maps:get(config, D#data.machine)),
        attached => D#data.viewer =/= undefined,
        reboots => length(D#data.reboots)
    }.

port_pid(#data{chan = undefined}) -> [];
port_pid(#data{chan = Chan}) -> [evum_chan:os_pid(Chan)].
