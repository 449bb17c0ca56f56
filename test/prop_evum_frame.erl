%% SPDX-License-Identifier: Apache-2.0
%% Batches: what goes in comes out, in order; garbage is an error, not a crash
-module(prop_evum_frame).
-include_lib("proper/include/proper.hrl").

-export([prop_batches_hold_every_frame_in_order/0, prop_a_batch_has_one_header_and_a_bounded_size/0,
         prop_garbage_is_an_error_or_frames/0, prop_a_mac_is_read_as_it_is_shown/0]).

prop_batches_hold_every_frame_in_order() ->
    ?FORALL(Frames, list(frame()),
        equals(Frames, lists:append([evum_frame:frames(Body) || {_, Body} <- evum_frame:batches(Frames)]))).

prop_a_batch_has_one_header_and_a_bounded_size() ->
    ?FORALL(Frames, list(frame()),
        lists:all(
            fun({Count, Body}) ->
                Parts = evum_frame:frames(Body),
                length(Parts) =:= Count andalso byte_size(Body) =< 200000 andalso
                    evum_frame:max_length(Body) =:= lists:max([byte_size(F) || F <- Parts]) andalso
                    length(lists:usort([binary:part(F, 0, 14) || F <- Parts])) =:= 1
            end,
            evum_frame:batches(Frames))).

prop_garbage_is_an_error_or_frames() ->
    ?FORALL(Bytes, binary(),
        begin
            true = is_integer(evum_frame:max_length(Bytes)),
            case evum_frame:frames(Bytes) of
                {error, truncated} -> true;
                Frames -> Bytes =:= << <<(byte_size(F)):16, F/binary>> || F <- Frames >>
            end
        end).

prop_a_mac_is_read_as_it_is_shown() ->
    ?FORALL(Mac, range(0, 16#ffffffffffff),
        equals([{ok, Mac}, {ok, Mac}, {ok, Mac}],
               [evum_frame:mac(evum_frame:mac_text(Mac)), evum_frame:mac(evum_frame:mac_bytes(Mac)),
                evum_frame:mac(binary_to_list(evum_frame:mac_text(Mac)))])).

%% Few headers, so that neighbours share one; sizes up to the longest frame.
frame() ->
    ?LET({Dst, Type, Size}, {oneof([1, 2]), oneof([16#800, 16#88b5]), frequency([{5, range(0, 100)}, {1, range(0, 65521)}])},
        <<Dst:48, 7:48, Type:16, 0:Size/unit:8>>).
