%% SPDX-License-Identifier: Apache-2.0
%% Frames and batches of frames; pure
%%
%% A batch is frames one after the other, `(Len:16, Frame:Len/binary)*', as they
%% travel between port programs. Bytes that lie are errors, never exceptions.
-module(evum_frame).

-export([frames/1, batches/1, max_length/1, ethernet/1, is_group/1]).
-export([mac/1, mac_bytes/1, mac_text/1]).
-export_type([frame/0, batch/0, mac/0]).

-type frame() :: binary().
-type batch() :: {Count :: pos_integer(), Body :: binary()}.
-type mac() :: 0..16#ffffffffffff.

%% with the header of a message to the port well below its limit
-define(BATCH_MAX, 200000).
-define(HEADER, 14).
-define(FRAME_MAX, 65535).

%% @doc A batch's frames, each a part of its binary. `{error, truncated}': its
%% lengths don't add up.
-spec frames(Body :: binary()) -> [frame()] | {error, truncated}.
frames(Body) -> frames(Body, []).

frames(<<Len:16, Frame:Len/binary, Rest/binary>>, Acc) -> frames(Rest, [Frame | Acc]);
frames(<<>>, Acc) -> lists:reverse(Acc);
frames(_, _Acc) -> {error, truncated}.

%% @doc The length of a batch's longest frame, in bytes.
-spec max_length(Body :: binary()) -> non_neg_integer().
max_length(Body) -> max_length(Body, 0).

max_length(<<Len:16, _:Len/binary, Rest/binary>>, Max) -> max_length(Rest, max(Len, Max));
max_length(_, Max) -> Max.

%% @doc Batches of frames, in their order. All frames of a batch begin with the
%% same header, and one batch has 200000 bytes at most. What isn't a frame (under
%% 14 or over 65535 bytes) is left out.
-spec batches([frame()]) -> [batch()].
batches(Frames) -> batches([F || F <- Frames, byte_size(F) >= ?HEADER, byte_size(F) =< ?FRAME_MAX], []).

batches([], Batches) -> lists:reverse(Batches);
batches([Frame | Rest], Batches) ->
    Header = binary:part(Frame, 0, ?HEADER),
    {Count, Same, Others} = same(Header, Rest, 1, byte_size(Frame) + 2, [entry(Frame)]),
    batches(Others, [{Count, iolist_to_binary(lists:reverse(Same))} | Batches]).

same(Header, [<<Header:?HEADER/binary, _/binary>> = Frame | Rest], Count, Size, Acc) when
    Size + byte_size(Frame) + 2 =< ?BATCH_MAX
->
    same(Header, Rest, Count + 1, Size + byte_size(Frame) + 2, [entry(Frame) | Acc]);
same(_Header, Rest, Count, _Size, Acc) ->
    {Count, Acc, Rest}.

entry(Frame) -> [<<(byte_size(Frame)):16>>, Frame].

%% @doc Takes an Ethernet frame apart.
-spec ethernet(frame()) ->
    {ok, Dst :: mac(), Src :: mac(), EtherType :: 0..65535, Payload :: binary()} | {error, short}.
ethernet(<<Dst:48, Src:48, Type:16, Payload/binary>>) -> {ok, Dst, Src, Type, Payload};
ethernet(_) -> {error, short}.

%% @doc Is it the address of a group (broadcast, multicast)?
-spec is_group(mac()) -> boolean().
is_group(Mac) -> Mac band 16#010000000000 =/= 0.

%% @doc An address given as a number, six bytes, or text such as "02:65:76:00:00:01".
-spec mac(term()) -> {ok, mac()} | error.
mac(Mac) when is_integer(Mac), Mac >= 0, Mac =< 16#ffffffffffff -> {ok, Mac};
mac(<<Mac:48>>) -> {ok, Mac};
mac(Text) when is_binary(Text), byte_size(Text) =:= 17 -> mac(binary_to_list(Text));
mac(Text) when is_list(Text) ->
    try
        Parts = [list_to_integer(Part, 16) || [_, _] = Part <- string:split(Text, ":", all)],
        17 = length(Text),
        6 = length(Parts),
        <<Mac:48>> = list_to_binary(Parts),
        {ok, Mac}
    catch
        error:_ -> error
    end;
mac(_) -> error.

%% @doc The six bytes of an address.
-spec mac_bytes(mac()) -> <<_:48>>.
mac_bytes(Mac) -> <<Mac:48>>.

%% @doc An address in its usual text.
-spec mac_text(mac()) -> binary().
mac_text(Mac) ->
    iolist_to_binary(lists:join($:, [io_lib:format("~2.16.0b", [B]) || <<B>> <= <<Mac:48>>])).
