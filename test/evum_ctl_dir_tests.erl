%% SPDX-License-Identifier: Apache-2.0
%% Where the directory of a control socket is made
-module(evum_ctl_dir_tests).
-include_lib("eunit/include/eunit.hrl").

%% With a runtime directory of the environment's, as a session has one.
made_with(Runtime) ->
    Before = os:getenv("XDG_RUNTIME_DIR"),
    set(Runtime),
    try
        {ok, Dir} = evum_ctl_dir:new(),
        ok = evum_ctl_dir:delete(Dir),
        filename:dirname(Dir)
    after set(Before)
    end.

set(false) -> os:unsetenv("XDG_RUNTIME_DIR");
set(Dir) -> os:putenv("XDG_RUNTIME_DIR", Dir).

own(Length) ->
    Dir = lists:flatten(io_lib:format("/tmp/~*..0s", [Length, "ctl-dir-" ++ os:getpid()])),
    ok = file:make_dir(Dir),
    Dir.

it_is_the_users_runtime_directory_test() ->
    Own = own(20),
    ?assertEqual(Own, made_with(Own)),
    ok = file:del_dir(Own).

else_it_is_tmp_test_() ->
    [?_assertEqual("/tmp", made_with(Runtime)) || Runtime <- [false, "", "relative", "/nonexistent", "/etc/passwd"]].

%% root's own directories are others' to nobody, and the other way round.
not_one_of_another_user_test() ->
    {ok, Others} = case os:cmd("id -u") of
        "0\n" ->
            Dir = own(20),
            ok = file:change_owner(Dir, 65534),
            {ok, Dir};
        _ -> {ok, "/root"}
    end,
    ?assertEqual("/tmp", made_with(Others)),
    _ = Others =/= "/root" andalso file:del_dir(Others).

not_one_whose_sockets_would_have_too_long_names_test() ->
    Long = own(90),
    ?assertEqual("/tmp", made_with(Long)),
    ok = file:del_dir(Long).

each_is_another_test() ->
    Dirs = [begin {ok, Dir} = evum_ctl_dir:new(), {ok, _} = listen(Dir), Dir end || _ <- [1, 2, 3]],
    ?assertEqual(3, length(lists:usort(Dirs))),
    [ok = evum_ctl_dir:delete(Dir) || Dir <- Dirs].

%% One that nobody listens at would be a dead one's.
listen(Dir) ->
    {ok, Socket} = socket:open(local, stream),
    ok = socket:bind(Socket, #{family => local, path => filename:join(Dir, "ctl")}),
    ok = socket:listen(Socket),
    {ok, Socket}.
