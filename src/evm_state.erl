%% SPDX-License-Identifier: Apache-2.0
%% What is known of a committed state, and of the tree that states are; pure
%%
%% A state is a layer over a base: an image, or another state, which is its parent. The
%% record of each is a file of one Erlang term, so that a person can read it.
-module(evm_state).

-export([name/1, format/1, parse/2, chain/2, children/2, depth_max/0]).
-export_type([state/0, states/0]).

-type state() :: #{
    name := atom(),
    parent := none | atom(),
    %% the name that the first of the chain was created from
    dist := atom(),
    %% the image that all layers lie over
    base := file:filename(),
    %% of the file with what was written; bytes: what is no hole; digest: evum_hostfile:digest/2
    size := non_neg_integer(),
    bytes := non_neg_integer(),
    digest := binary(),
    %% seconds of Unix time
    created := non_neg_integer(),
    mem := pos_integer(),
    args := [binary()],
    kernel => file:filename()
}.
-type states() :: #{atom() => state()}.

-define(VERSION, 1).
-define(NAME_MAX, 64).
-define(RECORD_MAX, 65536).
%% a machine has 16 disks: the base, the layer that it writes, and these
-define(DEPTH_MAX, 14).

%% @doc How many states may lie over each other.
-spec depth_max() -> pos_integer().
depth_max() -> ?DEPTH_MAX.

%% @doc Is it a name of a state: an atom of letters, digits and `_-.@', the first a letter
%% or digit, 64 at most? It becomes the name of a directory.
-spec name(term()) -> ok | {error, {bad_option, state}}.
name(Name) when is_atom(Name) ->
    case re:run(atom_to_binary(Name), "^[A-Za-z0-9][A-Za-z0-9_.@-]*$", [dollar_endonly, {capture, none}]) of
        match ->
            case byte_size(atom_to_binary(Name)) =< ?NAME_MAX of
                true -> ok;
                false -> {error, {bad_option, state}}
            end;
        nomatch -> {error, {bad_option, state}}
    end;
name(_) -> {error, {bad_option, state}}.

%% @doc The record's text.
-spec format(state()) -> iodata().
format(State) ->
    unicode:characters_to_binary(
        ["%% coding: utf-8\n%% a state of evum: evm:states(), evm:remove/1\n",
         io_lib:format("~tp.~n", [{evum_state, ?VERSION, maps:remove(name, State)}])]).

%% @doc Takes a record apart; whatever isn't one is an error.
-spec parse(atom(), binary()) -> {ok, state()} | {error, bad_record}.
parse(Name, Text) when byte_size(Text) =< ?RECORD_MAX ->
    try
        Chars = unicode:characters_to_list(Text),
        {ok, Tokens, _} = erl_scan:string(Chars),
        {ok, {evum_state, ?VERSION, #{} = Map}} = erl_parse:parse_term(Tokens),
        State = Map#{name => Name},
        true = is_state(State),
        {ok, State}
    catch
        error:_ -> {error, bad_record}
    end;
parse(_Name, _Text) -> {error, bad_record}.

is_state(#{name := Name, parent := Parent, dist := Dist, base := Base, size := Size, bytes := Bytes, digest := Digest,
           created := Created, mem := Mem, args := Args} = State) ->
    Known = [name, parent, dist, base, size, bytes, digest, created, mem, args, kernel],
    name(Name) =:= ok andalso (Parent =:= none orelse name(Parent) =:= ok) andalso Parent =/= Name
        andalso is_atom(Dist) andalso is_name(Base) andalso lists:all(fun is_count/1, [Size, Bytes, Created, Mem])
        andalso is_binary(Digest) andalso byte_size(Digest) =:= 64 andalso Mem > 0
        andalso lists:all(fun is_binary/1, Args) andalso is_name(maps:get(kernel, State, "/"))
        andalso maps:without(Known, State) =:= #{};
is_state(_) -> false.

is_count(N) -> is_integer(N) andalso N >= 0.

is_name([_ | _] = File) -> filename:pathtype(File) =:= absolute andalso not lists:member(0, File);
is_name(_) -> false.

%% @doc A state and those that it lies over, the oldest first.
-spec chain(atom(), states()) -> {ok, [state()]} | {error, {unknown_state, atom()} | {too_deep, atom(), pos_integer()}}.
chain(Name, States) -> chain(Name, Name, States, []).

chain(_Of, none, _States, Chain) -> {ok, Chain};
chain(Of, _Name, _States, Chain) when length(Chain) =:= ?DEPTH_MAX -> {error, {too_deep, Of, ?DEPTH_MAX}};
chain(Of, Name, States, Chain) ->
    case States of
        #{Name := #{parent := Parent} = State} -> chain(Of, Parent, States, [State | Chain]);
        #{} -> {error, {unknown_state, Name}}
    end.

%% @doc The states that lie over one.
-spec children(atom(), states()) -> [atom()].
children(Name, States) -> lists:sort([Child || {Child, #{parent := Parent}} <- maps:to_list(States), Parent =:= Name]).
