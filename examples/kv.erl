%% SPDX-License-Identifier: Apache-2.0
%% A directory of a guest's that is a map: each key a file, its value the bytes
%%
%% evm:create([{state, {kv, #{<<"colour">> => <<"red">>}}}]), and in the guest:
%% cat /state/colour; echo green > /state/colour
-module(kv).
-behaviour(evum_dir).

-export([init/1, lookup/2, list/2, read/4, create/3, write/4, change/3, remove/2]).

init(Map) -> {ok, Map}.

lookup([], _Map) -> {ok, #{type => directory}};
lookup([Key], Map) when is_map_key(Key, Map) -> {ok, #{type => file, size => byte_size(map_get(Key, Map))}};
lookup(_Path, _Map) -> {error, enoent}.

list([], Map) -> {ok, maps:keys(Map)}.

read([Key], Offset, Count, Map) -> {ok, part(map_get(Key, Map), Offset, Count)}.

create([Key], #{type := file}, Map) -> {ok, Map#{Key => <<>>}};
create(_Path, _Attributes, _Map) -> {error, eperm}.

write([_Key], Offset, Bytes, _Map) when Offset + byte_size(Bytes) > 1048576 -> {error, efbig};
write([Key], Offset, Bytes, Map) ->
    Value = map_get(Key, Map),
    Gap = max(0, Offset - byte_size(Value)) * 8,
    After = part(Value, Offset + byte_size(Bytes), byte_size(Value)),
    {ok, Map#{Key := <<(part(Value, 0, Offset))/binary, 0:Gap, Bytes/binary, After/binary>>}}.

change([Key], #{size := Size}, Map) when Size =< 1048576 -> {ok, Map#{Key := part(map_get(Key, Map), 0, Size)}};
change(_Path, _Attributes, Map) -> {ok, Map}.

remove([Key], Map) -> {ok, maps:remove(Key, Map)}.

part(Bytes, From, Count) when From >= byte_size(Bytes) -> binary:part(Bytes, byte_size(Bytes), min(0, Count));
part(Bytes, From, Count) -> binary:part(Bytes, From, min(Count, byte_size(Bytes) - From)).
