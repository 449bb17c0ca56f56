%% SPDX-License-Identifier: Apache-2.0
%% The application, and its supervisor
-module(seal_app).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).

start(_Type, _Args) -> supervisor:start_link({local, seal_sup}, ?MODULE, []).

stop(_) -> ok.

init([]) -> {ok, {#{}, [#{id => seal_server, start => {seal_server, start_link, []}}]}}.
