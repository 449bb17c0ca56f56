%% SPDX-License-Identifier: Apache-2.0
%% The host's own distribution, for machines that are nodes
%%
%% A host that is distributed is left as it is, and looked at: can nodes be found by an
%% epmd on it, and its node be reached by 127.0.0.1? One that isn't becomes
%% evum@127.0.0.1 (or evum2, … where that name is taken), listening on loopback only. An
%% epmd is started where none runs. What was started ends with evum.
-module(evum_dist).
-behaviour(gen_server).

-export([start/0, start_link/0]).
-export([init/1, handle_call/3, handle_info/2, handle_cast/2, terminate/2]).
-export_type([host/0]).

%% host: what a machine's node has after the @
-type host() :: #{node := node(), domain := long | short, port := inet:port_number(), host := string()}.
-type error() ::
    {host_node, {proto_dist, string()} | {epmd_module, module()} | {epmd_port, string()} | {interface, term()} | not_listening}
    | {no_distribution, term()} | {no_epmd, term()}.

-define(LOCALHOST, {127, 0, 0, 1}).
-define(CALL_MS, 30000).
%% a node registers itself again 2 s after its epmd has ended
-define(REGISTERED_MS, 5000).
-define(POLL_MS, 50).
-define(NAMES_MAX, 1000).

-record(state, {
    %% what we have started
    epmd :: undefined | evum_epmd:own(),
    node :: undefined | node()
}).

%% @doc Makes this node distributed, where it isn't: which node it is, on which port of
%% 127.0.0.1 it listens, and what the names of others on this host end in, `127.0.0.1' for
%% long ones and `localhost' for short ones.
-spec start() -> {ok, host()} | {error, error() | not_started}.
start() ->
    try
        gen_server:call(?MODULE, start, ?CALL_MS)
    catch
        exit:{noproc, _} -> {error, not_started};
        exit:{timeout, _} -> {error, {no_distribution, timeout}}
    end.

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @private
-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #state{}}.

%% @private
-spec handle_call(start, gen_server:from(), #state{}) -> {reply, {ok, host()} | {error, error()}, #state{}}.
handle_call(start, _From, S) ->
    case fit() of
        ok -> with_epmd(evum_epmd:start(), S);
        {error, _} = Error -> {reply, Error, S}
    end.

with_epmd({error, _} = Error, S) -> {reply, Error, S};
with_epmd({ok, Epmd}, S) -> with_node(S#state{epmd = Epmd});
with_epmd(running, S) -> with_node(S).

with_node(S) ->
    case is_alive() orelse start_node(1) of
        true -> {reply, described(), S};
        ok -> {reply, described(), S#state{node = node()}};
        {error, _} = Error -> {reply, Error, S}
    end.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Other, S) -> {noreply, S}.

%% @private Without an epmd nobody is found: the nodes here register themselves again.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({Port, {exit_status, _}}, #state{epmd = {Port, _}} = S) ->
    case evum_epmd:start() of
        {ok, Epmd} -> {noreply, S#state{epmd = Epmd}};
        running -> {noreply, S#state{epmd = undefined}};
        {error, Reason} ->
            logger:warning("the host's epmd ended and can't be started again: ~ts", [evum_error:format(Reason)]),
            {noreply, S#state{epmd = undefined}}
    end;
handle_info(_Other, S) -> {noreply, S}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{epmd = Epmd, node = Node}) ->
    _ = Node =/= undefined andalso Node =:= node() andalso net_kernel:stop(),
    Epmd =:= undefined orelse evum_epmd:stop(Epmd),
    ok.

%% --- what there is -----------------------------------------------------------------------

%% Can nodes that speak plain TCP, and that an epmd knows, be reached from here and reach us?
fit() ->
    Checks = [fun fit_proto/0, fun fit_epmd_port/0, fun fit_epmd_module/0, fun fit_interface/0],
    hd([Error || Check <- Checks, {error, _} = Error <- [Check()]] ++ [ok]).

fit_proto() ->
    case init:get_argument(proto_dist) of
        {ok, [["inet_tcp"]]} -> ok;
        {ok, [[Proto | _] | _]} -> {error, {host_node, {proto_dist, Proto}}};
        _ -> ok
    end.

fit_epmd_port() ->
    case init:get_argument(erl_epmd_port) of
        {ok, [[Port | _] | _]} -> {error, {host_node, {epmd_port, Port}}};
        _ -> ok
    end.

fit_epmd_module() ->
    case net_kernel:epmd_module() of
        erl_epmd -> ok;
        Module -> {error, {host_node, {epmd_module, Module}}}
    end.

fit_interface() ->
    case application:get_env(kernel, inet_dist_use_interface) of
        {ok, Ip} when Ip =/= ?LOCALHOST, Ip =/= {0, 0, 0, 0} -> {error, {host_node, {interface, Ip}}};
        _ -> ok
    end.

described() ->
    [Name, Host] = string:split(atom_to_list(node()), "@"),
    case listens(Name, erlang:monotonic_time(millisecond) + ?REGISTERED_MS) of
        {ok, Port} -> {ok, maps:merge(domain(lists:member($., Host)), #{node => node(), port => Port})};
        {error, _} = Error -> Error
    end.

domain(true) -> #{domain => long, host => "127.0.0.1"};
domain(false) -> #{domain => short, host => "localhost"}.

listens(Name, Deadline) ->
    case erl_epmd:port_please(Name, ?LOCALHOST, ?REGISTERED_MS) of
        {port, Port, _} -> {ok, Port};
        _ ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true ->
                    receive after ?POLL_MS -> ok end,
                    listens(Name, Deadline);
                false -> {error, {host_node, not_listening}}
            end
    end.

%% --- making it ---------------------------------------------------------------------------

start_node(N) when N > ?NAMES_MAX -> {error, {no_distribution, name_taken}};
start_node(N) ->
    Name = case N of 1 -> "evum"; _ -> "evum" ++ integer_to_list(N) end,
    case taken(Name) of
        true -> start_node(N + 1);
        false -> start_node(Name, N)
    end.

taken(Name) ->
    case evum_epmd:names() of
        {ok, Names} -> lists:keymember(Name, 1, Names);
        {error, _} -> false
    end.

start_node(Name, N) ->
    Set = application:get_env(kernel, inet_dist_use_interface),
    _ = Set =:= undefined andalso application:set_env(kernel, inet_dist_use_interface, ?LOCALHOST),
    Started = net_kernel:start(list_to_atom(Name ++ "@127.0.0.1"), #{name_domain => longnames}),
    %% what is started later isn't ours
    _ = Set =:= undefined andalso application:unset_env(kernel, inet_dist_use_interface),
    case Started of
        {ok, _} -> ok;
        {error, Reason} ->
            %% somebody else may have become it meanwhile
            case taken(Name) of
                true -> start_node(N + 1);
                false -> {error, {no_distribution, why(Reason)}}
            end
    end.

why({{shutdown, {failed_to_start_child, auth, {[_ | _] = Text, _Stack}}}, _Child}) -> {cookie, Text};
why(Reason) -> Reason.
