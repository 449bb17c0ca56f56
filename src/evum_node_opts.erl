%% SPDX-License-Identifier: Apache-2.0
%% Checks the options of a node's start, key by key, before anything else is done
-module(evum_node_opts).

-export([check/2, name/2]).
-export_type([wanted/0]).

-type wanted() :: #{
    %% `undefined': the first of node1, node2, … that is free
    name := atom(),
    cookie := atom(),
    start := none | {module(), atom(), [term()]},
    net := default | {pid() | atom(), map()},
    host_link := visible | hidden,
    net_ticktime := pos_integer(),
    owner := pid() | none,
    console := evum_console:mode(),
    wait_boot := false | pos_integer(),
    %% words for erl, of vm_args and args
    args := [binary()],
    sys_config := none | binary(),
    image := none | file:filename(),
    mem := default | pos_integer(),
    %% for evum_release:bake/1
    bake := map(),
    %% for the machine, as they are
    machine := map()
}.

%% less than Erlang's minute: in a network of one host a node that can't be reached is down
-define(TICKTIME, 8).
-define(TICKTIME_MAX, 3600).
-define(WAIT_MS, 60000).
-define(CONFIG_MAX, 1048576).
-define(START_MAX, 1048576).
%% what becomes words of a command line; a list of arguments has room for it
-define(WORDS_MAX, 49152).
%% options of evum_release:bake/1, and of evum:start_link/1
-define(OF_BAKE, [apps, paths, release, busybox]).
-define(OF_MACHINE, [kernel, cpu, life, on_reboot, verbose, share, state]).

%% @doc Checks a map or proplist.
-spec check(start | start_link, term()) -> {ok, wanted()} | {error, {bad_option, term()} | term()}.
check(How, Opts) ->
    case evum_opts:check(Opts, fun value/2, defaults(How)) of
        {ok, Checked} -> files(Checked);
        {error, _} = Error -> Error
    end.

defaults(How) ->
    Common = #{
        name => undefined, cookie => undefined, start => none, net => default, host_link => visible,
        net_ticktime => ?TICKTIME, wait_boot => ?WAIT_MS, vm_args => none, args => [], sys_config => none,
        image => none, mem => default
    },
    case How of
        start -> Common#{owner => self(), console => line};
        start_link -> Common#{owner => none, console => none}
    end.

value(name, Name) -> key(name, is_name(Name), Name);
value(cookie, Cookie) when is_atom(Cookie) -> key(cookie, is_cookie(atom_to_binary(Cookie)), Cookie);
value(cookie, Cookie) ->
    case evum_opts:text(Cookie) of
        {ok, Text} when byte_size(Text) =< 255 -> key(cookie, is_cookie(Text), binary_to_atom(Text));
        _ -> error
    end;
value(start, {M, F, A} = Start) when is_atom(M), is_atom(F), length(A) < 256 ->
    key(start, erlang:external_size(Start) =< ?START_MAX, Start);
value(net, Net) ->
    case evum_opts:value(net, Net) of
        {ok, [{_, _} = One]} -> {ok, net, One};
        _ -> error
    end;
value(host_link, Link) -> key(host_link, Link =:= visible orelse Link =:= hidden, Link);
value(net_ticktime, S) -> key(net_ticktime, is_integer(S) andalso S > 0 andalso S =< ?TICKTIME_MAX, S);
value(vm_args, File) -> text(vm_args, File);
value(args, Args) when length(Args) =< ?WORDS_MAX ->
    Words = [evum_opts:text(Arg) || Arg <- Args],
    key(args, lists:all(fun is_word/1, Words), [Word || {ok, Word} <- Words]);
value(sys_config, [{App, _} | _] = Terms) when is_atom(App) -> {ok, sys_config, {terms, Terms}};
value(sys_config, File) -> text(sys_config, File);
value(image, File) -> text(image, File);
value(timeout, Ms) -> value(wait_boot, Ms);
value(Key, Value) ->
    case lists:member(Key, ?OF_BAKE) of
        true -> {ok, Key, Value};
        false -> machine(lists:member(Key, [mem, wait_boot, owner, console | ?OF_MACHINE]), Key, Value)
    end.

key(Key, true, Value) -> {ok, Key, Value};
key(_Key, false, _Value) -> error.

%% @doc The name, or where there is none the one that a text such as `name@host' has.
-spec name(atom(), binary() | none) -> {ok, atom()} | error.
name(undefined, Text) when is_binary(Text), byte_size(Text) < 256 ->
    Name = binary_to_atom(hd(binary:split(Text, <<"@">>))),
    case is_name(Name) of
        true -> {ok, Name};
        false -> error
    end;
