%% SPDX-License-Identifier: Apache-2.0
%% What a program prints, until it is collected or its owner has it
%%
%% Output comes within a window of 256 KiB a stream, and is acknowledged, straight to
%% the port, when it was collected or delivered: a flood stalls the program and
%% nobody else. An owner is sent a window's worth at a time; then his mailbox is
%% looked at, on his node. He is sent more when none of this program's output is left
%% in there, or less than 16 MiB of all programs' output. Other messages don't count:
%% he may well leave them, and receive just these.
%%
%% So programs whose output nobody takes cost two windows each here, and, in their
%% owner's mailbox, 16 MiB and a window each. Into a mailbox of more than 20000 messages
%% nobody looks, and nothing is sent. What is left at the end is delivered in any case.
%%
%% The process that owns this is sent `{evum_proc_out, pump}' and `{evum_proc_out,
%% acknowledge}', for pump/2 and acknowledge/2, and the other node's answer, for heard/3.
-module(evum_proc_out).

-export([window/0, owner/1, collect/1, add/4, pump/2, acknowledge/2, heard/3, flush/1, collected/1]).
-export([unreceived/2]).
-export_type([output/0, collected/0]).

%% bytes of each stream that may be unacknowledged
-define(WINDOW, 262144).
%% bytes of programs' output in an owner's mailbox, each message counted as so many more
-define(MAILBOX_BYTES, 16777216).
-define(MESSAGE_BYTES, 1024).
%% a look costs as much as the mailbox is long
-define(LOOK_MAX, 20000).
%% who has too much is looked at again so soon, and then less and less often
-define(HELD_MS, 10).
-define(HELD_MAX_MS, 320).
%% how soon a port that had no room is tried again
-define(RETRY_MS, 5).

-type fd() :: 1 | 2.
-type collected() :: #{stdout := binary(), stderr := binary()}.

-record(output, {
    sink :: {owner, pid()} | {collect, Max :: pos_integer()},
    %% collected, the newest first, and how much
    parts = #{1 => [], 2 => []} :: #{fd() => [binary()]},
    size = 0 :: non_neg_integer(),
    %% waiting for the owner
    queue = queue:new() :: queue:queue({fd(), binary()}),
    held = false :: boolean(),
    held_ms = ?HELD_MS :: pos_integer(),
    %% bytes that may be delivered before the next look, and one that is under way
    allowance = ?WINDOW :: integer(),
    asked :: undefined | erpc:request_id(),
    %% acknowledgements that have not gone to the port
    credit = #{} :: #{fd() => pos_integer()}
}).
-opaque output() :: #output{}.

%% @doc The first window of each stream, in bytes.
-spec window() -> pos_integer().
window() -> ?WINDOW.

%% @doc Output that is sent to a process as `{evum, self(), {stdout | stderr, Bytes}}'.
-spec owner(pid()) -> output().
owner(Pid) -> #output{sink = {owner, Pid}}.

%% @doc Output that is kept, `Max' bytes of both streams.
-spec collect(pos_integer()) -> output().
collect(Max) -> #output{sink = {collect, Max}}.

