%% SPDX-License-Identifier: Apache-2.0
%% A machine's console: to the owner, from who types, to who is attached
-module(evum_vm_console).

-export([adopt/2, all_typed/2, attach/2, await_text/4, check_texts/1, console/2, printed/1]).
-export([credit/1, detach/2, give_away/4, line_done/2, next_line/1, pump/1]).
-export([send_line/4, set_active/3, text_of/1, type/3, untype/2]).

-include("evum_vm.hrl").

%% @doc Forgets bytes that still wait to be typed.
-spec untype(term(), #data{}) -> #data{}.
untype(_Ref, #data{chan = undefined} = D) -> D;
untype(Ref, #data{chan = Chan} = D) ->
    {_Sent, Chan1} = evum_chan:untype(Ref, Chan),
    D#data{chan = Chan1}.

%% @doc What a waiter for text asked for.
-spec text_of({term(), term()}) -> term().
text_of({Source, _Compiled}) -> Source.

%% @doc Takes bytes that the guest printed.
-spec console(binary(), #data{}) -> #data{}.
console(Bytes, #data{console = Console} = D) ->
    {Echoes, Console1} = evum_console:input(Bytes, Console),
    D1 = D#data{console = Console1, output_at = evum_vm_data:now_ms()},
    D2 = lists:foldl(fun({Ref, Line}, Acc) -> evum_vm_data:answer(Ref, Line, line_done(Ref, Acc)) end, D1, Echoes),
    pump(printed(next_line(D2))).

%% @doc Delivers what the owner has room for, and gives the guest its window back.
-spec pump(#data{}) -> #data{}.
pump(#data{owner = Owner, console = Console} = D) ->
    {Owner1, Console1, Messages} = evum_owner:pump(self(), Owner, Console),
    credit(credit_messages(Messages, D#data{owner = Owner1, console = Console1})).

credit_messages(0, D) -> D;
credit_messages(_N, #data{chan = undefined} = D) -> D;
credit_messages(N, #data{chan = Chan} = D) -> D#data{chan = evum_chan:send(evum_proto:credit(0, 2, N), Chan)}.

%% @doc Gives the guest its window back, but for small change: the window is many times as large.
-spec credit(#data{}) -> #data{}.
credit(#data{started = false} = D) -> D;
credit(#data{console = Console, chan = Chan, unseen = Unseen} = D) ->
    case evum_console:credit(Unseen, Console) of
        {N, Console1} when N >= ?CREDIT_MIN ->
            D#data{console = Console1, chan = evum_chan:send(evum_proto:credit(0, 1, N), Chan)};
        _ ->
            D
    end.

%% @doc Typing makes who types the owner, where there is none.
-spec adopt(pid(), #data{}) -> #data{}.
adopt(Caller, #data{owner = Owner} = D) ->
    case evum_owner:adopts(Owner) of
        true -> pump(D#data{owner = evum_owner:replace(Caller, Owner)});
        false -> D
    end.

%% @doc Changes the owner, if the caller may.
-spec give_away(pid(), pid(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
give_away(Pid, Caller, From, #data{owner = Owner} = D) ->
    Current = evum_owner:pid(Owner),
    case Current =:= none orelse Current =:= Caller of
        true -> {keep_state, pump(D#data{owner = evum_owner:replace(Pid, Owner)}), [{reply, From, ok}]};
        false -> evum_vm_data:reply(From, {error, not_owner})
    end.

%% @doc How the owner gets the console.
-spec set_active(term(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
set_active(Active, From, #data{owner = Owner} = D) ->
    case evum_owner:set_active(Active, self(), Owner) of
        {ok, Owner1} -> {keep_state, pump(D#data{owner = Owner1}), [{reply, From, ok}]};
        {error, _} = Error -> evum_vm_data:reply(From, Error)
    end.

%% @doc Types a line and waits for its echo.
-spec send_line(binary(), pos_integer(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
send_line(Line, Ms, From, #data{lines = Lines} = D) ->
    Ref = make_ref(),
    D1 = evum_vm_data:wait_for(Ref, echo, From, D#data{lines = Lines ++ [{Ref, Line}]}),
    {keep_state, next_line(D1), [{{timeout, Ref}, Ms, expire}]}.

%% @doc A line is typed once the one before has its echo, and where the guest shows
%% a prompt or is quiet: a shell that has not read its terminal yet would have
%% the line echoed twice, and without the prompt. It never waits long.
-spec next_line(#data{}) -> #data{}.
next_line(#data{typing = undefined, lines = [{Ref, _} | _]} = D) ->
    next_line(D#data{typing = {Ref, evum_vm_data:now_ms() + ?SETTLE_MAX_MS}});
next_line(#data{typing = {Ref, Latest}, lines = [{Ref, Line} | Rest], console = Console} = D) when is_integer(Latest) ->
    Now = evum_vm_data:now_ms(),
    Quiet = D#data.output_at + ?SETTLE_MS,
    case evum_console:prompt(Console) orelse Now >= min(Quiet, Latest) of
        true ->
            D1 = D#data{typing = {Ref, typed}, lines = Rest, console = evum_console:expect(Ref, Line, Console)},
            type({line, Ref}, <<Line/binary, $\n>>, D1);
        false ->
            _ = erlang:send_after(min(Quiet, Latest) - Now, self(), next_line),
            D
    end;
next_line(D) -> D.

%% @doc The line's echo came, or is no longer waited for.
-spec line_done(reference(), #data{}) -> #data{}.
line_done(Ref, #data{typing = Typing, lines = Lines} = D) ->
    D1 = D#data{lines = lists:keydelete(Ref, 1, Lines)},
    case Typing of
        {Ref, _} -> next_line(D1#data{typing = undefined});
        _ -> D1
    end.

%% @doc Types bytes; all_typed/2 hears of `Ref' once they are handed over.
-spec type(term(), binary(), #data{}) -> #data{}.
type(_Ref, _Bytes, #data{chan = undefined} = D) -> D;
type(Ref, Bytes, #data{chan = Chan} = D) ->
    {Done, Chan1} = evum_chan:type(Ref, Bytes, Chan),
    all_typed(Done, D#data{chan = Chan1}).

%% @doc Tells those whose bytes the guest's console has.
-spec all_typed([term()], #data{}) -> #data{}.
all_typed(Done, D) -> lists:foldl(fun typed/2, D, Done).

typed({attach, Pid, N}, D) ->
    Pid ! {evum_attach, taken, N},
    D;
typed({line, _Ref}, D) -> D;
typed(Ref, D) -> evum_vm_data:answer(Ref, ok, D).

%% @doc Waits for what matches a regular expression.
-spec await_text({term(), term()}, pos_integer(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
await_text({_, Compiled} = Re, Ms, From, #data{console = Console} = D) ->
    case match(Compiled, Console) of
        {ok, Console1} -> {keep_state, D#data{console = Console1}, [{reply, From, ok}]};
        nomatch -> evum_vm_data:wait({text, Re}, Ms, From, D)
    end.

match(Compiled, Console) ->
    case re:run(evum_console:text(Console), Compiled, [{capture, first, index}]) of
        {match, [{At, Length}]} -> {ok, evum_console:mark(At + Length, Console)};
        _ -> nomatch
    end.

%% @doc Something was printed: whoever waits for text is looked after soon. A
%% flood comes in many small frames, and each look is at all that was printed.
-spec printed(#data{}) -> #data{}.
printed(#data{unchecked = true} = D) -> D;
printed(D) ->
    case texts(D) of
        [] -> D;
        _ ->
            _ = erlang:send_after(?TEXT_MS, self(), check_texts),
            D#data{unchecked = true}
    end.

%% @doc Has what somebody waits for been printed?
-spec check_texts(#data{}) -> #data{}.
check_texts(D) -> lists:foldl(fun check_text/2, D#data{unchecked = false}, texts(D)).

texts(#data{waiters = Waiters}) -> [{Ref, Re} || {Ref, #waiter{kind = {text, Re}}} <- maps:to_list(Waiters)].

check_text({Ref, {_, Compiled}}, #data{console = Console} = D) ->
    case match(Compiled, Console) of
        {ok, Console1} -> evum_vm_data:answer(Ref, ok, D#data{console = Console1});
        nomatch -> D
    end.

%% @doc Diverts the console, raw, to a person's terminal.
-spec attach(pid(), #data{}) -> #data{}.
attach(Pid, #data{console = Console} = D) ->
    %% the prompt that is on the screen already
    Pid ! {evum_attach, output, evum_console:partial(Console)},
    D#data{viewer = Pid, unseen = byte_size(evum_console:partial(Console))}.

%% @doc Gives the console back to the owner.
-spec detach(pid(), #data{}) -> #data{}.
detach(Pid, #data{viewer = Pid} = D) ->
    credit(evum_vm_data:cast(winsize, [24, 29999], D#data{viewer = undefined, unseen = 0}));
detach(_Pid, D) -> D.