name(Name, _Text) -> {ok, Name}.

%% Its label is the name with - for _, which no host's name may have.
is_name(Name) when is_atom(Name), Name =/= undefined ->
    evum_opts:hostname(binary:replace(atom_to_binary(Name), <<"_">>, <<"-">>, [global]));
is_name(_) -> false.

is_cookie(Text) -> Text =/= <<>> andalso re:run(Text, "^[!-~]+$", [{capture, none}]) =:= match.

is_word({ok, Word}) -> Word =/= <<>> andalso binary:match(Word, <<"\n">>) =:= nomatch;
is_word(error) -> false.

text(Key, Value) ->
    case evum_opts:text(Value) of
        {ok, <<_, _/binary>> = Text} -> {ok, Key, filename:absname(unicode:characters_to_list(Text))};
        _ -> error
    end.

%% What is for evum:start_link/1 is checked as there, and handed on as it was given.
machine(true, Key, Value) ->
    case evum_opts:value(Key, Value) of
        {ok, _} -> {ok, Key, Value};
        error -> error
    end;
machine(false, _Key, _Value) -> error.

%% --- files ------------------------------------------------------------------------

files(#{vm_args := none} = Checked) -> config(Checked#{vm_args => #{words => []}});
files(#{vm_args := File} = Checked) ->
    case evum_node_args:read(File) of
        {ok, Args} ->
            case named(Checked#{vm_args => Args}, Args) of
                {ok, Named} -> config(Named);
                error -> {error, {bad_option, vm_args}}
            end;
        {error, _} = Error -> Error
    end.

%% What the options say goes before what the file says.
named(#{name := Name, cookie := Cookie} = Checked, Args) ->
    case {name(Name, maps:get(name, Args, none)), Args} of
        {{ok, Own}, #{cookie := Text}} when Cookie =:= undefined -> {ok, Checked#{name => Own, cookie => binary_to_atom(Text)}};
        {{ok, Own}, _} -> {ok, Checked#{name => Own}};
        {error, _} -> error
    end.

config(#{sys_config := none} = Checked) -> wanted(Checked);
config(#{sys_config := {terms, Terms}} = Checked) ->
    wanted(Checked#{sys_config => unicode:characters_to_binary(io_lib:format("~tp.~n", [Terms]))});
config(#{sys_config := File} = Checked) ->
    case filelib:file_size(File) =< ?CONFIG_MAX andalso file:consult(File) of
        {ok, [Terms]} when is_list(Terms) -> config(Checked#{sys_config => {terms, Terms}});
        {ok, _} -> {error, {bad_sys_config, File, "it must be one list"}};
        false -> {error, {bad_sys_config, File, "it is larger than a megabyte"}};
        {error, Why} -> {error, {bad_sys_config, File, file:format_error(Why)}}
    end.

wanted(#{cookie := Cookie, vm_args := #{words := Words}, args := Args, image := Image} = Checked) ->
    All = Words ++ Args,
    Bake = maps:with(?OF_BAKE, Checked),
    Bad = [Key || {Key, false} <- [
        {vm_args, Cookie =:= undefined orelse is_cookie(atom_to_binary(Cookie))},
        {args, iolist_size(All) + length(All) =< ?WORDS_MAX},
        {image, Image =:= none orelse map_size(Bake) =:= 0}
    ]],
    case Bad of
        [Key | _] -> {error, {bad_option, Key}};
        [] -> {ok, (maps:without([vm_args | ?OF_BAKE ++ ?OF_MACHINE], Checked))#{args => All, bake => Bake, machine => maps:with(?OF_MACHINE, Checked)}}
    end.
