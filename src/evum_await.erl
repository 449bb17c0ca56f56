%% SPDX-License-Identifier: Apache-2.0
%% Waits for what the guest itself can watch
%%
%% The agent's built-in command `await' ends well when it is so, and prints a line
%% each time that what it sees changes: the last of them says what was lacking at a
%% time-out. It is started again when it goes down with the machine's life, with the
%% agent, or by a signal of the guest's, within the same time.
-module(evum_await).

-export([check/1, await/3]).
-export_type([what/0]).

-define(AGAIN_MS, 20).
%% what it may print; beyond that it is started again
-define(OUTPUT_MAX, 1048576).
-define(BRIEF_MS, 1000).

-type what() :: {file, unicode:chardata()} | {port, 1..65535} | net | init.

%% @doc Can it be waited for? The built-in command that does.
-spec check(term()) -> {ok, Argv :: [binary()]} | error.
check({file, Name}) ->
    case evum_opts:text(Name) of
        {ok, <<_:8, _/binary>> = Path} -> {ok, [<<"await">>, <<"file">>, Path]};
        _ -> error
    end;
check({port, Port}) when is_integer(Port), Port > 0, Port < 65536 ->
    {ok, [<<"await">>, <<"port">>, integer_to_binary(Port)]};
check(net) -> {ok, [<<"await">>, <<"net">>]};
check(init) -> {ok, [<<"await">>, <<"init">>]};
check(_) -> error.

%% @doc Waits at most `Ms', the machine's boot included. `Seen' is a line of text; the
%% ports that are listened on, of a port; or the state of a machine that isn't up.
-spec await(pid(), what(), pos_integer()) ->
    ok | {error, {timeout, what(), Seen :: binary() | [1..65535] | atom()} | term()}.
await(Vm, What, Ms) ->
    {ok, Argv} = check(What),
    Program = #{argv => Argv, env => [], builtin => true, max_output => ?OUTPUT_MAX},
    await(Vm, What, Program, <<>>, now_ms() + Ms).

await(Vm, What, Program, Seen, Deadline) ->
    case max(0, Deadline - now_ms()) of
        0 -> {error, {timeout, What, seen(What, Seen, Vm)}};
        Left -> ended(evum_proc:exec(Vm, Program#{timeout => Left}), Vm, What, Program, Seen, Deadline)
    end.

ended({ok, #{status := 0}}, _Vm, _What, _Program, _Seen, _Deadline) -> ok;
ended({ok, #{stdout := Out}}, Vm, What, Program, Seen, Deadline) ->
    again(Vm, What, Program, last_line(Out, Seen), Deadline);
ended({error, {Why, #{stdout := Out}}}, Vm, What, Program, Seen, Deadline) when Why =:= timeout; Why =:= max_output ->
    await(Vm, What, Program, last_line(Out, Seen), Deadline);
ended({error, Reason}, Vm, What, Program, _Seen, Deadline) when Reason =:= {shutdown, rebooted}; Reason =:= agent_restarted ->
    again(Vm, What, Program, <<>>, Deadline);
ended({error, _} = Error, _Vm, _What, _Program, _Seen, _Deadline) -> Error.

%% What kills it at once, each time, is not to keep two processors busy.
again(Vm, What, Program, Seen, Deadline) ->
    receive after min(?AGAIN_MS, max(0, Deadline - now_ms())) -> ok end,
    await(Vm, What, Program, Seen, Deadline).

last_line(Out, Before) ->
    case binary:split(Out, <<"\n">>, [global, trim_all]) of
        [] -> Before;
        Lines -> binary:copy(lists:last(Lines))
    end.

seen(What, <<>>, Vm) ->
    case evum_vm:call(Vm, brief, ?BRIEF_MS) of
        #{state := State} when State =/= up -> State;
        _ -> seen(What, <<>>)
    end;
seen(What, Line, _Vm) -> seen(What, Line).

seen({port, _}, Line) -> ports(binary:split(Line, <<" ">>, [global]));
seen(_What, Line) -> Line.

%% The line is the guest's: a number of a million digits would take a processor for seconds.
ports(Words) ->
    [Port || Word <- Words, byte_size(Word) =< 5, {Port, <<>>} <- [string:to_integer(Word)], Port > 0, Port < 65536].

now_ms() -> erlang:monotonic_time(millisecond).
