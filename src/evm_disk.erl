%% SPDX-License-Identifier: Apache-2.0
%% A machine's disk: what is written to it lies in a layer over a read-only image
%%
%% Nothing here writes: the port program makes a layer that is missing, locks it
%% and checks it against what it lies over, when it starts the machine.
-module(evm_disk).

-export([option/1, config/2, remove/1, reset/1, files/1, dir/0]).
-export_type([wanted/0, disks/0]).

%% of the layer, in MiB: what is written counts, not what could be; a template is made for it
-define(SIZE, 8192).
-define(SIZE_MIN, 64).
-define(SIZE_MAX, 1048576).
%% what Linux and UML have room for: the image, the layers that are only read, the one that is written
-define(LAYERS_MAX, 14).

-type wanted() :: memory | #{file => file:filename(), size => pos_integer()}.
%% keys of the port's call start
-type disks() :: #{
    disks := [{binary(), ro | rw | durable}],
    layers => pos_integer(),
    layer_size => pos_integer(),
    layer_template => binary(),
    layer_temporary => boolean()
}.

%% @doc Checks the option `disk': a size in MiB, a file that keeps what is written,
%% `#{file, size}', or `memory'.
-spec option(term()) -> {ok, wanted()} | error.
option(memory) -> {ok, memory};
option(Size) when is_integer(Size) -> option(#{size => Size});
option(#{} = Wanted) -> wanted(maps:to_list(Wanted), #{});
option(File) -> option(#{file => File}).

wanted([], Wanted) -> {ok, Wanted};
wanted([{size, Size} | Rest], Wanted) when is_integer(Size), Size >= ?SIZE_MIN, Size =< ?SIZE_MAX ->
    wanted(Rest, Wanted#{size => Size});
wanted([{file, File} | Rest], Wanted) ->
    try evum_opts:text(File) of
        {ok, <<_, _/binary>> = Bytes} -> named(unicode:characters_to_list(Bytes), Rest, Wanted);
        _ -> error
    catch
        error:_ -> error
    end;
wanted(_, _) -> error.

named(Name, Rest, Wanted) when is_list(Name) -> wanted(Rest, Wanted#{file => filename:absname(Name)});
named(_, _, _) -> error.

%% @doc What the port is to start a machine of an image with. `file' is the image and
%% `layers' those over it that are only read, the lowest first.
-spec config(#{file := file:filename(), access := overlay | rw, layers => [file:filename()], atom() => term()},
             #{disk => wanted(), durable => boolean(), atom() => term()}) ->
    {ok, disks()} | {error, term()}.
config(#{file := File, access := Access} = Dist, Opts) ->
    Lower = maps:get(layers, Dist, []),
    case {Access, maps:get(disk, Opts, #{})} of
        _ when length(Lower) > ?LAYERS_MAX -> {error, {too_many_layers, ?LAYERS_MAX}};
        {rw, _} when is_map_key(disk, Opts) -> {error, {bad_option, disk}};
        {rw, _} -> {ok, #{disks => [{bytes(File), mode(Opts)}]}};
        {overlay, memory} when Lower =/= [] -> {error, {bad_option, disk}};
        {overlay, memory} when map_get(durable, Opts) -> {error, {bad_option, durable}};
        {overlay, memory} -> {ok, #{disks => [{bytes(File), ro}]}};
        {overlay, Wanted} -> layered([File | Lower], Wanted, mode(Opts))
    end.

mode(#{durable := true}) -> durable;
mode(#{}) -> rw.

layered(Files, Wanted, Mode) ->
    Size = maps:get(size, Wanted, ?SIZE),
    case {top(Wanted), template(Size)} of
        {{ok, Top}, {ok, Template}} ->
            {ok, #{
                disks => [{bytes(File), ro} || File <- Files] ++ [{bytes(Top), Mode}],
                layers => length(Files),
                layer_size => Size,
                layer_template => bytes(Template),
                layer_temporary => not is_map_key(file, Wanted)
            }};
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

top(#{file := File}) -> {ok, File};
top(#{}) ->
    case dir() of
        {ok, Dir} ->
            sweep(Dir),
            {ok, filename:join(Dir, temporary())};
        {error, _} = Error -> Error
    end.

%% The name says who writes: host, namespace, number and birth of its BEAM. A number
%% comes again, with another birth; the folder may be one that several hosts have.
temporary() ->
    Pid = os:getpid(),
    Unique = integer_to_list(erlang:unique_integer([positive])),
    lists:append(lists:join("-", ["evum", namespace(), Pid, birth(Pid), Unique])) ++ ".layer".

%% Removes what is left where a BEAM was killed together with all that would have removed it.
sweep(Dir) ->
    Names = case file:list_dir(Dir) of {ok, All} -> All; {error, _} -> [] end,
    lists:foreach(fun(Name) -> file:delete(filename:join(Dir, Name)) end, lists:filter(fun is_left/1, Names)).

is_left(Name) ->
    case string:split(Name, "-", all) of
        ["evum", Namespace, Pid, Birth, _] -> Namespace =:= namespace() andalso birth(Pid) =/= Birth;
        _ -> false
    end.

namespace() ->
    {ok, "pid:[" ++ Number} = file:read_link("/proc/self/ns/pid"),
    {ok, Host} = inet:gethostname(),
    lists:concat([erlang:phash2(Host), ".", lists:droplast(Number)]).

birth(Pid) ->
    case file:read_file(filename:join(["/proc", Pid, "stat"])) of
        {ok, Stat} ->
            [_, Rest] = string:split(Stat, ") ", trailing),
            binary_to_list(lists:nth(20, binary:split(Rest, <<" ">>, [global])));
        {error, _} -> "gone"
    end.

%% @doc Removes a machine's layer, where it is temporary.
-spec remove(disks() | map()) -> ok.
remove(#{layer_temporary := true, disks := Disks}) ->
    {Top, _} = lists:last(Disks),
    _ = file:delete(Top),
    ok;
remove(#{}) -> ok.

%% @doc Removes a machine's layer, so that the next start makes an empty one.
-spec reset(map()) -> ok | {error, {no_layer, file:filename(), file:posix()}}.
reset(Config) ->
    #{top := Top} = files(Config),
    case file:delete(Top) of
        {error, Reason} when Reason =/= enoent -> {error, {no_layer, Top, Reason}};
        _ -> ok
    end.

%% @doc The files of a machine's disk: the image, the layers that are only read, the
%% one that is written; `none' where it has none of its own.
-spec files(map()) -> none | #{base := file:filename(), layers := [file:filename()], top := file:filename(), temporary := boolean()}.
files(#{layers := N, disks := [{Base, _} | Disks], layer_temporary := Temporary}) ->
    {Lower, [{Top, _} | _]} = lists:split(N - 1, Disks),
    #{base => name(Base), layers => [name(L) || {L, _} <- Lower], top => name(Top), temporary => Temporary};
files(#{}) -> none.

%% @doc Where temporary layers lie: the application environment's `disk_dir', else
%% `$XDG_STATE_HOME/evum/disks', else below `~/.local/state'. It is made where it is missing.
-spec dir() -> {ok, file:filename()} | {error, no_home | {no_disk_dir, file:filename(), file:posix() | badarg}}.
dir() ->
    case {application:get_env(evum, disk_dir), evum_home:dir(state)} of
        {{ok, Dir}, _} -> made(filename:absname(Dir));
        {undefined, {ok, Home}} -> made(filename:join(Home, "disks"));
        {undefined, {error, _} = Error} -> Error
    end.

made(Dir) ->
    case filelib:ensure_path(Dir) of
        ok -> {ok, Dir};
        {error, Reason} -> {error, {no_disk_dir, Dir, Reason}}
    end.

%% A file system can grow to more than it was made for, not to less.
template(Size) when Size < ?SIZE -> template_file("layer64.pack");
template(_Size) -> template_file("layer8192.pack").

template_file(Name) ->
    File = filename:join(evm_cfg:priv_dir(), Name),
    case filelib:is_regular(File) of
        true -> {ok, File};
        false -> {error, {not_built, File}}
    end.

bytes(Path) -> unicode:characters_to_binary(Path).

name(Bytes) -> unicode:characters_to_list(Bytes).
