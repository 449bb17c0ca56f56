%% SPDX-License-Identifier: Apache-2.0
%% A dist of evm.cfg: from its keys to an image; pure
-module(evm_cfg_dist).

-export([dist/4]).

-define(SIZE_MAX, 1048576).

%% @doc Checks an entry that begins at `Line', key by key, each with its own line.
%% Throws `{Line, {unknown_key | bad_value, Key} | {incomplete, Name} | {no_checksum, Uri}}'.
-spec dist(file:filename(), pos_integer() | 0, atom(), [{atom(), term(), non_neg_integer()}]) -> evm_cfg:dist().
dist(File, Line, Name, Properties) ->
    Entry = maps:from_list([property(P) || P <- Properties]),
    try
        whole(filename:dirname(filename:absname(File)), Name, Entry#{source => File})
    catch
        throw:What -> throw({Line, What})
    end.

property({Key, Value, Line}) ->
    case value(Key, Value) of
        {ok, Checked} -> {Key, Checked};
        bad -> throw({Line, {bad_value, Key}});
        unknown -> throw({Line, {unknown_key, Key}})
    end.

value(bake, Opts) ->
    case evum_release:options(Opts, "/") of
        {ok, #{output := _}} -> bad;
        {ok, _} -> {ok, Opts};
        {error, _} -> bad
    end;
value(root, Root) when Root =:= initramfs; Root =:= host -> {ok, Root};
value(access, Access) when Access =:= overlay; Access =:= rw -> {ok, Access};
value(build, mmdebstrap) -> {ok, mmdebstrap};
value(max_size, N) when is_integer(N), N > 0, N =< ?SIZE_MAX -> {ok, N};
value(Key, File) when Key =:= file; Key =:= uri; Key =:= cacertfile -> name(File);
value(Key, Word) when Key =:= suite; Key =:= variant -> matching(name(Word), "^[a-z0-9][a-z0-9.-]*$");
value(sha256, Text) -> lower(matching(name(Text), "^[0-9a-fA-F]{64}$"));
value(include, Packages) -> all([matching(name(P), "^[a-z0-9][a-z0-9+.-]*$") || P <- list(Packages)]);
value(binds, Binds) -> binaries(Binds, fun(B) -> filename:pathtype(B) =:= absolute end);
value(Key, Value) when Key =:= mem; Key =:= args; Key =:= kernel -> option(evum_opts:value(Key, Value));
value(Key, _) when Key =:= root; Key =:= access; Key =:= build; Key =:= max_size -> bad;
value(_, _) -> unknown.

option({ok, Value}) -> {ok, Value};
option(error) -> bad.

list(List) when length(List) >= 0 -> List;
list(_) -> [<<>>].

all(Checked) ->
    case [Value || {ok, Value} <- Checked] of
        Values when length(Values) =:= length(Checked) -> {ok, Values};
        _ -> bad
    end.

name(Text) ->
    case evum_opts:text(Text) of
        {ok, <<_, _/binary>> = Bytes} -> {ok, binary_to_list(Bytes)};
        _ -> bad
    end.

matching({ok, Text}, Regexp) ->
    case re:run(Text, Regexp, [dollar_endonly, {capture, none}]) of
        match -> {ok, Text};
        nomatch -> bad
    end;
matching(bad, _Regexp) -> bad.

lower({ok, Text}) -> {ok, string:lowercase(Text)};
lower(bad) -> bad.

binaries(List, Check) when is_list(List) ->
    Texts = [evum_opts:text(T) || T <- List],
    case [B || {ok, B} <- Texts, Check(B)] of
        Bytes when length(Bytes) =:= length(List) -> {ok, Bytes};
        _ -> bad
    end;
binaries(_, _) -> bad.

%% What an entry must have, and what follows from its place. One of root, build, bake, uri and file says
%% where the files come from; beside a uri, file is no more than its name, and beside an initramfs
%% it is the one that is booted in place of evum's own.
whole(Dir, Name, Entry) ->
    case Entry of
        #{root := initramfs, file := File} -> (alone(Name, Entry, [root, file]))#{file => filename:absname(File, Dir)};
        #{root := _} -> alone(Name, Entry, [root, binds]);
        #{bake := Opts} -> baked(evum_release:options(Opts, Dir), alone(Name, Entry, [bake]));
        #{build := _} -> built(alone(Name, Entry, [build, variant, include, suite]));
        #{uri := Uri} -> fetched(Dir, Uri, alone(Name, Entry, [uri, sha256, cacertfile, max_size, file]));
        #{file := File} ->
            maps:merge(#{access => overlay, root => disk}, (alone(Name, Entry, [file, access]))#{file => filename:absname(File, Dir)});
        _ -> throw({incomplete, Name})
    end.

%% Any may have these.
-define(COMMON, [source, mem, kernel, args]).

alone(Name, Entry, Keys) ->
    case maps:keys(maps:without(?COMMON ++ Keys, Entry)) of
        [] -> Entry;
        _ -> throw({incomplete, Name})
    end.

built(Entry) ->
    Recipe = maps:merge(#{variant => "apt", include => []}, maps:with([variant, include, suite], Entry)),
    image({build, Recipe}, Entry).

baked({ok, Options}, Entry) -> (maps:with(?COMMON, Entry))#{root => initramfs, image => {bake, Options}}.

fetched(Dir, Uri, Entry) ->
    Source = (maps:with([sha256, max_size], Entry))#{uri => place(Dir, Uri, Entry)},
    image({uri, maps:merge(Source, maps:map(fun(_, File) -> filename:absname(File, Dir) end, maps:with([cacertfile], Entry)))}, Entry).

image(Spec, Entry) -> (maps:with(?COMMON, Entry))#{root => disk, access => overlay, image => Spec}.

%% An unprotected connection gives what anybody on the way likes, so there must be a checksum.
place(Dir, Uri, Entry) ->
    case uri_string:parse(Uri) of
        #{scheme := "https", host := [_ | _]} -> Uri;
        #{scheme := "http", host := [_ | _]} when is_map_key(sha256, Entry) -> Uri;
        #{scheme := "http"} -> throw({no_checksum, Uri});
        #{scheme := "file", path := "/" ++ _} -> Uri;
        #{scheme := _} -> throw({bad_value, uri});
        _ -> path(re:run(Uri, "^[^/]*://", [{capture, none}]), Uri, Dir)
    end.

%% A path may have what an address may not, a space for one.
path(match, _Uri, _Dir) -> throw({bad_value, uri});
path(nomatch, Path, Dir) -> filename:absname(Path, Dir).
