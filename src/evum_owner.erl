%% SPDX-License-Identifier: Apache-2.0
%% The process that gets a machine's messages, and how fast
%%
%% Console items and guest messages are delivered while the owner keeps up:
%% a local owner's mailbox is looked at before each, and a full one is looked
%% at again after 10 ms, then 20, up to 100 ({evum_owner, pump} to self). A
%% remote owner's mailbox can't be seen: it uses active/2. What isn't
%% delivered stays with evum_console, whose window then stops the guest.
%%
%% Notices are sent whatever the mailbox holds. Nothing here may block: while
%% the connection to a remote owner is busy, all waits, in order.
-module(evum_owner).

-export([new/2, pid/1, active/1, adopts/1, replace/2, down/2, set_active/3]).
-export([notify/2, pump/3, message/2, waiting/1, farewell/4]).
-export_type([owner/0, active/0]).

-define(QUEUE_MAX, 1000).
-define(BACKOFF_MIN, 10).
-define(BACKOFF_MAX, 100).
-define(ACTIVE_MAX, 32767).

-type active() :: boolean() | once | pos_integer().

-record(owner, {
    pid :: pid() | none,
    monitor :: reference() | undefined,
    %% may the next process that talks to the machine become the owner?
    adopt :: boolean(),
    active = true :: active(),
    backoff = ?BACKOFF_MIN :: pos_integer(),
    timer :: reference() | undefined,
    %% notices that a busy connection held up; they are few
    notices = queue:new() :: queue:queue(term()),
    %% guest messages that wait; the port's window bounds them
    messages = queue:new() :: queue:queue(binary())
}).
-opaque owner() :: #owner{}.

%% @doc An owner, or `none'. `Adopt': with none, is the next to talk adopted?
-spec new(pid() | none, Adopt :: boolean()) -> owner().
new(none, Adopt) -> #owner{pid = none, adopt = Adopt};
new(Pid, _Adopt) -> #owner{pid = Pid, monitor = monitor(process, Pid), adopt = true}.

