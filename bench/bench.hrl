%% SPDX-License-Identifier: Apache-2.0
%% What every benchmark needs: rounds, medians, a table, and bench/RESULTS.md

%% Runs each {Name, Fun} once a round, in turn, so that what disturbs the host
%% disturbs all alike. A fun returns a number. -> [{Name, [Number]}]
rounds(N, Cases) ->
    Rows = [[{Name, Fun()} || {Name, Fun} <- Cases] || _ <- lists:seq(1, N)],
    [{Name, [proplists:get_value(Name, Row) || Row <- Rows]} || {Name, _} <- Cases].

%% Milliseconds that a fun takes.
ms(Fun) ->
    Start = erlang:monotonic_time(microsecond),
    _ = Fun(),
    (erlang:monotonic_time(microsecond) - Start) / 1000.

median(Numbers) -> lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).

%% A table of medians, smallest and largest, and ratios to the row named Base.
table(Base, Unit, Rows) ->
    Limit = median(proplists:get_value(Base, Rows)),
    [
        io_lib:format("| what | median ~ts | min–max | × ~ts |~n|---|---|---|---|~n", [Unit, Base]),
        [
            io_lib:format("| ~ts | ~.2f | ~.2f–~.2f | ~.2f |~n", [
                Name, float(median(Ns)), float(lists:min(Ns)), float(lists:max(Ns)), median(Ns) / Limit
            ])
         || {Name, Ns} <- Rows
        ]
    ].

host() ->
    {ok, Cpu} = file:read_file("/proc/cpuinfo"),
    {match, [Model]} = re:run(Cpu, "model name\\s*: (.*)", [{capture, all_but_first, list}]),
    io_lib:format("~s, ~b CPUs, ~s", [
        Model, erlang:system_info(logical_processors_available), string:trim(os:cmd("uname -sr"))
    ]).

%% Prints the text; with --write it takes its section's place in bench/RESULTS.md.
report(Name, Args, Text) ->
    Section = unicode:characters_to_binary(
        ["## ", Name, "\n\n`./evum bench ", Name, "` on ", host(), "\n\n", Text, "\n"]
    ),
    io:put_chars(Section),
    case lists:member("--write", Args) of
        true -> write_section(filename:join(filename:dirname(escript:script_name()), "RESULTS.md"), Name, Section);
        false -> ok
    end.

write_section(File, Name, Section) ->
    Old = case file:read_file(File) of {ok, Bin} -> Bin; {error, enoent} -> <<"# What was measured\n\n">> end,
    [Head | Sections] = re:split(Old, "^(?=## )", [multiline]),
    Title = iolist_to_binary(["## ", Name, "\n"]),
    Others = [S || S <- Sections, binary:match(S, Title) =/= {0, byte_size(Title)}],
    ok = file:write_file(File, [Head, lists:sort([Section | Others])]).

%% An empty directory, gone when Fun returns.
with_directory(Fun) ->
    Dir = string:trim(os:cmd("mktemp -d")),
    try Fun(Dir) after ok = file:del_dir_r(Dir) end.
