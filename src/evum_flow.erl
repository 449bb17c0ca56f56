%% SPDX-License-Identifier: Apache-2.0
%% Flows: two machines' frames that go from one port program to the other
%%
%% Theory of operation.  While frames from one machine to another meet no rule there is
%% nothing that Erlang has to do with them. So when the sender's process forwards the
%% first of them it asks for a flow: the sender's port program gets a descriptor of
%% the receiver's NIC from that one's port program, and writes what carries these two
%% addresses there. Only addresses that are assigned have flows; what is broadcast,
%% what goes to other ports, and what can't be written at once, comes to Erlang as ever.
%%
%% The switch ends flows of a port when anything about that port changes: it gets a
%% rule, is plugged anew, or goes. No answer is awaited. The word is in the port
%% program's pipe when the switch's answer to its caller leaves, and so before
%% whatever the caller does next.
%%
%% The table has a row {{From, To}, Id} for each flow, or {{From, To}, {busy, Until}}
%% for one that is not to be asked for again before; and {Id, From, To} as long as the
%% port program may report on it. The switch first writes the rule into the port's row
%% and then takes flows away; whoever asks first writes the flow's row and then looks
%% for rules. So one of them sees the other.
-module(evum_flow).

-export([new/0, wanted/4, told/6, revoke/2, end_all/2, forget/2, settle/1, received/2, count/1]).

-include("evum_lan.hrl").
-include("evum_proto_gen.hrl").

%% before it is asked again for a flow that a busy receiver or a full table refused
-define(BUSY_MS, 1000).
%% for the counts of all machines
-define(SETTLE_MS, 1000).

%% @doc A table of flows.
-spec new() -> ets:tid().
new() -> ets:new(evum_flows, [public, {read_concurrency, true}]).

