%% SPDX-License-Identifier: Apache-2.0
%% One life of a port program: calls and replies, frames out, typed bytes
%%
%% A frame that the port has no room for waits here, in order, and is tried
%% again when {evum_chan, flush} comes back to the owner. What waits is bounded:
%% bytes are sent within windows, calls by who waits for their answers.
-module(evum_chan).

-export([open/1, port/1, os_pid/1, close/1, call/4, reply/2, send/2, flush/1, tags/1]).
-export([type/3, typed/2, untype/2]).
-export_type([chan/0]).

-define(RETRY_MS, 5).

-record(chan, {
    port :: port(),
    os_pid :: pos_integer(),
    seq = 0 :: non_neg_integer(),
    calls = #{} :: #{non_neg_integer() => Tag :: term()},
    waiting = queue:new() :: queue:queue(iodata()),
    %% console input: bytes that may be sent, and who waits to have his sent
    room :: non_neg_integer(),
    typing = [] :: [{Ref :: term(), binary(), Sent :: non_neg_integer()}]
}).
-opaque chan() :: #chan{}.

%% @doc Starts a port program.
-spec open(evum_port:program()) -> {ok, chan()} | {error, term()}.
open(Program) ->
    case evum_port:open(Program) of
        {ok, Port, OsPid} ->
            {ok, #chan{port = Port, os_pid = OsPid, room = evum_proto:console_in_window()}};
        {error, _} = Error ->
            Error
    end.

-spec port(chan()) -> port().
port(#chan{port = Port}) -> Port.

-spec os_pid(chan()) -> pos_integer().
os_pid(#chan{os_pid = OsPid}) -> OsPid.

%% @doc Ends the port program the hard way; returns once it is gone.
-spec close(chan()) -> ok.
close(#chan{port = Port, os_pid = OsPid}) -> evum_port:close(Port, OsPid).

%% @doc Makes a call; reply/2 gives `Tag' back.
-spec call(atom(), [term()], Tag :: term(), chan()) -> chan().
call(Op, Args, Tag, #chan{seq = Seq, calls = Calls} = Chan) ->
    send(evum_proto:call(Seq, Op, Args), Chan#chan{seq = Seq + 1, calls = Calls#{Seq => Tag}}).

%% @doc Whose reply is it?
-spec reply(non_neg_integer(), chan()) -> {Tag :: term(), chan()} | unknown.
reply(Seq, #chan{calls = Calls} = Chan) ->
    case maps:take(Seq, Calls) of
        {Tag, Rest} -> {Tag, Chan#chan{calls = Rest}};
        error -> unknown
    end.

%% @doc The calls that aren't answered, the oldest first.
-spec tags(chan()) -> [Tag :: term()].
tags(#chan{calls = Calls}) -> [Tag || {_, Tag} <- lists:sort(maps:to_list(Calls))].

%% @doc Sends a frame, now or once the port has room.
-spec send(iodata(), chan()) -> chan().
send(Frame, #chan{waiting = Waiting, port = Port} = Chan) ->
    case queue:is_empty(Waiting) of
        true -> sent(evum_port:command(Port, Frame), Frame, Chan);
        false -> Chan#chan{waiting = queue:in(Frame, Waiting)}
    end.

sent(busy, Frame, #chan{waiting = Waiting} = Chan) ->
    _ = erlang:send_after(?RETRY_MS, self(), {?MODULE, flush}),
    Chan#chan{waiting = queue:in_r(Frame, Waiting)};
sent(_OkOrClosed, _Frame, Chan) ->
    Chan.

%% @doc Tries the waiting frames again.
-spec flush(chan()) -> chan().
flush(#chan{waiting = Waiting, port = Port} = Chan) ->
    case queue:out(Waiting) of
        {empty, _} -> Chan;
        {{value, Frame}, Rest} ->
            case evum_port:command(Port, Frame) of
                busy -> sent(busy, Frame, Chan#chan{waiting = Rest});
                _ -> flush(Chan#chan{waiting = Rest})
            end
    end.

%% @doc Types bytes on the console, in order and within the port's window.
%% Returns whose bytes are all handed over now.
-spec type(Ref :: term(), binary(), chan()) -> {Done :: [term()], chan()}.
type(Ref, Bytes, #chan{typing = Typing} = Chan) ->
    pump(Chan#chan{typing = Typing ++ [{Ref, Bytes, 0}]}, []).

%% @doc The guest took `N' bytes.
-spec typed(non_neg_integer(), chan()) -> {Done :: [term()], chan()}.
typed(N, #chan{room = Room} = Chan) -> pump(Chan#chan{room = Room + N}, []).

%% @doc Forgets bytes that still wait; how many of them were handed over.
-spec untype(Ref :: term(), chan()) -> {Sent :: non_neg_integer(), chan()}.
untype(Ref, #chan{typing = Typing} = Chan) ->
    case lists:keytake(Ref, 1, Typing) of
        {value, {_, _, Sent}, Rest} -> {Sent, Chan#chan{typing = Rest}};
        false -> {0, Chan}
    end.

pump(#chan{typing = [{Ref, <<>>, _} | Rest]} = Chan, Done) ->
    pump(Chan#chan{typing = Rest}, [Ref | Done]);
pump(#chan{typing = [{Ref, Bytes, Sent} | Rest], room = Room} = Chan, Done) when Room > 0 ->
    N = lists:min([Room, byte_size(Bytes), evum_proto:bulk_max()]),
    <<Now:N/binary, Later/binary>> = Bytes,
    Chan1 = send(evum_proto:console(Now), Chan#chan{room = Room - N}),
    pump(Chan1#chan{typing = [{Ref, Later, Sent + N} | Rest]}, Done);
pump(Chan, Done) ->
    {lists:reverse(Done), Chan}.
