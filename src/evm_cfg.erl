%% SPDX-License-Identifier: Apache-2.0
%% Reads evm.cfg: the images that machines boot from, and networks
%%
%% Three sources, a later one's entry replaces an earlier one's of that name:
%% priv/evm.cfg, ~/.config/evum/evm.cfg, the application environment.
-module(evm_cfg).

-export([dists/0, dist/1, networks/0, network/1, files/0, read/1, priv_dir/0]).
-export_type([dist/0, network/0, error/0]).

-type dist() :: #{
    root := initramfs | host | disk,
    source := file:filename(),
    mem => pos_integer(),
    kernel => file:filename(),
    args => [binary()],
    binds => [binary()],
    %% the file (of an initramfs: in place of evum's own), or where it comes from: evm_image:resolve/3
    file => file:filename(),
    image => evm_image:spec(),
    %% of a state: those over the file that are only read
    layers => [file:filename()],
    access => overlay | rw
}.
-type error() :: {bad_config, file:filename(), Line :: non_neg_integer(), What :: term()}.
-type dists() :: #{atom() => dist()}.
%% options of evum_switch:start/1, checked
-type network() :: #{atom() => term()}.
-type config() :: #{dist := dists(), network := #{atom() => network()}}.

-define(SIZE_MAX, 1048576).
-define(EMPTY, #{dist => #{}, network => #{}}).

%% @doc All images by name. Where a file is wrong: which, the line, and what about it.
-spec dists() -> {ok, dists()} | {error, error()}.
dists() -> part(dist).

%% @doc All networks by name.
-spec networks() -> {ok, #{atom() => network()}} | {error, error()}.
networks() -> part(network).

part(Key) ->
    Sources = [fun() -> read_if_there(File) end || File <- files()] ++ [fun environment/0],
    case merge(Sources, ?EMPTY) of
        {ok, #{Key := Part}} -> {ok, Part};
        {error, _} = Error -> Error
    end.

%% @doc One image.
-spec dist(atom()) -> {ok, dist()} | {error, {unknown_dist, atom()} | error()}.
dist(Name) ->
    case dists() of
        {ok, #{Name := Dist}} -> {ok, Dist};
        {ok, _} -> {error, {unknown_dist, Name}};
        {error, _} = Error -> Error
    end.

%% @doc One network: options for {@link evum_switch:start/1}.
-spec network(atom()) -> {ok, network()} | {error, {unknown_net, atom()} | error()}.
network(Name) ->
    case networks() of
        {ok, #{Name := Network}} -> {ok, Network};
        {ok, _} -> {error, {unknown_net, Name}};
        {error, _} = Error -> Error
    end.

%% @doc The files that are read, in order.
-spec files() -> [file:filename()].
files() -> [filename:join(priv_dir(), "evm.cfg") | user_file()].

%% @doc Where the build puts the port program and the initramfs.
-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:priv_dir(evum) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

user_file() ->
    case os:getenv("HOME") of
        false -> [];
        _ -> [filename:join(filename:basedir(user_config, "evum"), "evm.cfg")]
    end.

merge([], Config) -> {ok, Config};
merge([Source | Rest], Config) ->
    case Source() of
        {ok, More} -> merge(Rest, maps:map(fun(Key, Part) -> maps:merge(Part, maps:get(Key, More)) end, Config));
        {error, _} = Error -> Error
    end.

read_if_there(File) ->
    case filelib:is_file(File) of
        true -> read(File);
        false -> {ok, ?EMPTY}
    end.

%% @doc Reads one file.
-spec read(file:filename()) -> {ok, config()} | {error, error()}.
read(File) ->
    try
        forms(File, text(File), 1, ?EMPTY)
    catch
        throw:{Line, What} -> {error, {bad_config, File, Line, What}}
    end.

text(File) ->
    filelib:file_size(File) =< ?SIZE_MAX orelse throw({0, too_big}),
    case file:read_file(File) of
        {ok, Bytes} -> decode(unicode:characters_to_list(Bytes));
        {error, Reason} -> throw({0, Reason})
    end.

decode(Text) when is_list(Text) -> Text;
decode({_, Good, _}) -> throw({1 + length([C || C <- Good, C =:= $\n]), not_utf8}).

%% A form at a time, so that each term keeps its line.
forms(File, Text, Line, Config) ->
    case erl_scan:tokens([], Text, Line) of
        {done, {ok, Tokens, Next}, Rest} -> forms(File, Rest, Next, form(File, Tokens, Config));
        {done, {eof, _}, _} -> {ok, Config};
        {done, {error, {At, Module, What}, _}, _} -> throw({At, syntax(Module, What)});
        {more, _} -> last_form(File, Text, Line, Config)
    end.

%% Without a newline at its end the scanner wants more after the last full stop.
last_form(File, Text, Line, Config) ->
    case erl_scan:tokens([], Text ++ "\n", Line) of
        {done, _, _} -> forms(File, Text ++ "\n", Line, Config);
        {more, More} -> end_of_file(erl_scan:tokens(More, eof, Line), Line, Config)
    end.

end_of_file({done, {eof, _}, _}, _Line, Config) -> {ok, Config};
end_of_file({done, {ok, _, _}, _}, Line, _Config) -> throw({Line, {syntax, "a full stop is missing"}});
end_of_file({done, {error, {At, Module, What}, _}, _}, _Line, _Config) -> throw({At, syntax(Module, What)}).

syntax(Module, What) -> {syntax, lists:flatten(Module:format_error(What))}.

form(File, Tokens, Config) ->
    case erl_parse:parse_exprs(Tokens) of
        {ok, [Form]} -> section(File, Form, Config);
        {ok, [_, Second | _]} -> throw({line(Second), {syntax, "one term before each full stop"}});
        {error, {At, Module, What}} -> throw({At, syntax(Module, What)})
    end.

section(File, {tuple, _, [{atom, _, Key}, List]}, Config) when Key =:= dist; Key =:= network ->
    Part = lists:foldl(fun(Entry, Acc) -> entry(Key, File, Entry, Acc) end, maps:get(Key, Config), elements(List)),
    Config#{Key := Part};
section(_File, {tuple, At, [{atom, _, Key} | _]}, _Config) ->
    throw({erl_anno:line(At), {unknown_key, Key}});
section(_File, Form, _Config) ->
    throw({line(Form), {syntax, "{dist, [...]} or {network, [...]} is expected"}}).

entry(dist, File, {tuple, At, [{atom, _, Name}, List]}, Dists) ->
    Dists#{Name => evm_cfg_dist:dist(File, erl_anno:line(At), Name, [plain_property(P) || P <- elements(List)])};
entry(network, _File, {tuple, At, [{atom, _, Name}, List]}, Networks) ->
    Networks#{Name => evm_cfg_net:network(erl_anno:line(At), [plain_property(P) || P <- elements(List)])};
entry(_Key, _File, Form, _Part) ->
    throw({line(Form), {syntax, "{Name, [...]} is expected"}}).

plain_property({tuple, At, [{atom, _, Key}, Value]}) -> {Key, term(Value), erl_anno:line(At)};
plain_property(Form) -> throw({line(Form), {syntax, "{Key, Value} is expected"}}).

%% --- the application environment: the same terms, without lines -------------

environment() -> environment([dist, network], ?EMPTY).

environment([], Config) -> {ok, Config};
environment([Key | Rest], Config) ->
    File = "the application environment",
    try section(File, erl_parse:abstract({Key, application:get_env(evum, Key, [])}, 0), Config) of
        More -> environment(Rest, More)
    catch
        throw:{_, What} -> {error, {bad_config, File, 0, What}};
        error:_ -> {error, {bad_config, File, 0, {bad_value, Key}}}
    end.

%% --- abstract terms -----------------------------------------------------------

elements({nil, _}) -> [];
elements({cons, _, Head, Tail}) -> [Head | elements(Tail)];
elements(Form) -> throw({line(Form), {syntax, "a list is expected"}}).

term(Form) ->
    try
        erl_parse:normalise(Form)
    catch
        error:_ -> throw({line(Form), {syntax, "a plain term is expected"}})
    end.

line(Form) -> erl_anno:line(element(2, Form)).