%% @doc A batch went from a port to another, whose address is assigned: called by the
%% sender's process.
-spec wanted(evum_lan:lan(), From :: #port{}, To :: evum_lan:port_no(), Body :: binary()) -> ok.
wanted(#lan{flows = Flows} = Lan, #port{no = From, kind = machine, via = none, mac = Mac, owner = Owner} = Port, To, <<_:16, Addresses:12/binary, _/binary>>)
        when Owner =:= self() ->
    case {Addresses, rows(Flows, {From, To})} of
        {<<_:48, Mac:48>>, []} -> ask(Lan, Port, To, Addresses);
        {<<_:48, Mac:48>>, [{_, {busy, Until}}]} -> now_ms() < Until orelse ask(Lan, Port, To, Addresses), ok;
        _ -> ok
    end;
wanted(_Lan, _From, _To, _Body) -> ok.

ask(Lan, #port{no = From} = Port, To, Addresses) ->
    case may_flow(Lan, From, To) of
        true -> ask_port(Lan, Port, To, Addresses);
        false -> ok
    end.

ask_port(#lan{flows = Flows} = Lan, #port{no = From, out = {port, Out, Nic}}, To, Addresses) ->
    Id = erlang:unique_integer([positive]),
    guarded(fun() -> ets:insert(Flows, [{{From, To}, Id}, {Id, From, To}]) end),
    case may_flow(Lan, From, To) andalso evum_port:command(Out, evum_proto:flow(ask, Nic, Id, Addresses)) of
        ok -> ok;
        _NotNow -> delete(Flows, Id, From, To)
    end.

may_flow(Lan, From, To) -> is_plain(Lan, From) andalso is_plain(Lan, To).

%% A machine of this node that has no rules.
is_plain(#lan{ports = Ports}, No) ->
    case rows(Ports, No) of
        [#port{kind = machine, via = none, out = {port, Out, _}}] -> node(Out) =:= node();
        _ -> false
    end.

%% @doc The sender's port program said something of a flow.
-spec told(asked | ended | count, evum_lan:lan(), port(), Nic :: byte(), Id :: pos_integer(), Rest :: binary()) -> ok.
told(What, #lan{flows = Flows} = Lan, Port, Nic, Id, Rest) ->
    case rows(Flows, Id) of
        [{_, From, To}] -> told(What, Lan, Port, Nic, Id, From, To, Rest);
        %% its ports have gone
        [] -> evum_port:insist(Port, evum_proto:flow('end', Nic, Id, <<>>))
    end.

told(asked, #lan{flows = Flows, ports = Ports} = Lan, Port, Nic, Id, From, To, Rest) ->
    case {rows(Flows, {From, To}), rows(Ports, To)} of
        {[{_, Id}], [#port{out = {port, Out, ToNic}}]} ->
            %% one that isn't offered is given up by the port program
            _ = may_flow(Lan, From, To) andalso evum_port:command(Out, evum_proto:flow(offer, ToNic, Id, Rest)),
            ok;
        _ -> evum_port:insist(Port, evum_proto:flow('end', Nic, Id, <<>>))
    end;
told(count, Lan, _Port, _Nic, _Id, From, To, <<Frames:64, Bytes:64>>) -> count(Lan, From, To, Frames, Bytes);
told(ended, #lan{flows = Flows} = Lan, _Port, _Nic, Id, From, To, <<Frames:64, Bytes:64, Why>>) ->
    ok = count(Lan, From, To, Frames, Bytes),
    ok = delete(Flows, Id, From, To),
    case Why of
        ?FLOW_BUSY -> guarded(fun() -> ets:insert_new(Flows, {{From, To}, {busy, now_ms() + ?BUSY_MS}}) end);
        _ -> ok
    end.

count(Lan, From, To, Frames, Bytes) ->
    add(Lan, From, [{?LAN_RX_FRAMES, Frames}, {?LAN_RX_BYTES, Bytes}]),
    add(Lan, To, [{?LAN_TX_FRAMES, Frames}, {?LAN_TX_BYTES, Bytes}, {?LAN_FLOW_FRAMES, Frames}, {?LAN_FLOW_BYTES, Bytes}]).

add(#lan{ports = Ports}, No, Amounts) ->
    case rows(Ports, No) of
        [#port{counters = Counters}] -> lists:foreach(fun({Index, N}) -> counters:add(Counters, Index, N) end, Amounts);
        [] -> ok
    end.

%% @doc Frames from and to a port are to come by Erlang from now on, until they have gone
%% there again without a rule; called by the switch.
-spec revoke(evum_lan:lan(), evum_lan:port_no()) -> ok.
revoke(#lan{flows = Flows, ports = Ports}, No) ->
    Ended = [{From, Id} || {{From, _} = Key, Id} <- touching(Flows, No), is_integer(Id), ets:delete(Flows, Key)],
    lists:foreach(
        fun({From, Id}) ->
            case rows(Ports, From) of
                [#port{out = {port, Out, Nic}}] -> evum_port:insist(Out, evum_proto:flow('end', Nic, Id, <<>>));
                _ -> ok
            end
        end,
        Ended
    ).

touching(Flows, No) -> ets:match_object(Flows, {{No, '_'}, '_'}) ++ ets:match_object(Flows, {{'_', No}, '_'}).

%% @doc All flows of a NIC whose network has ended are to end.
-spec end_all(port(), Nic :: byte()) -> ok.
end_all(Port, Nic) -> evum_port:insist(Port, evum_proto:flow('end', Nic, 0, <<>>)).

%% @doc A port has gone.
-spec forget(evum_lan:lan(), evum_lan:port_no()) -> ok.
forget(#lan{flows = Flows}, No) ->
    _ = [true = ets:delete(Flows, Key) || {Key, _} <- touching(Flows, No)],
    true = ets:match_delete(Flows, {'_', No, '_'}),
    true = ets:match_delete(Flows, {'_', '_', No}),
    ok.

%% @doc Has the counts of all flows reported: a machine that says nothing for a second
%% is left out.
-spec settle(evum_lan:lan()) -> ok.
settle(#lan{flows = Flows, ports = Ports}) ->
    Senders = lists:usort([From || {_, From, _} <- ets:match_object(Flows, {'_', '_', '_'})]),
    Owners = lists:usort([Owner || From <- Senders, #port{owner = Owner} <- rows(Ports, From), Owner =/= self()]),
    Requests = [gen_statem:send_request(Owner, info) || Owner <- Owners],
    Deadline = now_ms() + ?SETTLE_MS,
    lists:foreach(fun(Request) -> gen_statem:receive_response(Request, max(0, Deadline - now_ms())) end, Requests).

%% @doc Frames and bytes that reached a port by flows.
-spec received(evum_lan:lan(), evum_lan:port_no()) -> {non_neg_integer(), non_neg_integer()}.
received(#lan{ports = Ports}, No) ->
    case rows(Ports, No) of
        [#port{counters = Counters}] -> {counters:get(Counters, ?LAN_FLOW_FRAMES), counters:get(Counters, ?LAN_FLOW_BYTES)};
        [] -> {0, 0}
    end.

%% @doc How many flows there are: from one machine to another is one.
-spec count(evum_lan:lan()) -> non_neg_integer().
count(#lan{flows = Flows}) -> ets:select_count(Flows, [{{{'_', '_'}, '$1'}, [{is_integer, '$1'}], [true]}]).

%% Only what is still so: another flow of the two may have been asked for meanwhile.
delete(Flows, Id, From, To) ->
    guarded(fun() ->
        true = ets:delete_object(Flows, {{From, To}, Id}),
        ets:delete(Flows, Id)
    end).

now_ms() -> erlang:monotonic_time(millisecond).

%% The tables end with the switch.
rows(Table, Key) ->
    try
        ets:lookup(Table, Key)
    catch
        error:badarg -> []
    end.

guarded(Change) ->
    try
        _ = Change(),
        ok
    catch
        error:badarg -> ok
    end.
