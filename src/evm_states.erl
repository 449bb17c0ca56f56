%% SPDX-License-Identifier: Apache-2.0
%% Where committed states lie, and what is done to them there
%%
%% Theory of operation.  A state is a directory of its name with two files: `state', its
%% record (evm_state), and `layer.img', read-only, with a time of change that says
%% that nobody has written to it since. It is made under another name and renamed once all
%% of it is on the disk, so it is there whole or not at all; a removed one is renamed
%% first. Whoever adds or removes holds the lock of the whole, a file lock that
%% ends with his process, and clears away what others who died had under way.
%%
%% At each use the size and the time of a layer are compared, which costs nothing; where
%% the time is another (a copy, a backup that came back) the digest decides, once.
-module(evm_states).

-export([list/0, dist/1, add/4, remove/1, verify/1, bases/0, find/1, dir/0]).

-include_lib("kernel/include/file.hrl").

-define(RECORD, "state").
-define(LAYER, "layer.img").
-define(LOCK, ".lock").
-define(NEW, ".new-").
-define(OLD, ".old-").
%% the time of change of a layer that is as it was committed: the epoch's second second
-define(UNTOUCHED, 1).
-define(LOCK_SECONDS, 120).

-type error() ::
    {bad_option, state} | {unknown_state, atom()} | {state_exists, atom()} | {has_children, atom(), [atom()]}
    | {state_in_use, atom()} | {damaged_state, atom(), file:filename(), term()} | {too_deep, atom(), pos_integer()}
    | {states_locked, file:filename()} | {local, file:posix(), binary()} | no_home | {not_built, file:filename()} | port_died.
-export_type([error/0]).

%% @doc The application environment's `states_dir', else `$XDG_DATA_HOME/evum/states', else
%% below `~/.local/share'.
-spec dir() -> {ok, file:filename()} | {error, no_home}.
dir() ->
    case {application:get_env(evum, states_dir), evum_home:dir(data)} of
        {{ok, Dir}, _} -> {ok, filename:absname(Dir)};
        {undefined, {ok, Home}} -> {ok, filename:join(Home, "states")};
        {undefined, {error, _} = Error} -> Error
    end.

