%% SPDX-License-Identifier: Apache-2.0
%% A machine's console: lines, echoes, what is held, what was seen; pure
%%
%% Theory of operation.  Bytes from the guest go two ways.  All of them pass
%% through the ring, the last 64 KB, which answers text/1 and recent/1.  And
%% they become items for the owner: lines, or raw bytes, which are held here
%% until take/1 takes them.  The guest's window is given back as items leave
%% (credit/2), so what is held never exceeds one window.  An echo that somebody
%% waits for is taken out before it becomes an item.
%%
%% In line mode control sequences are removed, but for colours (final byte m):
%% a cursor query or an erasure is neither a line nor part of one.
-module(evum_console).

-export([new/1, mode/1, mode/2, input/2, divert/2, flush/1]).
-export([expect/3, forget/2, take/1, held/1, credit/2, unacknowledged/1, total/1]).
-export([text/1, mark/2, recent/1, partial/1, prompt/1, strip/1]).
-export_type([console/0, mode/0, item/0]).

-define(LINE_MAX, 2048).
-define(RING, 65536).
-define(RECENT, 50).
-define(ESC_MAX, 64).

-type mode() :: line | tagged | none.
-type item() :: {line, binary()} | {bytes, binary()}.

-record(console, {
    mode :: mode(),
    %% bytes of the current line that are no item yet
    line = <<>> :: binary(),
    %% bytes of the current line that are delivered already (tagged), for echoes
    shown = <<>> :: binary(),
    %% echoes that somebody waits for, the oldest first
    echoes = [] :: [{reference(), binary()}],
    items = queue:new() :: queue:queue(item()),
    held = 0 :: non_neg_integer(),
    %% bytes of the stream so far, and how many of them were given back
    total = 0 :: non_neg_integer(),
    given = 0 :: non_neg_integer(),
    ring = queue:new() :: queue:queue(binary()),
    ring_size = 0 :: non_neg_integer(),
    %% where the next text/1 begins
    mark = 0 :: non_neg_integer()
}).
-opaque console() :: #console{}.

%% @doc A console that nothing was printed on.
-spec new(mode()) -> console().
new(Mode) -> #console{mode = Mode}.

