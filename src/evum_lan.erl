%% SPDX-License-Identifier: Apache-2.0
%% The way of a batch of frames through a network
%%
%% Theory of operation.  There is no process: this runs in whoever has the batch,
%% which is the process of the machine that sent it. It looks the destination up
%% in the switch's tables and hands the batch to the receiver's port program, or
%% to the inbox of a process. Nothing here waits, and nothing grows: what can't be
%% taken now is dropped and counted at the port that it was for.
%%
%% All frames of a batch begin with the same 14 bytes, so one look-up is right
%% for all. A port with rules has a process of its own, its evum_link, which gets
%% what comes from the port before it is switched, and what goes to it before it
%% is written.
%%
%% Learning.  An address that is assigned (the gateway's, a machine's) stays where
%% it is: who uses another's loses the batch. Any other address belongs to the
%% port that used it last, up to a number a port.
%%
%% Two machines' frames for each other take this way only until evum_flow has shown
%% their port programs a shorter one.
%%
%% The tables end with the switch. Whoever still holds them loses his frames, and
%% nothing else.
-module(evum_lan).

-export([input/4, switch/4, output/5, emit/4, emit/5, sender/3]).
-export([counters/0, counts/1]).
-export_type([lan/0, port_no/0]).

-include("evum_lan.hrl").

-type lan() :: #lan{}.
-type port_no() :: non_neg_integer().

