%% SPDX-License-Identifier: Apache-2.0
%% Codec of the wire to the port program; pure
%%
%% What goes out is made by one function a channel; what comes in is decoded
%% by decode/1, which answers {error, _} to anything that isn't in the list:
%% the port program is ours, so that is our bug and the machine's end.
-module(evum_proto).

-include("evum_proto_gen.hrl").

%% where NICs begin among what has a window
-define(NIC_CREDIT, 16).

-export([version/0, bulk_max/0, message_window/0, console_in_window/0, stdin_window/0, reserved_args/0]).
-export([call/3, console/1, credit/3, frames/3, nic_credit/2, flow/4, stream/3, decode/1]).
-export_type([message/0, props/0, outcome/0]).

-type seq() :: non_neg_integer().
-type outcome() :: ok | {ok, term()} | {error, term()}.
-type props() :: #{atom() => term()}.
-type message() ::
    {reply, seq(), outcome()}
    | {event, proto_event(), props()}
    | {console, binary()}
    | {frames, Nic :: byte(), Count :: 0..65535, Body :: binary()}
    | {credit, Id :: non_neg_integer(), Fd :: byte(), Bytes :: non_neg_integer()}
    | {flow, asked | ended | count, Nic :: byte(), Id :: non_neg_integer(), Rest :: binary()}
    | {stream, Id :: non_neg_integer(), Fd :: byte(), binary()}.

%% @doc The version of the wire that this side speaks.
-spec version() -> pos_integer().
version() -> ?PROTO_VERSION.

%% @doc Bytes of bulk that one frame carries at most.
-spec bulk_max() -> pos_integer().
bulk_max() -> ?BULK_MAX.

%% @doc Events `message' that may be unacknowledged.
-spec message_window() -> pos_integer().
message_window() -> ?MESSAGE_WINDOW.

%% @doc Bytes of console input that may be typed before the port grants more.
-spec console_in_window() -> pos_integer().
console_in_window() -> ?CONSOLE_IN_WINDOW.

%% @doc Bytes that may be written to a program before the guest grants more.
-spec stdin_window() -> pos_integer().
stdin_window() -> ?STDIN_WINDOW.

%% @doc How the kernel arguments begin that only evum sets.
-spec reserved_args() -> [string()].
reserved_args() -> ?RESERVED_ARGS.

%% @doc A control call, of evum_port or another port program. `Args' always goes out as a list of terms, never as
%% the string that the external format would make of small integers.
-spec call(seq(), atom(), [term()]) -> iodata().
call(Seq, Op, Args) ->
    [<<?CH_CONTROL, 131, 104, 4>>, ext(call), ext(Seq), ext(Op) | ext_list(Args)].

ext_list([]) -> [106];
ext_list(Args) -> [<<108, (length(Args)):32>>, [ext(A) || A <- Args], 106].

ext(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

%% @doc Bytes typed on the console, at most {@link bulk_max/0}.
-spec console(iodata()) -> iodata().
console(Bytes) -> [?CH_CONSOLE, Bytes].

%% @doc `N' bytes (or messages) more for stream `Fd' of `Id'; `Id' 0 is the machine.
-spec credit(non_neg_integer(), byte(), non_neg_integer()) -> binary().
credit(Id, Fd, N) -> <<?CH_CREDIT, Id:32, Fd, N:32>>.

%% @doc A batch of `Count' Ethernet frames for a NIC, each with its length in front:
%% `(Len:16, Frame:Len/binary)*'.
-spec frames(Nic :: byte(), Count :: pos_integer(), Body :: binary()) -> iodata().
frames(Nic, Count, Body) -> [<<?CH_FRAMES, Nic, Count:16>> | Body].

%% @doc `N' bytes more of messages with frames from a NIC.
-spec nic_credit(Nic :: byte(), non_neg_integer()) -> binary().
nic_credit(Nic, N) -> credit(0, ?NIC_CREDIT + Nic, N).

%% @doc A word about flow `Id' of a NIC: it is wanted, `Rest' being the addresses of its
%% receiver and its sender; a NIC is to be offered for it, `Rest' being what its asker
%% gave; it is to end, or with `Id' 0 all of the NIC.
-spec flow(ask | offer | 'end', Nic :: byte(), Id :: non_neg_integer(), Rest :: binary()) -> binary().
flow(Op, Nic, Id, Rest) -> <<?CH_FLOW, (flow_op(Op)), Nic, Id:64, Rest/binary>>.

flow_op(ask) -> ?FLOW_ASK;
flow_op(offer) -> ?FLOW_OFFER;
flow_op('end') -> ?FLOW_END.

%% @doc Bytes for stream `Fd' of program `Id'; none is end of file.
-spec stream(non_neg_integer(), byte(), iodata()) -> iodata().
stream(Id, Fd, Bytes) -> [<<?CH_STREAM, Id:32, Fd>>, Bytes].

%% @doc Takes a frame from the port apart.
-spec decode(binary()) -> message() | {error, {bad_frame, term()}}.
decode(<<?CH_CONSOLE, Bytes/binary>>) -> {console, Bytes};
decode(<<?CH_STREAM, Id:32, Fd, Bytes/binary>>) when Fd =:= 1; Fd =:= 2 -> {stream, Id, Fd, Bytes};
decode(<<?CH_CREDIT, Id:32, Fd, N:32>>) -> {credit, Id, Fd, N};
decode(<<?CH_FRAMES, Nic, Count:16, Body/binary>>) -> {frames, Nic, Count, Body};
decode(<<?CH_FLOW, ?FLOW_ASK, Nic, Id:64, Rest/binary>>) -> {flow, asked, Nic, Id, Rest};
decode(<<?CH_FLOW, ?FLOW_END, Nic, Id:64, Rest:17/binary>>) -> {flow, ended, Nic, Id, Rest};
decode(<<?CH_FLOW, ?FLOW_COUNT, Nic, Id:64, Rest:16/binary>>) -> {flow, count, Nic, Id, Rest};
decode(<<?CH_CONTROL, Bytes/binary>>) ->
    try binary_to_term(Bytes) of
        Term -> control(Term)
    catch
        error:badarg -> {error, {bad_frame, control}}
    end;
decode(Frame) -> {error, {bad_frame, binary:part(Frame, 0, min(byte_size(Frame), 16))}}.

control({reply, Seq, ok}) when is_integer(Seq) -> {reply, Seq, ok};
control({reply, Seq, {ok, Term}}) when is_integer(Seq) -> {reply, Seq, {ok, Term}};
control({reply, Seq, {error, Reason}}) when is_integer(Seq) -> {reply, Seq, {error, Reason}};
control({event, Name, Props}) when is_map(Props) -> event(lists:member(Name, ?PROTO_EVENTS), Name, Props);
control(Term) -> {error, {bad_frame, Term}}.

event(true, Name, Props) -> {event, Name, Props};
event(false, Name, _Props) -> {error, {bad_frame, Name}}.
