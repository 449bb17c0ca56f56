%% SPDX-License-Identifier: Apache-2.0
%% A tree of files in memory
%%
%% Theory of operation.  Two tables of ETS that belong to the caller. The first has
%% each file by its number, and each name by its directory's number: what is renamed
%% keeps its number, and what is below it isn't touched. The second has the bytes, in
%% chunks; one that isn't there is zeros. What is counted is what is kept: bytes of
%% chunks, and a fixed cost for each name.
-module(evum_store_files).

-export([new/1, cost/1, info/1]).
-export([lookup/2, list/2, read/4, create/3, write/4, change/3, remove/2, rename/3, space/1]).
-export_type([files/0]).

-define(ROOT, 0).
-define(CHUNK, 32768).
%% what a name costs, besides its bytes
-define(NAME_COST, 512).
%% of one file, chunks that aren't there included
-define(SIZE_MAX, 1099511627776).

-record(files, {
    nodes :: ets:table(),
    chunks :: ets:table(),
    max :: pos_integer(),
    used = 0 :: non_neg_integer(),
    next = ?ROOT + 1 :: pos_integer()
}).
-opaque files() :: #files{}.

-type path() :: evum_dir:path().
-type result() :: {ok, files()} | {error, evum_dir:posix()}.

%% @doc An empty tree that holds at most `Max' bytes.
-spec new(pos_integer()) -> files().
new(Max) ->
    Nodes = ets:new(?MODULE, [ordered_set, protected]),
    true = ets:insert(Nodes, {{file, ?ROOT}, #{type => directory, mode => 8#755, mtime => erlang:system_time(second)}}),
    #files{nodes = Nodes, chunks = ets:new(?MODULE, [ordered_set, protected]), max = Max}.

%% @doc What a name counts, without what is in its file.
-spec cost(evum_dir:name()) -> pos_integer().
cost(Name) -> ?NAME_COST + byte_size(Name).

-spec info(files()) -> #{bytes := non_neg_integer(), max_bytes := pos_integer(), names := non_neg_integer()}.
info(#files{nodes = Nodes, used = Used, max = Max}) ->
    #{bytes => Used, max_bytes => Max, names => (ets:info(Nodes, size) - 1) div 2}.

%% --- what is there --------------------------------------------------------------------

-spec lookup(path(), files()) -> {ok, evum_dir:attributes()} | {error, evum_dir:posix()}.
lookup(Path, F) ->
    case number(Path, F) of
        {ok, No} -> {ok, attributes(No, F)};
        {error, _} = Error -> Error
    end.

-spec list(path(), files()) -> {ok, [evum_dir:name()]} | {error, evum_dir:posix()}.
list(Path, #files{nodes = Nodes} = F) ->
    case number(Path, F) of
        {ok, No} ->
            case attributes(No, F) of
                #{type := directory} -> {ok, ets:select(Nodes, [{{{name, No, '$1'}, '_'}, [], ['$1']}])};
                _ -> {error, enotdir}
            end;
        {error, _} = Error -> Error
    end.

-spec read(path(), non_neg_integer(), non_neg_integer(), files()) -> {ok, binary()} | {error, evum_dir:posix()}.
read(Path, Offset, Count, F) ->
    with(Path, F, fun
        (_No, #{type := directory}) -> {error, eisdir};
        (No, #{size := Size}) -> {ok, bytes(No, Offset, min(Offset + Count, Size), F)}
    end).

-spec space(files()) -> {ok, {non_neg_integer(), non_neg_integer()}}.
space(#files{max = Max, used = Used}) -> {ok, {Max, max(0, Max - Used)}}.

%% --- changes -----------------------------------------------------------------------------

-spec create(path(), map(), files()) -> result().
create(Path, Attributes, #files{next = No} = F) ->
    {Parent, Name} = split(Path),
    Target = maps:get(target, Attributes, <<>>),
    with(Parent, F, fun(Above, _) ->
        case pay(cost(Name) + byte_size(Target), F) of
            {ok, F1} ->
                put_node(No, (maps:remove(target, Attributes))#{size => byte_size(Target)}, F1),
                true = ets:insert(F1#files.nodes, {{name, Above, Name}, No}),
                _ = [put_chunk(No, 0, Target, F1) || Target =/= <<>>],
                {ok, touch(Above, F1#files{next = No + 1})};
            {error, _} = Error -> Error
        end
    end).

-spec write(path(), non_neg_integer(), binary(), files()) -> result().
write(_Path, Offset, Bytes, _F) when Offset + byte_size(Bytes) > ?SIZE_MAX -> {error, efbig};
write(Path, Offset, Bytes, F) ->
    with(Path, F, fun
        (_No, #{type := directory}) -> {error, eisdir};
        (No, #{size := Size} = Attributes) ->
            Changed = changed(No, Offset, Bytes, F),
            case pay(lists:sum([byte_size(New) - byte_size(Old) || {_, Old, New} <- Changed]), F) of
                {ok, F1} ->
                    _ = [put_chunk(No, Index, New, F1) || {Index, _, New} <- Changed],
                    put_node(No, Attributes#{size => max(Size, Offset + byte_size(Bytes)), mtime => erlang:system_time(second)}, F1),
                    {ok, F1};
                {error, _} = Error -> Error
            end
    end).

-spec change(path(), evum_dir:attributes(), files()) -> result().
change(_Path, #{size := Size}, _F) when Size > ?SIZE_MAX -> {error, efbig};
change(Path, Changes, F) ->
    with(Path, F, fun
        (_No, #{type := directory}) when is_map_key(size, Changes) -> {error, eisdir};
        (No, Attributes) ->
            F1 = case Changes of
                #{size := Size} -> cut(No, Size, F);
                #{} -> F
            end,
            Touched = case Changes of
                #{size := _} -> Attributes#{mtime => erlang:system_time(second)};
                #{} -> Attributes
            end,
            put_node(No, maps:merge(Touched, Changes), F1),
            {ok, F1}
    end).

-spec remove(path(), files()) -> result().
remove(Path, F) ->
    {Parent, Name} = split(Path),
    with(Path, F, fun(No, _) ->
        {ok, Above} = number(Parent, F),
        {ok, touch(Above, forget(Above, Name, No, F))}
    end).

-spec rename(path(), path(), files()) -> result().
rename(From, To, #files{nodes = Nodes} = F) ->
    {OldParent, OldName} = split(From),
    {NewParent, NewName} = split(To),
    case {number(From, F), number(OldParent, F), number(NewParent, F)} of
        {{ok, No}, {ok, Old}, {ok, New}} ->
            F1 = case number(To, F) of
                {ok, There} -> forget(New, NewName, There, F);
                {error, _} -> F
            end,
            true = ets:delete(Nodes, {name, Old, OldName}),
            true = ets:insert(Nodes, {{name, New, NewName}, No}),
            Used = F1#files.used + byte_size(NewName) - byte_size(OldName),
            {ok, touch(Old, touch(New, F1#files{used = Used}))};
        _ -> {error, enoent}
    end.

%% --- nodes ----------------------------------------------------------------------------------

with(Path, F, Fun) ->
    case number(Path, F) of
        {ok, No} -> Fun(No, attributes(No, F));
        {error, _} = Error -> Error
    end.

split(Path) -> {lists:droplast(Path), lists:last(Path)}.

number(Path, F) -> number(Path, ?ROOT, F).

number([], No, _F) -> {ok, No};
number([Name | Path], Above, #files{nodes = Nodes} = F) ->
    case ets:lookup(Nodes, {name, Above, Name}) of
        [{_, No}] -> number(Path, No, F);
        [] -> {error, enoent}
    end.

attributes(No, #files{nodes = Nodes}) -> ets:lookup_element(Nodes, {file, No}, 2).

put_node(No, Attributes, #files{nodes = Nodes}) -> true = ets:insert(Nodes, {{file, No}, Attributes}).

touch(No, F) ->
    put_node(No, (attributes(No, F))#{mtime => erlang:system_time(second)}, F),
    F.

forget(Above, Name, No, #files{nodes = Nodes} = F) ->
    true = ets:delete(Nodes, {name, Above, Name}),
    true = ets:delete(Nodes, {file, No}),
    F1 = cut(No, 0, F),
    F1#files{used = F1#files.used - cost(Name)}.

pay(Cost, #files{used = Used, max = Max}) when Cost > 0, Used + Cost > Max -> {error, enospc};
pay(Cost, #files{used = Used} = F) -> {ok, F#files{used = Used + Cost}}.

%% --- bytes -----------------------------------------------------------------------------------

chunk(No, Index, #files{chunks = Chunks}) ->
    case ets:lookup(Chunks, {No, Index}) of
        [{_, Bytes}] -> Bytes;
        [] -> <<>>
    end.

put_chunk(No, Index, Bytes, #files{chunks = Chunks}) -> true = ets:insert(Chunks, {{No, Index}, Bytes}).

bytes(_No, From, To, _F) when From >= To -> <<>>;
bytes(No, From, To, F) ->
    iolist_to_binary([part(chunk(No, Index, F), max(From - Start, 0), min(To - Start, ?CHUNK))
        || Index <- lists:seq(From div ?CHUNK, (To - 1) div ?CHUNK), Start <- [Index * ?CHUNK]]).

%% Of a chunk that has less, zeros.
part(Bytes, From, To) ->
    Have = max(0, min(byte_size(Bytes), To) - From),
    [binary:part(Bytes, min(From, byte_size(Bytes)), Have), <<0:((To - From - Have) * 8)>>].

%% The chunks that a write changes: what each was and is.
changed(_No, _Offset, <<>>, _F) -> [];
changed(No, Offset, Bytes, F) ->
    Index = Offset div ?CHUNK,
    At = Offset rem ?CHUNK,
    N = min(?CHUNK - At, byte_size(Bytes)),
    <<Now:N/binary, Later/binary>> = Bytes,
    Old = chunk(No, Index, F),
    New = iolist_to_binary([part(Old, 0, At), Now, part(Old, At + N, max(byte_size(Old), At + N))]),
    [{Index, Old, New} | changed(No, Offset + N, Later, F)].

%% Takes away what is behind the first Size bytes.
cut(No, Size, #files{chunks = Chunks, used = Used} = F) ->
    Whole = (Size + ?CHUNK - 1) div ?CHUNK,
    Gone = ets:select(Chunks, [{{{No, '$1'}, '_'}, [{'>=', '$1', Whole}], ['$1']}]),
    Freed = lists:sum([byte_size(Bytes) || Index <- Gone, [{_, Bytes}] <- [ets:take(Chunks, {No, Index})]]),
    cut_last(No, Size div ?CHUNK, Size rem ?CHUNK, F#files{used = Used - Freed}).

cut_last(No, Index, Keep, #files{used = Used} = F) when Keep > 0 ->
    case chunk(No, Index, F) of
        <<Kept:Keep/binary, More/binary>> when More =/= <<>> ->
            put_chunk(No, Index, binary:copy(Kept), F),
            F#files{used = Used - byte_size(More)};
        _ -> F
    end;
cut_last(_No, _Index, _Keep, F) -> F.
