%% SPDX-License-Identifier: Apache-2.0
%% Whatever a guest's root sends where 9P is expected costs an error, and no more
-module(prop_evum_9p).

-include_lib("proper/include/proper.hrl").

-export([prop_garbage_is_an_error/0, prop_any_request_is_answered/0, prop_messages_are_cut/0, prop_a_store_is_a_file_system/0]).

-define(TYPES, [8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 40, 50, 52, 54, 70, 72, 74, 76, 100, 104, 108, 110, 116, 118, 120, 122]).

%% Any bytes as any message.
prop_garbage_is_an_error() ->
    ?FORALL(
        {Type, Body},
        {oneof([oneof(?TYPES), byte()]), binary()},
        case evum_9p:parse(Type, Body) of
            {ok, _} -> true;
            {error, malformed} -> true
        end
    ).

%% Requests that parse, with few fids and names, so that they meet; each answer is a message
%% of its own length.
prop_any_request_is_answered() ->
    ?FORALL(Requests, list(request()), with_session(fun(Session) -> answers(Requests, Session) end)).

request() ->
    Fid = integer(0, 3),
    Number = oneof([integer(0, 40000), integer(0, 16#ffffffffffffffff)]),
    Name = oneof([<<"a">>, <<"b">>, <<"..">>, <<>>, <<"a/b">>, <<0>>, binary(), binary(256)]),
    oneof([
        {attach, Fid, 0}, {walk, Fid, Fid, list(Name)}, {read, Fid, Number, Number}, {readdir, Fid, Number, Number},
        {write, Fid, Number, binary()}, {clunk, Fid}, {remove, Fid}, {statfs, Fid}, {readlink, Fid}, {getattr, Fid}, {fsync, Fid},
        {lock, Fid}, {open, Fid, integer(0, 16#ffffffff)}, {create, Fid, Name, integer(0, 16#ffffffff), integer(0, 16#ffffffff), 0},
        {symlink, Fid, Name, binary(), 0}, {mkdir, Fid, Name, 8#755, 0}, {mknod, Fid, Name, integer(0, 16#ffff), 0},
        {rename, Fid, Fid, Name}, {renameat, Fid, Name, Fid, Name}, {unlinkat, Fid, Name, oneof([0, 16#200])},
        {setattr, Fid, oneof([#{size => Number}, #{mode => 8#600}, #{mtime => now}, #{}])}, {flush, 1}, {version, Number, <<"9P2000.L">>}, unsupported
    ]).

with_session(Fun) ->
    {ok, _} = application:ensure_all_started(evum),
    process_flag(trap_exit, true),
    Store = list_to_atom("prop_store"),
    {ok, Server} = evum_dir:start(evum_store, {Store, #{max_bytes => 100000}}),
    try
        Fun(evum_dir_session:new(Server, 32768))
    after
        evum_dir:stop(Server),
        evum_store:stop(Store)
    end.

answers([], _Session) -> true;
answers([Request | Requests], Session) ->
    {Reply, Session1} = evum_dir_session:handle(Request, Session),
    Message = iolist_to_binary(evum_9p:message(7, Reply)),
    case Message of
        <<Size:32/little, _Type, 7:16/little, _/binary>> when Size =:= byte_size(Message), Size =< 32768, Reply =/= {error, eio} ->
            answers(Requests, Session1);
        _ -> false
    end.

prop_messages_are_cut() ->
    ?FORALL({Bodies, Rest}, {list(binary()), binary(3)}, begin
        Stream = <<(<< <<(byte_size(B) + 7):32/little, 100, 1:16/little, B/binary>> || B <- Bodies >>)/binary, Rest/binary>>,
        cut(Stream) =:= {Bodies, Rest}
    end).

cut(Stream) ->
    case evum_9p:next(Stream, 100000) of
        {ok, {100, 1, Body}, Rest} ->
            {Bodies, End} = cut(Rest),
            {[binary:copy(Body) | Bodies], End};
        more -> {[], Stream}
    end.

%% Beside a model: a map of names and bytes.
prop_a_store_is_a_file_system() ->
    ?FORALL(Operations, list(operation()), begin
        {Files, Model} = lists:foldl(fun both/2, {evum_store_files:new(1 bsl 40), #{}}, Operations),
        {ok, Names} = evum_store_files:list([], Files),
        Costs = maps:fold(fun(Name, _, Sum) -> Sum + evum_store_files:cost(Name) end, 0, Model),
        #{bytes := Bytes} = evum_store_files:info(Files),
        Names =:= lists:sort(maps:keys(Model)) andalso Bytes >= Costs andalso
            (map_size(Model) > 0 orelse Bytes =:= 0) andalso
            lists:all(fun({Name, Value}) ->
                evum_store_files:read([Name], 0, byte_size(Value) + 10, Files) =:= {ok, Value}
            end, maps:to_list(Model))
    end).

operation() ->
    Name = oneof([<<"a">>, <<"b">>, <<"c">>]),
    Offset = oneof([integer(0, 10), integer(32760, 32775), integer(0, 70000)]),
    oneof([{write, Name, Offset, binary()}, {write, Name, Offset, <<1:(40000 * 8)>>}, {cut, Name, Offset}, {remove, Name}, {rename, Name, Name}]).

both({write, Name, Offset, Bytes}, State) ->
    {Files, Model} = created(Name, State),
    {ok, Files1} = evum_store_files:write([Name], Offset, Bytes, Files),
    Value = map_get(Name, Model),
    Length = case Bytes of <<>> -> byte_size(Value); _ -> Offset end,
    Before = padded(Value, Length),
    After = case Value of <<_:(byte_size(Before))/binary, _:(byte_size(Bytes))/binary, More/binary>> -> More; _ -> <<>> end,
    case Bytes of
        <<>> -> {Files1, Model#{Name := padded_to(Value, Offset)}};
        _ -> {Files1, Model#{Name := <<Before/binary, Bytes/binary, After/binary>>}}
    end;
both({cut, Name, Size}, State) ->
    {Files, Model} = created(Name, State),
    {ok, Files1} = evum_store_files:change([Name], #{size => Size}, Files),
    {Files1, Model#{Name := padded(map_get(Name, Model), Size)}};
both({remove, Name}, State) ->
    {Files, Model} = created(Name, State),
    {ok, Files1} = evum_store_files:remove([Name], Files),
    {Files1, maps:remove(Name, Model)};
both({rename, Same, Same}, State) -> State;
both({rename, From, To}, State) ->
    {Files, Model} = created(From, State),
    {ok, Files1} = evum_store_files:rename([From], [To], Files),
    {Value, Rest} = maps:take(From, Model),
    {Files1, Rest#{To => Value}}.

created(Name, {Files, Model}) when is_map_key(Name, Model) -> {Files, Model};
created(Name, {Files, Model}) ->
    {ok, Files1} = evum_store_files:create([Name], #{type => file}, Files),
    {Files1, Model#{Name => <<>>}}.

%% Exactly so long.
padded(Value, Size) when byte_size(Value) >= Size -> binary:part(Value, 0, Size);
padded(Value, Size) -> <<Value/binary, 0:((Size - byte_size(Value)) * 8)>>.

%% At least so long.
padded_to(Value, Size) when byte_size(Value) >= Size -> Value;
padded_to(Value, Size) -> padded(Value, Size).
