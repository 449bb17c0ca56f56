%% SPDX-License-Identifier: Apache-2.0
%% The process that gets a machine's messages, and how fast
%%
%% Console items and guest messages are delivered while the owner keeps up:
%% a local owner's mailbox is looked at before each, and a full one is looked
%% at again after 10 ms, then 20, up to 100 ({evum_owner, pump} to self). A
%% remote owner's mailbox can't be seen: it uses active/2. What isn't
%% delivered stays with evum_console, whose window then stops the guest.
-module(evum_owner).

-export([new/2, pid/1, active/1, adopts/1, replace/2, down/2, set_active/3]).
-export([notify/2, shape/2, pump/3, message/2, waiting/1]).
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
    Owner#owner{pid = Pid, monitor = monitor(process, Pid), adopt = true, active = true, backoff = ?BACKOFF_MIN}.

%% @doc Was it the owner that ended?
-spec down(reference(), owner()) -> {true, owner()} | false.
down(Ref, #owner{monitor = Ref} = Owner) when is_reference(Ref) ->
    {true, Owner#owner{pid = none, monitor = undefined}};
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

passive(Vm, Owner) ->
    _ = post({evum, Vm, passive}, Owner),
    Owner#owner{active = false}.

%% @doc Sends a notice, whatever the owner's mailbox holds.
-spec notify(term(), owner()) -> ok.
notify(Message, Owner) ->
    _ = post(Message, Owner),
    ok.

post(_Message, #owner{pid = none}) -> ok;
post(Message, #owner{pid = Pid}) when node(Pid) =:= node() ->
    Pid ! Message,
    ok;
post(Message, #owner{pid = Pid}) -> erlang:send(Pid, Message, [nosuspend, noconnect]).

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
    {Owner, N} = pump_messages(Vm, Owner0, 0),
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

%% @doc The message that an item is.
-spec shape(pid(), evum_console:item()) -> term().
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
offer(Message, Owner) ->
    case post(Message, Owner) of
        ok -> {ok, Owner};
        nosuspend -> {wait, later(Owner)};
        noconnect -> {wait, later(Owner)}
    end.

later(#owner{timer = Timer, backoff = Ms} = Owner) ->
    case is_reference(Timer) andalso erlang:read_timer(Timer) of
        Left when is_integer(Left) -> Owner;
        false ->
            New = erlang:send_after(Ms, self(), {?MODULE, pump}),
            Owner#owner{timer = New, backoff = min(2 * Ms, ?BACKOFF_MAX)}
    end.