%% how old a learned address's time may be, in seconds: it isn't written each time
-define(FRESH, 10).
-define(IPV6, 16#86dd).

%% @doc `Count' frames of one header came from port `No'. A port with rules has its
%% link sent `{evum_lan, input, No, Count, Body}'.
-spec input(lan(), port_no(), Count :: pos_integer(), Body :: binary()) -> ok.
input(#lan{ports = Ports} = Lan, No, Count, Body) ->
    case lookup(Ports, No) of
        [#port{counters = Counters, via = Via} = Port] ->
            counters:add(Counters, ?LAN_RX_FRAMES, Count),
            counters:add(Counters, ?LAN_RX_BYTES, bytes(Count, Body)),
            case Via of
                none -> forward(Lan, Port, Count, Body);
                _ -> post(Via, {?MODULE, input, No, Count, Body}, Count, Body, Port)
            end;
        [] -> ok
    end.

%% @doc Sends frames that came from port `No', and passed its rules, on their way.
-spec switch(lan(), port_no(), Count :: pos_integer(), Body :: binary()) -> ok.
switch(#lan{ports = Ports} = Lan, No, Count, Body) ->
    case lookup(Ports, No) of
        [Port] -> forward(Lan, Port, Count, Body);
        [] -> ok
    end.

forward(Lan, Port, Count, <<_:16, Dst:48, Src:48, Type:16, _/binary>> = Body) ->
    case may_send(Lan, Src, Port) of
        true -> deliver(Lan, evum_frame:is_group(Dst), Dst, Type, Port, Count, Body);
        false -> counters:add(Port#port.counters, ?LAN_SPOOFED, Count)
    end;
forward(_Lan, #port{counters = Counters}, Count, _NoFrame) ->
    counters:add(Counters, ?LAN_DROPPED, Count).

deliver(Lan, true, _Dst, Type, #port{no = No}, Count, Body) -> flood(Lan, Type, No, Count, Body);
deliver(#lan{fdb = Fdb} = Lan, false, Dst, Type, #port{no = No} = From, Count, Body) ->
    case lookup(Fdb, Dst) of
        [{_, No, _, _}] -> ok;
        [{_, To, static, _}] ->
            ok = output(Lan, To, No, Count, Body),
            evum_flow:wanted(Lan, From, To, Body);
        [{_, To, dynamic, _}] -> output(Lan, To, No, Count, Body);
        [] -> flood(Lan, Type, No, Count, Body)
    end.

flood(#lan{ports = Ports} = Lan, Type, From, Count, Body) ->
    lists:foreach(
        fun(#port{no = No, flood = Flood} = Port) ->
            case No =/= From andalso (Flood =:= true orelse Flood =:= ipv6 andalso Type =:= ?IPV6) of
                true -> output(Lan, Port, From, Count, Body);
                false -> ok
            end
        end,
        all(Ports)
    ).

%% @doc Frames are to leave by a port. A port with rules has its link sent
%% `{evum_lan, output, From, Count, Body}'.
-spec output(lan(), #port{} | port_no(), From :: port_no(), Count :: pos_integer(), Body :: binary()) -> ok.
output(Lan, #port{via = none} = Port, From, Count, Body) -> emit(Lan, Port, From, Count, Body);
output(_Lan, #port{via = Via} = Port, From, Count, Body) ->
    post(Via, {?MODULE, output, From, Count, Body}, Count, Body, Port);
output(#lan{ports = Ports} = Lan, No, From, Count, Body) ->
    case lookup(Ports, No) of
        [Port] -> output(Lan, Port, From, Count, Body);
        [] -> ok
    end.

%% @doc The port that a batch's source address belongs to, or `Default'.
-spec sender(lan(), Body :: binary(), Default :: port_no()) -> port_no().
sender(#lan{fdb = Fdb}, <<_:64, Src:48, _/binary>>, Default) ->
    case lookup(Fdb, Src) of
        [{_, No, _, _}] -> No;
        [] -> Default
    end;
sender(_Lan, _NoFrame, Default) -> Default.

%% @doc {@link emit/5} of frames that came from no port.
-spec emit(lan(), #port{} | port_no(), Count :: pos_integer(), Body :: binary()) -> ok.
emit(Lan, Port, Count, Body) -> emit(Lan, Port, none, Count, Body).

%% @doc Frames leave by a port for good: they are written to its port program, or
%% sent to the process behind it as `{evum_lan, output, From, Count, Body}'.
-spec emit(lan(), #port{} | port_no(), From :: port_no() | none, Count :: pos_integer(), Body :: binary()) -> ok.
emit(_Lan, #port{out = {port, Out, Nic}} = Port, _From, Count, Body) ->
    %% too long ones are the port program's to drop: it knows the NIC's MTU
    sent(evum_port:command(Out, evum_proto:frames(Nic, Count, Body)), Count, Body, Port);
emit(_Lan, #port{out = {inbox, Inbox}, max_frame = Max} = Port, From, Count, Body) ->
    case evum_frame:max_length(Body) =< Max of
        true -> sent(evum_inbox:send(Inbox, {?MODULE, output, From, Count, Body}, byte_size(Body)), Count, Body, Port);
        false -> emit_short(Inbox, Port, From, Count, Body)
    end;
emit(_Lan, #port{out = none, counters = Counters}, _From, Count, _Body) ->
    counters:add(Counters, ?LAN_DROPPED, Count);
emit(#lan{ports = Ports} = Lan, No, From, Count, Body) ->
    case lookup(Ports, No) of
        [Port] -> emit(Lan, Port, From, Count, Body);
        [] -> ok
    end.

%% Of frames that a foreign port can't take some may be short enough.
emit_short(Inbox, #port{max_frame = Max, counters = Counters} = Port, From, Count, Body) ->
    Short = case evum_frame:frames(Body) of
        {error, truncated} -> [];
        Frames -> [F || F <- Frames, byte_size(F) =< Max]
    end,
    counters:add(Counters, ?LAN_DROPPED, Count - length(Short)),
    lists:foreach(
        fun({N, Part}) ->
            sent(evum_inbox:send(Inbox, {?MODULE, output, From, N, Part}, byte_size(Part)), N, Part, Port)
        end,
        evum_frame:batches(Short)
    ).

sent(ok, Count, Body, #port{counters = Counters}) ->
    counters:add(Counters, ?LAN_TX_FRAMES, Count),
    counters:add(Counters, ?LAN_TX_BYTES, bytes(Count, Body));
sent(_BusyClosedFull, Count, _Body, #port{counters = Counters}) ->
    counters:add(Counters, ?LAN_DROPPED, Count).

post(Inbox, Message, Count, Body, #port{counters = Counters}) ->
    case evum_inbox:send(Inbox, Message, byte_size(Body)) of
        ok -> ok;
        full -> counters:add(Counters, ?LAN_DROPPED, Count)
    end.

bytes(Count, Body) -> byte_size(Body) - 2 * Count.

%% --- learning --------------------------------------------------------------------

%% May the port use this source address? The gateway's is both router's and uplink's.
may_send(#lan{fdb = Fdb} = Lan, Src, #port{no = No} = Port) ->
    case lookup(Fdb, Src) of
        [{_, No, static, _}] -> true;
        [{_, No, dynamic, Seen}] -> refresh(Lan, Src, Seen);
        [{_, Other, static, _}] -> Other < 2 andalso No < 2;
        [{_, Other, dynamic, _}] -> learn(Lan, Src, {moved, Other}, Port);
        [] -> learn(Lan, Src, new, Port)
    end.

refresh(#lan{fdb = Fdb}, Src, Seen) ->
    case now_s() of
        Now when Now - Seen > ?FRESH ->
            %% it may have gone, or have moved, meanwhile: then that stands
            _ = guarded(fun() -> ets:update_element(Fdb, Src, {4, Now}) end),
            true;
        _ ->
            true
    end.

learn(Lan, Src, How, #port{counters = Counters} = Port) ->
    case evum_frame:is_group(Src) of
        true -> false;
        false ->
            case counters:get(Counters, ?LAN_LEARNED) < ?LAN_LEARN_MAX of
                true -> remember(Lan, Src, How, Port);
                false -> counters:add(Counters, ?LAN_UNLEARNED, 1)
            end,
            true
    end.

%% What was assigned meanwhile stays: neither way overwrites a static address.
remember(#lan{fdb = Fdb}, Src, new, #port{no = No, counters = Counters}) ->
    case guarded(fun() -> ets:insert_new(Fdb, {Src, No, dynamic, now_s()}) end) of
        true -> counters:add(Counters, ?LAN_LEARNED, 1);
        false -> ok
    end;
remember(#lan{fdb = Fdb, ports = Ports}, Src, {moved, From}, #port{no = No, counters = Counters}) ->
    Move = [{{Src, From, dynamic, '_'}, [], [{{Src, No, dynamic, now_s()}}]}],
    case guarded(fun() -> ets:select_replace(Fdb, Move) =:= 1 end) of
        true ->
            counters:add(Counters, ?LAN_LEARNED, 1),
            case lookup(Ports, From) of
                [#port{counters = Left}] -> counters:sub(Left, ?LAN_LEARNED, 1);
                [] -> ok
            end;
        false -> ok
    end.

now_s() -> erlang:monotonic_time(second).

%% --- the tables, which may have gone ------------------------------------------------

lookup(Table, Key) ->
    try
        ets:lookup(Table, Key)
    catch
        error:badarg -> []
    end.

all(Table) ->
    try
        ets:tab2list(Table)
    catch
        error:badarg -> []
    end.

guarded(Change) ->
    try
        Change()
    catch
        error:badarg -> false
    end.

%% --- counters -------------------------------------------------------------------------

%% @doc The counters of a new port.
-spec counters() -> counters:counters_ref().
counters() -> counters:new(?LAN_COUNTERS, []).

%% @doc What a port counts, by name.
-spec counts(counters:counters_ref()) -> #{atom() => integer()}.
counts(Counters) ->
    #{
        rx_frames => counters:get(Counters, ?LAN_RX_FRAMES),
        rx_bytes => counters:get(Counters, ?LAN_RX_BYTES),
        tx_frames => counters:get(Counters, ?LAN_TX_FRAMES),
        tx_bytes => counters:get(Counters, ?LAN_TX_BYTES),
        dropped => counters:get(Counters, ?LAN_DROPPED),
        spoofed => counters:get(Counters, ?LAN_SPOOFED),
        unlearned => counters:get(Counters, ?LAN_UNLEARNED),
        learned => counters:get(Counters, ?LAN_LEARNED),
        flow_frames => counters:get(Counters, ?LAN_FLOW_FRAMES),
        flow_bytes => counters:get(Counters, ?LAN_FLOW_BYTES)
    }.
