%% SPDX-License-Identifier: Apache-2.0
%% Downloads a file: resumed where it was cut, bounded, never taken for another one
%%
%% Beside the part lies what the server called its version (ETag, else
%% Last-Modified). Whether the bytes are right says the checksum alone, later: here a
%% change of the file only means that the part is thrown away.
%%
%% A host, the proxy's too, is tried by IPv4 first, then by IPv6. What httpc is told of
%% these two is a profile's: there is one for each.
-module(evm_image_http).

-export([get/3]).
-export_type([options/0, error/0]).

-type options() :: #{
    %% bytes
    max := pos_integer(),
    %% ms without a byte, and in all
    idle := pos_integer(),
    time := pos_integer(),
    cacertfile => file:filename(),
    progress := fun((map()) -> term())
}.
-type error() ::
    {too_big, string(), pos_integer()} | {timeout, string()} | {http, string(), pos_integer()} | {redirect, string(), string()}
    | {unreachable, string(), term()} | {truncated, string()} | {bad_certificate, string(), string()} | {bad_cacertfile, file:filename(), term()}
    | evm_image_proxy:error() | evm_image_store:error().

-define(REDIRECTS_MAX, 5).
%% tries in a row that brought not a byte
-define(VAIN_MAX, 3).
-define(AGAIN_MS, 300).
-define(PROGRESS_MS, 250).

-record(get, {
    uri :: string(),
    part :: file:filename(),
    options :: options(),
    deadline :: integer(),
    tls = [] :: list(),
    %% inet6: with what failed by inet
    family = inet :: inet | {inet6, term()},
    proxy = none :: evm_image_proxy:proxy(),
    %% httpc's, of the request under way
    profile :: atom(),
    redirects = 0 :: non_neg_integer(),
    vain = 0 :: non_neg_integer(),
    %% of the request under way
    from = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer(),
    total = unknown :: unknown | non_neg_integer(),
    told = 0 :: integer()
}).

