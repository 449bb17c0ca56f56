%% SPDX-License-Identifier: Apache-2.0
%% How far an image is: messages to its machine's owner, and a line on a terminal
-module(evm_image_progress).

-export([new/1, told/2, ended/1, text/2]).
-export_type([told/0]).

-record(told, {
    dist :: atom(),
    owner :: pid() | none,
    %% of the terminal, or none
    columns :: pos_integer() | none,
    stage = none :: atom(),
    at = 0 :: integer()
}).
-opaque told() :: #told{}.

%% an owner isn't told more often of one stage: ms
-define(TELL_MS, 1000).
-define(BAR, 24).

%% @doc Whether there is a terminal the caller's own group leader knows.
-spec new(evm_image:sink()) -> told().
new(#{dist := Dist, owner := Owner}) ->
    Columns = case io:columns() of {ok, N} -> N; {error, _} -> none end,
    #told{dist = Dist, owner = Owner, columns = Columns}.

%% @doc Tells a step.
-spec told(map(), told()) -> told().
told(#{stage := Stage} = Progress, #told{dist = Dist, columns = Columns, owner = Owner, stage = Before, at = At} = Told) ->
    Columns =:= none orelse io:put_chars(["\r", string:slice(text(Dist, Progress), 0, Columns - 1), "\e[K"]),
    case erlang:monotonic_time(millisecond) of
        Now when Stage =/= Before; Now - At >= ?TELL_MS ->
            Owner =:= none orelse (Owner ! {evum, Dist, {fetching, Progress}}),
            Told#told{stage = Stage, at = Now};
        _ -> Told
    end.

%% @doc Takes the line away.
-spec ended(told()) -> ok.
ended(#told{columns = none}) -> ok;
ended(#told{stage = none}) -> ok;
ended(_Told) -> io:put_chars("\r\e[K").

%% @doc A step in words.
-spec text(atom(), map()) -> unicode:chardata().
text(Dist, Progress) -> unicode:characters_to_list([atom_to_binary(Dist), ": ", words(Progress)]).

words(#{stage := wait}) -> "somebody else is fetching it";
words(#{stage := download, bytes := Bytes, total := Total}) when is_integer(Total), Total > 0 ->
    %% a server may give more than it said
    Full = min(Bytes, Total) * ?BAR div Total,
    io_lib:format("~3b % [~ts~ts] ~ts of ~ts",
                  [Bytes * 100 div Total, lists:duplicate(Full, $#), lists:duplicate(?BAR - Full, $.), mib(Bytes), mib(Total)]);
words(#{stage := download, bytes := Bytes}) -> [mib(Bytes), " fetched"];
words(#{stage := check}) -> "checking";
words(#{stage := unpack, program := Program}) -> ["unpacking (", Program, ")"];
words(#{stage := build, text := Text}) -> ["building: ", printable(Text)];
words(#{stage := store}) -> "storing".

mib(Bytes) -> io_lib:format("~.1f MiB", [Bytes / 1048576]).

%% What a program prints may be anything.
printable(Text) -> [C || <<C>> <= Text, C >= $\s, C < 127].
