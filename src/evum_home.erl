%% SPDX-License-Identifier: Apache-2.0
%% Where a user's things lie: one rule for images, layers and states
-module(evum_home).

-export([dir/1]).

%% @doc evum's directory below `$XDG_CACHE_HOME' (images), `$XDG_STATE_HOME' (temporary
%% layers) or `$XDG_DATA_HOME' (states), if that is absolute, else where it usually is in
%% `$HOME'. Without either there is none: nothing is put where nobody looks for it.
-spec dir(cache | state | data) -> {ok, file:filename()} | {error, no_home}.
dir(Kind) ->
    {Variable, Usual} = place(Kind),
    case {os:getenv(Variable), os:getenv("HOME")} of
        {"/" ++ _ = Dir, _} -> {ok, filename:join(Dir, "evum")};
        {_, "/" ++ _ = Home} -> {ok, filename:join([Home, Usual, "evum"])};
        _ -> {error, no_home}
    end.

place(cache) -> {"XDG_CACHE_HOME", ".cache"};
place(state) -> {"XDG_STATE_HOME", ".local/state"};
place(data) -> {"XDG_DATA_HOME", ".local/share"}.
