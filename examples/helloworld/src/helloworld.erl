%% SPDX-License-Identifier: Apache-2.0
%% Says hello on the machine's console
-module(helloworld).

-export([start/0]).

%% @doc The owner of the machine gets the line as a message.
-spec start() -> ok.
start() -> io:format("Hello, world!~n").
