%% SPDX-License-Identifier: Apache-2.0
%% The process that writes a capture's file
%%
%% Links send it batches; all that has come is written at once and goes to the file
%% as soon as it was formatted, so that `tail -f' sees it live. What comes while its
%% inbox is full isn't captured: the next frame of that interface says how many were
%% missed, and so do the statistics at the file's end.
%%
%% It is a child of the switch. It ends with `{shutdown, {local, Posix, File}}' when
%% the file can't be written, and with `{shutdown, {max_size, Bytes}}' when it is full.
-module(evum_capture).
-behaviour(gen_server).

-export([start_link/0, open/3, stop/1, frames/5]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([opts/0]).

%% frames that wait to be written, bytes
-define(INBOX, 16777216).
%% written at a time, bytes
-define(BATCH, 1048576).
-define(OPEN_MS, 5000).

-type opts() :: #{max_size := pos_integer() | infinity, snaplen := pos_integer() | infinity}.

-record(interface, {id :: non_neg_integer(), frames = 0 :: non_neg_integer(), missed = 0 :: non_neg_integer()}).
-record(capture, {
    file :: binary(),
    fd :: file:fd(),
    inbox :: evum_inbox:inbox(),
    opts :: opts(),
    interfaces = #{} :: #{Name :: binary() => #interface{}},
    %% blocks that aren't in the file yet, the newest first
    blocks = [] :: [iodata()],
    %% of the file with them
    size = 0 :: non_neg_integer(),
    is_full = false :: boolean()
}).

%% @doc Starts it, as a child of the caller.
-spec start_link() -> {ok, pid()}.
start_link() -> gen_server:start_link(?MODULE, [], []).

%% @doc Opens a file of this host, which is emptied, and says where frames are to be
%% sent. After an error the process ends.
-spec open(pid(), File :: binary(), opts()) -> {ok, evum_inbox:inbox()} | {error, {local, term(), File :: binary()}}.
open(Capture, File, Opts) ->
    try
        gen_server:call(Capture, {open, File, Opts}, ?OPEN_MS)
    catch
        exit:{timeout, _} ->
            true = exit(Capture, kill),
            {error, {local, etimedout, File}}
    end.

%% @doc Ends a capture once all that it was sent is in its file.
-spec stop(pid()) -> ok.
stop(Capture) -> gen_server:cast(Capture, stop).

%% @doc Frames pass an interface now; `Missed' ones before them found the inbox full.
-spec frames(
    evum_inbox:inbox(), Interface :: binary(), evum_pcap:direction(), Body :: binary(), Missed :: non_neg_integer()
) -> ok | full.
frames(Inbox, Interface, Direction, Body, Missed) ->
    evum_inbox:send(Inbox, {?MODULE, erlang:system_time(nanosecond), Interface, Direction, Body, Missed}, byte_size(Body)).

%% --- the process -------------------------------------------------------------------

%% @private
-spec init([]) -> {ok, undefined}.
init([]) -> {ok, undefined}.

%% @private
-spec handle_call(term(), gen_server:from(), undefined) -> {reply, term(), #capture{}} | {stop, normal, term(), undefined}.
handle_call({open, File, Opts}, _From, undefined) ->
    case file:open(File, [write, raw, binary]) of
        {ok, Fd} ->
            Inbox = evum_inbox:new(self(), ?INBOX),
            State = add(evum_pcap:section(), #capture{file = File, fd = Fd, inbox = Inbox, opts = Opts}),
            opened(flush(State));
        {error, Posix} ->
            opened({error, {local, Posix, File}})
    end.

opened({ok, #capture{inbox = Inbox} = State}) -> {reply, {ok, Inbox}, State};
opened({error, _} = Error) -> {stop, normal, Error, undefined}.

%% @private
-spec handle_cast(stop, #capture{}) -> {stop, term(), #capture{}}.
handle_cast(stop, State) ->
    case flush(totals(State)) of
        {ok, State1} -> {stop, normal, State1};
        {error, Reason} -> {stop, {shutdown, Reason}, State}
    end.

%% @private
-spec handle_info(term(), #capture{}) -> {noreply, #capture{}} | {stop, term(), #capture{}}.
handle_info({?MODULE, _, _, _, _, _} = Message, #capture{size = Size, opts = #{max_size := Max}} = State) ->
    case flush(collect(Message, Size + ?BATCH, State)) of
        {ok, #capture{is_full = true} = State1} -> {stop, {shutdown, {max_size, Max}}, State1};
        {ok, State1} -> {noreply, State1};
        {error, Reason} -> {stop, {shutdown, Reason}, State}
    end;
handle_info(_Other, State) -> {noreply, State}.

%% @private
-spec terminate(term(), #capture{} | undefined) -> term().
terminate(_Reason, undefined) -> ok;
terminate(_Reason, #capture{fd = Fd}) -> file:close(Fd).

flush(#capture{blocks = Blocks, fd = Fd, file = File} = State) ->
    case file:write(Fd, lists:reverse(Blocks)) of
        ok -> {ok, State#capture{blocks = []}};
        {error, Posix} -> {error, {local, Posix, File}}
    end.

%% --- blocks ------------------------------------------------------------------------

%% All that has come, up to a size.
collect(Message, Until, State) ->
    State1 = batch(Message, State),
    receive
        {?MODULE, _, _, _, _, _} = Next when State1#capture.size < Until -> collect(Next, Until, State1)
    after 0 -> State1
    end.

batch({?MODULE, Ns, Name, Direction, Body, Missed}, #capture{inbox = Inbox} = State) ->
    ok = evum_inbox:took(Inbox, byte_size(Body)),
    case evum_frame:frames(Body) of
        [First | Rest] ->
            State1 = frame(Ns, Name, Direction, First, Missed, interface(Name, State)),
            lists:foldl(fun(Frame, Acc) -> frame(Ns, Name, Direction, Frame, 0, Acc) end, State1, Rest);
        _NoFrames ->
            State
    end.

interface(Name, #capture{interfaces = Interfaces} = State) when is_map_key(Name, Interfaces) -> State;
interface(Name, #capture{interfaces = Interfaces} = State) ->
    New = #interface{id = map_size(Interfaces)},
    add(evum_pcap:interface(Name), State#capture{interfaces = Interfaces#{Name => New}}).

frame(Ns, Name, Direction, Frame, Missed, #capture{opts = #{snaplen := Length}, interfaces = Interfaces} = State) ->
    #{Name := #interface{id = Id, frames = N, missed = M} = Interface} = Interfaces,
    Bytes = binary:part(Frame, 0, min(byte_size(Frame), Length)),
    Counted = Interface#interface{frames = N + 1, missed = M + Missed},
    add(evum_pcap:frame(Id, Ns, Direction, Bytes, byte_size(Frame), Missed), State#capture{interfaces = Interfaces#{Name := Counted}}).

totals(#capture{interfaces = Interfaces} = State) ->
    Now = erlang:system_time(nanosecond),
    maps:fold(
        fun(_Name, #interface{id = Id, frames = Frames, missed = Missed}, Acc) -> add(evum_pcap:statistics(Id, Now, Frames, Missed), Acc) end,
        State, Interfaces).

%% Any size is less than infinity, an atom.
add(Block, #capture{blocks = Blocks, size = Size, is_full = false, opts = #{max_size := Max}} = State) ->
    case Size + iolist_size(Block) of
        Size1 when Size1 =< Max -> State#capture{blocks = [Block | Blocks], size = Size1};
        _ -> State#capture{is_full = true}
    end;
add(_Block, State) -> State.
