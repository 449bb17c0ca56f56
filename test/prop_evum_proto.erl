%% SPDX-License-Identifier: Apache-2.0
%% The codec: what was encoded is decoded, and garbage is an error, not a crash
-module(prop_evum_proto).
-include_lib("proper/include/proper.hrl").

-export([prop_calls_round_trip/0, prop_bulk_round_trips/0, prop_control_round_trips/0,
         prop_garbage_is_an_error/0, prop_a_damaged_frame_is_an_error_or_a_message/0]).

prop_calls_round_trip() ->
    ?FORALL({Seq, Op, Args}, {non_neg_integer(), oneof([start, stop, run, mconsole, probe]), list(argument())},
        begin
            <<0, Term/binary>> = iolist_to_binary(evum_proto:call(Seq, Op, Args)),
            equals({call, Seq, Op, Args}, binary_to_term(Term))
        end).

prop_bulk_round_trips() ->
    ?FORALL({Id, Fd, N, Bytes}, {range(0, 16#ffffffff), range(1, 2), range(0, 16#ffffffff), binary()},
        conjunction([
            {console, equals({console, Bytes}, decode(evum_proto:console(Bytes)))},
            {stream, equals({stream, Id, Fd, Bytes}, decode(evum_proto:stream(Id, Fd, Bytes)))},
            {credit, equals({credit, Id, Fd, N}, decode(evum_proto:credit(Id, Fd, N)))},
            {frames, equals({frames, Fd, N band 65535, Bytes}, decode(evum_proto:frames(Fd, N band 65535, Bytes)))}
        ])).

prop_control_round_trips() ->
    ?FORALL(Message, message(), equals(Message, evum_proto:decode(control(Message)))).

prop_garbage_is_an_error() ->
    ?FORALL(Bytes, oneof([binary(), ?LET(B, binary(), <<0, 131, B/binary>>), ?LET(T, any(), control(T))]),
        known(evum_proto:decode(Bytes))).

prop_a_damaged_frame_is_an_error_or_a_message() ->
    ?FORALL({Message, At, Byte}, {message(), non_neg_integer(), byte()},
        begin
            Frame = control(Message),
            Where = At rem byte_size(Frame),
            <<Before:Where/binary, _, After/binary>> = Frame,
            known(evum_proto:decode(<<Before/binary, Byte, After/binary>>))
                andalso known(evum_proto:decode(Before))
        end).

%% What decode/1 promises.
known({reply, Seq, Outcome}) when is_integer(Seq) ->
    case Outcome of
        ok -> true;
        {ok, _} -> true;
        {error, _} -> true;
        _ -> false
    end;
known({event, Name, Props}) -> is_atom(Name) andalso is_map(Props);
known({console, Bytes}) -> is_binary(Bytes);
known({frames, Nic, Count, Body}) -> is_integer(Nic) andalso is_integer(Count) andalso is_binary(Body);
known({credit, Id, Fd, N}) -> is_integer(Id) andalso is_integer(Fd) andalso is_integer(N);
known({stream, Id, Fd, Bytes}) -> is_integer(Id) andalso (Fd =:= 1 orelse Fd =:= 2) andalso is_binary(Bytes);
known({error, {bad_frame, _}}) -> true;
known(_) -> false.

decode(Frame) -> evum_proto:decode(iolist_to_binary(Frame)).

control(Term) -> <<0, (term_to_binary(Term))/binary>>.

message() ->
    oneof([
        {reply, non_neg_integer(), oneof([ok, {ok, term()}, {error, term()}])},
        {event, oneof([hello, stage, up, panic, down]), ?LET(L, list({oneof([how, value, log]), term()}), maps:from_list(L))}
    ]).

%% Small integers in a list are what the external format would make a string of.
argument() -> oneof([binary(), integer(), list(byte()), oneof([ok, none])]).
