%% SPDX-License-Identifier: Apache-2.0
%% Archives come back as they were written; foreign bytes are an error, not a crash
-module(prop_evum_release).
-include_lib("proper/include/proper.hrl").

-export([prop_an_archive_comes_back/0, prop_a_cut_archive_is_an_error/0, prop_bytes_that_are_no_elf_are_an_error/0,
         prop_a_damaged_elf_is_read_or_refused/0, prop_a_text_without_variables_stays/0, prop_variables_are_replaced/0]).

prop_an_archive_comes_back() ->
    ?FORALL(Entries, list(entry()), equals({ok, Entries}, evum_cpio:entries(archive(Entries)))).

prop_a_cut_archive_is_an_error() ->
    ?FORALL({Entries, Cut}, {non_empty(list(entry())), range(1, 200)},
        begin
            Archive = archive(Entries),
            {error, bad_archive} =:= evum_cpio:entries(binary:part(Archive, 0, byte_size(Archive) - min(Cut, byte_size(Archive)) - 4))
        end).

prop_bytes_that_are_no_elf_are_an_error() ->
    ?FORALL({Bytes, Class, Order}, {binary(), byte(), byte()},
        case evum_elf:read(Bytes) of {error, not_elf} -> true; _ -> false end andalso
            element(1, evum_elf:read(<<16#7f, "ELF", Class, Order, Bytes/binary>>)) =:= error).

%% A real one with some bytes changed: what it says is of the shape it ought to have.
prop_a_damaged_elf_is_read_or_refused() ->
    {ok, Whole} = file:read_file(os:find_executable("true")),
    {ok, #{needed := [_ | _]}} = evum_elf:read(Whole),
    ?FORALL({Changes, Length}, {list({range(0, 1023), byte()}), range(0, byte_size(Whole))},
        case evum_elf:read(binary:part(lists:foldl(fun change/2, Whole, Changes), 0, Length)) of
            {ok, #{machine := {_, _, _}, needed := Needed, rpath := R, runpath := P}} -> lists:all(fun is_binary/1, Needed ++ R ++ P);
            {error, Why} -> lists:member(Why, [not_elf, bad_elf])
        end).

prop_a_text_without_variables_stays() ->
    ?FORALL(Text, ?SUCHTHAT(B, binary(), binary:match(B, <<"${">>) =:= nomatch),
        equals({ok, Text}, evum_release_vars:replace(Text, fun(_) -> "x" end))).

%% what a shell wouldn't take for a variable stays as it is
prop_every_text_has_an_answer() ->
    ?FORALL(Parts, list(oneof(["${", "}", ":-", "=", <<0>>, word()])),
        case evum_release_vars:replace(iolist_to_binary(Parts), fun os:getenv/1) of
            {ok, Text} -> is_binary(Text);
            {error, Name} -> is_list(Name)
        end).

prop_variables_are_replaced() ->
    ?FORALL({Before, Name, Value, After}, {word(), non_empty(word()), word(), word()},
        begin
            Text = list_to_binary([Before, "${", Name, "}", After, "${", Name, ":-usual}"]),
            Set = evum_release_vars:replace(Text, fun(_) -> Value end),
            Usual = case Value of "" -> "usual"; _ -> Value end,
            equals({{ok, list_to_binary([Before, Value, After, Usual])}, {error, Name}},
                   {Set, evum_release_vars:replace(Text, fun(_) -> false end)})
        end).

archive(Entries) ->
    iolist_to_binary([[evum_cpio:entry(N, E) || {N, E} <- lists:enumerate(Entries)], evum_cpio:trailer()]).

entry() -> {name(), oneof([{directory, mode()}, {file, mode(), binary()}, {link, non_empty(binary())}])}.

%% The archive's own end has this one, and "./" before a name means nothing.
name() ->
    ?SUCHTHAT(Name, ?LET(Word, non_empty(word()), list_to_binary(Word)), Name =/= <<"TRAILER!!!">>).

mode() -> range(0, 8#7777).

word() -> list(oneof([range($a, $z), range($A, $Z), $_])).

change({At, Byte}, Bytes) ->
    <<Before:At/binary, _, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>.