%% @doc All states, by name; of a damaged one only `name' and `damaged', why.
-spec list() -> {ok, [#{name := atom(), atom() => term()}]} | {error, error()}.
list() ->
    case dir() of
        {ok, Dir} -> {ok, [entry(State) || State <- lists:sort(read_all(Dir))]};
        {error, _} = Error -> Error
    end.

entry({_Name, {ok, State}}) -> maps:without([size, digest], State);
entry({Name, {error, Why}}) -> #{name => Name, damaged => Why}.

read_all(Dir) ->
    Names = case file:list_dir(Dir) of {ok, All} -> All; {error, _} -> [] end,
    [{Name, read(Dir, Name)} || Text <- Names, hd(Text) =/= $., Name <- [list_to_atom(Text)], evm_state:name(Name) =:= ok].

read(Dir, Name) ->
    case file:read_file(file(Dir, Name, ?RECORD)) of
        {ok, Text} -> evm_state:parse(Name, Text);
        {error, _} = Error -> Error
    end.

good(Dir) -> maps:from_list([{Name, State} || {Name, {ok, State}} <- read_all(Dir)]).

file(Dir, Name, File) -> filename:join([Dir, atom_to_list(Name), File]).

%% @doc The image that each state needs.
-spec bases() -> [file:filename()].
bases() ->
    case dir() of
        {ok, Dir} -> lists:usort([Base || #{base := Base} <- maps:values(good(Dir))]);
        {error, no_home} -> []
    end.

%% @doc A state as an image that machines are created of. Its files are checked: what
%% was changed is named.
-spec dist(atom()) -> {ok, evm_cfg:dist()} | {error, error()}.
dist(Name) ->
    case chain(Name) of
        {ok, Dir, Chain} -> checked([check(Dir, S, fun quick/3) || S <- Chain], Dir, Chain);
        {error, _} = Error -> Error
    end.

checked(Checks, Dir, Chain) ->
    case [Error || {error, _} = Error <- Checks] of
        [] -> {ok, to_dist(Dir, Chain)};
        [Error | _] -> Error
    end.

to_dist(Dir, Chain) ->
    #{name := Name, base := Base, mem := Mem, args := Args} = State = lists:last(Chain),
    Layers = [file(Dir, N, ?LAYER) || #{name := N} <- Chain],
    (maps:with([kernel], State))#{
        root => disk, access => overlay, file => Base, layers => Layers, mem => Mem, args => Args,
        source => file(Dir, Name, ?RECORD)
    }.

%% @doc A state and those under it, the oldest first, and where they are.
-spec find(atom()) -> {ok, #{base := file:filename(), layers := [file:filename()]}} | {error, error()}.
find(Name) ->
    case dist(Name) of
        {ok, #{file := Base, layers := Layers}} -> {ok, #{base => Base, layers => Layers}};
        {error, _} = Error -> Error
    end.

chain(Name) ->
    case {evm_state:name(Name), dir()} of
        {ok, {ok, Dir}} -> chain(Name, Dir, read_all(Dir));
        {ok, {error, _} = Error} -> Error;
        {{error, _} = Error, _} -> Error
    end.

chain(Name, Dir, All) ->
    case evm_state:chain(Name, maps:from_list([{N, State} || {N, {ok, State}} <- All])) of
        {ok, Chain} -> {ok, Dir, Chain};
        {error, {unknown_state, Missing}} -> {error, unknown(Missing, Name, Dir, All)};
        {error, _} = Error -> Error
    end.

%% It may be there, but not to be read; or one under it may not be there.
unknown(Missing, Name, Dir, All) ->
    case lists:keyfind(Missing, 1, All) of
        {Missing, {error, Why}} -> {damaged_state, Missing, file(Dir, Missing, ?RECORD), Why};
        false when Missing =:= Name -> {unknown_state, Name};
        false -> {damaged_state, Name, file(Dir, Missing, ?RECORD), enoent}
    end.

%% --- is it as it was committed? ------------------------------------------------------

%% @doc Compares all bytes of a state, and of those under it, with their digests.
-spec verify(atom()) -> ok | {error, error()}.
verify(Name) ->
    case chain(Name) of
        {ok, Dir, Chain} ->
            case [Error || S <- Chain, {error, _} = Error <- [check(Dir, S, fun thorough/3)]] of
                [] -> ok;
                [Error | _] -> Error
            end;
        {error, _} = Error -> Error
    end.

check(Dir, #{name := Name} = State, How) ->
    File = file(Dir, Name, ?LAYER),
    case How(File, State, file:read_file_info(File, [raw, {time, posix}])) of
        ok -> ok;
        {error, Why} -> {error, {damaged_state, Name, File, Why}}
    end.

quick(_File, #{size := Size}, {ok, #file_info{size = Size, mtime = ?UNTOUCHED, type = regular}}) -> ok;
quick(File, State, Info) -> thorough(File, State, Info).

thorough(File, #{size := Size, digest := Digest}, {ok, #file_info{size = Size, type = regular}}) ->
    case evum_hostfile:with(fun(Handle) -> evum_hostfile:digest(File, Handle) end) of
        {ok, Digest} ->
            %% where it isn't ours to mark, it is checked again next time
            _ = mark(File),
            ok;
        {ok, _} -> {error, changed};
        {error, _} = Error -> Error
    end;
thorough(_File, _State, {ok, _}) -> {error, changed};
thorough(_File, _State, {error, _} = Error) -> Error.

mark(File) -> file:write_file_info(File, #file_info{mtime = ?UNTOUCHED, atime = ?UNTOUCHED}, [raw, {time, posix}]).

%% --- adding and removing --------------------------------------------------------------

%% @doc Adds a state: `Copy' is to make the layer's file of the name it is given, and says
%% what else belongs in the record; `Layers' are those that it lies over.
-spec add(atom(), file:filename(), Layers :: [file:filename()],
          fun((file:filename(), evum_hostfile:handle()) -> {ok, map()} | {error, Reason})) -> ok | {error, error() | Reason}.
add(Name, Base, Layers, Copy) ->
    case evm_state:name(Name) of
        ok -> locked(fun(Dir, Handle) -> add(Name, Base, Layers, Copy, Dir, Handle) end);
        {error, _} = Error -> Error
    end.

add(Name, Base, Layers, Copy, Dir, Handle) ->
    Parent = parent(Layers),
    case {filelib:is_file(filename:join(Dir, atom_to_list(Name))), length(Layers) < evm_state:depth_max()} of
        {true, _} -> {error, {state_exists, Name}};
        {false, false} -> {error, {too_deep, Name, evm_state:depth_max()}};
        {false, true} when Parent =:= none -> add_new(#{name => Name, parent => none, base => Base}, Copy, Dir, Handle);
        {false, true} ->
            %% the machine may have been made of a state of another directory, or one that was removed
            case file(Dir, Parent, ?LAYER) =:= lists:last(Layers) andalso is_map_key(Parent, good(Dir)) of
                true -> add_new(#{name => Name, parent => Parent, base => Base}, Copy, Dir, Handle);
                false -> {error, {unknown_state, Parent}}
            end
    end.

parent([]) -> none;
parent(Layers) -> list_to_atom(filename:basename(filename:dirname(lists:last(Layers)))).

add_new(#{name := Name} = Known, Copy, Dir, Handle) ->
    New = filename:join(Dir, ?NEW ++ unique()),
    To = filename:join(Dir, atom_to_list(Name)),
    try
        ok = done(New, file:make_dir(New)),
        fill(New, Known, Copy, Handle),
        ok = done(To, file:rename(New, To)),
        done(Dir, evum_hostfile:sync(Dir, Handle))
    catch
        throw:{error, _} = Error ->
            _ = file:del_dir_r(New),
            Error
    end.

unique() -> os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])).

fill(New, Known, Copy, Handle) ->
    Layer = filename:join(New, ?LAYER),
    More = good_or_throw(Copy(Layer, Handle)),
    Digest = good_or_throw(evum_hostfile:digest(Layer, Handle)),
    State = maps:merge(maps:merge(Known, More), #{digest => Digest, size => filelib:file_size(Layer), created => erlang:system_time(second)}),
    ok = done(Layer, file:change_mode(Layer, 8#444)),
    ok = done(Layer, mark(Layer)),
    Record = filename:join(New, ?RECORD),
    ok = done(Record, file:write_file(Record, evm_state:format(State))),
    lists:foreach(fun(Path) -> ok = done(Path, evum_hostfile:sync(Path, Handle)) end, [Layer, Record, New]).

good_or_throw({ok, Value}) -> Value;
good_or_throw({error, _} = Error) -> throw(Error).

done(_Path, ok) -> ok;
done(_Path, {error, port_died} = Error) -> throw(Error);
done(Path, {error, Posix}) -> throw({error, {local, Posix, unicode:characters_to_binary(Path)}}).

%% @doc Removes a state that no other lies over and no machine runs on.
-spec remove(atom()) -> ok | {error, error()}.
remove(Name) ->
    case evm_state:name(Name) of
        ok -> locked(fun(Dir, Handle) -> remove(Name, Dir, Handle) end);
        {error, _} = Error -> Error
    end.

remove(Name, Dir, Handle) ->
    Path = filename:join(Dir, atom_to_list(Name)),
    case {filelib:is_file(Path), evm_state:children(Name, good(Dir)), evum_hostfile:idle(file(Dir, Name, ?LAYER), Handle)} of
        {false, _, _} -> {error, {unknown_state, Name}};
        {true, [_ | _] = Children, _} -> {error, {has_children, Name, Children}};
        {true, [], {ok, false}} -> {error, {state_in_use, Name}};
        %% a damaged one's layer may be missing
        {true, [], _} ->
            Old = filename:join(Dir, ?OLD ++ unique()),
            try
                ok = done(Path, file:rename(Path, Old)),
                ok = done(Old, file:del_dir_r(Old)),
                done(Dir, evum_hostfile:sync(Dir, Handle))
            catch
                throw:{error, _} = Error -> Error
            end
    end.

%% The lock ends with the handle, and that with this process.
locked(Fun) ->
    case dir() of
        {ok, Dir} ->
            case made(Dir) of
                ok -> evum_hostfile:with(fun(Handle) -> locked(Fun, Dir, Handle) end);
                {error, Posix} -> {error, {local, Posix, unicode:characters_to_binary(Dir)}}
            end;
        {error, _} = Error -> Error
    end.

%% What a guest keeps secret isn't for this host's other users.
made(Dir) ->
    case filelib:is_dir(Dir) orelse filelib:ensure_path(Dir) of
        true -> ok;
        ok -> file:change_mode(Dir, 8#700);
        {error, _} = Error -> Error
    end.

locked(Fun, Dir, Handle) ->
    Lock = filename:join(Dir, ?LOCK),
    case evum_hostfile:lock(Lock, ?LOCK_SECONDS, Handle) of
        ok ->
            sweep(Dir),
            Fun(Dir, Handle);
        {error, etimedout} -> {error, {states_locked, Dir}};
        {error, port_died} -> {error, port_died};
        {error, Posix} -> {error, {local, Posix, unicode:characters_to_binary(Lock)}}
    end.

%% Of those who died under way: whoever lives would have the lock.
sweep(Dir) ->
    Left = filelib:wildcard(?NEW ++ "*", Dir) ++ filelib:wildcard(?OLD ++ "*", Dir),
    lists:foreach(fun(Name) -> file:del_dir_r(filename:join(Dir, Name)) end, Left).