%% @doc Takes what was printed. `full': it is more than is to be collected.
-spec add(fd(), binary(), evum_proc_in:stream(), output()) -> {ok | full, output()}.
add(Fd, Bytes, Stream, #output{sink = {collect, Max}, parts = Parts, size = Size} = Out) ->
    Size1 = Size + byte_size(Bytes),
    #{Fd := Before} = Parts,
    case Size1 > Max of
        true -> {full, Out#output{parts = Parts#{Fd := [binary:part(Bytes, 0, Max - Size) | Before]}}};
        false -> {ok, credit(Fd, Bytes, Stream, Out#output{parts = Parts#{Fd := [Bytes | Before]}, size = Size1})}
    end;
add(Fd, Bytes, Stream, #output{queue = Queue} = Out) ->
    {ok, deliver(Stream, Out#output{queue = queue:in({Fd, Bytes}, Queue)})}.

%% @doc Delivers what the owner has room for, after he had none.
-spec pump(evum_proc_in:stream(), output()) -> output().
pump(Stream, Out) -> deliver(Stream, Out#output{held = false}).

deliver(Stream, #output{queue = Queue, allowance = Allowance} = Out) ->
    case queue:out(Queue) of
        {empty, _} -> Out;
        {{value, {Fd, Bytes}}, Rest} when Allowance > 0 ->
            send(Fd, Bytes, Out),
            Left = Allowance - byte_size(Bytes) - ?MESSAGE_BYTES,
            deliver(Stream, credit(Fd, Bytes, Stream, Out#output{queue = Rest, allowance = Left}));
        {{value, _}, _} -> look(Stream, Out)
    end.

send(Fd, Bytes, #output{sink = {owner, Owner}}) ->
    Owner ! {evum, self(), {stream(Fd), Bytes}},
    ok.

stream(1) -> stdout;
stream(2) -> stderr.

look(_Stream, #output{held = Held, asked = Asked} = Out) when Held; Asked =/= undefined -> Out;
look(Stream, #output{sink = {owner, Owner}} = Out) when node(Owner) =:= node() ->
    looked(unreceived(Owner, self()), Stream, Out);
look(_Stream, #output{sink = {owner, Owner}} = Out) ->
    Out#output{asked = erpc:send_request(node(Owner), ?MODULE, unreceived, [Owner, self()])}.

%% @doc Takes the answer of another node's look, if a message is one.
-spec heard(Message :: term(), evum_proc_in:stream() | undefined, output()) -> output().
heard(_Message, _Stream, #output{asked = undefined} = Out) -> Out;
heard(Message, Stream, #output{asked = Asked} = Out) ->
    try erpc:check_response(Message, Asked) of
        no_response -> Out;
        {response, Unreceived} -> looked(Unreceived, Stream, Out#output{asked = undefined})
    catch
        %% his node is gone, or going
        _:_ -> hold(Out#output{asked = undefined})
    end.

looked({Own, All}, Stream, Out) when Own =:= 0; All < ?MAILBOX_BYTES ->
    deliver(Stream, Out#output{allowance = ?WINDOW, held_ms = ?HELD_MS});
looked(_Unreceived, _Stream, Out) -> hold(Out).

hold(#output{held_ms = Ms} = Out) ->
    _ = erlang:send_after(Ms, self(), {?MODULE, pump}),
    Out#output{held = true, held_ms = min(2 * Ms, ?HELD_MAX_MS)}.

%% @doc How many bytes of `Proc''s output, and of any program's, a process of this
%% node has not received.
-spec unreceived(pid(), pid()) -> {Own :: non_neg_integer(), All :: non_neg_integer()} | unknown.
unreceived(Owner, Proc) ->
    case process_info(Owner, message_queue_len) of
        {_, Len} when Len =< ?LOOK_MAX -> count(process_info(Owner, messages), Proc);
        _ -> unknown
    end.

count(undefined, _Proc) -> unknown;
count({messages, Messages}, Proc) ->
    Sizes = [{From, byte_size(Bytes) + ?MESSAGE_BYTES} || {evum, From, {_, Bytes}} <- Messages, is_binary(Bytes)],
    {lists:sum([Size || {From, Size} <- Sizes, From =:= Proc]), lists:sum([Size || {_, Size} <- Sizes])}.

credit(Fd, Bytes, Stream, #output{credit = Credit} = Out) ->
    N = byte_size(Bytes),
    acknowledge(Stream, Out#output{credit = maps:update_with(Fd, fun(M) -> M + N end, N, Credit)}).

%% @doc Tells the port what was taken, as far as it has room for that.
-spec acknowledge(evum_proc_in:stream(), output()) -> output().
acknowledge({Port, Id}, #output{credit = Credit} = Out) ->
    Left = maps:filter(fun(Fd, N) -> evum_port:command(Port, evum_proto:credit(Id, Fd, N)) =:= busy end, Credit),
    Left =:= #{} orelse erlang:send_after(?RETRY_MS, self(), {?MODULE, acknowledge}),
    Out#output{credit = Left}.

%% @doc Delivers all that is left, at most two windows: no more will come.
-spec flush(output()) -> ok.
flush(#output{queue = Queue} = Out) ->
    lists:foreach(fun({Fd, Bytes}) -> send(Fd, Bytes, Out) end, queue:to_list(Queue)).

%% @doc What was collected.
-spec collected(output()) -> collected().
collected(#output{parts = #{1 := Out, 2 := Err}}) ->
    #{stdout => iolist_to_binary(lists:reverse(Out)), stderr => iolist_to_binary(lists:reverse(Err))}.
