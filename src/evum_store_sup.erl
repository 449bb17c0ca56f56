%% SPDX-License-Identifier: Apache-2.0
%% Supervises the stores of files in memory
-module(evum_store_sup).
-behaviour(supervisor).

-export([start_link/0, start_child/2, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Starts a store.
-spec start_child(atom(), pos_integer()) -> {ok, pid()} | {error, term()}.
start_child(Name, Max) ->
    try supervisor:start_child(?MODULE, [Name, Max]) of
        {ok, Pid} when is_pid(Pid) -> {ok, Pid};
        {error, _} = Error -> Error
    catch
        exit:_ -> {error, not_started}
    end.

%% @private temporary: an empty store under an old name would be no remedy.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Store = #{id => store, start => {evum_store_server, start_link, []}, restart => temporary, shutdown => brutal_kill},
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Store]}}.
