%% SPDX-License-Identifier: Apache-2.0
%% The variables of a release's templates; pure
-module(evum_release_vars).

-export([replace/2]).

%% @doc Puts the values of variables in place of `${NAME}' and `${NAME:-default}', as a
%% release's start script does.
-spec replace(binary(), fun((string()) -> string() | false)) -> {ok, binary()} | {error, Name :: string()}.
replace(Text, Value) ->
    try
        {ok, iolist_to_binary(replaced(Text, Value))}
    catch
        throw:Name -> {error, Name}
    end.

replaced(Text, Value) ->
    case re:run(Text, "\\$\\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\\}", [{capture, [0, 1, 2, 3]}]) of
        {match, [{At, Length}, Name, Default, Text3]} ->
            <<Before:At/binary, _:Length/binary, After/binary>> = Text,
            [Before, value(Value(binary_to_list(part(Text, Name))), Default, part(Text, Text3), part(Text, Name)) | replaced(After, Value)];
        nomatch -> [Text]
    end.

part(_Text, {-1, 0}) -> <<>>;
part(Text, Part) -> binary:part(Text, Part).

value(Set, {-1, 0}, _Default, Name) when Set =:= false -> throw(binary_to_list(Name));
value(Set, {-1, 0}, _Default, _Name) -> unicode:characters_to_binary(Set);
value(Set, _, Default, _Name) when Set =:= false; Set =:= "" -> Default;
value(Set, _, _Default, _Name) -> unicode:characters_to_binary(Set).
