%% SPDX-License-Identifier: Apache-2.0
%% An image boots as it is, whatever its init, with the agent beside it
%%
%% The images are those of test/images.sh: Debian with systemd, Debian with
%% OpenRC, busybox with an inittab, and one program that is all there is.
-module(dist_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2,
         init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [expect/3, flush/0, out/2, parallel/1, sh/1, sh/2, vm/1]).

suite() -> [{timetrap, {seconds, 240}}].

-define(IMAGES, [systemd, openrc, busybox, program]).
%% what each needs, with something to spare
-define(MEM, #{systemd => 128, openrc => 64, busybox => 48, program => 32}).
%% OpenRC starts a shell for each of its services, and a program's start is what is slow here
-define(INIT_MS, 120000).
-define(STOP_MS, 60000).

%% The first time they are made, which takes minutes.
init_per_suite(Config) ->
    ct:timetrap({minutes, 10}),
    Script = filename:join(evum_test_lib:tree(), "test/images.sh"),
    Names = lists:join(" ", [atom_to_list(Name) || Name <- ?IMAGES]),
    {0, Out, Said} = sh([Script, " ", Names], 600000),
    ct:pal("~ts~ts", [Out, Said]),
    Images = lists:zip(?IMAGES, string:lexemes(binary_to_list(Out), "\n")),
    Copy = filename:join("/tmp", "ct-dist-" ++ os:getpid() ++ ".img"),
    Dists = [{Name, [{file, File}, {mem, maps:get(Name, ?MEM)}]} || {Name, File} <- Images],
    ok = application:set_env(evum, dist, [{kept, [{file, Copy}, {access, rw}, {mem, 128}]} | Dists]),
    evum_test_lib:init_suite([{images, Images}, {copy, Copy} | Config]).

end_per_suite(Config) ->
    _ = file:delete(?config(copy, Config)),
    ok = application:unset_env(evum, dist),
    evum_test_lib:end_suite(Config).

%% What is left is looked for when all of a group have ended.
init_per_group(others, Config) -> Config;
init_per_group(Group, Config) -> evum_test_lib:begin_case(Group, Config).
end_per_group(others, _Config) -> ok;
end_per_group(Group, Config) -> ok = evum_test_lib:end_case(Group, Config).

init_per_testcase(Case, Config) ->
    case in_group(Config) of
        true -> Config;
        false -> evum_test_lib:begin_case(Case, Config)
    end.

end_per_testcase(Case, Config) ->
    case in_group(Config) of
        true -> ok;
        false -> evum_test_lib:end_case(Case, Config)
    end.

in_group(Config) -> proplists:is_defined(tc_group_properties, Config).

all() ->
    [
        the_agent_is_there_at_once, a_machine_can_be_rebooted_and_stopped, {group, each_init_does_its_work},
        nothing_but_the_agent_survives
    ].

%% OpenRC takes as long as all the others together.
groups() ->
    [
        {each_init_does_its_work, [parallel], [openrc_reaches_its_default_runlevel, {group, others}]},
        {others, [], [systemd_runs_without_a_failed_unit, busybox_init_does_what_its_inittab_says,
                      a_bare_program_may_be_init, a_disk_is_left_clean]}
    ].

%% In each image, side by side.
each(Names, Fun) -> parallel([fun() -> Fun(Name) end || Name <- Names]).

boot(Name) -> vm([{dist, Name}, {label, Name}]).

%% The image's own init is through, as far as it says so.
ready(Vm) -> ok = evum:await(Vm, init, ?INIT_MS).

%% Where nothing but the one program is, it has to tell.
where(Vm, program) -> out(Vm, ["/sbin/init", "where"]);
where(Vm, _) -> out(Vm, "printf '%s %s' $(hostname) $(cat /proc/1/comm)").

tell(program, Text) -> ["/sbin/init", "tell", Text];
tell(_, Text) -> "printf " ++ Text ++ " >/proc/mconsole".

has_ended(Vm, Reason) -> expect(Vm, {down, Reason}, ?STOP_MS).

%% --- cases -----------------------------------------------------------------------

the_agent_is_there_at_once(_) ->
    each(?IMAGES, fun(Name) ->
        Vm = boot(Name),
        [Host, _Init] = string:lexemes(where(Vm, Name), " "),
        {Name, Host} = {Name, atom_to_binary(Name)},
        #{confined := true, state := up} = evum:info(Vm),
        {ok, #{status := 0}} = evum:exec(Vm, tell(Name, "hello")),
        expect(Vm, {message, <<"hello">>}, 5000),
        ok = evum:crash(Vm)
    end).

a_machine_can_be_rebooted_and_stopped(_) ->
    each(?IMAGES, fun(Name) ->
        Vm = boot(Name),
        Name =:= openrc orelse ready(Vm),
        _ = flush(),
        ok = evum:reboot(Vm),
        expect(Vm, rebooting, ?STOP_MS),
        expect(Vm, up, ?STOP_MS),
        [_, _] = string:lexemes(where(Vm, Name), " "),
        %% also while the init is still at it
        {Name, ok} = {Name, evum:stop(Vm, ?STOP_MS)}
    end).

systemd_runs_without_a_failed_unit(_) ->
    Vm = boot(systemd),
    ready(Vm),
    <<"running">> = out(Vm, "systemctl is-system-running --wait"),
    <<"0">> = out(Vm, "systemctl --failed --no-legend --plain | wc -l"),
    <<"uml">> = out(Vm, "systemd-detect-virt --vm"),
    %% and not "image", which is the name in it
    <<"systemd systemd">> = where(Vm, systemd),
    ok = evum:await(Vm, {text, "systemd login: "}, 10000),
    {ok, _} = evum:exec(Vm, "systemctl poweroff"),
    has_ended(Vm, {shutdown, halted}).

openrc_reaches_its_default_runlevel(_) ->
    Vm = boot(openrc),
    ready(Vm),
    <<"openrc init">> = where(Vm, openrc),
    <<"default">> = out(Vm, "rc-status --runlevel"),
    <<"0">> = out(Vm, "rc-status --crashed | wc -l"),
    ok = evum:await(Vm, {text, "openrc login: "}, 10000),
    {ok, _} = evum:exec(Vm, "poweroff"),
    has_ended(Vm, {shutdown, halted}).

busybox_init_does_what_its_inittab_says(_) ->
    Vm = boot(busybox),
    %% it tells nobody
    ready(Vm),
    [ok = evum:await(Vm, {file, File}, 10000) || File <- ["/run/sysinit", "/run/once", "/run/respawned"]],
    ok = evum:await(Vm, {text, "the console is mine"}, 10000),
    <<"busybox init">> = where(Vm, busybox),
    %% it is the one that looks after its programs
    First = out(Vm, "cat /run/respawned"),
    <<>> = out(Vm, "kill " ++ binary_to_list(First)),
    ok = evum_test_lib:until(fun() -> out(Vm, "cat /run/respawned") =/= First end),
    {ok, _} = evum:exec(Vm, "poweroff"),
    has_ended(Vm, {shutdown, halted}).

%% No shell, no library, no file: the end of the program is the machine's.
a_bare_program_may_be_init(_) ->
    Vm = boot(program),
    <<"program init">> = where(Vm, program),
    {error, enoent} = evum:exec(Vm, ["/bin/sh"]),
    _ = evum:exec(Vm, ["/sbin/init", "end"]),
    has_ended(Vm, {exit_status, 3}).

nothing_but_the_agent_survives(_) ->
    each(?IMAGES, fun(Name) ->
        Vm = boot(Name),
        Name =:= systemd andalso ready(Vm),
        KillAll = case Name of program -> ["/sbin/init", "killall"]; _ -> "kill -9 -1" end,
        {ok, _} = evum:exec(Vm, KillAll),
        [_, _] = string:lexemes(where(Vm, Name), " "),
        #{state := up} = evum:info(Vm),
        ok = evum:crash(Vm)
    end).

a_disk_is_left_clean(Config) ->
    Copy = ?config(copy, Config),
    {systemd, File} = lists:keyfind(systemd, 1, ?config(images, Config)),
    {0, _, _} = sh(["cp --sparse=always ", File, " ", Copy, " && chmod 666 ", Copy]),
    Vm = vm([{dist, kept}]),
    ready(Vm),
    <<>> = out(Vm, "echo kept >/etc/kept"),
    {ok, _} = evum:exec(Vm, "systemctl poweroff"),
    has_ended(Vm, {shutdown, halted}),
    clean(Copy),
    Again = vm([{dist, kept}]),
    <<"kept">> = out(Again, "cat /etc/kept"),
    ok = evum:stop(Again, ?STOP_MS),
    clean(Copy),
    ok = file:delete(Copy).

clean(File) ->
    {0, Out, _} = sh(["PATH=$PATH:/usr/sbin:/sbin; e2fsck -n -f ", File, " && dumpe2fs -h ", File, " 2>/dev/null"]),
    {match, _} = re:run(Out, "Filesystem state: +clean\n").
