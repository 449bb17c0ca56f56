%% SPDX-License-Identifier: Apache-2.0
%% A file of arguments for erl (vm.args) as words; pure
%%
%% As erlexec reads it: words end at blanks, `#' begins a comment that ends with its
%% line, '…' and "…" hold blanks together, and a backslash keeps what follows, but in '…'.
-module(evum_node_args).

-export([read/1, parse/1]).
-export_type([args/0]).

%% `name' and `cookie' are those that were given by -name, -sname and -setcookie, which
%% aren't among the words.
-type args() :: #{words := [binary()], name => binary(), cookie => binary()}.

%% of a file, bytes
-define(MAX, 65536).

%% @doc Reads a file of at most 64 KiB.
-spec read(file:filename()) -> {ok, args()} | {error, {bad_vm_args, file:filename(), term()}}.
read(File) ->
    case filelib:file_size(File) =< ?MAX andalso file:read_file(File) of
        {ok, Text} -> named(parse(Text), File);
        false -> {error, {bad_vm_args, File, {too_long, ?MAX}}};
        {error, Posix} -> {error, {bad_vm_args, File, Posix}}
    end.

named({error, Why}, File) -> {error, {bad_vm_args, File, Why}};
named({ok, Args}, _File) -> {ok, Args}.

%% @doc The words of a text. Errors: `{unmatched, Quote}'; `{word, Word}', one that holds a
%% line's end or NUL, or names a file of the host's (-args_file).
-spec parse(binary()) -> {ok, args()} | {error, {unmatched, char()} | {word, binary()}}.
parse(Text) ->
    try
        {ok, sort(words(Text, []), #{words => []})}
    catch
        throw:Why -> {error, Why}
    end.

sort([<<"-", Flag/binary>>, Value | Rest], Args) when Flag =:= <<"name">>; Flag =:= <<"sname">> ->
    sort(Rest, Args#{name => Value});
sort([<<"-setcookie">>, Value | Rest], Args) -> sort(Rest, Args#{cookie => Value});
sort([<<"-args_file">> = Word | _], _Args) -> throw({word, Word});
sort([Word | Rest], #{words := Words} = Args) ->
    case binary:match(Word, [<<"\n">>, <<0>>]) of
        nomatch -> sort(Rest, Args#{words := [Word | Words]});
        _ -> throw({word, Word})
    end;
sort([], #{words := Words} = Args) -> Args#{words := lists:reverse(Words)}.

words(Text, Words) ->
    case skip(Text) of
        <<>> -> lists:reverse(Words);
        More ->
            {Word, Rest} = word(More, <<>>),
            words(Rest, [Word | Words])
    end.

skip(<<C, Rest/binary>>) when C =:= $\s; C =:= $\t; C =:= $\n; C =:= $\r -> skip(Rest);
skip(<<$#, Rest/binary>>) -> skip(line_end(Rest));
skip(Text) -> Text.

line_end(Text) ->
    case binary:split(Text, <<"\n">>) of
        [_, Rest] -> Rest;
        [_] -> <<>>
    end.

word(<<>>, Word) -> {Word, <<>>};
word(<<C, _/binary>> = Text, Word) when C =:= $\s; C =:= $\t; C =:= $\n; C =:= $\r -> {Word, Text};
word(<<$\\, C, Rest/binary>>, Word) -> word(Rest, <<Word/binary, C>>);
word(<<Quote, Rest/binary>>, Word) when Quote =:= $'; Quote =:= $" -> quoted(Rest, Quote, Word);
word(<<C, Rest/binary>>, Word) -> word(Rest, <<Word/binary, C>>).

quoted(<<Quote, Rest/binary>>, Quote, Word) -> word(Rest, Word);
quoted(<<$\\, C, Rest/binary>>, $", Word) -> quoted(Rest, $", <<Word/binary, C>>);
quoted(<<C, Rest/binary>>, Quote, Word) -> quoted(Rest, Quote, <<Word/binary, C>>);
quoted(<<>>, Quote, _Word) -> throw({unmatched, Quote}).
