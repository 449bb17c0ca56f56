%% SPDX-License-Identifier: Apache-2.0
%% A client of a control socket: one foreign port of the switch
%%
%% Theory of operation.  States: `asking' until the request is there (5 s at most),
%% then `joined' until the stream is closed: that is how a client leaves. Frames are
%% datagrams between its socket and one of ours, which is connected to it, so that
%% nobody else's are received. It is connected before the request is answered: VDE's
%% programs remove the path of theirs right then.
%%
%% Nothing waits. What the client doesn't read stays in a queue; its bytes are given
%% back to the inbox only when they are gone, so that a client that never reads costs
%% the senders their frames (`dropped' of the port) and us one inbox.
-module(evum_ctl_client).
-behaviour(gen_statem).

-export([start_link/1, switch/2, counters/0, counts/1]).
-export([init/1, callback_mode/0, asking/3, joined/3, terminate/3]).

-define(REQUEST_MS, 5000).
-define(INBOX_MAX, 1048576).
%% frames that are read at a time
-define(READ_MAX, 64).
%% a stream that says more than its request is none of ours
-define(CHATTER_MAX, 4096).

-define(BAD_REQUESTS, 1).
-define(BAD_FRAMES, 2).
-define(COUNTERS, 2).

-record(client, {
    switch :: pid(),
    dir :: file:filename(),
    number :: pos_integer(),
    counters :: counters:counters_ref(),
    stream :: socket:socket(),
    %% what came of the request; later, how many bytes came beside it
    request = <<>> :: binary(),
    chatter = 0 :: non_neg_integer(),
    address = <<>> :: binary(),
    dgram :: undefined | socket:socket(),
    inbox :: undefined | evum_inbox:inbox(),
    port :: undefined | #{no := evum_lan:port_no(), lan := evum_lan:lan(), max_frame := pos_integer()},
    %% frames of batches that wait for the client to read, and the bytes of each batch
    queue = queue:new() :: queue:queue({[evum_frame:frame()], Bytes :: non_neg_integer()})
}).

-type options() :: #{
    switch := pid(), dir := file:filename(), number := pos_integer(), counters := counters:counters_ref(),
    stream := socket:socket()
}.

%% @doc Serves a client that has connected, linked to the caller, whose the stream is.
-spec start_link(options()) -> gen_statem:start_ret().
start_link(#{stream := Stream} = Options) ->
    {ok, Pid} = gen_statem:start_link(?MODULE, Options, []),
    ok = socket:setopt(Stream, {otp, controlling_process}, Pid),
    Pid ! go,
    {ok, Pid}.

%% @doc The client's switch is another one now: it joins that.
-spec switch(pid(), Switch :: pid()) -> ok.
switch(Client, Switch) -> gen_statem:cast(Client, {switch, Switch}).

%% @doc What all clients of one socket count.
-spec counters() -> counters:counters_ref().
counters() -> counters:new(?COUNTERS, []).

%% @doc The counters by name.
-spec counts(counters:counters_ref()) -> #{bad_requests | bad_frames => integer()}.
counts(Counters) ->
    #{bad_requests => counters:get(Counters, ?BAD_REQUESTS), bad_frames => counters:get(Counters, ?BAD_FRAMES)}.

%% @private
-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() -> state_functions.

%% @private
-spec init(options()) -> gen_statem:init_result(asking, #client{}).
init(#{switch := Switch, dir := Dir, number := N, counters := Counters, stream := Stream}) ->
    Client = #client{switch = Switch, dir = Dir, number = N, counters = Counters, stream = Stream},
    {ok, asking, Client, [{state_timeout, ?REQUEST_MS, late}]}.

%% --- asking ----------------------------------------------------------------

%% @private
-spec asking(gen_statem:event_type(), term(), #client{}) -> gen_statem:event_handler_result(asking | joined, #client{}).
asking(info, go, Client) -> read_request(Client);
asking(info, {'$socket', Stream, select, _}, #client{stream = Stream} = Client) -> read_request(Client);
asking(cast, {switch, Switch}, Client) -> {keep_state, Client#client{switch = Switch}};
asking(state_timeout, late, Client) -> bad_request(late, Client);
asking(_Type, _Event, _Client) -> keep_state_and_data.

read_request(#client{stream = Stream, request = Request} = Client) ->
    case socket:recv(Stream, evum_ctl_proto:request_size() - byte_size(Request), [], nowait) of
        {ok, Bytes} -> parse_request(Client#client{request = <<Request/binary, Bytes/binary>>});
        {select, {_Info, Bytes}} -> parse_request(Client#client{request = <<Request/binary, Bytes/binary>>});
        {select, _Info} -> keep_state_and_data;
        {error, Reason} -> bad_request(Reason, Client)
    end.

parse_request(#client{request = Request} = Client) ->
    case evum_ctl_proto:request(Request) of
        {ok, Address} -> join(Client#client{address = Address});
        more -> {keep_state, Client};
        {error, Reason} -> bad_request(Reason, Client)
    end.

bad_request(Reason, #client{counters = Counters}) ->
    counters:add(Counters, ?BAD_REQUESTS, 1),
    {stop, {shutdown, Reason}}.

join(#client{dir = Dir, number = N, address = Address} = Client) ->
    Path = list_to_binary(filename:join(Dir, "data" ++ integer_to_list(N))),
    case connected(Path, Address) of
        {ok, Dgram} -> plug(Path, Client#client{dgram = Dgram});
        {error, Reason} -> bad_request({no_client, Reason}, Client)
    end.

connected(Path, Address) ->
    case socket:open(local, dgram) of
        {ok, Dgram} -> connected(Dgram, socket:bind(Dgram, #{family => local, path => Path}), Address);
        {error, _} = Error -> Error
    end.

connected(Dgram, ok, Address) ->
    case socket:connect(Dgram, #{family => local, path => Address}) of
        ok -> {ok, Dgram};
        {error, _} = Error -> Error
    end;
connected(_Dgram, {error, _} = Error, _Address) -> Error.

%% The reply is the first that is written: it always fits.
plug(Path, #client{stream = Stream} = Client) ->
    case join_switch(Client#client{inbox = evum_inbox:new(self(), ?INBOX_MAX)}) of
        {ok, Client1} ->
            _ = socket:send(Stream, evum_ctl_proto:reply(Path), [], nowait),
            self() ! read,
            self() ! chatter,
            {next_state, joined, Client1};
        {error, Reason} -> {stop, {shutdown, Reason}}
    end.

join_switch(#client{switch = Switch, inbox = Inbox, number = N} = Client) ->
    case evum_switch:join(Switch, #{label => <<"ctl", (integer_to_binary(N))/binary>>, inbox => Inbox}) of
        {ok, Port} -> {ok, Client#client{port = Port}};
        {error, _} = Error -> Error
    end.

%% --- joined ----------------------------------------------------------------

%% @private
-spec joined(gen_statem:event_type(), term(), #client{}) -> gen_statem:event_handler_result(joined, #client{}).
joined(info, {evum_lan, output, _From, _Count, Body}, Client) -> output(Body, Client);
joined(info, {'$socket', Dgram, select, _}, #client{dgram = Dgram} = Client) ->
    %% it may be read or written again, or both
    case flush(Client) of
        {keep_state, Client1} -> read(Client1);
        Stop -> Stop
    end;
joined(info, read, Client) -> read(Client);
joined(info, {'$socket', Stream, select, _}, #client{stream = Stream} = Client) -> chatter(Client);
joined(info, chatter, Client) -> chatter(Client);
joined(cast, {switch, Switch}, Client) ->
    case join_switch(Client#client{switch = Switch}) of
        {ok, Client1} -> {keep_state, Client1};
        {error, Reason} -> {stop, {shutdown, Reason}}
    end;
joined(_Type, _Event, _Client) -> keep_state_and_data.

%% The rest of the request's description is all that a client has to say.
chatter(#client{stream = Stream, chatter = Chatter} = Client) when Chatter =< ?CHATTER_MAX ->
    case socket:recv(Stream, 0, [], nowait) of
        {ok, Bytes} -> chatter(Client#client{chatter = Chatter + byte_size(Bytes)});
        {select, {_Info, Bytes}} -> {keep_state, Client#client{chatter = Chatter + byte_size(Bytes)}};
        {select, _Info} -> {keep_state, Client};
        {error, _} -> {stop, {shutdown, left}}
    end;
chatter(Client) -> bad_request(chatter, Client).

%% --- frames ----------------------------------------------------------------

read(#client{dgram = Dgram, port = #{max_frame := Max}} = Client) ->
    case read(Dgram, Max, ?READ_MAX, []) of
        {Frames, Next} ->
            input(Frames, Client),
            _ = Next =:= more andalso (self() ! read),
            {keep_state, Client};
        gone -> {stop, {shutdown, left}}
    end.

read(_Dgram, _Max, 0, Frames) -> {lists:reverse(Frames), more};
read(Dgram, Max, N, Frames) ->
    %% one byte more than there may be shows what is too long
    case socket:recvfrom(Dgram, Max + 1, [], nowait) of
        {ok, {_From, Frame}} -> read(Dgram, Max, N - 1, [Frame | Frames]);
        {select, _Info} -> {lists:reverse(Frames), select};
        {error, _} -> gone
    end.

input(Frames, #client{port = #{lan := Lan, no := No, max_frame := Max}, counters = Counters}) ->
    {Good, Bad} = lists:partition(fun(F) -> byte_size(F) >= 14 andalso byte_size(F) =< Max end, Frames),
    counters:add(Counters, ?BAD_FRAMES, length(Bad)),
    lists:foreach(fun({Count, Body}) -> ok = evum_lan:input(Lan, No, Count, Body) end, evum_frame:batches(Good)).

output(Body, #client{queue = Queue, inbox = Inbox} = Client) ->
    case evum_frame:frames(Body) of
        {error, truncated} ->
            ok = evum_inbox:took(Inbox, byte_size(Body)),
            keep_state_and_data;
        Frames ->
            Waits = not queue:is_empty(Queue),
            Client1 = Client#client{queue = queue:in({Frames, byte_size(Body)}, Queue)},
            case Waits of
                true -> {keep_state, Client1};
                false -> flush(Client1)
            end
    end.

%% Sends what waits, until there is nothing or the client's queue is full.
flush(#client{queue = Queue, inbox = Inbox, dgram = Dgram} = Client) ->
    case queue:out(Queue) of
        {empty, _} -> {keep_state, Client};
        {{value, {Frames, Bytes}}, Rest} ->
            case send(Dgram, Frames) of
                [] ->
                    ok = evum_inbox:took(Inbox, Bytes),
                    flush(Client#client{queue = Rest});
                gone -> {stop, {shutdown, left}};
                Left -> {keep_state, Client#client{queue = queue:in_r({Left, Bytes}, Rest)}}
            end
    end.

%% The frames that are left, if the client's queue is full.
send(_Dgram, []) -> [];
send(Dgram, [Frame | Rest] = Frames) ->
    case socket:send(Dgram, Frame, [], nowait) of
        ok -> send(Dgram, Rest);
        {select, _Info} -> Frames;
        {error, Reason} when Reason =:= enobufs; Reason =:= emsgsize; Reason =:= enomem -> send(Dgram, Rest);
        {error, _} -> gone
    end.

%% @private A client that was killed leaves the path of its socket, VDE's in our directory.
-spec terminate(term(), asking | joined, #client{}) -> ok.
terminate(_Reason, _State, #client{dir = Dir, number = N, address = Address}) ->
    _ = file:delete(filename:join(Dir, "data" ++ integer_to_list(N))),
    Prefix = <<(list_to_binary(Dir))/binary, "/.">>,
    _ = binary:longest_common_prefix([Address, Prefix]) =:= byte_size(Prefix) andalso file:delete(Address),
    ok.
