%% SPDX-License-Identifier: Apache-2.0
%% A record of a state is read as it was written; any bytes are one, or refused
-module(prop_evm_state).
-include_lib("proper/include/proper.hrl").

-export([prop_a_record_is_read_as_it_was_written/0, prop_any_bytes_are_a_record_or_refused/0, prop_a_chain_ends/0]).

prop_a_record_is_read_as_it_was_written() ->
    ?FORALL(State, state(), evm_state:parse(maps:get(name, State), iolist_to_binary(evm_state:format(State))) =:= {ok, State}).

%% A good one with a byte changed or cut, too.
prop_any_bytes_are_a_record_or_refused() ->
    ?FORALL(Bytes, oneof([binary(), changed()]),
        case evm_state:parse(a, Bytes) of
            {ok, #{name := a} = State} -> evm_state:parse(a, iolist_to_binary(evm_state:format(State))) =:= {ok, State};
            {error, bad_record} -> true
        end).

%% Whatever the parents are, by hand.
prop_a_chain_ends() ->
    ?FORALL(Parents, list({name(), oneof([none, name()])}),
        begin
            States = maps:from_list([{Name, #{name => Name, parent => Parent}} || {Name, Parent} <- Parents]),
            lists:all(fun({Name, _}) ->
                case evm_state:chain(Name, States) of
                    {ok, [#{parent := none} | _] = Chain} -> length(Chain) =< evm_state:depth_max();
                    {error, {unknown_state, Missing}} -> not is_map_key(Missing, States);
                    {error, {too_deep, Name, _}} -> true
                end
            end, Parents)
        end).

changed() ->
    ?LET(State, state(), begin
        Good = iolist_to_binary(evm_state:format(State)),
        ?LET({At, Byte}, {range(0, byte_size(Good) - 1), byte()}, begin
            <<Before:At/binary, _, After/binary>> = Good,
            oneof([Before, <<Before/binary, Byte, After/binary>>])
        end)
    end).

state() ->
    ?LET({Name, Parent, Kernel}, {name(), oneof([none, parent]), oneof([[], [{kernel, "/boot/linux"}]])},
        ?LET(Map, {nat(), nat(), binary(64), nat(), pos_integer(), list(binary()), file()}, begin
            {Size, Bytes, Digest, Created, Mem, Args, Base} = Map,
            maps:merge(maps:from_list(Kernel), #{
                name => Name, parent => Parent, dist => debian, base => Base, size => Size, bytes => Bytes,
                digest => Digest, created => Created, mem => Mem, args => Args
            })
        end)).

name() -> oneof([a, b, c, 'A-1', 'x.y@z', '0']).

file() -> ?LET(Name, non_empty(list(range($!, 16#24f))), "/" ++ Name).
