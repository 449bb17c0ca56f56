%% SPDX-License-Identifier: Apache-2.0
%% The request of a control socket: any bytes are an address, an error, or too few
%%
%% EVUM_FUZZ=N in the environment: N times as many cases.
-module(prop_evum_ctl_proto).
-include_lib("proper/include/proper.hrl").

-export([prop_any_bytes_are_a_request_or_an_error/0, prop_a_cut_request_is_incomplete/0, prop_addresses_round_trip/0,
         prop_a_reply_is_an_address/0]).

-define(SIZE, 122).

cases(Property) -> proper:numtests(30000 * list_to_integer(os:getenv("EVUM_FUZZ", "1")), Property).

prop_any_bytes_are_a_request_or_an_error() ->
    cases(?FORALL(Bytes, bytes(), known(evum_ctl_proto:request(Bytes)))).

%% What is said of the beginning holds of the whole, but for `more'.
prop_a_cut_request_is_incomplete() ->
    cases(?FORALL({Bytes, At}, {bytes(), range(0, ?SIZE - 1)},
        case evum_ctl_proto:request(binary:part(Bytes, 0, min(At, byte_size(Bytes)))) of
            more -> true;
            {error, Why} -> {error, Why} =:= evum_ctl_proto:request(Bytes)
        end)).

prop_addresses_round_trip() ->
    ?FORALL(Name, ?SUCHTHAT(B, binary(), binary:match(B, <<0>>) =:= nomatch andalso byte_size(B) < 107),
        begin
            Path = <<$/, Name/binary>>,
            Request = <<16#feedface:32/native, 3:32/native, 0:32, 1:16/native, Path/binary, 0:(108 - byte_size(Path))/unit:8>>,
            equals({ok, Path}, evum_ctl_proto:request(Request))
        end).

prop_a_reply_is_an_address() ->
    ?FORALL(Path, ?SUCHTHAT(B, binary(), byte_size(B) < 108),
        begin
            Size = byte_size(Path),
            <<1:16/native, Path:Size/binary, Rest/binary>> = Reply = evum_ctl_proto:reply(Path),
            110 =:= byte_size(Reply) andalso Rest =:= <<0:(108 - Size)/unit:8>>
        end).

known({ok, <<0, Name/binary>>}) -> byte_size(Name) =:= 107;
known({ok, <<$/, _/binary>> = Path}) -> byte_size(Path) < 108 andalso binary:match(Path, <<0>>) =:= nomatch;
known(more) -> true;
known({error, bad_magic}) -> true;
known({error, bad_address}) -> true;
known({error, {bad_version, V}}) -> V =/= 3;
known({error, {bad_type, T}}) -> T band 16#ff > 1;
known(_) -> false.

bytes() -> frequency([{8, mutated()}, {1, binary()}, {1, ?LET(B, binary(), <<16#feedface:32/native, 3:32/native, B/binary>>)}]).

mutated() ->
    ?LET({Original, Changes}, {oneof(captured()), list({oneof([set, cut, double]), range(0, 200), byte()})},
        lists:foldl(fun change/2, Original, Changes)).

change({_, _, _}, <<>>) -> <<>>;
change({How, At, Byte}, Bytes) ->
    Where = At rem byte_size(Bytes),
    <<Before:Where/binary, Old, After/binary>> = Bytes,
    case How of
        set -> <<Before/binary, Byte, After/binary>>;
        cut -> Before;
        double -> <<Before/binary, Old, Old, After/binary>>
    end.

%% What Linux 6.1 sends, with bytes of its memory behind the name, and vde_plug 4.0.1: to any
%% port, to port 5 and to port 0.
captured() ->
    [
        uml(<<16#0000000030270000081306:88>>),
        vde(0, "/tmp/lab/.10288-00000"), vde(16#500, "/tmp/lab/.10289-00000"), vde(1, "/tmp/lab/.10290-00000")
    ].

uml(Name) ->
    <<16#cefaedfe:32, 16#03000000:32, 0:32, 16#0100:16, Name/binary, 0:(65 * 8), 16#1c4d8f:24, 0:(31 * 8)>>.

vde(Type, Path) ->
    Name = list_to_binary(Path),
    <<16#cefaedfe:32, 16#03000000:32, Type:32/little, 16#0100:16, Name/binary, 0:(108 - byte_size(Name))/unit:8,
      "vdeplug: user=root pid=10288">>.
