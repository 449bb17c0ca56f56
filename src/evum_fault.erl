%% SPDX-License-Identifier: Apache-2.0
%% What a bad cable does to a frame; pure
%%
%% A frame is lost, or sent once or twice; each copy may have a bit flipped, takes
%% its turn on a line of limited rate, and then its time. Frames keep their order,
%% whatever the jitter, but for those that `reorder' picks: they don't wait for the
%% delay and so overtake others; where there is no delay they are late themselves.
%%
%% Times are in microseconds, of any clock. All chance comes from one generator:
%% the same seed, frames and times have the same fate.
-module(evum_fault).

-export([defaults/0, value/2, new/2, frame/3]).
-export_type([spec/0, state/0, direction/0]).

-define(NS_PER_US, 1000).
-define(NS_PER_S, 1000000000).
-define(US_PER_MS, 1000).
-define(MS_MAX, 3600000).
-define(RATE_MAX, 1000000000000).
%% what may wait for a line: as much as it carries in 200 ms, and a few long frames
-define(LINE_NS, 200000000).
-define(LINE_MIN, 131072).
%% how late a frame is that is reordered where there is no delay
-define(LATE_US, 10000).
%% a flipped bit lies behind the addresses and the type: the frame arrives
-define(HEADER, 14).

-type direction() :: both | to | from.
-type spec() :: #{
    %% probabilities, a frame
    loss => number(), duplicate => number(), reorder => number(), corrupt => number(),
    %% ms
    delay => number(), jitter => number(),
    %% bit/s
    rate => pos_integer(),
    direction := direction(),
    seed := integer()
}.

-record(fault, {
    spec :: spec(),
    rand :: rand:state(),
    %% when the last frame that keeps its order leaves
    last :: integer() | undefined,
    %% when the line has sent all that it was given, in ns
    idle :: integer() | undefined
}).
-opaque state() :: #fault{}.

%% @doc Both directions, and a seed of its own.
-spec defaults() -> #{direction := both, seed := non_neg_integer()}.
defaults() -> #{direction => both, seed => erlang:phash2(make_ref())}.

%% @doc Checks one key of a fault.
-spec value(Key :: term(), Value :: term()) -> {ok, atom(), term()} | error.
value(Key, P) when Key =:= loss; Key =:= duplicate; Key =:= reorder; Key =:= corrupt ->
    accept(is_number(P) andalso P >= 0 andalso P =< 1, Key, P);
value(Key, Ms) when Key =:= delay; Key =:= jitter ->
    accept(is_number(Ms) andalso Ms >= 0 andalso Ms =< ?MS_MAX, Key, Ms);
value(rate, Rate) -> accept(is_integer(Rate) andalso Rate > 0 andalso Rate =< ?RATE_MAX, rate, Rate);
value(seed, Seed) -> accept(is_integer(Seed), seed, Seed);
value(direction, Direction) -> accept(lists:member(Direction, [both, to, from]), direction, Direction);
value(_Key, _Value) -> error.

accept(true, Key, Value) -> {ok, Key, Value};
accept(false, _Key, _Value) -> error.

%% @doc A fault's state where it is applied. `Place' tells the places of one fault
%% apart, which have a generator each.
-spec new(spec(), Place :: term()) -> state().
new(#{seed := Seed} = Spec, Place) ->
    #fault{spec = Spec, rand = rand:seed_s(exsss, {Seed, erlang:phash2(Place), 0})}.

%% @doc What becomes of a frame that comes at `Now': when its copies leave, or why
%% there are none (by chance, or the line's queue is full).
-spec frame(Now :: integer(), binary(), state()) -> {[{At :: integer(), binary()}] | lost | full, state()}.
frame(Now, Frame, Fault) ->
    case chance(loss, Fault) of
        {true, Fault1} -> {lost, Fault1};
        {false, Fault1} ->
            case chance(duplicate, Fault1) of
                {true, Fault2} -> copies(Now, [Frame, Frame], Fault2);
                {false, Fault2} -> copies(Now, [Frame], Fault2)
            end
    end.

copies(Now, Frames, Fault) ->
    case lists:foldl(fun(Frame, Acc) -> copy(Now, Frame, Acc) end, {[], Fault}, Frames) of
        {[], Fault1} -> {full, Fault1};
        {Copies, Fault1} -> {lists:reverse(Copies), Fault1}
    end.

copy(Now, Frame0, {Copies, Fault0}) ->
    {Frame, Fault1} = corrupt(chance(corrupt, Fault0), Frame0),
    case line(Now, byte_size(Frame), Fault1) of
        {full, Fault2} -> {Copies, Fault2};
        {Sent, Fault2} ->
            {At, Fault3} = travel(chance(reorder, Fault2), Sent),
            {[{At, Frame} | Copies], Fault3}
    end.

%% --- chance ----------------------------------------------------------------------

%% What isn't asked for takes nothing from the generator.
chance(Key, #fault{spec = Spec, rand = Rand} = Fault) ->
    case Spec of
        #{Key := P} ->
            {X, Rand1} = rand:uniform_s(Rand),
            {X < P, Fault#fault{rand = Rand1}};
        #{} -> {false, Fault}
    end.

corrupt({false, Fault}, Frame) -> {Frame, Fault};
corrupt({true, #fault{rand = Rand} = Fault}, Frame) ->
    Fixed = case byte_size(Frame) > ?HEADER of true -> ?HEADER * 8; false -> 0 end,
    {N, Rand1} = rand:uniform_s(max(1, bit_size(Frame) - Fixed), Rand),
    {flip(Fixed + N - 1, Frame), Fault#fault{rand = Rand1}}.

flip(_At, <<>>) -> <<>>;
flip(At, Frame) ->
    <<Before:At/bitstring, Bit:1, After/bitstring>> = Frame,
    <<Before/bitstring, (1 - Bit):1, After/bitstring>>.

%% --- time ------------------------------------------------------------------------

%% One frame after the other is sent: when has this one been? One frame has a place, however long it is.
line(Now, Bytes, #fault{spec = #{rate := Rate}, idle = Idle} = Fault) ->
    NowNs = Now * ?NS_PER_US,
    Start = case Idle of undefined -> NowNs; _ -> max(NowNs, Idle) end,
    Duration = duration(Bytes, Rate),
    case Start > NowNs andalso Start - NowNs + Duration > max(?LINE_NS, duration(?LINE_MIN, Rate)) of
        true -> {full, Fault};
        false ->
            End = Start + Duration,
            {ceiling(End, ?NS_PER_US), Fault#fault{idle = End}}
    end;
line(Now, _Bytes, Fault) -> {Now, Fault}.

duration(Bytes, Rate) -> Bytes * 8 * ?NS_PER_S div Rate.

ceiling(N, Unit) -> -floor_div(-N, Unit).

floor_div(N, Unit) when N >= 0 -> N div Unit;
floor_div(N, Unit) -> -((Unit - 1 - N) div Unit).

travel({true, #fault{spec = #{delay := Delay}} = Fault}, Sent) when Delay > 0 -> {Sent, Fault};
travel({true, Fault}, Sent) -> {Sent + ?LATE_US, Fault};
travel({false, #fault{spec = Spec, last = Last} = Fault}, Sent) ->
    {Jitter, Fault1} = jitter(Fault),
    Arrives = Sent + max(0, us(maps:get(delay, Spec, 0)) + Jitter),
    At = case Last of undefined -> Arrives; _ -> max(Arrives, Last) end,
    {At, Fault1#fault{last = At}}.

jitter(#fault{spec = #{jitter := Ms}, rand = Rand} = Fault) ->
    {X, Rand1} = rand:uniform_s(Rand),
    {round((2 * X - 1) * us(Ms)), Fault#fault{rand = Rand1}};
jitter(Fault) -> {0, Fault}.

us(Ms) -> round(Ms * ?US_PER_MS).
