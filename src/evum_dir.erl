%% SPDX-License-Identifier: Apache-2.0
%% A directory of a guest's that a callback module serves
%%
%% The option `{state, {Module, Args}}' gives a machine such a directory; `Module' has
%% the callbacks below. They know files by their path, the list of its names from
%% the directory on, [] being the directory itself, and by offsets. evum has seen to
%% it that a name holds no `/' and no NUL, that what is made isn't there and its directory is,
%% that what is removed is there and empty, and so on: a callback that keeps what it
%% is told is right.
%%
%% A machine's callbacks run in one process, one after another: `State' is whatever
%% `init' made, and what `{ok, State}' makes of it. init/1 runs when the machine
%% starts, and again after a callback failed, but not when the guest reboots.
%%
%% `{error, Posix}' is the guest's error, such as `enoent' or `enospc'. A callback that
%% crashes, answers what it may not, or takes longer than 5 s is killed, which is
%% logged; the guest has EIO, and for a second has nothing else: the machine goes on.
-module(evum_dir).

-export([check/1, start/2, call/3, stop/1, is_name/1]).
-export_type([path/0, name/0, attributes/0, posix/0, server/0]).

%% what a callback may take, ms
-define(CALLBACK_MS, 5000).
%% how long one that failed isn't tried again, ms
-define(PAUSE_MS, 1000).

%% how much of a failure is logged
-define(LOG_DEPTH, 40).
-define(NAME_MAX, 255).

