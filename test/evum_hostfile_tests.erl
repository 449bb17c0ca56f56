%% SPDX-License-Identifier: Apache-2.0
%% The program for this host's files: copies, digests and locks
-module(evum_hostfile_tests).
-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/file.hrl").

all_test_() ->
    {setup, fun make/0, fun remove/1, fun(Dir) -> [{timeout, 30, fun() -> F(Dir) end} || F <- cases()] end}.

cases() -> [fun copies/1, fun digests/1, fun locks/1, fun errors/1].

make() ->
    Dir = "/tmp/evum-hostfile-" ++ os:getpid(),
    ok = file:make_dir(Dir),
    Dir.

remove(Dir) -> ok = file:del_dir_r(Dir).

%% bytes at offsets, and holes between them
write(File, Size, Parts) ->
    {ok, Fd} = file:open(File, [write, raw, binary]),
    ok = file:pwrite(Fd, [{Offset, Bytes} || {Offset, Bytes} <- Parts]),
    {ok, Size} = file:position(Fd, Size),
    ok = file:truncate(Fd),
    ok = file:close(Fd).

with(Fun) -> evum_hostfile:with(Fun).

copies(Dir) ->
    [From, To] = [filename:join(Dir, N) || N <- ["von \x{e4}", "nach"]],
    write(From, 50000000, [{5, <<"a">>}, {30000000, crypto:strong_rand_bytes(100000)}]),
    {ok, Bytes} = with(fun(H) -> evum_hostfile:copy(From, To, H) end),
    ?assert(Bytes < 1000000),
    ?assertEqual(file:read_file(From), file:read_file(To)),
    ?assertEqual({error, eexist}, with(fun(H) -> evum_hostfile:copy(From, To, H) end)),
    ok = with(fun(H) -> {ok, [ok, ok]} = {ok, [evum_hostfile:sync(P, H) || P <- [To, Dir]]}, ok end),
    [ok = file:delete(F) || F <- [From, To]].

%% Zeros are a hole, wherever the file system has them.
digests(Dir) ->
    File = filename:join(Dir, "file"),
    Digest = fun(Size, Parts) ->
        write(File, Size, Parts),
        {ok, D} = with(fun(H) -> evum_hostfile:digest(File, H) end),
        ok = file:delete(File),
        D
    end,
    Data = crypto:strong_rand_bytes(200000),
    One = Digest(10000000, [{70000, Data}]),
    ?assertEqual(One, Digest(10000000, [{0, <<0:560000>>}, {70000, Data}, {300000, <<0:800000>>}])),
    Others = [Digest(10000001, [{70000, Data}]), Digest(10000000, [{70001, Data}]), Digest(10000000, [{70000, Data}, {9999999, <<1>>}]),
              Digest(10000000, [{135536, Data}]), Digest(10000000, []), Digest(0, [])],
    ?assertEqual(7, length(lists:usort([One | Others]))).

locks(Dir) ->
    File = filename:join(Dir, "lock"),
    {ok, One} = evum_hostfile:open(),
    {ok, Two} = evum_hostfile:open(),
    ok = evum_hostfile:lock(File, 1, One),
    ?assertEqual({ok, false}, evum_hostfile:idle(File, Two)),
    ?assertEqual({error, etimedout}, evum_hostfile:lock(File, 1, Two)),
    ok = evum_hostfile:close(One),
    ?assertEqual({ok, true}, evum_hostfile:idle(File, Two)),
    %% with its process
    {Pid, Monitor} = spawn_monitor(fun() -> {ok, H} = evum_hostfile:open(), ok = evum_hostfile:lock(File, 1, H) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ok = evum_hostfile:lock(File, 5, Two),
    ok = evum_hostfile:close(Two).

errors(Dir) ->
    None = filename:join(Dir, "none"),
    with(fun(H) ->
        ?assertEqual({error, enoent}, evum_hostfile:copy(None, None ++ "2", H)),
        ?assertEqual({error, enoent}, evum_hostfile:digest(None, H)),
        ?assertEqual({error, enoent}, evum_hostfile:idle(None, H)),
        ?assertEqual({error, enoent}, evum_hostfile:sync(None, H)),
        ?assertEqual({error, einval}, evum_hostfile:copy(Dir, None, H)),
        ?assertEqual({error, enoent}, evum_hostfile:lock(filename:join(None, "lock"), 1, H))
    end).
