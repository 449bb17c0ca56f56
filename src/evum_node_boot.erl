%% SPDX-License-Identifier: Apache-2.0
%% Watches a node's boot, from before its machine starts until it answers
%%
%% A process owns the machine meanwhile: it sees what the console shows, so that a crash
%% can be told, hears when the guest says that it is up, and gives the machine to its owner
%% then. Of what comes for the owner it keeps the last 1000 messages, so that a node which
%% prints much while it boots doesn't wait for somebody who waits for it.
-module(evum_node_boot).

-export([start/0, pid/1, watch/3, cancel/1]).
-export_type([watcher/0]).

%% lines of an error, and how many of them are the first that were printed
-define(LINES, 50).
-define(FIRST, 10).
%% messages for the owner; the oldest go
-define(KEEP, 1000).
-define(CALL_MS, 5000).
%% for a machine to end after its node
-define(ENDING_MS, 2000).
%% when nobody gave a time
-define(BOOT_MS, 60000).

-type plan() :: #{
    node := node(), cookie := atom(), host_link := visible | hidden,
    %% a port of the host's loopback, to be led to the guest's distribution, unless others reach that themselves
    switch := pid(), port := inet:port_number() | none,
    owner := pid() | none, console := evum_console:mode(), wait_boot := false | pos_integer(), atom() => term()
}.
-type watcher() :: {pid(), reference()}.

-record(boot, {
    plan :: plan(),
    vm :: pid(),
    %% who waits, if anybody does
    caller :: reference() | none,
    open = false :: boolean(),
    said = false :: boolean(),
    timer :: reference(),
    %% what came for the owner, the oldest first
    kept = queue:new() :: queue:queue(term())
}).

%% @doc Starts the process; it waits to be told of a machine, and ends with the caller.
-spec start() -> watcher().
start() ->
    Caller = self(),
    spawn_monitor(fun() -> idle(Caller, monitor(process, Caller)) end).

%% @doc Who is to be the machine's owner.
-spec pid(watcher()) -> pid().
pid({Pid, _Monitor}) -> Pid.

%% @doc There is no machine.
-spec cancel(watcher()) -> true.
cancel({Pid, Monitor}) ->
    true = exit(Pid, kill),
    demonitor(Monitor, [flush]).

