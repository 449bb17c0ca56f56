%% SPDX-License-Identifier: Apache-2.0
%% What an ELF program or library is for, and which libraries it needs; pure
-module(evum_elf).

-export([read/1, machine/1, machine_text/1]).
-export_type([elf/0, machine/0]).

%% bits, order of the bytes, and the number of the processor
-type machine() :: {32 | 64, little | big, 0..65535}.
-type elf() :: #{
    machine := machine(),
    needed := [binary()],
    %% DT_RPATH and DT_RUNPATH, a directory each
    rpath := [binary()],
    runpath := [binary()],
    %% the program that loads it
    interp => binary()
}.

-define(PT_LOAD, 1).
-define(PT_DYNAMIC, 2).
-define(PT_INTERP, 3).
-define(DT_NULL, 0).
-define(DT_NEEDED, 1).
-define(DT_STRTAB, 5).
-define(DT_RPATH, 15).
-define(DT_RUNPATH, 29).

%% @doc Reads a whole file. `not_elf' is any other file, `bad_elf' one that is cut or
%% contradicts itself.
-spec read(binary()) -> {ok, elf()} | {error, not_elf | bad_elf}.
read(<<16#7f, "ELF", Class, Order, _/binary>> = Bytes) when Class =:= 1 orelse Class =:= 2, Order =:= 1 orelse Order =:= 2 ->
    try
        {ok, parts(Bytes, layout(Class, Order))}
    catch
        error:_ -> {error, bad_elf}
    end;
read(<<16#7f, "ELF", _/binary>>) -> {error, bad_elf};
read(_) -> {error, not_elf}.

%% @doc Only what it runs on: its first 20 bytes will do.
-spec machine(binary()) -> {ok, machine()} | error.
machine(<<16#7f, "ELF", Class, 1, _:12/binary, Machine:16/little, _/binary>>) when Class =:= 1; Class =:= 2 -> {ok, {32 * Class, little, Machine}};
machine(<<16#7f, "ELF", Class, 2, _:12/binary, Machine:16/big, _/binary>>) when Class =:= 1; Class =:= 2 -> {ok, {32 * Class, big, Machine}};
machine(_) -> error.

%% @doc As a person calls it.
-spec machine_text(machine()) -> string().
machine_text({64, little, 62}) -> "x86-64";
machine_text({32, little, 3}) -> "x86 (32 bits)";
machine_text({32, little, 62}) -> "x32";
machine_text({64, little, 183}) -> "arm64";
machine_text({32, little, 40}) -> "arm (32 bits)";
machine_text({64, little, 243}) -> "riscv64";
machine_text({64, little, 21}) -> "ppc64le";
machine_text({64, big, 22}) -> "s390x";
machine_text({Bits, Order, Number}) -> lists:flatten(io_lib:format("machine ~b (~b bits, ~ts endian)", [Number, Bits, Order])).

%% Bits of an address, and how to read one.
layout(Class, 1) -> {32 * Class, little};
layout(Class, 2) -> {32 * Class, big}.

parts(Bytes, Layout) ->
    {ok, Machine} = machine(Bytes),
    Segments = segments(Bytes, Layout),
    Dynamic = [entries(binary:part(Bytes, Offset, Size), Layout) || {?PT_DYNAMIC, Offset, _, Size} <- Segments],
    Entries = lists:append(Dynamic),
    String = strings(Bytes, Entries, Segments),
    maps:from_list(
        [{machine, Machine}, {needed, [String(V) || {?DT_NEEDED, V} <- Entries]}, {rpath, paths(?DT_RPATH, Entries, String)},
         {runpath, paths(?DT_RUNPATH, Entries, String)}]
        ++ [{interp, text(binary:part(Bytes, Offset, Size))} || {?PT_INTERP, Offset, _, Size} <- Segments]).

%% {Type, Offset, Address, Bytes in the file}
segments(Bytes, {Bits, _} = Layout) ->
    {TableAt, SizeAt} = case Bits of 32 -> {28, 42}; 64 -> {32, 54} end,
    Table = word(Bytes, TableAt, Layout),
    Size = half(Bytes, SizeAt, Layout),
    Count = half(Bytes, SizeAt + 2, Layout),
    [segment(binary:part(Bytes, Table + N * Size, Size), Layout) || N <- lists:seq(0, Count - 1)].

segment(Header, {32, _} = Layout) ->
    {word(Header, 0, Layout), word(Header, 4, Layout), word(Header, 8, Layout), word(Header, 16, Layout)};
segment(Header, {64, Order} = Layout) ->
    {word(Header, 0, {32, Order}), word(Header, 8, Layout), word(Header, 16, Layout), word(Header, 32, Layout)}.

entries(Bytes, {Bits, _} = Layout) ->
    Step = Bits div 4,
    All = [{word(Bytes, At, Layout), word(Bytes, At + Step div 2, Layout)} || At <- lists:seq(0, byte_size(Bytes) - Step, Step)],
    lists:takewhile(fun({Tag, _}) -> Tag =/= ?DT_NULL end, All).

%% Where the loader looks is an address: the file has it where a segment is loaded from.
strings(Bytes, Entries, Segments) ->
    fun(Offset) ->
        {?DT_STRTAB, Address} = lists:keyfind(?DT_STRTAB, 1, Entries),
        [Start | _] = [At + Address - Base || {?PT_LOAD, At, Base, Size} <- Segments, Address >= Base, Address < Base + Size],
        text(binary:part(Bytes, Start + Offset, byte_size(Bytes) - Start - Offset))
    end.

paths(Tag, Entries, String) ->
    [Dir || {T, Value} <- Entries, T =:= Tag, Dir <- binary:split(String(Value), <<":">>, [global]), Dir =/= <<>>].

text(Bytes) ->
    [Text, _] = binary:split(Bytes, <<0>>),
    Text.

word(Bytes, At, {32, little}) -> <<_:At/binary, N:32/little, _/binary>> = Bytes, N;
word(Bytes, At, {32, big}) -> <<_:At/binary, N:32/big, _/binary>> = Bytes, N;
word(Bytes, At, {64, little}) -> <<_:At/binary, N:64/little, _/binary>> = Bytes, N;
word(Bytes, At, {64, big}) -> <<_:At/binary, N:64/big, _/binary>> = Bytes, N.

half(Bytes, At, {_, little}) -> <<_:At/binary, N:16/little, _/binary>> = Bytes, N;
half(Bytes, At, {_, big}) -> <<_:At/binary, N:16/big, _/binary>> = Bytes, N.
