%% SPDX-License-Identifier: Apache-2.0
%% The listener of a machine's console, with a machine that is played
-module(evum_attach_tests).
-include_lib("eunit/include/eunit.hrl").

-export([typed_bytes_reach_the_machine/2, output_reaches_the_client_and_is_acknowledged/2,
         output_beyond_the_window_waits/2, a_second_client_is_told_who_has_it/2,
         a_client_that_leaves_gives_the_console_back/2, a_window_size_is_passed_on/2,
         garbage_ends_the_client_only/2, the_end_of_the_machine_is_told/2,
         a_killed_machine_is_told_without_a_report/2]).
-export([log/2]).

-define(WAIT, 2000).

attach_test_() ->
    [{atom_to_list(Claim), fun() -> with_listener(fun ?MODULE:Claim/2) end}
     || Claim <- [typed_bytes_reach_the_machine, output_reaches_the_client_and_is_acknowledged,
                  output_beyond_the_window_waits, a_second_client_is_told_who_has_it,
                  a_client_that_leaves_gives_the_console_back, a_window_size_is_passed_on,
                  garbage_ends_the_client_only, the_end_of_the_machine_is_told,
                  a_killed_machine_is_told_without_a_report]].

%% The test's process plays the machine: it starts the listener and gets its casts.
with_listener(Claim) ->
    process_flag(trap_exit, true),
    Label = 'attach-test',
    {ok, Listener} = evum_attach:start_link(self(), Label),
    try Claim(Listener, Label)
    after
        unlink(Listener),
        Ref = monitor(process, Listener),
        exit(Listener, kill),
        receive {'DOWN', Ref, process, _, _} -> ok end,
        flush()
    end.

flush() -> receive _ -> flush() after 0 -> ok end.

connect(Label) ->
    {ok, Socket} = gen_tcp:connect({local, evum_attach:address(Label)}, 0,
                                   [binary, {packet, 4}, {active, false}]),
    Socket.

attached(Listener, Label) ->
    Socket = connect(Label),
    ok = gen_tcp:send(Socket, <<0, 0, 0:32>>),
    {attach, Listener} = cast(),
    Socket.

cast() ->
    receive {'$gen_cast', Message} -> Message
    after ?WAIT -> error(no_cast)
    end.

frame(Socket) -> {ok, Frame} = gen_tcp:recv(Socket, 0, ?WAIT), Frame.

typed_bytes_reach_the_machine(Listener, Label) ->
    Socket = attached(Listener, Label),
    ok = gen_tcp:send(Socket, <<1, "uname\r">>),
    ?assertEqual({attach_input, Listener, <<"uname\r">>}, cast()),
    Listener ! {evum_attach, taken, 6},
    ?assertEqual(<<5, 6:32>>, frame(Socket)).

output_reaches_the_client_and_is_acknowledged(Listener, Label) ->
    Socket = attached(Listener, Label),
    Listener ! {evum_attach, output, <<"Linux\r\n">>},
    ?assertEqual(<<1, "Linux\r\n">>, frame(Socket)),
    ok = gen_tcp:send(Socket, <<5, 1, 7:32>>),
    ?assertEqual({attach_ack, Listener, 7}, cast()).

output_beyond_the_window_waits(Listener, Label) ->
    Socket = attached(Listener, Label),
    Listener ! {evum_attach, output, binary:copy(<<"x">>, 65530)},
    Listener ! {evum_attach, output, <<"0123456789">>},
    ?assertEqual(65531, byte_size(frame(Socket))),
    ?assertEqual(<<1, "012345">>, frame(Socket)),
    ?assertEqual({error, timeout}, gen_tcp:recv(Socket, 0, 50)),
    ok = gen_tcp:send(Socket, <<5, 1, 65530:32>>),
    ?assertEqual(<<1, "6789">>, frame(Socket)).

a_second_client_is_told_who_has_it(Listener, Label) ->
    First = attached(Listener, Label),
    Second = connect(Label),
    <<4, Text/binary>> = frame(Second),
    ?assertMatch({_, _}, binary:match(Text, list_to_binary("process " ++ os:getpid()))),
    ?assertEqual(<<3, 125>>, frame(Second)),
    ?assertEqual({error, closed}, gen_tcp:recv(Second, 0, ?WAIT)),
    Listener ! {evum_attach, output, <<"still here">>},
    ?assertEqual(<<1, "still here">>, frame(First)).

a_client_that_leaves_gives_the_console_back(Listener, Label) ->
    Socket = attached(Listener, Label),
    Listener ! {evum_attach, output, <<"unread">>},
    ok = gen_tcp:close(Socket),
    ?assertEqual({attach_ack, Listener, 6}, cast()),
    ?assertEqual({detach, Listener}, cast()),
    _ = attached(Listener, Label).

a_window_size_is_passed_on(Listener, Label) ->
    Socket = connect(Label),
    ok = gen_tcp:send(Socket, <<0, 1, 24:16, 80:16>>),
    ?assertEqual({attach, Listener}, cast()),
    ?assertEqual({attach_winsize, 24, 80}, cast()),
    ok = gen_tcp:send(Socket, <<2, 50:16, 132:16>>),
    ?assertEqual({attach_winsize, 50, 132}, cast()).

garbage_ends_the_client_only(Listener, Label) ->
    [begin
         Socket = connect(Label),
         ok = gen_tcp:send(Socket, Bytes),
         ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?WAIT))
     end || Bytes <- [<<>>, <<1, "before hello">>, <<77>>, <<5, 1, 1:32>>, <<0, 1, 2>>,
                      binary:copy(<<1>>, 100000)]],
    _ = attached(Listener, Label).

the_end_of_the_machine_is_told(Listener, Label) ->
    Socket = attached(Listener, Label),
    Listener ! {evum_attach, down, {shutdown, halted}},
    <<4, Text/binary>> = frame(Socket),
    ?assertMatch({_, _}, binary:match(Text, atom_to_binary(Label))),
    ?assertEqual(<<3, 0>>, frame(Socket)).

a_killed_machine_is_told_without_a_report(_Listener, _Label) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    Self = self(),
    Machine = spawn(fun() ->
        {ok, Listener} = evum_attach:start_link(self(), 'attach-kill'),
        Self ! {listener, Listener},
        receive {'$gen_cast', _} = Attach -> Self ! Attach end,
        receive after infinity -> ok end
    end),
    Listener = receive {listener, L} -> L after ?WAIT -> error(no_listener) end,
    Socket = attached(Listener, 'attach-kill'),
    Monitor = monitor(process, Listener),
    exit(Machine, kill),
    <<4, _/binary>> = frame(Socket),
    ?assertEqual(<<3, 1>>, frame(Socket)),
    receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(shutdown, Reason) end,
    ok = logger:remove_handler(?MODULE),
    receive {logged, Event} -> error({reported, Event}) after 0 -> ok end.

%% A logger handler that tells the test.
log(Event, #{config := Pid}) -> Pid ! {logged, Event}.
