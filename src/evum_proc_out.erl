%% SPDX-License-Identifier: Apache-2.0
%% What a program prints, until it is collected or its owner has it
%%
%% Output comes within a window of 256 KiB a stream, and is acknowledged, straight to
%% the port, when it was collected or delivered: a flood stalls the program and
%% nobody else. An owner is sent as much as he keeps up with; a look at his mailbox
%% before each message tells. The first window of each stream, and what is left at
%% the end, is delivered whatever he has not received: he may be waiting for just
%% that, past a full mailbox.
%%
%% So a program whose output nobody takes costs two windows here, and in an owner's
%% mailbox, whoever fills it, the first windows and about 16 MiB. An owner on another
%% node is sent a MiB at a time, and then his node is asked how many messages he has.
%%
%% The process that owns this is sent `{evum_proc_out, pump}' and `{evum_proc_out,
%% acknowledge}', for pump/2 and acknowledge/2, and the other node's answer, for heard/3.
-module(evum_proc_out).

-export([window/0, owner/1, collect/1, add/4, pump/2, acknowledge/2, heard/3, flush/1, collected/1]).
-export_type([output/0, collected/0]).

%% bytes of each stream that may be unacknowledged
-define(WINDOW, 262144).
%% an owner whose mailbox is longer than this, or would hold more bytes than this if
%% all in it were like the next message, isn't sent more for a while
-define(QUEUE_MAX, 1000).
-define(QUEUE_BYTES, 16777216).
-define(HELD_MS, 10).
%% bytes to an owner on another node before it is asked after him
-define(UNSEEN_MAX, 1048576).
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
    %% bytes that are delivered whatever the owner's mailbox holds
    free = #{1 => ?WINDOW, 2 => ?WINDOW} :: #{fd() => non_neg_integer()},
    %% delivered since an owner's mailbox on another node was seen, and the question
    unseen = 0 :: non_neg_integer(),
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

deliver(Stream, #output{sink = {owner, Owner}, queue = Queue} = Out) ->
    case queue:out(Queue) of
        {empty, _} -> Out;
        {{value, {Fd, Bytes}}, Rest} ->
            case takes(Fd, byte_size(Bytes), Owner, Out) of
                true ->
                    send(Owner, Fd, Bytes),
                    deliver(Stream, credit(Fd, Bytes, Stream, spend(Fd, byte_size(Bytes), Out#output{queue = Rest})));
                false -> wait(Owner, Out)
            end
    end.

send(Owner, Fd, Bytes) ->
    Owner ! {evum, self(), {stream(Fd), Bytes}},
    ok.

stream(1) -> stdout;
stream(2) -> stderr.

takes(Fd, Size, Owner, #output{free = Free, unseen = Unseen}) ->
    maps:get(Fd, Free) > 0 orelse
        case node(Owner) =:= node() of
            true -> keeps_up(Size, process_info(Owner, message_queue_len));
            false -> Unseen < ?UNSEEN_MAX
        end.

keeps_up(Size, {message_queue_len, Len}) -> Len < ?QUEUE_MAX andalso Len * Size < ?QUEUE_BYTES;
%% he has just ended
keeps_up(_Size, undefined) -> false.

spend(Fd, N, #output{free = Free, unseen = Unseen} = Out) ->
    Out#output{free = maps:update_with(Fd, fun(Left) -> max(0, Left - N) end, Free), unseen = Unseen + N}.

wait(Owner, #output{asked = undefined} = Out) when node(Owner) =/= node() ->
    Out#output{asked = erpc:send_request(node(Owner), erlang, process_info, [Owner, message_queue_len])};
wait(Owner, Out) when node(Owner) =/= node() -> Out;
wait(_Owner, Out) -> hold(Out).

hold(#output{held = true} = Out) -> Out;
hold(Out) ->
    _ = erlang:send_after(?HELD_MS, self(), {?MODULE, pump}),
    Out#output{held = true}.

%% @doc Takes another node's answer, if a message is one.
-spec heard(Message :: term(), evum_proc_in:stream() | undefined, output()) -> output().
heard(_Message, _Stream, #output{asked = undefined} = Out) -> Out;
heard(Message, Stream, #output{asked = Asked, queue = Queue} = Out) ->
    try erpc:check_response(Message, Asked) of
        no_response -> Out;
        {response, Len} ->
            {value, {_Fd, Bytes}} = queue:peek(Queue),
            case keeps_up(byte_size(Bytes), Len) of
                true -> deliver(Stream, Out#output{asked = undefined, unseen = 0});
                false -> hold(Out#output{asked = undefined})
            end
    catch
        %% his node is gone, or going
        _:_ -> hold(Out#output{asked = undefined})
    end.

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
flush(#output{sink = {owner, Owner}, queue = Queue}) ->
    lists:foreach(fun({Fd, Bytes}) -> send(Owner, Fd, Bytes) end, queue:to_list(Queue));
flush(#output{sink = {collect, _}}) -> ok.

%% @doc What was collected.
-spec collected(output()) -> collected().
collected(#output{parts = #{1 := Out, 2 := Err}}) ->
    #{stdout => iolist_to_binary(lists:reverse(Out)), stderr => iolist_to_binary(lists:reverse(Err))}.