-spec mode(console()) -> mode().
mode(#console{mode = Mode}) -> Mode.

%% @doc Changes how bytes become items from now on.
-spec mode(console(), mode()) -> console().
mode(C, Mode) -> C#console{mode = Mode}.

%% @doc Takes bytes from the guest. Returns the echoes that they complete, in
%% order, each with the reference that expect/3 was given.
-spec input(binary(), console()) -> {[{reference(), binary()}], console()}.
input(Bytes, C0) ->
    C = remember(Bytes, C0),
    feed(C#console{line = <<>>}, <<(C0#console.line)/binary, Bytes/binary>>).

feed(#console{mode = tagged, echoes = [], shown = Shown} = C, Bytes) ->
    {[], push({bytes, copy(Bytes)}, C#console{shown = copy(last_line(<<Shown/binary, Bytes/binary>>))})};
feed(#console{mode = none, echoes = []} = C, Bytes) ->
    {[], C#console{line = copy(last_line(Bytes))}};
feed(C, Bytes) ->
    lines(C, Bytes, []).

%% @doc Takes bytes that go elsewhere: they are remembered and never become items.
-spec divert(binary(), console()) -> console().
divert(Bytes, C) -> remember(Bytes, C).

%% @doc The current line becomes an item as it is: no more of it will come.
-spec flush(console()) -> console().
flush(#console{line = <<>>} = C) -> C#console{shown = <<>>};
flush(#console{line = Line} = C) -> push_line(Line, <<>>, C#console{line = <<>>, shown = <<>>}).

lines(C, Bytes, Echoes) ->
    Limit = limit(C),
    case binary:match(Bytes, <<"\n">>) of
        {At, 1} when At =< Limit ->
            <<Line:At/binary, $\n, Rest/binary>> = Bytes,
            {C1, Echoes1} = line(Line, byte_size(Rest), C, Echoes),
            lines(C1, Rest, Echoes1);
        _ when byte_size(Bytes) > Limit ->
            Cut = cut(Bytes, Limit),
            <<Piece:Cut/binary, Rest/binary>> = Bytes,
            lines(push_line(Piece, <<>>, C#console{shown = <<>>}), Rest, Echoes);
        nomatch ->
            {lists:reverse(Echoes), keep(C, Bytes)}
    end.

%% What follows the last newline is kept, where it may still become a line or an echo.
keep(#console{mode = tagged, echoes = []} = C, Bytes) ->
    {[], C1} = feed(C, Bytes),
    C1;
keep(C, Bytes) ->
    C#console{line = copy(Bytes)}.

%% A complete line, Left bytes before the end of the stream: an echo, or an item.
line(Line, _Left, #console{echoes = []} = C, Echoes) ->
    {push_line(Line, <<"\n">>, C#console{shown = <<>>}), Echoes};
line(Line, Left, #console{shown = Shown, total = Total} = C0, Echoes) ->
    C = C0#console{shown = <<>>},
    Clean = copy(clean(<<Shown/binary, Line/binary>>)),
    case echo(Clean, C#console.echoes) of
        {Ref, Rest} -> {C#console{echoes = Rest, mark = Total - Left}, [{Ref, Clean} | Echoes]};
        none -> {push_line(Line, <<"\n">>, C), Echoes}
    end.

limit(#console{echoes = []}) -> ?LINE_MAX;
limit(#console{echoes = Echoes}) ->
    ?LINE_MAX + lists:max([byte_size(Line) || {_, Line} <- Echoes]).

%% Where a line that is too long is cut: at the limit, but not inside a control sequence.
cut(Bytes, Limit) ->
    Start = max(1, Limit - ?ESC_MAX),
    case binary:matches(Bytes, <<27>>, [{scope, {Start, Limit - Start}}]) of
        [] -> Limit;
        Found ->
            {At, 1} = lists:last(Found),
            <<_:At/binary, Escape/binary>> = Bytes,
            case escape(Escape) of
                {Len, _} when At + Len =< Limit -> Limit;
                _ -> At
            end
    end.

push_line(_Line, _End, #console{mode = none} = C) -> C;
push_line(Line, _End, #console{mode = line} = C) -> push({line, copy(clean(Line))}, C);
push_line(Line, End, #console{mode = tagged} = C) -> push({bytes, <<Line/binary, End/binary>>}, C).

push({bytes, <<>>}, C) -> C;
push({bytes, New}, #console{items = Items, held = Held} = C) ->
    %% neighbours are joined: raw bytes come a few at a time
    case queue:out_r(Items) of
        {{value, {bytes, Last}}, Rest} when byte_size(Last) < 4096 ->
            Joined = {bytes, <<Last/binary, New/binary>>},
            C#console{items = queue:in(Joined, Rest), held = Held + byte_size(New)};
        _ ->
            C#console{items = queue:in({bytes, New}, Items), held = Held + byte_size(New)}
    end;
push({line, _} = Item, #console{items = Items, held = Held} = C) ->
    C#console{items = queue:in(Item, Items), held = Held + weight(Item)}.

weight({line, Line}) -> byte_size(Line) + 1;
weight({bytes, Bytes}) -> byte_size(Bytes).

%% @doc The next item for the owner.
-spec take(console()) -> {item(), console()} | empty.
take(#console{items = Items, held = Held} = C) ->
    case queue:out(Items) of
        {{value, Item}, Rest} -> {Item, C#console{items = Rest, held = Held - weight(Item)}};
        {empty, _} -> empty
    end.

%% @doc Bytes that wait for the owner.
-spec held(console()) -> non_neg_integer().
held(#console{held = Held}) -> Held.

%% @doc Bytes printed so far.
-spec total(console()) -> non_neg_integer().
total(#console{total = Total}) -> Total.

%% @doc Bytes that the guest's window is short of.
-spec unacknowledged(console()) -> non_neg_integer().
unacknowledged(#console{total = Total, given = Given}) -> Total - Given.

%% @doc Bytes that can be given back to the guest's window, but for `Reserved'
%% ones that went elsewhere and aren't read yet; the console returned counts them as given.
-spec credit(Reserved :: non_neg_integer(), console()) -> {non_neg_integer(), console()}.
credit(Reserved, #console{total = Total, given = Given, held = Held, line = Line} = C) ->
    case Total - Given - Held - byte_size(Line) - Reserved of
        N when N > 0 -> {N, C#console{given = Given + N}};
        _ -> {0, C}
    end.

%% @doc Waits for the echo of `Line': the next line that ends with it is no
%% item, it comes back from input/2 with `Ref'. An empty line's is the next line.
-spec expect(reference(), binary(), console()) -> console().
expect(Ref, Line, #console{echoes = Echoes} = C) ->
    C#console{echoes = Echoes ++ [{Ref, Line}]}.

%% @doc Nobody waits for `Ref' any more.
-spec forget(reference(), console()) -> console().
forget(Ref, #console{echoes = Echoes, line = Line} = C) ->
    %% what was kept for the echo is cut to what a line may be: it counts against the window
    {[], C1} = feed(C#console{echoes = lists:keydelete(Ref, 1, Echoes), line = <<>>}, Line),
    C1.

echo(Clean, Echoes) ->
    case [E || {_, Line} = E <- Echoes, ends_with(Clean, Line)] of
        [{Ref, _} | _] -> {Ref, lists:keydelete(Ref, 1, Echoes)};
        [] -> none
    end.

ends_with(Clean, Line) when byte_size(Clean) < byte_size(Line) -> false;
ends_with(Clean, Line) ->
    binary:part(Clean, byte_size(Clean), -byte_size(Line)) =:= Line.

%% --- the ring ---------------------------------------------------------------

remember(<<>>, C) -> C;
remember(Bytes, #console{ring = Ring, ring_size = Size, total = Total} = C) ->
    Kept = copy(tail(Bytes, ?RING)),
    {Ring1, Size1} = join(Kept, Ring, Size),
    shrink(C#console{ring = Ring1, ring_size = Size1, total = Total + byte_size(Bytes)}).

%% Small neighbours are joined: a console echoes a byte at a time.
join(New, Ring, Size) ->
    case queue:out_r(Ring) of
        {{value, Last}, Rest} when byte_size(Last) + byte_size(New) =< 1024 ->
            {queue:in(<<Last/binary, New/binary>>, Rest), Size + byte_size(New)};
        _ ->
            {queue:in(New, Ring), Size + byte_size(New)}
    end.

shrink(#console{ring = Ring, ring_size = Size} = C) when Size > ?RING ->
    Oldest = byte_size(queue:get(Ring)),
    case Size - Oldest >= ?RING of
        true -> shrink(C#console{ring = queue:drop(Ring), ring_size = Size - Oldest});
        false -> C
    end;
shrink(C) -> C.

bytes(#console{ring = Ring}) -> tail(iolist_to_binary(queue:to_list(Ring)), ?RING).

unread(#console{total = Total, mark = Mark} = C) -> tail(bytes(C), Total - Mark).

%% @doc What was printed since the last mark (at most what the ring holds),
%% partial lines included, control sequences and carriage returns removed.
-spec text(console()) -> binary().
text(C) -> plain(unread(C)).

%% @doc Sets the mark: at the `end', or behind the first `N' bytes of text/1.
-spec mark('end' | non_neg_integer(), console()) -> console().
mark('end', #console{total = Total} = C) -> C#console{mark = Total};
mark(N, #console{total = Total} = C) ->
    Unread = unread(C),
    C#console{mark = Total - byte_size(Unread) + raw_length(Unread, N)}.

%% @doc The last lines, 50 at most, without control sequences.
-spec recent(console()) -> [binary()].
recent(C) ->
    Lines = binary:split(plain(tail(bytes(C), 16384)), <<"\n">>, [global]),
    Printed = lists:reverse(drop_empty(lists:reverse(Lines))),
    [copy(Line) || Line <- lists:nthtail(max(0, length(Printed) - ?RECENT), Printed)].

drop_empty([<<>> | Rest]) -> drop_empty(Rest);
drop_empty(Lines) -> Lines.

%% @doc The current line so far, as the guest printed it.
-spec partial(console()) -> binary().
partial(#console{ring = Ring}) -> last_line(iolist_to_binary(newest(Ring, ?LINE_MAX, []))).

%% At least the last N bytes: this is asked for at each frame, so the ring isn't copied.
newest(_Ring, N, Parts) when N =< 0 -> Parts;
newest(Ring, N, Parts) ->
    case queue:out_r(Ring) of
        {{value, Part}, Rest} -> newest(Rest, N - byte_size(Part), [Part | Parts]);
        {empty, _} -> Parts
    end.

%% @doc Does the current line show something, such as a prompt?
-spec prompt(console()) -> boolean().
prompt(C) -> plain(partial(C)) =/= <<>>.

%% --- control sequences -------------------------------------------------------

%% A line as it is shown: no control sequence but colours, no carriage return around it.
clean(Line) -> trim(strip(Line)).

trim(<<"\r", Rest/binary>>) -> trim(Rest);
trim(Line) -> trim_end(Line, byte_size(Line)).

trim_end(Line, Size) when Size > 0 ->
    case binary:at(Line, Size - 1) of
        $\r -> trim_end(Line, Size - 1);
        _ -> binary:part(Line, 0, Size)
    end;
trim_end(_Line, 0) -> <<>>.

%% @doc Removes control sequences, but for colours.
-spec strip(binary()) -> binary().
strip(Bytes) -> filter(Bytes, fun(Kind) -> Kind =:= colour end).

%% Removes every control sequence and carriage return.
plain(Bytes) ->
    binary:replace(filter(Bytes, fun(_) -> false end), <<"\r">>, <<>>, [global]).

filter(Bytes, Keep) ->
    case binary:match(Bytes, <<27>>) of
        nomatch -> Bytes;
        _ -> iolist_to_binary(filter_from(Bytes, Keep))
    end.

filter_from(Bytes, Keep) ->
    case binary:match(Bytes, <<27>>) of
        nomatch -> [Bytes];
        {At, 1} ->
            <<Before:At/binary, Rest/binary>> = Bytes,
            {Len, Kind} = escape(Rest),
            <<Escape:Len/binary, After/binary>> = Rest,
            Kept = case Keep(Kind) of true -> Escape; false -> <<>> end,
            [Before, Kept | filter_from(After, Keep)]
    end.

%% How long the raw bytes are that plain/1 makes N bytes of.
raw_length(Raw, N) -> raw_length(Raw, N, 0).

raw_length(<<27, _/binary>> = Raw, N, At) ->
    {Len, _} = escape(Raw),
    <<_:Len/binary, Rest/binary>> = Raw,
    raw_length(Rest, N, At + Len);
raw_length(<<"\r", Rest/binary>>, N, At) -> raw_length(Rest, N, At + 1);
raw_length(<<_, Rest/binary>>, N, At) when N > 0 -> raw_length(Rest, N - 1, At + 1);
raw_length(_Raw, _N, At) -> At.

%% The length of the control sequence at the start, which may be cut short, and its kind.
escape(<<27, $[, Rest/binary>>) -> csi(Rest, 2);
escape(<<27, $], Rest/binary>>) -> osc(Rest, 2);
escape(<<27, C, _, _/binary>>) when C >= $\s, C =< $/ -> {3, other};
escape(<<27, C, _/binary>>) when C >= $0, C =< $~ -> {2, other};
escape(<<27, _/binary>>) -> {1, other}.

csi(<<C, Rest/binary>>, Len) when C >= $\s, C =< $? -> csi(Rest, Len + 1);
csi(<<$m, _/binary>>, Len) -> {Len + 1, colour};
csi(<<C, _/binary>>, Len) when C >= $@, C =< $~ -> {Len + 1, other};
csi(_, Len) -> {Len, other}.

%% A title and the like: up to BEL or ESC \, or the end of the line.
osc(<<7, _/binary>>, Len) -> {Len + 1, other};
osc(<<27, $\\, _/binary>>, Len) -> {Len + 2, other};
osc(<<C, Rest/binary>>, Len) when C =/= 27, C =/= $\n -> osc(Rest, Len + 1);
osc(_, Len) -> {Len, other}.

%% --- small things ------------------------------------------------------------

last_line(Bytes) ->
    lists:last(binary:split(tail(Bytes, ?LINE_MAX), <<"\n">>, [global])).

tail(Bytes, Max) when byte_size(Bytes) =< Max -> Bytes;
tail(Bytes, Max) -> binary:part(Bytes, byte_size(Bytes), -Max).

%% A small part of a frame would keep the whole frame in memory.
copy(Bytes) ->
    case binary:referenced_byte_size(Bytes) > 2 * byte_size(Bytes) of
        true -> binary:copy(Bytes);
        false -> Bytes
    end.
