%% SPDX-License-Identifier: Apache-2.0
%% What somebody asks a switch to do to frames, checked before anything starts
%%
%% Runs in the caller, so that the switch is asked only for what is right.
-module(evum_rule).

-export([fault/2, partition/2, filter/4, capture/3, subscribe/2, healed/1]).
-export_type([kind/0, on/0, vm/0, spec/0, request/0]).

-include_lib("kernel/include/file.hrl").

-define(END_MS, 5000).
-define(CAPTURE_MAX, 1073741824).

-type kind() :: fault | partition | filter | capture | subscribe.
%% a machine, or the label of another port
-type vm() :: pid() | atom() | binary().
-type on() :: all | vm() | {pair, vm(), vm()} | {groups, [[vm()]]}.
-type spec() ::
    evum_fault:spec()
    | partition
    | {filter, evum_filter:callback(), State :: term()}
    | {capture, File :: binary(), evum_capture:opts()}
    | subscribe.
-type request() :: #{kind := kind(), on := on(), spec := spec(), asker := evum_asker:asker(), life := pid() | switch}.
-type result() :: {ok, request()} | {error, {bad_option, term()} | {not_plugged, term()} | {local, file:posix(), File :: binary()}}.

%% @doc A fault; its map may say whose life it shares.
-spec fault(On :: term(), Spec :: term()) -> result().
fault(On, Spec) ->
    Checked = evum_opts:check(Spec, fun fault_value/2, evum_fault:defaults()),
    checked(fault, on(On), Checked, fun(Opts) -> fault_spec(On, maps:remove(life, Opts)) end).

%% Seen from all there is one direction.
fault_spec(all, #{direction := Direction}) when Direction =/= both -> {error, {bad_option, direction}};
fault_spec(_On, Spec) -> {ok, Spec}.

fault_value(life, Life) -> life_value(Life);
fault_value(Key, Value) -> evum_fault:value(Key, Value).

on({A, B}) -> {pair, A, B};
on(On) -> On.

%% @doc Machines of different groups exchange nothing.
-spec partition(Groups :: term(), Opts :: term()) -> result().
partition(Groups, Opts) when length(Groups) >= 0 ->
    case lists:all(fun is_group/1, Groups) of
        true -> checked(partition, {groups, Groups}, life_only(Opts), fun(_) -> {ok, partition} end);
        false -> {error, {bad_option, groups}}
    end;
partition(_Groups, _Opts) -> {error, {bad_option, groups}}.

%% A proper list: the length of anything else fails.
is_group(Group) when length(Group) >= 0 -> true;
is_group(_) -> false.

%% @doc A fun decides.
-spec filter(On :: term(), Fun :: term(), State :: term(), Opts :: term()) -> result().
filter(On, Fun, State, Opts) when is_function(Fun, 3) ->
    checked(filter, On, life_only(Opts), fun(_) -> {ok, {filter, Fun, State}} end);
filter(_On, _Fun, _State, _Opts) -> {error, {bad_option, filter}}.

%% @doc A file is written.
-spec capture(On :: term(), File :: term(), Opts :: term()) -> result().
capture(On, File, Opts) ->
    case evum_opts:text(File) of
        {ok, <<_:8, _/binary>> = Name} ->
            Checked = evum_opts:check(Opts, fun capture_value/2, #{max_size => ?CAPTURE_MAX, snaplen => infinity}),
            checked(capture, On, Checked, fun(Given) -> capture_file(filename:absname(Name), maps:remove(life, Given)) end);
        _ ->
            {error, {bad_option, capture}}
    end.

capture_value(life, Life) -> life_value(Life);
capture_value(Key, infinity) when Key =:= max_size; Key =:= snaplen -> {ok, Key, infinity};
capture_value(Key, N) when (Key =:= max_size orelse Key =:= snaplen), is_integer(N), N > 0 -> {ok, Key, N};
capture_value(_Key, _Value) -> error.

%% A switch that opened a pipe would wait for its reader.
capture_file(File, Opts) ->
    case file:read_file_info(File) of
        {ok, #file_info{type = Type}} when Type =:= regular; Type =:= device -> {ok, {capture, File, Opts}};
        {ok, #file_info{type = directory}} -> {error, {local, eisdir, File}};
        {ok, #file_info{}} -> {error, {local, eopnotsupp, File}};
        {error, enoent} -> {ok, {capture, File, Opts}};
        {error, Posix} -> {error, {local, Posix, File}}
    end.

%% @doc The asker is sent frames.
-spec subscribe(On :: term(), Opts :: term()) -> result().
subscribe(On, Opts) -> checked(subscribe, On, life_only(Opts), fun(_) -> {ok, subscribe} end).

life_only(Opts) -> evum_opts:check(Opts, fun life_only_value/2, #{}).

life_only_value(life, Life) -> life_value(Life);
life_only_value(_Key, _Value) -> error.

life_value(Life) when is_pid(Life); Life =:= switch -> {ok, life, Life};
life_value(_Life) -> error.

checked(_Kind, _On, {error, _} = Error, _Spec) -> Error;
checked(Kind, On, {ok, Opts}, Spec) ->
    case is_on(Kind, On) of
        true -> requested(Kind, On, Opts, Spec);
        false -> {error, {not_plugged, On}}
    end.

%% No machine is a tuple, and a switch believes those that are made here.
is_on(partition, {groups, _}) -> true;
is_on(fault, {pair, _, _}) -> true;
is_on(_Kind, On) -> not is_tuple(On).

requested(Kind, On, Opts, Spec) ->
    case Spec(Opts) of
        {ok, Checked} ->
            Asker = evum_asker:self(),
            {ok, #{kind => Kind, on => On, spec => Checked, asker => Asker, life => maps:get(life, Opts, evum_asker:life(Asker))}};
        {error, _} = Error ->
            Error
    end.

%% @doc What a switch answers to an end of rules: waits until their files are complete.
-spec healed({ok, [pid()]} | {error, Reason}) -> ok | {error, Reason} when Reason :: term().
healed({ok, Pids}) -> lists:foreach(fun await_end/1, [{Pid, monitor(process, Pid)} || Pid <- Pids]);
healed({error, _} = Error) -> Error.

await_end({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    after ?END_MS -> true = demonitor(Monitor, [flush])
    end.
