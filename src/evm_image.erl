%% SPDX-License-Identifier: Apache-2.0
%% Images by name: fetched or made when they are wanted first, then in the cache
%%
%% The work is done by a process of its own under the key's lock, so that two who ask
%% for an image at a time, in one BEAM or in two, get it by one download: the second
%% waits and finds it. The worker ends with who asked.
-module(evm_image).

-export([resolve/3, file/3, present/1, fetch/2, gc/1, work/4]).
-export_type([spec/0, sink/0]).

-include_lib("kernel/include/file.hrl").

%% where an image comes from
-type spec() ::
    {uri, #{uri := string(), sha256 => string(), cacertfile => file:filename(), max_size => pos_integer()}}
    | {build, evm_image_debian:recipe()}
    | {bake, evum_release:options()}.
%% who is told how far it is
-type sink() :: #{dist := atom(), owner := pid() | none}.
-type progress() :: #{stage := wait | download | check | unpack | build | store, bytes => non_neg_integer(), total => non_neg_integer() | unknown, atom() => term()}.

%% Changes when the same input gives another image.
-define(VERSION, 1).
-define(MIB, 1048576).
%% MiB, of a download and of what it unpacks to
-define(SIZE_MAX, 8192).
%% MiB of disk
-define(CACHE_MAX, 20480).
%% ms without a byte, and of a whole download
-define(IDLE_MS, 30000).
-define(FETCH_MS, 3600000).

%% @doc A dist with its image's file; fetches or builds it where it isn't there.
-spec resolve(evm_cfg:dist(), fetch | present, sink()) -> {ok, evm_cfg:dist()} | {error, term()}.
resolve(#{image := Spec} = Dist, How, Sink) ->
    case file(Spec, How, Sink) of
        {ok, File} -> {ok, with_mem(Spec, Dist#{file => File})};
        {error, _} = Error -> Error
    end;
resolve(Dist, _How, _Sink) -> {ok, Dist}.

%% What is in memory needs it.
with_mem({bake, _}, #{file := File} = Dist) when not is_map_key(mem, Dist) ->
    {ok, #{mem := Mem}} = evum_release:info(File),
    Dist#{mem => Mem};
with_mem(_Spec, Dist) -> Dist.

%% @doc An image's file; fetches or builds it where it isn't there.
-spec file(spec(), fetch | present, sink()) -> {ok, file:filename()} | {error, term()}.
file(Spec, How, #{dist := Name} = Sink) ->
    case {find(Spec), How} of
        {{ok, _} = Found, _} -> Found;
        {missing, present} -> {error, {not_fetched, Name}};
        {missing, fetch} -> fetch(Spec, Sink);
        {{error, _} = Error, _} -> Error
    end.

%% @doc Is it in the cache?
-spec present(spec()) -> boolean().
present(Spec) ->
    case key(Spec) of
        {ok, Key} -> evm_image_store:present(Key);
        {error, _} -> false
    end.

find(Spec) ->
    case key(Spec) of
        {ok, Key} -> evm_image_store:find(Key);
        {error, _} = Error -> Error
    end.

%% What is the same has the same key, wherever it comes from.
key({uri, #{sha256 := Hash}}) -> key_of({sha256, Hash});
key({uri, #{uri := Uri}}) ->
    case local(Uri) of
        {ok, File} ->
            case file:read_file_info(File, [{time, posix}]) of
                {ok, #file_info{size = Bytes, mtime = Mtime}} -> key_of({file, File, Bytes, Mtime});
                {error, Posix} -> {error, {bad_image, File, Posix}}
            end;
        remote -> key_of({uri, Uri})
    end;
key({bake, Options}) ->
    case evum_release:key(Options) of
        {ok, Inputs} -> key_of({bake, Inputs});
        {error, _} = Error -> Error
    end;
key({build, Recipe}) -> key_of({build, evm_image_debian:key(Recipe)}).

key_of(Term) ->
    {ok, string:lowercase(binary_to_list(binary:encode_hex(crypto:hash(sha256, term_to_binary({?VERSION, Term}, [{minor_version, 2}])))))}.

local("file://" ++ Path) -> {ok, uri_string:percent_decode(Path)};
local("/" ++ _ = Path) -> {ok, Path};
local(_) -> remote.

%% --- fetching ------------------------------------------------------------------------

%% @doc Fetches or builds an image; returns where it is. Tells `sink()' how far it is.
-spec fetch(spec(), sink()) -> {ok, file:filename()} | {error, term()}.
fetch(Spec, Sink) ->
    case key(Spec) of
        {ok, Key} ->
            Asker = self(),
            Ref = make_ref(),
            {Worker, Monitor} = spawn_monitor(?MODULE, work, [Asker, Ref, Key, Spec]),
            await(Worker, Monitor, Ref, evm_image_progress:new(Sink));
        {error, _} = Error -> Error
    end.

%% @private
-spec work(pid(), reference(), evm_image_store:key(), spec()) -> no_return().
work(Asker, Ref, Key, Spec) ->
    _ = ends_with(Asker, self()),
    exit({Ref, make(Key, Spec, fun(Progress) -> Asker ! {Ref, Progress} end)}).

%% An asker that is killed can't tell.
ends_with(Asker, Worker) ->
    spawn(fun() ->
        _ = [monitor(process, Pid) || Pid <- [Asker, Worker]],
        receive {'DOWN', _, process, _, _} -> exit(Worker, kill) end
    end).

await(Worker, Monitor, Ref, Told) ->
    receive
        {Ref, Progress} -> await(Worker, Monitor, Ref, evm_image_progress:told(Progress, Told));
        {'DOWN', Monitor, process, Worker, {Ref, Result}} ->
            evm_image_progress:ended(Told),
            flush(Ref),
            Result;
        {'DOWN', Monitor, process, Worker, Reason} ->
            evm_image_progress:ended(Told),
            flush(Ref),
            {error, {fetch_crashed, Reason}}
    end.

flush(Ref) -> receive {Ref, _} -> flush(Ref) after 0 -> ok end.

-spec make(evm_image_store:key(), spec(), fun((progress()) -> term())) -> {ok, file:filename()} | {error, term()}.
make(Key, Spec, Progress) ->
    evm_image_store:lock(Key, fun() ->
        case evm_image_store:find(Key) of
            {ok, _} = Found -> Found;
            missing -> make_it(evm_image_store:work(Key), Key, Spec, Progress)
        end
    end, fun() -> Progress(#{stage => wait}) end).

make_it({ok, Work}, Key, Spec, Progress) ->
    case image(Spec, Work, Progress) of
        {ok, File} ->
            _ = Progress(#{stage => store}),
            made(evm_image_store:put(Key, File, fun room/1), Work);
        {error, _} = Error -> made(Error, Work)
    end;
make_it({error, _} = Error, _Key, _Spec, _Progress) -> Error.

made({ok, _} = Ok, _Work) -> Ok;
made({error, _} = Error, Work) ->
    _ = file:del_dir_r(Work),
    Error.

image({bake, Options}, Work, _Progress) -> evum_release:make(Options, Work);
image({build, Recipe}, Work, Progress) ->
    case evm_image_debian:archive(Recipe, Work, Progress) of
        {ok, Tar} -> evm_image_unpack:unpack(Tar, "debian", ?SIZE_MAX * ?MIB, Progress);
        {error, _} = Error -> Error
    end;
image({uri, #{uri := Uri} = Spec}, Work, Progress) ->
    Max = maps:get(max_size, Spec, ?SIZE_MAX) * ?MIB,
    case download(local(Uri), Spec, Work, Max, Progress) of
        {ok, File} -> evm_image_unpack:unpack(File, Uri, Max, Progress);
        {error, _} = Error -> Error
    end.

download({ok, Local}, #{uri := Uri} = Spec, Work, Max, Progress) ->
    File = filename:join(Work, "download"),
    case filelib:file_size(Local) =< Max andalso evm_image_tool:run("cp", ["--sparse=always", "--", Local, File], #{time => ?FETCH_MS}) of
        false -> {error, {too_big, Uri, Max}};
        {ok, _} -> right(File, Spec, Progress);
        {error, {program_failed, _, _, Text}} -> {error, copy_error(re:run(Text, "No space left|Disk quota", [{capture, none}]), Local)};
        {error, _} = Error -> Error
    end;
download(remote, Spec, Work, Max, Progress) ->
    %% outside the work directory: what a cut download has brought is kept
    Part = filename:join(filename:dirname(Work), "part"),
    remote(Spec, Part, filename:join(Work, "download"), Max, Progress, 2).

copy_error(match, Local) -> evm_image_store:posix(enospc, Local);
copy_error(nomatch, Local) -> {bad_image, Local, eacces}.

%% What was resumed may be of two versions of the file: then all of it once more.
remote(#{uri := Uri} = Spec, Part, File, Max, Progress, Tries) ->
    Options = (maps:with([cacertfile], Spec))#{
        max => Max, idle => application:get_env(evum, fetch_idle, ?IDLE_MS),
        time => application:get_env(evum, fetch_time, ?FETCH_MS), progress => Progress
    },
    case evm_image_http:get(Uri, Part, Options) of
        {ok, How} ->
            ok = file:rename(Part, File),
            _ = file:delete(Part ++ ".version"),
            case {right(File, Spec, Progress), How} of
                {{error, {bad_checksum, _, _, _}}, resumed} when Tries > 1 ->
                    ok = file:delete(File),
                    remote(Spec, Part, File, Max, Progress, Tries - 1);
                {Right, _} -> Right
            end;
        {error, {too_big, _, _}} = Error ->
            _ = file:delete(Part),
            Error;
        {error, _} = Error -> Error
    end.

right(File, #{sha256 := Wanted, uri := Uri}, Progress) ->
    _ = Progress(#{stage => check}),
    case evm_image_store:hash(File) of
        Wanted -> {ok, File};
        Got -> {error, {bad_checksum, Uri, Wanted, Got}}
    end;
right(File, _Spec, _Progress) -> {ok, File}.

%% --- the cache -------------------------------------------------------------------------

max_bytes() -> application:get_env(evum, cache_max, ?CACHE_MAX) * ?MIB.

%% Room for so many bytes: what wasn't asked for the longest goes.
room(Bytes) ->
    Max = max_bytes(),
    case evm_image_store:usage() + Bytes =< Max of
        true -> ok;
        false ->
            case evm_image_store:gc(fun(_) -> true end, max(0, Max - Bytes)) of
                {ok, #{bytes := Used}} when Used + Bytes =< Max -> ok;
                {ok, #{bytes := Used}} -> {error, {cache_full, Used + Bytes, Max}};
                {error, _} = Error -> Error
            end
    end.

%% @doc Removes what none of these dists names, and more where the cache is too big.
-spec gc([spec()]) ->
    {ok, #{removed := [file:filename()], freed := non_neg_integer(), bytes := non_neg_integer()}} | {error, evm_image_store:error()}.
gc(Specs) ->
    Keys = [Key || Spec <- Specs, {ok, Key} <- [key(Spec)]],
    evm_image_store:gc(fun(Key) -> lists:member(Key, Keys) end, max_bytes()).
