%% SPDX-License-Identifier: Apache-2.0
%% Starts and stops the application
-module(evum_app).
-behaviour(application).

-export([start/2, stop/1, next_cpu/0]).

-define(SPREAD, {?MODULE, spread}).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    %% from anywhere on: the machines of other nodes aren't all on the first CPU either
    Spread = atomics:new(1, [{signed, false}]),
    atomics:put(Spread, 1, rand:uniform(1 bsl 16)),
    persistent_term:put(?SPREAD, Spread),
    evum_sup:start_link().

%% @private
-spec stop(term()) -> ok.
stop(_State) -> ok.

%% @doc The number of the next machine, which spreads machines over CPUs.
-spec next_cpu() -> non_neg_integer().
next_cpu() ->
    atomics:add_get(persistent_term:get(?SPREAD), 1, 1) band 16#ffffffff.
