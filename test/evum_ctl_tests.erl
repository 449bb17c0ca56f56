%% SPDX-License-Identifier: Apache-2.0
%% The control socket and what is said there, with clients that are played
-module(evum_ctl_tests).
-compile(export_all).
-include_lib("eunit/include/eunit.hrl").
-import(evum_test_lib, [until/1]).
-include_lib("kernel/include/file.hrl").

-define(WAIT, 2000).
-define(ANY_MAC, 16#ffffffffffff).

ctl_test_() ->
    {foreach, fun start/0, fun stop/1,
     [fun(Setup) -> {atom_to_list(Claim), {timeout, 20, fun() -> ?MODULE:Claim(Setup) end}} end
      || {Claim, 1} <- ?MODULE:module_info(exports), lists:suffix("_claim", atom_to_list(Claim))]}.

start() ->
    Supervisors = [begin {ok, Pid} = Module:start_link(), unlink(Pid), Pid end || Module <- [evum_net_sup, evum_ctl_sup]],
    {ok, Switch} = evum_switch:start(),
    {ok, Ctl} = evum_ctl:start(Switch),
    #{supervisors => Supervisors, switch => Switch, ctl => Ctl, dir => filename:dirname(evum_ctl:socket(Ctl))}.

stop(#{supervisors := Supervisors}) ->
    [begin
         Monitor = monitor(process, Pid),
         exit(Pid, shutdown),
         receive {'DOWN', Monitor, process, _, _} -> ok end
     end || Pid <- lists:reverse(Supervisors)].

%% --- clients -------------------------------------------------------------------

connect(#{dir := Dir}) ->
    {ok, Stream} = socket:open(local, stream),
    ok = socket:connect(Stream, #{family => local, path => filename:join(Dir, "ctl")}),
    Stream.

request(Address) -> request(3, 0, 1, Address).

request(Version, Type, Family, Address) ->
    <<16#feedface:32/native, Version:32/native, Type:32/native, Family:16/native, Address/binary, 0:(108 - byte_size(Address))/unit:8>>.

%% As User Mode Linux joins, with an abstract address and bytes that it forgot there,
%% or as VDE's programs do: their path is removed once they have joined.
join(Setup, uml) ->
    N = erlang:unique_integer([positive]),
    join(Setup, <<0, N:88, 0:600, 7:168>>, <<0, 0>>);
join(#{dir := Dir} = Setup, vde) ->
    Path = list_to_binary([Dir, "/.", integer_to_list(erlang:unique_integer([positive]))]),
    Client = join(Setup, Path, <<"vde_plug: user=root">>),
    ok = file:delete(Path),
    Client.

join(Setup, Address, Description) ->
    {ok, Dgram} = socket:open(local, dgram),
    ok = socket:bind(Dgram, #{family => local, path => Address}),
    Stream = connect(Setup),
    ok = socket:send(Stream, <<(request(Address))/binary, Description/binary>>),
    {ok, <<1:16/native, Path:108/binary>>} = socket:recv(Stream, 110, ?WAIT),
    [Name | _] = binary:split(Path, <<0>>),
    #{stream => Stream, dgram => Dgram, to => #{family => local, path => Name}}.

send(#{dgram := Dgram, to := To}, Frame) -> ok = socket:sendto(Dgram, Frame, To).

recv(Client) -> recv(Client, ?WAIT).

recv(#{dgram := Dgram}, Ms) ->
    case socket:recvfrom(Dgram, 65535, Ms) of
        {ok, {_, Frame}} -> Frame;
        {error, timeout} -> none
    end.

leave(#{stream := Stream, dgram := Dgram}) ->
    ok = socket:close(Stream),
    ok = socket:close(Dgram).

frame(Dst, Src, Text) -> <<Dst:48, Src:48, 16#88b5:16, Text/binary>>.

%% Closed without an answer, whether or not all was read.
closed(Stream) ->
    {error, Reason} = socket:recv(Stream, 0, 7000),
    ?assert(Reason =:= closed orelse Reason =:= econnreset),
    ok = socket:close(Stream).

ports(#{switch := Switch}) -> [P || #{kind := foreign} = P <- evum_switch:ports(Switch)].

%% --- who joins -----------------------------------------------------------------

frames_go_between_clients_claim(Setup) ->
    [A, B, C] = [join(Setup, How) || How <- [uml, vde, uml]],
    Hello = frame(?ANY_MAC, 2, <<"hello all">>),
    send(A, Hello),
    ?assertEqual([Hello, Hello], [recv(B), recv(C)]),
    Back = frame(2, 4, <<"hello you">>),
    send(B, Back),
    ?assertEqual([Back, none, none], [recv(A), recv(C, 50), recv(B, 0)]),
    ?assertMatch([#{label := <<"ctl1">>, rx_frames := 1}, #{rx_frames := 1}, #{rx_frames := 0}], ports(Setup)).

many_frames_arrive_in_order_claim(Setup) ->
    [A, B] = [join(Setup, How) || How <- [vde, uml]],
    Frames = [frame(?ANY_MAC, 2, <<N:32>>) || N <- lists:seq(1, 500)],
    Reader = spawn_monitor(fun() -> exit({got, [recv(B) || _ <- Frames]}) end),
    %% the other's socket queues few: whoever sends waits
    [send(A, F) || F <- Frames],
    {Pid, Monitor} = Reader,
    receive {'DOWN', Monitor, process, Pid, {got, Got}} -> ?assertEqual(Frames, Got) end.

who_leaves_is_unplugged_claim(Setup) ->
    A = join(Setup, vde),
    B = join(Setup, uml),
    ?assertMatch([_, _], ports(Setup)),
    leave(A),
    ok = socket:close(maps:get(stream, B)),
    until(fun() -> ports(Setup) =:= [] end),
    ?assertMatch(#{clients := 0, bad_requests := 0}, evum_ctl:info(maps:get(ctl, Setup))).

a_clients_data_socket_that_vanishes_is_a_leave_claim(Setup) ->
    [A, B] = [join(Setup, How) || How <- [uml, uml]],
    ok = socket:close(maps:get(dgram, A)),
    send(B, frame(?ANY_MAC, 2, <<>>)),
    until(fun() -> length(ports(Setup)) =:= 1 end).

%% --- who must not ----------------------------------------------------------------

garbage_is_closed_and_counted_claim(#{ctl := Ctl, dir := Dir} = Setup) ->
    Path = list_to_binary(filename:join(Dir, "nobody")),
    Lies = [<<"GET / HTTP/1.1\r\n\r\n">>, <<0:2000>>, request(1, 0, 1, Path), request(2, 0, 1, Path), request(4, 0, 1, Path),
            request(3, 7, 1, Path), request(3, 0, 2, Path), request(3, 0, 1, <<>>), request(3, 0, 1, <<"relative">>),
            request(Path), request(list_to_binary(evum_ctl:socket(Ctl)))],
    [begin
         Stream = connect(Setup),
         ok = socket:send(Stream, Bytes),
         closed(Stream)
     end || Bytes <- Lies],
    ?assertMatch(#{bad_requests := N} when N =:= length(Lies), evum_ctl:info(Ctl)),
    _ = join(Setup, vde),
    ?assertMatch([_], ports(Setup)).

half_a_request_is_closed_in_time_claim(#{ctl := Ctl} = Setup) ->
    <<Half:60/binary, _/binary>> = request(<<"/tmp/x">>),
    [Gone, Silent, Slow] = [connect(Setup) || _ <- [1, 2, 3]],
    ok = socket:send(Gone, Half),
    ok = socket:shutdown(Gone, write),
    closed(Gone),
    ok = socket:send(Slow, Half),
    closed(Slow),
    closed(Silent),
    ?assertMatch(#{bad_requests := 3, clients := 0}, evum_ctl:info(Ctl)).

a_request_may_come_in_pieces_claim(#{dir := Dir} = Setup) ->
    Address = list_to_binary(filename:join(Dir, ".pieces")),
    {ok, Dgram} = socket:open(local, dgram),
    ok = socket:bind(Dgram, #{family => local, path => Address}),
    Stream = connect(Setup),
    [begin ok = socket:send(Stream, <<Byte>>), timer:sleep(1) end || <<Byte>> <= request(Address)],
    ?assertMatch({ok, <<_:110/binary>>}, socket:recv(Stream, 110, ?WAIT)).

chatter_ends_the_client_claim(Setup) ->
    #{stream := Stream} = join(Setup, vde),
    ok = socket:send(Stream, <<0:40000>>),
    until(fun() -> ports(Setup) =:= [] end).

frames_of_a_wrong_size_are_counted_claim(#{ctl := Ctl} = Setup) ->
    [A, B] = [join(Setup, How) || How <- [uml, vde]],
    send(A, <<1, 2, 3>>),
    send(A, frame(?ANY_MAC, 2, <<0:(1505 * 8)>>)),
    send(A, frame(?ANY_MAC, 2, <<0:(1504 * 8)>>)),
    ?assertEqual(1518, byte_size(recv(B))),
    ?assertMatch(#{bad_frames := 2}, evum_ctl:info(Ctl)).

there_is_a_limit_claim(#{ctl := Ctl} = Setup) ->
    Clients = [join(Setup, uml) || _ <- lists:seq(1, 64)],
    closed(connect(Setup)),
    ?assertMatch(#{clients := 64, refused := 1}, evum_ctl:info(Ctl)),
    leave(hd(Clients)),
    until(fun() -> maps:get(clients, evum_ctl:info(Ctl)) < 64 end),
    _ = join(Setup, uml).

%% Its frames are dropped, and the others' aren't; when it reads again it gets new ones.
who_never_reads_costs_nobody_claim(Setup) ->
    [Sender, Deaf, Reader] = [join(Setup, How) || How <- [vde, uml, vde]],
    Frame = frame(?ANY_MAC, 2, <<0:8000>>),
    [begin send(Sender, Frame), Frame = recv(Reader) end || _ <- lists:seq(1, 3000)],
    [_, #{dropped := Dropped, vm := Client}, #{dropped := 0, tx_frames := 3000}] = ports(Setup),
    ?assert(Dropped > 1000),
    {message_queue_len, Waiting} = process_info(Client, message_queue_len),
    ?assert(Waiting < 10),
    {binary, Binaries} = process_info(Client, binary),
    ?assert(lists:sum([Size || {_, Size, _} <- lists:ukeysort(1, Binaries)]) < 3000000),
    Old = drain(Deaf, 0),
    ?assertEqual(3000, Old + Dropped),
    send(Sender, Last = frame(?ANY_MAC, 2, <<"last">>)),
    ?assertEqual([Last, Last], [recv(Deaf), recv(Reader)]).

drain(Client, N) ->
    case recv(Client, 100) of
        none -> N;
        _ -> drain(Client, N + 1)
    end.

%% --- the directory ---------------------------------------------------------------

the_directory_is_its_owners_and_goes_claim(#{ctl := Ctl, dir := Dir} = Setup) ->
    {ok, #file_info{mode = Mode}} = file:read_file_info(Dir),
    ?assertEqual(8#700, Mode band 8#777),
    #{stream := Stream} = join(Setup, vde),
    ok = file:write_file(filename:join(Dir, ".left-behind"), <<>>),
    ok = evum_ctl:stop(Ctl),
    ?assertNot(filelib:is_file(Dir)),
    ?assertEqual({error, closed}, socket:recv(Stream, 0, ?WAIT)),
    ok = evum_ctl:stop(Ctl),
    ?assertEqual({error, {no_ctl, Ctl}}, evum_ctl:socket(Ctl)),
    ?assertEqual({error, {no_ctl, Ctl}}, evum_ctl:info(Ctl)).

it_ends_with_its_switch_claim(#{ctl := Ctl, switch := Switch, dir := Dir}) ->
    Monitor = monitor(process, Ctl),
    ok = evum_switch:stop(Switch),
    receive {'DOWN', Monitor, process, _, {shutdown, switch_down}} -> ok after ?WAIT -> error(alive) end,
    ?assertNot(filelib:is_file(Dir)).

clients_stay_when_their_switch_crashes_claim(#{switch := Switch, ctl := Ctl} = Setup) ->
    [A, B] = [join(Setup, How) || How <- [uml, vde]],
    ok = logger:set_primary_config(level, none),
    exit(Switch, kill),
    until(fun() ->
        case evum_switch:ports(net1) of
            Ports when is_list(Ports) -> length([P || #{kind := foreign} = P <- Ports]) =:= 2;
            {error, _} -> false
        end
    end),
    ok = logger:set_primary_config(level, notice),
    Hello = frame(?ANY_MAC, 2, <<"again">>),
    send(A, Hello),
    ?assertEqual(Hello, recv(B)),
    ?assertMatch(#{clients := 2}, evum_ctl:info(Ctl)),
    ok = evum_switch:stop(net1),
    until(fun() -> not is_process_alive(Ctl) end).

what_a_dead_one_left_is_removed_claim(#{switch := Switch, ctl := Ctl, dir := Dir}) ->
    Base = filename:dirname(Dir),
    %% no process has this number; what is in it is a socket that nobody listens at
    Dead = filename:join(Base, "evum-ctl-99999999-" ++ os:getpid()),
    ok = file:make_dir(Dead),
    {ok, Socket} = socket:open(local, stream),
    ok = socket:bind(Socket, #{family => local, path => filename:join(Dead, "ctl")}),
    ok = socket:close(Socket),
    ok = file:write_file(filename:join(Dead, ".1234-00000"), <<>>),
    %% one of a process that runs stays, and so does one that is listened at
    Alive = filename:join(Base, "evum-ctl-1-" ++ os:getpid()),
    ok = file:make_dir(Alive),
    Left = filename:join(Dir, ".left"),
    ok = file:write_file(Left, <<>>),
    ok = logger:set_primary_config(level, none),
    exit(Ctl, kill),
    {ok, Next} = evum_ctl:start(Switch),
    ?assertEqual([false, true, false], [filelib:is_file(D) || D <- [Dead, Alive, Left]]),
    {ok, Second} = evum_ctl:start(net1),
    ?assertMatch([{ok, _}, {ok, _}], [file:read_file_info(evum_ctl:socket(C)) || C <- [Next, Second]]),
    ok = file:del_dir(Alive),
    ok = logger:set_primary_config(level, notice).

what_is_no_network_is_an_error_claim(_Setup) ->
    ?assertEqual({error, {unknown_net, nowhere}}, evum_ctl:start(nowhere)),
    ?assertEqual({error, {no_network, self()}}, evum_ctl:start(self())).

the_mtu_is_ethernets_claim(#{switch := Switch}) ->
    ?assertMatch(#{mtu := 1500}, evum_switch:info(Switch)).
