%% SPDX-License-Identifier: Apache-2.0
%% What the README shows works as it shows it
%%
%% Each block of shell or Erlang is run. A transcript is evaluated a prompt at a
%% time, as the shell does: by an evaluator that an error ends and another takes
%% the place of, who inherits the bindings. What a prompt is shown to print,
%% but for pids, must come.
-module(readme_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    {0, _, _} = evum_test_lib:sh([evum_test_lib:evum(), " build"], 300000),
    evum_test_lib:init_suite(Config).

end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() -> [every_block_is_run].

%% On a host of its own, where that can be had: the names of nodes are free there.
every_block_is_run(_) ->
    ok = case evum_test_host:possible() of
        ok -> evum_test_host:run(?MODULE, blocks);
        {skip, _} -> blocks()
    end.

blocks() ->
    {ok, _} = application:ensure_all_started(evum),
    {ok, Text} = file:read_file(filename:join(evum_test_lib:tree(), "README.md")),
    {match, Blocks} = re:run(Text, "^```(\\w*)\n(.*?)^```$", [global, multiline, dotall, {capture, all_but_first, list}]),
    true = length([x || [Language, _] <- Blocks, Language =:= "erlang"]) > 3,
    true = length([x || [Language, _] <- Blocks, Language =:= "sh"]) > 1,
    %% where a reader is
    {ok, Cwd} = file:get_cwd(),
    ok = file:set_cwd(evum_test_lib:tree()),
    try
        _ = lists:foldl(fun([Language, Block], Bindings) -> named(Language, Block, Bindings) end, erl_eval:new_bindings(), Blocks),
        ok
    after
        %% what a block captures
        _ = file:delete("lab.pcapng"),
        %% this node is one, and its epmd may be ours, as long as evum runs
        ok = application:stop(evum),
        ok = file:set_cwd(Cwd)
    end.

named(Language, Block, Bindings) ->
    try block(Language, Block, Bindings)
    catch Class:Reason:Stack -> erlang:raise(Class, {Block, Reason}, Stack)
    end.

block("sh", Block, Bindings) ->
    [ok = shell(Line) || Line <- string:lexemes(Block, "\n")],
    Bindings;
block("erlang", "init(" ++ _ = Block, Bindings) ->
    callback(Block),
    Bindings;
block("erlang", Block, Bindings) -> transcript(lines(Block), Bindings).

%% --- shell -----------------------------------------------------------------------

%% The tests don't run themselves; the runner of this suite is what that line names.
shell("./evum test") ->
    true = filelib:is_regular(filename:join(evum_test_lib:tree(), "test/run.sh")),
    ok;
shell("./evum shell" = Line) -> command(["echo 'evm:list(). halt().' | ", Line]);
shell(Line) -> command(Line).

command(Line) ->
    {0, Out, _} = evum_test_lib:sh(["cd ", evum_test_lib:tree(), " && ", Line]),
    true = byte_size(Out) > 0,
    ok.

%% --- a callback module ----------------------------------------------------------

callback(Block) ->
    Forms = [form(T) || T <- ["-module(readme).", "-export([init/1]).", Block]],
    {ok, readme, Binary} = compile:forms(Forms),
    {module, readme} = code:load_binary(readme, "readme", Binary),
    {ok, Sup} = supervisor:start_link(readme, []),
    unlink(Sup),
    [{_, Vm, worker, [evum_vm]}] = supervisor:which_children(Sup),
    ok = evum:await(Vm, up, 10000),
    Monitor = monitor(process, Sup),
    exit(Sup, shutdown),
    shutdown = evum_test_lib:monitored(Monitor, Sup, 15000),
    true = code:delete(readme),
    _ = code:purge(readme),
    ok.

form(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Form} = erl_parse:parse_form(Tokens),
    Form.

%% --- a transcript ---------------------------------------------------------------

lines(Block) -> string:split(string:trim(Block, trailing, "\n"), "\n", all).

%% A block without prompts is code to be typed.
transcript(Lines, Bindings) ->
    case [L || L <- Lines, prompt(L) =/= none] of
        [] -> typed(Lines, Bindings);
        _ -> prompts(Lines, Bindings)
    end.

typed([], Bindings) -> Bindings;
typed(Lines, Bindings) ->
    {Exprs, Rest} = expression(Lines, ""),
    {_, Bindings1} = evaluate(Exprs, [], Bindings),
    typed(drop_empty(Rest), Bindings1).

prompts([], Bindings) -> Bindings;
prompts([Line | Rest], Bindings) ->
    {Exprs, After} = expression([prompt(Line) | Rest], ""),
    {Shown, Next} = lists:splitwith(fun(L) -> prompt(L) =:= none end, After),
    {_, Bindings1} = evaluate(Exprs, [S || S <- Shown, S =/= ""], Bindings),
    prompts(Next, Bindings1).

drop_empty(["" | Rest]) -> drop_empty(Rest);
drop_empty(Lines) -> Lines.

prompt(Line) ->
    case re:run(Line, "^[0-9]+> (.*)$", [{capture, all_but_first, list}]) of
        {match, [Code]} -> Code;
        nomatch -> none
    end.

expression([Line | Rest], Before) ->
    Text = Before ++ Line ++ "\n",
    case erl_scan:tokens([], Text, 1) of
        {done, {ok, Tokens, _}, _} ->
            {ok, Exprs} = erl_parse:parse_exprs(Tokens),
            {Exprs, Rest};
        {more, _} -> expression(Rest, Text)
    end.

%% Shown: lines that are printed, and the value. Only what is meant to fail may.
evaluate(Exprs, Shown, Bindings) ->
    {Evaluator, Monitor} = evaluator(),
    Evaluator ! {evaluate, self(), Exprs, Shown, Bindings},
    receive
        {evaluated, Value, Bindings1} ->
            check(Value, Shown),
            {Value, Bindings1};
        {'DOWN', Monitor, process, Evaluator, {badarith, _}} ->
            [{op, _, '/', {integer, _, 1}, {integer, _, 0}}] = Exprs,
            _ = erase(evaluator),
            {error, Bindings};
        {'DOWN', Monitor, process, Evaluator, Reason} ->
            error({failed, Exprs, Reason})
    end.

%% The present evaluator, or the next one.
evaluator() ->
    case get(evaluator) of
        undefined ->
            New = spawn_monitor(fun evaluator_loop/0),
            put(evaluator, New),
            New;
        Evaluator -> Evaluator
    end.

evaluator_loop() ->
    receive
        {evaluate, From, Exprs, Shown, Bindings} ->
            Local = {value, fun
                (flush, []) -> flush(Shown);
                (Name, Args) -> apply(shell_default, Name, Args)
            end},
            {value, Value, Bindings1} = erl_eval:exprs(Exprs, Bindings, Local),
            From ! {evaluated, Value, Bindings1},
            evaluator_loop()
    end.

%% A person takes a moment to type flush(); what is shown must have come by then.
flush(Shown) -> flush([term(L) || "Shell got " ++ L <- Shown], 5000).

flush([], Ms) ->
    receive
        {evaluate, _, _, _, _} = Next -> self() ! Next, ok;
        _ -> flush([], Ms)
    after 0 -> ok
    end;
flush([Wanted | Rest], Ms) ->
    receive
        Wanted -> flush(Rest, Ms)
    after Ms -> error({not_shown, Wanted})
    end.

check(Value, Shown) ->
    [Value = term(S) || S <- Shown, string:find(S, "Shell got ") =:= nomatch, string:find(S, "<0.") =:= nomatch].

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.
