%% SPDX-License-Identifier: Apache-2.0
%% The directory of a control socket: who may enter, and what is left of dead ones
%%
%% It lies in the user's runtime directory, or in /tmp, is called evum-ctl-PID-N, and
%% is its owner's only (0700): who can connect can send any frame. A keeper, a shell
%% that waits for the end of its input, removes it when its user has ended, the whole
%% BEAM with him or not. Should the keeper have been killed too, the next one that
%% makes a directory removes those whose process is gone and whose socket nobody
%% listens at.
-module(evum_ctl_dir).

-export([new/0, keep/1, delete/1]).

-include_lib("kernel/include/file.hrl").

-define(NAME, "evum-ctl-").
-define(TRIES, 100).
%% sun_path is 108 bytes: a NUL, and what clients put into it (/.PID-NNNNN)
-define(PATH_MAX, 84).

%% @doc Makes a directory, and removes those of dead BEAMs.
-spec new() -> {ok, file:filename()} | {error, file:posix()}.
new() ->
    Base = base(),
    lists:foreach(fun delete/1, stale(Base)),
    make(filename:join(Base, ?NAME ++ os:getpid() ++ "-"), ?TRIES).

%% No name comes twice: the last one's keeper may not be through yet.
make(Prefix, Tries) ->
    Dir = Prefix ++ integer_to_list(erlang:unique_integer([positive])),
    case file:make_dir(Dir) of
        ok -> mode(Dir, file:change_mode(Dir, 8#700));
        {error, eexist} when Tries > 1 -> make(Prefix, Tries - 1);
        {error, _} = Error -> Error
    end.

mode(Dir, ok) -> {ok, Dir};
mode(Dir, {error, _} = Error) ->
    _ = file:del_dir(Dir),
    Error.

%% A runtime directory that isn't ours came with somebody's environment.
base() ->
    case os:getenv("XDG_RUNTIME_DIR") of
        [$/ | _] = Dir when length(Dir) < ?PATH_MAX - 30 ->
            case is_ours(Dir) of
                true -> Dir;
                false -> "/tmp"
            end;
        _ -> "/tmp"
    end.

is_ours(Dir) ->
    {ok, #file_info{uid = Uid}} = file:read_file_info("/proc/self"),
    case file:read_link_info(Dir) of
        {ok, #file_info{type = directory, uid = Uid}} -> true;
        _ -> false
    end.

stale(Base) ->
    [Dir || Dir <- filelib:wildcard(filename:join(Base, ?NAME ++ "*")), is_ours(Dir), not has_process(Dir), not has_listener(Dir)].

%% Our own number may have been a dead one's as well: containers begin anew with few.
has_process(Dir) ->
    case string:lexemes(filename:basename(Dir), "-") of
        [_, _, Pid, _] -> Pid =/= os:getpid() andalso filelib:is_dir(filename:join("/proc", Pid));
        _ -> true
    end.

has_listener(Dir) ->
    case socket:open(local, stream) of
        {ok, Socket} ->
            Connected = socket:connect(Socket, #{family => local, path => filename:join(Dir, "ctl")}, nowait),
            _ = socket:close(Socket),
            not lists:member(Connected, [{error, econnrefused}, {error, enoent}]);
        {error, _} ->
            %% who knows
            true
    end.

%% @doc The directory goes with the calling process.
-spec keep(file:filename()) -> port().
keep(Dir) ->
    Script = "trap '' HUP INT TERM; read -r _; rm -rf -- \"$0\"",
    open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script, Dir]}, {cd, "/"}]).

%% @doc Removes a directory with all that clients left there.
-spec delete(file:filename()) -> ok.
delete(Dir) ->
    case file:list_dir_all(Dir) of
        {ok, Names} -> lists:foreach(fun(Name) -> file:delete(filename:join(Dir, Name), [raw]) end, Names);
        {error, _} -> ok
    end,
    _ = file:del_dir(Dir),
    ok.
