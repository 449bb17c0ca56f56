%% SPDX-License-Identifier: Apache-2.0
%% A machine boots from an image of its own, and runs the program that it names
-module(initramfs_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
%% of a directory that is served
-export([init/1, lookup/2, list/2, read/4]).
-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").

-behaviour(evum_dir).

-define(LINES_MS, 5000).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) ->
    Dir = ?config(priv_dir, Config),
    Root = filename:join(Dir, "root"),
    ok = filelib:ensure_dir(filename:join(Root, "bin/x")),
    {0, _, _} = evum_test_lib:sh(["cd ", Root, " && cpio -id --quiet <", evum_cpio(),
                                  " && rm -r bin sbin usr && mkdir bin && chmod -R a+rX ", Root]),
    Source = filename:join([evum_test_lib:tree(), "test", "fixture", "on_console.c"]),
    {0, _, _} = evum_test_lib:sh(["cc -std=gnu11 -static -O2 -o ", Root, "/bin/program ", Source]),
    evum_test_lib:init_suite([{root, Root} | Config]).

evum_cpio() ->
    {ok, File} = evum_config:initramfs(),
    File.

end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) ->
    application:unset_env(evum, dist),
    evum_test_lib:end_case(Case, Config).

all() ->
    [
        the_console_is_the_programs_terminal,
        what_the_host_serves_is_added,
        the_images_own_words_are_for_a_machine_alone,
        status_0_is_a_halt,
        another_status_is_the_machines_end,
        a_signal_is_the_machines_end,
        all_that_it_printed_comes_before_the_end,
        a_stop_asks_the_program_first,
        it_may_ask_for_a_halt_and_for_a_reboot,
        a_program_that_cant_be_run_is_a_boot_that_failed,
        a_wrong_line_is_a_boot_that_failed,
        without_a_shell_programs_run_and_files_move,
        any_packing_boots,
        a_dist_of_evm_cfg_has_such_an_image,
        what_is_no_image_is_refused
    ].

%% --- the program ----------------------------------------------------------------

the_console_is_the_programs_terminal(Config) ->
    Vm = program(Config, "# the program\n\narg /bin/program\narg tell\narg two words\nenv HOME=/tmp\nenv EXTRA=a=b\n"),
    Told = told(),
    Arguments = [<<"argument /bin/program">>, <<"argument tell">>, <<"argument two words">>],
    Arguments = [L || <<"argument ", _/binary>> = L <- Told],
    [true = lists:member(<<"variable ", V/binary>>, Told) ||
        V <- [<<"HOME=/tmp">>, <<"EXTRA=a=b">>, <<"TERM=linux">>, <<"LANG=C.UTF-8">>]],
    true = lists:member(<<"terminal 1 1 1">>, Told),
    evum_test_lib:stop(Vm).