%% @doc Tells it of the machine, and waits until the node answers, unless the plan says that
%% nobody does (`wait_boot' false).
-spec watch(watcher(), Vm :: pid(), plan()) -> ok | {error, term()}.
watch({Pid, Monitor}, Vm, Plan) ->
    Pid ! {?MODULE, Monitor, Vm, Plan},
    receive
        {Monitor, Result} ->
            true = demonitor(Monitor, [flush]),
            Result;
        {'DOWN', Monitor, process, _, Reason} -> {error, Reason}
    end.

%% --- the process ------------------------------------------------------------------

idle(Caller, Down) ->
    receive
        {?MODULE, Tag, Vm, Plan} -> begin_watch(Caller, Down, Tag, Vm, Plan);
        {'DOWN', Down, process, _, _} -> abandon()
    end.

%% Who started a machine has ended before he could tell of it.
abandon() ->
    receive
        {evum, Vm, up} -> evum:crash(Vm)
    after 0 -> ok
    end.

begin_watch(Caller, Down, Tag, Vm, #{wait_boot := false, node := Node} = Plan) ->
    true = demonitor(Down, [flush]),
    Caller ! {Tag, ok},
    case loop(new(Vm, Plan, none, ?BOOT_MS)) of
        ok -> ok;
        {error, Reason} -> logger:warning("evum: ~ts didn't start: ~ts", [Node, evum_error:format(Reason)])
    end;
begin_watch(Caller, Down, Tag, Vm, #{wait_boot := Ms} = Plan) -> Caller ! {Tag, loop(new(Vm, Plan, Down, Ms))}.

new(Vm, Plan, Down, Ms) ->
    _ = monitor(process, Vm),
    #boot{plan = Plan, vm = Vm, caller = Down, timer = erlang:send_after(Ms, self(), late)}.

loop(#boot{open = true, said = true} = Boot) -> connect(Boot);
loop(#boot{vm = Vm, caller = Down} = Boot) ->
    receive
        {evum, Vm, {down, Reason}} -> failed(Reason, Boot);
        {'DOWN', Down, process, _, _} -> failed(caller_ended, Boot);
        {'DOWN', _, process, Vm, Reason} -> failed(Reason, Boot);
        {evum_node, said, <<"up">>} -> loop(Boot#boot{said = true});
        late -> failed(timeout, Boot);
        unconnected -> failed({no_connection, maps:get(node, Boot#boot.plan)}, Boot);
        {evum, Vm, up} = Up -> open(keep(Up, Boot));
        {evum, Vm, _} = Message -> loop(keep(Message, Boot));
        Line when is_binary(Line) -> loop(keep(Line, Boot));
        _Other -> loop(Boot)
    end.

keep(Message, #boot{kept = Kept} = Boot) ->
    case queue:len(Kept) of
        ?KEEP -> Boot#boot{kept = queue:in(Message, queue:drop(Kept))};
        _ -> Boot#boot{kept = queue:in(Message, Kept)}
    end.

%% The guest is up, and so has its place on the network.
open(#boot{open = true} = Boot) -> loop(Boot);
open(#boot{plan = #{port := none}} = Boot) -> loop(Boot#boot{open = true});
open(#boot{vm = Vm, plan = #{switch := Sw, port := Port}} = Boot) ->
    case evum_switch:forward(Sw, {tcp, Port}, {Vm, evum_guest:port()}) of
        {ok, Port} -> loop(Boot#boot{open = true});
        {error, Reason} -> failed(Reason, Boot)
    end.

connect(#boot{plan = #{node := Node, cookie := Cookie} = Plan} = Boot) ->
    true = erlang:set_cookie(Node, Cookie),
    case connected(Plan) of
        true -> hand_over(Boot);
        false ->
            %% most often it has ended since, and its machine is about to
            _ = erlang:send_after(?ENDING_MS, self(), unconnected),
            loop(Boot#boot{said = false})
    end.

connected(#{port := none}) -> true;
connected(#{node := Node, host_link := hidden}) -> net_kernel:hidden_connect_node(Node) andalso net_adm:ping(Node) =:= pong;
connected(#{node := Node}) -> net_adm:ping(Node) =:= pong.

hand_over(#boot{vm = Vm, plan = #{owner := Owner, console := Mode}, kept = Kept, timer = Timer}) ->
    _ = erlang:cancel_timer(Timer),
    _ = [evum_vm:call(Vm, {console, none}, ?CALL_MS) || Mode =:= none],
    _ = [give(Owner, Mode, Vm, queue:to_list(Kept)) || Owner =/= none],
    ok.

%% A machine that ended meanwhile has no owner any more, who finds out by the last message.
give(Owner, Mode, Vm, Kept) ->
    _ = [Owner ! Message || Message <- Kept ++ later(Vm), is_wanted(Message, Mode)],
    _ = evum:give_away(Vm, Owner),
    _ = [Owner ! Message || Message <- later(Vm), is_wanted(Message, Mode)],
    ok.

later(Vm) ->
    receive
        {evum, Vm, _} = Message -> [Message | later(Vm)];
        Line when is_binary(Line) -> [Line | later(Vm)]
    after 0 -> []
    end.

is_wanted(Line, none) when is_binary(Line) -> false;
is_wanted(_Message, _Mode) -> true.

%% --- failures -----------------------------------------------------------------------

failed(Reason, #boot{vm = Vm} = Boot) ->
    Told = reason(Reason, Boot),
    _ = evum:crash(Vm),
    {error, Told}.

%% What the machine itself says of its boot is enough; of the node only its console tells.
reason({Ending, _} = Reason, Boot) when Ending =:= exit_status; Ending =:= signal -> {node_failed, Reason, lines(Boot)};
reason({shutdown, halted} = Reason, Boot) -> {node_failed, Reason, lines(Boot)};
reason(timeout, Boot) -> {node_failed, timeout, lines(Boot)};
reason(Reason, _Boot) -> Reason.

%% What the node printed, between the kernel's words.
lines(#boot{kept = Kept}) ->
    Printed = case lists:splitwith(fun(Message) -> not is_up(Message) end, queue:to_list(Kept)) of
        {_Kernel, [_Up | Node]} -> Node;
        {All, []} -> All
    end,
    Lines = binary:split(iolist_to_binary([text(Message) || Message <- Printed]), [<<"\n">>, <<"\r\n">>], [global, trim_all]),
    ends([Line || Line <- Lines, string:prefix(Line, "reboot: ") =:= nomatch]).

%% What is wrong comes first or last.
ends(Lines) when length(Lines) =< ?LINES -> Lines;
ends(Lines) -> lists:sublist(Lines, ?FIRST) ++ [<<"...">>] ++ lists:nthtail(length(Lines) - ?LINES + ?FIRST, Lines).

is_up({evum, _Vm, up}) -> true;
is_up(_) -> false.

text(Line) when is_binary(Line) -> [Line, $\n];
text({evum, _Vm, {console, Bytes}}) -> Bytes;
text(_) -> [].
