%% SPDX-License-Identifier: Apache-2.0
%% The process that runs a filter's fun
%%
%% Links send it frames and are sent a verdict for each, in the same order. It is
%% linked to the switch, which it is a child of. It ends with
%% `{filter_crashed, {Class, Reason, Stack}}' or `{bad_verdict, Answer}', or is
%% killed by the switch, which is sent `{timeout, Timer, {evum_filter, Ref}}' when
%% the fun takes longer than a second over one frame.
-module(evum_filter).

-export([start_link/3, ask/4]).
-export_type([callback/0]).

-define(TIME_MS, 1000).
-define(FRAME_MIN, 14).
-define(FRAME_MAX, 65535).
%% of its heap, in words: 128 MiB
-define(HEAP_MAX, 16777216).

-type callback() ::
    fun((Frame :: binary(), evum_rules:direction(), State :: term()) -> {evum_chain:verdict(), State :: term()}).

%% what the function answers is looked at, whatever its type
-record(filter, {
    switch :: pid(),
    ref :: evum_rules:ref(),
    function :: fun((binary(), evum_rules:direction(), term()) -> term()),
    state :: term()
}).

%% @doc Starts it, as a child of the caller.
-spec start_link(evum_rules:ref(), callback(), State :: term()) -> pid().
start_link(Ref, Function, State) ->
    Filter = #filter{switch = self(), ref = Ref, function = Function, state = State},
    Heap = #{size => ?HEAP_MAX, kill => true, error_logger => false},
    spawn_opt(fun() -> loop(Filter) end, [link, {max_heap_size, Heap}]).

%% @doc Asks what becomes of a frame. The caller is sent `{evum_filter, Ref,
%% Direction, Verdict}'.
-spec ask(pid(), evum_rules:ref(), evum_rules:direction(), binary()) -> ok.
ask(Filter, Ref, Direction, Frame) ->
    Filter ! {?MODULE, self(), Ref, Direction, Frame},
    ok.

loop(#filter{switch = Switch, ref = Ref} = Filter) ->
    receive
        {?MODULE, Link, Ref, Direction, Frame} ->
            {Verdict, State} = timed(Filter, Direction, Frame),
            Link ! {?MODULE, Ref, Direction, Verdict},
            loop(Filter#filter{state = State});
        %% the fun may trap exits
        {'EXIT', Switch, Reason} ->
            exit(Reason)
    end.

timed(#filter{switch = Switch, ref = Ref} = Filter, Direction, Frame) ->
    Timer = erlang:start_timer(?TIME_MS, Switch, {?MODULE, Ref}),
    Answer = run(Filter, Direction, Frame),
    ok = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    checked(Answer).

run(#filter{function = Function, state = State}, Direction, Frame) ->
    try
        Function(Frame, Direction, State)
    catch
        Class:Reason:Stack -> exit({filter_crashed, {Class, Reason, Stack}})
    end.

checked({Verdict, _State} = Answer) ->
    case is_verdict(Verdict) of
        true -> Answer;
        false -> exit({bad_verdict, Verdict})
    end;
checked(Answer) -> exit({bad_verdict, Answer}).

is_verdict(forward) -> true;
is_verdict(drop) -> true;
is_verdict({hold, _Tag}) -> true;
is_verdict({replace, Frame}) -> is_frame(Frame);
%% the length of what is no list fails
is_verdict({also, Frames}) when length(Frames) >= 0 -> lists:all(fun is_frame/1, Frames);
is_verdict(_) -> false.

is_frame(Frame) -> is_binary(Frame) andalso byte_size(Frame) >= ?FRAME_MIN andalso byte_size(Frame) =< ?FRAME_MAX.
