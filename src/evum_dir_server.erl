%% SPDX-License-Identifier: Apache-2.0
%% One served directory of one machine: what its guest asks for is answered
%%
%% Theory of operation.  The machine's process has a listening socket for each of its
%% directories, which the port program connects to in each life of the machine: the
%% other end is a console line of the guest's kernel, where c_src/init/dir.c says what
%% is on it. This process accepts the connection, cuts messages out of what comes (evum_9p),
%% does what they ask for (evum_dir_session), one after another, and sends the answers
%% within the line's window. While answers wait no more is done; what a guest may have
%% asked for by then is bounded. What is no 9P ends the connection, and nothing else.
%%
%% It lives as long as its machine, over reboots, and keeps the callbacks' state. Abstract
%% addresses have no permissions, so who connects is asked for his credentials.
-module(evum_dir_server).

-export([start/3]).

%% what the guest's kernel has in flight, in bytes; twice what 128 programs can write
-define(BACKLOG_MAX, 8388608).
%% bytes under way to the guest: DIR_WINDOW of agent_proto.h
-define(WINDOW, 3840).
-define(MESSAGE_MAX, 32768).
-define(DATA, 1).
-define(ACK, 2).

-record(line, {
    socket :: gen_tcp:socket(),
    counters :: counters:counters_ref(),
    session :: evum_dir_session:session(),
    %% what came: the beginning of a frame, and messages that aren't done
    frame = <<>> :: binary(),
    asked = <<>> :: binary(),
    %% answers that wait, and what the guest takes now
    answers = <<>> :: binary(),
    window = ?WINDOW :: non_neg_integer()
}).

%% @doc Serves who connects to `Listen', until it is closed. The caller, who is told by the
%% monitor of an end, is sent `{evum_dir, Pid, {failed, Text}}' where the callback module
%% can't be initialised. Counted are the messages, and those that were none of 9P's.
-spec start(evum_mount:state(), gen_tcp:socket(), counters:counters_ref()) -> {pid(), reference()}.
start(State, Listen, Counters) ->
    Vm = self(),
    spawn_monitor(fun() -> init(Vm, State, Listen, Counters) end).

init(Vm, {Module, Args, Dir}, Listen, Counters) ->
    process_flag(trap_exit, true),
    case evum_dir:start(Module, Args) of
        {ok, Server} ->
            accept(Listen, Counters, Server);
        {error, Reason} ->
            Text = io_lib:format("~ts: ~ts:init/1: ~0tP", [Dir, Module, Reason, 20]),
            Vm ! {evum_dir, self(), {failed, unicode:characters_to_binary(Text)}},
            refuse(Listen)
    end.

refuse(Listen) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            refuse(Listen);
        {error, _} -> ok
    end.

accept(Listen, Counters, Server) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Line = #line{socket = Socket, counters = Counters, session = evum_dir_session:new(Server, ?MESSAGE_MAX)},
            #line{session = Session} = case evum_attach:is_own(Socket) of
                true -> serve(Line);
                false -> Line
            end,
            _ = gen_tcp:close(Socket),
            accept(Listen, Counters, evum_dir_session:server(Session));
        {error, _} ->
            evum_dir:stop(Server)
    end.

serve(#line{socket = Socket, frame = Frame} = L) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Bytes} ->
            case frames(<<Frame/binary, Bytes/binary>>, [], L) of
                {ok, L1} -> served(work(L1));
                {error, L1} -> malformed(L1)
            end;
        {error, _} ->
            L
    end.

served({ok, L}) -> serve(L);
served({closed, L}) -> L;
served({error, L}) -> malformed(L).

malformed(#line{counters = Counters} = L) ->
    counters:add(Counters, 2, 1),
    L.

%% --- the line -------------------------------------------------------------------------

frames(<<?DATA, Size:32/little, Bytes:Size/binary, Rest/binary>>, Asked, L) -> frames(Rest, [Asked, Bytes], L);
frames(<<?ACK, N:32/little, Rest/binary>>, Asked, #line{window = Window} = L) ->
    frames(Rest, Asked, L#line{window = min(?WINDOW, Window + N)});
frames(<<Type, _/binary>>, _Asked, L) when Type =/= ?DATA, Type =/= ?ACK -> {error, L};
frames(Rest, New, #line{asked = Asked} = L) ->
    All = iolist_to_binary([Asked | New]),
    case byte_size(All) + byte_size(Rest) > ?BACKLOG_MAX of
        true -> {error, L};
        false -> {ok, L#line{frame = Rest, asked = All}}
    end.

%% Sends what may be sent; when nothing is left, does what is asked for next.
work(#line{answers = <<>>, asked = Asked, session = Session, counters = Counters} = L) ->
    case evum_9p:next(Asked, ?MESSAGE_MAX) of
        {ok, {Type, Tag, Body}, Rest} ->
            counters:add(Counters, 1, 1),
            {Reply, Session1} = answer(evum_9p:parse(Type, Body), Session, Counters),
            work(L#line{asked = Rest, session = Session1, answers = iolist_to_binary(evum_9p:message(Tag, Reply))});
        more -> {ok, L};
        {error, bad_length} -> {error, L}
    end;
work(#line{window = 0} = L) -> {ok, L};
work(#line{socket = Socket, answers = Answers, window = Window} = L) ->
    N = min(Window, byte_size(Answers)),
    <<Now:N/binary, Later/binary>> = Answers,
    case gen_tcp:send(Socket, Now) of
        ok -> work(L#line{answers = Later, window = Window - N});
        {error, _} -> {closed, L}
    end.

answer({ok, Request}, Session, _Counters) -> evum_dir_session:handle(Request, Session);
answer({error, malformed}, Session, Counters) ->
    counters:add(Counters, 2, 1),
    {{error, eproto}, Session}.
