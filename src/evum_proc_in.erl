%% SPDX-License-Identifier: Apache-2.0
%% What is written to a program's standard input, and who waits for it to be taken
%%
%% Bytes go to the port within the window that the guest grants. A writer that
%% doesn't wait has what fits taken and is told how much. Those that wait are
%% served in turn, so that their bytes don't mix, and each is answered once: when
%% all of his was taken, at his time-out, or when the input is closed. What was
%% taken of a writer's bytes is under way to the program; the rest never was.
%%
%% The process that owns this is sent `{evum_proc_in, late, Ref}', for late/2, and
%% `{evum_proc_in, retry}', for pump/2. A writer's bytes are his own memory:
%% nothing is copied.
-module(evum_proc_in).

-export([new/0, new/1, write/5, late/2, grant/2, pump/2]).
-export_type([input/0, stream/0]).

%% how soon a port that had no room is tried again
-define(RETRY_MS, 5).

-type stream() :: {port(), Id :: pos_integer()}.

-record(writer, {
    %% who is answered; `none': nobody waits
    ref :: reference() | none,
    left :: binary() | eof,
    taken = 0 :: non_neg_integer(),
    timer :: reference() | undefined
}).

-record(input, {
    room :: non_neg_integer(),
    writers = queue:new() :: queue:queue(#writer{}),
    closed = false :: boolean(),
    %% somebody was told `busy' and is to hear when there is room
    starving = false :: boolean()
}).
-opaque input() :: #input{}.

%% @doc The input of a program that somebody writes to.
-spec new() -> input().
new() -> #input{room = evum_proto:stdin_window()}.

%% @doc The input of a program that is given these bytes and then end of file.
-spec new(binary()) -> input().
new(Bytes) ->
    Writers = [#writer{ref = none, left = Left} || Left <- [Bytes, eof], Left =/= <<>>],
    (new())#input{writers = queue:from_list(Writers)}.

%% @doc Writes; the alias `Ref' is sent `{Ref, Result}', at once or, with a `Wait' in
%% ms, when all was taken or the time is up.
-spec write(reference(), binary() | eof, now | non_neg_integer(), stream() | undefined, input()) -> input().
write(Ref, _Data, _Wait, _Stream, #input{closed = true} = In) -> answer(Ref, {error, closed}, In);
write(Ref, Data, now, Stream, #input{writers = Writers} = In) ->
    case queue:is_empty(Writers) andalso Stream =/= undefined andalso take(Data, 0, Stream, In) of
        {<<>>, _Taken, In1} -> answer(Ref, ok, In1);
        {_Left, Taken, In1} -> answer(Ref, {error, {busy, Taken}}, In1#input{starving = true});
        false -> answer(Ref, {error, {busy, 0}}, In#input{starving = true})
    end;
write(Ref, Data, Ms, _Stream, #input{writers = Writers} = In) ->
    %% tried at once, and before the time can be up
    self() ! {?MODULE, retry},
    Timer = erlang:send_after(Ms, self(), {?MODULE, late, Ref}),
    In#input{writers = queue:in(#writer{ref = Ref, left = Data, timer = Timer}, Writers)}.

%% @doc A waiting writer's time is up.
-spec late(reference(), input()) -> input().
late(Ref, #input{writers = Writers} = In) ->
    case lists:keytake(Ref, #writer.ref, queue:to_list(Writers)) of
        {value, #writer{taken = Taken}, Rest} ->
            answer(Ref, {error, {timeout, Taken}}, In#input{writers = queue:from_list(Rest)});
        false -> In
    end.

%% @doc The guest takes `N' bytes more.
-spec grant(non_neg_integer(), input()) -> input().
grant(N, #input{room = Room} = In) -> In#input{room = Room + N}.

%% @doc Hands over what there is room for. `true': who was told `busy' is to be
%% told, once, that he may write again.
-spec pump(stream() | undefined, input()) -> {boolean(), input()}.
pump(undefined, In) -> {false, In};
pump(Stream, #input{writers = Writers} = In) ->
    case queue:out(Writers) of
        {empty, _} -> ready(In);
        {{value, Writer}, Rest} -> pump(Writer, Rest, Stream, In)
    end.

pump(#writer{ref = Ref} = Writer, Rest, Stream, #input{closed = true} = In) ->
    stop_timer(Writer),
    pump(Stream, answer(Ref, {error, closed}, In#input{writers = Rest}));
pump(#writer{ref = Ref, left = Left, taken = Taken} = Writer, Rest, Stream, In) ->
    case take(Left, Taken, Stream, In) of
        {<<>>, _, In1} ->
            stop_timer(Writer),
            pump(Stream, answer(Ref, ok, In1#input{writers = Rest}));
        {Left1, Taken1, In1} ->
            {false, In1#input{writers = queue:in_r(Writer#writer{left = Left1, taken = Taken1}, Rest)}}
    end.

ready(#input{starving = true, room = Room, closed = false} = In) when Room > 0 -> {true, In#input{starving = false}};
ready(In) -> {false, In}.

%% What is left, and how many bytes were taken in all; an end of file leaves nothing.
take(eof, Taken, {Port, Id}, In) ->
    case evum_port:command(Port, evum_proto:stream(Id, 0, <<>>)) of
        busy -> {eof, Taken, retry(In)};
        _ -> {<<>>, Taken, In#input{closed = true}}
    end;
take(<<>>, Taken, _Stream, In) -> {<<>>, Taken, In};
take(Bytes, Taken, _Stream, #input{room = 0} = In) -> {Bytes, Taken, In};
take(Bytes, Taken, {Port, Id} = Stream, #input{room = Room} = In) ->
    N = lists:min([Room, byte_size(Bytes), evum_proto:bulk_max()]),
    <<Now:N/binary, Rest/binary>> = Bytes,
    case evum_port:command(Port, evum_proto:stream(Id, 0, Now)) of
        busy -> {Bytes, Taken, retry(In)};
        _ -> take(Rest, Taken + N, Stream, In#input{room = Room - N})
    end.

%% The port is busy, not the program: try again soon.
retry(In) ->
    _ = erlang:send_after(?RETRY_MS, self(), {?MODULE, retry}),
    In.

stop_timer(#writer{timer = undefined}) -> ok;
stop_timer(#writer{timer = Timer}) ->
    _ = erlang:cancel_timer(Timer),
    ok.

answer(none, _Result, In) -> In;
answer(Ref, Result, In) ->
    Ref ! {Ref, Result},
    In.
