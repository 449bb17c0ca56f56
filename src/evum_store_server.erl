%% SPDX-License-Identifier: Apache-2.0
%% One store of files in memory
%%
%% All that is asked of it goes through its process, so each operation is whole.
-module(evum_store_server).
-behaviour(gen_server).

-export([start/2, stop/1, call/3, start_link/2]).
-export([init/1, handle_call/3, handle_cast/2]).

%% less than a callback may take
-define(CALL_MS, 4000).

%% @doc Starts a store, or finds it.
-spec start(atom(), pos_integer()) -> {ok, pid()} | {error, {name_in_use, atom()} | not_started}.
start(Name, Max) ->
    case evum_store_sup:start_child(Name, Max) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, Pid}} -> own(Name, Pid);
        {error, not_started} -> {error, not_started};
        %% a reserved name
        {error, _} -> {error, {name_in_use, Name}}
    end.

own(Name, Pid) ->
    case proc_lib:translate_initial_call(Pid) of
        {?MODULE, init, 1} -> {ok, Pid};
        _ -> {error, {name_in_use, Name}}
    end.

%% @private
-spec start_link(atom(), pos_integer()) -> gen_server:start_ret().
start_link(Name, Max) ->
    try gen_server:start_link({local, Name}, ?MODULE, Max, [])
    catch error:badarg -> {error, badarg}
    end.

-spec stop(pid() | atom()) -> ok | {error, no_store}.
stop(Store) ->
    try call(Store, info, []) of
        {ok, _} -> gen_server:stop(Store, shutdown, ?CALL_MS);
        {error, no_store} = Error -> Error
    catch
        exit:_ -> {error, no_store}
    end.

%% @doc Does an operation of evum_store_files, or `info', `get', `put' or `delete'; without
%% the tree in arguments and answer.
-spec call(pid() | atom(), atom(), [term()]) -> ok | {ok, term()} | {error, atom()}.
call(Store, Operation, Args) ->
    try
        gen_server:call(Store, {?MODULE, Operation, Args}, ?CALL_MS)
    catch
        exit:_ -> {error, no_store}
    end.

%% --- the process --------------------------------------------------------------------

%% @private
-spec init(pos_integer()) -> {ok, evum_store_files:files()}.
init(Max) -> {ok, evum_store_files:new(Max)}.

%% @private
-spec handle_call(term(), gen_server:from(), evum_store_files:files()) -> {reply, term(), evum_store_files:files()}.
handle_call({?MODULE, info, []}, _From, Files) -> {reply, {ok, evum_store_files:info(Files)}, Files};
handle_call({?MODULE, get, [Path]}, _From, Files) -> {reply, whole(Path, Files), Files};
handle_call({?MODULE, put, [Path, Bytes]}, _From, Files) -> result(replace(Path, Bytes, Files), Files);
handle_call({?MODULE, delete, [Path]}, _From, Files) -> result(remove_all(Path, Files), Files);
handle_call({?MODULE, Operation, Args}, _From, Files) when
    Operation =:= lookup; Operation =:= list; Operation =:= read; Operation =:= space
->
    {reply, apply(evum_store_files, Operation, Args ++ [Files]), Files};
handle_call({?MODULE, Operation, Args}, _From, Files) -> result(apply(evum_store_files, Operation, Args ++ [Files]), Files);
handle_call(_Other, _From, Files) -> {reply, {error, badarg}, Files}.

result({ok, Files}, _Before) -> {reply, ok, Files};
result({error, _} = Error, Before) -> {reply, Error, Before}.

%% @private
-spec handle_cast(term(), evum_store_files:files()) -> {noreply, evum_store_files:files()}.
handle_cast(_Message, Files) -> {noreply, Files}.

whole(Path, Files) ->
    case evum_store_files:lookup(Path, Files) of
        {ok, #{type := file, size := Size}} -> evum_store_files:read(Path, 0, Size, Files);
        {ok, #{type := directory}} -> {error, eisdir};
        {ok, _} -> {error, eloop};
        {error, _} = Error -> Error
    end.

%% Whether there is room is known first: the tables can't be taken back.
replace(Path, Bytes, Files) ->
    {Old, Missing} = missing(Path, [], Files),
    {ok, {_, Free}} = evum_store_files:space(Files),
    Cost = byte_size(Bytes) + lists:sum([evum_store_files:cost(lists:last(Dir)) || Dir <- Missing]),
    case Old of
        {ok, #{type := directory}} -> {error, eisdir};
        {ok, #{size := Size}} when Cost - Size =< Free ->
            {ok, Cut} = evum_store_files:change(Path, #{size => 0}, Files),
            evum_store_files:write(Path, 0, Bytes, Cut);
        {ok, _} -> {error, enospc};
        none when Cost =< Free -> evum_store_files:write(Path, 0, Bytes, make(Missing, Files));
        none -> {error, enospc};
        {error, _} = Error -> Error
    end.

%% What is at a path, and what isn't on the way to it.
missing([Name | Path], Above, Files) ->
    Here = Above ++ [Name],
    case evum_store_files:lookup(Here, Files) of
        {ok, _} = There when Path =:= [] -> {There, []};
        {ok, #{type := directory}} -> missing(Path, Here, Files);
        {ok, _} -> {{error, enotdir}, []};
        {error, enoent} -> {none, [Here | [Here ++ lists:sublist(Path, N) || N <- lists:seq(1, length(Path))]]}
    end.

make(Missing, Files) ->
    Now = erlang:system_time(second),
    lists:foldl(
        fun(Path, F) ->
            Type = case lists:last(Missing) of Path -> file; _ -> directory end,
            {ok, F1} = evum_store_files:create(Path, #{type => Type, mtime => Now}, F),
            F1
        end, Files, Missing).

remove_all(Path, Files) ->
    case evum_store_files:lookup(Path, Files) of
        {ok, #{type := directory}} ->
            {ok, Names} = evum_store_files:list(Path, Files),
            Below = fun(Name, F) -> {ok, F1} = remove_all(Path ++ [Name], F), F1 end,
            evum_store_files:remove(Path, lists:foldl(Below, Files, Names));
        {ok, _} -> evum_store_files:remove(Path, Files);
        {error, _} = Error -> Error
    end.