what_the_host_serves_is_added(Config) ->
    More = <<"env WHO=host\nenv HOME=/run\narg added\n">>,
    Files = [{"etc/evum/alone", "arg alone\n"}],
    Served = [{state, {?MODULE, #{<<"node">> => More}, "/run/evum"}}],
    Vm = program(Config, "arg /bin/program\narg tell\nenv HOME=/tmp\n", Files, Served),
    Told = told(),
    [<<"argument /bin/program">>, <<"argument tell">>, <<"argument added">>] = [L || <<"argument ", _/binary>> = L <- Told],
    [<<"variable HOME=/run">>] = [L || <<"variable HOME=", _/binary>> = L <- Told],
    true = lists:member(<<"variable WHO=host">>, Told),
    evum_test_lib:stop(Vm).

init(Files) -> {ok, Files}.

lookup([], _Files) -> {ok, #{type => directory}};
lookup([Name], Files) when is_map_key(Name, Files) -> {ok, #{type => file, size => byte_size(maps:get(Name, Files)), mode => 8#400}};
lookup(_, _Files) -> {error, enoent}.

list([], Files) -> {ok, maps:keys(Files)}.

read([Name], Offset, Count, Files) ->
    Bytes = maps:get(Name, Files),
    At = min(Offset, byte_size(Bytes)),
    {ok, binary:part(Bytes, At, min(Count, byte_size(Bytes) - At))}.

the_images_own_words_are_for_a_machine_alone(Config) ->
    Files = [{"etc/evum/alone", "arg alone\nenv WHO=alone\n"}],
    Vm = program(Config, "arg /bin/program\narg tell\n", Files, []),
    Told = told(),
    true = lists:member(<<"argument alone">>, Told),
    true = lists:member(<<"variable WHO=alone">>, Told),
    evum_test_lib:stop(Vm).

status_0_is_a_halt(Config) -> {shutdown, halted} = ended(Config, "end\narg 0").

another_status_is_the_machines_end(Config) ->
    {exit_status, 7} = ended(Config, "end\narg 7"),
    {exit_status, 255} = ended(Config, "end\narg 255").

a_signal_is_the_machines_end(Config) -> {exit_status, 139} = ended(Config, "die").

all_that_it_printed_comes_before_the_end(Config) ->
    {exit_status, 3} = ended(Config, "flood\narg 3"),
    Lines = [L || L <- evum_test_lib:flush(), is_binary(L)],
    Flood = lists:dropwhile(fun(L) -> L =/= binary:copy(<<"0">>, 63) end, Lines),
    {1024, [<<"last">> | _]} = {length(lists:takewhile(fun(L) -> byte_size(L) =:= 63 end, Flood)), lists:nthtail(1024, Flood)}.

a_stop_asks_the_program_first(Config) ->
    Vm = program(Config, "arg /bin/program\narg lag\n"),
    go(Vm),
    _ = evum_test_lib:lines(<<"lagging">>),
    evum_test_lib:stop(Vm),
    true = lists:member(<<"ended">>, evum_test_lib:flush()).

it_may_ask_for_a_halt_and_for_a_reboot(Config) ->
    {shutdown, halted} = ended(Config, "ask\narg usr2"),
    {shutdown, rebooted} = ended(Config, "ask\narg int", [{on_reboot, stop}]).

a_program_that_cant_be_run_is_a_boot_that_failed(Config) ->
    <<"cannot run /bin/nothing: No such file or directory">> = refused(Config, "arg /bin/nothing\n", []),
    Script = [{"bin/script", "#!/bin/no-interpreter\n"}],
    <<"cannot run /bin/script: its interpreter is missing">> = refused(Config, "arg /bin/script\n", Script),
    <<"cannot run /etc/passwd: Permission denied">> = refused(Config, "arg /etc/passwd\n", []),
    <<"/etc/evum/node names no program">> = refused(Config, "env A=1\n", []).

a_wrong_line_is_a_boot_that_failed(Config) ->
    Said = refused(Config, "arg /bin/program\nargument tell\n", []),
    <<"/etc/evum/node, line 2: neither \"arg WORD\" nor \"env NAME=VALUE\"">> = Said,
    Long = refused(Config, ["arg /bin/program\n", binary:copy(<<"#">>, 65536)], []),
    <<"/etc/evum/node is longer than 65536 bytes">> = Long.

%% --- the machine -----------------------------------------------------------------

without_a_shell_programs_run_and_files_move(Config) ->
    Vm = program(Config, "arg /bin/program\narg echo\n"),
    go(Vm),
    {ok, #{status := 5, stdout := <<"ready\n">>}} = evum:exec(Vm, ["/bin/program", "end", "5"], [{stdin, "\n"}]),
    {error, no_shell} = Error = evum:exec(Vm, "program end 5"),
    evum_test_lib:sentence(Error),
    {error, no_shell} = evum:spawn(Vm, "program end 5", []),
    ok = evum:put(Vm, <<"text">>, "/tmp/file"),
    {ok, <<"text">>} = evum:get(Vm, "/tmp/file"),
    ok = evum:puts(Vm, "a line\n"),
    ok = evum:await(Vm, {text, "read a line"}, ?LINES_MS),
    evum_test_lib:stop(Vm).

any_packing_boots(Config) ->
    Image = image(Config, "arg /bin/program\narg tell\n", []),
    lists:foreach(fun(Pack) ->
        {0, _, _} = evum_test_lib:sh([Pack, " <", Image, " >", Image, ".packed"]),
        {ok, Vm} = evm:create([{dist, {initramfs, Image ++ ".packed"}}]),
        _ = told(),
        evum_test_lib:stop(Vm)
    end, ["gzip", "zstd", "xz --check=crc32"]).

a_dist_of_evm_cfg_has_such_an_image(Config) ->
    Image = image(Config, "arg /bin/program\narg tell\n", []),
    ok = application:set_env(evum, dist, [{mine, [{root, initramfs}, {file, Image}, {mem, 48}]}]),
    {ok, Image} = evm:fetch(mine),
    {ok, Vm} = evm:create([{dist, mine}]),
    _ = told(),
    #{dist := mine, mem := 48} = evum:info(Vm),
    ok = evum:i(),
    evum_test_lib:stop(Vm),
    ok = file:delete(Image),
    {error, {bad_image, Image, enoent}} = evm:create([{dist, mine}]),
    {error, {bad_image, Image, enoent}} = evm:fetch(mine).

what_is_no_image_is_refused(Config) ->
    Dir = ?config(priv_dir, Config),
    Empty = filename:join(Dir, "empty"),
    ok = file:write_file(Empty, <<>>),
    [{error, {bad_option, dist}} = evm:create([{dist, {initramfs, F}}]) || F <- ["", 7, <<>>, [$a, 0]]],
    {error, {bad_image, Dir1, eisdir}} = evm:create([{dist, {initramfs, Dir}}]),
    true = filename:absname(Dir) =:= Dir1,
    Image = image(Config, "arg /bin/program\n", []),
    {error, {bad_option, disk}} = evm:create([{dist, {initramfs, Image}}, {disk, memory}]),
    {error, {bad_image, Empty, no_initramfs}} = Error = evm:create([{dist, {initramfs, Empty}}]),
    evum_test_lib:sentence(Error).

%% --- what they share ---------------------------------------------------------------

%% An image with that node file, of the files that all have and these.
image(Config, Node, Files) ->
    Root = ?config(root, Config),
    Written = [{"etc/evum/node", Node} | Files],
    [write(filename:join(Root, Name), Bytes) || {Name, Bytes} <- Written],
    Image = filename:join(?config(priv_dir, Config), "image-" ++ integer_to_list(erlang:unique_integer([positive]))),
    {0, _, _} = evum_test_lib:sh(["cd ", Root, " && find . | LC_ALL=C sort | cpio -o --quiet -H newc -R 0:0 >", Image,
                                  " && chmod 644 ", Image]),
    [ok = file:delete(filename:join(Root, Name)) || {Name, _} <- Written],
    Image.

write(File, Bytes) ->
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Bytes),
    ok = file:change_mode(File, case filename:basename(File) of "script" -> 8#755; _ -> 8#644 end).

program(Config, Node) -> program(Config, Node, [], []).

program(Config, Node, Files, Opts) ->
    {ok, Vm} = evm:create([{dist, {initramfs, image(Config, Node, Files)}} | Opts]),
    Vm.

told() -> evum_test_lib:lines(<<"told">>).

%% How the machine ends whose program gets these arguments.
ended(Config, Arguments) -> ended(Config, Arguments, []).

ended(Config, Arguments, Opts) ->
    Vm = program(Config, ["arg /bin/program\narg ", Arguments, $\n], [], Opts),
    go(Vm),
    evum_test_lib:down(Vm, 10000).

go(Vm) ->
    _ = evum_test_lib:lines(<<"ready">>),
    ok = evum:puts(Vm, "\n").

%% The last line of a boot that fails.
refused(Config, Node, Files) ->
    {error, {boot_failed, _, Lines}} = evm:create([{dist, {initramfs, image(Config, Node, Files)}}]),
    lists:last(Lines).
