%% SPDX-License-Identifier: Apache-2.0
%% Moves files and trees between the caller's host and a guest
%%
%% Theory of operation.  The guest's end is a built-in command of the agent's, run
%% as a program (evum_proc): `put' reads the stream of evum_stream on its standard
%% input, `get' writes one. This end is a helper process, so that the caller's
%% mailbox sees nothing of it, on the caller's node, where his files are. The
%% helper watches the caller: when he ends, the built-in is killed and removes what
%% it made, and so does the helper.
%%
%% The time-out is one of progress: it starts again whenever bytes were moved.
%% Nothing is held in memory but a few pieces of 128 KiB; of what is returned as a
%% binary, `max_size' bytes.
-module(evum_files).

-export([put/4, get/3, get/4]).
-export_type([error/0]).

%% as much as the guest takes at a time, and the agent's slots hold
-define(BATCH, 131072).
%% what a name in a tree costs this host, besides bytes: empty files would be free
-define(ENTRY_BYTES, 512).
%% a path that an error is about
-define(PATH_MAX, 4096).

-type error() ::
    %% the guest's; with the file that it is about, inside a tree
    atom() | {atom(), GuestPath :: binary()}
    | evum_tree:error()
    | {timeout, put | get, Moved :: non_neg_integer()}
    | {too_long, Max :: pos_integer()}
    | {signal, evum_signal:signal()} | {vm_down, term()} | {shutdown, rebooted}.

-record(transfer, {
    what :: put | get,
    path :: binary(),
    proc :: pid(),
    proc_monitor :: reference(),
    caller_monitor :: reference(),
    timeout :: pos_integer(),
    moved = 0 :: non_neg_integer(),
    %% get: bytes of files, and of the names in a tree, so far and at most; any number is less than an atom
    size = 0 :: non_neg_integer(),
    max_size :: pos_integer() | infinity,
    %% what the built-in said: the path that its error is about
    said = <<>> :: binary(),
    %% may an error be about another path than the one that was asked for?
    is_tree :: boolean(),
    %% put: what isn't sent yet, the newest first, its size, and the file's sum so far
    batch = [] :: iodata(),
    batched = 0 :: non_neg_integer(),
    crc = 0 :: non_neg_integer()
}).

%% @doc Puts bytes, or a file or directory of this host, at a path in the guest.
-spec put(pid(), iodata() | {file, binary()}, binary(), evum_opts:transfer()) -> ok | {error, error()}.
put(Vm, {file, File}, Path, Opts) ->
    case evum_tree:check(File) of
        {ok, Kind} ->
            Send = fun(T) -> evum_tree:read(File, fun send/2, T#transfer{is_tree = Kind =:= directory}) end,
            put_stream(Vm, Send, Path, Opts);
        {error, _} = Error -> Error
    end;
put(Vm, Bytes, Path, Opts) ->
    put_stream(Vm, fun(T) -> lists:foldl(fun send/2, T, bytes(iolist_to_binary(Bytes))) end, Path, Opts).

%% Its mode and owner are the guest's to choose.
bytes(Bytes) ->
    Attributes = #{mode => undefined, uid => undefined, gid => undefined, mtime => erlang:system_time(second)},
    [{file, <<>>, Attributes}] ++ [{bytes, P} || P <- pieces(Bytes)] ++ [file_end, stream_end].

pieces(<<>>) -> [];
pieces(Bytes) ->
    N = min(byte_size(Bytes), evum_stream:piece_max()),
    <<Piece:N/binary, Rest/binary>> = Bytes,
    [Piece | pieces(Rest)].

%% @doc Gets a file of the guest's as a binary.
-spec get(pid(), binary(), evum_opts:transfer()) -> {ok, binary()} | {error, error()}.
get(Vm, Path, Opts) ->
    case get_stream(Vm, Path, Opts, fun(T) -> receive_bytes(evum_stream:new(), [], T) end) of
        %% it failed inside, before it was known to have an inside
        {error, {_Posix, Inner}} when is_binary(Inner) -> {error, eisdir};
        Result -> Result
    end.

%% @doc Gets a file or directory of the guest's as one of this host.
-spec get(pid(), binary(), File :: binary(), evum_opts:transfer()) -> ok | {error, error()}.
get(Vm, Path, File, Opts) ->
    get_stream(Vm, Path, Opts, fun(T) -> receive_tree(evum_stream:new(), evum_tree:new(File), T) end).

%% --- the helper ------------------------------------------------------------------

put_stream(Vm, Send, Path, Opts) ->
    Argv = [<<"put">>, Path, mode(Opts), maps:get(owner, Opts, <<>>)],
    helper(Vm, put, Argv, Path, Opts, fun(T) -> finish(flush(Send(T))) end).

mode(#{mode := Mode}) -> integer_to_binary(Mode, 8);
mode(#{}) -> <<>>.

get_stream(Vm, Path, Opts, Receive) -> helper(Vm, get, [<<"get">>, Path], Path, Opts, Receive).

helper(Vm, What, Argv, Path, #{timeout := Timeout} = Opts, Fun) ->
    Caller = self(),
    Tag = make_ref(),
    {Helper, Ref} = spawn_monitor(fun() ->
        Monitor = monitor(process, Caller),
        T = #transfer{what = What, path = Path, proc = self(), proc_monitor = Monitor, caller_monitor = Monitor,
                      timeout = Timeout, max_size = maps:get(max_size, Opts, infinity), is_tree = What =:= get},
        Caller ! {Tag, run(Vm, Argv, T, Fun)}
    end),
    receive
        {Tag, Result} ->
            demonitor(Ref, [flush]),
            Result;
        %% a bug of ours
        {'DOWN', Ref, process, Helper, Reason} ->
            exit(Reason)
    end.

run(Vm, Argv, #transfer{what = What, timeout = Timeout} = T, Fun) ->
    Program = #{argv => Argv, env => [], timeout => infinity, builtin => true, start => Timeout},
    case evum_proc:spawn(Vm, Program, monitor) of
        {ok, Proc, Monitor} ->
            try
                Fun(T#transfer{proc = Proc, proc_monitor = Monitor})
            catch
                throw:{local, _, _} = Reason -> {error, Reason};
                throw:{?MODULE, Reason} -> {error, Reason}
            after
                %% where it still runs: it removes what it made
                exit(Proc, kill)
            end;
        {error, {timeout, start}} -> {error, {timeout, What, 0}};
        {error, _} = Error -> Error
    end.

-spec fail(term()) -> no_return().
fail(Reason) -> throw({?MODULE, Reason}).

%% --- to the guest ----------------------------------------------------------------

send({file, Name, Attributes}, T) -> add(evum_stream:file(Name, Attributes), T#transfer{crc = erlang:crc32(<<>>)});
send({bytes, Bytes}, #transfer{crc = Crc} = T) ->
    add(evum_stream:piece(Bytes), T#transfer{crc = erlang:crc32(Crc, Bytes)});
send(file_end, #transfer{crc = Crc} = T) -> add(evum_stream:file_end(Crc), T);
send({directory, Name, Attributes}, T) -> add(evum_stream:directory(Name, Attributes), T);
send({link, Name, Attributes, Target}, T) -> add(evum_stream:link(Name, Attributes, Target), T);
send(directory_end, T) -> add(evum_stream:directory_end(), T);
send(stream_end, T) -> add(evum_stream:stream_end(), T).

%% Small files go together, and what is big in full batches: each that isn't costs as much.
add(Data, #transfer{batch = Batch, batched = Batched} = T) ->
    full(T#transfer{batch = [Batch | Data], batched = Batched + iolist_size(Data)}).

full(#transfer{batch = Batch, batched = Batched} = T) when Batched >= ?BATCH ->
    <<Now:?BATCH/binary, Rest/binary>> = iolist_to_binary(Batch),
    full(write(Now, T#transfer{batch = Rest, batched = Batched - ?BATCH}));
full(T) -> T.

flush(#transfer{batch = Batch} = T) -> write(iolist_to_binary(Batch), T#transfer{batch = [], batched = 0}).

write(<<>>, T) -> T;
write(Bytes, #transfer{proc = Proc, moved = Moved} = T) ->
    case evum_proc:write(Proc, Bytes) of
        ok -> T#transfer{moved = Moved + byte_size(Bytes)};
        {error, {busy, N}} ->
            <<_:N/binary, Rest/binary>> = Bytes,
            write(Rest, room(T#transfer{moved = Moved + N}));
        {error, _} ->
            %% it has ended, and has said why
            finish_early(T)
    end.

%% Waits until the guest takes more.
room(#transfer{proc = Proc} = T) ->
    case next(T) of
        {evum, Proc, stdin_ready} -> T;
        {evum, Proc, {stderr, Bytes}} -> room(said(Bytes, T));
        {evum, Proc, {exit, Ending}} -> failed(Ending, T);
        {evum, Proc, _} -> room(T)
    end.

-spec finish_early(#transfer{}) -> no_return().
finish_early(T) ->
    case finish(T) of
        ok -> fail(eproto);
        {error, Reason} -> fail(Reason)
    end.

%% All was sent: what does the guest say?
finish(#transfer{proc = Proc} = T) ->
    case next(T) of
        {evum, Proc, {exit, 0}} -> ok;
        {evum, Proc, {exit, Ending}} -> {error, reason(Ending, T)};
        {evum, Proc, {stderr, Bytes}} -> finish(said(Bytes, T));
        {evum, Proc, _} -> finish(T)
    end.

%% --- from the guest ----------------------------------------------------------------

receive_bytes(Decoder, Parts, T) ->
    case received(Decoder, T) of
        {ok, Events, Decoder1, T1} -> receive_bytes(Decoder1, lists:foldl(fun keep/2, Parts, Events), T1);
        done -> {ok, iolist_to_binary(lists:reverse(Parts))}
    end.

keep({bytes, Bytes}, Parts) -> [Bytes | Parts];
keep({directory, _, _}, _Parts) -> fail(eisdir);
keep(_Event, Parts) -> Parts.

receive_tree(Decoder, Tree, T) ->
    try received(Decoder, T) of
        {ok, Events, Decoder1, T1} -> receive_tree(Decoder1, lists:foldl(fun evum_tree:write/2, Tree, Events), T1);
        done -> evum_tree:commit(Tree)
    catch
        throw:Reason ->
            evum_tree:abort(Tree),
            throw(Reason)
    end.

%% More of the stream, or its good end.
received(Decoder, #transfer{proc = Proc, moved = Moved} = T) ->
    case next(T) of
        {evum, Proc, {stdout, Bytes}} ->
            case evum_stream:decode(Bytes, Decoder) of
                {ok, Events, Decoder1} ->
                    {ok, Events, Decoder1, lists:foldl(fun measure/2, T#transfer{moved = Moved + byte_size(Bytes)}, Events)};
                {error, Reason} -> fail(Reason)
            end;
        {evum, Proc, {exit, 0}} ->
            evum_stream:is_complete(Decoder) orelse fail(eproto),
            done;
        {evum, Proc, {exit, Ending}} -> failed(Ending, T);
        {evum, Proc, {stderr, Bytes}} -> received(Decoder, said(Bytes, T));
        {evum, Proc, _} -> received(Decoder, T)
    end.

measure(Event, #transfer{size = Size, max_size = Max} = T) ->
    case Size + cost(Event) of
        Size1 when Size1 =< Max -> T#transfer{size = Size1};
        _ -> fail({too_long, Max})
    end.

cost({bytes, Bytes}) -> byte_size(Bytes);
cost({_FileOrDirectory, <<_, _/binary>>, _Attributes}) -> ?ENTRY_BYTES;
cost({link, _Name, _Attributes, Target}) -> ?ENTRY_BYTES + byte_size(Target);
cost(_Event) -> 0.

%% --- both ------------------------------------------------------------------------------

next(#transfer{what = What, proc = Proc, proc_monitor = Monitor, caller_monitor = Caller, timeout = Timeout, moved = Moved}) ->
    receive
        {evum, Proc, _} = Message -> Message;
        %% without a word: its node is gone
        {'DOWN', Monitor, process, _, Reason} -> fail(Reason);
        {'DOWN', Caller, process, _, _} -> fail(caller_down)
    after Timeout -> fail({timeout, What, Moved})
    end.

said(Bytes, #transfer{said = Said} = T) when byte_size(Said) < ?PATH_MAX -> T#transfer{said = <<Said/binary, Bytes/binary>>};
said(_Bytes, T) -> T.

-spec failed(evum_proc:ending(), #transfer{}) -> no_return().
failed(Ending, T) -> fail(reason(Ending, T)).

reason({error, Posix}, #transfer{is_tree = true, said = Path, path = Asked}) when Path =/= <<>>, Path =/= Asked -> {Posix, Path};
reason({error, Posix}, _T) -> Posix;
reason(Status, _T) when is_integer(Status) -> eproto;
reason(Ending, _T) -> Ending.
