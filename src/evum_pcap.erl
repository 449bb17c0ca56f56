%% SPDX-License-Identifier: Apache-2.0
%% Capture files (pcapng) of Ethernet frames; pure
%%
%% A file is a section, then, in any order, interfaces, each before its first frame,
%% and frames. Interfaces are numbered from 0 in the order in which they are written.
%% Times are nanoseconds since 1970.
-module(evum_pcap).

-export([section/0, interface/1, frame/6, statistics/4]).
-export_type([direction/0]).

%% seen from the interface
-type direction() :: inbound | outbound.

-define(SECTION, 16#0a0d0d0a).
-define(INTERFACE, 1).
-define(STATISTICS, 5).
-define(FRAME, 6).
-define(ETHERNET, 1).

%% @doc A file's first block.
-spec section() -> iodata().
section() ->
    %% of unknown length: it grows
    Unknown = 16#ffffffffffffffff,
    block(?SECTION, [<<16#1a2b3c4d:32/little, 1:16/little, 0:16/little, Unknown:64/little>>, options([{4, <<"evum">>}])]).

%% @doc An interface, by its name; its times are in nanoseconds.
-spec interface(Name :: binary()) -> iodata().
interface(Name) ->
    NoLimit = 0,
    block(?INTERFACE, [<<?ETHERNET:16/little, 0:16, NoLimit:32/little>>, options([{2, Name}, {9, <<9>>}])]).

%% @doc A frame, or the first bytes of one that was `Length' bytes long, and how
%% many frames of the interface were dropped before it, since the last one.
-spec frame(
    Interface :: non_neg_integer(), Ns :: non_neg_integer(), direction(), binary(), Length :: non_neg_integer(),
    Dropped :: non_neg_integer()
) -> iodata().
frame(Interface, Ns, Direction, Bytes, Length, Dropped) ->
    Options = [{2, <<(flags(Direction)):32/little>>} | [{4, <<Dropped:64/little>>} || Dropped > 0]],
    Head = <<Interface:32/little, (time(Ns))/binary, (byte_size(Bytes)):32/little, Length:32/little>>,
    block(?FRAME, [Head, padded(Bytes), options(Options)]).

%% @doc What an interface had in all, at the time.
-spec statistics(Interface :: non_neg_integer(), Ns :: non_neg_integer(), Frames :: non_neg_integer(), Dropped :: non_neg_integer()) ->
    iodata().
statistics(Interface, Ns, Frames, Dropped) ->
    Options = [{4, <<Frames:64/little>>}, {5, <<Dropped:64/little>>}],
    block(?STATISTICS, [<<Interface:32/little, (time(Ns))/binary>>, options(Options)]).

flags(inbound) -> 1;
flags(outbound) -> 2.

%% the high word first, each little endian
time(Ns) -> <<(Ns bsr 32):32/little, Ns:32/little>>.

options(Options) -> [[option(Code, Value) || {Code, Value} <- Options], <<0:32>>].

option(Code, Value) -> [<<Code:16/little, (byte_size(Value)):16/little>>, padded(Value)].

padded(Bytes) -> [Bytes, binary:part(<<0, 0, 0>>, 0, -byte_size(Bytes) band 3)].

block(Type, Body) ->
    Length = <<(iolist_size(Body) + 12):32/little>>,
    [<<Type:32/little>>, Length, Body, Length].
