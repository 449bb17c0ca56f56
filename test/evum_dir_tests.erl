%% SPDX-License-Identifier: Apache-2.0
%% What a guest has open is bounded, and follows what is renamed
-module(evum_dir_tests).
-include_lib("eunit/include/eunit.hrl").

session_test_() ->
    {setup,
        fun() ->
            {ok, _} = application:ensure_all_started(evum),
            ok
        end,
        fun(ok) -> application:stop(evum) end,
        [
            {"fids are bounded", in_session(fun fids_are_bounded/1)},
            {"what is open follows a rename", in_session(fun open_follows_a_rename/1)},
            {"a directory is read in parts", in_session(fun a_directory_is_read_in_parts/1)},
            {"a tree keeps its shape", in_session(fun a_tree_keeps_its_shape/1)},
            {"what a message isn't", fun a_message_has_its_length/0},
            {"options", fun options_are_checked/0}
        ]}.

in_session(Fun) ->
    fun() ->
        process_flag(trap_exit, true),
        {ok, Server} = evum_dir:start(evum_store, dir_tests),
        try
            {{version, 8192, <<"9P2000.L">>}, S} =
                evum_dir_session:handle({version, 65536, <<"9P2000.L">>}, evum_dir_session:new(Server, 8192)),
            {{qid, attach, _}, S1} = evum_dir_session:handle({attach, 0, 0}, S),
            Fun(S1)
        after
            evum_dir:stop(Server),
            evum_store:stop(dir_tests)
        end
    end.

%% Requests in turn; the last one's answer, and the session.
does(Requests, Session) ->
    lists:foldl(fun(Request, {_, S}) -> evum_dir_session:handle(Request, S) end, {none, Session}, Requests).

fids_are_bounded(S) ->
    {{walk, []}, Full} = does([{walk, 0, N, []} || N <- lists:seq(1, 16383)], S),
    {{error, emfile}, Full1} = does([{walk, 0, 16384, []}], Full),
    {{walk, []}, _} = does([{clunk, 7}, {walk, 0, 16384, []}], Full1).

open_follows_a_rename(S) ->
    {{opened, create, _}, S1} = does([{walk, 0, 1, []}, {mkdir, 0, <<"d">>, 8#755, 0}, {walk, 0, 2, [<<"d">>]}, {create, 2, <<"f">>, 2, 8#644, 0}], S),
    {{write, 3}, S2} = does([{renameat, 0, <<"d">>, 0, <<"e">>}, {write, 2, 0, <<"abc">>}], S1),
    {{data, read, <<"bc">>}, _} = does([{read, 2, 1, 100}], S2),
    {ok, <<"abc">>} = evum_store:get(dir_tests, "e/f").

a_directory_is_read_in_parts(S) ->
    [ok = evum_store:put(dir_tests, integer_to_list(N), <<>>) || N <- lists:seq(1000, 1299)],
    {_, S1} = does([{walk, 0, 1, []}, {open, 1, 0}], S),
    Names = names(0, S1),
    302 = length(Names),
    302 = length(lists:usort(Names)).

names(Offset, S) ->
    {{data, readdir, Data}, S1} = evum_dir_session:handle({readdir, 1, Offset, 1000}, S),
    case entries(iolist_to_binary(Data)) of
        [] -> [];
        Entries ->
            {Next, _} = lists:last(Entries),
            [Name || {_, Name} <- Entries] ++ names(Next, S1)
    end.

entries(<<_Qid:13/binary, Next:64/little, _Type, N:16/little, Name:N/binary, Rest/binary>>) -> [{Next, Name} | entries(Rest)];
entries(<<>>) -> [].

a_tree_keeps_its_shape(S) ->
    {_, S1} = does([{mkdir, 0, <<"a">>, 8#755, 0}, {walk, 0, 1, [<<"a">>]}, {mkdir, 1, <<"b">>, 8#755, 0}, {mknod, 0, <<"f">>, 8#100644, 0}], S),
    Errors = [
        {{renameat, 0, <<"a">>, 1, <<"c">>}, einval}, {{renameat, 0, <<"f">>, 0, <<"a">>}, eisdir}, {{renameat, 0, <<"a">>, 0, <<"f">>}, enotdir},
        {{unlinkat, 0, <<"a">>, 0}, eisdir}, {{unlinkat, 0, <<"a">>, 16#200}, enotempty}, {{unlinkat, 0, <<"f">>, 16#200}, enotdir},
        {{unlinkat, 0, <<"none">>, 0}, enoent}, {{mkdir, 0, <<"a">>, 0, 0}, eexist}, {{mkdir, 0, <<"..">>, 0, 0}, einval}, {{mkdir, 0, <<"x/y">>, 0, 0}, einval},
        {{mknod, 0, <<"n">>, 8#020000, 0}, eperm}, {{walk, 0, 5, [<<"f">>, <<"x">>]}, enotdir}, {{walk, 0, 5, [<<"none">>]}, enoent}, {{clunk, 99}, ebadf},
        {{walk, 0, 1, []}, ebadf}, {{rename, 0, 1, <<"r">>}, ebusy}, {{remove, 0}, ebusy}, {{read, 1, 0, 10}, ebadf}, {{write, 1, 0, <<"x">>}, ebadf}
    ],
    [?assertMatch({_, {{error, Posix}, _}} when Posix =:= Wanted, {Request, evum_dir_session:handle(Request, S1)}) || {Request, Wanted} <- Errors],
    %% of a walk what was found is told, and no fid made
    {{walk, [_]}, S2} = does([{walk, 0, 5, [<<"a">>, <<"x">>]}], S1),
    {{error, ebadf}, _} = does([{getattr, 5}], S2).

a_message_has_its_length() ->
    more = evum_9p:next(<<>>, 100),
    more = evum_9p:next(<<7, 0, 0>>, 100),
    {error, bad_length} = evum_9p:next(<<6:32/little>>, 100),
    {error, bad_length} = evum_9p:next(<<101:32/little>>, 100),
    {ok, {120, 1, <<>>}, <<"x">>} = evum_9p:next(<<7:32/little, 120, 1:16/little, "x">>, 100),
    {error, malformed} = evum_9p:parse(120, <<>>),
    {ok, unsupported} = evum_9p:parse(30, <<>>).

options_are_checked() ->
    {ok, [{<<"/h">>, <<"/a/b">>, ro}]} = evum_mount:shares([{"/h", "//a/./b/", ro}]),
    {ok, [{kv, x, <<"/state">>}]} = evum_mount:states({kv, x}),
    {ok, []} = evum_mount:states([]),
    [error = evum_mount:shares([{"/h", Dir, ro}]) || Dir <- ["a", "/", "/a/../b", "/..", "", "/a\tb", "/a\"b", [0], x, "/" ++ lists:duplicate(255, $a)]],
    {ok, <<"/a">>} = evum_mount:twice([{<<"/h">>, <<"/a">>, ro}], [{kv, x, <<"/a">>}]),
    none = evum_mount:twice([{<<"/h">>, <<"/a">>, ro}], [{kv, x, <<"/b">>}]).
