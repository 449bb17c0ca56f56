%% SPDX-License-Identifier: Apache-2.0
%% A directory of a guest's that is kept in memory, and outlives the machine
%%
%% `{state, {evum_store, Name}}' gives a machine the store of that name, which is started
%% where it doesn't run. It is a process below evum's supervisor and lives until stop/1, or
%% until evum stops: neither the end of a machine nor its crash touches it, nor does the
%% end of whoever started it. Several machines may have one store, at the same time too.
%%
%% A store holds at most `max_bytes', 64 MiB unless it was started with another bound: of
%% each file the bytes, and of each name its own and 512. Beyond it the guest has
%% ENOSPC. A file is at most 1 TiB; what was never written inside it takes no room.
-module(evum_store).
-behaviour(evum_dir).

-export([start/1, start/2, stop/1, info/1, get/2, put/3, names/2, delete/2]).
-export([init/1, lookup/2, list/2, read/4, create/3, write/4, change/3, remove/2, rename/3, space/1]).

-define(MAX_BYTES, 67108864).

-type store() :: pid() | atom().
%% "a/b", also with a slash before it
-type file_name() :: string() | binary().

%% @doc Starts a store, or finds the one that runs under that name.
-spec start(atom()) -> {ok, pid()} | {error, {bad_option, term()} | {name_in_use, atom()} | not_started}.
start(Name) -> start(Name, #{}).

%% @doc The same with a bound; a store that runs keeps its own.
-spec start(atom(), #{max_bytes => pos_integer()} | [{max_bytes, pos_integer()}]) ->
    {ok, pid()} | {error, {bad_option, term()} | {name_in_use, atom()} | not_started}.
start(Name, Options) when is_atom(Name), Name =/= undefined ->
    case evum_opts:check(Options, fun option/2, #{max_bytes => ?MAX_BYTES}) of
        {ok, #{max_bytes := Max}} -> evum_store_server:start(Name, Max);
        {error, _} = Error -> Error
    end;
start(_Name, _Options) -> {error, {bad_option, name}}.

option(max_bytes, N) when is_integer(N), N > 0 -> {ok, max_bytes, N};
option(_Key, _Value) -> error.

%% @doc Ends a store and forgets what is in it. A machine that has it finds an empty one.
-spec stop(store()) -> ok | {error, no_store}.
stop(Store) -> evum_store_server:stop(Store).

%% @doc How much is in it, and its bound.
-spec info(store()) -> {ok, #{bytes := non_neg_integer(), max_bytes := pos_integer(), names := non_neg_integer()}} | {error, no_store}.
info(Store) -> evum_store_server:call(Store, info, []).

%% @doc A file's bytes.
-spec get(store(), file_name()) -> {ok, binary()} | {error, evum_dir:posix() | no_store | {bad_option, path}}.
get(Store, Name) -> with_path(Store, Name, get, []).

%% @doc Makes a file of these bytes, with the directories above it; one that is there is replaced.
-spec put(store(), file_name(), iodata()) -> ok | {error, evum_dir:posix() | no_store | {bad_option, path}}.
put(Store, Name, Bytes) -> with_path(Store, Name, put, [iolist_to_binary(Bytes)]).

%% @doc The names in a directory, in order; "/" is the whole store.
-spec names(store(), file_name()) -> {ok, [binary()]} | {error, evum_dir:posix() | no_store | {bad_option, path}}.
names(Store, Name) -> with_path(Store, Name, list, []).

%% @doc Removes a file, or a directory with all that is in it.
-spec delete(store(), file_name()) -> ok | {error, evum_dir:posix() | no_store | {bad_option, path}}.
delete(Store, Name) -> with_path(Store, Name, delete, []).

with_path(Store, Name, Operation, Args) ->
    case path(evum_opts:text(Name)) of
        {ok, [_ | _] = Path} -> evum_store_server:call(Store, Operation, [Path | Args]);
        {ok, []} when Operation =:= list -> evum_store_server:call(Store, list, [[]]);
        _ -> {error, {bad_option, path}}
    end.

path({ok, Text}) ->
    Path = [Part || Part <- binary:split(Text, <<"/">>, [global]), Part =/= <<>>],
    case lists:all(fun evum_dir:is_name/1, Path) of
        true -> {ok, Path};
        false -> error
    end;
path(error) -> error.

%% --- what a machine asks for: the state is the store's name -------------------------------

%% @private `Name' or `{Name, Options}'.
-spec init(atom() | {atom(), map() | list()}) -> {ok, atom()} | {error, term()}.
init({Name, Options}) ->
    case start(Name, Options) of
        {ok, _Pid} -> {ok, Name};
        {error, _} = Error -> Error
    end;
init(Name) -> init({Name, #{}}).

%% @private
-spec lookup(evum_dir:path(), atom()) -> {ok, evum_dir:attributes()} | {error, evum_dir:posix()}.
lookup(Path, Store) -> evum_store_server:call(Store, lookup, [Path]).

%% @private
-spec list(evum_dir:path(), atom()) -> {ok, [evum_dir:name()]} | {error, evum_dir:posix()}.
list(Path, Store) -> evum_store_server:call(Store, list, [Path]).

%% @private
-spec read(evum_dir:path(), non_neg_integer(), pos_integer(), atom()) -> {ok, binary()} | {error, evum_dir:posix()}.
read(Path, Offset, Count, Store) -> evum_store_server:call(Store, read, [Path, Offset, Count]).

%% @private
-spec space(atom()) -> {ok, {non_neg_integer(), non_neg_integer()}} | {error, evum_dir:posix()}.
space(Store) -> evum_store_server:call(Store, space, []).

%% @private
-spec create(evum_dir:path(), map(), atom()) -> {ok, atom()} | {error, evum_dir:posix()}.
create(Path, Attributes, Store) -> changed(Store, create, [Path, Attributes]).

%% @private
-spec write(evum_dir:path(), non_neg_integer(), binary(), atom()) -> {ok, atom()} | {error, evum_dir:posix()}.
write(Path, Offset, Bytes, Store) -> changed(Store, write, [Path, Offset, Bytes]).

%% @private
-spec change(evum_dir:path(), evum_dir:attributes(), atom()) -> {ok, atom()} | {error, evum_dir:posix()}.
change(Path, Attributes, Store) -> changed(Store, change, [Path, Attributes]).

%% @private
-spec remove(evum_dir:path(), atom()) -> {ok, atom()} | {error, evum_dir:posix()}.
remove(Path, Store) -> changed(Store, remove, [Path]).

%% @private
-spec rename(evum_dir:path(), evum_dir:path(), atom()) -> {ok, atom()} | {error, evum_dir:posix()}.
rename(From, To, Store) -> changed(Store, rename, [From, To]).

changed(Store, Operation, Args) ->
    case evum_store_server:call(Store, Operation, Args) of
        ok -> {ok, Store};
        {error, _} = Error -> Error
    end.
