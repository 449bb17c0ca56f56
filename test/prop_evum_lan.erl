%% SPDX-License-Identifier: Apache-2.0
%% A network's tables against a model of a learning switch, and its addresses
-module(prop_evum_lan).
-include_lib("proper/include/proper.hrl").
-include("../src/evum_lan.hrl").

-export([prop_frames_go_where_a_learning_switch_sends_them/0, prop_garbage_is_a_counted_drop/0,
         prop_a_free_address_is_nobody_s/0, prop_a_subnet_is_read_as_it_is_shown/0]).

-define(PORTS, [0, 2, 3, 4]).
%% 10 and 11 are assigned, to ports 0 and 2
-define(ASSIGNED, #{10 => 0, 11 => 2}).

prop_frames_go_where_a_learning_switch_sends_them() ->
    ?FORALL(Frames, list({oneof(?PORTS), address(), oneof([group() | [address()]])}),
        begin
            Lan = lan(),
            {_, Expected} = lists:foldl(fun model/2, {?ASSIGNED, []}, Frames),
            Seen = [sent(Lan, F) || F <- Frames],
            gone(Lan),
            equals(lists:reverse(Expected), Seen)
        end).

%% To which ports a frame goes, and what is known then.
model({No, Src, Dst}, {Known, Sent}) ->
    case maps:get(Src, ?ASSIGNED, No) of
        No ->
            Now = Known#{Src => No},
            To = case Now of
                #{Dst := Port} -> [Port];
                #{} -> ?PORTS
            end,
            {Now, [To -- [No] | Sent]};
        _Other -> {Known, [[] | Sent]}
    end.

%% Whose counter went up; each got the frame.
sent(Lan, {No, Src, Dst}) ->
    Before = counts(Lan),
    ok = evum_lan:input(Lan, No, 1, <<14:16, Dst:48, Src:48, 16#88b5:16>>),
    To = [Port || {{Port, Old}, {Port, New}} <- lists:zip(Before, counts(Lan)), New =:= Old + 1],
    true = length(To) =:= out(),
    To.

counts(#lan{ports = Ports}) ->
    [{No, maps:get(tx_frames, evum_lan:counts(Counters))} || #port{no = No, counters = Counters} <- lists:sort(ets:tab2list(Ports))].

out() -> receive {evum_lan, output, _From, _Count, _Body} -> 1 + out() after 0 -> 0 end.

lan() ->
    Ports = ets:new(ports, [public, {keypos, #port.no}]),
    Fdb = ets:new(fdb, [public]),
    _ = [ets:insert(Ports, #port{no = No, kind = machine, out = {inbox, evum_inbox:new(self(), 1 bsl 20)}, max_frame = 1518,
                                 counters = evum_lan:counters(), label = No, owner = self()}) || No <- ?PORTS],
    _ = [ets:insert(Fdb, {Mac, No, static, 0}) || {Mac, No} <- maps:to_list(?ASSIGNED)],
    #lan{switch = self(), name = prop, ports = Ports, fdb = Fdb, flows = evum_flow:new()}.

gone(#lan{ports = Ports, fdb = Fdb}) -> ets:delete(Ports) andalso ets:delete(Fdb).

prop_garbage_is_a_counted_drop() ->
    ?FORALL({Count, Body}, {range(1, 65535), ?SUCHTHAT(B, binary(), byte_size(B) < 16)},
        begin
            Lan = lan(),
            ok = evum_lan:input(Lan, 2, Count, Body),
            [#port{counters = Counters}] = ets:lookup(Lan#lan.ports, 2),
            #{dropped := Dropped} = evum_lan:counts(Counters),
            gone(Lan),
            equals({Count, 0}, {Dropped, out()})
        end).

prop_a_free_address_is_nobody_s() ->
    ?FORALL({Prefix, Taken}, {range(24, 30), list(range(0, 255))},
        begin
            {ok, Subnet} = evum_subnet:parse("10.1.2.0/" ++ integer_to_list(Prefix)),
            InUse = [{10, 1, 2, N} || N <- Taken],
            Last = (1 bsl (32 - Prefix)) - 2,
            Free = [N || N <- lists:seq(2, Last), not lists:member(N, Taken)],
            Expected = case Free of [N | _] -> {ok, {10, 1, 2, N}}; [] -> full end,
            equals(Expected, evum_subnet:free(InUse, Subnet))
        end).

prop_a_subnet_is_read_as_it_is_shown() ->
    ?FORALL({Number, Prefix}, {range(0, 16#ffffffff), range(8, 30)},
        begin
            <<A, B, C, D>> = <<(Number band (16#ffffffff bsl (32 - Prefix))):32>>,
            Text = lists:flatten(io_lib:format("~b.~b.~b.~b/~b", [A, B, C, D, Prefix])),
            {ok, Subnet} = evum_subnet:parse(Text),
            Ends = [evum_subnet:network(Subnet), evum_subnet:broadcast(Subnet)],
            Text =:= evum_subnet:text(Subnet) andalso
                lists:all(fun(Ip) -> evum_subnet:contains(Ip, Subnet) andalso not evum_subnet:usable(Ip, Subnet) end, Ends) andalso
                evum_subnet:usable(evum_subnet:gateway(Subnet), Subnet)
        end).

address() -> range(10, 16).
group() -> oneof([16#ffffffffffff, 16#01005e000001]).
