%% SPDX-License-Identifier: Apache-2.0
%% Which proxy the environment names for an address, by curl's rules
%%
%% `https_proxy' or `http_proxy', by the address's scheme, else `all_proxy': what is set
%% and not empty; in capitals too, but for HTTP_PROXY, which a web server sets of what
%% its clients send. `no_proxy' names hosts that are reached without: by name, with
%% all below it, or `*'.
-module(evm_image_proxy).

-export([find/1]).
-export_type([proxy/0, error/0]).

-type proxy() :: none | {Host :: string(), inet:port_number()}.
-type error() :: {bad_proxy, Variable :: string(), {scheme, string()} | user | syntax}.

-define(PORT, 80).

%% @doc The proxy on the way to an http or https address. It is one of plain http that
%% asks for no password: httpc knows no other for https.
-spec find(string()) -> {ok, proxy()} | {error, error()}.
find(Uri) ->
    case uri_string:parse(Uri) of
        #{scheme := Scheme, host := Host} -> find(string:lowercase(Scheme), string:lowercase(Host));
        _ -> {ok, none}
    end.

find(Scheme, Host) ->
    case first(variables(Scheme)) of
        none -> {ok, none};
        {Variable, Value} ->
            case is_excepted(Host) of
                true -> {ok, none};
                false -> proxy(Variable, Value)
            end
    end.

variables("https") -> ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
variables(_Http) -> ["http_proxy", "all_proxy", "ALL_PROXY"].

first(Variables) ->
    case [{V, Value} || V <- Variables, Value <- [os:getenv(V, "")], Value =/= ""] of
        [First | _] -> First;
        [] -> none
    end.

is_excepted(Host) ->
    case first(["no_proxy", "NO_PROXY"]) of
        none -> false;
        {_, Value} -> lists:any(fun(Name) -> names(Name, Host) end, string:lexemes(string:lowercase(Value), ", "))
    end.

names("*", _Host) -> true;
names(Name, Host) ->
    Bare = string:trim(Name, leading, "."),
    Host =:= Bare orelse lists:suffix("." ++ Bare, Host).

proxy(Variable, Value) ->
    case uri_string:parse(with_scheme(Value)) of
        #{userinfo := _} -> {error, {bad_proxy, Variable, user}};
        #{scheme := "http", host := [_ | _] = Host} = Parts ->
            case maps:get(port, Parts, ?PORT) of
                Port when is_integer(Port), Port > 0, Port < 65536 -> {ok, {Host, Port}};
                undefined -> {ok, {Host, ?PORT}};
                _ -> {error, {bad_proxy, Variable, syntax}}
            end;
        #{scheme := Scheme} when Scheme =/= "http" -> {error, {bad_proxy, Variable, {scheme, Scheme}}};
        _ -> {error, {bad_proxy, Variable, syntax}}
    end.

with_scheme(Value) ->
    case string:find(Value, "://") of
        nomatch -> "http://" ++ Value;
        _ -> Value
    end.