%% at most 255 bytes
-type name() :: binary().
-type path() :: [name()].
%% What isn't there is 0 and root's, and modes 8#644 and 8#755. `mtime' is in seconds
%% since 1970, `size' in bytes.
-type attributes() :: #{
    type => file | directory | link,
    size => non_neg_integer(),
    mode => 0..8#7777,
    uid => non_neg_integer(),
    gid => non_neg_integer(),
    mtime => integer()
}.
-type posix() :: atom().

-callback init(Args :: term()) -> {ok, State :: term()} | {error, Reason :: term()}.
%% What is there; `type' must be told.
-callback lookup(path(), State :: term()) -> {ok, attributes()} | {error, posix()}.
%% The names in a directory.
-callback list(path(), State :: term()) -> {ok, [name()]} | {error, posix()}.
%% At most `Count' bytes of a file, fewer at its end; of a link its target.
-callback read(path(), Offset :: non_neg_integer(), Count :: pos_integer(), State :: term()) ->
    {ok, binary()} | {error, posix()}.
%% Makes an empty file, a directory, or a link to `target'. Without create/3, and each of
%% those that follow, the guest's error is EROFS.
-callback create(path(), attributes() | #{target => binary()}, State) -> {ok, State} | {error, posix()}.
%% Writes all of the bytes; a file that is shorter than `Offset' has zeros between.
-callback write(path(), Offset :: non_neg_integer(), binary(), State) -> {ok, State} | {error, posix()}.
%% Changes what the map names: a `size' cuts a file or adds zeros.
-callback change(path(), attributes(), State) -> {ok, State} | {error, posix()}.
-callback remove(path(), State) -> {ok, State} | {error, posix()}.
%% With all below it; what was at the second path is replaced.
-callback rename(path(), path(), State) -> {ok, State} | {error, posix()}.
%% Bytes there is room for, and those that are free, for df; without it, 0 of 0.
-callback space(State :: term()) -> {ok, {Total :: non_neg_integer(), Free :: non_neg_integer()}} | {error, posix()}.
%% All that was written is to last, as far as it can. Without it fsync(2) does nothing.
-callback sync(State) -> {ok, State} | {error, posix()}.

-optional_callbacks([create/3, write/4, change/3, remove/2, rename/3, space/1, sync/1]).

-include_lib("kernel/include/logger.hrl").

-record(server, {
    module :: module(),
    args :: term(),
    worker :: {pid(), reference()} | undefined,
    %% from when on a new worker may be started
    ready_at = 0 :: integer()
}).
-opaque server() :: #server{}.

%% @doc Is there a module of that name that can serve a directory?
-spec check(module()) -> {ok, module()} | {error, {bad_callback, module(), missing | {atom(), arity()}}}.
check(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            case [F || {Name, Arity} = F <- [{init, 1}, {lookup, 2}, {list, 2}, {read, 4}],
                       not erlang:function_exported(Module, Name, Arity)] of
                [] -> {ok, Module};
                [Missing | _] -> {error, {bad_callback, Module, Missing}}
            end;
        {error, _} -> {error, {bad_callback, Module, missing}}
    end.

%% @doc Runs init/1 in a process that is linked to the caller, who must trap exits.
-spec start(module(), term()) -> {ok, server()} | {error, term()}.
start(Module, Args) -> start(#server{module = Module, args = Args}).

start(#server{module = Module, args = Args} = S) ->
    Caller = self(),
    Worker = {Pid, Monitor} = spawn_opt(fun() -> worker(Caller, Module, Args) end, [link, monitor]),
    case answer(Pid, Monitor) of
        ok -> {ok, S#server{worker = Worker}};
        {error, Reason} ->
            _ = failed(init, Reason, S#server{worker = Worker}),
            {error, Reason}
    end.

%% @doc Runs one callback with `Args' before the state. What it may answer depends on it:
%% `{ok, Value}', of those that change something `ok', or `{error, Posix}'.
-spec call(atom(), [term()], server()) -> {ok | {ok, term()} | {error, posix()}, server()}.
call(Name, Args, #server{worker = undefined, ready_at = At} = S) ->
    case erlang:monotonic_time(millisecond) >= At andalso start(S) of
        {ok, Started} -> call(Name, Args, Started);
        false -> {{error, eio}, S};
        {error, _} -> {{error, eio}, pause(S)}
    end;
call(Name, Args, #server{worker = {Pid, Monitor}} = S) ->
    Pid ! {call, self(), Monitor, Name, Args},
    case answer(Pid, Monitor) of
        {ok, Value} -> checked(Name, Args, Value, S);
        ok -> {ok, S};
        {posix, Posix} when is_atom(Posix) -> {{error, Posix}, S};
        {error, Reason} -> failed(Name, Reason, S);
        {crashed, _} = Crash -> failed(Name, Crash, S);
        Other -> failed(Name, {bad_answer, Other}, S)
    end.

%% @doc Ends it.
-spec stop(server()) -> ok.
stop(#server{worker = undefined}) -> ok;
stop(#server{worker = Worker}) -> kill(Worker).

kill({Pid, Monitor}) ->
    unlink(Pid),
    exit(Pid, kill),
    demonitor(Monitor, [flush]),
    receive {'EXIT', Pid, _} -> ok after 0 -> ok end,
    receive {Monitor, _} -> ok after 0 -> ok end.

answer(Pid, Monitor) ->
    receive
        {Monitor, Answer} -> Answer;
        {started, Pid, Answer} -> Answer;
        {'DOWN', Monitor, process, Pid, Reason} -> {error, Reason}
    after ?CALLBACK_MS -> {error, timeout}
    end.

failed(Name, Reason, #server{module = Module, worker = Worker} = S) ->
    ?LOG_WARNING("evum: a directory's callback ~ts:~ts failed: ~0P", [Module, Name, Reason, ?LOG_DEPTH]),
    kill(Worker),
    {{error, eio}, pause(S#server{worker = undefined})}.

pause(S) -> S#server{ready_at = erlang:monotonic_time(millisecond) + ?PAUSE_MS}.

%% --- what a callback answered ------------------------------------------------------

checked(Name, Args, Value, S) ->
    try
        {{ok, checked(Name, Args, Value)}, S}
    catch
        error:_ -> failed(Name, {bad_answer, {ok, Value}}, S)
    end.

checked(lookup, _, #{type := Type} = Attributes) when Type =:= file; Type =:= directory; Type =:= link ->
    [true = is_integer(N) andalso (N >= 0 orelse Key =:= mtime) || {Key, N} <- maps:to_list(Attributes), Key =/= type],
    Attributes;
checked(list, _, Names) ->
    [true = is_name(Name) || Name <- Names],
    Names;
checked(read, [_, _, Count], Bytes) when byte_size(Bytes) =< Count -> Bytes;
checked(space, _, {Total, Free}) when is_integer(Total), is_integer(Free), Total >= Free, Free >= 0 -> {Total, Free}.

%% @doc Can a file have that name?
-spec is_name(term()) -> boolean().
is_name(Name) when Name =:= <<>>; Name =:= <<".">>; Name =:= <<"..">> -> false;
is_name(Name) when is_binary(Name), byte_size(Name) =< ?NAME_MAX -> binary:match(Name, [<<"/">>, <<0>>]) =:= nomatch;
is_name(_) -> false.

%% --- the worker ----------------------------------------------------------------------

worker(Server, Module, Args) ->
    case attempt(fun() -> Module:init(Args) end) of
        {ok, State} ->
            Server ! {started, self(), ok},
            serve(Module, State);
        {error, Reason} ->
            Server ! {started, self(), {error, Reason}};
        {crashed, _} = Crash ->
            Server ! {started, self(), {error, Crash}};
        Other ->
            Server ! {started, self(), {error, {bad_answer, Other}}}
    end.

serve(Module, State) ->
    receive
        {call, Server, Tag, Name, Args} ->
            {Answer, State1} = run(Module, Name, Args, State),
            Server ! {Tag, Answer},
            serve(Module, State1)
    end.

%% What crashes is told by who logs it.
attempt(Fun) ->
    try
        Fun()
    catch
        Class:Reason:Stack -> {crashed, {Class, Reason, Stack}}
    end.

run(Module, Name, Args, State) ->
    case erlang:function_exported(Module, Name, length(Args) + 1) andalso attempt(fun() -> apply(Module, Name, Args ++ [State]) end) of
        false -> {without(Name), State};
        {crashed, _} = Crash -> {Crash, State};
        {error, Posix} -> {{posix, Posix}, State};
        {ok, Value} -> result(lists:member(Name, [lookup, list, read, space]), Value, State);
        Other -> {{bad, Other}, State}
    end.

result(true, Value, State) -> {{ok, Value}, State};
result(false, State, _Old) -> {ok, State}.

without(space) -> {ok, {0, 0}};
without(sync) -> ok;
without(_) -> {posix, erofs}.