-spec pid(owner()) -> pid() | none.
pid(#owner{pid = Pid}) -> Pid.

-spec active(owner()) -> active().
active(#owner{active = Active}) -> Active.

%% @doc Would the next process that talks to the machine become the owner?
-spec adopts(owner()) -> boolean().
adopts(#owner{pid = Pid, adopt = Adopt}) -> Pid =:= none andalso Adopt.

%% @doc Makes `Pid' the owner; it starts active.
-spec replace(pid(), owner()) -> owner().
replace(Pid, #owner{pid = Pid} = Owner) -> Owner;
replace(Pid, #owner{monitor = Old} = Owner) ->
    Old =:= undefined orelse demonitor(Old, [flush]),
    Owner#owner{
        pid = Pid, monitor = monitor(process, Pid), adopt = true, active = true, backoff = ?BACKOFF_MIN,
        notices = queue:new()
    }.

%% @doc Was it the owner that ended?
-spec down(reference(), owner()) -> {true, owner()} | false.
down(Ref, #owner{monitor = Ref} = Owner) when is_reference(Ref) ->
    {true, Owner#owner{pid = none, monitor = undefined, notices = queue:new()}};
down(_Ref, _Owner) -> false.

%% @doc As inet's option: a number is added to the one that is left.
-spec set_active(active() | integer(), pid(), owner()) -> {ok, owner()} | {error, einval}.
set_active(N, Vm, #owner{active = Active} = Owner) when is_integer(N) ->
    Left = case Active of M when is_integer(M) -> M + N; _ -> N end,
    if
        Left > ?ACTIVE_MAX; Left < -?ACTIVE_MAX -> {error, einval};
        Left =< 0 -> {ok, passive(Vm, Owner)};
        true -> {ok, Owner#owner{active = Left}}
    end;
set_active(Active, _Vm, Owner) when is_boolean(Active); Active =:= once ->
    {ok, Owner#owner{active = Active}};
set_active(_Active, _Vm, _Owner) -> {error, einval}.

passive(Vm, Owner) -> notify({evum, Vm, passive}, Owner#owner{active = false}).

%% @doc Sends a notice, whatever the owner's mailbox holds.
-spec notify(term(), owner()) -> owner().
notify(Message, #owner{notices = Notices} = Owner) -> pump_notices(Owner#owner{notices = queue:in(Message, Notices)}).

pump_notices(#owner{notices = Notices} = Owner) ->
    case queue:out(Notices) of
        {empty, _} -> Owner;
        {{value, Message}, Rest} ->
            case post(Message, Owner) of
                nosuspend -> later(Owner);
                _ -> pump_notices(Owner#owner{notices = Rest})
            end
    end.

%% noconnect: the owner's node is gone, and his DOWN is on the way
post(_Message, #owner{pid = none}) -> ok;
post(Message, #owner{pid = Pid}) when node(Pid) =:= node() ->
    Pid ! Message,
    ok;
post(Message, #owner{pid = Pid}) -> erlang:send(Pid, Message, [nosuspend, noconnect]).

%% @doc All that is left, whatever the owner's mailbox holds: what waits, the
%% console's items where he takes them, and `Last'. It is a window of each at most.
-spec farewell(pid(), Last :: term(), owner(), evum_console:console()) -> ok.
farewell(Vm, Last, #owner{notices = Notices, messages = Messages, active = Active} = Owner, Console) ->
    Items = case Active of false -> []; _ -> items(Vm, evum_console:take(Console)) end,
    Told = [{evum, Vm, {message, Bytes}} || Bytes <- queue:to_list(Messages)],
    send_all(queue:to_list(Notices) ++ Told ++ Items ++ [Last], Owner).

items(_Vm, empty) -> [];
items(Vm, {Item, Console}) -> [shape(Vm, Item) | items(Vm, evum_console:take(Console))].

send_all([], _Owner) -> ok;
send_all([Message | Rest] = All, #owner{pid = Pid} = Owner) ->
    case post(Message, Owner) of
        nosuspend ->
            %% the machine's end doesn't wait for a connection
            _ = spawn(fun() -> [erlang:send(Pid, M, [noconnect]) || M <- All] end),
            ok;
        _ -> send_all(Rest, Owner)
    end.

%% @doc Queues what a guest program wrote to `/proc/mconsole'.
-spec message(binary(), owner()) -> owner().
message(Bytes, #owner{messages = Messages} = Owner) ->
    Owner#owner{messages = queue:in(Bytes, Messages)}.

%% @doc Guest messages that wait.
-spec waiting(owner()) -> non_neg_integer().
waiting(#owner{messages = Messages}) -> queue:len(Messages).

%% @doc Delivers what the owner has room for. Returns how many guest messages
%% went: the port is to be told.
-spec pump(pid(), owner(), evum_console:console()) ->
    {owner(), evum_console:console(), Messages :: non_neg_integer()}.
pump(Vm, Owner0, Console0) ->
    {Owner, N} = pump_messages(Vm, pump_notices(Owner0), 0),
    {Owner1, Console} = pump_console(Vm, Owner, Console0),
    {Owner1, Console, N}.

pump_messages(Vm, #owner{messages = Messages} = Owner, N) ->
    case queue:out(Messages) of
        {empty, _} -> {Owner, N};
        {{value, Bytes}, Rest} ->
            case offer({evum, Vm, {message, Bytes}}, Owner) of
                {ok, Owner1} -> pump_messages(Vm, Owner1#owner{messages = Rest}, N + 1);
                {wait, Owner1} -> {Owner1, N}
            end
    end.

pump_console(_Vm, #owner{active = false} = Owner, Console) -> {Owner, Console};
pump_console(Vm, Owner, Console) ->
    case evum_console:take(Console) of
        empty -> {Owner, Console};
        {Item, Console1} ->
            case offer(shape(Vm, Item), Owner) of
                {ok, Owner1} -> pump_console(Vm, count(Vm, Owner1), Console1);
                {wait, Owner1} -> {Owner1, Console}
            end
    end.

shape(_Vm, {line, Line}) -> Line;
shape(Vm, {bytes, Bytes}) -> {evum, Vm, {console, Bytes}}.

count(_Vm, #owner{active = true} = Owner) -> Owner;
count(_Vm, #owner{active = once} = Owner) -> Owner#owner{active = false};
count(Vm, #owner{active = 1} = Owner) -> passive(Vm, Owner);
count(_Vm, #owner{active = N} = Owner) -> Owner#owner{active = N - 1}.

offer(_Message, #owner{pid = none} = Owner) -> {wait, Owner};
offer(Message, #owner{pid = Pid} = Owner) when node(Pid) =:= node() ->
    case process_info(Pid, message_queue_len) of
        {_, Len} when Len < ?QUEUE_MAX ->
            Pid ! Message,
            {ok, Owner#owner{backoff = ?BACKOFF_MIN}};
        {_, _} -> {wait, later(Owner)};
        %% it has just ended: its DOWN is on the way
        undefined -> {wait, Owner}
    end;
offer(Message, #owner{notices = Notices} = Owner) ->
    case queue:is_empty(Notices) andalso post(Message, Owner) of
        ok -> {ok, Owner};
        _ -> {wait, later(Owner)}
    end.

later(#owner{timer = Timer, backoff = Ms} = Owner) ->
    case is_reference(Timer) andalso erlang:read_timer(Timer) of
        Left when is_integer(Left) -> Owner;
        false ->
            New = erlang:send_after(Ms, self(), {?MODULE, pump}),
            Owner#owner{timer = New, backoff = min(2 * Ms, ?BACKOFF_MAX)}
    end.
