%% SPDX-License-Identifier: Apache-2.0
%% Checks what a machine is to have besides its root: shares and served directories; pure
-module(evum_mount).

-export([shares/1, states/1, twice/2]).
-export_type([share/0, state/0]).

-type guest_dir() :: binary().
-type share() :: {HostDir :: binary(), guest_dir(), ro | rw}.
-type state() :: {module(), Args :: term(), guest_dir()}.

%% of each kind
-define(COUNT_MAX, 8).
%% bytes; libevum's and the guest's bound too
-define(PATH_MAX, 255).
-define(STATE_DIR, <<"/state">>).

%% @doc Checks the option `share': a list of at most 8 `{HostDir, GuestDir, ro | rw}'.
-spec shares(term()) -> {ok, [share()]} | error.
shares(Shares) -> checked(Shares, fun share/1).

share({Host, Guest, Access}) when Access =:= ro; Access =:= rw ->
    {ok, <<_:8, _/binary>> = Bytes} = evum_opts:text(Host),
    [_ | _] = Name = unicode:characters_to_list(Bytes),
    {unicode:characters_to_binary(filename:absname(Name)), guest_dir(Guest), Access}.

%% @doc Checks the option `state': `{Module, Args}', `{Module, Args, GuestDir}', or a
%% list of at most 8 of these. The directory is `/state' where none is named.
-spec states(term()) -> {ok, [state()]} | error.
states(State) when is_tuple(State) -> states([State]);
states(States) -> checked(States, fun state/1).

state({Module, Args}) -> state({Module, Args, ?STATE_DIR});
state({Module, Args, Guest}) when is_atom(Module), Module =/= undefined -> {Module, Args, guest_dir(Guest)}.

checked(List, Check) ->
    try
        true = length(List) =< ?COUNT_MAX,
        {ok, [Check(Element) || Element <- List]}
    catch
        error:_ -> error
    end.

%% It becomes a part of the kernel's command line, in quotes, and of the guest's
%% mount options.
guest_dir(Text) ->
    {ok, <<"/", _/binary>> = Bytes} = evum_opts:text(Text),
    [_ | _] = Parts = [Part || Part <- binary:split(Bytes, <<"/">>, [global]), Part =/= <<>>, Part =/= <<".">>],
    false = lists:member(<<"..">>, Parts),
    nomatch = re:run(Bytes, "[\\x00-\\x1f\\x7f\"]", [{capture, none}]),
    Dir = iolist_to_binary([[$/, Part] || Part <- Parts]),
    true = byte_size(Dir) =< ?PATH_MAX,
    Dir.

%% @doc A directory of the guest's that two of these would have, if there is one.
-spec twice([share()], [state()]) -> {ok, guest_dir()} | none.
twice(Shares, States) ->
    Dirs = [Dir || {_Host, Dir, _Access} <- Shares] ++ [Dir || {_Module, _Args, Dir} <- States],
    case Dirs -- lists:usort(Dirs) of
        [Dir | _] -> {ok, Dir};
        [] -> none
    end.