%% @doc Gets what is at an address into the file `Part'; what is there already is the
%% beginning. `{ok, resumed}': not all of it came in one piece.
-spec get(string(), file:filename(), options()) -> {ok, whole | resumed} | {error, error()}.
get(Uri, Part, #{time := Ms} = Options) ->
    case tls(Uri, Options) of
        {ok, Tls} ->
            {ok, _} = application:ensure_all_started(inets),
            {ok, _} = application:ensure_all_started(ssl),
            Now = evm_image_store:now_ms(),
            attempt(#get{uri = Uri, part = Part, options = Options, tls = Tls, deadline = Now + Ms, told = Now - ?PROGRESS_MS});
        {error, _} = Error -> Error
    end.

%% httpc's profile of such a way.
profile(#get{family = inet, proxy = none}) -> profile(evum_images, [{ipfamily, inet}]);
profile(#get{family = inet, proxy = Proxy}) -> profile(evum_images_by_proxy, [{ipfamily, inet} | by(Proxy)]);
profile(#get{proxy = none}) -> profile(evum_images_6, [{ipfamily, inet6}]);
profile(#get{proxy = Proxy}) -> profile(evum_images_6_by_proxy, [{ipfamily, inet6} | by(Proxy)]).

profile(Profile, Options) ->
    case inets:start(httpc, [{profile, Profile}]) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> ok
    end,
    ok = httpc:set_options(Options, Profile),
    Profile.

by(Proxy) -> [{proxy, {Proxy, []}}, {https_proxy, {Proxy, []}}].

tls("http:" ++ _, _Options) -> {ok, []};
tls(_Https, Options) ->
    case cacerts(Options) of
        {ok, Trusted} ->
            Https = [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}],
            {ok, [{ssl, Trusted ++ [{verify, verify_peer}, {depth, 10}, {customize_hostname_check, Https}, {log_level, none}]}]};
        {error, _} = Error -> Error
    end.

cacerts(#{cacertfile := File}) ->
    case file:open(File, [read, raw]) of
        {ok, Fd} ->
            ok = file:close(Fd),
            {ok, [{cacertfile, File}]};
        {error, Posix} -> {error, {bad_cacertfile, File, Posix}}
    end;
cacerts(_) ->
    try {ok, [{cacerts, public_key:cacerts_get()}]}
    catch error:_ -> {error, {bad_cacertfile, "/etc/ssl/certs/ca-certificates.crt", enoent}}
    end.

%% --- a request ---------------------------------------------------------------------

attempt(#get{part = Part, uri = Uri} = G) ->
    From = case validator(Part, Uri) of none -> 0; _ -> filelib:file_size(Part) end,
    Left = G#get.deadline - evm_image_store:now_ms(),
    case Left > 0 of
        true -> by_proxy(headers(From, Part, Uri), Left, G#get{from = From, bytes = From});
        false -> {error, {timeout, Uri}}
    end.

by_proxy(Headers, Left, #get{uri = Uri} = G) ->
    case evm_image_proxy:find(Uri) of
        {ok, Proxy} -> request(Headers, Left, G#get{proxy = Proxy});
        {error, _} = Error -> Error
    end.

headers(From, Part, Uri) ->
    [{"user-agent", "evum"}, {"accept-encoding", "identity"}, {"connection", "close"}]
        ++ [H || From > 0, H <- [{"range", "bytes=" ++ integer_to_list(From) ++ "-"}, {"if-range", validator(Part, Uri)}]].

request(Headers, Left, #get{uri = Uri, tls = Tls, options = #{idle := Idle}} = G0) ->
    Http = [{autoredirect, false}, {connect_timeout, Idle}, {timeout, Left} | Tls],
    Options = [{sync, false}, {stream, {self, once}}, {body_format, binary}, {ipv6_host_with_brackets, true}],
    Profile = profile(G0),
    G = G0#get{profile = Profile},
    case httpc:request(get, {Uri, Headers}, Http, Options, Profile) of
        {ok, Id} ->
            Guard = guard(Id, Profile),
            Result = answer(Id, G),
            Guard ! done,
            next(Result, G);
        {error, Reason} -> {error, {unreachable, Uri, Reason}}
    end.

%% A request that nobody waits for any more holds its connection until its time is up.
guard(Id, Profile) ->
    Asker = self(),
    spawn(fun() ->
        Monitor = monitor(process, Asker),
        receive
            done -> ok;
            {'DOWN', Monitor, process, _, _} -> httpc:cancel_request(Id, Profile)
        end
    end).

cancel(Id, Result, #get{profile = Profile}) ->
    ok = httpc:cancel_request(Id, Profile),
    receive {http, {Id, _}} -> Result; {http, {Id, _, _}} -> Result; {http, {Id, _, _, _}} -> Result
    after 0 -> Result
    end.

answer(Id, #get{options = #{idle := Idle}} = G) ->
    receive
        {http, {Id, stream_start, Headers, Handler}} -> body(Id, Handler, Headers, G);
        {http, {Id, {{_, Status, _}, Headers, _Body}}} -> status(Status, Headers, G);
        {http, {Id, {error, Reason}}} -> {failed, Reason, G}
    after Idle -> cancel(Id, {failed, timeout, G}, G)
    end.

next({ok, _} = Ok, _G) -> Ok;
next({error, _} = Error, _G) -> Error;
next({redirect, To}, #get{redirects = N} = G) when N < ?REDIRECTS_MAX -> redirect(To, G#get{redirects = N + 1});
next({redirect, To}, #get{uri = Uri}) -> {error, {redirect, Uri, To}};
next({again, G}, _) -> again(G, changed);
next({failed, Reason, #get{bytes = Bytes} = After}, #get{from = From}) when Bytes > From -> again(After#get{vain = 0}, Reason);
next({failed, Reason, After}, _) -> again(After, Reason).

again(G, {failed_connect, Why}) -> not_connected(lists:keyfind(tls_alert, 1, [inner(W) || W <- Why]), Why, G);
again(#get{vain = N} = G, _Reason) when N + 1 < ?VAIN_MAX ->
    receive after ?AGAIN_MS -> ok end,
    attempt(G#get{vain = N + 1});
again(#get{uri = Uri}, timeout) -> {error, {timeout, Uri}};
again(#get{uri = Uri}, _Cut) -> {error, {truncated, Uri}}.

%% {inet, Options, Why}
inner({_, _, {tls_alert, _} = Alert}) -> Alert;
inner(_) -> none.

not_connected({tls_alert, {_, Text}}, _Why, #get{uri = Uri}) ->
    {error, {bad_certificate, Uri, string:trim(unicode:characters_to_list(Text))}};
not_connected(false, Why, #get{family = inet} = G) -> attempt(G#get{family = {inet6, Why}});
not_connected(false, _Why, #get{family = {inet6, First}} = G) ->
    {error, {unreachable, reached(G), hd([R || {inet, _, R} <- First] ++ [econnrefused])}}.

%% What was to be connected to.
reached(#get{proxy = none, uri = Uri}) -> Uri;
reached(#get{proxy = {Host, Port}}) -> lists:flatten(io_lib:format("http://~ts:~b (the proxy)", [Host, Port])).

%% --- what isn't the file -------------------------------------------------------------

status(Status, Headers, #get{uri = Uri} = G) when Status =:= 301; Status =:= 302; Status =:= 303; Status =:= 307; Status =:= 308 ->
    case proplists:get_value("location", Headers) of
        undefined -> {error, {http, Uri, Status}};
        To -> {redirect, resolve(To, G)}
    end;
status(416, _Headers, #get{part = Part} = G) ->
    %% what is there is longer than the file is now
    forget(Part),
    {again, G};
%% a file without a byte isn't streamed
status(200, _Headers, #get{part = Part} = G) ->
    forget(Part),
    case file:write_file(Part, <<>>) of
        ok -> {ok, whole};
        {error, Posix} -> {error, evm_image_store:posix(Posix, G#get.part)}
    end;
status(Status, _Headers, #get{uri = Uri}) -> {error, {http, Uri, Status}}.

resolve(To, #get{uri = Uri}) ->
    case uri_string:resolve(To, Uri) of
        Resolved when is_list(Resolved) -> Resolved;
        _ -> To
    end.

%% From one that is verified to one that isn't would be a way round it.
redirect(To, #get{uri = Uri} = G) ->
    case {scheme(Uri), scheme(To)} of
        {_, "https"} -> redirected(tls(To, G#get.options), To, G);
        {"http", "http"} -> attempt(G#get{uri = To});
        _ -> {error, {redirect, Uri, To}}
    end.

redirected({ok, Tls}, To, G) -> attempt(G#get{uri = To, tls = Tls});
redirected({error, _} = Error, _To, _G) -> Error.

scheme(Uri) ->
    case uri_string:parse(Uri) of
        #{scheme := Scheme} -> string:lowercase(Scheme);
        _ -> ""
    end.

%% --- the file ------------------------------------------------------------------------

body(Id, Handler, Headers, #get{options = #{max := Max}} = G0) ->
    case place(Headers, G0) of
        {ok, #get{total = Total, uri = Uri}} when is_integer(Total), Total > Max ->
            cancel(Id, {error, {too_big, Uri, Max}}, G0);
        {ok, #get{part = Part, from = From} = G} ->
            case file:open(Part, [read, write, raw, binary]) of
                {ok, Fd} ->
                    {ok, From} = file:position(Fd, From),
                    ok = file:truncate(Fd),
                    Result = written(remember(Headers, G), Id, Handler, Fd, G),
                    closed(file:close(Fd), Result, Part);
                {error, Posix} -> cancel(Id, {error, evm_image_store:posix(Posix, Part)}, G)
            end;
        changed ->
            forget(G0#get.part),
            cancel(Id, {again, G0}, G0)
    end.

closed(ok, Result, _Part) -> Result;
closed({error, Posix}, _Result, Part) -> {error, evm_image_store:posix(Posix, Part)}.

%% Where the bytes go: only an answer with a range is a part of the file.
place(Headers, #get{from = From, part = Part, uri = Uri} = G) ->
    case proplists:get_value("content-range", Headers) of
        undefined -> {ok, G#get{from = 0, bytes = 0, total = number(proplists:get_value("content-length", Headers))}};
        Range ->
            Same = lists:member(version(Headers), [none, validator(Part, Uri)]),
            case re:run(Range, "^bytes ([0-9]+)-[0-9]+/([0-9]+|\\*)$", [{capture, all_but_first, list}]) of
                {match, [First, Total]} when Same, From > 0 -> continue(number(First), number(Total), G);
                _ -> changed
            end
    end.

continue(From, Total, #get{from = From} = G) -> {ok, G#get{bytes = From, total = Total}};
continue(_Other, _Total, _G) -> changed.

number(Text) ->
    try list_to_integer(Text)
    catch error:_ -> unknown
    end.

written({error, Posix}, Id, _Handler, _Fd, #get{part = Part} = G) -> cancel(Id, {error, evm_image_store:posix(Posix, Part)}, G);
written(ok, Id, Handler, Fd, G) -> stream(Id, Handler, Fd, G).

stream(Id, Handler, Fd, #get{uri = Uri, deadline = Deadline, options = #{idle := Idle}} = G) ->
    ok = httpc:stream_next(Handler),
    receive
        {http, {Id, stream, Bytes}} -> chunk(Bytes, Id, Handler, Fd, G);
        {http, {Id, stream_end, _Headers}} -> ended(G);
        {http, {Id, {error, Reason}}} -> {failed, Reason, G}
    after max(0, min(Idle, Deadline - evm_image_store:now_ms())) ->
        case evm_image_store:now_ms() >= Deadline of
            true -> cancel(Id, {error, {timeout, Uri}}, G);
            false -> cancel(Id, {failed, timeout, G}, G)
        end
    end.

chunk(Bytes, Id, Handler, Fd, #get{bytes = N, uri = Uri, part = Part, deadline = Deadline, options = #{max := Max}} = G) ->
    Now = N + byte_size(Bytes),
    case Now =< Max andalso evm_image_store:now_ms() < Deadline andalso file:write(Fd, Bytes) of
        ok -> stream(Id, Handler, Fd, progress(G#get{bytes = Now}));
        {error, Posix} -> cancel(Id, {error, evm_image_store:posix(Posix, Part)}, G);
        false when Now > Max -> cancel(Id, {error, {too_big, Uri, Max}}, G);
        false -> cancel(Id, {error, {timeout, Uri}}, G)
    end.

ended(#get{total = Total, bytes = Bytes, from = From}) when Total =:= unknown; Total =:= Bytes ->
    {ok, case From of 0 -> whole; _ -> resumed end};
ended(G) -> {failed, cut, G}.

progress(#get{told = Told, bytes = Bytes, total = Total, options = #{progress := Progress}} = G) ->
    case evm_image_store:now_ms() of
        Now when Now - Told >= ?PROGRESS_MS ->
            _ = Progress(#{stage => download, bytes => Bytes, total => Total}),
            G#get{told = Now};
        _ -> G
    end.

%% --- which version of the file the part is of ------------------------------------------

remember(Headers, #get{part = Part, uri = Uri, from = 0}) ->
    file:write_file(Part ++ ".version", term_to_binary({Uri, version(Headers)}));
remember(_Headers, _G) -> ok.

version(Headers) ->
    case {proplists:get_value("etag", Headers), proplists:get_value("last-modified", Headers)} of
        {[$" | _] = Strong, _} -> Strong;
        {_, undefined} -> none;
        {_, Date} -> Date
    end.

validator(Part, Uri) ->
    case file:read_file(Part ++ ".version") of
        {ok, Bytes} ->
            try binary_to_term(Bytes, [safe]) of
                {Uri, [_ | _] = Version} -> Version;
                _ -> none
            catch
                error:badarg -> none
            end;
        {error, _} -> none
    end.

forget(Part) ->
    _ = file:delete(Part),
    _ = file:delete(Part ++ ".version"),
    ok.
